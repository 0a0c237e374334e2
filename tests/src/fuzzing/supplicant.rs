//! What wpa_supplicant writes, line by line, and the station that lives on it.
//!
//! The input is text in paragraphs: one datagram each, with an empty line behind it. A paragraph that
//! begins with `#` is for the station: `# pass 500` (milliseconds), `# switch ADDRESS`, `# go ahead`,
//! `# leave`, `# come back`.

use std::time::Duration;

use fmip_ctl::{
    link::{Order, Told, ieee80211::spoken::Supplicant},
    proto::{Instant, LinkEvent},
    wire::MacAddr,
};

/// More deadlines than a time of ten minutes has.
const MAX_DEADLINES: usize = 100_000;
/// The longest time that a paragraph lets pass.
const LONGEST: u64 = 600_000;
/// More seconds than 802.1X may take.
const QUIET: usize = 100;
/// What a supplicant says that has nothing to tell.
const ATTACHED: &str =
    "bssid=02:00:00:00:01:00\nssid=fmip\nwpa_state=COMPLETED\nsuppPortStatus=Authorized";
/// Of what is not understood people see a part.
const LONGEST_COMPLAINT: usize = 4_000;
/// The station asks few things at one time.
const MAX_QUESTIONS: usize = 32;

struct Play {
    supplicant: Supplicant,
    now: Instant,
    /// Whether the link is up, if anything was told of it.
    up: Option<bool>,
    /// The LINK_SWITCH that has had no answer.
    ordered: Option<MacAddr>,
}

/// Plays the paragraphs.
pub fn run(data: &[u8]) {
    let now = Instant::from_nanos(1_000_000_000_000);
    let mut play = Play {
        supplicant: Supplicant::new(now),
        now,
        up: None,
        ordered: None,
    };
    play.listen();
    for paragraph in paragraphs(data) {
        play.step(paragraph);
        play.listen();
    }
    play.supplicant.come_back(play.now);
    play.listen();
    for _ in 0..QUIET {
        play.pass(Duration::from_secs(1));
        play.stay_attached();
    }
    // Whatever was ordered has come to an end: the link came up, went down, or the move failed.
    assert_eq!(play.ordered, None, "LINK_SWITCH has no answer");
}

/// The paragraphs of `data`.
pub fn paragraphs(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let all = rest?;
        let end = all.windows(2).position(|pair| pair == b"\n\n");
        let (paragraph, behind) = match end {
            Some(end) => (&all[..=end], Some(&all[end + 2..])),
            None => (all, None),
        };
        rest = behind;
        Some(paragraph)
    })
}

impl Play {
    fn step(&mut self, paragraph: &[u8]) {
        let Some(direction) = paragraph.strip_prefix(b"# ") else {
            if let Err(error) = self.supplicant.say(self.now, paragraph) {
                assert!(
                    error.len() <= LONGEST_COMPLAINT && !error.contains('\n'),
                    "{error}"
                );
            }
            return;
        };
        let direction = String::from_utf8_lossy(direction);
        let direction = direction.trim_end();
        if let Some(millis) = direction.strip_prefix("pass ") {
            let millis = millis.parse().unwrap_or(0);
            self.pass(Duration::from_millis(LONGEST.min(millis)));
        } else if let Some(address) = direction.strip_prefix("switch ") {
            if let Ok(access_point) = address.parse() {
                if self.up == Some(true) {
                    self.ordered = Some(access_point);
                }
                self.supplicant
                    .order(self.now, Order::Switch { access_point });
            }
        } else {
            match direction {
                "go ahead" => self.supplicant.order(self.now, Order::GoAhead),
                "leave" => self.supplicant.leave(self.now),
                "come back" => self.supplicant.come_back(self.now),
                _ => {}
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..MAX_DEADLINES {
            let Some(due) = self.supplicant.poll_timeout().filter(|due| *due <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(due);
            self.supplicant.handle_timeout(self.now);
            let next = self.supplicant.poll_timeout();
            assert!(
                next.is_none_or(|next| next > self.now),
                "what was due at {due:?} is due at {next:?} still"
            );
            self.listen();
        }
        panic!("{MAX_DEADLINES} deadlines in {time:?}");
    }

    /// A supplicant that is attached, moves nowhere and hears nobody.
    fn stay_attached(&mut self) {
        for _ in 0..MAX_QUESTIONS {
            let Some(request) = self.supplicant.asked().next() else {
                return;
            };
            let answer = match request.split(' ').next() {
                Some("STATUS") => ATTACHED,
                Some("SIGNAL_POLL") => "RSSI=-50",
                Some("BSS" | "SCAN_RESULTS") => "",
                _ => "OK",
            };
            let said = self.supplicant.say(self.now, answer.as_bytes());
            assert_eq!(said, Ok(()), "{request}");
            self.listen();
        }
        panic!("it never has enough of answers");
    }

    /// What the station tells makes sense to the one who hears it.
    fn listen(&mut self) {
        while let Some(told) = self.supplicant.poll_told() {
            match told {
                Told::Primitive(LinkEvent::LinkUp { .. }) => {
                    self.up = Some(true);
                    self.ordered = None;
                }
                Told::Primitive(LinkEvent::LinkDown) => {
                    assert_ne!(self.up, Some(false), "LINK_DOWN twice");
                    self.up = Some(false);
                    self.ordered = None;
                }
                Told::Primitive(event) => assert_eq!(self.up, Some(true), "{event:?}"),
                Told::SwitchFailed { .. } => self.ordered = None,
                Told::Step(step) => {
                    let line = format!("{step:?}");
                    assert!(line.len() <= LONGEST_COMPLAINT, "{line}");
                }
                Told::Heard(heard) => {
                    let attached = heard.iter().filter(|heard| heard.attached);
                    assert!(attached.count() <= 1, "{heard:?}");
                }
                Told::Health(_) | Told::Mark => {}
            }
        }
        let asked = self.supplicant.asked();
        assert!(asked.len() <= MAX_QUESTIONS);
        for request in asked {
            assert!(!request.contains('\n'), "{request:?}");
        }
    }
}
