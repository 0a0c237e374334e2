//! Ranging: RNG-REQ and RNG-RSP, the first messages at a base station.

use super::{
    capability::BasicCapabilities,
    error::DecodeError,
    field::{Reader, UnknownTlv, Writer},
    registration::RegistrationParameters,
};
use crate::wire::{MacAddr, code::code};

/// RNG-REQ (section 6.3.2.3.5): reserved (8), then TLVs of section 11.5.
///
/// Of the profile are the types 2, 5, 6 and 7; the burst profile and ranging anomalies of a real
/// radio are carried along as unknown. Authenticated if it belongs to a handover.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RngReq {
    /// 2: the station. Always sent on the initial ranging connection.
    pub station: Option<MacAddr>,
    /// 5: the base station that it comes from.
    pub serving: Option<MacAddr>,
    /// 6, bit 0: it is handed over.
    pub handover: bool,
    /// 7: what the target called this handover.
    pub ho_id: Option<u8>,
    /// TLVs that the profile gives no meaning to.
    pub unknown: Vec<UnknownTlv>,
}

impl RngReq {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.octet("reserved")?;
        let mut message = Self::default();
        let mut purpose = None;
        while let Some(tlv) = reader.tlv()? {
            match tlv.kind {
                2 => {
                    let field = "SS MAC address";
                    let station = MacAddr(tlv.fixed(field)?);
                    tlv.once(&mut message.station, field, station)?;
                }
                5 => {
                    let field = "serving BSID";
                    let serving = MacAddr(tlv.fixed(field)?);
                    tlv.once(&mut message.serving, field, serving)?;
                }
                6 => {
                    let field = "ranging purpose indication";
                    let [value] = tlv.fixed(field)?;
                    tlv.once(&mut purpose, field, value)?;
                }
                7 => {
                    let [id] = tlv.fixed("HO_ID")?;
                    tlv.once(&mut message.ho_id, "HO_ID", id)?;
                }
                _ => message.unknown.push(tlv.unknown()),
            }
        }
        message.handover = purpose.is_some_and(|purpose| purpose & 1 != 0);
        Ok(message)
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.octet(0);
        writer.optional(2, self.station.map(|address| address.0));
        writer.optional(5, self.serving.map(|address| address.0));
        writer.optional(6, self.handover.then_some([1]));
        writer.optional(7, self.ho_id.map(|id| [id]));
        writer.unknown(&self.unknown);
    }
}

code! {
    /// How ranging goes on (section 11.6, type 4).
    RangingStatus {
        /// Once more, with what the message adjusts.
        Continue = 1,
        /// Not here.
        Abort = 2,
        /// The station is ranged.
        Success = 3,
        /// From the beginning.
        Rerange = 4,
    }
}

/// HO process optimization (section 11.6, type 21): what of network entry is skipped because the
/// target has it from the serving base station.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HoOptimization(pub u16);

impl HoOptimization {
    /// Bit 0: no SBC-REQ/RSP.
    pub const OMIT_SBC: Self = Self(1);
    /// Bits 1 and 2 are 1 and 0: no PKM, the new keys are in RNG-RSP.
    pub const UPDATE_TEK: Self = Self(0b010);
    /// Bits 1 and 2 are 1 and 1: no PKM, all keys are used on.
    pub const OMIT_PKM: Self = Self(0b110);
    /// Bit 6: all of the service flows are there already.
    pub const FULL_STATE: Self = Self(1 << 6);
    /// Bit 7: no REG-REQ/RSP.
    pub const OMIT_REG: Self = Self(1 << 7);
    /// Bit 10: the base station sends REG-RSP unasked.
    pub const UNSOLICITED_REG: Self = Self(1 << 10);

    /// Both together.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether SBC-REQ/RSP is skipped.
    pub const fn omits_sbc(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether PKM is skipped: bit 1, whatever bit 2 says.
    pub const fn omits_pkm(self) -> bool {
        self.0 & 0b010 != 0
    }

    /// Whether REG-REQ/RSP is skipped.
    pub const fn omits_reg(self) -> bool {
        self.0 & 1 << 7 != 0
    }

    /// Whether service flows need not be made again.
    pub const fn keeps_flows(self) -> bool {
        self.0 & 1 << 6 != 0
    }
}

/// RNG-RSP (section 6.3.2.3.6): reserved (8), then TLVs of section 11.6.
///
/// Of the profile are the types 1 to 4, 8 to 10, 17, 20 to 22, 29 and 30. Authenticated if the
/// RNG-REQ was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RngRsp {
    /// 4: how it goes on; there must be one.
    pub status: RangingStatus,
    /// 1: timing adjustment, as it stands.
    pub timing: Option<[u8; 4]>,
    /// 2: power adjustment in quarters of a dB, as a two's complement.
    pub power: Option<u8>,
    /// 3: frequency adjustment, as it stands.
    pub frequency: Option<[u8; 4]>,
    /// 8: the station that is meant; always sent on the initial ranging connection.
    pub station: Option<MacAddr>,
    /// 9: its basic connection from now on.
    pub basic_cid: Option<u16>,
    /// 10: its primary management connection from now on.
    pub primary_cid: Option<u16>,
    /// 17: service level prediction.
    pub service_level: Option<u8>,
    /// 20: whether the serving base station keeps what it has of the station.
    pub resource_retain: Option<bool>,
    /// 21: what is skipped.
    pub ho_optimization: Option<HoOptimization>,
    /// 22: what the target calls this handover.
    pub ho_id: Option<u8>,
    /// 29: what an SBC-RSP would say.
    pub sbc: Option<BasicCapabilities>,
    /// 30: what a REG-RSP would say.
    pub reg: Option<RegistrationParameters>,
    /// TLVs that the profile gives no meaning to.
    pub unknown: Vec<UnknownTlv>,
}

impl RngRsp {
    /// One that says no more than how it goes on.
    pub fn new(status: RangingStatus) -> Self {
        Self {
            status,
            timing: None,
            power: None,
            frequency: None,
            station: None,
            basic_cid: None,
            primary_cid: None,
            service_level: None,
            resource_retain: None,
            ho_optimization: None,
            ho_id: None,
            sbc: None,
            reg: None,
            unknown: Vec::new(),
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.octet("reserved")?;
        let mut message = Self::new(RangingStatus::Other(0));
        let mut status = None;
        while let Some(tlv) = reader.tlv()? {
            match tlv.kind {
                1 => {
                    let field = "timing adjust";
                    tlv.once(&mut message.timing, field, tlv.fixed(field)?)?;
                }
                2 => {
                    let field = "power level adjust";
                    let [power] = tlv.fixed(field)?;
                    tlv.once(&mut message.power, field, power)?;
                }
                3 => {
                    let field = "offset frequency adjust";
                    tlv.once(&mut message.frequency, field, tlv.fixed(field)?)?;
                }
                4 => {
                    let field = "ranging status";
                    let [value] = tlv.fixed(field)?;
                    tlv.once(&mut status, field, RangingStatus::from(value))?;
                }
                8 => {
                    let field = "SS MAC address";
                    let station = MacAddr(tlv.fixed(field)?);
                    tlv.once(&mut message.station, field, station)?;
                }
                9 => {
                    let cid = u16::from_be_bytes(tlv.fixed("basic CID")?);
                    tlv.once(&mut message.basic_cid, "basic CID", cid)?;
                }
                10 => {
                    let field = "primary management CID";
                    let cid = u16::from_be_bytes(tlv.fixed(field)?);
                    tlv.once(&mut message.primary_cid, field, cid)?;
                }
                17 => {
                    let field = "service level prediction";
                    let [level] = tlv.fixed(field)?;
                    tlv.once(&mut message.service_level, field, level)?;
                }
                20 => {
                    let field = "resource retain flag";
                    let [flag] = tlv.fixed(field)?;
                    tlv.once(&mut message.resource_retain, field, flag & 1 != 0)?;
                }
                21 => {
                    let field = "HO process optimization";
                    let bits = HoOptimization(u16::from_be_bytes(tlv.fixed(field)?));
                    tlv.once(&mut message.ho_optimization, field, bits)?;
                }
                22 => {
                    let [id] = tlv.fixed("HO_ID")?;
                    tlv.once(&mut message.ho_id, "HO_ID", id)?;
                }
                29 => {
                    let sbc = BasicCapabilities::decode(&mut tlv.nested())?;
                    tlv.once(&mut message.sbc, "SBC-RSP encodings", sbc)?;
                }
                30 => {
                    let reg = RegistrationParameters::decode(&mut tlv.nested())?;
                    tlv.once(&mut message.reg, "REG-RSP encodings", reg)?;
                }
                _ => message.unknown.push(tlv.unknown()),
            }
        }
        message.status = status.ok_or(DecodeError::Missing {
            message: reader.message(),
            field: "ranging status",
        })?;
        Ok(message)
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.octet(0);
        writer.optional(1, self.timing);
        writer.optional(2, self.power.map(|power| [power]));
        writer.optional(3, self.frequency);
        writer.tlv(4, &[self.status.value()]);
        writer.optional(8, self.station.map(|address| address.0));
        writer.optional(9, self.basic_cid.map(u16::to_be_bytes));
        writer.optional(10, self.primary_cid.map(u16::to_be_bytes));
        writer.optional(17, self.service_level.map(|level| [level]));
        writer.optional(20, self.resource_retain.map(|flag| [flag.into()]));
        writer.optional(21, self.ho_optimization.map(|bits| bits.0.to_be_bytes()));
        writer.optional(22, self.ho_id.map(|id| [id]));
        if let Some(sbc) = &self.sbc {
            writer.compound(29, |writer| sbc.encode(writer));
        }
        if let Some(reg) = &self.reg {
            writer.compound(30, |writer| reg.encode(writer));
        }
        writer.unknown(&self.unknown);
    }
}
