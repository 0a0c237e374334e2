//! What wpa_supplicant and hostapd say on their control interfaces, word for word (version 2.10), and
//! what they understand.

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
}

/// Reads the parameters of `SCAN`; `None` if a frequency is none. Parameters that mean nothing to the
/// medium (`TYPE=ONLY`, `use_id=1`) are understood.
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

pub(super) fn bss(
    point: &AccessPoint,
    seen: &Seen,
    ssid: &str,
    protected: bool,
    now: Instant,
) -> String {
    let capabilities = if protected { 0x0411 } else { 0x0401 };
    format!(
        "id={}\nbssid={}\nfreq={}\nbeacon_int=100\ncapabilities={capabilities:#06x}\nqual=0\n\
         noise={NOISE}\nlevel={}\ntsf={:016}\nage={}\nie={}\nflags={}\nssid={ssid}\nsnr={}\n\
         est_throughput=54000\nupdate_idx=1\nbeacon_ie=\n",
        seen.bss_id,
        point.id,
        point.frequency,
        seen.signal_dbm,
        seen.at.as_nanos() / 1000,
        (now - seen.at).as_secs(),
        ssid_element(ssid),
        flags(protected),
        seen.signal_dbm - NOISE,
    )
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

pub(super) fn station(station: MacAddr) -> String {
    format!(
        "{station}\nflags=[AUTH][ASSOC][AUTHORIZED]\naid=1\ncapability=0x421\nlisten_interval=5\n\
         supported_rates=02 04 0b 16\ntimeout_next=NULLFUNC POLL\n"
    )
}
