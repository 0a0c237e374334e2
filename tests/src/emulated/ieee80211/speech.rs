//! What wpa_supplicant and hostapd say on their control interfaces, word for word (version 2.10), and
//! what they understand.

use std::time::Duration;

use fmip_ctl::{proto::Instant, wire::MacAddr};

use super::medium::{AccessPoint, Seen};

/// Noise on the lab's medium, in dBm.
const NOISE: i32 = -95;

/// What a `SCAN` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ScanOptions {
    /// Those channels only, in MHz.
    pub(super) frequencies: Option<Vec<u32>>,
    /// Without a probe: a beacon interval per channel.
    pub(super) passive: bool,
    /// For its results alone (`TYPE=ONLY`).
    pub(super) only: bool,
}

/// Reads the parameters of `SCAN`; `None` if a frequency is none. What means nothing to the medium
/// (`use_id=1`) is understood.
pub(super) fn parse_scan(parameters: &str) -> Option<ScanOptions> {
    let mut options = ScanOptions::default();
    for parameter in parameters.split_whitespace() {
        match parameter.split_once('=') {
            Some(("freq", list)) => {
                let mut frequencies = Vec::new();
                for part in list.split(',') {
                    let (low, high) = part.split_once('-').unwrap_or((part, part));
                    let (low, high): (u32, u32) = (low.parse().ok()?, high.parse().ok()?);
                    // Channels are 5 MHz apart.
                    frequencies.extend((low..=high).step_by(5));
                }
                options.frequencies = Some(frequencies);
            }
            Some(("passive", "1")) => options.passive = true,
            Some(("TYPE", "ONLY")) => options.only = true,
            _ => {}
        }
    }
    Some(options)
}

/// Reads the parameters of `SIGNAL_MONITOR`; without any it is switched off (threshold 0).
pub(super) fn parse_signal_monitor(parameters: &str) -> Option<(i32, i32)> {
    let (mut threshold, mut hysteresis) = (0, 0);
    for parameter in parameters.split_whitespace() {
        match parameter.split_once('=')? {
            ("THRESHOLD", value) => threshold = value.parse().ok()?,
            ("HYSTERESIS", value) => hysteresis = value.parse().ok()?,
            _ => {}
        }
    }
    Some((threshold, hysteresis))
}

fn flags(protected: bool) -> &'static str {
    if protected {
        "[WPA2-PSK-CCMP][ESS]"
    } else {
        "[ESS]"
    }
}

pub(super) fn scan_results<'a>(
    known: impl Iterator<Item = (&'a AccessPoint, &'a Seen)>,
    ssid: &str,
    protected: bool,
) -> String {
    let mut text = "bssid / frequency / signal level / flags / ssid\n".to_owned();
    for (point, seen) in known {
        text += &format!(
            "{}\t{}\t{}\t{}\t{ssid}\n",
            point.id,
            point.frequency,
            seen.signal_dbm,
            flags(protected)
        );
    }
    text
}

/// What `BSS` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BssQuery {
    /// One access point, or those with numbers from here to there.
    pub(super) which: Which,
    /// Which lines are wanted (`WPA_BSS_MASK_*`).
    pub(super) mask: u32,
}

/// Which access points `BSS` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    One(MacAddr),
    Range(u32, u32),
}

/// A line of `====` behind each entry, and of `####` behind the last.
const MASK_DELIMITERS: u32 = 1 << 17;

impl BssQuery {
    /// Reads the parameters of `BSS`: a BSSID, a number, or `RANGE=ALL`, `RANGE=1-`, `RANGE=1-4`; then
    /// perhaps `MASK=0x21987`.
    pub(super) fn parse(parameters: &str) -> Option<Self> {
        let mut words = parameters.split_whitespace();
        let which = words.next()?;
        let which = if let Some(range) = which.strip_prefix("RANGE=") {
            match range.split_once('-') {
                None if range == "ALL" => Which::Range(0, u32::MAX),
                None => return None,
                Some((from, "")) => Which::Range(from.parse().ok()?, u32::MAX),
                Some((from, to)) => Which::Range(from.parse().ok()?, to.parse().ok()?),
            }
        } else if let Ok(id) = which.parse() {
            Which::One(id)
        } else {
            let number = which.parse().ok()?;
            Which::Range(number, number)
        };
        let mask = words
            .find_map(|word| word.strip_prefix("MASK="))
            .map_or(Some(!MASK_DELIMITERS), |mask| {
                u32::from_str_radix(mask.trim_start_matches("0x"), 16).ok()
            })?;
        Some(Self { which, mask })
    }

    fn wants(&self, point: &AccessPoint, seen: &Seen) -> bool {
        match self.which {
            Which::One(id) => point.id == id,
            Which::Range(from, to) => (from..=to).contains(&seen.bss_id),
        }
    }

    /// The answer.
    pub(super) fn answer<'a>(
        &self,
        known: impl Iterator<Item = (&'a AccessPoint, &'a Seen)>,
        ssid: &str,
        protected: bool,
        now: Instant,
    ) -> String {
        let mut wanted: Vec<_> = known
            .filter(|(point, seen)| self.wants(point, seen))
            .collect();
        wanted.sort_by_key(|(_, seen)| seen.bss_id);
        let mut text = String::new();
        for (point, seen) in wanted {
            for (bit, line) in bss(point, seen, ssid, protected, now) {
                if self.mask & (1 << bit) != 0 {
                    text += &line;
                    text.push('\n');
                }
            }
            if self.mask & MASK_DELIMITERS != 0 {
                text += "====\n";
            }
        }
        if self.mask & MASK_DELIMITERS != 0 {
            text += "####\n";
        }
        text
    }
}

/// The lines of an entry, each with the number of its bit in the mask.
fn bss(
    point: &AccessPoint,
    seen: &Seen,
    ssid: &str,
    protected: bool,
    now: Instant,
) -> [(u32, String); 15] {
    let capabilities = if protected { 0x0411 } else { 0x0401 };
    [
        (0, format!("id={}", seen.bss_id)),
        (1, format!("bssid={}", point.id)),
        (2, format!("freq={}", point.frequency)),
        (3, "beacon_int=100".to_owned()),
        (4, format!("capabilities={capabilities:#06x}")),
        (5, "qual=0".to_owned()),
        (6, format!("noise={NOISE}")),
        (7, format!("level={}", seen.signal_dbm)),
        (8, format!("tsf={:016}", seen.at.as_nanos() / 1000)),
        (9, format!("age={}", (now - seen.at).as_secs())),
        (10, format!("ie={}", ssid_element(ssid))),
        (11, format!("flags={}", flags(protected))),
        (12, format!("ssid={ssid}")),
        (19, format!("snr={}", seen.signal_dbm - NOISE)),
        (20, "est_throughput=54000".to_owned()),
    ]
}

/// The SSID element of a beacon, hexadecimal.
fn ssid_element(ssid: &str) -> String {
    let octets = ssid.bytes().map(|octet| format!("{octet:02x}"));
    format!("00{:02x}{}", ssid.len(), octets.collect::<String>())
}

pub(super) fn status(
    at: Option<&AccessPoint>,
    ssid: &str,
    protected: bool,
    state: &str,
    station: MacAddr,
) -> String {
    let mut text = String::new();
    if let Some(point) = at {
        text += &format!(
            "bssid={}\nfreq={}\nssid={ssid}\nid=0\nmode=station\n",
            point.id, point.frequency
        );
        text += if protected {
            "pairwise_cipher=CCMP\ngroup_cipher=CCMP\nkey_mgmt=WPA2-PSK\n"
        } else {
            "pairwise_cipher=NONE\ngroup_cipher=NONE\nkey_mgmt=NONE\n"
        };
    }
    text + &format!("wpa_state={state}\naddress={station}\n")
}

pub(super) fn signal_poll(point: &AccessPoint) -> String {
    let signal = point.signal_dbm;
    format!(
        "RSSI={signal}\nLINKSPEED=54\nNOISE={NOISE}\nFREQUENCY={}\nWIDTH=20 MHz\nCENTER_FRQ1={}\n\
         AVG_RSSI={signal}\nAVG_BEACON_RSSI={signal}\n",
        point.frequency, point.frequency
    )
}

pub(super) fn trying_to_authenticate(to: MacAddr, ssid: &str, frequency: u32) -> String {
    format!("SME: Trying to authenticate with {to} (SSID='{ssid}' freq={frequency} MHz)")
}

pub(super) fn trying_to_associate(to: MacAddr, ssid: &str, frequency: u32) -> String {
    format!("Trying to associate with {to} (SSID='{ssid}' freq={frequency} MHz)")
}

pub(super) fn disconnected(at: MacAddr, reason: u16, locally: bool) -> String {
    let locally = if locally { " locally_generated=1" } else { "" };
    format!("CTRL-EVENT-DISCONNECTED bssid={at} reason={reason}{locally}")
}

pub(super) fn signal_change(above: bool, signal: i32) -> String {
    format!(
        "CTRL-EVENT-SIGNAL-CHANGE above={} signal={signal} noise={NOISE} txrate=54000",
        u8::from(above)
    )
}

pub(super) fn hostapd_status(point: &AccessPoint, ssid: &str, station: bool) -> String {
    format!(
        "state=ENABLED\nphy=phy0\nfreq={}\nnum_sta_non_erp=0\nchannel={}\nbss[0]={}\nbssid[0]={}\n\
         ssid[0]={ssid}\nnum_sta[0]={}\n",
        point.frequency,
        point.frequency.saturating_sub(2407) / 5,
        point.bridge,
        point.id,
        u8::from(station)
    )
}

pub(super) fn station(station: MacAddr, connected: Duration) -> String {
    format!(
        "{station}\nflags=[AUTH][ASSOC][AUTHORIZED]\naid=1\ncapability=0x421\nlisten_interval=5\n\
         supported_rates=02 04 0b 16\ntimeout_next=NULLFUNC POLL\nconnected_time={}\n",
        connected.as_secs()
    )
}
