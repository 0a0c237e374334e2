//! Scanning: the station asks for time, listens to others in it, and reports (W16-02, W16-04).

use std::{collections::BTreeMap, time::Duration};

use crate::{
    link::ieee80216e::{
        air::Tuned,
        message::{
            Measured, Message, MobScnRep, MobScnReq, MobScnRsp, Received, Rssi, ScanTarget,
            ScanType,
        },
        timing::{FRAME, SCAN_RETRIES, T44},
    },
    proto::{Instant, LinkEvent},
    wire::MacAddr,
};

use super::{Phase, Station};

/// A scan.
#[derive(Debug)]
pub(super) struct Scan {
    /// Whom it asked for, and then whom it was granted.
    targets: Vec<MacAddr>,
    stage: Stage,
    /// When that ends.
    pub(super) due: Instant,
    heard: BTreeMap<MacAddr, i8>,
}

#[derive(Debug)]
enum Stage {
    /// MOB_SCN-REQ is out.
    Requested { retries_left: u32 },
    /// It waits for its time, or has listened and will again.
    Waiting(Slots),
    /// It hears the targets, and not its own base station.
    Listening(Slots),
}

/// What is left of the time that was granted.
#[derive(Clone, Copy, Debug)]
struct Slots {
    left: u32,
    duration: Duration,
    interleaving: Duration,
    /// Whether the base station wants to know.
    is_reported: bool,
}

impl Scan {
    /// Whether the serving base station cannot be heard.
    pub(super) fn is_deaf(&self) -> bool {
        matches!(self.stage, Stage::Listening(_))
    }
}

impl Station {
    /// Asks for time to scan, if there is somebody to scan and it is time.
    pub(super) fn consider_scan(&mut self, now: Instant) {
        let threshold = self.settings.threshold_dbm;
        let Phase::Connected(connected) = &self.phase else {
            return;
        };
        if connected.scan.is_some() || connected.handover.is_some() || now < connected.scan_after {
            return;
        }
        let is_weak = connected.signal.dbm() < threshold;
        let targets = self.neighbors.wanted(now, is_weak);
        if targets.is_empty() {
            return;
        }
        self.request_scan(now, targets, SCAN_RETRIES);
    }

    fn request_scan(&mut self, now: Instant, targets: Vec<MacAddr>, retries_left: u32) {
        let message = Message::MobScnReq(MobScnReq {
            duration: self.settings.scan_duration,
            interleaving: self.settings.scan_interleaving,
            iterations: self.settings.scan_iterations,
            targets: targets
                .iter()
                .map(|bsid| ScanTarget {
                    bsid: *bsid,
                    kind: ScanType::Listen,
                })
                .collect(),
            unknown: Vec::new(),
        });
        let interval = self.settings.scan_interval;
        let Phase::Connected(connected) = &mut self.phase else {
            return;
        };
        connected.scan_after = now + interval;
        connected.scan = Some(Scan {
            targets,
            stage: Stage::Requested { retries_left },
            due: now + T44,
            heard: BTreeMap::new(),
        });
        let (bsid, cid) = (connected.bsid, connected.basic_cid);
        self.send(bsid, cid, message, true);
    }

    /// MOB_SCN-RSP, which is authentic.
    pub(super) fn handle_scan_response(&mut self, now: Instant, response: MobScnRsp) {
        let Phase::Connected(connected) = &mut self.phase else {
            return;
        };
        // A base station may also want a station to scan that did not ask; this one does so by
        // itself.
        let Some(scan) = &mut connected.scan else {
            return;
        };
        let Stage::Requested { .. } = scan.stage else {
            return;
        };
        let Some(grant) = response.grant else {
            connected.scan = None;
            return;
        };
        // What nobody asked for is not listened to.
        let granted: Vec<_> = grant.targets.iter().map(|target| target.bsid).collect();
        scan.targets.retain(|bsid| granted.contains(bsid));
        if scan.targets.is_empty() || grant.iterations == 0 {
            connected.scan = None;
            return;
        }
        scan.due = now + FRAME * u32::from(grant.start);
        scan.stage = Stage::Waiting(Slots {
            left: grant.iterations.into(),
            duration: FRAME * u32::from(grant.duration),
            interleaving: FRAME * u32::from(grant.interleaving),
            is_reported: response.report_mode != 0,
        });
        if scan.due <= now {
            self.handle_scan_timeout(now);
        }
    }

    /// A frame of another than the serving base station.
    pub(super) fn handle_scanned(
        &mut self,
        _now: Instant,
        source: MacAddr,
        signal_dbm: Option<i8>,
        received: &Received,
    ) {
        let Phase::Connected(connected) = &mut self.phase else {
            return;
        };
        // Its DL-MAP is all that is wanted of it: what a station hears without being asked to
        // listen says nothing.
        let (Some(scan), Message::DlMap(_), Some(dbm)) =
            (&mut connected.scan, &received.pdu.message, signal_dbm)
        else {
            return;
        };
        if scan.is_deaf() && scan.targets.contains(&source) {
            scan.heard.insert(source, dbm);
        }
    }

    pub(super) fn handle_scan_timeout(&mut self, now: Instant) {
        let Phase::Connected(connected) = &mut self.phase else {
            return;
        };
        let Some(scan) = connected.scan.as_mut().filter(|scan| scan.due <= now) else {
            return;
        };
        match scan.stage {
            Stage::Requested { retries_left } => match retries_left.checked_sub(1) {
                Some(left) => {
                    let targets = std::mem::take(&mut scan.targets);
                    self.request_scan(now, targets, left);
                }
                None => {
                    connected.scan = None;
                    self.count("scan-unanswered");
                }
            },
            Stage::Waiting(slots) => {
                scan.stage = Stage::Listening(slots);
                scan.due = now + slots.duration;
                let tuned = Tuned::To(scan.targets.iter().copied().collect());
                let named: Vec<_> = scan.targets.iter().map(MacAddr::to_string).collect();
                self.output(super::Output::Tune(tuned));
                self.local("scan", None, Some(named.join(", ")));
            }
            Stage::Listening(slots) => {
                let bsid = connected.bsid;
                let lost = now + self.settings.lost_dl_map;
                connected.lost = connected.lost.max(lost);
                let left = slots.left.saturating_sub(1);
                if left > 0 {
                    scan.stage = Stage::Waiting(Slots { left, ..slots });
                    scan.due = now + slots.interleaving;
                    return self.output(super::Output::Tune(Tuned::to(bsid)));
                }
                let scan = connected.scan.take();
                self.output(super::Output::Tune(Tuned::to(bsid)));
                if let Some(scan) = scan {
                    self.finish_scan(now, &scan, slots.is_reported);
                }
            }
        }
    }

    /// Ends a scan before its time: a handover is more urgent.
    pub(super) fn abandon_scan(&mut self, now: Instant) {
        let lost = now + self.settings.lost_dl_map;
        let Phase::Connected(connected) = &mut self.phase else {
            return;
        };
        if let Some(scan) = connected.scan.take()
            && scan.is_deaf()
        {
            connected.lost = connected.lost.max(lost);
            let bsid = connected.bsid;
            self.output(super::Output::Tune(Tuned::to(bsid)));
        }
    }

    fn finish_scan(&mut self, now: Instant, scan: &Scan, is_reported: bool) {
        let mut new = Vec::new();
        for bsid in &scan.targets {
            match scan.heard.get(bsid) {
                Some(dbm) => {
                    if self.neighbors.hear(now, *bsid, *dbm) {
                        new.push(*bsid);
                    }
                }
                None => {
                    let interval = self.settings.scan_interval;
                    self.neighbors.miss(now, *bsid, interval);
                    self.count("scan-silent");
                }
            }
        }
        if is_reported {
            self.report(scan);
        }
        for access_point in new {
            self.primitive(LinkEvent::NewLinkDetected { access_point });
        }
        self.tell_heard(now);
        self.consider_handover(now, &scan.heard);
    }

    fn report(&mut self, scan: &Scan) {
        let Phase::Connected(connected) = &self.phase else {
            return;
        };
        let report = Message::MobScnRep(MobScnRep {
            event_triggered: false,
            serving: Some(Rssi::from_dbm(connected.signal.dbm())),
            neighbors: scan
                .heard
                .iter()
                .map(|(bsid, dbm)| Measured {
                    bsid: *bsid,
                    rssi: Rssi::from_dbm((*dbm).into()),
                })
                .collect(),
            unknown: Vec::new(),
        });
        let (bsid, cid) = (connected.bsid, connected.primary_cid);
        self.send(bsid, cid, report, true);
    }
}
