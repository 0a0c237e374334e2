//! The addresses of a mobile node: which are used, which are kept, and what the kernel says of them.

use std::{net::Ipv6Addr, time::Duration};

use anyhow::{Context, Result, ensure};
use fmip_ctl::io::{
    addresses::{AddressWatch, Change},
    netlink::{Netlink, Verdict},
};
use fmip_tests::wait::wait_until;
use serde_json::{Value, json};

use super::{PREFIX, Setup, address, connected};

const SOON: Duration = Duration::from_secs(20);

fn ncoa() -> Ipv6Addr {
    address("2001:db8:2::ff:fe00:1")
}

fn pcoa() -> Ipv6Addr {
    address("2001:db8:1::1")
}

impl Setup {
    fn entry(&self, address: Ipv6Addr) -> Option<Value> {
        let mut entries = self.addresses("global").into_iter();
        entries.find(|entry| entry["local"] == json!(address))
    }

    fn there(&self, address: Ipv6Addr) -> Result<Value> {
        self.entry(address)
            .with_context(|| format!("{address} is not there"))
    }

    /// Where something new would begin that goes to another network.
    fn begins_from(&self) -> Value {
        let route = self.list("-6 route get 2001:db8:c::2");
        route[0]["prefsrc"].clone()
    }

    fn ip(&self, lines: &str) {
        self.namespace.ip_batch(lines).unwrap();
    }

    /// All that addresses and their routes are, but for how long.
    fn state(&self) -> Vec<Value> {
        let mut all = self.addresses("global");
        // Those of the local table follow from the addresses, as soon as these are checked.
        all.extend(self.list("-6 route show table main"));
        for entry in &mut all {
            if let Some(entry) = entry.as_object_mut() {
                for volatile in [
                    "valid_life_time",
                    "preferred_life_time",
                    "expires",
                    "tentative",
                    "optimistic",
                ] {
                    entry.remove(volatile);
                }
            }
        }
        all.push(json!(self.namespace.ip("addrlabel list").unwrap()));
        all
    }
}

/// What the kernel finds out about an address, as soon as it has.
async fn verdict(netlink: &mut Netlink, watch: &mut AddressWatch) -> Result<Verdict> {
    let found = async {
        loop {
            let change = watch.next().await;
            if let Some(verdict) = netlink.note_address(change).await?.pop() {
                return Ok(verdict);
            }
        }
    };
    tokio::time::timeout(SOON, found)
        .await
        .context("the kernel says nothing")?
}

// Rows: UNA-05
#[test]
fn neighbors_are_heard_that_ask_for_an_address_from_the_moment_on_at_which_it_is_added() {
    let Some(setup) = Setup::new() else { return };
    let setup = &setup;
    // ff02::1:ff00:abcd, the solicited-node group of the address (RFC 4291 section 2.7.1).
    let joined = || {
        let groups = setup
            .namespace
            .run(|| Ok(std::fs::read_to_string("/proc/thread-self/net/igmp6")?))
            .unwrap();
        let mut groups = groups.lines();
        groups
            .any(|line| line.contains("acc0") && line.contains("ff0200000000000000000001ff00abcd"))
    };
    assert!(!joined());
    setup.run(|| async {
        let (mut netlink, acc0) = connected().await?;
        let added = address("2001:db8:2::1200:abcd");
        netlink.add_address(acc0.index, added, PREFIX).await?;
        // By a worker of the kernel's, before it asks whether somebody has the address.
        wait_until(
            "the group to be joined",
            SOON,
            || Ok(joined().then_some(())),
        )?;
        netlink.remove_address(acc0.index, added).await?;
        wait_until("the group to be left", SOON, || {
            Ok((!joined()).then_some(()))
        })?;
        Ok(())
    });
}

// Rows: TUN-07
#[test]
fn nothing_begins_from_a_new_address_though_all_are_deprecated_until_it_is_preferred() {
    let Some(setup) = Setup::new() else { return };
    setup.ip("route add default via fe80::99 dev acc0");
    let before = setup.state();
    let setup = &setup;
    setup.run(|| async {
        let (mut netlink, acc0) = connected().await?;
        netlink.add_address(acc0.index, ncoa(), PREFIX).await?;
        netlink.keep_address(acc0.index, pcoa()).await?;
        for address in [pcoa(), ncoa()] {
            assert_eq!(setup.there(address)?["deprecated"], true);
        }
        assert_eq!(setup.begins_from(), json!(pcoa()));
        netlink.prefer_address(acc0.index, ncoa()).await?;
        assert_ne!(setup.there(ncoa())?["deprecated"], true);
        // Until it has been checked it is optimistic, which is no better (RFC 4429 section 3.1).
        wait_until("the address to be used", SOON, || {
            Ok((setup.begins_from() == json!(ncoa())).then_some(()))
        })?;
        netlink.clean_up().await;
        Ok(())
    });
    assert_eq!(setup.state(), before);
}

// Rows: TUN-07
#[test]
fn a_router_advertisement_does_not_make_an_address_one_to_begin_from() {
    let Some(setup) = Setup::new() else { return };
    let setup = &setup;
    setup.run(|| async {
        let mut watch = AddressWatch::start()?;
        let (mut netlink, acc0) = connected().await?;
        netlink.add_address(acc0.index, ncoa(), PREFIX).await?;
        // As the kernel does by RFC 4862 section 5.5.3 e.
        let words = "dev acc0 valid_lft 86400 preferred_lft 14400";
        setup.ip(&format!("address change {}/64 {words}", ncoa()));
        assert_ne!(setup.there(ncoa())?["deprecated"], true);
        let turned_back = async {
            while setup.there(ncoa())?["deprecated"] != true {
                let change = watch.next().await;
                netlink.note_address(change).await?;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(SOON, turned_back)
            .await
            .context("it stays preferred")??;
        // Once it is preferred, it is nobody's business.
        netlink.prefer_address(acc0.index, ncoa()).await?;
        netlink.note_address(Change::Unknown).await?;
        assert_ne!(setup.there(ncoa())?["deprecated"], true);
        Ok(())
    });
}

#[test]
fn an_address_that_runs_out_does_not_while_it_is_kept_and_gets_back_what_it_had() {
    let Some(setup) = Setup::new() else { return };
    let of_ra = address("2001:db8:5::9");
    setup.ip(&format!(
        "address add {of_ra}/64 dev acc0 valid_lft 5000 preferred_lft 3000 nodad mngtmpaddr\n"
    ));
    let before = setup.state();
    let setup = &setup;
    let on_link = || {
        let routes = setup.list("-6 route show dev acc0 proto kernel");
        let is_it = |route: &&Value| {
            route["dst"]
                .as_str()
                .is_some_and(|to| to.starts_with("2001:"))
        };
        routes.iter().filter(is_it).count()
    };
    assert_eq!(on_link(), 2);
    setup.run(|| async {
        let (mut netlink, acc0) = connected().await?;
        // By the people who run the machine, and by the kernel itself.
        for kept in [pcoa(), of_ra] {
            netlink.keep_address(acc0.index, kept).await?;
            // Twice is once.
            netlink.keep_address(acc0.index, kept).await?;
            let entry = setup.there(kept)?;
            assert_eq!(entry["deprecated"], true, "{entry}");
            assert!(entry["valid_life_time"].as_u64() > Some(1 << 31), "{entry}");
        }
        // What is there is not here, and is reached through the tunnel.
        assert_eq!(on_link(), 0);
        for kept in [pcoa(), of_ra] {
            netlink.restore_address(acc0.index, kept, PREFIX).await?;
        }
        assert_eq!(setup.state(), before);
        let entry = setup.there(of_ra)?;
        let life = |name: &str| entry[name].as_u64().unwrap_or_default();
        assert!((4000..=5000).contains(&life("valid_life_time")), "{entry}");
        assert!(
            (2000..=3000).contains(&life("preferred_life_time")),
            "{entry}"
        );
        // Where nobody came back, the end gives it back.
        for kept in [pcoa(), of_ra] {
            netlink.keep_address(acc0.index, kept).await?;
        }
        netlink.clean_up().await;
        assert_eq!(setup.state(), before);
        Ok(())
    });
}

#[test]
fn an_address_whose_tunnel_has_ended_goes_unless_people_gave_it() {
    let Some(setup) = Setup::new() else { return };
    let of_ra = address("2001:db8:5::9");
    setup.ip(&format!(
        "address add {of_ra}/64 dev acc0 valid_lft 5000 preferred_lft 3000 nodad mngtmpaddr\n"
    ));
    let before = setup.state();
    let setup = &setup;
    setup.run(|| async {
        let (mut netlink, acc0) = connected().await?;
        netlink.add_address(acc0.index, ncoa(), PREFIX).await?;
        for kept in [pcoa(), of_ra, ncoa()] {
            netlink.keep_address(acc0.index, kept).await?;
            netlink.remove_address(acc0.index, kept).await?;
        }
        assert!(setup.entry(of_ra).is_none() && setup.entry(ncoa()).is_none());
        assert_eq!(setup.there(pcoa())?["deprecated"], true);
        // Needed again, it comes again, and stays where the kernel had it.
        netlink.restore_address(acc0.index, of_ra, PREFIX).await?;
        assert_ne!(setup.there(of_ra)?["deprecated"], true);
        netlink.clean_up().await;
        assert_eq!(setup.state(), before);
        let left = setup.there(of_ra)?["valid_life_time"].as_u64();
        assert!(left <= Some(5000), "{left:?}");
        Ok(())
    });
    assert!(
        setup
            .run(|| async {
                let (mut netlink, acc0) = connected().await?;
                let gone = netlink.keep_address(acc0.index, ncoa()).await;
                Ok(gone.unwrap_err().to_string())
            })
            .contains("is not on acc0 any more")
    );
}

// Rows: UNA-05, UNA-10
#[test]
fn what_duplicate_address_detection_finds_is_told_once() {
    let Some(setup) = Setup::new() else { return };
    let taken = address("2001:db8:2::99");
    setup.ip(&format!("address add {taken}/64 dev acc1 nodad\n"));
    let setup = &setup;
    setup.run(|| async {
        let mut watch = AddressWatch::start()?;
        let (mut netlink, acc0) = connected().await?;
        netlink.add_address(acc0.index, ncoa(), PREFIX).await?;
        let found = verdict(&mut netlink, &mut watch).await?;
        assert_eq!(found, Verdict::Confirmed(ncoa()));

        netlink.add_address(acc0.index, taken, PREFIX).await?;
        let found = verdict(&mut netlink, &mut watch).await?;
        let expected = Verdict::Duplicate {
            interface: acc0.index,
            address: taken,
            prefix_length: PREFIX,
        };
        assert_eq!(found, expected);
        assert_eq!(netlink.note_address(Change::Unknown).await?, []);
        ensure!(setup.there(taken)?["dadfailed"] == true);
        netlink.remove_address(acc0.index, taken).await?;
        let left: Vec<_> = setup.addresses("global");
        let on_acc0 = left.iter().filter(|entry| entry["local"] == json!(taken));
        ensure!(on_acc0.count() == 0, "{left:?}");
        // What others remove is not ours any more.
        setup.ip(&format!("address del {}/64 dev acc0", ncoa()));
        netlink.note_address(Change::Unknown).await?;
        netlink.remove_address(acc0.index, ncoa()).await?;
        Ok(())
    });
}

/// As the kernel makes one from an advertisement, and as it is when that is done: its check runs, or is
/// over.
fn made_by_the_kernel(setup: &Setup, checked: bool) -> Result<()> {
    let words = "dev acc0 valid_lft 5000 preferred_lft 3000 mngtmpaddr";
    if !checked {
        // Seconds, of which the kernel lets a random part pass before it checks an address; not one that is
        // optimistic. Its own check is not over before ours, however late that begins.
        let delay = "ipv6/conf/acc0/router_solicitation_delay";
        setup.namespace.sysctl(delay, 1_000_000)?;
    }
    setup.ip(&format!("address add {}/64 {words}\n", ncoa()));
    if checked {
        wait_until("the check of the address to be over", SOON, || {
            let entry = setup.there(ncoa())?;
            Ok(entry["tentative"].is_null().then_some(()))
        })?;
    }
    let entry = setup.there(ncoa())?;
    ensure!((entry["tentative"] == true) != checked, "{entry}");
    Ok(())
}

// Rows: TUN-07, UNA-05, UNA-10
#[test]
fn an_address_that_the_kernel_made_first_is_used_held_back_and_watched_like_one_of_ours() {
    for checked in [true, false] {
        let Some(setup) = Setup::new() else { return };
        setup.ip("route add default via fe80::99 dev acc0");
        made_by_the_kernel(&setup, checked).unwrap();
        let before = setup.state();
        let setup = &setup;
        setup.run(|| async {
            let mut watch = AddressWatch::start()?;
            let (mut netlink, acc0) = connected().await?;
            netlink.keep_address(acc0.index, pcoa()).await?;
            netlink.add_address(acc0.index, ncoa(), PREFIX).await?;
            let held = setup.there(ncoa())?;
            ensure!(held["deprecated"] == true, "{checked}: {held}");
            ensure!(
                held["tentative"].is_null() || held["optimistic"] == true,
                "{checked}: it cannot be used: {held}"
            );
            // The other one is deprecated, too.
            ensure!(setup.begins_from() == json!(pcoa()), "{checked}");
            let found = verdict(&mut netlink, &mut watch).await?;
            assert_eq!(found, Verdict::Confirmed(ncoa()));
            // The next advertisement says that the prefix is one to begin from.
            let words = "dev acc0 valid_lft 5000 preferred_lft 3000";
            setup.ip(&format!("address change {}/64 {words}\n", ncoa()));
            netlink.note_address(Change::Unknown).await?;
            ensure!(setup.there(ncoa())?["deprecated"] == true, "{checked}");

            netlink.prefer_address(acc0.index, ncoa()).await?;
            let free = setup.there(ncoa())?;
            ensure!(free["deprecated"] != true, "{checked}: {free}");
            ensure!(setup.begins_from() == json!(ncoa()), "{checked}");
            netlink.clean_up().await;
            Ok(())
        });
        assert_eq!(setup.state(), before, "{checked}");
        let entry = setup.there(ncoa()).unwrap();
        let life = |name: &str| entry[name].as_u64().unwrap_or_default();
        assert!((4000..=5000).contains(&life("valid_life_time")), "{entry}");
        assert!(
            (2000..=3000).contains(&life("preferred_life_time")),
            "{entry}"
        );
    }
}

#[test]
fn an_address_that_the_kernel_made_first_is_given_back_at_the_end_though_it_was_never_used() {
    for checked in [true, false] {
        let Some(setup) = Setup::new() else { return };
        made_by_the_kernel(&setup, checked).unwrap();
        let before = setup.state();
        setup.run(|| async {
            let (mut netlink, acc0) = connected().await?;
            netlink.add_address(acc0.index, ncoa(), PREFIX).await?;
            netlink.clean_up().await;
            Ok(())
        });
        assert_eq!(setup.state(), before, "{checked}");
    }
}

// Rows: UNA-05
#[test]
fn that_another_node_has_the_address_that_the_kernel_made_first_is_told() {
    let Some(setup) = Setup::new() else { return };
    setup.ip(&format!("address add {}/64 dev acc1 nodad\n", ncoa()));
    made_by_the_kernel(&setup, false).unwrap();
    let setup = &setup;
    setup.run(|| async {
        let mut watch = AddressWatch::start()?;
        let (mut netlink, acc0) = connected().await?;
        netlink.add_address(acc0.index, ncoa(), PREFIX).await?;
        let expected = Verdict::Duplicate {
            interface: acc0.index,
            address: ncoa(),
            prefix_length: PREFIX,
        };
        assert_eq!(verdict(&mut netlink, &mut watch).await?, expected);
        netlink.remove_address(acc0.index, ncoa()).await?;
        ensure!(setup.entry(ncoa()).is_none(), "it is still there");
        Ok(())
    });
}

#[test]
fn what_a_killed_node_took_over_goes_or_is_that_of_the_people_who_gave_it_again() {
    let Some(setup) = Setup::new() else { return };
    let given = address("2001:db8:2::77");
    setup.ip(&format!("address add {given}/64 dev acc0 nodad\n"));
    let before = setup.state();
    made_by_the_kernel(&setup, true).unwrap();
    setup.run(|| async {
        let (mut killed, acc0) = connected().await?;
        for found in [ncoa(), given] {
            killed.add_address(acc0.index, found, PREFIX).await?;
        }
        // Killed: it has no time to clean up.
        std::mem::forget(killed);
        Ok(())
    });
    assert_eq!(setup.there(given).unwrap()["deprecated"], true);
    setup.run(|| async {
        let (mut netlink, acc0) = connected().await?;
        netlink.remove_leftovers(&[acc0]).await
    });
    // The kernel makes its own anew from the next advertisement.
    assert_eq!(setup.state(), before);
}

#[test]
fn what_a_killed_node_kept_gets_its_life_back_or_goes() {
    let Some(setup) = Setup::new() else { return };
    let before = setup.state();
    let of_ra = address("2001:db8:5::9");
    setup.ip(&format!(
        "address add {of_ra}/64 dev acc0 valid_lft 5000 preferred_lft 3000 nodad mngtmpaddr \
         noprefixroute\n"
    ));
    let setup = &setup;
    setup.run(|| async {
        let (mut killed, acc0) = connected().await?;
        killed.add_address(acc0.index, ncoa(), PREFIX).await?;
        for kept in [pcoa(), of_ra] {
            killed.keep_address(acc0.index, kept).await?;
        }
        // Killed: it has no time to clean up.
        std::mem::forget(killed);
        Ok(())
    });
    assert_eq!(setup.there(pcoa()).unwrap()["deprecated"], true);
    setup.run(|| async {
        let (mut netlink, acc0) = connected().await?;
        netlink.remove_leftovers(&[acc0]).await
    });
    // The kernel makes it anew from the next advertisement, if it is of this link.
    assert!(setup.entry(of_ra).is_none());
    assert_eq!(setup.state(), before);
}
