//! What a router knows of the routers around it: [AP-ID, AR-Info] tuples (RFC 5568 section 3.1).

use std::{collections::BTreeMap, net::Ipv6Addr};

use crate::wire::{ApOutcome, ApTuple, MacAddr, PrRtAdv, PrRtAdvCode, Prefix, RouterInfo};

use super::{AccessLink, Instant, InterfaceIndex, Peer, PeerAddressing, Reason};

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
    /// On a neighbor's: its place among the peers.
    Neighbor(usize),
}

impl Neighborhood {
    /// An access point that is given twice is where it was given first, ours before others'.
    pub(super) fn new(access: &[AccessLink], peers: &[Peer]) -> Self {
        let ours = access.iter().flat_map(|link| {
            let place = Place::Ours(link.interface);
            link.access_points.iter().map(move |&ap| (ap, place))
        });
        let neighbors = peers.iter().enumerate().flat_map(|(index, peer)| {
            let place = Place::Neighbor(index);
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

    /// The neighbor that `ncoa` is to be used at: the one whose own address it is, or the one with
    /// the longest prefix of it (FBU-14), unless a link of ours has one as long.
    pub(super) fn owner(&self, ncoa: Ipv6Addr) -> Option<&Peer> {
        if let Some(peer) = self.peers.iter().find(|peer| peer.address == ncoa) {
            return Some(peer);
        }
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

    /// What a mobile node on the link of `interface` is told that asks for `access_points`, all of
    /// them if there are none. Tuples that would make a message longer than `room` octets are left
    /// out (PRA-15).
    ///
    /// A message's Code 5 speaks of all that is in it. Access points of routers with DHCP therefore
    /// come in a message of their own, behind the one for the others.
    pub(super) fn advertise(
        &self,
        now: Instant,
        interface: InterfaceIndex,
        access_points: &[MacAddr],
        room: usize,
    ) -> Vec<Advertisement> {
        let mut others = Filling::new(room);
        let mut dhcp = Filling::new(room);
        let mut take = |access_point| {
            let tuple = self.tuple(now, interface, access_point);
            let known = tuple.outcome == ApOutcome::Known;
            let filling = match known && self.is_dhcp(access_point) {
                true => &mut dhcp,
                false => &mut others,
            };
            filling.take(tuple);
        };
        if access_points.is_empty() {
            self.others().for_each(&mut take);
        } else {
            access_points.iter().copied().for_each(&mut take);
        }
        let mut advertisements = Vec::new();
        if dhcp.tuples.is_empty() || !others.tuples.is_empty() {
            advertisements.push(Advertisement {
                code: code(&others.tuples),
                tuples: others.tuples,
            });
        }
        if !dhcp.tuples.is_empty() {
            advertisements.push(Advertisement {
                code: PrRtAdvCode::Dhcp, // PRA-22
                tuples: dhcp.tuples,
            });
        }
        advertisements
    }

    /// What a mobile node on the link of `interface` is told without having asked (PRA-17), in up
    /// to `room` octets.
    pub(super) fn announce(
        &self,
        now: Instant,
        interface: InterfaceIndex,
        room: usize,
    ) -> Advertisement {
        let mut all = Filling::new(room);
        for access_point in self.others() {
            all.take(self.tuple(now, interface, access_point));
        }
        Advertisement {
            code: PrRtAdvCode::Neighborhood,
            tuples: all.tuples,
        }
    }

    /// What makes a mobile node on the link of `interface` move to `access_point`, and use `ncoa`
    /// there if that is given (PRA-17, PRA-19).
    ///
    /// # Errors
    /// No fast handover can be made there, or not with this address.
    pub(super) fn order(
        &self,
        now: Instant,
        interface: InterfaceIndex,
        access_point: MacAddr,
        ncoa: Option<Ipv6Addr>,
    ) -> Result<Advertisement, Reason> {
        let mut tuple = self.tuple(now, interface, access_point);
        match tuple.outcome {
            ApOutcome::Known => {}
            ApOutcome::NoFastHandover => return Err(Reason::PeerIncapable),
            _ => return Err(Reason::UnknownAccessPoint),
        }
        if let Some(ncoa) = ncoa {
            let there = tuple.router.map(|router| router.address);
            let owner = self.owner(ncoa).map(|peer| peer.address);
            if owner != there || owner == Some(ncoa) {
                return Err(Reason::NcoaOutsidePrefix);
            }
            tuple.new_coa = Some(ncoa);
        }
        Ok(Advertisement {
            code: PrRtAdvCode::HandoverTrigger,
            tuples: vec![tuple],
        })
    }

    /// What is news to mobile nodes: the access points of others.
    fn others(&self) -> impl Iterator<Item = MacAddr> {
        self.access_points
            .iter()
            .filter(|(_, place)| matches!(place, Place::Neighbor(_)))
            .map(|(&access_point, _)| access_point)
    }

    fn peer_at(&self, access_point: MacAddr) -> Option<&Peer> {
        match self.access_points.get(&access_point) {
            Some(Place::Neighbor(index)) => self.peers.get(*index),
            _ => None,
        }
    }

    fn is_dhcp(&self, access_point: MacAddr) -> bool {
        self.peer_at(access_point)
            .is_some_and(|peer| peer.addressing == PeerAddressing::Dhcp)
    }

    fn is_incapable(&self, now: Instant, peer: &Peer) -> bool {
        let marked = self.incapable.get(&peer.address);
        !peer.fast_handover || marked.is_some_and(|&until| until > now)
    }

    fn tuple(&self, now: Instant, interface: InterfaceIndex, access_point: MacAddr) -> ApTuple {
        let (outcome, router) = match self.access_points.get(&access_point) {
            None => (ApOutcome::NoPrefix, None), // PRA-08
            Some(Place::Ours(of)) if *of == interface => (ApOutcome::SameInterface, None), // PRA-10
            // A move between two links of one router changes the address, but there is no other
            // router to hand over to.
            Some(Place::Ours(_)) => (ApOutcome::NoFastHandover, None),
            Some(Place::Neighbor(index)) => match &self.peers[*index] {
                peer if self.is_incapable(now, peer) => (ApOutcome::NoFastHandover, None), // PRA-13
                peer => {
                    let router = RouterInfo {
                        lla: peer.lla,
                        address: peer.address,
                        prefix: peer.prefix,
                    };
                    (ApOutcome::Known, Some(router)) // PRA-12
                }
            },
        };
        ApTuple {
            access_point, // PRA-05
            outcome,
            router, // PRA-06
            new_coa: None,
        }
    }
}

/// What a PrRtAdv says of access points.
#[derive(Debug)]
pub(super) struct Advertisement {
    pub(super) code: PrRtAdvCode,
    pub(super) tuples: Vec<ApTuple>,
}

/// Tuples as far as there is room for them.
struct Filling {
    tuples: Vec<ApTuple>,
    length: usize,
    room: usize,
}

impl Filling {
    fn new(room: usize) -> Self {
        Self {
            tuples: Vec::new(),
            length: PrRtAdv::FIXED_LEN + SOURCE_LLA_LEN,
            room,
        }
    }

    fn take(&mut self, tuple: ApTuple) {
        self.length += tuple.encoded_len();
        if self.length <= self.room {
            self.tuples.push(tuple);
        }
    }
}

/// The code of an answer: whether it has news of routers for all, for some or for none of the
/// access points (PRA-08, PRA-12, PRA-13, PRA-16).
fn code(tuples: &[ApTuple]) -> PrRtAdvCode {
    let any = |outcome| tuples.iter().any(|tuple| tuple.outcome == outcome);
    let all_known = tuples.iter().all(|tuple| tuple.outcome == ApOutcome::Known);
    if any(ApOutcome::Known) && all_known {
        PrRtAdvCode::Solicited
    } else if any(ApOutcome::Known) || any(ApOutcome::NoFastHandover) {
        PrRtAdvCode::Partial
    } else {
        PrRtAdvCode::NoNewRouter
    }
}

/// Octets of the option with the sender's own link-layer address.
const SOURCE_LLA_LEN: usize = 16;
