//! The section `[mobile-node.ieee80216e]`: an interface of 802.16e.

use std::time::Duration;

use crate::{
    link::ieee80216e::{auth::Pmk, message::MacMode, timing},
    wire::MacAddr,
};

/// The section `[mobile-node.ieee80216e]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ieee80216e {
    /// The key that the network knows, too.
    pub pmk: Pmk,
    /// How management messages are authenticated.
    pub mac_mode: MacMode,
    /// The base station that it enters at first; `None`: the strongest.
    pub base_station: Option<MacAddr>,
    /// Whether it chooses when to move; otherwise it moves only when it is told.
    pub choose_target: bool,
    /// The signal below which it looks for another base station.
    pub signal_threshold_dbm: i32,
    /// How much stronger another base station must be.
    pub signal_hysteresis_db: u32,
    /// How many scans in a row must say so.
    pub indications: u32,
    /// How long the protocol has for its preparations before the node moves without them.
    pub link_switch_wait: Duration,
    /// The time between two scans.
    pub scan_min_interval: Duration,
    /// How long it asks to scan at once, in frames of 5 ms.
    pub scan_duration: u8,
    /// How long it asks to listen to its own base station in between, in frames.
    pub scan_interleaving: u8,
    /// How often it asks to scan at once.
    pub scan_iterations: u8,
    /// Without a DL-MAP for so long, the base station is lost.
    pub lost_dl_map: Duration,
}

impl Ieee80216e {
    /// The defaults with this key.
    pub fn with(pmk: Pmk) -> Self {
        Self {
            pmk,
            mac_mode: MacMode::Cmac,
            base_station: None,
            choose_target: true,
            signal_threshold_dbm: -75,
            signal_hysteresis_db: 5,
            indications: 2,
            link_switch_wait: Duration::from_millis(1_000),
            scan_min_interval: Duration::from_millis(1_000),
            scan_duration: 20,
            scan_interleaving: 10,
            scan_iterations: 2,
            lost_dl_map: timing::LOST_DL_MAP,
        }
    }
}
