//! The section `[mobile-node.ieee80211]`: an interface of 802.11.

use std::{path::PathBuf, time::Duration};

use crate::wire::MacAddr;

/// Where wpa_supplicant's control interfaces are, one socket for each interface.
pub const CONTROL_INTERFACES: &str = "/run/wpa_supplicant";

/// The section `[mobile-node.ieee80211]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ieee80211 {
    /// The socket of wpa_supplicant's control interface.
    pub control_interface: PathBuf,
    /// Whether it chooses where to move to; otherwise it moves only when it is told.
    pub choose_target: bool,
    /// Whether it goes to no access point of whose router nothing is known, as long as the link that it
    /// has can be used.
    pub require_known_router: bool,
    /// The signal below which it looks for another access point.
    pub signal_threshold_dbm: i32,
    /// How much stronger another access point must be.
    pub signal_hysteresis_db: u32,
    /// How often the signal is measured.
    pub signal_interval: Duration,
    /// How much the last measurement counts against all before it; above 0, at most 1.
    pub signal_weight: f64,
    /// How many measurements in a row must say that the signal is weak.
    pub indications: u32,
    /// How long the protocol has for its preparations before the node moves without them.
    pub link_switch_wait: Duration,
    /// How long a roam may take.
    pub roam_timeout: Duration,
    /// For how long an access point is not tried again that could not be moved to.
    pub avoid_failed: Duration,
    /// How old a scan's results may be.
    pub scan_max_age: Duration,
    /// The time between two scans.
    pub scan_min_interval: Duration,
    /// The only channels that access points are looked for on, in MHz; if there are none, those on
    /// which some were found, and now and then all.
    pub frequencies: Vec<u32>,
    /// The only access points that are moved to; if there are none, all of the same network.
    pub allow: Vec<MacAddr>,
    /// Access points that are never moved to.
    pub deny: Vec<MacAddr>,
    /// Access points that are moved to rather than to others that will do.
    pub prefer: Vec<MacAddr>,
}

impl Ieee80211 {
    /// The defaults for this interface.
    pub fn of(interface: &str) -> Self {
        Self {
            control_interface: PathBuf::from(CONTROL_INTERFACES).join(interface),
            choose_target: true,
            require_known_router: false,
            signal_threshold_dbm: -70,
            signal_hysteresis_db: 8,
            signal_interval: Duration::from_millis(500),
            signal_weight: 0.4,
            indications: 2,
            link_switch_wait: Duration::from_millis(1000),
            roam_timeout: Duration::from_millis(3000),
            avoid_failed: Duration::from_secs(60),
            scan_max_age: Duration::from_secs(30),
            scan_min_interval: Duration::from_secs(5),
            frequencies: Vec::new(),
            allow: Vec::new(),
            deny: Vec::new(),
            prefer: Vec::new(),
        }
    }
}
