//! MAC management messages of IEEE 802.16e as octets: pure functions that know nothing of sockets,
//! clocks or keys.
//!
//! A [`Pdu`] is a generic MAC header around one [`Message`]: management message type, fields, TLVs,
//! and what authenticates it, whose value is computed elsewhere. Lengths, check sequences and
//! padding are computed when it is written and checked when it is read. TLVs without a meaning
//! survive a round trip.
//!
//! Types, fields and TLV numbers are those of IEEE 802.16e-2005, whose sections the documentation
//! names. The standard's text is not free; where two open implementations of it differ, the one
//! whose fields add up was taken. What is spoken here is a **profile** of it: one PDU per frame,
//! no encryption, fragments or packing, of the many modes those of a plain handover. A value that
//! the profile has no use for is refused by message and field, never guessed at.

use bytes::{Bytes, BytesMut};

mod broadcast;
mod capability;
mod error;
mod field;
mod handover;
mod header;
mod privacy;
#[cfg(test)]
mod properties;
mod ranging;
mod registration;
mod scan;
mod service_flow;
mod tuple;
#[cfg(test)]
mod vectors;

pub use broadcast::{DlMap, MobNbrAdv, Neighbor};
pub use capability::{BasicCapabilities, MacMode, SecurityNegotiation};
pub use error::{DecodeError, TooLong};
pub use field::UnknownTlv;
pub use handover::{
    Candidate, HoIndication, MobBshoReq, MobBshoRsp, MobHoInd, MobMshoReq, Recommendation, Target,
};
pub use privacy::{Pkm, PkmCode};
pub use ranging::{HoOptimization, RangingStatus, RngReq, RngRsp};
pub use registration::{RegReq, RegResponse, RegRsp, RegistrationParameters};
pub use scan::{Measured, MobScnRep, MobScnReq, MobScnRsp, Rssi, ScanGrant, ScanTarget, ScanType};
pub use service_flow::{Confirmation, DsaAnswer, DsaReq, Flows, ServiceFlow};
pub use tuple::{Authentication, CMAC_LEN, CmacTuple, HMAC_LEN, HmacTuple};

use field::{Reader, Writer};
use header::Header;
use tuple::Form;

/// Connection identifiers that are the same everywhere (table 345).
pub mod cid {
    /// Where a station that has no connection yet is ranged.
    pub const INITIAL_RANGING: u16 = 0x0000;
    /// Where all listen.
    pub const BROADCAST: u16 = 0xffff;
}

/// One management message as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pdu {
    /// The connection that it is sent on.
    pub cid: u16,
    /// What it says.
    pub message: Message,
    /// What authenticates it.
    pub authentication: Option<Authentication>,
}

/// One management message as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// What it says.
    pub pdu: Pdu,
    /// The octets that its authentication covers: all of the message up to the tuple.
    pub covered: Bytes,
}

impl Pdu {
    /// Reads a PDU; what stands behind it is padding of the frame that carries it.
    ///
    /// # Errors
    /// It is not of the profile, or it is malformed.
    pub fn decode(bytes: &[u8]) -> Result<Received, DecodeError> {
        let (header, octets) = Header::decode(bytes)?;
        let (message, authentication) = Message::decode(octets)?;
        let (authentication, covered) = match authentication {
            Some((authentication, at)) => (Some(authentication), &octets[..at]),
            None => (None, octets),
        };
        Ok(Received {
            pdu: Self {
                cid: header.cid,
                message,
                authentication,
            },
            covered: Bytes::copy_from_slice(covered),
        })
    }

    /// Writes the whole PDU.
    ///
    /// # Errors
    /// It is longer than a PDU can be.
    pub fn encode(&self) -> Result<Bytes, TooLong> {
        let mut octets = self.covered();
        if let Some(authentication) = &self.authentication {
            let mut writer = Writer::default();
            tuple::encode(authentication, self.message.form(), &mut writer);
            octets.extend_from_slice(&writer.finish());
        }
        let len = header::LEN + octets.len();
        if len > header::MAX_LEN {
            return Err(TooLong {
                message: self.message.name(),
                octets: len,
            });
        }
        let mut pdu = BytesMut::with_capacity(len);
        Header { len, cid: self.cid }.encode(&mut pdu);
        pdu.extend_from_slice(&octets);
        Ok(pdu.freeze())
    }

    /// The octets that the authentication covers: all of the message up to the tuple.
    pub fn covered(&self) -> BytesMut {
        let mut writer = Writer::default();
        writer.octet(self.message.kind());
        self.message.encode(&mut writer);
        writer.align();
        if let Some(authentication) = &self.authentication {
            tuple::encode_covered(authentication, self.message.form(), &mut writer);
        }
        writer.finish()
    }
}

/// The messages of the profile, with their types (table 14) and their names in the standard.
macro_rules! messages {
    ($( $(#[$attribute:meta])* $variant:ident($body:ty) = $kind:literal, $name:literal, $form:ident; )*) => {
        /// What a PDU says.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Message {
            $( $(#[$attribute])* $variant($body), )*
        }

        impl Message {
            /// The message's name in the standard.
            pub fn name(&self) -> &'static str {
                match self {
                    $( Self::$variant(_) => $name, )*
                }
            }

            /// The management message type.
            pub fn kind(&self) -> u8 {
                match self {
                    $( Self::$variant(_) => $kind, )*
                }
            }

            fn form(&self) -> Form {
                match self {
                    $( Self::$variant(_) => Form::$form, )*
                }
            }

            fn decode(octets: &[u8]) -> Result<(Self, Option<(Authentication, usize)>), DecodeError> {
                let truncated = DecodeError::Truncated {
                    message: "management message",
                    field: "type",
                    needed: 8,
                    available: 0,
                };
                match *octets.first().ok_or(truncated)? {
                    $( $kind => {
                        let mut reader = Reader::new($name, octets, Form::$form);
                        reader.octet("type")?;
                        let message = Self::$variant(<$body>::decode(&mut reader)?);
                        Ok((message, reader.authentication))
                    } )*
                    other => Err(DecodeError::MessageType(other)),
                }
            }

            fn encode(&self, writer: &mut Writer) {
                match self {
                    $( Self::$variant(message) => message.encode(writer), )*
                }
            }
        }
    };
}

messages! {
    /// Begins a frame.
    DlMap(DlMap) = 2, "DL-MAP", None;
    /// A station ranges.
    RngReq(RngReq) = 4, "RNG-REQ", Tuple;
    /// How that went.
    RngRsp(RngRsp) = 5, "RNG-RSP", Tuple;
    /// A station registers.
    RegReq(RegReq) = 6, "REG-REQ", Tuple;
    /// Whether it may.
    RegRsp(RegRsp) = 7, "REG-RSP", Tuple;
    /// A station's part of key management.
    PkmReq(Pkm) = 9, "PKM-REQ", Digest;
    /// A base station's part of it.
    PkmRsp(Pkm) = 10, "PKM-RSP", Digest;
    /// A service flow is to be made.
    DsaReq(DsaReq) = 11, "DSA-REQ", Tuple;
    /// Whether it is.
    DsaRsp(DsaAnswer) = 12, "DSA-RSP", Tuple;
    /// That this was heard.
    DsaAck(DsaAnswer) = 13, "DSA-ACK", Tuple;
    /// What a station can.
    SbcReq(BasicCapabilities) = 26, "SBC-REQ", Tuple;
    /// What of it is used.
    SbcRsp(BasicCapabilities) = 27, "SBC-RSP", Tuple;
    /// Which base stations there are around.
    MobNbrAdv(MobNbrAdv) = 53, "MOB_NBR-ADV", None;
    /// A station wants to listen to them.
    MobScnReq(MobScnReq) = 54, "MOB_SCN-REQ", Tuple;
    /// When it may.
    MobScnRsp(MobScnRsp) = 55, "MOB_SCN-RSP", Tuple;
    /// A base station wants a station to move.
    MobBshoReq(MobBshoReq) = 56, "MOB_BSHO-REQ", Tuple;
    /// A station wants to move.
    MobMshoReq(MobMshoReq) = 57, "MOB_MSHO-REQ", Tuple;
    /// Where to.
    MobBshoRsp(MobBshoRsp) = 58, "MOB_BSHO-RSP", Tuple;
    /// It moves.
    MobHoInd(MobHoInd) = 59, "MOB_HO-IND", Tuple;
    /// What a scan found.
    MobScnRep(MobScnRep) = 60, "MOB_SCN-REP", Tuple;
}
