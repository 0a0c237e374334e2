//! Whatever comes in whatever order: what holds of the station in every run.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    super::{
        nl80211::{Answer, Event as KernelEvent, Peer},
        supplicant::{Bss, Event, Phase, Reply, Signal, Status},
    },
    *,
};
use crate::link::{Direction, Step};

/// Something that happens.
#[derive(Clone, Debug)]
enum Happening {
    Event(Event),
    /// The supplicant answers what it was asked first, in this way.
    Answer(Answering),
    Opened,
    Lost,
    Kernel(KernelEvent),
    KernelOpened,
    KernelLost,
    /// The kernel answers.
    Peers(Vec<Peer>),
    Unanswered,
    Order(Order),
    Time(u64),
}

#[derive(Clone, Debug)]
struct Answering {
    refuses: bool,
    phase: u8,
    at: MacAddr,
    authorized: Option<bool>,
    dbm: i32,
}

fn access_point() -> impl Strategy<Value = MacAddr> {
    (1..4_u8).prop_map(|number| MacAddr([2, 0, 0, 0, number, 0]))
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        access_point().prop_map(|bssid| Event::Authenticating { bssid }),
        prop::option::of(access_point()).prop_map(|bssid| Event::Associating { bssid }),
        access_point().prop_map(|bssid| Event::Associated { bssid }),
        access_point().prop_map(|bssid| Event::Connected { bssid }),
        prop::option::of(access_point()).prop_map(|bssid| Event::Disconnected {
            bssid,
            reason: Some(3)
        }),
        access_point().prop_map(|bssid| Event::AuthenticationRejected {
            bssid,
            status: None
        }),
        prop::option::of(access_point()).prop_map(|bssid| Event::AssociationRejected {
            bssid,
            status: Some(17)
        }),
        access_point().prop_map(|bssid| Event::TimedOut { bssid }),
        Just(Event::NetworkDisabled { reason: None }),
        Just(Event::EapFailure),
        Just(Event::ScanStarted),
        Just(Event::ScanResults),
        Just(Event::ScanFailed),
        (-95..-40_i32).prop_map(|dbm| Event::SignalChange { above: false, dbm }),
        Just(Event::BeaconLoss),
        Just(Event::Other),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    let answering = (
        any::<bool>(),
        0..3_u8,
        access_point(),
        any::<Option<bool>>(),
        -95..-40_i32,
    );
    let peer = (access_point(), any::<Option<bool>>()).prop_map(|(bssid, authorized)| Peer {
        bssid,
        authorized,
        dbm: Some(-90),
    });
    prop_oneof![
        6 => event().prop_map(Happening::Event),
        12 => answering.prop_map(|(refuses, phase, at, authorized, dbm)| {
            Happening::Answer(Answering { refuses: refuses && dbm > -60, phase, at, authorized, dbm })
        }),
        1 => Just(Happening::Opened),
        1 => Just(Happening::Lost),
        2 => prop_oneof![
            access_point().prop_map(|bssid| KernelEvent::Connected { bssid }),
            Just(KernelEvent::Disconnected),
            Just(KernelEvent::Scanned),
            Just(KernelEvent::BeaconLoss),
            Just(KernelEvent::Authorized),
        ].prop_map(Happening::Kernel),
        1 => Just(Happening::KernelOpened),
        1 => Just(Happening::KernelLost),
        2 => prop::collection::vec(peer, 0..2).prop_map(Happening::Peers),
        1 => Just(Happening::Unanswered),
        3 => access_point().prop_map(|access_point| Happening::Order(Order::Switch { access_point })),
        1 => Just(Happening::Order(Order::GoAhead)),
        8 => (1..2000_u64).prop_map(Happening::Time),
    ]
}

/// The station, and what was seen of it.
struct Run {
    now: Instant,
    settings: Ieee80211,
    station: Station,
    open: bool,
    asked: Vec<Request>,
    /// What was told last of the link.
    up: Option<MacAddr>,
    told_down: bool,
    /// Where a handover impends to, as far as that is certain.
    impending: Option<Instant>,
    /// When the last scan in the background was begun.
    scanned: Option<Instant>,
    /// LINK_SWITCHes that have not been answered, by target.
    switches: BTreeMap<MacAddr, u32>,
}

impl Run {
    fn new() -> Self {
        let mut settings = Ieee80211::of("wlan0");
        settings.scan_max_age = Duration::from_secs(8);
        settings.scan_min_interval = Duration::from_secs(3);
        Self {
            now: Instant::from_nanos(1_000_000_000_000),
            station: Station::new(&settings),
            settings,
            open: false,
            asked: Vec::new(),
            up: None,
            told_down: false,
            impending: None,
            scanned: None,
            switches: BTreeMap::new(),
        }
    }

    fn input(&mut self, input: Input) {
        self.station.handle_input(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.station.poll_output() {
            match output {
                Output::Ask(request) => self.check_asked(request),
                Output::Tell(told) => self.check_told(told),
                Output::Query(_) | Output::OpenKernel => {}
            }
        }
    }

    fn check_asked(&mut self, request: Request) {
        assert!(self.open, "{request} is asked of nobody");
        if let Request::Roam { .. } = request {
            self.impending = None;
        }
        if !self.asked.contains(&request) {
            self.asked.push(request);
        }
    }

    fn check_told(&mut self, told: Told) {
        match told {
            Told::Primitive(LinkEvent::LinkUp { access_point }) => {
                self.up = Some(access_point);
                self.told_down = false;
                self.impending = None;
                self.switches.clear();
            }
            Told::Primitive(LinkEvent::LinkDown) => {
                assert!(!self.told_down, "the link is down twice");
                self.told_down = true;
                self.up = None;
                self.impending = None;
            }
            Told::Primitive(LinkEvent::HandoverImpend { access_point }) => {
                assert!(self.open, "nobody could move to {access_point}");
                assert!(self.up.is_some() && self.up != Some(access_point));
                self.impending = Some(self.now + self.settings.link_switch_wait);
            }
            Told::Primitive(LinkEvent::NewLinkDetected { access_point }) => {
                assert_ne!(self.up, Some(access_point), "it is there");
            }
            Told::Primitive(LinkEvent::LinkGoingDown) => assert!(self.up.is_some()),
            Told::SwitchFailed { access_point, .. } => {
                let left = self.switches.get_mut(&access_point);
                let left = left.filter(|left| **left > 0);
                *left.expect("only what was ordered fails, and once") -= 1;
            }
            Told::Step(Step {
                step,
                direction: Direction::Sent,
                peer,
                ..
            }) if step == "scan" => {
                // Until when it impends is not seen if it ends because the signal is good again.
                let impends = self.impending.is_some_and(|until| self.now < until);
                assert!(!impends || peer.is_some(), "a scan during a handover");
                if peer.is_none() {
                    let soon = self
                        .scanned
                        .map(|last| last + self.settings.scan_min_interval);
                    assert!(soon.is_none_or(|soon| self.now >= soon), "too many scans");
                    self.scanned = Some(self.now);
                }
            }
            Told::Step(_) | Told::Heard(_) | Told::Mark | Told::Health(_) => {}
        }
    }

    fn pass(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        let mut turns = 0;
        while let Some(due) = self.station.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.station.handle_timeout(self.now);
            self.drain();
            turns += 1;
            assert!(turns < 10_000, "it never sleeps");
        }
        self.now = end;
    }

    fn answer(&mut self, way: &Answering) {
        if self.asked.is_empty() || !self.open {
            return;
        }
        let request = self.asked.remove(0);
        let reply = match &request {
            _ if way.refuses => Reply::Refused("FAIL".to_owned()),
            Request::Status => Reply::Status(Status {
                phase: match way.phase {
                    0 => Phase::Detached,
                    1 => Phase::Underway,
                    _ => Phase::Completed,
                },
                bssid: Some(way.at),
                ssid: Some("fmip".to_owned()),
                frequency: None,
                port_authorized: way.authorized,
            }),
            Request::SignalPoll => Reply::Signal(Signal {
                dbm: way.dbm,
                frequency: None,
            }),
            Request::Found { .. } | Request::ScanResults => Reply::Found(vec![Bss {
                id: None,
                bssid: way.at,
                frequency: 2412,
                dbm: way.dbm,
                age: Some(Duration::ZERO),
                ssid: "fmip".to_owned(),
            }]),
            _ => Reply::Done,
        };
        self.input(Input::Supplicant(Heard::Replied { request, reply }));
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Event(event) if self.open => {
                self.input(Input::Supplicant(Heard::Event(event)));
            }
            Happening::Opened if !self.open => {
                self.open = true;
                self.input(Input::Supplicant(Heard::Opened));
            }
            Happening::Lost if self.open => {
                self.asked.clear();
                // What is told of its end is told when it is gone.
                let error = "it ended".to_owned();
                self.impending = None;
                self.station
                    .handle_input(self.now, Input::Supplicant(Heard::Lost { error }));
                self.open = false;
                self.drain();
            }
            // Nobody is there to tell, or already.
            Happening::Event(_) | Happening::Opened | Happening::Lost => {}
            Happening::Answer(way) => self.answer(&way),
            Happening::Kernel(event) => self.input(Input::Kernel(event)),
            Happening::KernelOpened => self.input(Input::KernelOpened),
            Happening::KernelLost => {
                let error = "gone".to_owned();
                self.input(Input::KernelLost { error });
            }
            Happening::Peers(peers) => self.input(Input::Answered(Answer::Peers(peers))),
            Happening::Unanswered => {
                let error = "no answer".to_owned();
                self.input(Input::Unanswered { error });
            }
            Happening::Order(order) => {
                if let Order::Switch { access_point } = order {
                    *self.switches.entry(access_point).or_default() += 1;
                }
                self.impending = None;
                self.input(Input::Order(order));
            }
            Happening::Time(millis) => self.pass(millis),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    // Rows: W11-11
    #[test]
    fn in_every_run_the_station_says_what_is_true_and_disturbs_nobody(
        happenings in prop::collection::vec(happening(), 0..200),
    ) {
        let mut run = Run::new();
        for happening in happenings {
            run.happen(happening);
        }
    }
}
