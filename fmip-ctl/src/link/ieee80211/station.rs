//! A station of 802.11 as a pure machine: what the supplicant and the kernel tell, orders and time
//! come in; primitives, steps and questions go out.
//!
//! It is driven as the machines of [`proto`](crate::proto) are: give it an input or a timeout, take
//! its outputs until there are none, sleep until [`Station::poll_timeout`]. This file takes in what is
//! told; `attachment` knows where the station is, `kernel` whether the kernel's word can be had,
//! `results` what is heard, `moves` where it goes.
//!
//! # A move
//! The signal fades and another access point is better: LINK_HANDOVER_IMPEND goes up, and the station
//! waits for LINK_SWITCH as long as it may; then, or if there is nothing to wait for, it moves
//! without, if the signal is still weak. A target whose scan result is missing or too old is looked
//! for first, for the supplicant moves only to what it has seen. A supplicant that is busy with a scan
//! of its own is asked again when that has ended, or soon. The link is down from the moment at
//! which the supplicant turns to the new access point, and up when the port there lets packets
//! through, which may be later than the association: what is sent before is lost without a word.

mod attachment;
mod kernel;
mod moves;
mod results;

use std::collections::{BTreeMap, VecDeque};

use tracing::{debug, warn};

use self::{
    attachment::Attachment,
    kernel::Kernel,
    moves::{BUSY, BUSY_PAUSE, Course, Search},
};
use super::{
    nl80211::{self, Answer, Query},
    policy::Policy,
    scan::{Schedule, Table},
    supplicant::{Bss, Event, Heard, Reply, Request},
};
use crate::{
    config::Ieee80211,
    link::{
        Direction, Health, Order, Step, Told,
        carrier::{self, Carrier, Change},
    },
    proto::{Instant, LinkEvent},
    wire::MacAddr,
};

/// What the station is told.
#[derive(Debug)]
pub(super) enum Input {
    /// What the supplicant tells.
    Supplicant(Heard),
    /// The kernel tells of 802.11, and answers.
    KernelOpened,
    /// It does not.
    KernelLost { error: String },
    /// It told something.
    Kernel(nl80211::Event),
    /// It answered.
    Answered(Answer),
    /// It did not.
    Unanswered { error: String },
    /// How the carrier of the interface is, which counts where nobody tells more.
    Carrier(carrier::State),
    /// What the protocol wants.
    Order(Order),
}

/// What the station wants.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Output {
    /// The protocol or people to be told.
    Tell(Told),
    /// The supplicant to be asked.
    Ask(Request),
    /// The kernel to be asked.
    Query(Query),
    /// To know whether the kernel tells of 802.11 (any more).
    OpenKernel,
}

/// The machine.
#[derive(Debug)]
pub(super) struct Station {
    settings: Ieee80211,
    /// What the supplicant is called in messages.
    name: String,
    outputs: VecDeque<Output>,
    /// Whether the supplicant is there.
    open: bool,
    kernel: Kernel,
    /// What is left to go by if neither is there.
    carrier: Carrier,
    attachment: Attachment,
    /// Whether the protocol was told last that the link is there.
    told_up: Option<bool>,
    /// The network it is in.
    ssid: Option<String>,
    /// Whether the protocol was told that the signal fades.
    going_down: bool,
    /// Where the last join led, and whether authentication was seen.
    joined: Option<MacAddr>,
    course: Option<Course>,
    table: Table,
    /// Results that are being read, and whether there are newer ones already.
    reading: Option<Vec<Bss>>,
    read_again: bool,
    /// Those of the network that the protocol knows of, and since when.
    detected: BTreeMap<MacAddr, Instant>,
    schedule: Schedule,
    policy: Policy,
    /// When to measure the signal, or to ask where the station is.
    measure: Option<Instant>,
    /// Of what was not understood.
    garbage: u64,
}

impl Station {
    pub(super) fn new(settings: &Ieee80211) -> Self {
        Self {
            name: format!("wpa_supplicant at {}", settings.control_interface.display()),
            settings: settings.clone(),
            outputs: VecDeque::new(),
            open: false,
            kernel: Kernel::new(),
            carrier: Carrier::default(),
            attachment: Attachment::Unknown,
            told_up: None,
            ssid: None,
            going_down: false,
            joined: None,
            course: None,
            table: Table::default(),
            reading: None,
            read_again: false,
            detected: BTreeMap::new(),
            schedule: Schedule::new(settings),
            policy: Policy::new(settings),
            measure: None,
            garbage: 0,
        }
    }

    /// Takes in what happened.
    pub(super) fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Supplicant(heard) => match heard {
                Heard::Opened => self.handle_opened(now),
                Heard::Lost { error } => self.handle_lost(now, error),
                Heard::Event(event) => self.handle_event(now, event),
                Heard::Replied { request, reply } => self.handle_reply(now, &request, reply),
                Heard::Garbage(garbage) => self.handle_garbage(&garbage.to_string()),
                Heard::Unreadable { request, garbage } => {
                    self.handle_garbage(&garbage.to_string());
                    if let Request::Found { .. } | Request::ScanResults = request {
                        self.give_up_reading();
                    }
                }
            },
            Input::KernelOpened => self.handle_kernel_opened(now),
            Input::KernelLost { error } => {
                self.handle_kernel_lost(now, &error);
                self.go_by_carrier(now);
            }
            Input::Kernel(event) => self.handle_kernel(now, &event),
            Input::Answered(answer) => self.handle_answer(now, answer),
            Input::Unanswered { error } => {
                self.handle_unanswered(now, &error);
                self.go_by_carrier(now);
            }
            Input::Carrier(state) => self.handle_carrier(now, state),
            Input::Order(Order::Switch { access_point }) => self.switch(now, access_point),
            Input::Order(Order::Prospects(prospects)) => {
                self.policy.inform(prospects);
                self.decide(now);
            }
            Input::Order(Order::GoAhead) => {
                if let Some(Course::Impending { target, .. }) = self.course {
                    self.go_unprepared(now, target);
                }
            }
        }
    }

    /// Does what is due by `now`.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.handle_move_timeout(now);
        self.handle_kernel_timeout(now);
        self.handle_port_timeout(now);
        if self.measure.is_some_and(|measure| measure <= now) {
            self.measure = Some(now + self.settings.signal_interval);
            match (self.open, self.attachment) {
                (true, Attachment::Up { .. }) => self.ask(Request::SignalPoll),
                // Whether it is still there, and whether the link is there again: events may have been lost,
                // and of a link that is down nothing else is asked.
                (true, _) => self.ask(Request::Status),
                (false, _) => self.query(Query::Peers),
            }
        }
        self.handle_scan_timeout(now);
    }

    /// When `handle_timeout` is to be called next, if nothing happens before.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let closed = match self.attachment {
            Attachment::Closed { ask, .. } if self.open || self.kernel.answers() => Some(ask),
            _ => None,
        };
        let all = [
            self.move_timeout(),
            closed,
            self.measure,
            self.kernel.due(),
            self.scan_due(),
        ];
        all.into_iter().flatten().min()
    }

    /// How often what happened.
    pub(super) fn counters(&self) -> [(&'static str, u64); 2] {
        [
            ("supplicant-garbage", self.garbage),
            ("kernel-unanswered", self.kernel.unanswered()),
        ]
    }

    /// The next output.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn handle_opened(&mut self, now: Instant) {
        self.open = true;
        self.tell(Told::Health(Health::Working));
        self.measure = Some(now + self.settings.signal_interval);
        self.ask(Request::Status);
        self.read_results();
    }

    /// The link stays as it is: the kernel keeps it without the supplicant, or says that it does not;
    /// and so does the supplicant when it comes back.
    fn handle_lost(&mut self, now: Instant, error: String) {
        self.open = false;
        self.measure = None;
        self.reading = None;
        self.read_again = false;
        self.schedule.fail();
        match self.course.take() {
            Some(
                Course::Looking { target, .. }
                | Course::Roaming {
                    target,
                    ordered: true,
                    ..
                },
            ) if self.is_up() => self.refuse(target, "wpa_supplicant is gone"),
            _ => {}
        }
        let what = self.name.clone();
        self.tell(Told::Health(Health::Lost { what, error }));
        self.ask_kernel(now);
        self.go_by_carrier(now);
    }

    fn handle_carrier(&mut self, now: Instant, state: carrier::State) {
        let change = self.carrier.see(state);
        if self.open || self.kernel.lists() {
            return;
        }
        if change == Some(Change::Interrupted) && !self.kernel.has_just_let_go(now) {
            self.detach();
        }
        if change.is_some() {
            self.kernel.forget_letting_go();
        }
        if self.kernel.answers() {
            // It may list an access point this time; if it does not, the carrier is all that is known.
            if change.is_some() {
                self.query(Query::Peers);
            }
            return;
        }
        self.go_by_carrier(now);
    }

    /// The link is as its carrier is, if nobody tells more.
    fn go_by_carrier(&mut self, now: Instant) {
        if !self.open && !self.kernel.answers() {
            self.follow_carrier(now);
        }
    }

    fn handle_garbage(&mut self, error: &str) {
        self.garbage += 1;
        // All of a flood tells no more than its beginning and its size.
        if self.garbage.is_power_of_two() {
            let count = self.garbage;
            warn!(count, "{} wrote what is not understood: {error}", self.name);
            let detail = format!("{error} ({count} so far)");
            self.step("unreadable", Direction::Local, None, Some(detail));
        }
    }

    fn handle_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Authenticating { bssid } => {
                self.leave(bssid);
                self.step("authenticate", Direction::Sent, Some(bssid), None);
            }
            Event::Associating { bssid: Some(bssid) } => {
                match self.joined == Some(bssid) {
                    true => self.step("authenticate", Direction::Received, Some(bssid), None),
                    // The driver authenticates by itself, if at all.
                    false => self.leave(bssid),
                }
                self.step("associate", Direction::Sent, Some(bssid), None);
            }
            Event::Associating { bssid: None } => {
                self.detach();
                self.step("associate", Direction::Sent, None, None);
            }
            Event::Associated { bssid } => {
                self.step("associate", Direction::Received, Some(bssid), None);
                self.await_authentication(now, bssid);
            }
            Event::EapStarted => self.authentication("started"),
            Event::EapSuccess => self.authentication("success"),
            Event::EapFailure => self.authentication("failure"),
            Event::KeysNegotiated { .. } => self.authentication("keys negotiated"),
            Event::Connected { bssid } => {
                self.joined = None;
                self.attach(now, bssid);
            }
            Event::Disconnected { bssid, reason } => self.handle_disconnected(now, bssid, reason),
            Event::AuthenticationRejected { bssid, status } => {
                self.handle_rejected(now, "authenticate", Some(bssid), refused(status));
            }
            Event::AssociationRejected { bssid, status } => {
                self.handle_rejected(now, "associate", bssid, refused(status));
            }
            Event::TimedOut { bssid } => {
                self.handle_rejected(now, "802.1X", Some(bssid), "timed out".to_owned());
            }
            Event::NetworkDisabled { reason } => {
                if let Some(Course::Roaming { .. }) = self.course
                    && !self.is_up()
                {
                    let reason = reason.unwrap_or_default();
                    self.fail_move(now, &format!("the network is disabled: {reason}"));
                }
            }
            Event::ScanStarted => self.schedule.begin(now),
            Event::ScanResults => {
                self.schedule.end(now);
                self.step("scan", Direction::Received, None, None);
                self.handle_search(Search::Begun, Search::Done);
                self.read_results();
                self.handle_scan_end(now);
            }
            Event::ScanFailed => {
                self.schedule.fail();
                self.step("scan", Direction::Local, None, Some("failed".to_owned()));
                self.handle_search(Search::Begun, Search::Asked);
                // One that was begun for the move has come to nothing, too.
                if let Some(Course::Looking { again, .. }) = &mut self.course {
                    again.get_or_insert(now + BUSY_PAUSE);
                }
                self.handle_scan_end(now);
            }
            Event::SignalChange { dbm, above } => {
                debug!(dbm, above, "the signal crossed the threshold");
                self.handle_signal(now, dbm);
            }
            Event::BeaconLoss => self.handle_beacon_loss(now),
            Event::Terminating | Event::Other => {}
        }
    }

    fn authentication(&mut self, detail: &str) {
        let peer = self.joined;
        let detail = Some(detail.to_owned());
        self.step("802.1X", Direction::Received, peer, detail);
    }

    fn handle_reply(&mut self, now: Instant, request: &Request, reply: Reply) {
        match (request, reply) {
            (Request::Status, Reply::Status(status)) => self.handle_status(now, status),
            (Request::SignalPoll, Reply::Signal(signal)) => self.handle_signal(now, signal.dbm),
            (Request::Found { .. } | Request::ScanResults, Reply::Found(found)) => {
                self.handle_found(now, request, found);
            }
            // A supplicant that does not know this form of the question, or its end.
            (Request::Found { from: 0 }, Reply::Refused(_)) => self.ask(Request::ScanResults),
            (Request::Found { .. } | Request::ScanResults, Reply::Refused(_)) => {
                self.take_results(now);
            }
            (Request::Roam { bssid }, Reply::Refused(why)) => {
                self.handle_roam_refused(now, *bssid, &why);
            }
            (Request::Scan { .. }, Reply::Done) => {
                self.handle_search(Search::Asked, Search::Begun);
            }
            (Request::Scan { .. }, Reply::Refused(why)) => {
                debug!("no scan: {why}");
                match why.as_str() {
                    // In the background the results of the one that is under way are as good; for a move
                    // they are not: it may be of other channels.
                    BUSY => self.schedule.give_way(),
                    _ => self.schedule.fail(),
                }
                // What the supplicant has begun is another one.
                self.handle_search(Search::Begun, Search::Asked);
                if let Some(Course::Looking { again, .. }) = &mut self.course {
                    *again = Some(now + BUSY_PAUSE);
                }
            }
            (Request::SignalMonitor { .. }, Reply::Refused(why)) => {
                debug!("the signal is not watched, only measured: {why}");
            }
            // Nothing is attached, perhaps: events may have been lost, and without nl80211 nobody else
            // says that the link is gone.
            (Request::SignalPoll, Reply::Refused(why)) => {
                debug!("no signal is measured: {why}");
                if self.is_up() {
                    self.ask(Request::Status);
                }
            }
            (_, Reply::Refused(why)) => debug!(%request, "refused: {why}"),
            (_, _) => {}
        }
    }

    fn handle_signal(&mut self, now: Instant, dbm: i32) {
        if let Some(bssid) = self.bssid() {
            self.policy.measure(dbm);
            self.table.hear(now, bssid, dbm);
            self.decide(now);
        }
    }

    fn handle_beacon_loss(&mut self, now: Instant) {
        if self.is_up() {
            self.step("beacon loss", Direction::Local, self.bssid(), None);
            self.policy.lose_beacons();
            self.decide(now);
        }
    }

    fn step(
        &mut self,
        step: &str,
        direction: Direction,
        peer: Option<MacAddr>,
        detail: Option<String>,
    ) {
        self.tell(Told::Step(Step {
            step: step.to_owned(),
            direction,
            peer,
            detail,
        }));
    }

    fn primitive(&mut self, event: LinkEvent) {
        self.tell(Told::Primitive(event));
    }

    fn tell(&mut self, told: Told) {
        self.outputs.push_back(Output::Tell(told));
    }

    fn ask(&mut self, request: Request) {
        if self.open {
            self.outputs.push_back(Output::Ask(request));
        }
    }
}

fn refused(status: Option<u16>) -> String {
    match status {
        Some(status) => format!("refused: status {status}"),
        None => "refused".to_owned(),
    }
}
