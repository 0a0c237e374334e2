//! A mobile node, as the control socket shows it: what its core, its link layer and the kernel know.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use netlink_packet_route::address::AddressFlags;
use serde_json::Value;

use super::{
    addresses::Described, execute::Executor, hook::HookCounts, link::Link, machine::now,
    netlink::AddressOwner,
};
use crate::{
    link::Heard,
    observe::show::{AccessPointEntry, AddressEntry, MobileState, PreviousEntry, SilentEntry},
    proto::{Counters, KnownAccessPoint, MobileNodeStatus, PreviousAddress, SilentRouter, Tunnel},
    wire::MacAddr,
};

/// The mobile node as a whole.
///
/// # Errors
/// When the kernel does not tell the addresses.
pub(super) async fn state(
    executor: &Executor,
    link: &Link,
    status: MobileNodeStatus,
    counters: &Counters,
    hook: Option<HookCounts>,
) -> Result<MobileState> {
    // A mobile node has one.
    let interface = executor.interfaces().values().next();
    let interface = interface.context("the mobile node has no interface")?;
    let described = executor.described_addresses(interface.index).await?;
    let access_points = access_points(&status, link.heard());
    let addresses = described
        .iter()
        .filter(|of| of.global)
        .map(|of| address(of, executor.owner_of(of.interface, of.address)));
    Ok(MobileState {
        interface: interface.name.clone(),
        link_up: status.link_up,
        link_layer: link.name().map(str::to_owned),
        health: link.health().cloned(),
        access_point: status.access_point,
        router: status.router,
        router_link_address: status.router_link_address,
        silent_router: status.silent_router.map(silent),
        care_of: status.care_of,
        settled: status.settled,
        registered: status.registered,
        addresses: addresses.collect(),
        previous: status.previous.into_iter().map(previous).collect(),
        handover: status.handover,
        announcing: status.announcing,
        access_points,
        counters: counted(counters, hook, link)?,
    })
}

fn silent(of: SilentRouter) -> SilentEntry {
    let left = of.asked_next_ns.map(|next| next - now());
    SilentEntry {
        asked_in_s: left.map(|left| left.as_secs_f64()),
    }
}

fn previous(of: PreviousAddress) -> PreviousEntry {
    PreviousEntry {
        address: of.address,
        tunnel: Tunnel {
            local: of.tunnel_from,
            remote: of.router,
        },
        expires_in_s: (of.expires_ns - now()).as_secs_f64(),
        ending: of.ending,
    }
}

fn address(of: &Described, owner: AddressOwner) -> AddressEntry {
    const NAMED: [(AddressFlags, &str); 6] = [
        (AddressFlags::Dadfailed, "duplicate"),
        (AddressFlags::Optimistic, "optimistic"),
        (AddressFlags::Tentative, "tentative"),
        (AddressFlags::Deprecated, "deprecated"),
        (AddressFlags::Homeaddress, "home"),
        (AddressFlags::Secondary, "temporary"),
    ];
    let flags = NAMED.iter().filter(|(flag, _)| of.flags.contains(*flag));
    let finite = |seconds: u32| Some(seconds).filter(|seconds| *seconds != u32::MAX);
    AddressEntry {
        address: of.address,
        prefix_length: of.prefix_length,
        role: match owner {
            AddressOwner::Own => "care-of",
            AddressOwner::Kept => "kept",
            AddressOwner::Others => "other",
        }
        .to_owned(),
        flags: flags.map(|(_, name)| (*name).to_owned()).collect(),
        preferred_s: finite(of.preferred_s),
        valid_s: finite(of.valid_s),
    }
}

/// Those that are heard, the strongest first, and then those that the router told about besides.
fn access_points(status: &MobileNodeStatus, heard: &[Heard]) -> Vec<AccessPointEntry> {
    let known: BTreeMap<MacAddr, &KnownAccessPoint> = (status.access_points.iter())
        .map(|of| (of.access_point, of))
        .collect();
    let entry = |access_point: MacAddr, heard: Option<&Heard>| {
        let known = known.get(&access_point);
        AccessPointEntry {
            access_point,
            attached: status.link_up && status.access_point == Some(access_point),
            signal_dbm: heard.and_then(|heard| heard.signal_dbm),
            age_ms: heard.map(|heard| heard.age_ms),
            knowledge: known.map(|known| known.knowledge.clone()),
            router: known.and_then(|known| known.router),
            prefix: known.and_then(|known| known.prefix.clone()),
            ncoa: known.and_then(|known| known.ncoa),
        }
    };
    let is_heard = |access_point| heard.iter().any(|heard| heard.access_point == access_point);
    let others = known.keys().filter(|of| !is_heard(**of));
    heard
        .iter()
        .map(|heard| entry(heard.access_point, Some(heard)))
        .chain(others.map(|of| entry(*of, None)))
        .collect()
}

/// What was counted at all.
fn counted(
    counters: &Counters,
    hook: Option<HookCounts>,
    link: &Link,
) -> Result<BTreeMap<String, u64>> {
    let mut counted = BTreeMap::new();
    let mut add = |prefix: &str, value: Value| {
        let Value::Object(fields) = value else {
            return;
        };
        for (name, number) in fields {
            if let Some(number) = number.as_u64().filter(|number| *number != 0) {
                counted.insert(format!("{prefix}{}", name.replace('_', "-")), number);
            }
        }
    };
    add("", serde_json::to_value(counters)?);
    add("on-care-of-address-", serde_json::to_value(hook)?);
    add("link-layer-", serde_json::to_value(link.counts())?);
    add("handover-failed-", serde_json::to_value(link.failed())?);
    add(
        "ending-failed-",
        serde_json::to_value(link.endings_failed())?,
    );
    Ok(counted)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use crate::proto::{Event, Failure, Output};

    const HERE: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 1]);
    const THERE: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 2]);
    const TOLD: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 3]);

    #[test]
    fn an_access_point_is_shown_once_with_all_that_is_known_of_it() {
        let router: Ipv6Addr = "2001:db8:2::1".parse().unwrap();
        let known = |access_point| KnownAccessPoint {
            access_point,
            knowledge: "router".to_owned(),
            router: Some(router),
            prefix: None,
            ncoa: None,
        };
        let status = MobileNodeStatus {
            link_up: true,
            access_point: Some(HERE),
            router: None,
            router_link_address: None,
            silent_router: None,
            care_of: "2001:db8:1::9".parse().unwrap(),
            settled: true,
            registered: false,
            previous: Vec::new(),
            handover: None,
            announcing: None,
            access_points: vec![known(THERE), known(TOLD)],
        };
        let heard = |access_point, signal_dbm| Heard {
            access_point,
            signal_dbm: Some(signal_dbm),
            age_ms: 40,
            attached: access_point == HERE,
        };
        let shown = access_points(&status, &[heard(THERE, -50), heard(HERE, -70)]);
        let order: Vec<_> = shown.iter().map(|of| of.access_point).collect();
        assert_eq!(order, [THERE, HERE, TOLD]);
        assert_eq!(
            (shown[0].signal_dbm, shown[0].router),
            (Some(-50), Some(router))
        );
        assert!(shown[1].attached && shown[1].knowledge.is_none());
        assert_eq!((shown[2].age_ms, shown[2].router), (None, Some(router)));
    }

    #[test]
    fn only_what_happened_is_counted() {
        let counters = Counters {
            sent_fbu: 2,
            ..Counters::default()
        };
        let hook = HookCounts {
            failed: 1,
            ..HookCounts::default()
        };
        let mut link = Link::default();
        let reason = Failure::NoFback;
        link.note(&Output::Event(Event::HandoverFailed { reason }));
        let counted = counted(&counters, Some(hook), &link).unwrap();
        let expected = [
            ("handover-failed-no-fback", 1),
            ("on-care-of-address-failed", 1),
            ("sent-fbu", 2),
        ];
        assert!(
            counted
                .iter()
                .map(|(name, of)| (name.as_str(), *of))
                .eq(expected)
        );
    }
}
