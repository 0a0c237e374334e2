//! A station of 802.11 as a pure machine: what the supplicant and the kernel tell, orders and time
//! come in; primitives, steps and questions go out.
//!
//! It is driven as the machines of [`proto`](crate::proto) are: give it an input or a timeout, take
//! its outputs until there are none, sleep until [`Station::poll_timeout`].
//!
//! # A move
//! The signal fades and another access point is better: LINK_HANDOVER_IMPEND goes up, and the station
//! waits for LINK_SWITCH as long as it may; then, or if there is nothing to wait for, it moves
//! without, if the signal is still weak. A target whose scan result is missing or too old is looked
//! for first, for the supplicant moves only to what it has seen. A supplicant that is busy with a scan
//! of its own is asked again when that has ended, or soon. The link is down from the moment at
//! which the supplicant turns to the new access point, and up when the port there lets packets
//! through, which may be later than the association: what is sent before is lost without a word.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use tracing::{debug, warn};

use super::{
    nl80211::{self, Answer, Peer, Query},
    policy::Policy,
    scan::{Schedule, Table},
    supplicant::{Bss, Event, Heard, Phase, Reply, Request, Status},
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

/// How often it is asked whether the port is open: at first, and at last.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// How long the scan for one access point may take.
const LOOKING: Duration = Duration::from_secs(3);

/// The pause before a supplicant that is busy is asked again: the end of its scan is not always told.
const BUSY_PAUSE: Duration = Duration::from_millis(250);

/// How long 802.1X may take: the supplicant's own patience is 70 s.
const AUTHENTICATING: Duration = Duration::from_secs(75);

/// What the supplicant answers while it scans.
const BUSY: &str = "FAIL-BUSY";

/// The longest list of results that is read. The supplicant's own has 200 entries, if nobody says
/// otherwise.
const MAX_FOUND: usize = 4096;

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
    Unanswered,
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
}

/// Where the station is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attachment {
    /// Nobody told yet.
    Unknown,
    Down,
    /// Attached, but its port does not let packets through yet.
    Closed {
        bssid: MacAddr,
        /// When to ask again, if nothing is being asked.
        ask: Instant,
        pause: Duration,
    },
    Up {
        bssid: MacAddr,
    },
    /// Attached, and nobody says where: nothing but the carrier is known.
    Somewhere,
}

/// A move, as far as it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// The protocol prepares it.
    Impending { target: MacAddr, until: Instant },
    /// The target is looked for; the protocol ordered the move.
    Looking {
        target: MacAddr,
        until: Instant,
        /// When to ask again for a scan: the supplicant did not begin this one, or not with success.
        again: Option<Instant>,
        /// Whether the supplicant refused to move there before.
        refused: bool,
    },
    /// The supplicant moves.
    Roaming {
        target: MacAddr,
        until: Instant,
        /// Whether the protocol ordered it.
        ordered: bool,
        /// When to ask again for the roam: a scan was in its way.
        again: Option<Instant>,
        /// Whether the supplicant refused to move there before.
        refused: bool,
    },
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
    /// Whether the kernel answers.
    kernel: bool,
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
    /// Those of the network that the protocol knows of.
    detected: BTreeSet<MacAddr>,
    schedule: Schedule,
    policy: Policy,
    /// When to measure the signal, or to see whether the supplicant is still there.
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
            kernel: false,
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
            detected: BTreeSet::new(),
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
                    // What was known before must do, until there are new results.
                    if let Request::Found { .. } | Request::ScanResults = request {
                        self.reading = None;
                        if std::mem::take(&mut self.read_again) {
                            self.read_results();
                        }
                    }
                }
            },
            Input::KernelOpened => {
                self.kernel = true;
                self.ask_kernel(now);
            }
            Input::KernelLost { error } => {
                self.kernel = false;
                let detail = format!("the kernel tells nothing of 802.11: {error}");
                self.step("nl80211", Direction::Local, None, Some(detail));
                self.go_by_carrier();
            }
            Input::Kernel(event) => self.handle_kernel(now, &event),
            Input::Answered(Answer::Peers(peers)) => self.handle_peers(now, &peers),
            Input::Answered(Answer::Found(found)) => {
                if !self.open {
                    self.take(now, found);
                }
            }
            // From now on the supplicant's word must do.
            Input::Unanswered => {
                self.kernel = false;
                self.go_by_carrier();
            }
            Input::Carrier(state) => self.handle_carrier(state),
            Input::Order(Order::Switch { access_point }) => self.switch(now, access_point),
            Input::Order(Order::GoAhead) => {
                if let Some(Course::Impending { target, .. }) = self.course {
                    self.go_unprepared(now, target);
                }
            }
        }
    }

    /// Does what is due by `now`.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match self.course {
            Some(Course::Impending { target, until }) if until <= now => {
                self.go_unprepared(now, target);
            }
            Some(Course::Looking { until, .. }) if until <= now => {
                self.fail_move(now, "it is not heard");
            }
            Some(Course::Roaming { until, .. }) if until <= now => {
                self.fail_move(now, "the roam took too long");
            }
            Some(Course::Looking { again, .. } | Course::Roaming { again, .. })
                if again.is_some_and(|again| again <= now) =>
            {
                self.ask_again(now);
            }
            _ => {}
        }
        if let Attachment::Closed { ask, pause, bssid } = self.attachment
            && ask <= now
        {
            let pause = (pause * 2).min(LAST_PAUSE);
            self.attachment = Attachment::Closed {
                bssid,
                ask: now + pause,
                pause,
            };
            self.ask_for_port();
        }
        if self.measure.is_some_and(|measure| measure <= now) {
            self.measure = Some(now + self.settings.signal_interval);
            match (self.open, self.attachment) {
                (true, Attachment::Up { .. }) => self.ask(Request::SignalPoll),
                // To see whether it is still there.
                (true, _) => self.ask(Request::Ping),
                (false, _) => self.query(Query::Peers),
            }
        }
        if self.scan_due().is_some_and(|due| due <= now) {
            let (ssid, fading) = (self.ssid.as_deref(), self.policy.is_fading());
            let frequencies = self.schedule.frequencies(&self.table, ssid, fading);
            self.schedule.look(now, &frequencies, fading);
            self.scan(frequencies, None);
        }
    }

    /// When `handle_timeout` is to be called next, if nothing happens before.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let course = self.course.map(|course| match course {
            Course::Impending { until, .. } => until,
            Course::Looking { until, again, .. } | Course::Roaming { until, again, .. } => {
                again.map_or(until, |again| again.min(until))
            }
        });
        let closed = match self.attachment {
            Attachment::Closed { ask, .. } if self.open || self.kernel => Some(ask),
            _ => None,
        };
        let all = [course, closed, self.measure, self.scan_due()];
        all.into_iter().flatten().min()
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
        self.go_by_carrier();
    }

    fn handle_carrier(&mut self, state: carrier::State) {
        let change = self.carrier.see(state);
        if self.open || self.kernel {
            return;
        }
        if change == Some(Change::Interrupted) {
            self.detach();
        }
        self.go_by_carrier();
    }

    /// The link is as its carrier is, if nobody tells more.
    fn go_by_carrier(&mut self) {
        if self.open || self.kernel {
            return;
        }
        match (self.carrier.is_up(), self.told_up) {
            (Some(false), _) => self.detach(),
            (Some(true), Some(false)) => {
                self.attachment = Attachment::Somewhere;
                self.told_up = Some(true);
                self.going_down = false;
                self.primitive(LinkEvent::LinkUpSomewhere);
            }
            // As the protocol has it, or takes it to be.
            (Some(true), Some(true) | None) | (None, _) => {}
        }
    }

    /// Asks the kernel all that nobody else says.
    fn ask_kernel(&mut self, now: Instant) {
        if !self.open && self.kernel {
            self.measure = Some(now + self.settings.signal_interval);
            self.query(Query::Peers);
            self.query(Query::Found);
        }
    }

    /// While the supplicant is there, what the kernel tells is told by it, too, and in its order.
    fn handle_kernel(&mut self, now: Instant, event: &nl80211::Event) {
        let is_roaming = matches!(self.course, Some(Course::Roaming { .. }));
        match *event {
            nl80211::Event::Authorized => {
                if let Attachment::Closed { .. } = self.attachment {
                    self.ask_for_port();
                }
            }
            nl80211::Event::Disconnected if self.open => {
                if self.is_up() && !is_roaming {
                    self.ask(Request::Status);
                }
            }
            _ if self.open => {}
            nl80211::Event::Connected { bssid } => {
                if self.bssid() != Some(bssid) {
                    self.attach(now, bssid);
                }
            }
            nl80211::Event::Disconnected => self.detach(),
            nl80211::Event::Scanned => self.query(Query::Found),
            nl80211::Event::Signal { dbm } => self.handle_signal(now, dbm),
            nl80211::Event::BeaconLoss => self.handle_beacon_loss(now),
        }
    }

    fn handle_peers(&mut self, now: Instant, peers: &[Peer]) {
        let peer_at = |bssid| peers.iter().find(|peer| peer.bssid == bssid);
        match self.attachment {
            Attachment::Closed { bssid, .. } if self.open || peer_at(bssid).is_some() => {
                if peer_at(bssid).is_some_and(|peer| peer.authorized) {
                    self.open_port(now, bssid);
                }
            }
            _ if self.open => {}
            Attachment::Up { bssid } if peer_at(bssid).is_some() => {
                if let Some(dbm) = peer_at(bssid).and_then(|peer| peer.dbm) {
                    self.handle_signal(now, dbm);
                }
            }
            _ => match peers {
                [peer, ..] => {
                    self.close_port(now, peer.bssid);
                    if peer.authorized {
                        self.open_port(now, peer.bssid);
                    }
                }
                [] => self.detach(),
            },
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
                // 802.1X takes its own time.
                if let Some(Course::Roaming { target, until, .. }) = &mut self.course
                    && *target == bssid
                {
                    *until = now + AUTHENTICATING;
                }
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
                self.read_results();
                self.handle_scan_end(now);
            }
            Event::ScanFailed => {
                self.schedule.fail();
                self.step("scan", Direction::Local, None, Some("failed".to_owned()));
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

    /// The supplicant turns to this access point, and away from where it was.
    fn leave(&mut self, bssid: MacAddr) {
        self.detach();
        self.joined = Some(bssid);
        self.step("join", Direction::Local, Some(bssid), None);
    }

    fn handle_disconnected(&mut self, now: Instant, bssid: Option<MacAddr>, reason: Option<u16>) {
        let detail = reason.map(|reason| format!("reason {reason}"));
        self.step("disassociate", Direction::Received, bssid, detail);
        match self.course {
            // From where it was: that is what a roam is.
            Some(Course::Roaming { target, .. }) if bssid != Some(target) => self.detach(),
            Some(Course::Roaming { .. }) => {
                self.detach();
                self.fail_move(now, "it let go of the node");
            }
            Some(Course::Impending { .. } | Course::Looking { .. }) | None => {
                self.course = None;
                self.detach();
            }
        }
        self.joined = None;
    }

    fn handle_rejected(
        &mut self,
        now: Instant,
        step: &str,
        bssid: Option<MacAddr>,
        detail: String,
    ) {
        self.step(step, Direction::Received, bssid, Some(detail.clone()));
        self.joined = None;
        match self.course {
            Some(Course::Roaming { target, .. }) if bssid.is_none_or(|bssid| bssid == target) => {
                self.fail_move(now, &format!("it {detail}"));
            }
            _ => {
                if let Some(bssid) = bssid {
                    self.policy.avoid(now, bssid);
                }
            }
        }
    }

    fn handle_reply(&mut self, now: Instant, request: &Request, reply: Reply) {
        match (request, reply) {
            (Request::Status, Reply::Status(status)) => self.handle_status(now, status),
            (Request::SignalPoll, Reply::Signal(signal)) => self.handle_signal(now, signal.dbm),
            (Request::Found { .. } | Request::ScanResults, Reply::Found(found)) => {
                let last = found.last().and_then(|bss| bss.id);
                let Some(reading) = &mut self.reading else {
                    return;
                };
                reading.extend(found);
                let next = last.and_then(|last| last.checked_add(1));
                // A list that does not come nearer to its end has none.
                let goes_on = |next: &u32| {
                    reading.len() < MAX_FOUND
                        && matches!(request, Request::Found { from } if next > from)
                };
                match next.filter(goes_on) {
                    Some(from) => self.ask(Request::Found { from }),
                    None => self.take_results(now),
                }
            }
            // A supplicant that does not know this form of the question, or its end.
            (Request::Found { from: 0 }, Reply::Refused(_)) => self.ask(Request::ScanResults),
            (Request::Found { .. } | Request::ScanResults, Reply::Refused(_)) => {
                self.take_results(now);
            }
            (Request::Roam { bssid }, Reply::Refused(why)) => {
                self.handle_roam_refused(now, *bssid, &why);
            }
            (Request::Scan { .. }, Reply::Refused(why)) => {
                debug!("no scan: {why}");
                match why.as_str() {
                    // In the background the results of the one that is under way are as good; for a move
                    // they are not: it may be of other channels.
                    BUSY => self.schedule.give_way(),
                    _ => self.schedule.fail(),
                }
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

    fn handle_roam_refused(&mut self, now: Instant, bssid: MacAddr, why: &str) {
        let Some(Course::Roaming {
            target,
            ordered,
            again,
            refused,
            ..
        }) = &mut self.course
        else {
            return;
        };
        if *target != bssid {
            return;
        }
        if why == BUSY {
            debug!(%bssid, "no roam yet: {why}");
            *again = Some(now + BUSY_PAUSE);
        } else if why == "FAIL" && *ordered && !*refused {
            // It says no more than that; it does so of what it has not heard lately.
            self.look(now, bssid, true);
        } else {
            self.fail_move(now, &format!("wpa_supplicant refuses: {why}"));
        }
    }

    /// A scan of whatever channels is over, and with it what was in the way of a move. A target that is
    /// looked for may be among its results: those are read first.
    fn handle_scan_end(&mut self, now: Instant) {
        let is_up = self.is_up();
        match &mut self.course {
            Some(Course::Roaming { again: Some(_), .. }) => self.ask_again(now),
            // The supplicant said that it would move, and waited with that for the end of the scan; or it
            // has chosen anew by its results.
            Some(Course::Roaming { again, .. }) if is_up => *again = Some(now + BUSY_PAUSE),
            _ => {}
        }
    }

    /// Asks for what the supplicant was too busy for.
    fn ask_again(&mut self, now: Instant) {
        match &mut self.course {
            Some(Course::Looking { target, again, .. }) => {
                *again = None;
                let target = *target;
                self.look_for(now, target);
            }
            Some(Course::Roaming { target, again, .. }) => {
                *again = None;
                let bssid = *target;
                // It has begun, otherwise.
                if self.is_up() {
                    self.ask(Request::Roam { bssid });
                }
            }
            Some(Course::Impending { .. }) | None => {}
        }
    }

    fn handle_status(&mut self, now: Instant, status: Status) {
        match (status.phase, status.bssid) {
            (Phase::Completed, Some(bssid)) => {
                self.ssid = status.ssid;
                // The kernel knows better, if it tells.
                let is_authorized = !self.kernel && status.port_authorized != Some(false);
                match self.attachment {
                    Attachment::Up { bssid: known } if known == bssid => self.detect_links(now),
                    Attachment::Closed { bssid: known, .. } if known == bssid => {
                        if is_authorized {
                            self.open_port(now, bssid);
                        }
                    }
                    _ => {
                        self.close_port(now, bssid);
                        match is_authorized {
                            true => self.open_port(now, bssid),
                            false => self.query(Query::Peers),
                        }
                    }
                }
            }
            (Phase::Detached, _) => self.detach(),
            // A link whose keys are renewed is there all the time; one that is being made is not yet.
            (Phase::Underway | Phase::Completed, _) => {
                if self.attachment == Attachment::Unknown {
                    self.detach();
                }
            }
        }
    }

    fn attach(&mut self, now: Instant, bssid: MacAddr) {
        self.close_port(now, bssid);
        self.ask_for_port();
    }

    fn ask_for_port(&mut self) {
        self.ask(Request::Status);
        self.query(Query::Peers);
    }

    fn close_port(&mut self, now: Instant, bssid: MacAddr) {
        self.attachment = Attachment::Closed {
            bssid,
            ask: now + FIRST_PAUSE,
            pause: FIRST_PAUSE,
        };
    }

    fn open_port(&mut self, now: Instant, bssid: MacAddr) {
        self.attachment = Attachment::Up { bssid };
        self.told_up = Some(true);
        self.going_down = false;
        self.policy.reset();
        self.policy.forgive(bssid);
        if let Some(Course::Roaming { target, .. }) = self.course.take()
            && target != bssid
        {
            self.policy.avoid(now, target);
        }
        self.primitive(LinkEvent::LinkUp {
            access_point: bssid,
        });
        let (threshold_dbm, hysteresis_db) = (self.settings.signal_threshold_dbm, 2);
        self.ask(Request::SignalMonitor {
            threshold_dbm,
            hysteresis_db,
        });
        self.detect_links(now);
        self.tell_heard(now);
    }

    /// The link is gone; it is told once.
    fn detach(&mut self) {
        self.attachment = Attachment::Down;
        self.policy.reset();
        if self.told_up != Some(false) {
            self.told_up = Some(false);
            self.primitive(LinkEvent::LinkDown);
        }
    }

    fn is_up(&self) -> bool {
        matches!(self.attachment, Attachment::Up { .. })
    }

    /// Where it is attached.
    fn bssid(&self) -> Option<MacAddr> {
        match self.attachment {
            Attachment::Up { bssid } => Some(bssid),
            _ => None,
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

    fn read_results(&mut self) {
        if self.reading.is_some() {
            self.read_again = true;
        } else if self.open {
            self.reading = Some(Vec::new());
            self.ask(Request::Found { from: 0 });
        }
    }

    fn take_results(&mut self, now: Instant) {
        let Some(found) = self.reading.take() else {
            return;
        };
        self.take(now, found);
        if std::mem::take(&mut self.read_again) {
            self.read_results();
        }
    }

    /// All that is heard now.
    fn take(&mut self, now: Instant, found: Vec<Bss>) {
        self.table.replace(now, now, found);
        let last_heard = self.table.last_heard(self.bssid());
        self.schedule.begin_from(last_heard);
        self.detect_links(now);
        self.tell_heard(now);
        if let Some(Course::Looking {
            target,
            again,
            refused,
            ..
        }) = self.course
        {
            if self.is_fresh(now, target) {
                self.roam(now, target, true, refused);
            } else if again.is_some() {
                // The scan that was in the way has ended without it.
                self.ask_again(now);
            }
        }
        self.decide(now);
    }

    /// NEW_LINK_DETECTED for each access point of the network that has come into reach.
    fn detect_links(&mut self, now: Instant) {
        let table = &self.table;
        self.detected.retain(|bssid| table.get(*bssid).is_some());
        let (Some(current), Some(ssid)) = (self.bssid(), &self.ssid) else {
            return;
        };
        self.detected.insert(current);
        let new: Vec<MacAddr> = table
            .iter()
            .filter(|(bssid, entry)| {
                entry.ssid == *ssid
                    && !self.detected.contains(bssid)
                    && self.policy.may_move_to(now, *bssid)
            })
            .map(|(bssid, _)| bssid)
            .collect();
        for access_point in new {
            self.detected.insert(access_point);
            self.primitive(LinkEvent::NewLinkDetected { access_point });
        }
    }

    fn is_fresh(&self, now: Instant, bssid: MacAddr) -> bool {
        let max_age = self.settings.scan_max_age;
        self.table.is_fresh(now, bssid, max_age)
    }

    /// When the next scan is due in the background.
    fn scan_due(&self) -> Option<Instant> {
        (self.open && self.is_up() && self.course.is_none())
            .then(|| self.schedule.due(self.policy.is_fading()))
    }

    fn scan(&mut self, frequencies: Vec<u32>, peer: Option<MacAddr>) {
        self.step("scan", Direction::Sent, peer, None);
        self.ask(Request::Scan { frequencies });
    }

    /// Whether to move.
    fn decide(&mut self, now: Instant) {
        let (Some(current), None) = (self.bssid(), self.course) else {
            return;
        };
        if !self.policy.is_confirmed() {
            self.going_down = false;
            return;
        }
        // The choice is better with what is heard now, unless there is no time.
        if self.schedule.is_under_way(now) && !self.policy.is_lost() {
            return;
        }
        let ssid = self.ssid.as_deref().filter(|_| self.open);
        let target = ssid.and_then(|ssid| self.policy.choose(now, current, ssid, &self.table));
        if let Some(target) = target {
            self.course = Some(Course::Impending {
                target,
                until: now + self.settings.link_switch_wait,
            });
            self.primitive(LinkEvent::HandoverImpend {
                access_point: target,
            });
        } else if !std::mem::replace(&mut self.going_down, true) {
            self.primitive(LinkEvent::LinkGoingDown);
        }
    }

    /// Nobody prepares the move, or not in time.
    fn go_unprepared(&mut self, now: Instant, target: MacAddr) {
        self.course = None;
        if self.is_up() && self.policy.is_fading() {
            self.roam(now, target, false, false);
        }
    }

    /// LINK_SWITCH.
    fn switch(&mut self, now: Instant, target: MacAddr) {
        if self.bssid() == Some(target) {
            // It has come there by itself; what else was under way is not wanted any more.
            self.course = None;
            return self.primitive(LinkEvent::LinkUp {
                access_point: target,
            });
        }
        if !self.open {
            return self.refuse(target, "wpa_supplicant is gone");
        }
        if let Some(Course::Roaming {
            target: current,
            ordered,
            ..
        }) = &mut self.course
            && *current == target
        {
            *ordered = true;
            return;
        }
        if self.is_fresh(now, target) {
            return self.roam(now, target, true, false);
        }
        self.look(now, target, false);
    }

    /// Looks for the target of an ordered move.
    fn look(&mut self, now: Instant, target: MacAddr, refused: bool) {
        self.course = Some(Course::Looking {
            target,
            until: now + LOOKING.max(self.settings.roam_timeout),
            again: None,
            refused,
        });
        self.look_for(now, target);
    }

    /// On its own channel alone, if that is known.
    fn look_for(&mut self, now: Instant, target: MacAddr) {
        let frequencies = match self.table.frequency(target) {
            Some(frequency) => vec![frequency],
            None => self.settings.frequencies.clone(),
        };
        self.schedule.begin(now);
        self.scan(frequencies, Some(target));
    }

    fn roam(&mut self, now: Instant, target: MacAddr, ordered: bool, refused: bool) {
        self.course = Some(Course::Roaming {
            target,
            until: now + self.settings.roam_timeout,
            ordered,
            again: None,
            refused,
        });
        self.ask(Request::Roam { bssid: target });
    }

    /// The move came to nothing. If the link is gone for it, the protocol hears where it comes up
    /// again.
    fn fail_move(&mut self, now: Instant, why: &str) {
        let (target, ordered) = match self.course.take() {
            Some(Course::Looking { target, .. }) => (target, true),
            Some(Course::Roaming {
                target, ordered, ..
            }) => (target, ordered),
            Some(Course::Impending { .. }) | None => return,
        };
        self.policy.avoid(now, target);
        if self.is_up() && ordered {
            self.refuse(target, why);
        } else {
            let detail = Some(format!("failed: {why}"));
            self.step("handover", Direction::Local, Some(target), detail);
        }
        self.ask(Request::Status);
    }

    fn refuse(&mut self, access_point: MacAddr, error: &str) {
        self.tell(Told::SwitchFailed {
            access_point,
            error: format!("{access_point}: {error}"),
        });
    }

    fn tell_heard(&mut self, now: Instant) {
        let heard = self.table.heard(now, self.bssid());
        self.tell(Told::Heard(heard));
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

    fn query(&mut self, query: Query) {
        if self.kernel {
            self.outputs.push_back(Output::Query(query));
        }
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
