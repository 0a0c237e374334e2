//! An FBU that was found in order, and the FBack to it (RFC 5568 sections 6.2.2 and 6.2.3).

use std::{net::Ipv6Addr, time::Duration};

use bytes::Bytes;

use crate::wire::{
    FastBindingAck, FastBindingStatus, FastBindingUpdate, HiCode, MacAddr, Message, Packet,
};

use super::super::{
    HOP_LIMIT, HandoverKey, InterfaceIndex,
    auth::{self, Addresses},
};

/// An FBU that was found authentic and in order, and what the router knows about it.
#[derive(Clone, Debug)]
pub(in crate::proto) struct Request {
    pub(in crate::proto) sequence: u16,
    /// What is granted of what was asked for.
    pub(in crate::proto) lifetime: Duration,
    /// Where it came from.
    pub(in crate::proto) source: Ipv6Addr,
    /// Whether it came over a link of ours.
    pub(in crate::proto) on_link: bool,
    pub(in crate::proto) pcoa: Ipv6Addr,
    pub(in crate::proto) ncoa: Ipv6Addr,
    /// The mobile node's link-layer address.
    pub(in crate::proto) lla: MacAddr,
    /// The NAR.
    pub(in crate::proto) peer: Ipv6Addr,
    /// Whether the NAR assigns addresses ('S').
    pub(in crate::proto) assigned: bool,
    /// The address of ours that the mobile node wrote to.
    pub(in crate::proto) par: Ipv6Addr,
    /// Our address on the mobile node's link: our end of the tunnel (TUN-02), and where the HI
    /// comes from.
    pub(in crate::proto) local: Ipv6Addr,
    /// The mobile node's link.
    pub(in crate::proto) interface: InterfaceIndex,
    /// How far back copies of packets are kept on that link, if they are.
    pub(in crate::proto) copy_window: Option<Duration>,
    pub(in crate::proto) key: HandoverKey,
}

impl Request {
    /// Whether the mobile node had not moved yet when it wrote this.
    pub(in crate::proto) fn is_predictive(&self) -> bool {
        self.source == self.pcoa
    }

    /// Whether `message` from `source` is the FBU that this was made of, or says the same.
    pub(in crate::proto) fn is_asked_by(
        &self,
        message: &FastBindingUpdate,
        source: Ipv6Addr,
    ) -> bool {
        let ncoa = message.alternate_coa.unwrap_or(source);
        (self.sequence, self.ncoa, self.source) == (message.sequence, ncoa, source)
            && message.lifetime > 0
    }

    /// HI-03: what the HI says about where the mobile node is.
    pub(super) fn code(&self) -> HiCode {
        if self.is_predictive() {
            HiCode::PcoaSource
        } else {
            HiCode::OtherSource
        }
    }

    /// Whether `newer` asks the NAR the same thing (AMB-11).
    pub(super) fn is_same_question(&self, newer: &Self) -> bool {
        let key = |request: &Self| (request.ncoa, request.peer, request.code());
        key(self) == key(newer)
    }

    /// The link to answer on, past any tunnel: where the mobile node wrote from, if that is the
    /// link that it leaves.
    pub(super) fn old_link(&self) -> Option<InterfaceIndex> {
        (self.on_link && self.is_predictive()).then_some(self.interface)
    }

    /// The FBack to this request.
    pub(super) fn fback(&self, destination: Ipv6Addr, care_of: Ipv6Addr, answer: Answer) -> Bytes {
        let acknowledgment = Acknowledgment {
            par: self.par,
            destination,
            care_of,
            sequence: self.sequence,
            answer,
        };
        acknowledgment.sign(&self.key)
    }
}

/// What an FBack says.
#[derive(Copy, Clone, Debug)]
pub(in crate::proto) struct Answer {
    pub(in crate::proto) status: FastBindingStatus,
    /// Whole seconds; 0 with a refusal.
    pub(in crate::proto) lifetime: u16,
    /// The NCoA that the mobile node must use in place of its own proposal (FBA-04, FBA-06).
    pub(in crate::proto) alternate_coa: Option<Ipv6Addr>,
}

impl Answer {
    /// Also the answer to an FBU that ends a binding, whose lifetime is 0.
    pub(in crate::proto) fn refusal(status: FastBindingStatus) -> Self {
        Self {
            status,
            lifetime: 0,
            alternate_coa: None,
        }
    }
}

/// An FBack and whom it is for.
#[derive(Copy, Clone, Debug)]
pub(in crate::proto) struct Acknowledgment {
    /// The address of ours that the FBU was sent to.
    pub(in crate::proto) par: Ipv6Addr,
    pub(in crate::proto) destination: Ipv6Addr,
    /// What the authenticator covers (AMB-16).
    pub(in crate::proto) care_of: Ipv6Addr,
    pub(in crate::proto) sequence: u16,
    pub(in crate::proto) answer: Answer,
}

impl Acknowledgment {
    /// Writes it with its BADF option (FBA-05).
    pub(in crate::proto) fn sign(self, key: &HandoverKey) -> Bytes {
        let packet = Packet {
            source: self.par,
            // AMB-08: no routing header.
            destination: self.destination,
            hop_limit: HOP_LIMIT,
            home_address: None,
            message: Message::FastBindingAck(FastBindingAck {
                status: self.answer.status,
                key_management: false,
                sequence: self.sequence, // FBA-01
                lifetime: self.answer.lifetime,
                alternate_coa: self.answer.alternate_coa,
                unknown: Vec::new(),
                authorization: None,
            }),
        };
        let addresses = Addresses {
            care_of: self.care_of,
            par: self.par,
        };
        auth::sign(packet, key.spi, &key.key, addresses)
    }
}
