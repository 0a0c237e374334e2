//! What wpa_supplicant writes, as it is written, and what the station makes of it.

mod alone;
mod busy;
mod choice;
mod client;
mod conversations;
mod daemon;
mod kernel;
mod moves;
mod port;
mod runs;
mod scans;
mod words;

use std::time::Duration;

use super::{
    nl80211::Query,
    station::{Input, Output, Station},
    supplicant::{self, Event, Heard, Request},
};
use crate::{
    config::Ieee80211,
    link::{Health, Order, Told},
    proto::{Instant, LinkEvent},
    wire::MacAddr,
};

const AP1: MacAddr = MacAddr([2, 0, 0, 0, 1, 0]);
const AP2: MacAddr = MacAddr([2, 0, 0, 0, 2, 0]);

/// A recorded conversation, played back to a station: one line after the other.
///
/// `<3>...` is an event; `? REQUEST` is what the station must ask next, and the lines behind it that
/// begin with `=` are the answer; `+N` lets N milliseconds pass; `! ...` is what the station must tell
/// next. What else it tells or asks is an error, except the list of what it hears.
struct Playback {
    now: Instant,
    interval: Duration,
    station: Station,
    asked: Vec<Request>,
    /// What the kernel is asked; tests answer by hand.
    queried: Vec<Query>,
    /// How often it was to be seen whether the kernel tells anything.
    opened: u32,
    told: Vec<String>,
}

impl Playback {
    fn with(change: impl FnOnce(&mut Ieee80211)) -> Self {
        let mut settings = Ieee80211::of("wlan0");
        change(&mut settings);
        let mut playback = Self {
            now: Instant::from_nanos(1_000_000_000_000),
            interval: settings.signal_interval,
            station: Station::new(&settings),
            asked: Vec::new(),
            queried: Vec::new(),
            opened: 0,
            told: Vec::new(),
        };
        playback.input(Input::Supplicant(Heard::Opened));
        playback
    }

    /// The time between two measurements.
    fn interval(&self) -> Duration {
        self.interval
    }

    fn input(&mut self, input: Input) {
        self.station.handle_input(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.station.poll_output() {
            match output {
                Output::Ask(request) if self.asked.contains(&request) => {}
                Output::Ask(request @ Request::Roam { .. }) => self.asked.insert(0, request),
                Output::Ask(request) => self.asked.push(request),
                Output::Query(query) => self.queried.push(query),
                Output::OpenKernel => self.opened += 1,
                Output::Tell(Told::Heard(_)) => {}
                Output::Tell(told) => self.told.push(described(&told)),
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.station.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.station.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// Lets time pass beside a supplicant that is attached to AP1 and hears it and others with these
    /// signals. Says what was told besides steps, and stops when a roam is asked for.
    fn live(&mut self, time: Duration, heard: &[(MacAddr, i32)]) -> Vec<String> {
        let end = self.now + time;
        let mut told = Vec::new();
        while self.now < end {
            let step = Duration::from_millis(10).min(end - self.now);
            self.pass(step);
            while !self.asked.is_empty() {
                if let Request::Roam { .. } = self.asked[0] {
                    return told;
                }
                let request = self.asked.remove(0);
                let answer = self.answer(&request, heard);
                let reply = supplicant::reply(&request, answer.as_bytes()).expect("an answer");
                let scans = matches!(request, Request::Scan { .. });
                self.input(Input::Supplicant(Heard::Replied { request, reply }));
                if scans {
                    self.input(Input::Supplicant(Heard::Event(Event::ScanResults)));
                }
            }
            told.extend(
                self.told
                    .drain(..)
                    .filter(|told| !told.starts_with("scan ")),
            );
        }
        told
    }

    fn answer(&self, request: &Request, heard: &[(MacAddr, i32)]) -> String {
        match request {
            Request::Status => {
                format!("bssid={AP1}\nssid=fmip\nwpa_state=COMPLETED\nsuppPortStatus=Authorized\n")
            }
            Request::SignalPoll => {
                let own = heard.iter().find(|(bssid, _)| *bssid == AP1);
                format!("RSSI={}\n", own.expect("AP1 is heard").1)
            }
            Request::Found { from: 0 } => heard
                .iter()
                .enumerate()
                .map(|(id, (bssid, dbm))| {
                    let ssid = if bssid.0[4] < 9 { "fmip" } else { "another" };
                    format!(
                        "id={id}\nbssid={bssid}\nfreq=2412\nlevel={dbm}\nage=0\nssid={ssid}\n====\n"
                    )
                })
                .collect(),
            Request::Found { .. } => String::new(),
            _ => "OK".to_owned(),
        }
    }

    /// Plays the lines of `log`.
    fn play(&mut self, log: &str) {
        let mut lines = log.lines().map(str::trim).peekable();
        while let Some(line) = lines.next() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(millis) = line.strip_prefix('+') {
                self.pass(Duration::from_millis(millis.parse().expect("milliseconds")));
            } else if let Some(asked) = line.strip_prefix("? ") {
                assert!(!self.asked.is_empty(), "{asked} is not asked");
                let request = self.asked.remove(0);
                assert_eq!(request.to_string(), asked);
                let mut answer = String::new();
                while let Some(part) = lines.next_if(|line| line.starts_with('=')) {
                    answer.push_str(part[1..].trim_start_matches(' '));
                    answer.push('\n');
                }
                let reply = supplicant::reply(&request, answer.as_bytes()).expect("an answer");
                self.input(Input::Supplicant(Heard::Replied { request, reply }));
            } else if let Some(told) = line.strip_prefix("! ") {
                assert!(!self.told.is_empty(), "{told:?} is not told");
                assert_eq!(self.told.remove(0), told);
            } else if let Some(order) = line.strip_prefix("LINK_SWITCH ") {
                let access_point = order.parse().expect("an address");
                self.input(Input::Order(Order::Switch { access_point }));
            } else if line == "GO AHEAD" {
                self.input(Input::Order(Order::GoAhead));
            } else {
                let event = supplicant::event(line.as_bytes()).expect("an event");
                self.input(Input::Supplicant(Heard::Event(event)));
            }
        }
        assert_eq!(self.told, Vec::<String>::new(), "told, and not expected");
        let asked: Vec<String> = self.asked.iter().map(Request::to_string).collect();
        assert_eq!(asked, Vec::<String>::new(), "asked, and not expected");
    }
}

fn described(told: &Told) -> String {
    match told {
        Told::Primitive(LinkEvent::NewLinkDetected { access_point }) => {
            format!("NEW_LINK_DETECTED {access_point}")
        }
        Told::Primitive(LinkEvent::HandoverImpend { access_point }) => {
            format!("LINK_HANDOVER_IMPEND {access_point}")
        }
        Told::Primitive(LinkEvent::LinkUp { access_point }) => format!("LINK_UP {access_point}"),
        Told::Primitive(LinkEvent::LinkUpSomewhere) => "LINK_UP".to_owned(),
        Told::Primitive(LinkEvent::LinkGoingDown) => "LINK_GOING_DOWN".to_owned(),
        Told::Primitive(LinkEvent::LinkDown) => "LINK_DOWN".to_owned(),
        Told::SwitchFailed {
            access_point,
            error,
        } => format!("failed {access_point} ({error})"),
        Told::Step(step) => {
            let peer = step.peer.map(|peer| format!(" {peer}")).unwrap_or_default();
            let detail = step.detail.as_ref();
            let detail = detail
                .map(|detail| format!(" ({detail})"))
                .unwrap_or_default();
            format!("{} {:?}{peer}{detail}", step.step, step.direction).to_lowercase()
        }
        Told::Health(Health::Working) => "working".to_owned(),
        Told::Health(Health::Lost { what, error }) => format!("{what} lost: {error}"),
        Told::Heard(_) => "heard".to_owned(),
        Told::Mark => "mark".to_owned(),
    }
}
