//! Who may send how much signalling to this node: what the data path is told about it (SEC-07).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{HashMap, MapData},
};
use fmip_common::signalling::{LINK_ACCESS, LINK_CORE, Link, QUEUES_PER_LINK, Rate, Station};

use super::maps::{gone, take};
use crate::{
    config::{Config, Interface, Role},
    proto::{InterfaceIndex, Limits, StationEvent},
    wire::MacAddr,
};

/// How many times as much as one source all those of a link may send that are not expected.
const SOURCES_AT_ONCE: u32 = 20;
/// Messages in a second from the mobile nodes of a link, for each handover that it may have at a time:
/// RtSolPr, FBU and UNA, and one again.
const MESSAGES_PER_HANDOVER: u32 = 4;

/// The maps that say it.
pub struct Admission {
    links: HashMap<MapData, u32, Link>,
    stations: HashMap<MapData, Station, u32>,
    /// The mobile nodes that are on a link, as far as they are known.
    attached: BTreeMap<(InterfaceIndex, Ipv6Addr), MacAddr>,
    /// Those that the configuration names.
    named: BTreeSet<Station>,
    /// What `stations` holds, and for how many of the above.
    written: BTreeMap<Station, u32>,
}

impl Admission {
    /// Takes the maps out of the loaded object.
    ///
    /// # Errors
    /// When a map is missing.
    pub fn new(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            links: take(ebpf, "SIGNAL_LINKS")?.try_into()?,
            stations: take(ebpf, "STATIONS")?.try_into()?,
            attached: BTreeMap::new(),
            named: BTreeSet::new(),
            written: BTreeMap::new(),
        })
    }

    /// Goes by what the configuration says of these interfaces, from now on.
    ///
    /// # Errors
    /// When a map is full.
    pub fn configure(&mut self, config: &Config, interfaces: &[&Interface]) -> Result<()> {
        for (index, link) in links(config, interfaces) {
            self.set_link(index, link)?;
        }
        let named = named(config, interfaces);
        for station in named.difference(&self.named.clone()) {
            self.expect(*station)?;
        }
        for station in self.named.clone().difference(&named) {
            self.forget(*station)?;
        }
        self.named = named;
        Ok(())
    }

    /// Says what is admitted from an interface; 0 stands for all that nothing is said of.
    ///
    /// # Errors
    /// When the map is full.
    pub fn set_link(&mut self, interface: InterfaceIndex, link: Link) -> Result<()> {
        self.links
            .insert(interface, link, 0)
            .with_context(|| format!("cannot limit the signalling from interface {interface}"))
    }

    /// A mobile node that is on a link is expected to speak there.
    ///
    /// # Errors
    /// When the map is full.
    pub fn note(&mut self, event: &StationEvent) -> Result<()> {
        match *event {
            StationEvent::Attached {
                interface,
                address,
                link_address,
            } => {
                let place = (interface, address);
                if self.attached.get(&place) == Some(&link_address) {
                    return Ok(());
                }
                self.expect(station(interface, link_address))?;
                match self.attached.insert(place, link_address) {
                    Some(before) => self.forget(station(interface, before)),
                    None => Ok(()),
                }
            }
            StationEvent::Departed { interface, address } => {
                match self.attached.remove(&(interface, address)) {
                    Some(before) => self.forget(station(interface, before)),
                    None => Ok(()),
                }
            }
        }
    }

    /// Expects a station for one reason more.
    fn expect(&mut self, station: Station) -> Result<()> {
        if !self.written.contains_key(&station) {
            self.stations
                .insert(station, 1, 0)
                .with_context(|| format!("cannot expect {}", MacAddr(station.address)))?;
        }
        *self.written.entry(station).or_default() += 1;
        Ok(())
    }

    /// Expects it for one reason less.
    fn forget(&mut self, station: Station) -> Result<()> {
        match self.written.get_mut(&station) {
            Some(reasons) if *reasons > 1 => {
                *reasons -= 1;
                Ok(())
            }
            Some(_) => {
                self.written.remove(&station);
                gone(self.stations.remove(&station))
                    .with_context(|| format!("cannot forget {}", MacAddr(station.address)))
            }
            None => Ok(()),
        }
    }
}

fn station(interface: InterfaceIndex, address: MacAddr) -> Station {
    Station {
        interface,
        address: address.0,
        reserved: [0; 2],
    }
}

/// What is admitted from each interface.
fn links(config: &Config, interfaces: &[&Interface]) -> Vec<(InterfaceIndex, Link)> {
    let (limits, core) = match &config.role {
        Role::AccessRouter(router) => (router.limits.clone(), router.core.as_slice()),
        // Everything comes from its own link.
        Role::MobileNode(_) => (Limits::default(), [].as_slice()),
    };
    let one = limits.signalling_per_source;
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let one_of_others = Rate::per_second(one, one);
    let all_others = one.saturating_mul(SOURCES_AT_ONCE);
    // A quarter of a second's worth at once: so long the controller may be busy with it.
    let all_others = Rate::per_second(all_others, (all_others / 4).max(one));
    let of = |name: &String| match core.iter().any(|core| core.interface == *name) {
        // A neighbor speaks for as many mobile nodes as it may hand over. All neighbors together are
        // bounded by their number.
        true => {
            let one = one.max(number(limits.max_per_peer));
            (LINK_CORE, Rate::per_second(one, one), Rate::UNBOUNDED)
        }
        false => {
            let all = number(limits.max_per_link).saturating_mul(MESSAGES_PER_HANDOVER);
            let all = all.max(one);
            (LINK_ACCESS, one_of_others, Rate::per_second(all, all))
        }
    };
    let places = (1_u32..).map(|place| place * QUEUES_PER_LINK);
    (interfaces.iter().zip(places))
        .map(|(interface, queue)| {
            let (kind, one_expected, all_expected) = of(&interface.name);
            let link = Link {
                kind,
                queue,
                source: [one_expected, one_of_others],
                all: [all_expected, all_others],
            };
            (interface.index, link)
        })
        .collect()
}

/// The stations that the configuration knows by their link-layer addresses.
fn named(config: &Config, interfaces: &[&Interface]) -> BTreeSet<Station> {
    let Role::AccessRouter(router) = &config.role else {
        return BTreeSet::new();
    };
    (router.access.iter())
        .filter_map(|access| {
            let named = |interface: &&&Interface| interface.name == access.interface;
            let index = interfaces.iter().find(named)?.index;
            let addresses = access.known_link_addresses.iter();
            Some(addresses.map(move |&address| station(index, address)))
        })
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn interface(name: &str, index: u32) -> Interface {
        Interface {
            name: name.to_owned(),
            index,
            link_address: MacAddr([2; 6]),
            mtu: 1500,
            up: true,
            link_local: None,
            addresses: vec![],
        }
    }

    #[test]
    fn every_interface_has_queues_of_its_own_and_the_configured_rates() {
        let text = include_str!("../../examples/access-router.toml")
            .replace("#signalling-per-source = 100", "signalling-per-source = 50")
            .replace(
                "#known-link-addresses = []",
                "known-link-addresses = [\"02:00:00:00:0a:77\"]",
            );
        let config = Config::parse(Path::new("x.toml"), &text).unwrap();
        let interfaces = [interface("core0", 7), interface("acc0", 9)];
        let interfaces = [&interfaces[0], &interfaces[1]];
        let links = links(&config, &interfaces);
        let [(7, core), (9, access)] = links[..] else {
            panic!("{links:?}")
        };
        assert_eq!((core.kind, core.queue), (LINK_CORE, 2));
        assert_eq!((access.kind, access.queue), (LINK_ACCESS, 4));
        assert_eq!(core.source[0], Rate::per_second(1024, 1024));
        assert_eq!(core.all[0], Rate::UNBOUNDED);
        assert_eq!(access.source[0], Rate::per_second(50, 50));
        assert_eq!(access.all[0], Rate::per_second(4096, 4096));
        for link in [core, access] {
            assert_eq!(link.source[1], Rate::per_second(50, 50));
            assert_eq!(link.all[1], Rate::per_second(1000, 250));
        }
        let known = station(9, MacAddr([2, 0, 0, 0, 0x0a, 0x77]));
        assert_eq!(named(&config, &interfaces), BTreeSet::from([known]));
    }
}
