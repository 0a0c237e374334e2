//! Scanning: MOB_SCN-REQ, MOB_SCN-RSP and MOB_SCN-REP.

use super::{
    error::DecodeError,
    field::{Reader, UnknownTlv, Writer},
};
use crate::wire::MacAddr;

/// The only metric of the profile's reports: bit 1, the mean RSSI.
pub(super) const REPORT_RSSI: u8 = 1 << 1;

/// A mean RSSI as it is reported: quarters of a dB above -103.75 dBm (section 6.3.2.3.50), so up
/// to -40 dBm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rssi(pub u8);

impl Rssi {
    /// The nearest that can be reported.
    pub fn from_dbm(dbm: i32) -> Self {
        Self(((dbm * 4) + 415).clamp(0, 255) as u8)
    }

    /// In dBm, rounded down.
    pub fn dbm(self) -> i32 {
        (i32::from(self.0) - 415).div_euclid(4)
    }
}

/// What a scan does at a base station (3 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanType {
    /// 0: it listens.
    Listen,
    /// 1: it ranges as well, without the base stations' arranging it (association level 0).
    Associate,
}

impl ScanType {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.bits(3, "scanning type")? {
            0 => Ok(Self::Listen),
            1 => Ok(Self::Associate),
            other => Err(reader.refuse("scanning type", other)),
        }
    }

    fn encode(self, writer: &mut Writer) {
        writer.bits(
            match self {
                Self::Listen => 0,
                Self::Associate => 1,
            },
            3,
        );
    }
}

/// A base station to be scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanTarget {
    /// Which.
    pub bsid: MacAddr,
    /// How.
    pub kind: ScanType,
}

impl ScanTarget {
    fn list(reader: &mut Reader<'_>) -> Result<Vec<Self>, DecodeError> {
        named_by_bsid_alone(reader)?;
        reader.list("N_Recommended_BS_Full", |reader| {
            Ok(Self {
                bsid: reader.address("recommended BSID")?,
                kind: ScanType::decode(reader)?,
            })
        })
    }

    fn encode(targets: &[Self], writer: &mut Writer) {
        writer.octet(0);
        writer.list(targets, |writer, target| {
            writer.octets(&target.bsid.0);
            target.kind.encode(writer);
        });
        writer.align();
    }
}

/// Refuses base stations that are named by their place in a MOB_NBR-ADV: what that place means
/// depends on which one was received last.
pub(super) fn named_by_bsid_alone(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    match reader.octet("number of base stations by index")? {
        0 => Ok(()),
        count => Err(reader.refuse("number of base stations by index", count.into())),
    }
}

/// Refuses reports of something else than the RSSI.
pub(super) fn rssi_alone(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    match reader.octet("report metric")? {
        REPORT_RSSI => Ok(()),
        other => Err(reader.refuse("report metric", other.into())),
    }
}

fn unknown(reader: &mut Reader<'_>) -> Result<Vec<UnknownTlv>, DecodeError> {
    let mut unknown = Vec::new();
    while let Some(tlv) = reader.tlv()? {
        unknown.push(tlv.unknown());
    }
    Ok(unknown)
}

/// MOB_SCN-REQ (section 6.3.2.3.48): a station asks for time to listen to others.
///
/// ```text
///     type 54 | scan duration (8) | interleaving interval (8) | scan iteration (8) |
///     N_Recommended_BS_Index (8) | N_Recommended_BS_Full (8) | { BSID (48) | scanning type (3) } |
///     padding to the octet | TLVs
/// ```
/// In the profile base stations are named by their BSIDs alone, and the scanning types are those
/// that no base station has to arrange. Authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MobScnReq {
    /// How long it would listen to them at once, in frames.
    pub duration: u8,
    /// How long it would listen to its own in between, in frames.
    pub interleaving: u8,
    /// How often.
    pub iterations: u8,
    /// To whom.
    pub targets: Vec<ScanTarget>,
    /// TLVs that the profile gives no meaning to.
    pub unknown: Vec<UnknownTlv>,
}

impl MobScnReq {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            duration: reader.octet("scan duration")?,
            interleaving: reader.octet("interleaving interval")?,
            iterations: reader.octet("scan iteration")?,
            targets: ScanTarget::list(reader)?,
            unknown: unknown(reader)?,
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.octet(self.duration);
        writer.octet(self.interleaving);
        writer.octet(self.iterations);
        ScanTarget::encode(&self.targets, writer);
        writer.unknown(&self.unknown);
    }
}

/// When a station scans, as the base station grants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanGrant {
    /// How long it listens to others at once, in frames; never 0.
    pub duration: u8,
    /// After how many frames it begins; 4 bits.
    pub start: u8,
    /// How long it listens to its own in between, in frames.
    pub interleaving: u8,
    /// How often.
    pub iterations: u8,
    /// To whom.
    pub targets: Vec<ScanTarget>,
}

/// MOB_SCN-RSP (section 6.3.2.3.49): the answer, or a base station that wants a station to scan.
///
/// ```text
///     type 55 | scan duration (8) | report mode (2) | reserved (6) | report period (8) |
///     report metric (8) |
///     if scan duration != 0: start frame (4) | reserved (1) | interleaving interval (8) |
///         scan iteration (8) | padding (3) | N_Recommended_BS_Index (8) |
///         N_Recommended_BS_Full (8) | { BSID (48) | scanning type (3) } | padding
///     TLVs
/// ```
/// The profile's restrictions are those of MOB_SCN-REQ. Authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MobScnRsp {
    /// When; `None` (a duration of 0): not at all.
    pub grant: Option<ScanGrant>,
    /// 0: no report, 1: one every period, 2: one when something happens; 2 bits.
    pub report_mode: u8,
    /// In frames.
    pub report_period: u8,
    /// TLVs that the profile gives no meaning to.
    pub unknown: Vec<UnknownTlv>,
}

impl MobScnRsp {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let duration = reader.octet("scan duration")?;
        let report_mode = reader.bits(2, "report mode")? as u8;
        reader.bits(6, "reserved")?;
        let report_period = reader.octet("report period")?;
        rssi_alone(reader)?;
        let grant = if duration == 0 {
            None
        } else {
            let start = reader.bits(4, "start frame")? as u8;
            reader.bits(1, "reserved")?;
            let interleaving = reader.octet("interleaving interval")?;
            let iterations = reader.octet("scan iteration")?;
            reader.bits(3, "padding")?;
            Some(ScanGrant {
                duration,
                start,
                interleaving,
                iterations,
                targets: ScanTarget::list(reader)?,
            })
        };
        Ok(Self {
            grant,
            report_mode,
            report_period,
            unknown: unknown(reader)?,
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.octet(self.grant.as_ref().map_or(0, |grant| grant.duration));
        writer.bits(self.report_mode.into(), 2);
        writer.bits(0, 6);
        writer.octet(self.report_period);
        writer.octet(REPORT_RSSI);
        // A grant of nothing is none.
        if let Some(grant) = self.grant.as_ref().filter(|grant| grant.duration != 0) {
            writer.bits(grant.start.into(), 4);
            writer.bits(0, 1);
            writer.octet(grant.interleaving);
            writer.octet(grant.iterations);
            writer.bits(0, 3);
            ScanTarget::encode(&grant.targets, writer);
        }
        writer.unknown(&self.unknown);
    }
}

/// A base station and how it is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Which.
    pub bsid: MacAddr,
    /// How strong.
    pub rssi: Rssi,
}

/// MOB_SCN-REP (section 6.3.2.3.50): what a scan found.
///
/// ```text
///     type 60 | report mode (1) | Comp_NBR_BSID_IND (1) | N_current_BSs (3) | reserved (3) |
///     report metric (8) | { Temp BSID (4) | reserved (4) | RSSI (8) } |
///     N_Neighbor_BS_Index (8) | N_Neighbor_BS_Full (8) | { BSID (48) | RSSI (8) } | TLVs
/// ```
/// In the profile the RSSI alone is reported, base stations are named by whole BSIDs alone, and a
/// station has one current base station at most, whose Temp BSID is 0. Authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MobScnRep {
    /// Whether something happened, or it is time for a report.
    pub event_triggered: bool,
    /// How strong the serving base station is.
    pub serving: Option<Rssi>,
    /// The others.
    pub neighbors: Vec<Measured>,
    /// TLVs that the profile gives no meaning to.
    pub unknown: Vec<UnknownTlv>,
}

impl MobScnRep {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let event_triggered = reader.flag("report mode")?;
        if reader.flag("Comp_NBR_BSID_IND")? {
            return Err(reader.refuse("Comp_NBR_BSID_IND", 1));
        }
        let current = reader.bits(3, "N_current_BSs")?;
        reader.bits(3, "reserved")?;
        rssi_alone(reader)?;
        let serving = match current {
            0 => None,
            1 => {
                let temp_bsid = reader.bits(4, "Temp BSID")?;
                reader.bits(4, "reserved")?;
                if temp_bsid != 0 {
                    return Err(reader.refuse("Temp BSID", temp_bsid));
                }
                Some(Rssi(reader.octet("RSSI")?))
            }
            _ => return Err(reader.refuse("N_current_BSs", current)),
        };
        named_by_bsid_alone(reader)?;
        Ok(Self {
            event_triggered,
            serving,
            neighbors: reader.list("N_Neighbor_BS_Full", |reader| {
                Ok(Measured {
                    bsid: reader.address("neighbor BSID")?,
                    rssi: Rssi(reader.octet("RSSI")?),
                })
            })?,
            unknown: unknown(reader)?,
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.flag(self.event_triggered);
        writer.flag(false);
        writer.bits(self.serving.is_some().into(), 3);
        writer.bits(0, 3);
        writer.octet(REPORT_RSSI);
        if let Some(Rssi(rssi)) = self.serving {
            writer.octet(0);
            writer.octet(rssi);
        }
        writer.octet(0);
        writer.list(&self.neighbors, |writer, neighbor| {
            writer.octets(&neighbor.bsid.0);
            writer.octet(neighbor.rssi.0);
        });
        writer.unknown(&self.unknown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rssi_is_in_quarters_of_a_db_above_minus_103_75_dbm() {
        for (dbm, value) in [(-103, 3), (-80, 95), (-41, 251), (-40, 255)] {
            assert_eq!(Rssi::from_dbm(dbm), Rssi(value));
            assert_eq!(Rssi(value).dbm(), dbm);
        }
        assert_eq!(Rssi::from_dbm(-200), Rssi(0));
        assert_eq!(Rssi(0).dbm(), -104);
        assert_eq!(Rssi::from_dbm(0), Rssi(255));
    }
}
