//! Default routers of mobile nodes, and routes to nodes that keep their address.

use fmip_ctl::config::DEFAULT_ROUTE_METRIC;

use super::*;

#[test]
fn the_default_router_is_used_without_asking_and_may_be_off_link() {
    let Some(setup) = Setup::new() else { return };
    // What a router advertisement of the previous router leaves.
    setup
        .namespace
        .ip("-6 route add default via fe80::99 dev acc0 metric 1024 proto ra")
        .unwrap();
    let before = setup.tables();
    let setup = &setup;
    let via = |destination: &str| {
        let route = setup.list(&format!("-6 route get {destination}"));
        (route[0]["gateway"].clone(), route[0]["metrics"].clone())
    };
    setup.run(|| async {
        let (mut netlink, acc0) = connected().await?;
        for (router, mac) in [
            ("2001:db8:2::1", "02:00:00:00:00:22"),
            ("2001:db8:3::1", "02:00:00:00:00:33"),
        ] {
            netlink
                .set_default_router(acc0.index, address(router), link_address(mac))
                .await?;
            let (gateway, metrics) = via("2001:db8:ffff::1");
            assert_eq!(gateway, router);
            assert_eq!(metrics[0]["mtu"], 1_360, "{metrics}");
            let neighbors = setup.list("-6 neigh show nud permanent");
            assert_eq!(neighbors.len(), 1, "{neighbors:?}");
            assert_eq!(neighbors[0]["dst"], router);
            assert_eq!(neighbors[0]["lladdr"], mac);
            let defaults = setup.list("-6 route show default");
            assert_eq!(defaults.len(), 2, "{defaults:?}");
        }
        // The link comes and goes in the middle of a handover.
        setup.namespace.ip("link set acc1 down")?;
        setup.namespace.ip("link set acc1 up")?;
        setup.wait_for_carrier();
        assert_eq!(setup.list("-6 neigh show nud permanent").len(), 1);
        assert_eq!(via("2001:db8:ffff::1").0, "2001:db8:3::1");

        netlink.restore_default_router(acc0.index).await?;
        netlink.restore_default_router(acc0.index).await?;
        assert_eq!(via("2001:db8:ffff::1").0, "fe80::99");
        assert_eq!(setup.list("-6 neigh show nud permanent").len(), 0);

        netlink
            .set_default_router(
                acc0.index,
                address("2001:db8:2::1"),
                link_address("02:00:00:00:00:22"),
            )
            .await?;
        netlink.clean_up().await;
        Ok(())
    });
    assert_eq!(setup.tables(), before);
}

#[test]
fn what_people_say_of_a_router_is_said_again_in_the_end() {
    let Some(setup) = Setup::new() else { return };
    let (router, other) = ("2001:db8:2::1", "2001:db8:3::1");
    setup
        .namespace
        .ip_batch(&format!(
            "neigh add {router} lladdr 02:00:00:00:00:99 dev acc0 nud permanent protocol static\n\
             neigh add {other} lladdr 02:00:00:00:00:33 dev acc0 nud permanent router\n"
        ))
        .unwrap();
    let before = setup.tables();
    let setup = &setup;
    let permanent = |of: &str| {
        let all = setup.list("-6 neigh show nud permanent");
        all.into_iter().find(|entry| entry["dst"] == of)
    };
    setup.run(|| async {
        let (mut netlink, acc0) = connected().await?;
        let before = (permanent(router), permanent(other));
        let set = [(router, "02:00:00:00:00:22"), (other, "02:00:00:00:00:33")];
        for (of, mac) in set {
            netlink
                .set_default_router(acc0.index, address(of), link_address(mac))
                .await?;
            assert_eq!(
                permanent(of).map(|entry| entry["lladdr"].clone()),
                Some(json!(mac))
            );
        }
        assert_eq!((permanent(router), permanent(other)), before);
        // The one that says what is so needs no other, and outlives a killed controller.
        netlink.restore_default_router(acc0.index).await?;
        assert_eq!((permanent(router), permanent(other)), before);
        // At the end, too, and after the address of the router was another for a while.
        for mac in [
            "02:00:00:00:00:22",
            "02:00:00:00:00:44",
            "02:00:00:00:00:99",
        ] {
            netlink
                .set_default_router(acc0.index, address(router), link_address(mac))
                .await?;
            assert_eq!(
                permanent(router).map(|entry| entry["lladdr"].clone()),
                Some(json!(mac))
            );
        }
        netlink.clean_up().await;
        Ok(())
    });
    assert_eq!(setup.tables(), before);
}

#[test]
fn the_default_route_has_the_metric_that_the_configuration_gives_it() {
    let Some(setup) = Setup::new() else { return };
    // A wire beside the radio, as NetworkManager sets it up.
    let wire = "route add default via fe80::99 dev acc1 metric 100 proto static";
    setup.namespace.ip(&format!("-6 {wire}")).unwrap();
    let before = setup.tables();
    let setup = &setup;
    let interface = || setup.list("-6 route get 2001:db8:ffff::1")[0]["dev"].clone();
    setup.run(|| async {
        for (metric, taken) in [(DEFAULT_ROUTE_METRIC, "acc1"), (90, "acc0"), (101, "acc1")] {
            let (mut netlink, acc0) = connected().await?;
            netlink.set_route_metric(metric);
            let router = address("2001:db8:2::1");
            netlink
                .set_default_router(acc0.index, router, link_address("02:00:00:00:00:22"))
                .await?;
            let ours = setup.list("-6 route show default proto 55");
            assert_eq!(ours[0]["metric"], json!(metric), "{ours:?}");
            assert_eq!(interface(), taken, "with a metric of {metric}");
            netlink.clean_up().await;
        }
        Ok(())
    });
    assert_eq!(setup.tables(), before);
}

// Rows: HI-16
#[test]
fn a_node_that_keeps_its_address_is_reached_by_the_access_link() {
    let Some(setup) = Setup::new() else { return };
    let before = setup.tables();
    let setup = &setup;
    let pcoa = address("2001:db8:9::ff:fe00:1");
    let device = || {
        let routes = setup.namespace.ip_json(&format!("-6 route get {pcoa}"));
        routes.ok().map(|routes| routes[0]["dev"].clone())
    };
    assert_eq!(device(), None);
    setup.run(|| async {
        let (mut netlink, acc0) = connected().await?;
        netlink.add_host_route(acc0.index, pcoa).await?;
        // Again, as when a HI is sent again.
        netlink.add_host_route(acc0.index, pcoa).await?;
        assert_eq!(device(), Some(json!("acc0")));
        let routes = setup.list("-6 route show proto 55");
        assert_eq!(routes.len(), 1, "{routes:?}");
        assert_eq!(routes[0]["dst"], json!(pcoa));
        assert!(routes[0]["gateway"].is_null(), "{routes:?}");

        netlink.remove_host_route(acc0.index, pcoa).await?;
        netlink.remove_host_route(acc0.index, pcoa).await?;
        assert_eq!(device(), None);

        netlink.add_host_route(acc0.index, pcoa).await?;
        netlink.clean_up().await;
        Ok(())
    });
    assert_eq!(setup.tables(), before);
}

#[test]
fn a_route_of_somebody_else_to_a_node_stays() {
    let Some(setup) = Setup::new() else { return };
    let pcoa = address("2001:db8:9::ff:fe00:1");
    setup
        .namespace
        .ip(&format!("-6 route add {pcoa} dev acc1 proto static"))
        .unwrap();
    let error = setup.run(|| async {
        let (mut netlink, acc0) = connected().await?;
        let error = netlink.add_host_route(acc0.index, pcoa).await.unwrap_err();
        netlink.clean_up().await;
        Ok(error.to_string())
    });
    assert_eq!(
        error,
        format!("cannot make a route for {pcoa} to acc0: somebody else has made one")
    );
    assert_eq!(
        setup
            .list(&format!("-6 route show {pcoa} proto static"))
            .len(),
        1
    );
}

#[test]
fn the_router_that_the_kernel_knows_is_kept_when_the_carrier_goes() {
    let Some(setup) = Setup::new() else { return };
    let gateway = "fe80::99";
    let mac = "02:00:00:00:00:99";
    let before = setup.tables();
    setup
        .namespace
        .ip_batch(&format!(
            "route add default via {gateway} dev acc0 metric 1024 proto ra\n\
             neigh add {gateway} lladdr {mac} dev acc0 nud stale\n"
        ))
        .unwrap();
    let setup = &setup;
    let permanent = || setup.list("-6 neigh show nud permanent");
    // By its global address the kernel does not know it.
    let global = "2001:db8:1::99";
    setup.run(|| async {
        let (mut netlink, acc0) = connected().await?;
        netlink
            .keep_default_router(acc0.index, address(global))
            .await?;
        let kept = permanent();
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert_eq!(
            (&kept[0]["dst"], &kept[0]["lladdr"]),
            (&json!(gateway), &json!(mac))
        );
        setup.namespace.ip("link set acc1 down")?;
        let route = setup.list("-6 route get 2001:db8:ffff::1");
        assert_eq!(route[0]["gateway"], gateway, "{route:?}");
        assert_eq!(permanent().len(), 1);
        setup.namespace.ip("link set acc1 up")?;
        setup.wait_for_carrier();
        netlink.restore_default_router(acc0.index).await?;
        assert_eq!(permanent().len(), 0);

        // Where it is known, it is the one that is meant.
        setup.namespace.ip(&format!(
            "-6 neigh add {global} lladdr 02:00:00:00:00:11 dev acc0 nud reachable"
        ))?;
        netlink
            .keep_default_router(acc0.index, address(global))
            .await?;
        assert_eq!(permanent()[0]["dst"], global);
        netlink.clean_up().await;
        Ok(())
    });
    setup
        .namespace
        .ip_batch(&format!("route del default via {gateway} dev acc0\n"))
        .unwrap();
    assert_eq!(setup.tables(), before);
}

#[test]
fn a_router_that_the_kernel_does_not_know_yet_is_asked_for() {
    let Some(setup) = Setup::new() else { return };
    // The other end of the link is another machine, which answers.
    let router = NetNs::create(&format!("fmip-nlr-{}", std::process::id())).unwrap();
    setup
        .namespace
        .ip(&format!("link set acc1 netns {}", router.name()))
        .unwrap();
    router
        .ip_batch(
            "link set acc1 address 02:00:00:00:00:99 up\n\
             address add 2001:db8:1::99/64 dev acc1 nodad\n",
        )
        .unwrap();
    // A solicitation has the link-local address, which the kernel checks anew on another carrier.
    wait_until(
        "the carrier and the link-local address of acc0",
        SOON,
        || {
            let links = setup.list("link show acc0");
            let checked = setup.addresses("link")[0]["tentative"].is_null();
            Ok((checked && links[0]["operstate"] == "UP").then_some(()))
        },
    )
    .unwrap();
    let setup = &setup;
    setup.run(|| async {
        let (mut netlink, acc0) = connected().await?;
        let global = address("2001:db8:1::99");
        netlink.keep_default_router(acc0.index, global).await?;
        let kept = setup.list("-6 neigh show nud permanent");
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert_eq!(kept[0]["dst"], json!(global));
        assert_eq!(kept[0]["lladdr"], "02:00:00:00:00:99");
        netlink.clean_up().await;
        Ok(())
    });
}

#[test]
fn a_router_that_does_not_answer_is_named() {
    let Some(setup) = Setup::new() else { return };
    let before = setup.tables();
    let error = setup.run(|| async {
        let (mut netlink, acc0) = connected().await?;
        let router = address("2001:db8:1::99");
        let kept = netlink.keep_default_router(acc0.index, router).await;
        Ok(kept.unwrap_err().to_string())
    });
    assert_eq!(
        error,
        "the link-layer address of 2001:db8:1::99 on acc0 is not known, nor that of a default \
         router there"
    );
    assert_eq!(setup.tables(), before);
}

#[test]
fn a_default_route_of_others_with_the_same_metric_stays() {
    let Some(setup) = Setup::new() else { return };
    let words = format!("metric {DEFAULT_ROUTE_METRIC} proto static");
    setup
        .namespace
        .ip_batch(&format!(
            "route add default via fe80::99 dev acc1 {words}\n"
        ))
        .unwrap();
    let before = setup.tables();
    let setup = &setup;
    setup.run(|| async {
        let (mut netlink, acc0) = connected().await?;
        let router = address("2001:db8:2::1");
        netlink
            .set_default_router(acc0.index, router, link_address("02:00:00:00:00:22"))
            .await?;
        let routes = setup.list("-6 route show default");
        assert_eq!(routes.len(), 2, "{routes:?}");
        // Ours comes first.
        let ours = setup.list("-6 route show default proto 55");
        assert!(
            ours[0]["metric"].as_u64() < Some(DEFAULT_ROUTE_METRIC.into()),
            "{ours:?}"
        );
        netlink.clean_up().await;
        Ok(())
    });
    assert_eq!(setup.tables(), before);
}
