//! Scans and their results: what is heard, and which access points have come into reach.

use super::{
    super::supplicant::{Bss, Request},
    Station,
};
use crate::{
    link::{Direction, Told},
    proto::{Instant, LinkEvent},
    wire::MacAddr,
};

/// The longest list of results that is read. The supplicant's own has 200 entries, if nobody says
/// otherwise.
const MAX_FOUND: usize = 4096;

impl Station {
    /// Scans in the background, if it is time.
    pub(super) fn handle_scan_timeout(&mut self, now: Instant) {
        if self.scan_due().is_some_and(|due| due <= now) {
            let (ssid, fading) = (self.ssid.as_deref(), self.policy.is_fading());
            let frequencies = self.schedule.frequencies(&self.table, ssid, fading);
            self.schedule.look(now, &frequencies, fading);
            self.scan(frequencies, None);
        }
    }

    /// A part of the results has come.
    pub(super) fn handle_found(&mut self, now: Instant, request: &Request, found: Vec<Bss>) {
        let last = found.last().and_then(|bss| bss.id);
        let Some(reading) = &mut self.reading else {
            return;
        };
        reading.extend(found);
        let next = last.and_then(|last| last.checked_add(1));
        // A list that does not come nearer to its end has none.
        let goes_on = |next: &u32| {
            reading.len() < MAX_FOUND && matches!(request, Request::Found { from } if next > from)
        };
        match next.filter(goes_on) {
            Some(from) => self.ask(Request::Found { from }),
            None => self.take_results(now),
        }
    }

    /// What was known before must do, until there are new results.
    pub(super) fn give_up_reading(&mut self) {
        self.reading = None;
        if std::mem::take(&mut self.read_again) {
            self.read_results();
        }
    }

    pub(super) fn read_results(&mut self) {
        if self.reading.is_some() {
            self.read_again = true;
        } else if self.open {
            self.reading = Some(Vec::new());
            self.ask(Request::Found { from: 0 });
        }
    }

    pub(super) fn take_results(&mut self, now: Instant) {
        let Some(found) = self.reading.take() else {
            return;
        };
        self.take(now, found);
        if std::mem::take(&mut self.read_again) {
            self.read_results();
        }
    }

    /// All that is heard now.
    pub(super) fn take(&mut self, now: Instant, found: Vec<Bss>) {
        self.table.replace(now, now, found);
        let last_heard = self.table.last_heard(self.bssid());
        self.schedule.begin_from(last_heard);
        self.detect_links(now);
        self.tell_heard(now);
        self.handle_sought(now);
        self.decide(now);
    }

    /// NEW_LINK_DETECTED for each access point of the network that has come into reach.
    pub(super) fn detect_links(&mut self, now: Instant) {
        let table = &self.table;
        self.detected.retain(|bssid, _| table.get(*bssid).is_some());
        let (Some(current), Some(ssid)) = (self.bssid(), &self.ssid) else {
            return;
        };
        self.detected.entry(current).or_insert(now);
        let new: Vec<MacAddr> = table
            .iter()
            .filter(|(bssid, entry)| {
                entry.ssid == *ssid
                    && !self.detected.contains_key(bssid)
                    && self.policy.may_move_to(now, *bssid)
            })
            .map(|(bssid, _)| bssid)
            .collect();
        for access_point in new {
            self.detected.insert(access_point, now);
            self.primitive(LinkEvent::NewLinkDetected { access_point });
        }
    }

    pub(super) fn is_fresh(&self, now: Instant, bssid: MacAddr) -> bool {
        let max_age = self.settings.scan_max_age;
        self.table.is_fresh(now, bssid, max_age)
    }

    /// When the next scan is due in the background.
    pub(super) fn scan_due(&self) -> Option<Instant> {
        (self.open && self.is_up() && self.course.is_none())
            .then(|| self.schedule.due(self.policy.is_fading()))
    }

    pub(super) fn scan(&mut self, frequencies: Vec<u32>, peer: Option<MacAddr>) {
        self.step("scan", Direction::Sent, peer, None);
        self.ask(Request::Scan { frequencies });
    }

    pub(super) fn tell_heard(&mut self, now: Instant) {
        let heard = self.table.heard(now, self.bssid());
        self.tell(Told::Heard(heard));
    }
}
