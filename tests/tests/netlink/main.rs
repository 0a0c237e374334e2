//! What the controller changes in the kernel's tables, and that all of it goes away again.
//!
//! `ip` is the witness: what it prints does not come through the code under test.

mod addresses;
mod monitor;
mod next_hops;
mod routes;
mod transmit;

use std::{fs, future::Future, io::Write as _, net::Ipv6Addr, sync::atomic::AtomicU32};

use anyhow::{Context, Result, ensure};
use fmip_ctl::{config::Interface, io::netlink::Netlink, proto::NeighborState, wire::MacAddr};
use fmip_tests::{
    netns::NetNs,
    wait::{SOON, wait_until},
};
use serde_json::{Value, json};

const PREFIX: u8 = 64;

fn address(text: &str) -> Ipv6Addr {
    text.parse().expect("a constant")
}

fn link_address(text: &str) -> MacAddr {
    text.parse().expect("a constant")
}

/// A namespace with a veth pair in it, acc0 up with two addresses, and acc1.
struct Setup {
    namespace: NetNs,
}

impl Setup {
    /// `None`, said aloud, if the rights to make a namespace are missing.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            // Not by eprintln, which the test harness keeps to itself when a test passes.
            let test = std::thread::current().name().unwrap_or("test").to_owned();
            let reason = "needs root to make a network namespace";
            let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {reason}");
            return None;
        }
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("fmip-nl-{}-{number}", std::process::id());
        let namespace = NetNs::create(&name).unwrap();
        namespace
            .ip_batch(
                "link add acc0 address 02:00:00:00:00:11 mtu 1400 type veth peer name acc1\n\
                 address add 2001:db8:1::1/64 dev acc0 nodad\n\
                 link set acc0 up\n\
                 link set acc1 up\n",
            )
            .unwrap();
        let setup = Self { namespace };
        // The kernel makes it a moment after the link is up.
        wait_until("a link-local address of acc0", SOON, || {
            let found = setup.addresses("link");
            Ok((!found.is_empty()).then_some(()))
        })
        .unwrap();
        setup.wait_for_carrier();
        Some(setup)
    }

    /// Waits until the kernel says of both ends that they have a carrier: it finds out in its own time.
    fn wait_for_carrier(&self) {
        wait_until("the carrier of acc0 and acc1", SOON, || {
            let ends = self.list("link show type veth");
            let up = ends.iter().all(|end| end["operstate"] == "UP");
            Ok((up && ends.len() == 2).then_some(()))
        })
        .unwrap();
    }

    /// Runs `work` in the namespace, on a runtime of its own.
    fn run<T: Send, F: Future<Output = Result<T>>>(&self, work: impl FnOnce() -> F + Send) -> T {
        self.namespace
            .run(|| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?
                    .block_on(work())
            })
            .unwrap()
    }

    fn list(&self, arguments: &str) -> Vec<Value> {
        match self.namespace.ip_json(arguments).unwrap() {
            Value::Array(entries) => entries,
            other => panic!("ip {arguments} prints no list: {other}"),
        }
    }

    /// Everything that could be left behind.
    fn tables(&self) -> Vec<Value> {
        let mut tables = Vec::new();
        for arguments in [
            "-6 neigh show proxy",
            "-6 neigh show nud permanent",
            "-6 route show default",
            "-6 route show proto 55",
            "-details link show",
        ] {
            for mut entry in self.list(arguments) {
                if let Some(entry) = entry.as_object_mut() {
                    // Statistics of a link change by themselves.
                    entry.retain(|key, _| {
                        ["ifname", "flags", "address", "mtu", "dst", "dev", "gateway"]
                            .contains(&key.as_str())
                    });
                }
                tables.push(entry);
            }
        }
        for entry in self.addresses("global") {
            tables.push(json!({"local": entry["local"]}));
        }
        tables
    }

    fn addresses(&self, scope: &str) -> Vec<Value> {
        self.list(&format!("-6 address show dev acc0 scope {scope}"))
            .iter()
            .flat_map(|link| link["addr_info"].as_array().cloned().unwrap_or_default())
            .filter(|entry| entry["local"].is_string())
            .collect()
    }

    fn switch(&self, name: &str) -> String {
        self.namespace
            .run(|| {
                let path = format!("/proc/sys/net/ipv6/conf/{name}");
                fs::read_to_string(&path).with_context(|| path)
            })
            .unwrap()
            .trim()
            .to_owned()
    }
}

async fn connected() -> Result<(Netlink, Interface)> {
    let mut netlink = Netlink::connect().await?;
    let mut interfaces = netlink.resolve(&["acc0"]).await?;
    ensure!(interfaces.len() == 1);
    Ok((netlink, interfaces.remove(0)))
}

#[test]
fn an_interface_is_resolved_with_all_that_the_configuration_asks_for() {
    let Some(setup) = Setup::new() else { return };
    let interface = setup.run(|| async { Ok(connected().await?.1) });
    assert_eq!(interface.name, "acc0");
    assert_eq!(interface.link_address, link_address("02:00:00:00:00:11"));
    assert_eq!(interface.mtu, 1_400);
    assert!(interface.up);
    assert_eq!(interface.link_local, Some(address("fe80::ff:fe00:11")));
    assert_eq!(interface.addresses, [(address("2001:db8:1::1"), PREFIX)]);
    let index = &setup.list("link show acc0")[0]["ifindex"];
    assert_eq!(*index, json!(interface.index));
}

#[test]
fn an_interface_that_does_not_exist_is_named_among_those_that_do() {
    let Some(setup) = Setup::new() else { return };
    let refused = |name: &'static str| {
        setup.run(move || async move {
            let mut netlink = Netlink::connect().await?;
            Ok(netlink.resolve(&[name]).await.unwrap_err().to_string())
        })
    };
    let error = refused("acc9");
    assert!(
        error.starts_with("there is no interface acc9 (there are: lo, "),
        "{error}"
    );
    assert!(error.contains("acc0"), "{error}");
    // An interface that is there and is none to run on.
    let error = refused("lo");
    assert!(error.contains("lo has no link-layer address"), "{error}");
}

// Rows: HI-13
#[test]
fn a_proxy_entry_comes_and_goes_and_the_switch_is_put_back() {
    let Some(setup) = Setup::new() else { return };
    let before = setup.tables();
    let setup = &setup;
    let ncoa = address("2001:db8:1::ff:fe00:1");
    setup.run(|| async {
        let (mut netlink, acc0) = connected().await?;
        netlink.add_proxy_nd(acc0.index, ncoa).await?;
        // Again, as when a HI is sent again.
        netlink.add_proxy_nd(acc0.index, ncoa).await?;
        let proxies = setup.list("-6 neigh show proxy");
        assert_eq!(proxies.len(), 1, "{proxies:?}");
        assert_eq!(proxies[0]["dst"], json!(ncoa));
        assert_eq!(proxies[0]["dev"], "acc0");
        assert_eq!(proxies[0]["protocol"], "55");
        assert_eq!(setup.switch("acc0/proxy_ndp"), "1");

        netlink.remove_proxy_nd(acc0.index, ncoa).await?;
        netlink.remove_proxy_nd(acc0.index, ncoa).await?;
        assert_eq!(setup.list("-6 neigh show proxy").len(), 0);

        netlink.add_proxy_nd(acc0.index, ncoa).await?;
        netlink.clean_up().await;
        Ok(())
    });
    assert_eq!(setup.tables(), before);
    assert_eq!(setup.switch("acc0/proxy_ndp"), "0");
}

// Rows: UNA-06, LEG-02
#[test]
fn a_mobile_node_becomes_a_neighbor_in_the_state_that_is_asked_for() {
    let Some(setup) = Setup::new() else { return };
    let setup = &setup;
    let ncoa = address("2001:db8:1::ff:fe00:1");
    let [first, other] = ["02:00:00:00:00:01", "02:00:00:00:00:02"];
    let entry = || {
        let neighbors = setup.list("-6 neigh show dev acc0 to 2001:db8:1::ff:fe00:1");
        assert_eq!(neighbors.len(), 1, "{neighbors:?}");
        (
            neighbors[0]["lladdr"].clone(),
            neighbors[0]["state"].clone(),
        )
    };
    let replace = |words: &str| {
        setup
            .namespace
            .ip(&format!("-6 neigh replace {ncoa} dev acc0 {words}"))
    };
    setup.run(|| async {
        let (mut netlink, acc0) = connected().await?;
        let stale = json!(["STALE"]);
        for before in [None, Some(first), Some(first)] {
            if before.is_some() {
                replace(&format!("lladdr {first} nud reachable"))?;
            }
            netlink
                .add_neighbor(acc0.index, ncoa, link_address(first), NeighborState::Stale)
                .await?;
            assert_eq!(entry(), (json!(first), stale.clone()));
        }
        // Nobody answers for it any more.
        replace(&format!("lladdr {first} nud failed"))?;
        netlink
            .add_neighbor(acc0.index, ncoa, link_address(other), NeighborState::Stale)
            .await?;
        assert_eq!(entry(), (json!(other), stale));
        netlink
            .add_neighbor(
                acc0.index,
                ncoa,
                link_address(other),
                NeighborState::Reachable,
            )
            .await?;
        assert_eq!(entry(), (json!(other), json!(["REACHABLE"])));
        Ok(())
    });
}

/// A packet came before its mobile node did, and the kernel looks for the node.
// Rows: UNA-07
#[test]
fn a_neighbor_that_is_looked_for_is_found_and_gets_what_waited_for_it() {
    let Some(setup) = Setup::new() else { return };
    let setup = &setup;
    let ncoa = address("2001:db8:1::ff:fe00:1");
    let mac = "02:00:00:00:00:01";
    let state =
        || setup.list("-6 neigh show dev acc0 to 2001:db8:1::ff:fe00:1")[0]["state"].clone();
    setup.run(|| async {
        let (mut netlink, acc0) = connected().await?;
        std::net::UdpSocket::bind("[::]:0")?.send_to(&[0; 8], (ncoa, 9))?;
        assert_eq!(state(), json!(["INCOMPLETE"]));
        netlink
            .add_neighbor(acc0.index, ncoa, link_address(mac), NeighborState::Stale)
            .await?;
        // It was STALE: the packet that was then sent to it has made it DELAY (RFC 4861 7.3.3).
        assert_eq!(state(), json!(["DELAY"]));
        Ok(())
    });
}

// Rows: HI-12
#[test]
fn the_neighbor_with_an_address_is_found_on_its_own_interface_if_it_is_believed() {
    let Some(setup) = Setup::new() else { return };
    let setup = &setup;
    let ncoa = address("2001:db8:1::ff:fe00:1");
    let mac = "02:00:00:00:00:01";
    setup.run(|| async {
        let (mut netlink, acc0) = connected().await?;
        assert_eq!(netlink.neighbor(acc0.index, ncoa).await?, None);
        for (state, known) in [
            ("stale", true),
            ("reachable", true),
            ("permanent", true),
            ("failed", false),
        ] {
            let entry = format!("{ncoa} dev acc0 lladdr {mac} nud {state}");
            setup.namespace.ip(&format!("-6 neigh replace {entry}"))?;
            let found = netlink.neighbor(acc0.index, ncoa).await?;
            assert_eq!(found, known.then(|| link_address(mac)), "{state}");
        }
        let other = address("2001:db8:1::ff:fe00:2");
        setup.namespace.ip(&format!(
            "-6 neigh add {other} dev acc1 lladdr {mac} nud stale"
        ))?;
        assert_eq!(netlink.neighbor(acc0.index, other).await?, None);
        // What we made ourselves says nothing about who has the address.
        let router = address("2001:db8:2::1");
        netlink
            .set_default_router(acc0.index, router, link_address(mac))
            .await?;
        netlink.add_proxy_nd(acc0.index, other).await?;
        assert_eq!(netlink.neighbor(acc0.index, router).await?, None);
        assert_eq!(netlink.neighbor(acc0.index, other).await?, None);
        netlink.clean_up().await;
        Ok(())
    });
}

// Rows: TUN-07, UNA-05
#[test]
fn an_added_address_is_deprecated_and_usable_at_once() {
    let Some(setup) = Setup::new() else { return };
    let before = setup.tables();
    let setup = &setup;
    let ncoa = address("2001:db8:2::ff:fe00:1");
    setup.run(|| async {
        let (mut netlink, acc0) = connected().await?;
        netlink.add_address(acc0.index, ncoa, PREFIX).await?;
        netlink.add_address(acc0.index, ncoa, PREFIX).await?;
        let addresses = setup.addresses("global");
        let added = addresses
            .iter()
            .find(|entry| entry["local"] == json!(ncoa))
            .with_context(|| format!("{addresses:?}"))?;
        assert_eq!(added["prefixlen"], 64);
        assert_eq!(added["deprecated"], true, "{added}");
        assert_eq!(added["preferred_life_time"], 0, "{added}");
        // Tentative alone would mean that it cannot be used for a second.
        assert!(
            added["optimistic"] == true || added["tentative"].is_null(),
            "{added}"
        );
        assert_eq!(setup.switch("acc0/optimistic_dad"), "0");
        // No connection begins from it, though it is the only one with this prefix.
        let route = setup.list("-6 route get 2001:db8:2::9");
        assert_eq!(route[0]["prefsrc"], "2001:db8:1::1", "{route:?}");
        netlink.clean_up().await;
        Ok(())
    });
    assert_eq!(setup.tables(), before);
}

#[test]
fn an_address_that_was_there_before_is_left_alone() {
    let Some(setup) = Setup::new() else { return };
    let before = setup.tables();
    setup.run(|| async {
        let (mut netlink, acc0) = connected().await?;
        netlink
            .add_address(acc0.index, address("2001:db8:1::1"), PREFIX)
            .await?;
        netlink.clean_up().await;
        Ok(())
    });
    assert_eq!(setup.tables(), before);
    assert!(setup.addresses("global")[0]["deprecated"].is_null());
}

#[test]
fn the_parked_pair_is_up_silent_and_removed() {
    let Some(setup) = Setup::new() else { return };
    let before = setup.tables();
    let setup = &setup;
    setup.run(|| async {
        let (mut netlink, _) = connected().await?;
        let parked = netlink.park().await?;
        let links = setup.list("-details link show");
        let ends: Vec<&Value> = links
            .iter()
            .filter(|link| {
                link["ifname"]
                    .as_str()
                    .is_some_and(|name| name.starts_with("fmip-park"))
            })
            .collect();
        assert_eq!(ends.len(), 2, "{links:?}");
        for end in &ends {
            assert_eq!(end["operstate"], "UP", "{end}");
            let name = end["ifname"].as_str().unwrap();
            assert_eq!(setup.switch(&format!("{name}/disable_ipv6")), "1");
        }
        let own = ends
            .iter()
            .find(|end| end["ifindex"] == json!(parked.index))
            .context("its index is that of one end")?;
        assert_eq!(own["ifname"], json!(parked.name));
        netlink.clean_up().await;
        Ok(())
    });
    assert_eq!(setup.tables(), before);
}

#[test]
fn what_a_killed_controller_left_is_removed_and_nothing_else() {
    let Some(setup) = Setup::new() else { return };
    setup
        .namespace
        .ip_batch(
            "neigh add proxy 2001:db8:1::7 dev acc0\n\
             neigh add 2001:db8:1::8 lladdr 02:00:00:00:00:88 dev acc0 nud permanent\n\
             route add default via fe80::99 dev acc0 metric 1024 proto static\n\
             address add 2001:db8:7::1/64 dev acc0 nodad\n",
        )
        .unwrap();
    let before = setup.tables();
    setup.run(|| async {
        let (mut killed, acc0) = connected().await?;
        killed
            .add_proxy_nd(acc0.index, address("2001:db8:1::ff:fe00:1"))
            .await?;
        killed
            .add_address(acc0.index, address("2001:db8:2::ff:fe00:1"), PREFIX)
            .await?;
        killed
            .set_default_router(
                acc0.index,
                address("2001:db8:2::1"),
                link_address("02:00:00:00:00:22"),
            )
            .await?;
        killed
            .add_host_route(acc0.index, address("2001:db8:9::ff:fe00:1"))
            .await?;
        killed.park().await?;
        // Killed: it has no time to clean up.
        std::mem::forget(killed);
        Ok(())
    });
    assert_ne!(setup.tables(), before);
    setup.run(|| async {
        let (mut netlink, acc0) = connected().await?;
        netlink.remove_leftovers(&[acc0]).await
    });
    assert_eq!(setup.tables(), before);
}

#[test]
fn a_link_of_somebody_else_is_not_taken_for_a_leftover() {
    let Some(setup) = Setup::new() else { return };
    setup
        .namespace
        .ip("link add fmip-park0 type bridge")
        .unwrap();
    let before = setup.tables();
    let error = setup.run(|| async {
        let (mut netlink, _) = connected().await?;
        Ok(netlink.park().await.unwrap_err().to_string())
    });
    assert_eq!(
        error,
        "interface fmip-park0 is no veth pair of a controller: give it another name"
    );
    assert_eq!(setup.tables(), before);
}
