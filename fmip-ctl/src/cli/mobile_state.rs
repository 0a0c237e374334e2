//! `fmip-ctl show mobile`: a mobile node, for people.

use std::fmt::Write as _;

use fmip_ctl::{
    link::Health,
    observe::show::{AccessPointEntry, AddressEntry, MobileState},
};

use super::table;

/// All of it; what there is nothing of is left out.
pub(super) fn text(state: &MobileState) -> String {
    let mut text = format!("{}, {}\n", state.interface, attachment(state));
    let layer = state.link_layer.as_deref();
    let health = match &state.health {
        None => String::new(),
        Some(Health::Working) => ", working".to_owned(),
        Some(Health::Lost { what, error }) => format!(", without {what}: {error}"),
    };
    let _ = writeln!(
        text,
        "link layer: {}{health}",
        layer.unwrap_or("told by the control socket")
    );
    match (state.router, state.router_link_address) {
        (Some(router), Some(link_address)) => {
            let _ = writeln!(text, "router: {router} ({link_address})");
        }
        (Some(router), None) => {
            let _ = writeln!(text, "router: {router}");
        }
        (None, _) => text.push_str("router: none is known\n"),
    }
    match state.silent_router.as_ref().map(|of| of.asked_in_s) {
        None => {}
        Some(Some(left)) => {
            let _ = writeln!(
                text,
                "fast handover: the router did not answer, and is asked again in {left:.1} s"
            );
        }
        Some(None) => text.push_str(
            "fast handover: the router did not answer, and is not asked again on this link\n",
        ),
    }
    let registered = match state.registered {
        true => ", registered",
        false => "",
    };
    let settled = match state.settled {
        true => "",
        false => ", not usable here",
    };
    let _ = writeln!(
        text,
        "care-of address: {}{registered}{settled}",
        state.care_of
    );
    if let Some(handover) = &state.handover {
        let _ = write!(text, "handover: {}", handover.state);
        if let Some(target) = handover.target {
            let _ = write!(text, ", to {target}");
        }
        if let Some(ncoa) = handover.ncoa {
            let _ = write!(text, ", with {ncoa}");
        }
        text.push('\n');
    }
    if let Some(announcing) = &state.announcing {
        let _ = writeln!(
            text,
            "announcing: {}, {} to come and the last word",
            announcing.address, announcing.left
        );
    }

    let rows: Vec<_> = state.addresses.iter().map(address).collect();
    let heading = ["ADDRESS", "ROLE", "PREFERRED", "VALID", "FLAGS"];
    section(&mut text, "Addresses", &heading, &rows);

    let rows: Vec<_> = (state.previous.iter())
        .map(|of| {
            vec![
                of.address.to_string(),
                format!("{} to {}", of.tunnel.local, of.tunnel.remote),
                format!("{:.1} s", of.expires_in_s),
                if of.ending { "is being ended" } else { "" }.to_owned(),
            ]
        })
        .collect();
    let heading = ["ADDRESS", "TUNNEL", "ENDS IN"];
    section(&mut text, "Earlier addresses", &heading, &rows);

    let rows: Vec<_> = state.access_points.iter().map(access_point).collect();
    let heading = ["ACCESS POINT", "SIGNAL", "AGE", "BEHIND IT"];
    section(&mut text, "Access points", &heading, &rows);

    let rows: Vec<_> = (state.counters.iter())
        .map(|(name, number)| vec![name.clone(), number.to_string()])
        .collect();
    if !rows.is_empty() {
        text.push_str("\nCounted\n");
        table::append(&mut text, 2, None, &rows);
    }
    text
}

fn attachment(state: &MobileState) -> String {
    match (state.link_up, state.access_point) {
        (true, Some(access_point)) => format!("attached to {access_point}"),
        (true, None) => "attached, it is not known where".to_owned(),
        (false, Some(access_point)) => format!("attached to nothing, last to {access_point}"),
        (false, None) => "attached to nothing".to_owned(),
    }
}

fn section(text: &mut String, title: &str, heading: &[&str], rows: &[Vec<String>]) {
    if !rows.is_empty() {
        let _ = writeln!(text, "\n{title}");
        table::append(text, 2, Some(heading), rows);
    }
}

fn address(of: &AddressEntry) -> Vec<String> {
    let seconds = |seconds: Option<u32>| match seconds {
        None => "forever".to_owned(),
        Some(seconds) => format!("{seconds} s"),
    };
    vec![
        format!("{}/{}", of.address, of.prefix_length),
        of.role.clone(),
        seconds(of.preferred_s),
        seconds(of.valid_s),
        of.flags.join(" "),
    ]
}

fn access_point(of: &AccessPointEntry) -> Vec<String> {
    let none = || "-".to_owned();
    let behind = match (of.knowledge.as_deref(), of.router, &of.prefix) {
        (Some("router"), Some(router), Some(prefix)) => format!("{router}, {prefix}"),
        (Some("router"), Some(router), None) => router.to_string(),
        (Some("same-link"), ..) => "the same link".to_owned(),
        (Some("no-fast-handover"), ..) => "a router without fast handovers".to_owned(),
        (Some(_), ..) => "the router does not know it".to_owned(),
        (None, ..) if of.attached => "here".to_owned(),
        (None, ..) => none(),
    };
    vec![
        of.access_point.to_string(),
        of.signal_dbm.map_or_else(none, |dbm| format!("{dbm} dBm")),
        of.age_ms.map_or_else(none, |ms| format!("{ms} ms")),
        behind,
    ]
}

#[cfg(test)]
mod tests {
    use fmip_ctl::{
        observe::show::{PreviousEntry, SilentEntry},
        proto::{AnnouncementsLeft, HandoverUnderWay, Tunnel},
    };

    use super::*;

    fn state() -> MobileState {
        let entry = |address: &str, role: &str, flags: &[&str], preferred_s| AddressEntry {
            address: address.parse().unwrap(),
            prefix_length: 64,
            role: role.to_owned(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            preferred_s,
            valid_s: None,
        };
        let heard = |host: u8, signal_dbm, knowledge: Option<&str>| AccessPointEntry {
            access_point: fmip_ctl::wire::MacAddr([2, 0, 0, 0, 0x0a, host]),
            attached: host == 2,
            signal_dbm,
            age_ms: signal_dbm.map(|_| 120),
            knowledge: knowledge.map(str::to_owned),
            router: (knowledge == Some("router")).then(|| "2001:db8:3::1".parse().unwrap()),
            prefix: (knowledge == Some("router")).then(|| "2001:db8:3::/64".to_owned()),
            ncoa: None,
        };
        MobileState {
            interface: "wlan0".to_owned(),
            link_up: true,
            link_layer: Some("802.11".to_owned()),
            health: Some(Health::Working),
            access_point: Some("02:00:00:00:0a:02".parse().unwrap()),
            router: Some("2001:db8:2::1".parse().unwrap()),
            silent_router: None,
            router_link_address: Some("02:00:00:00:00:22".parse().unwrap()),
            care_of: "2001:db8:2::ff:fe00:1".parse().unwrap(),
            settled: true,
            registered: false,
            addresses: vec![
                entry(
                    "2001:db8:2::ff:fe00:1",
                    "care-of",
                    &["optimistic", "deprecated"],
                    Some(0),
                ),
                entry("2001:db8:1::ff:fe00:1", "kept", &["deprecated"], Some(0)),
            ],
            previous: vec![PreviousEntry {
                address: "2001:db8:1::ff:fe00:1".parse().unwrap(),
                tunnel: Tunnel {
                    local: "2001:db8:2::ff:fe00:1".parse().unwrap(),
                    remote: "2001:db8:1::1".parse().unwrap(),
                },
                expires_in_s: 59.26,
                ending: false,
            }],
            handover: None,
            announcing: Some(AnnouncementsLeft {
                address: "2001:db8:2::ff:fe00:1".parse().unwrap(),
                left: 1,
            }),
            access_points: vec![
                heard(2, Some(-51), None),
                heard(3, Some(-60), Some("router")),
                heard(4, None, Some("unknown")),
            ],
            counters: [("sent-fbu".to_owned(), 1), ("sent-una".to_owned(), 12)].into(),
        }
    }

    #[test]
    fn a_mobile_node_is_shown_with_all_that_it_knows() {
        let shown = text(&state());
        assert_eq!(
            shown,
            "\
wlan0, attached to 02:00:00:00:0a:02
link layer: 802.11, working
router: 2001:db8:2::1 (02:00:00:00:00:22)
care-of address: 2001:db8:2::ff:fe00:1
announcing: 2001:db8:2::ff:fe00:1, 1 to come and the last word

Addresses
  ADDRESS                   ROLE     PREFERRED  VALID    FLAGS
  2001:db8:2::ff:fe00:1/64  care-of        0 s  forever  optimistic deprecated
  2001:db8:1::ff:fe00:1/64  kept           0 s  forever  deprecated

Earlier addresses
  ADDRESS                TUNNEL                                  ENDS IN
  2001:db8:1::ff:fe00:1  2001:db8:2::ff:fe00:1 to 2001:db8:1::1   59.3 s

Access points
  ACCESS POINT       SIGNAL      AGE  BEHIND IT
  02:00:00:00:0a:02  -51 dBm  120 ms  here
  02:00:00:00:0a:03  -60 dBm  120 ms  2001:db8:3::1, 2001:db8:3::/64
  02:00:00:00:0a:04  -             -  the router does not know it

Counted
  sent-fbu   1
  sent-una  12
"
        );
        assert!(shown.lines().all(|line| line.len() <= 100), "{shown}");
    }

    #[test]
    fn a_node_in_the_middle_of_nothing_says_so() {
        let state = MobileState {
            link_up: false,
            link_layer: None,
            health: Some(Health::Lost {
                what: "wpa_supplicant".to_owned(),
                error: "no such file".to_owned(),
            }),
            router: None,
            silent_router: Some(SilentEntry {
                asked_in_s: Some(41.96),
            }),
            settled: false,
            registered: true,
            addresses: Vec::new(),
            previous: Vec::new(),
            handover: Some(HandoverUnderWay {
                state: "adrift".to_owned(),
                target: Some("02:00:00:00:0a:03".parse().unwrap()),
                ncoa: Some("2001:db8:3::9".parse().unwrap()),
            }),
            announcing: None,
            access_points: Vec::new(),
            counters: Default::default(),
            ..state()
        };
        assert_eq!(
            text(&state),
            "\
wlan0, attached to nothing, last to 02:00:00:00:0a:02
link layer: told by the control socket, without wpa_supplicant: no such file
router: none is known
fast handover: the router did not answer, and is asked again in 42.0 s
care-of address: 2001:db8:2::ff:fe00:1, registered, not usable here
handover: adrift, to 02:00:00:00:0a:03, with 2001:db8:3::9
"
        );
    }
    #[test]
    fn a_router_that_is_not_asked_again_is_told_of() {
        let silent = MobileState {
            silent_router: Some(SilentEntry { asked_in_s: None }),
            ..state()
        };
        let shown = text(&silent);
        let line = shown.lines().nth(3);
        let expected =
            "fast handover: the router did not answer, and is not asked again on this link";
        assert_eq!(line, Some(expected));
    }
}
