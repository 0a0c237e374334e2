//! What a router knows of the routers around it: [AP-ID, AR-Info] tuples (RFC 5568 section 3.1).

use std::{collections::BTreeMap, net::Ipv6Addr};

use crate::wire::{ApOutcome, ApTuple, MacAddr, PrRtAdv, PrRtAdvCode, Prefix, RouterInfo};

use super::{AccessLink, Instant, InterfaceIndex, Peer};

/// The access points and prefixes of this router and of its neighbors.
#[derive(Clone, Debug)]
pub(super) struct Neighborhood {
    /// Of our own links.
    prefixes: Vec<Prefix>,
    peers: Vec<Peer>,
    access_points: BTreeMap<MacAddr, Place>,
    /// Neighbors that did not understand an HI, and until when they are not asked for one.
    incapable: BTreeMap<Ipv6Addr, Instant>,
}

/// Where an access point is.
#[derive(Copy, Clone, Debug)]
enum Place {
    /// On a link of ours.
    Ours(InterfaceIndex),
    /// On a neighbor's.
    Neighbor(RouterInfo),
}

impl Neighborhood {
    /// An access point that is given twice is where it was given first, ours before others'.
    pub(super) fn new(access: &[AccessLink], peers: &[Peer]) -> Self {
        let ours = access.iter().flat_map(|link| {
            let place = Place::Ours(link.interface);
            link.access_points.iter().map(move |&ap| (ap, place))
        });
        let neighbors = peers.iter().flat_map(|peer| {
            let place = Place::Neighbor(RouterInfo {
                lla: peer.lla,
                address: peer.address,
                prefix: peer.prefix,
            });
            peer.access_points.iter().map(move |&ap| (ap, place))
        });
        let mut access_points = BTreeMap::new();
        for (access_point, place) in ours.chain(neighbors) {
            access_points.entry(access_point).or_insert(place);
        }
        Self {
            prefixes: access.iter().map(|link| link.prefix).collect(),
            peers: peers.to_vec(),
            access_points,
            incapable: BTreeMap::new(),
        }
    }

    /// The neighbor with this `address` does not know what an HI is; until then its access points
    /// are given as such without fast handovers.
    pub(super) fn not_understood(&mut self, address: Ipv6Addr, until: Instant) {
        self.incapable.insert(address, until);
    }

    /// Something came from the neighbor with this `address` that only a router sends which knows
    /// fast handovers.
    pub(super) fn heard(&mut self, address: Ipv6Addr) {
        self.incapable.remove(&address);
    }

    /// The neighbor that `ncoa` is to be used at: the one with the longest prefix of it (FBU-14),
    /// unless a link of ours has one as long.
    pub(super) fn owner(&self, ncoa: Ipv6Addr) -> Option<&Peer> {
        let ours = self.prefixes.iter().filter(|prefix| prefix.contains(ncoa));
        let ours = ours.map(|prefix| prefix.length()).max();
        self.peers
            .iter()
            .filter(|peer| peer.prefix.contains(ncoa))
            .max_by_key(|peer| peer.prefix.length())
            .filter(|peer| Some(peer.prefix.length()) > ours)
    }

    /// Whether `address` is one of a neighbor's (AMB-20).
    pub(super) fn is_peer(&self, address: Ipv6Addr) -> bool {
        self.peers.iter().any(|peer| peer.has(address))
    }

    /// Whether the neighbor with this `address` is responsible for `pcoa` (SEC-06).
    pub(super) fn may_announce(&self, address: Ipv6Addr, pcoa: Ipv6Addr) -> bool {
        self.peers
            .iter()
            .any(|peer| peer.has(address) && peer.prefix.contains(pcoa))
    }

    /// The address that the neighbor with this `address` tunnels the packets of `pcoa` from: the one
    /// on the link of that address (TUN-02).
    pub(super) fn tunnel_end(&self, address: Ipv6Addr, pcoa: Ipv6Addr) -> Ipv6Addr {
        let is_it = |peer: &&Peer| peer.has(address) && peer.prefix.contains(pcoa);
        let peer = self.peers.iter().find(is_it);
        peer.map_or(address, |peer| peer.address)
    }

    /// The answer to a mobile node on the link of `interface` that asks for `access_points`, all
    /// of them if there are none. Tuples that would make the message longer than `room` octets
    /// are left out (PRA-15).
    pub(super) fn advertise(
        &self,
        interface: InterfaceIndex,
        access_points: &[MacAddr],
        identifier: u16,
        source_lla: MacAddr,
        room: usize,
    ) -> PrRtAdv {
        let mut advertisement = PrRtAdv {
            code: PrRtAdvCode::Solicited,
            identifier,
            source_lla: Some(source_lla),
            tuples: Vec::new(),
            unknown: Vec::new(),
        };
        let mut length = PrRtAdv::FIXED_LEN + SOURCE_LLA_LEN;
        let mut take = |tuple: ApTuple| {
            length += tuple.encoded_len();
            if length <= room {
                advertisement.tuples.push(tuple);
            }
        };
        if access_points.is_empty() {
            // What is news to the mobile node: the access points of others (PRA-15).
            self.access_points
                .iter()
                .filter(|(_, place)| matches!(place, Place::Neighbor(_)))
                .for_each(|(&ap, _)| take(self.tuple(interface, ap)));
        } else {
            for &access_point in access_points {
                take(self.tuple(interface, access_point));
            }
        }
        let known = |tuple: &ApTuple| tuple.outcome == ApOutcome::Known;
        let tuples = &advertisement.tuples;
        advertisement.code = if !tuples.iter().any(known) {
            PrRtAdvCode::NoNewRouter
        } else if tuples.iter().all(known) {
            PrRtAdvCode::Solicited
        } else {
            PrRtAdvCode::Partial // PRA-16
        };
        advertisement
    }

    fn tuple(&self, interface: InterfaceIndex, access_point: MacAddr) -> ApTuple {
        let (outcome, router) = match self.access_points.get(&access_point) {
            None => (ApOutcome::NoPrefix, None), // PRA-08
            Some(Place::Ours(of)) if *of == interface => (ApOutcome::SameInterface, None), // PRA-10
            // A move between two links of one router changes the address, but there is no other
            // router to hand over to.
            Some(Place::Ours(_)) => (ApOutcome::NoFastHandover, None),
            Some(Place::Neighbor(router)) => (ApOutcome::Known, Some(*router)), // PRA-12
        };
        ApTuple {
            access_point,
            outcome,
            router,
            new_coa: None,
        }
    }
}

/// Octets of the option with the sender's own link-layer address.
const SOURCE_LLA_LEN: usize = 16;
