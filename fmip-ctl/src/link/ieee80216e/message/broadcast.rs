//! What a base station tells all: DL-MAP and MOB_NBR-ADV.

use bytes::Bytes;

use super::{
    error::DecodeError,
    field::{Reader, UnknownTlv, Writer},
};
use crate::wire::MacAddr;

/// DL-MAP (section 6.3.2.3.2): begins every frame, and is what a station synchronises with and
/// measures.
///
/// The standard's for OFDMA: the synchronisation field (frame duration code, frame number), the
/// DCD's count, the BSID, the number of symbols, and the allocations, which the profile carries
/// along unread: its frames hold one PDU each. A base station of the profile need not send one in
/// every frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DlMap {
    /// Table 274; 4 stands for 5 ms.
    pub frame_duration: u8,
    /// 24 bits.
    pub frame_number: u32,
    /// Changes when the downlink channel descriptor does.
    pub dcd_count: u8,
    /// The base station.
    pub bsid: MacAddr,
    /// OFDMA symbols of the downlink subframe.
    pub symbols: u8,
    /// What the map allocates.
    pub allocations: Bytes,
}

impl DlMap {
    /// The code of frames of 5 ms (table 274), the only one of mobile profiles.
    pub const FRAME_5_MS: u8 = 4;

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            frame_duration: reader.octet("frame duration code")?,
            frame_number: reader.bits(24, "frame number")?,
            dcd_count: reader.octet("DCD count")?,
            bsid: reader.address("base station ID")?,
            symbols: reader.octet("number of symbols")?,
            allocations: Bytes::copy_from_slice(reader.rest()),
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.octet(self.frame_duration);
        writer.bits(self.frame_number, 24);
        writer.octet(self.dcd_count);
        writer.octets(&self.bsid.0);
        writer.octet(self.symbols);
        writer.octets(&self.allocations);
    }
}

/// MOB_NBR-ADV (section 6.3.2.3.47): which base stations there are around.
///
/// ```text
///     type 53 | skip-optional-fields (8) | operator ID (24) | configuration change count (8) |
///     fragmentation index (4) | total fragmentation (4) | N_NEIGHBORS (8) | neighbors
/// ```
/// Of the fields that the bitmap can skip, the profile needs all but the operator ID: without it the
/// neighbors are the sender's operator's. It is not authenticated: nobody may act upon it alone
/// (W16-04).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MobNbrAdv {
    /// The upper 24 bits of every BSID in it; `None`: those of the sender's.
    pub operator: Option<[u8; 3]>,
    /// Changes when the list does.
    pub change_count: u8,
    /// Which part of the list this is, from 0; 4 bits.
    pub fragment: u8,
    /// How many parts it has; 4 bits.
    pub fragments: u8,
    /// The base stations.
    pub neighbors: Vec<Neighbor>,
}

/// A base station in a MOB_NBR-ADV.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// The lower 24 bits of its BSID.
    pub bsid: [u8; 3],
    /// PHY Profile ID without the bits that say which of the next two fields are there.
    pub phy_profile: u8,
    /// Its frequency assignment.
    pub fa_index: Option<u8>,
    /// Its power, in dBm, as a two's complement.
    pub eirp: Option<u8>,
    /// Its preamble.
    pub preamble: u8,
    /// As in RNG-RSP, its lower 8 bits: what it may let a station skip.
    pub ho_optimization: u8,
    /// Which scheduling services it has.
    pub scheduling: u8,
    /// 4 bits of the count of its DCD.
    pub dcd_count: u8,
    /// 4 bits of the count of its UCD.
    pub ucd_count: u8,
    /// What else is told about it, such as its DCD and UCD settings.
    pub unknown: Vec<UnknownTlv>,
}

const SKIP_OPERATOR: u32 = 1;
const FA_INDEX: u8 = 1 << 6;
const EIRP: u8 = 1 << 4;

impl Neighbor {
    /// A base station of which no more is told than that it is there.
    pub fn new(bsid: MacAddr) -> Self {
        let [_, _, _, bsid @ ..] = bsid.0;
        Self {
            bsid,
            phy_profile: 0,
            fa_index: None,
            eirp: None,
            preamble: 0,
            ho_optimization: 0,
            scheduling: 0,
            dcd_count: 0,
            ucd_count: 0,
            unknown: Vec::new(),
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.octet("neighbor length")?;
        // It counts what follows it; whether it counts itself is not plain, and both ends are ours.
        let mut reader = reader.nested(length.into(), "neighbor")?;
        let profile = reader.octet("PHY profile ID")?;
        let mut optional = |flag, field| {
            (profile & flag != 0)
                .then(|| reader.octet(field))
                .transpose()
        };
        let fa_index = optional(FA_INDEX, "FA index")?;
        let eirp = optional(EIRP, "BS EIRP")?;
        Ok(Self {
            phy_profile: profile & !(FA_INDEX | EIRP),
            fa_index,
            eirp,
            bsid: reader.array("neighbor BSID")?,
            preamble: reader.octet("preamble index")?,
            ho_optimization: reader.octet("HO process optimization")?,
            scheduling: reader.octet("scheduling service supported")?,
            dcd_count: reader.bits(4, "DCD count")? as u8,
            ucd_count: reader.bits(4, "UCD count")? as u8,
            unknown: {
                let mut unknown = Vec::new();
                while let Some(tlv) = reader.tlv()? {
                    unknown.push(tlv.unknown());
                }
                unknown
            },
        })
    }

    fn encode(&self, writer: &mut Writer) {
        let mut nested = Writer::default();
        let flag = |there: bool, flag| if there { flag } else { 0 };
        let flags = flag(self.fa_index.is_some(), FA_INDEX) | flag(self.eirp.is_some(), EIRP);
        nested.octet(self.phy_profile & !(FA_INDEX | EIRP) | flags);
        for octet in [self.fa_index, self.eirp].into_iter().flatten() {
            nested.octet(octet);
        }
        nested.octets(&self.bsid);
        nested.octet(self.preamble);
        nested.octet(self.ho_optimization);
        nested.octet(self.scheduling);
        nested.bits(self.dcd_count.into(), 4);
        nested.bits(self.ucd_count.into(), 4);
        nested.unknown(&self.unknown);
        let octets = nested.finish();
        // More than 255 octets about one neighbor are cut: the length has no room for them.
        let length = octets.len().min(255);
        writer.octet(length as u8);
        writer.octets(&octets[..length]);
    }
}

impl MobNbrAdv {
    /// The BSIDs in it; `sender` is whose message it is.
    pub fn bsids(&self, sender: MacAddr) -> impl Iterator<Item = MacAddr> {
        let [a, b, c, ..] = sender.0;
        let [a, b, c] = self.operator.unwrap_or([a, b, c]);
        self.neighbors.iter().map(move |neighbor| {
            let [d, e, f] = neighbor.bsid;
            MacAddr([a, b, c, d, e, f])
        })
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let skip = u32::from(reader.octet("skip-optional-fields")?);
        if skip & !SKIP_OPERATOR != 0 {
            return Err(reader.refuse("skip-optional-fields", skip));
        }
        Ok(Self {
            operator: (skip & SKIP_OPERATOR == 0)
                .then(|| reader.array("operator ID"))
                .transpose()?,
            change_count: reader.octet("configuration change count")?,
            fragment: reader.bits(4, "fragmentation index")? as u8,
            fragments: reader.bits(4, "total fragmentation")? as u8,
            neighbors: reader.list("N_NEIGHBORS", Neighbor::decode)?,
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.octet(if self.operator.is_none() {
            SKIP_OPERATOR as u8
        } else {
            0
        });
        if let Some(operator) = self.operator {
            writer.octets(&operator);
        }
        writer.octet(self.change_count);
        writer.bits(self.fragment.into(), 4);
        writer.bits(self.fragments.into(), 4);
        writer.list(&self.neighbors, |writer, neighbor| neighbor.encode(writer));
    }
}
