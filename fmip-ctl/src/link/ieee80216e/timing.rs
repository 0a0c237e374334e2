//! Timers and retries of a mobile station, with the range that IEEE 802.16e-2005 gives each.
//!
//! Table 342 has the MAC's, table 343 those of PKM version 2. Where the standard leaves a timer to
//! the station, that is said.

use std::{ops::RangeInclusive, time::Duration};

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A frame: 5 ms, the only length of mobile profiles (table 274, code 4).
pub const FRAME: Duration = ms(5);

/// T3: from RNG-REQ to RNG-RSP, up to 200 ms.
pub const T3: Duration = ms(200);
/// How often a station ranges in vain: the standard's "contention ranging retries" are 16 at least.
pub const RANGING_RETRIES: u32 = 16;
/// As [`RANGING_RETRIES`] at the target of a handover: there is somewhere to go back to, and all
/// the time a link is missing.
pub const HANDOVER_RANGING_RETRIES: u32 = 3;
/// T18: from SBC-REQ to SBC-RSP; 50 ms by default, less than T9 (300 ms), after which the base
/// station forgets the station.
pub const T18: Duration = ms(50);
/// How often SBC-REQ is repeated; left to the station.
pub const SBC_RETRIES: u32 = 5;
/// From the end of SBC to SA-TEK-Challenge: the longest SaChallengeTimer (table 343) is 2 s.
pub const SA_CHALLENGE_WAIT: Duration = ms(2_000);
/// SATEKTimer: from SA-TEK-Request to SA-TEK-Response; 100 to 1000 ms, by default 300 ms.
pub const SA_TEK: Duration = ms(300);
/// SATEKRequestMaxResends.
pub const SA_TEK_RETRIES: u32 = 3;
/// T6: from REG-REQ to REG-RSP, up to 3 s.
pub const T6: Duration = ms(1_000);
/// Registration request retries.
pub const REGISTRATION_RETRIES: u32 = 3;
/// T8: from DSA-RSP to DSA-ACK, up to 300 ms.
pub const T8: Duration = ms(300);
/// DSx response retries.
pub const DSX_RETRIES: u32 = 3;
/// T10: how long a transaction takes, up to 3 s; how long a station that is registered waits for its
/// service flows.
pub const T10: Duration = ms(3_000);
/// T21: how long a base station is listened for, up to 11 s when it is not known. At the target of a
/// handover, which was heard by a scan, a DL-MAP must come within the interval after which it would
/// be lost.
pub const T21: Duration = ms(11_000);
/// Lost DL-MAP interval: without a DL-MAP for so long, up to 600 ms, a base station is lost.
pub const LOST_DL_MAP: Duration = ms(600);
/// What a lost DL-MAP interval may be configured as; above the standard's 600 ms for a machine that
/// does not keep time like a radio.
pub const LOST_DL_MAP_MS: RangeInclusive<u64> = 50..=10_000;
/// T44: from MOB_SCN-REQ to MOB_SCN-RSP; left to the station.
pub const T44: Duration = ms(100);
/// How often MOB_SCN-REQ is repeated; left to the station.
pub const SCAN_RETRIES: u32 = 2;
/// MS handover retransmission timer: from MOB_MSHO-REQ to MOB_BSHO-RSP, if REG-RSP says nothing (TLV
/// 30, in frames).
pub const HO_RETRANSMISSION: Duration = ms(100);
/// How often MOB_MSHO-REQ is repeated; left to the station.
pub const HO_RETRIES: u32 = 3;
/// After a handover that was not recommended, or came to nothing, the next is asked for; left to the
/// station.
pub const HO_BACKOFF: Duration = ms(2_000);
/// Resource_Retain_Time: how long a serving base station keeps what it has of a station that left,
/// if REG-RSP says nothing (TLV 28, in units of 100 ms).
pub const RESOURCE_RETAIN: Duration = ms(200);
/// For how long a station that knows no base station listens for the strongest, once it hears one;
/// left to the station.
pub const SEARCH: Duration = ms(300);
/// How long a base station is left alone that did not let the station in; left to the station.
pub const ENTRY_BACKOFF: Duration = ms(2_000);
/// MOB_NBR-ADV interval: a list is repeated within 30 s. A neighbor that was in none for twice that
/// is none.
pub const NEIGHBOR_LIFETIME: Duration = ms(60_000);
