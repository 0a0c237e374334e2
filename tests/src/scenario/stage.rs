//! The stage on which a mode is played: the lab with its controllers, its traffic and its listeners.

use std::{mem, net::Ipv6Addr, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    capture::Story,
    controller::{Controller, Controllers, Event, Events, Settings},
    handover::run_of,
    report::Run,
    stream::{Direction, Passage, StreamConfig, Streams},
    testing::packets,
    topology::{AccessPoint, Lab, MN_LLA, PCOA, Router},
    wait::{SOON, elapse, wait_until},
};

/// Packets per second each way, and their size in bytes: a voice call's ten times over.
const RATE: u32 = 500;
const SIZE: usize = 200;
/// The time between leaving one access point and being at the next.
const GAP: Duration = Duration::from_millis(100);
/// How many packets each way make that a gap of the traffic, too, however late their senders are woken.
const SENT_IN_GAP: u64 = 10;
/// How many packets must pass each way until traffic counts as flowing.
const FLOWS: u64 = 100;

/// A lab in which everything runs, and the mobile node is at the previous access router.
#[derive(Debug)]
pub struct Stage {
    // Dropped in this order.
    streams: Option<Streams>,
    /// What the wires show.
    pub story: Story,
    /// The mobile node's events.
    pub mn: Events,
    /// The previous access router's events.
    pub par: Events,
    /// The new access router's events.
    pub nar: Events,
    /// The third access router's, if there is one.
    pub third: Option<Events>,
    /// The controllers.
    pub controllers: Controllers,
    /// The network.
    pub lab: Lab,
    /// What the controllers were started with.
    pub settings: Settings,
    /// What is to be said of the traffic that has ended.
    notes: Vec<String>,
}

impl Stage {
    /// Builds the lab, with a third router if the play needs one, starts all, and lets the traffic flow.
    pub fn set(settings: Settings, with_third_router: bool) -> Result<Self> {
        let lab = if with_third_router {
            Lab::with_third_router()?
        } else {
            Lab::build()?
        };
        Self::in_lab(lab, settings)
    }

    /// As [`Stage::set`], in a lab that stands.
    pub fn in_lab(lab: Lab, settings: Settings) -> Result<Self> {
        Self::in_lab_when(lab, settings, || Ok(()))
    }

    /// As [`Stage::in_lab`]; `ready` is asked when the controllers run, and waits until traffic can flow.
    pub fn in_lab_when(
        lab: Lab,
        settings: Settings,
        ready: impl FnOnce() -> Result<()>,
    ) -> Result<Self> {
        let story = Story::start(&lab)?;
        let controllers = Controllers::start(&lab, &settings)?;
        let mut stage = Self {
            streams: None,
            story,
            mn: controllers.mn.subscribe()?,
            par: controllers.par.subscribe()?,
            nar: controllers.nar.subscribe()?,
            third: controllers
                .third
                .as_ref()
                .map(Controller::subscribe)
                .transpose()?,
            controllers,
            lab,
            settings,
            notes: Vec::new(),
        };
        ready().map_err(|error| anyhow!("{error:#}\n{}", stage.account()))?;
        stage.streams = Some(Streams::start(&stage.lab, StreamConfig::new(RATE, SIZE)?)?);
        stage.flows().context("before the move")?;
        Ok(stage)
    }

    /// The traffic.
    pub fn streams(&self) -> &Streams {
        self.streams.as_ref().expect("the streams run until close")
    }

    // What the mobile node's link layer tells it

    /// It hears an access point; returns once it knows from the previous router which router is behind it.
    pub fn hear(&self, access_point: AccessPoint, prrtadv: &str) -> Result<()> {
        self.controllers.mn.trigger("new-link", access_point)?;
        self.story.wait_for("par", prrtadv)?;
        // It may be one that was sent before, and what is on the wire has not been heard yet.
        knows(&self.controllers.mn, access_point, "router")
    }

    /// It is about to move there; returns once it wants to switch.
    pub fn prepare(&self, access_point: AccessPoint) -> Result<()> {
        let switches = self.mn.count("link-switch");
        self.controllers.mn.trigger("impend", access_point)?;
        self.mn
            .wait_for_another("link-switch", switches)
            .context("the handover was not prepared")?;
        Ok(())
    }

    /// The radio leaves, and the mobile node knows it first.
    pub fn leave(&self) -> Result<()> {
        self.link_down()?;
        self.lab.leave()
    }

    /// The mobile node is told that its link is gone; what it sends from now on is held.
    pub fn link_down(&self) -> Result<()> {
        let request = json!({"command": "trigger", "trigger": "link-down"});
        self.controllers.mn.request(&request)?;
        // Answered only when what the trigger brought about is done.
        self.controllers.mn.status().map(drop)
    }

    /// After the link-layer gap it is there.
    pub fn arrive(&self, access_point: AccessPoint) -> Result<()> {
        self.go_to(access_point)?;
        self.controllers.mn.trigger("link-up", access_point)
    }

    /// After the link-layer gap the radio is there, which the mobile node is not told.
    pub fn go_to(&self, access_point: AccessPoint) -> Result<()> {
        let streams = self.streams();
        let before = streams.sent();
        elapse(GAP)?;
        // Of a sender that was not run meanwhile nothing could be lost, and nothing held.
        streams.wait_for_sent(before, SENT_IN_GAP, SOON)?;
        self.lab.attach(access_point)
    }

    // What the routers' link layers tell them

    /// The router's link layer says that the mobile node is there, with its address on that link.
    pub fn attached(&self, router: Router) -> Result<()> {
        let node = router.care_of_address();
        self.tell(
            router,
            &json!({
                "command": "trigger", "trigger": "attached", "node": node, "link_address": MN_LLA,
            }),
        )
    }

    /// The router's link layer says that the mobile node has left.
    pub fn departed(&self, router: Router) -> Result<()> {
        let node = router.care_of_address();
        self.tell(
            router,
            &json!({"command": "trigger", "trigger": "departed", "node": node}),
        )
    }

    /// The previous router's people want the mobile node to move.
    pub fn order_handover(&self, access_point: AccessPoint, ncoa: Option<Ipv6Addr>) -> Result<()> {
        let mut request = json!({
            "command": "trigger", "trigger": "handover", "node": PCOA,
            "access_point": access_point.id(),
        });
        if let Some(ncoa) = ncoa {
            request["ncoa"] = json!(ncoa);
        }
        self.tell(Router::Previous, &request)
    }

    fn tell(&self, router: Router, request: &Value) -> Result<()> {
        let controller = self.controllers.router(router);
        controller.request(request)?;
        // Answered only when what the request brought about is done.
        controller.status().map(drop)
    }

    /// A router's controller neither hears nor speaks while `meanwhile` lasts; its data path works.
    pub fn while_frozen<T>(
        &mut self,
        router: Router,
        meanwhile: impl FnOnce(&Self) -> Result<T>,
    ) -> Result<T> {
        self.freeze(router)?;
        let result = meanwhile(self);
        self.thaw(router)?;
        result
    }

    /// A router's controller neither hears nor speaks from now on; its data path works.
    pub fn freeze(&mut self, router: Router) -> Result<()> {
        self.controller_mut(router).process.signal(Signal::STOP)
    }

    /// It does again.
    pub fn thaw(&mut self, router: Router) -> Result<()> {
        self.controller_mut(router).process.signal(Signal::CONT)
    }

    fn controller_mut(&mut self, router: Router) -> &mut Controller {
        match router {
            Router::Previous => &mut self.controllers.par,
            Router::New => &mut self.controllers.nar,
            Router::Third => {
                let third = self.controllers.third.as_mut();
                third.expect("the stage has a third router")
            }
        }
    }

    // What must come of it

    /// Waits until packets pass both ways.
    pub fn flows(&self) -> Result<()> {
        self.streams()
            .wait_for_packets(FLOWS, SOON)
            .context("the traffic does not flow")
    }

    /// Waits for an event of the mobile node.
    pub fn mn_says(&self, event: &str) -> Result<Event> {
        self.mn.wait_for(event, SOON)
    }

    /// Waits for a handover that comes to nothing, and returns why.
    pub fn mn_gives_up(&self) -> Result<String> {
        let failed = self.mn.wait_for("handover-failed", SOON)?;
        Ok(failed.fields["reason"].as_str().unwrap_or("").to_owned())
    }

    /// Begins the traffic anew, for an account that does not have what was before.
    pub fn restart_streams(&mut self) -> Result<()> {
        let streams = self.streams.take().expect("the streams run until close");
        streams.stop()?;
        self.streams = Some(Streams::start(&self.lab, StreamConfig::new(RATE, SIZE)?)?);
        self.flows()
    }

    /// Lets the traffic flow on, ends it, and returns its account.
    pub fn close(&mut self) -> Result<Run> {
        self.close_with_passages().map(|(run, _)| run)
    }

    /// As [`Stage::close`], with the way of every packet to the mobile node.
    pub fn close_with_passages(&mut self) -> Result<(Run, Vec<Passage>)> {
        self.flows()?;
        let streams = self.streams.take().expect("the streams run until close");
        streams.check()?;
        let mut traffic = streams.stop()?;
        let passages = mem::take(&mut traffic.passages);
        let mut run = run_of(traffic);
        self.notes.clone_from(&run.notes);
        let status = self.controllers.nar.status()?;
        run.held = status["held"].as_u64().unwrap_or(0);
        run.released = status["released"].as_u64().unwrap_or(0);
        Ok((run, passages))
    }

    /// Packets that a router held and nobody came for, once it has none left.
    pub fn discarded(&self, router: Router) -> Result<u64> {
        wait_until("all that was held to go", SOON, || {
            let status = self.controllers.router(router).status()?;
            let [held, released, discarded] =
                ["held", "released", "drop-discarded"].map(|reason| packets(&status, reason));
            Ok((held == released + discarded).then_some(discarded))
        })
    }

    /// Packets that a router held, and the mobile node got.
    pub fn released(&self, router: Router) -> Result<u64> {
        let status = self.controllers.router(router).status()?;
        Ok(packets(&status, "released"))
    }

    /// Everything that a person needs to find out why it went wrong.
    pub fn account(&self) -> String {
        format!(
            "--- of the traffic:\n{}\n--- on the wires:\n{}\n{}",
            self.notes.join("\n"),
            self.story.lines().join("\n"),
            self.controllers.account()
        )
    }
}

/// Waits until a mobile node knows that of an access point, by what its router said: `router`, `unknown` or
/// the like.
///
/// # Errors
/// If it does not come to know it, or cannot be asked.
pub fn knows(mn: &Controller, access_point: AccessPoint, knowledge: &str) -> Result<()> {
    let what = format!("the mobile node to know {access_point} as {knowledge}");
    wait_until(&what, SOON, || {
        let state = mn.request(&json!({"command": "show-mobile"}))?;
        let known = state["access_points"].as_array().is_some_and(|known| {
            (known.iter())
                .any(|of| of["access_point"] == access_point.id() && of["knowledge"] == knowledge)
        });
        Ok(known.then_some(()))
    })
}

/// What a direction of the traffic may have suffered.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Harm {
    /// Nothing.
    None,
    /// Packets of one gap were lost, and that is reported.
    LostInGap,
    /// Perhaps packets of one gap were lost.
    MayLoseInGap,
    /// So many packets may be lost: those that somebody has counted when he dropped them.
    LostAtMost(u64),
    /// Packets of the last moments before the gap came twice, at most those of this time.
    Duplicated(Duration),
}

/// Checks the account of a direction.
///
/// # Errors
/// Tells what is worse than it may be.
pub fn check(name: &str, direction: &Direction, harm: Harm) -> Result<()> {
    ensure!(direction.received > 0, "{name}: nothing arrived");
    ensure!(
        direction.reordered == 0,
        "{name}: {} of {} reordered",
        direction.reordered,
        direction.sent
    );
    let (lost, gaps, duplicated) = match harm {
        Harm::None => (0, 0, 0),
        // Known by the numbers alone: how long nothing came depends on when the receiver runs, too.
        Harm::LostInGap | Harm::MayLoseInGap => (direction.sent, 1, 0),
        Harm::LostAtMost(lost) => (lost, lost, 0),
        Harm::Duplicated(window) => {
            let duplicated = (window.as_secs_f64() * f64::from(RATE)).ceil() as u64;
            (0, 0, duplicated)
        }
    };
    ensure!(
        direction.lost <= lost && direction.gaps <= gaps,
        "{name}: {} of {} lost, in {} gaps, with a silence of {} ms",
        direction.lost,
        direction.sent,
        direction.gaps,
        direction.longest_gap_ms
    );
    ensure!(
        harm != Harm::LostInGap || direction.lost > 0,
        "{name}: nothing was lost, which this mode has no means to avoid"
    );
    ensure!(
        direction.duplicated <= duplicated,
        "{name}: {} of {} duplicated",
        direction.duplicated,
        direction.sent
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direction(lost: u64, gaps: u64) -> Direction {
        Direction {
            sent: 1000,
            received: 1000 - lost,
            lost,
            gaps,
            ..Direction::default()
        }
    }

    fn passes(direction: &Direction, harm: Harm) -> bool {
        check("downlink", direction, harm).is_ok()
    }

    #[test]
    fn what_is_lost_of_a_gap_is_of_one_gap_however_long_the_receiver_was_silent() {
        for harm in [Harm::LostInGap, Harm::MayLoseInGap] {
            assert!(passes(&direction(60, 1), harm));
            assert!(!passes(&direction(60, 2), harm));
        }
        assert!(passes(&direction(0, 0), Harm::MayLoseInGap));
        assert!(!passes(&direction(0, 0), Harm::LostInGap));
        assert!(!passes(&direction(1, 1), Harm::None));
    }

    #[test]
    fn what_somebody_has_counted_may_be_lost_and_no_more() {
        assert!(passes(&direction(5, 3), Harm::LostAtMost(5)));
        assert!(!passes(&direction(6, 3), Harm::LostAtMost(5)));
    }
}
