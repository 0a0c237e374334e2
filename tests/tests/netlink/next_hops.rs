//! The ways of watched destinations, while routes, neighbors and interfaces change.
//!
//! ```text
//!     the namespace of the setup                                   far
//!   +----------------------------+                            +------------+
//!   |  acc0  02:00:00:00:00:11   |  2001:db8:1::/64, mtu 1400 |  acc1      |
//!   |        ::1                 |----------------------------|  ::2       |  02:00:00:00:00:12
//!   |  bak0  02:00:00:00:00:21   |  2001:db8:2::/64, mtu 1500 |  bak1      |
//!   |        ::1                 |----------------------------|  ::2       |  02:00:00:00:00:22
//!   +----------------------------+                            +------------+
//! ```

use std::time::Duration;

use fmip_ctl::io::next_hops::{Change, Effort, NextHops, Upkeep, Way};
use tokio::time::timeout;

use super::*;

const NEAR_MAC: &str = "02:00:00:00:00:11";
const FAR_MAC: &str = "02:00:00:00:00:12";
const OTHER_MAC: &str = "02:00:00:00:00:99";
const BACKUP_NEAR_MAC: &str = "02:00:00:00:00:21";
const BACKUP_FAR_MAC: &str = "02:00:00:00:00:22";
const THIRD_MAC: &str = "02:00:00:00:00:77";
const GATEWAY: &str = "2001:db8:1::2";
const BACKUP_GATEWAY: &str = "2001:db8:2::2";
const REMOTE: &str = "2001:db8:9::1";
const UP: &str = "address add 2001:db8:1::1/64 dev acc0 nodad\n\
                  route replace 2001:db8:9::/64 via 2001:db8:1::2 dev acc0\n";

struct Network {
    setup: Setup,
    far: NetNs,
}

impl Network {
    /// As drawn above, with a route to [`REMOTE`] by way of [`GATEWAY`].
    fn new() -> Option<Self> {
        let setup = Setup::new()?;
        let far = NetNs::create(&format!("{}-far", setup.namespace.name())).unwrap();
        setup
            .namespace
            .ip_batch(&format!(
                "link set acc1 netns {far}\n\
                 link add bak0 address {BACKUP_NEAR_MAC} type veth peer name bak1 netns {far}\n\
                 address add 2001:db8:2::1/64 dev bak0 nodad\n\
                 link set bak0 up\n\
                 route add 2001:db8:9::/64 via {GATEWAY} dev acc0\n",
                far = far.name()
            ))
            .unwrap();
        far.ip_batch(&format!(
            "link set acc1 address {FAR_MAC}\n\
             link set bak1 address {BACKUP_FAR_MAC}\n\
             address add {GATEWAY}/64 dev acc1 nodad\n\
             address add fe80::2/64 dev acc1 nodad\n\
             address add {BACKUP_GATEWAY}/64 dev bak1 nodad\n\
             link set acc1 up\n\
             link set bak1 up\n"
        ))
        .unwrap();
        let network = Self { setup, far };
        // Until the kernel has noticed the carrier it sends nothing, and a search takes seconds.
        wait_until("the carriers", SOON, || {
            let is_up = |name: &str| {
                network.setup.list(&format!("link show {name}"))[0]["operstate"] == "UP"
            };
            Ok((is_up("acc0") && is_up("bak0")).then_some(()))
        })
        .unwrap();
        Some(network)
    }

    fn ip(&self, arguments: &str) -> Result<()> {
        self.setup.namespace.ip(arguments).map(drop)
    }

    fn index(&self, interface: &str) -> u32 {
        let link = &self.setup.list(&format!("link show {interface}"))[0];
        u32::try_from(link["ifindex"].as_u64().unwrap()).unwrap()
    }

    fn way(&self, gateway: &str) -> Way {
        Way {
            interface: self.index("acc0"),
            gateway: address(gateway),
            link_destination: link_address(FAR_MAC),
            link_source: link_address(NEAR_MAC),
            mtu: 1_400,
        }
    }

    fn backup_way(&self) -> Way {
        Way {
            interface: self.index("bak0"),
            gateway: address(BACKUP_GATEWAY),
            link_destination: link_address(BACKUP_FAR_MAC),
            link_source: link_address(BACKUP_NEAR_MAC),
            mtu: 1_500,
        }
    }

    /// The gateway's entry, as `ip` prints it.
    fn entry(&self, neighbor: &str) -> Value {
        self.setup
            .list(&format!("-6 neigh show to {neighbor}"))
            .into_iter()
            .next()
            .unwrap_or_default()
    }

    fn managed(&self, neighbor: &str) -> bool {
        self.entry(neighbor).get("managed").is_some()
    }

    async fn wait_managed(&self, neighbor: &str, managed: bool) -> Result<()> {
        eventually("who manages the neighbor", || {
            self.managed(neighbor) == managed
        })
        .await
    }
}

/// Waits without stopping the runtime, which the code under test runs on.
async fn eventually(what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    timeout(SOON, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .with_context(|| format!("waited for {what} in vain"))
}

/// The next change, which must come.
async fn next(hops: &mut NextHops) -> Result<Change> {
    timeout(SOON, hops.next())
        .await
        .context("no change is told")
}

/// The next change, which must be that the destination has this way.
async fn expect(hops: &mut NextHops, destination: &str, way: Option<Way>) -> Result<()> {
    let change = next(hops).await?;
    let destination = address(destination);
    ensure!(
        change == Change { destination, way },
        "{change:?}, not {way:?}"
    );
    Ok(())
}

/// Changes may come by steps, such as by way of none, until the destination has this way.
async fn until(hops: &mut NextHops, destination: &str, way: Option<Way>) -> Result<()> {
    loop {
        let change = next(hops)
            .await
            .with_context(|| format!("{:?} stays", hops.way(address(destination))))?;
        if change.destination == address(destination) && change.way == way {
            return Ok(());
        }
    }
}

/// All that was told by the kernel has been looked at: another destination is watched, and told.
async fn nothing_else(network: &Network, hops: &mut NextHops) -> Result<()> {
    hops.watch(address(BACKUP_GATEWAY));
    expect(hops, BACKUP_GATEWAY, Some(network.backup_way())).await?;
    hops.unwatch(address(BACKUP_GATEWAY));
    Ok(())
}

async fn watched(network: &Network) -> Result<NextHops> {
    let mut hops = NextHops::start(Upkeep::Managed)?;
    hops.watch(address(REMOTE));
    expect(&mut hops, REMOTE, Some(network.way(GATEWAY))).await?;
    Ok(hops)
}

#[test]
fn a_destination_on_the_link_is_its_own_next_hop() {
    let Some(network) = Network::new() else {
        return;
    };
    let network = &network;
    network.setup.run(|| async {
        let mut hops = NextHops::start(Upkeep::Managed)?;
        hops.watch(address(GATEWAY));
        expect(&mut hops, GATEWAY, Some(network.way(GATEWAY))).await?;
        assert_eq!(hops.way(address(GATEWAY)), Some(network.way(GATEWAY)));
        hops.stop().await;
        Ok(())
    });
}

#[test]
fn a_gateway_and_the_mtu_of_its_route_are_followed() {
    let Some(network) = Network::new() else {
        return;
    };
    let network = &network;
    network.setup.run(|| async {
        let mut hops = watched(network).await?;
        network.ip(&format!(
            "-6 route replace 2001:db8:9::/64 via {GATEWAY} dev acc0 mtu 1300"
        ))?;
        let narrow = Way {
            mtu: 1_300,
            ..network.way(GATEWAY)
        };
        expect(&mut hops, REMOTE, Some(narrow)).await?;
        network.ip("link set acc0 mtu 1290")?;
        let narrower = Way {
            mtu: 1_290,
            ..network.way(GATEWAY)
        };
        expect(&mut hops, REMOTE, Some(narrower)).await?;
        nothing_else(network, &mut hops).await
    });
}

#[test]
fn the_gateways_new_link_layer_address_is_told_and_it_stays_managed() {
    let Some(network) = Network::new() else {
        return;
    };
    let network = &network;
    network.setup.run(|| async {
        let mut hops = watched(network).await?;
        network.wait_managed(GATEWAY, true).await?;
        network.ip(&format!(
            "-6 neigh replace {GATEWAY} dev acc0 lladdr {OTHER_MAC} nud reachable"
        ))?;
        let other = Way {
            link_destination: link_address(OTHER_MAC),
            ..network.way(GATEWAY)
        };
        expect(&mut hops, REMOTE, Some(other)).await?;
        // What replaced the entry took that away.
        network.wait_managed(GATEWAY, true).await?;
        // The gateway itself tells that it has another one (RFC 4861 section 7.2.6).
        network.far.sysctl("ipv6/conf/acc1/ndisc_notify", 1)?;
        network
            .far
            .ip(&format!("link set acc1 address {THIRD_MAC}"))?;
        let third = Way {
            link_destination: link_address(THIRD_MAC),
            ..network.way(GATEWAY)
        };
        expect(&mut hops, REMOTE, Some(third)).await?;
        nothing_else(network, &mut hops).await
    });
}

#[test]
fn a_route_that_moves_to_another_interface_is_one_change() {
    let Some(network) = Network::new() else {
        return;
    };
    let network = &network;
    network.setup.run(|| async {
        let mut hops = watched(network).await?;
        // The other gateway is known already, so that the way never has to be none.
        hops.watch(address(BACKUP_GATEWAY));
        expect(&mut hops, BACKUP_GATEWAY, Some(network.backup_way())).await?;
        network.ip(&format!(
            "-6 route add 2001:db8:9::1/128 via {BACKUP_GATEWAY} dev bak0"
        ))?;
        expect(&mut hops, REMOTE, Some(network.backup_way())).await?;
        // The gateway that it left is kept no longer.
        network.wait_managed(GATEWAY, false).await?;
        // As routing daemons and router advertisements do.
        network.ip("-6 route replace 2001:db8:9::1/128 via fe80::2 dev acc0")?;
        until(&mut hops, REMOTE, Some(network.way("fe80::2"))).await?;
        network.ip("-6 route del 2001:db8:9::1/128")?;
        until(&mut hops, REMOTE, Some(network.way(GATEWAY))).await?;
        network.ip("-6 route del 2001:db8:9::/64")?;
        expect(&mut hops, REMOTE, None).await
    });
}

#[test]
fn an_interface_that_goes_down_leaves_no_way_until_it_is_up_again() {
    let Some(network) = Network::new() else {
        return;
    };
    let network = &network;
    network.setup.run(|| async {
        let mut hops = watched(network).await?;
        network.ip("link set acc0 down")?;
        expect(&mut hops, REMOTE, None).await?;
        network.ip("link set acc0 up")?;
        network.setup.namespace.ip_batch(UP)?;
        until(&mut hops, REMOTE, Some(network.way(GATEWAY))).await?;
        // The carrier alone.
        network.far.ip("link set acc1 down")?;
        expect(&mut hops, REMOTE, None).await?;
        network.far.ip_batch(&format!(
            "link set acc1 up\n\
             address replace {GATEWAY}/64 dev acc1 nodad\n"
        ))?;
        until(&mut hops, REMOTE, Some(network.way(GATEWAY))).await
    });
}

#[test]
fn the_interfaces_own_new_link_layer_address_is_told() {
    let Some(network) = Network::new() else {
        return;
    };
    let network = &network;
    network.setup.run(|| async {
        let mut hops = watched(network).await?;
        network.ip(&format!("link set acc0 address {OTHER_MAC}"))?;
        let other = Way {
            link_source: link_address(OTHER_MAC),
            ..network.way(GATEWAY)
        };
        // The kernel forgets all neighbors of the interface with it.
        until(&mut hops, REMOTE, Some(other)).await
    });
}

#[test]
fn a_gateway_that_does_not_answer_is_no_way_until_it_does() {
    let Some(network) = Network::new() else {
        return;
    };
    let network = &network;
    network.setup.run(|| async {
        let mut hops = watched(network).await?;
        network
            .far
            .ip(&format!("-6 address del {GATEWAY}/64 dev acc1"))?;
        network.ip(&format!(
            "-6 neigh replace {GATEWAY} dev acc0 lladdr {FAR_MAC} nud failed"
        ))?;
        expect(&mut hops, REMOTE, None).await?;
        eventually("the kernel's search to end", || {
            network.entry(GATEWAY)["state"] == json!(["FAILED"])
        })
        .await?;
        network
            .far
            .ip(&format!("-6 address add {GATEWAY}/64 dev acc1 nodad"))?;
        // Nobody sends to it: the kernel looks for it by itself.
        until(&mut hops, REMOTE, Some(network.way(GATEWAY))).await?;
        // Removed by somebody, and found again, perhaps before it was missed.
        network.ip(&format!("-6 neigh del {GATEWAY} dev acc0"))?;
        eventually("the neighbor to be found again", || {
            network.managed(GATEWAY) && network.entry(GATEWAY)["lladdr"] == FAR_MAC
        })
        .await?;
        until_way(&mut hops, address(REMOTE), network.way(GATEWAY)).await
    });
}

#[test]
fn what_no_single_hop_is_true_for_has_no_way() {
    let Some(network) = Network::new() else {
        return;
    };
    let network = &network;
    let single = format!("-6 route replace 2001:db8:9::/64 via {GATEWAY} dev acc0");
    let route = "-6 route replace 2001:db8:9::/64";
    let rule = "-6 rule add pref 100";
    network.setup.run(|| async {
        let mut hops = watched(network).await?;
        let several =
            format!("{route} nexthop via {GATEWAY} dev acc0 nexthop via {BACKUP_GATEWAY} dev bak0");
        for (change, back) in [
            (several.as_str(), single.as_str()),
            (
                "-6 route add blackhole 2001:db8:9::1",
                "-6 route del 2001:db8:9::1",
            ),
            (
                "-6 route add unreachable 2001:db8:9::1",
                "-6 route del 2001:db8:9::1",
            ),
            // To this router itself.
            (
                "-6 address add 2001:db8:9::1/128 dev lo",
                "-6 address del 2001:db8:9::1/128 dev lo",
            ),
            (&format!("{rule} fwmark 7 lookup 7"), "-6 rule del pref 100"),
            (
                &format!("{rule} from 2001:db8:7::/64 lookup 7"),
                "-6 rule del pref 100",
            ),
            (
                &format!("{rule} iif bak0 to 2001:db8:9::/48 lookup 7"),
                "-6 rule del pref 100",
            ),
            (
                &format!("{rule} to 2001:db8:9::/64 unreachable"),
                "-6 rule del pref 100",
            ),
        ] {
            network.ip(change)?;
            expect(&mut hops, REMOTE, None)
                .await
                .context(change.to_owned())?;
            network.ip(back)?;
            expect(&mut hops, REMOTE, Some(network.way(GATEWAY)))
                .await
                .context(back.to_owned())?;
        }
        // A rule for others, and one that looks at nothing but the destination.
        network.ip(&format!("{rule} fwmark 7 to 2001:db8:8::/64 lookup 7"))?;
        network.ip(&format!(
            "-6 route add 2001:db8:9::/64 via {BACKUP_GATEWAY} dev bak0 table 9"
        ))?;
        network.ip("-6 rule add pref 101 to 2001:db8:9::/64 lookup 9")?;
        until(&mut hops, REMOTE, Some(network.backup_way())).await
    });
}

#[test]
fn a_route_for_some_sources_alone_leaves_no_way() {
    let Some(network) = Network::new() else {
        return;
    };
    let network = &network;
    let route = "2001:db8:9::/56 from 2001:db8:7::/64";
    let other = format!("{route} via {BACKUP_GATEWAY} dev bak0");
    if let Err(error) = network.ip(&format!("-6 route add {other}")) {
        let reason = "this kernel has no routes by source";
        let _ = writeln!(
            std::io::stderr(),
            "WITHOUT KERNEL: a_route_for_some_sources_alone_leaves_no_way: {reason}: {error:#}"
        );
        return;
    }
    network.setup.run(|| async {
        // It was there before.
        let mut hops = NextHops::start(Upkeep::Managed)?;
        hops.watch(address(REMOTE));
        nothing_else(network, &mut hops).await?;
        network.ip(&format!("-6 route del {other}"))?;
        expect(&mut hops, REMOTE, Some(network.way(GATEWAY))).await?;
        network.ip(&format!("-6 route add {other}"))?;
        expect(&mut hops, REMOTE, None).await
    });
}

#[test]
fn a_group_of_nexthop_objects_has_no_way_and_a_single_one_has() {
    let Some(network) = Network::new() else {
        return;
    };
    let network = &network;
    network.setup.run(|| async {
        let mut hops = watched(network).await?;
        network.setup.namespace.ip_batch(&format!(
            "nexthop add id 1 via {GATEWAY} dev acc0\n\
             nexthop add id 2 via {BACKUP_GATEWAY} dev bak0\n"
        ))?;
        // Groups have no address family.
        network.ip("nexthop add id 3 group 1/2")?;
        network.ip("-6 route replace 2001:db8:9::/64 nhid 3")?;
        expect(&mut hops, REMOTE, None).await?;
        network.ip("-6 route replace 2001:db8:9::/64 nhid 1")?;
        expect(&mut hops, REMOTE, Some(network.way(GATEWAY))).await?;
        // The object changes, not the route.
        network.ip(&format!(
            "nexthop replace id 1 via {BACKUP_GATEWAY} dev bak0"
        ))?;
        until(&mut hops, REMOTE, Some(network.backup_way())).await
    });
}

#[test]
fn addresses_that_are_of_one_link_alone_have_no_way() {
    let Some(network) = Network::new() else {
        return;
    };
    let network = &network;
    network.setup.run(|| async {
        let mut hops = NextHops::start(Upkeep::Managed)?;
        for destination in ["fe80::1", "ff02::1", "::1", "::"] {
            hops.watch(address(destination));
        }
        nothing_else(network, &mut hops).await
    });
}

#[test]
fn a_vlan_device_is_an_interface_as_any() {
    let Some(network) = Network::new() else {
        return;
    };
    let network = &network;
    let known = network.ip("link add link acc0 name acc0.7 mtu 1396 type vlan id 7");
    if let Err(error) = known {
        let reason = "this kernel makes no VLAN devices";
        let _ = writeln!(
            std::io::stderr(),
            "WITHOUT KERNEL: a_vlan_device_is_an_interface_as_any: {reason}: {error:#}"
        );
        return;
    }
    network
        .setup
        .namespace
        .ip_batch(
            "address add 2001:db8:7::1/64 dev acc0.7 nodad\n\
             link set acc0.7 up\n\
             route add 2001:db8:70::/64 via 2001:db8:7::2 dev acc0.7\n",
        )
        .unwrap();
    network
        .far
        .ip_batch(
            "link add link acc1 name acc1.7 type vlan id 7\n\
             address add 2001:db8:7::2/64 dev acc1.7 nodad\n\
             link set acc1.7 up\n",
        )
        .unwrap();
    network.setup.run(|| async {
        let mut hops = NextHops::start(Upkeep::Managed)?;
        hops.watch(address("2001:db8:70::1"));
        let tagged = Way {
            interface: network.index("acc0.7"),
            mtu: 1_396,
            ..network.way("2001:db8:7::2")
        };
        expect(&mut hops, "2001:db8:70::1", Some(tagged)).await?;
        network.ip("link del acc0.7")?;
        expect(&mut hops, "2001:db8:70::1", None).await
    });
}

#[test]
fn a_bridge_is_an_interface_as_any() {
    let Some(network) = Network::new() else {
        return;
    };
    let network = &network;
    network.setup.run(|| async {
        let mut hops = watched(network).await?;
        network.setup.namespace.ip_batch(&format!(
            "address del 2001:db8:1::1/64 dev acc0\n\
             link add br0 address {OTHER_MAC} type bridge\n\
             link set acc0 master br0\n\
             link set br0 up\n\
             address add 2001:db8:1::1/64 dev br0 nodad\n\
             route replace 2001:db8:9::/64 via {GATEWAY} dev br0\n"
        ))?;
        let bridged = Way {
            interface: network.index("br0"),
            link_source: link_address(OTHER_MAC),
            ..network.way(GATEWAY)
        };
        until(&mut hops, REMOTE, Some(bridged)).await?;
        network.ip("link del br0")?;
        until(&mut hops, REMOTE, None).await
    });
}

/// The 1 000 destinations that the tests of many watch.
fn many() -> impl Iterator<Item = Ipv6Addr> {
    (0..1_000u16).map(|number| Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 1, number))
}

async fn all_have(hops: &mut NextHops, way: Option<Way>) -> Result<()> {
    let mut left: std::collections::BTreeSet<Ipv6Addr> = many().collect();
    while !left.is_empty() {
        let change = next(hops).await?;
        ensure!(change.way == way, "{change:?}, not {way:?}");
        ensure!(left.remove(&change.destination), "{change:?} again");
    }
    Ok(())
}

#[test]
fn a_thousand_destinations_behind_one_gateway_change_once_each_when_it_does() {
    let Some(network) = Network::new() else {
        return;
    };
    let network = &network;
    network.setup.run(|| async {
        let mut hops = NextHops::start(Upkeep::Managed)?;
        many().for_each(|destination| hops.watch(destination));
        all_have(&mut hops, Some(network.way(GATEWAY))).await?;
        let before = hops.effort();
        network.ip(&format!(
            "-6 neigh replace {GATEWAY} dev acc0 lladdr {OTHER_MAC} nud permanent"
        ))?;
        let other = Way {
            link_destination: link_address(OTHER_MAC),
            ..network.way(GATEWAY)
        };
        all_have(&mut hops, Some(other)).await?;
        nothing_else(network, &mut hops).await?;
        let after = hops.effort();
        // For the one that `nothing_else` watches.
        assert_eq!(after.route_questions - before.route_questions, 1);
        let neighbors = after.neighbor_questions - before.neighbor_questions;
        assert!(neighbors < 10, "{neighbors} questions for two neighbors");
        // And when all of them move.
        network.ip(&format!(
            "-6 route replace 2001:db8:9::/64 via {BACKUP_GATEWAY} dev bak0"
        ))?;
        for _ in many() {
            next(&mut hops).await?;
        }
        for destination in many() {
            until_way(&mut hops, destination, network.backup_way()).await?;
        }
        let moved = hops.effort().route_questions - after.route_questions;
        assert!((1_000..=3_000).contains(&moved), "{moved} questions");
        Ok(())
    });
}

async fn until_way(hops: &mut NextHops, destination: Ipv6Addr, way: Way) -> Result<()> {
    while hops.way(destination) != Some(way) {
        next(hops)
            .await
            .with_context(|| format!("{destination}: {:?}", hops.way(destination)))?;
    }
    Ok(())
}

#[test]
fn a_storm_of_route_changes_asks_for_each_destination_once_a_wave() {
    let Some(network) = Network::new() else {
        return;
    };
    let network = &network;
    // Half of them have all watched destinations inside, half have none.
    let mut storm = String::new();
    for number in 0..10_000 {
        storm += &format!("route replace 2001:db8:9::/48 via {BACKUP_GATEWAY} dev bak0 metric 7\n");
        storm += &format!("route replace 2001:db8:a:{number:x}::/64 via {GATEWAY} dev acc0\n");
    }
    storm += &format!("route replace 2001:db8:9::/64 via {BACKUP_GATEWAY} dev bak0\n");
    std::thread::scope(|scope| {
        let (begin, begun) = std::sync::mpsc::channel();
        scope.spawn(move || {
            begun.recv().unwrap();
            network.setup.namespace.ip_batch(&storm).unwrap();
        });
        network.setup.run(|| async move {
            let mut hops = NextHops::start(Upkeep::Managed)?;
            many().for_each(|destination| hops.watch(destination));
            all_have(&mut hops, Some(network.way(GATEWAY))).await?;
            let before = hops.effort();
            begin.send(())?;
            for destination in many() {
                until_way(&mut hops, destination, network.backup_way()).await?;
            }
            let asked = hops.effort().route_questions - before.route_questions;
            // One for every message and destination would be ten million.
            assert!(asked < 100_000, "{asked} questions");
            Ok(())
        });
    });
}

#[test]
fn what_was_told_while_nobody_listened_is_asked_for() {
    let Some(network) = Network::new() else {
        return;
    };
    let network = &network;
    network.setup.run(|| async {
        let mut hops = watched(network).await?;
        assert_eq!(hops.effort().overruns, 0);
        // This thread is busy, and the socket's buffer holds some hundreds to some thousands.
        let mut crowd = String::new();
        for number in 0..20_000 {
            crowd += &format!(
                "neigh replace 2001:db8:1::1:{number:x} lladdr {OTHER_MAC} dev acc0 nud noarp\n"
            );
        }
        crowd += &format!("route replace 2001:db8:9::/64 via {BACKUP_GATEWAY} dev bak0\n");
        network.setup.namespace.ip_batch(&crowd)?;
        until(&mut hops, REMOTE, Some(network.backup_way())).await?;
        assert!(hops.effort().overruns > 0, "{:?}", hops.effort());
        Ok(())
    });
}

#[test]
fn the_kernel_keeps_a_neighbor_from_the_first_watch_to_the_last() {
    let Some(network) = Network::new() else {
        return;
    };
    let network = &network;
    network.setup.run(|| async {
        let mut hops = watched(network).await?;
        network.wait_managed(GATEWAY, true).await?;
        // Another binding with the same tunnel, and another tunnel by the same gateway.
        hops.watch(address(REMOTE));
        hops.watch(address("2001:db8:9::2"));
        expect(&mut hops, "2001:db8:9::2", Some(network.way(GATEWAY))).await?;
        hops.unwatch(address(REMOTE));
        hops.unwatch(address(REMOTE));
        hops.unwatch(address("2001:db8:9::3"));
        nothing_else(network, &mut hops).await?;
        assert!(network.managed(GATEWAY));
        assert_eq!(hops.way(address(REMOTE)), None);
        // What is not watched any more is not told.
        network.ip("-6 route add blackhole 2001:db8:9::1")?;
        nothing_else(network, &mut hops).await?;
        hops.unwatch(address("2001:db8:9::2"));
        network.wait_managed(GATEWAY, false).await?;
        assert_eq!(network.entry(GATEWAY)["lladdr"], FAR_MAC);
        // Watched again, and ended.
        hops.watch(address("2001:db8:9::2"));
        expect(&mut hops, "2001:db8:9::2", Some(network.way(GATEWAY))).await?;
        assert!(network.managed(GATEWAY));
        hops.stop().await;
        assert!(!network.managed(GATEWAY));
        Ok(())
    });
}

#[test]
fn entries_that_somebody_else_keeps_are_used_and_left_as_they_are() {
    let Some(network) = Network::new() else {
        return;
    };
    let network = &network;
    for upkeep in [Upkeep::Managed, Upkeep::Probed] {
        for (kind, key) in [
            ("nud permanent", None),
            ("nud reachable extern_learn", Some("extern_learn")),
            ("managed", Some("managed")),
        ] {
            network
                .ip(&format!(
                    "-6 neigh replace {GATEWAY} dev acc0 {} {kind}",
                    match kind {
                        "managed" => String::new(),
                        _ => format!("lladdr {FAR_MAC}"),
                    }
                ))
                .unwrap();
            let kept = || {
                let entry = network.entry(GATEWAY);
                let flags =
                    ["managed", "extern_learn", "protocol"].map(|key| entry.get(key).is_some());
                (flags, entry["state"] == json!(["PERMANENT"]))
            };
            let before = kept();
            assert!(key.is_none_or(|key| network.entry(GATEWAY).get(key).is_some()));
            network.setup.run(|| async {
                let mut hops = NextHops::start(upkeep)?;
                hops.watch(address(REMOTE));
                expect(&mut hops, REMOTE, Some(network.way(GATEWAY))).await?;
                assert_eq!(kept(), before, "{kind}");
                hops.stop().await;
                Ok(())
            });
            assert_eq!(kept(), before, "{kind}");
            network
                .ip(&format!("-6 neigh del {GATEWAY} dev acc0"))
                .unwrap();
        }
    }
}

#[test]
fn what_a_killed_controller_left_managed_is_taken_back_by_the_next() {
    let Some(network) = Network::new() else {
        return;
    };
    let network = &network;
    network
        .ip(&format!(
            "-6 neigh replace {BACKUP_GATEWAY} dev bak0 managed"
        ))
        .unwrap();
    // The runtime goes with all its tasks, before they could undo anything.
    network.setup.run(|| async {
        let hops = watched(network).await?;
        network.wait_managed(GATEWAY, true).await?;
        std::mem::forget(hops);
        Ok(())
    });
    assert!(network.managed(GATEWAY));
    network.setup.run(|| async {
        let hops = NextHops::start(Upkeep::Managed)?;
        network.wait_managed(GATEWAY, false).await?;
        hops.stop().await;
        Ok(())
    });
    // That is the operator's.
    assert!(network.managed(BACKUP_GATEWAY));
}

#[test]
fn a_kernel_that_keeps_no_neighbors_is_made_to_look_for_them() {
    let Some(network) = Network::new() else {
        return;
    };
    let network = &network;
    network.setup.run(|| async {
        let mut hops = NextHops::start(Upkeep::Probed)?;
        hops.watch(address(REMOTE));
        expect(&mut hops, REMOTE, Some(network.way(GATEWAY))).await?;
        assert!(!network.managed(GATEWAY));
        // Nobody sends to it, and yet it is confirmed.
        let delay = "ipv6/neigh/acc0/delay_first_probe_time";
        network.setup.namespace.sysctl(delay, 1)?;
        network.ip(&format!(
            "-6 neigh replace {GATEWAY} dev acc0 lladdr {FAR_MAC} nud stale"
        ))?;
        let before = hops.effort();
        eventually("the neighbor to be confirmed", || {
            network.entry(GATEWAY)["state"] == json!(["REACHABLE"])
        })
        .await?;
        assert_ne!(hops.effort(), before);
        assert_ne!(before, Effort::default());
        hops.stop().await;
        Ok(())
    });
}
