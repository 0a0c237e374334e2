//! What the kernel is asked, and what it says. One that does not answer, or is not there, is asked
//! again with a growing pause: until then the supplicant's word must do.

use std::time::Duration;

use tracing::{debug, warn};

use super::{
    super::{
        nl80211::{self, Answer, Query},
        supplicant::Request,
    },
    Output, Station,
    attachment::Attachment,
    moves::Course,
};
use crate::{link::Direction, proto::Instant};

/// The pause before the kernel is asked again: at first, and at last. The node waits for each answer,
/// which may take a second ([`nl80211`]).
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// How long after the end of a link the kernel may say that its carrier went: Linux does so at most
/// once a second (`linkwatch`), and it may have other things to do.
const CARRIER_DELAY: Duration = Duration::from_secs(2);

/// The kernel, as far as its word can be had.
#[derive(Debug)]
pub(super) struct Kernel {
    state: State,
    /// When it was tried last, and when it is again, if that is to be.
    tried: Instant,
    again: Option<Instant>,
    pause: Duration,
    /// How often it did not answer.
    unanswered: u64,
    /// Whether it has listed an access point, ever: there are drivers that list none, and of those an
    /// empty list says nothing.
    lists: bool,
    /// When it said that the link is gone, unless the carrier has followed.
    let_go: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody has tried.
    Untried,
    Answers,
    /// It did not answer when it was asked last; it may tell of events all the same.
    Silent,
    /// There is no 802.11 in it, or it tells nothing any more.
    Lost,
}

impl Kernel {
    pub(super) fn new() -> Self {
        Self {
            state: State::Untried,
            tried: Instant::from_nanos(0),
            again: None,
            pause: FIRST_PAUSE,
            unanswered: 0,
            lists: false,
            let_go: None,
        }
    }

    /// Whether its word counts.
    pub(super) fn answers(&self) -> bool {
        self.state == State::Answers
    }

    /// Whether its list of access points says where the node is, also if it is empty.
    pub(super) fn lists(&self) -> bool {
        self.answers() && self.lists
    }

    /// Whether it said that the link is gone, and what the carrier says now may be older, or the same.
    pub(super) fn has_just_let_go(&self, now: Instant) -> bool {
        (self.let_go).is_some_and(|let_go| now < let_go + CARRIER_DELAY)
    }

    /// The carrier has followed.
    pub(super) fn forget_letting_go(&mut self) {
        self.let_go = None;
    }

    /// When it is tried again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.again
    }

    /// How often it did not answer.
    pub(super) fn unanswered(&self) -> u64 {
        self.unanswered
    }

    /// It does not answer, or is not there: it is tried again, each time later. Returns whether that is
    /// news.
    fn fail(&mut self, now: Instant, state: State) -> bool {
        self.tried = now;
        self.again = Some(now + self.pause);
        self.pause = (self.pause * 2).min(LAST_PAUSE);
        std::mem::replace(&mut self.state, state) != state
    }

    /// There is a reason to try it again before its time. Whatever comes how often, there is a pause.
    fn hasten(&mut self, now: Instant) {
        self.pause = FIRST_PAUSE;
        if let Some(again) = &mut self.again {
            *again = (*again).min(now.max(self.tried + FIRST_PAUSE));
        }
    }
}

impl Station {
    /// Tries the kernel again, if it is time.
    pub(super) fn handle_kernel_timeout(&mut self, now: Instant) {
        let kernel = &mut self.kernel;
        if kernel.again.is_none_or(|again| now < again) {
            return;
        }
        kernel.tried = now;
        kernel.again = Some(now + kernel.pause);
        self.outputs.push_back(match kernel.state {
            State::Lost => Output::OpenKernel,
            _ => Output::Query(Query::Peers),
        });
    }

    /// The kernel tells of 802.11. Whether it goes on to do so is not known yet.
    pub(super) fn handle_kernel_opened(&mut self, now: Instant) {
        self.kernel.state = State::Answers;
        self.kernel.again = None;
        self.ask_kernel(now);
    }

    pub(super) fn handle_kernel_lost(&mut self, now: Instant, error: &str) {
        if self.kernel.fail(now, State::Lost) {
            let detail = format!("the kernel tells nothing of 802.11: {error}");
            warn!("{detail}; only wpa_supplicant does");
            self.step("nl80211", Direction::Local, None, Some(detail));
        } else {
            debug!("the kernel still tells nothing of 802.11: {error}");
        }
    }

    /// From now on the supplicant's word must do.
    pub(super) fn handle_unanswered(&mut self, now: Instant, error: &str) {
        self.kernel.unanswered += 1;
        // Its events may still come, and are as good as ever.
        if self.kernel.fail(now, State::Silent) {
            warn!("nl80211: {error}; it is asked again");
        } else {
            debug!("nl80211: {error}");
        }
    }

    pub(super) fn handle_answer(&mut self, now: Instant, answer: Answer) {
        let was_silent = self.kernel.state == State::Silent;
        self.kernel.state = State::Answers;
        self.kernel.again = None;
        self.kernel.pause = FIRST_PAUSE;
        match answer {
            Answer::Peers(peers) => {
                self.kernel.lists |= !peers.is_empty();
                self.handle_peers(now, &peers);
                // What it was not asked meanwhile.
                if was_silent && !self.open {
                    self.measure = Some(now + self.settings.signal_interval);
                    self.query(Query::Found);
                }
            }
            Answer::Found(found) => {
                if !self.open {
                    self.take(now, found);
                }
            }
        }
    }

    /// Asks the kernel all that nobody else says.
    pub(super) fn ask_kernel(&mut self, now: Instant) {
        if self.open {
            return;
        }
        if self.kernel.answers() {
            self.measure = Some(now + self.settings.signal_interval);
            self.query(Query::Peers);
            self.query(Query::Found);
        } else {
            self.kernel.hasten(now);
        }
    }

    /// While the supplicant is there, what the kernel tells is told by it, too, and in its order.
    pub(super) fn handle_kernel(&mut self, now: Instant, event: &nl80211::Event) {
        // Who tells may answer, too.
        self.kernel.hasten(now);
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
                    self.go_by_carrier(now);
                }
            }
            nl80211::Event::Disconnected => {
                self.kernel.let_go = Some(now);
                self.detach();
            }
            nl80211::Event::Scanned => self.query(Query::Found),
            nl80211::Event::Signal { dbm } => self.handle_signal(now, dbm),
            nl80211::Event::BeaconLoss => self.handle_beacon_loss(now),
        }
    }

    pub(super) fn query(&mut self, query: Query) {
        if self.kernel.answers() {
            self.outputs.push_back(Output::Query(query));
        }
    }
}
