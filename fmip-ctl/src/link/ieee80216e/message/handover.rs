//! The handover's own messages: MOB_MSHO-REQ, MOB_BSHO-REQ, MOB_BSHO-RSP and MOB_HO-IND.
//!
//! All are authenticated. Of the modes of macro diversity handover and fast base station switching
//! the profile has none: its mode is 0 (handover), and in MOB_BSHO-RSP 7 (not recommended).

use super::{
    error::DecodeError,
    field::{Reader, UnknownTlv, Writer},
    scan::{Measured, REPORT_RSSI, Rssi, named_by_bsid_alone, rssi_alone},
};
use crate::wire::MacAddr;

fn unknown(reader: &mut Reader<'_>) -> Result<Vec<UnknownTlv>, DecodeError> {
    let mut unknown = Vec::new();
    while let Some(tlv) = reader.tlv()? {
        unknown.push(tlv.unknown());
    }
    Ok(unknown)
}

/// A base station that a station would be handed over to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which, and how strong.
    pub measured: Measured,
    /// Its preamble.
    pub preamble: u8,
    /// What service the station expects there; 3 bits.
    pub service_level: u8,
}

/// MOB_MSHO-REQ (section 6.3.2.3.53): a station wants to be handed over.
///
/// ```text
///     type 57 | report metric (8) | N_New_BS_Index (8) | N_New_BS_Full (8) |
///     { BSID (48) | preamble index (8) | RSSI (8) | service level prediction (3) |
///       arrival time difference indication (1) } |
///     N_current_BSs (3) | { Temp BSID (4) | RSSI (8) } | padding | TLVs
/// ```
/// In the profile the RSSI alone is reported, base stations are named by their BSIDs alone, no
/// arrival times are told, and a station has one current base station at most, whose Temp BSID is
/// 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MobMshoReq {
    /// Where to, the best first.
    pub candidates: Vec<Candidate>,
    /// How strong the serving base station is.
    pub serving: Option<Rssi>,
    /// TLVs that the profile gives no meaning to.
    pub unknown: Vec<UnknownTlv>,
}

impl MobMshoReq {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        rssi_alone(reader)?;
        named_by_bsid_alone(reader)?;
        let candidates = reader.list("N_New_BS_Full", |reader| {
            let bsid = reader.address("neighbor BSID")?;
            let preamble = reader.octet("preamble index")?;
            let candidate = Candidate {
                measured: Measured {
                    bsid,
                    rssi: Rssi(reader.octet("RSSI")?),
                },
                preamble,
                service_level: reader.bits(3, "service level prediction")? as u8,
            };
            if reader.flag("arrival time difference indication")? {
                return Err(reader.refuse("arrival time difference indication", 1));
            }
            Ok(candidate)
        })?;
        let serving = match reader.bits(3, "N_current_BSs")? {
            0 => None,
            1 => {
                let temp_bsid = reader.bits(4, "Temp BSID")?;
                if temp_bsid != 0 {
                    return Err(reader.refuse("Temp BSID", temp_bsid));
                }
                Some(Rssi(reader.octet("RSSI")?))
            }
            other => return Err(reader.refuse("N_current_BSs", other)),
        };
        Ok(Self {
            candidates,
            serving,
            unknown: unknown(reader)?,
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.octet(REPORT_RSSI);
        writer.octet(0);
        writer.list(&self.candidates, |writer, candidate| {
            writer.octets(&candidate.measured.bsid.0);
            writer.octet(candidate.preamble);
            writer.octet(candidate.measured.rssi.0);
            writer.bits(candidate.service_level.into(), 3);
            writer.flag(false);
        });
        writer.bits(self.serving.is_some().into(), 3);
        if let Some(Rssi(rssi)) = self.serving {
            writer.bits(0, 4);
            writer.octet(rssi);
        }
        writer.align();
        writer.unknown(&self.unknown);
    }
}

/// A base station that a station is recommended to move to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which.
    pub bsid: MacAddr,
    /// Its preamble.
    pub preamble: u8,
    /// What service the station can expect there; 2: all that it has.
    pub service_level: u8,
    /// What it may skip there, as the lower 8 bits of RNG-RSP's.
    pub ho_optimization: u8,
    /// Whether the network could hand it over without being told.
    pub network_assisted: bool,
    /// What the target calls this handover.
    pub ho_id: Option<u8>,
    /// How the target would authenticate it.
    pub policy: Option<u8>,
}

impl Target {
    /// One of which no more is told than that it has room.
    pub fn new(bsid: MacAddr) -> Self {
        Self {
            bsid,
            preamble: 0,
            service_level: 2,
            ho_optimization: 0,
            network_assisted: false,
            ho_id: None,
            policy: None,
        }
    }
}

/// Where a base station recommends to move to, in MOB_BSHO-REQ and MOB_BSHO-RSP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recommendation {
    /// Whether it is an order.
    pub mandatory: bool,
    /// Whether the base station keeps what it has of the station, should it come back.
    pub resource_retain: bool,
    /// Where to, the best first.
    pub targets: Vec<Target>,
}

/// MOB_BSHO-REQ (section 6.3.2.3.52): a base station wants a station to move.
///
/// ```text
///     type 56 | network assisted HO supported (1) | mode (3) | HO operation mode (1) |
///     N_Recommended (8) | resource retain flag (1) |
///     { BSID (48) | service level prediction (8) | preamble index (8) |
///       HO process optimization (8) | network assisted HO supported (1) | HO_ID included (1) |
///       HO authorization policy indicator (1) | [HO_ID (8)] | [HO authorization policy (8)] } |
///     action time (7) | padding | TLVs
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MobBshoReq {
    /// Whether the network could hand the station over without being told.
    pub network_assisted: bool,
    /// Where to.
    pub recommendation: Recommendation,
    /// After how many frames the target expects it; 7 bits.
    pub action_time: u8,
    /// TLVs that the profile gives no meaning to.
    pub unknown: Vec<UnknownTlv>,
}

impl MobBshoReq {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let network_assisted = reader.flag("network assisted HO supported")?;
        let mode = reader.bits(3, "mode")?;
        if mode != 0 {
            return Err(reader.refuse("mode", mode));
        }
        let mandatory = reader.flag("HO operation mode")?;
        let count = reader.octet("N_Recommended")?;
        let resource_retain = reader.flag("resource retain flag")?;
        let target = |_| {
            let bsid = reader.address("neighbor BSID")?;
            let service_level = reader.octet("service level prediction")?;
            let preamble = reader.octet("preamble index")?;
            let ho_optimization = reader.octet("HO process optimization")?;
            let network_assisted = reader.flag("network assisted HO supported")?;
            let has_id = reader.flag("HO_ID included")?;
            let has_policy = reader.flag("HO authorization policy indicator")?;
            Ok(Target {
                bsid,
                preamble,
                service_level,
                ho_optimization,
                network_assisted,
                ho_id: has_id.then(|| reader.octet("HO_ID")).transpose()?,
                policy: has_policy
                    .then(|| reader.octet("HO authorization policy"))
                    .transpose()?,
            })
        };
        let targets = (0..count).map(target).collect::<Result<_, _>>()?;
        Ok(Self {
            network_assisted,
            recommendation: Recommendation {
                mandatory,
                resource_retain,
                targets,
            },
            action_time: reader.bits(7, "action time")? as u8,
            unknown: unknown(reader)?,
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        let recommendation = &self.recommendation;
        writer.flag(self.network_assisted);
        writer.bits(0, 3);
        writer.flag(recommendation.mandatory);
        let count = recommendation.targets.len().min(255);
        writer.octet(count as u8);
        writer.flag(recommendation.resource_retain);
        for target in &recommendation.targets[..count] {
            writer.octets(&target.bsid.0);
            writer.octet(target.service_level);
            writer.octet(target.preamble);
            writer.octet(target.ho_optimization);
            writer.flag(target.network_assisted);
            writer.flag(target.ho_id.is_some());
            writer.flag(target.policy.is_some());
            for octet in [target.ho_id, target.policy].into_iter().flatten() {
                writer.octet(octet);
            }
        }
        writer.bits(self.action_time.into(), 7);
        writer.align();
        writer.unknown(&self.unknown);
    }
}

/// MOB_BSHO-RSP (section 6.3.2.3.54): the answer to MOB_MSHO-REQ.
///
/// ```text
///     type 58 | mode (3) | reserved (5) |
///     if mode = 0: HO operation mode (1) | N_Recommended (8) | resource retain flag (1) |
///         reserved (7) |
///         { BSID (48) | preamble index (8) | service level prediction (8) |
///           HO process optimization (8) | network assisted HO supported (1) |
///           HO_ID included (1) | [HO_ID (8)] | HO authorization policy indicator (1) |
///           reserved (4) | [HO authorization policy (8)] }
///     action time (8) | padding | TLVs
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MobBshoRsp {
    /// Where to; `None` (mode 7): better nowhere.
    pub recommendation: Option<Recommendation>,
    /// After how many frames the target expects the station.
    pub action_time: u8,
    /// TLVs that the profile gives no meaning to.
    pub unknown: Vec<UnknownTlv>,
}

impl MobBshoRsp {
    const NOT_RECOMMENDED: u32 = 7;

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mode = reader.bits(3, "mode")?;
        reader.bits(5, "reserved")?;
        let recommendation = match mode {
            0 => Some(Self::recommendation(reader)?),
            Self::NOT_RECOMMENDED => None,
            other => return Err(reader.refuse("mode", other)),
        };
        Ok(Self {
            recommendation,
            action_time: reader.octet("action time")?,
            unknown: unknown(reader)?,
        })
    }

    fn recommendation(reader: &mut Reader<'_>) -> Result<Recommendation, DecodeError> {
        let mandatory = reader.flag("HO operation mode")?;
        let count = reader.octet("N_Recommended")?;
        let resource_retain = reader.flag("resource retain flag")?;
        reader.bits(7, "reserved")?;
        let target = |_| {
            let bsid = reader.address("neighbor BSID")?;
            let preamble = reader.octet("preamble index")?;
            let service_level = reader.octet("service level prediction")?;
            let ho_optimization = reader.octet("HO process optimization")?;
            let network_assisted = reader.flag("network assisted HO supported")?;
            let has_id = reader.flag("HO_ID included")?;
            let ho_id = has_id.then(|| reader.octet("HO_ID")).transpose()?;
            let has_policy = reader.flag("HO authorization policy indicator")?;
            reader.bits(4, "reserved")?;
            Ok(Target {
                bsid,
                preamble,
                service_level,
                ho_optimization,
                network_assisted,
                ho_id,
                policy: has_policy
                    .then(|| reader.octet("HO authorization policy"))
                    .transpose()?,
            })
        };
        Ok(Recommendation {
            mandatory,
            resource_retain,
            targets: (0..count).map(target).collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        let mode = match self.recommendation {
            Some(_) => 0,
            None => Self::NOT_RECOMMENDED,
        };
        writer.bits(mode, 3);
        writer.bits(0, 5);
        if let Some(recommendation) = &self.recommendation {
            writer.flag(recommendation.mandatory);
            let count = recommendation.targets.len().min(255);
            writer.octet(count as u8);
            writer.flag(recommendation.resource_retain);
            writer.bits(0, 7);
            for target in &recommendation.targets[..count] {
                writer.octets(&target.bsid.0);
                writer.octet(target.preamble);
                writer.octet(target.service_level);
                writer.octet(target.ho_optimization);
                writer.flag(target.network_assisted);
                writer.flag(target.ho_id.is_some());
                if let Some(id) = target.ho_id {
                    writer.octet(id);
                }
                writer.flag(target.policy.is_some());
                writer.bits(0, 4);
                if let Some(policy) = target.policy {
                    writer.octet(policy);
                }
            }
        }
        writer.octet(self.action_time);
        writer.align();
        writer.unknown(&self.unknown);
    }
}

/// What a station says of its handover (2 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoIndication {
    /// 0: it leaves now. Whatever it was granted at the serving base station ends, and nothing
    /// passes on the old link any more (W16-08).
    Release {
        /// Where to.
        target: MacAddr,
    },
    /// 1: it stays, or is back.
    Cancel,
    /// 2: it goes to none of those that were recommended.
    Reject,
}

/// MOB_HO-IND (section 6.3.2.3.55): the last word of a handover on the old link.
///
/// ```text
///     type 59 | reserved (6) | mode (2) | HO_IND_type (2) | ranging parameters valid (2) |
///     reserved (4) | [target BSID (48)] | preamble index (8) | TLVs
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MobHoInd {
    /// What is said.
    pub indication: HoIndication,
    /// Whether the ranging parameters that the target was told are good; 2 bits.
    pub ranging_valid: u8,
    /// The target's preamble.
    pub preamble: u8,
    /// TLVs that the profile gives no meaning to.
    pub unknown: Vec<UnknownTlv>,
}

impl MobHoInd {
    /// One that says no more than that.
    pub fn new(indication: HoIndication) -> Self {
        Self {
            indication,
            ranging_valid: 0,
            preamble: 0,
            unknown: Vec::new(),
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.bits(6, "reserved")?;
        let mode = reader.bits(2, "mode")?;
        if mode != 0 {
            return Err(reader.refuse("mode", mode));
        }
        let kind = reader.bits(2, "HO_IND_type")?;
        let ranging_valid = reader.bits(2, "ranging parameters valid")? as u8;
        reader.bits(4, "reserved")?;
        let indication = match kind {
            0 => HoIndication::Release {
                target: reader.address("target BSID")?,
            },
            1 => HoIndication::Cancel,
            2 => HoIndication::Reject,
            other => return Err(reader.refuse("HO_IND_type", other)),
        };
        Ok(Self {
            indication,
            ranging_valid,
            preamble: reader.octet("preamble index")?,
            unknown: unknown(reader)?,
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.octet(0);
        let (kind, target) = match self.indication {
            HoIndication::Release { target } => (0, Some(target)),
            HoIndication::Cancel => (1, None),
            HoIndication::Reject => (2, None),
        };
        writer.bits(kind, 2);
        writer.bits(self.ranging_valid.into(), 2);
        writer.bits(0, 4);
        if let Some(target) = target {
            writer.octets(&target.0);
        }
        writer.octet(self.preamble);
        writer.unknown(&self.unknown);
    }
}
