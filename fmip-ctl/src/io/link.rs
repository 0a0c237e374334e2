//! The mobile node's link layer: started as the configuration says, its words damped and carried to
//! the core and to people, the core's LINK_SWITCH carried to it. A program at the control socket is
//! heard in the same way.

use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use serde::Serialize;
use tracing::{info, warn};

use crate::{
    config::{Config, Interface, LinkLayerKind, Role},
    io::machine::now,
    link::{
        Counts, Health, Heard, LinkLayer, Order, Step, Told, carrier,
        damping::{Counters, Damper, Outcome},
        ieee80211, ieee80216e,
        vocabulary::{self, Indication, Primitive},
    },
    proto::{self, Command, CommandError, Input, Instant, LinkEvent, Output, Prospect},
    wire::MacAddr,
};

/// How many steps, and how many primitives, are kept of what a link layer tells before there is a core.
const MAX_EARLY: usize = 1_000;

/// The link layer of this controller: none at a router, nor where it is told by the control socket.
#[derive(Debug, Default)]
pub(super) struct Link {
    layer: Option<LinkLayer>,
    /// What it told before anybody could be told.
    early: VecDeque<Told>,
    damper: Damper,
    /// The LINK_SWITCH that was ordered, until the link is up or it failed.
    switching: Option<MacAddr>,
    heard: Vec<Heard>,
    health: Option<Health>,
    /// What a link layer had counted that ended.
    counted: Counts,
    /// What moves lead to, by what the router said.
    prospects: Arc<BTreeMap<MacAddr, Prospect>>,
    /// How often which handover was not a fast one, by the reason's name.
    failed: BTreeMap<String, u64>,
    /// How often an earlier handover did not end as it should, by the reason's name.
    endings_failed: BTreeMap<String, u64>,
}

/// What people are told of it.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Event {
    /// A primitive between the link layer and the core, either way.
    Primitive {
        /// Its name in RFC 5270 section 5.
        primitive: &'static str,
        /// Its name in IEEE 802.21.
        mih: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        access_point: Option<MacAddr>,
    },
    /// A step of the link layer's own.
    LinkStep(Step),
    /// What the link layer depends on came or went.
    LinkHealth(Health),
}

impl Link {
    /// Starts the link layer that the configuration names.
    ///
    /// # Errors
    /// It cannot begin.
    pub(super) fn start(config: &Config, interfaces: &[Interface]) -> Result<Self> {
        let Role::MobileNode(node) = &config.role else {
            return Ok(Self::default());
        };
        let layer = match &node.link_layer {
            LinkLayerKind::Told => None,
            LinkLayerKind::Carrier => {
                let interface = interface(interfaces, &node.interface)?;
                Some(carrier::start(interface.index, interface.name.clone()))
            }
            LinkLayerKind::Ieee80211(settings) => {
                let place = ieee80211::Place {
                    interface: interface(interfaces, &node.interface)?.index,
                    beside: beside(&config.control_socket, &node.interface),
                    clock: now,
                };
                Some(ieee80211::start(settings, place))
            }
            LinkLayerKind::Ieee80216e(settings) => {
                let interface = interface(interfaces, &node.interface)?;
                let place = ieee80216e::Place {
                    name: interface.name.clone(),
                    address: interface.link_address,
                };
                Some(ieee80216e::start(settings, place, now).context("802.16e cannot begin")?)
            }
        };
        Ok(Self {
            layer,
            damper: Damper::new(node.damping, node.access_point),
            ..Self::default()
        })
    }

    /// What moves lead to by what the router has said now.
    pub(super) fn inform(&mut self, prospects: BTreeMap<MacAddr, Prospect>) {
        self.prospects = Arc::new(prospects);
        if let Some(layer) = &self.layer {
            layer.order(Order::Prospects(Arc::clone(&self.prospects)));
        }
    }

    /// Ends the link layer: what it has open is closed when this returns.
    pub(super) async fn end(&mut self) {
        if let Some(layer) = self.layer.take() {
            layer.end().await;
        }
    }

    /// The next that it tells; never, if there is none. Nothing is lost if this is cancelled.
    pub(super) async fn next(&mut self) -> Told {
        if let Some(told) = self.early.pop_front() {
            return told;
        }
        loop {
            match &mut self.layer {
                None => std::future::pending().await,
                Some(layer) => match layer.next().await {
                    Some(told) => return told,
                    None => self.lose(),
                },
            }
        }
    }

    /// Keeps what the link layer tells for [`Link::next`]; never ends. For as long as there is no core:
    /// a link layer that nobody listens to stands still, and the node waits for its link to start.
    /// Nothing is lost if this is cancelled.
    pub(super) async fn listen(&mut self) -> std::convert::Infallible {
        loop {
            let told = match &mut self.layer {
                None => std::future::pending().await,
                Some(layer) => layer.next().await,
            };
            match told {
                Some(told) => self.keep(told),
                None => self.lose(),
            }
        }
    }

    fn lose(&mut self) {
        if let Some(layer) = self.layer.take() {
            warn!(
                link = layer.name(),
                "the link layer ended: nothing is predicted any more"
            );
            self.counted = layer.counts();
        }
    }

    fn keep(&mut self, told: Told) {
        match told {
            // The last one counts.
            Told::Heard(_) => self.early.retain(|early| !matches!(early, Told::Heard(_))),
            Told::Health(_) => self.early.retain(|early| !matches!(early, Told::Health(_))),
            // Of what the core is told only later, that is so of the state of the link, too.
            Told::Primitive(event) if is_state(event) => self
                .early
                .retain(|early| !matches!(early, Told::Primitive(event) if is_state(*event))),
            Told::Primitive(_) => {
                self.early.retain(|early| *early != told);
                // Whoever sends with ever new addresses fills no memory.
                let passing =
                    |early: &Told| matches!(early, Told::Primitive(event) if !is_state(*event));
                if self.early.iter().filter(|early| passing(early)).count() >= MAX_EARLY
                    && let Some(oldest) = self.early.iter().position(passing)
                {
                    self.early.remove(oldest);
                }
            }
            // What people see of a start that lasts is its beginning.
            Told::Step(_) => {
                let steps = self
                    .early
                    .iter()
                    .filter(|early| matches!(early, Told::Step(_)));
                if steps.count() >= MAX_EARLY {
                    return;
                }
            }
            // Nobody has ordered anything, and nobody waits.
            Told::SwitchFailed { .. } | Told::Mark => return,
        }
        self.early.push_back(told);
    }

    /// What the core is told, and people are, of what the link layer told.
    pub(super) fn hear(&mut self, now: Instant, told: Told) -> (Option<Input>, Option<Event>) {
        match told {
            Told::Primitive(event) => match self.tell(now, event) {
                Outcome::Told => (Some(Input::Link(event)), Some(primitive(event))),
                Outcome::HeldBack | Outcome::Dropped => (None, None),
            },
            Told::SwitchFailed {
                access_point,
                error,
            } => match self.switch_failed(access_point, error) {
                Ok(failed) => (Some(failed), None),
                Err(error) => {
                    warn!("{error}");
                    (None, None)
                }
            },
            Told::Step(step) => (None, Some(Event::LinkStep(step))),
            Told::Mark => (None, None),
            Told::Heard(heard) => {
                self.heard = heard;
                (None, None)
            }
            Told::Health(health) => {
                match &health {
                    Health::Working => info!("the link layer works"),
                    Health::Lost { what, error } => warn!(
                        "{what} is gone: {error}; until it is back, the node moves without preparation"
                    ),
                }
                self.health = Some(health.clone());
                (None, Some(Event::LinkHealth(health)))
            }
        }
    }

    /// What the core is told of what a program said, and what became of it.
    ///
    /// # Errors
    /// In words for the one who said it.
    pub(super) fn take(
        &mut self,
        now: Instant,
        indication: Indication,
    ) -> Result<(Outcome, Option<Input>), String> {
        let event = match indication {
            Indication::SwitchFailed {
                access_point,
                error,
            } => {
                let failed = self.switch_failed(access_point, error)?;
                return Ok((Outcome::Told, Some(failed)));
            }
            Indication::Event { of: Some(of), .. } if self.damper.is_of_another_link(of) => {
                return Ok((Outcome::Dropped, None));
            }
            Indication::Event { event, .. } => event,
        };
        // The core would begin a handover only to give it up, and who told would wait for LINK_SWITCH.
        if let LinkEvent::HandoverImpend { access_point } = event
            && self.prospects.get(&access_point) == Some(&Prospect::Unknown)
        {
            return Err(format!(
                "access_point: the router of this link knows nothing of {access_point}: no move there \
                 can be prepared"
            ));
        }
        let outcome = self.tell(now, event);
        Ok((
            outcome,
            (outcome == Outcome::Told).then_some(Input::Link(event)),
        ))
    }

    /// Whether a primitive is for the core now.
    fn tell(&mut self, now: Instant, event: LinkEvent) -> Outcome {
        if let LinkEvent::LinkUp { .. } | LinkEvent::LinkUpSomewhere = event {
            self.switching = None;
        }
        self.damper.tell(now, event)
    }

    fn switch_failed(&mut self, access_point: MacAddr, error: String) -> Result<Input, String> {
        let switch = Primitive::LinkSwitch;
        match self.switching {
            Some(ordered) if ordered == access_point => {}
            Some(ordered) => {
                return Err(format!(
                    "access_point: {switch} was to {ordered}, and not to {access_point}"
                ));
            }
            None => {
                return Err(format!(
                    "access_point: no {switch} to {access_point} waits for an answer"
                ));
            }
        }
        self.switching = None;
        self.damper.handover_ended();
        Ok(Input::CommandFailed {
            command: Command::SwitchLink { access_point },
            error: CommandError::Other(error),
        })
    }

    /// When [`Link::handle_timeout`] is to be called next, if nothing happens before.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.damper.poll_timeout()
    }

    /// A primitive that was held back and is for the core by `now`.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<LinkEvent> {
        self.damper.handle_timeout(now)
    }

    /// How often what was damped.
    pub(super) fn damped(&self) -> Counters {
        *self.damper.counters()
    }

    /// How often what happened in the link layer.
    pub(super) fn counts(&self) -> Counts {
        let counted = || self.counted.clone();
        self.layer.as_ref().map_or_else(counted, LinkLayer::counts)
    }

    /// How often a handover was not a fast one, by the reason's name.
    pub(super) fn failed(&self) -> &BTreeMap<String, u64> {
        &self.failed
    }

    /// How often an earlier handover did not end as it should, by the reason's name.
    pub(super) fn endings_failed(&self) -> &BTreeMap<String, u64> {
        &self.endings_failed
    }

    /// Takes note of what the core wants done: LINK_SWITCH, and that nothing is prepared.
    pub(super) fn note(&mut self, output: &Output) {
        let order = match output {
            Output::Command(Command::SwitchLink { access_point }) => {
                self.switching = Some(*access_point);
                Order::Switch {
                    access_point: *access_point,
                }
            }
            Output::Event(proto::Event::HandoverFailed { reason }) => {
                count(&mut self.failed, *reason);
                self.switching = None;
                self.damper.handover_ended();
                Order::GoAhead
            }
            // The link layer may be waiting for a handover that goes on.
            Output::Event(proto::Event::EndingFailed { reason }) => {
                return count(&mut self.endings_failed, *reason);
            }
            _ => return,
        };
        if let Some(layer) = &self.layer {
            layer.order(order);
        }
    }

    /// What was heard last.
    pub(super) fn heard(&self) -> &[Heard] {
        &self.heard
    }

    /// Whether what the link layer depends on is there, if it said so.
    pub(super) fn health(&self) -> Option<&Health> {
        self.health.as_ref()
    }

    /// The link layer's name.
    pub(super) fn name(&self) -> Option<&'static str> {
        self.layer.as_ref().map(LinkLayer::name)
    }
}

fn count(failures: &mut BTreeMap<String, u64>, reason: proto::Failure) {
    if let Ok(serde_json::Value::String(reason)) = serde_json::to_value(reason) {
        *failures.entry(reason).or_default() += 1;
    }
}

/// The interface that the configuration names.
fn interface<'a>(interfaces: &'a [Interface], name: &str) -> Result<&'a Interface> {
    interfaces
        .iter()
        .find(|interface| interface.name == name)
        .with_context(|| format!("there is no interface {name}"))
}

/// A name beside that of the controller's socket, of which there may be several in one directory.
fn beside(control_socket: &Path, interface: &str) -> PathBuf {
    let mut name = control_socket.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{interface}"));
    control_socket.with_file_name(name)
}

/// Whether it says what has become of the link, and not what may.
fn is_state(event: LinkEvent) -> bool {
    matches!(
        event,
        LinkEvent::LinkUp { .. } | LinkEvent::LinkUpSomewhere | LinkEvent::LinkDown
    )
}

/// A primitive from the link layer as people are told it.
pub(super) fn primitive(event: LinkEvent) -> Event {
    let (primitive, access_point) = vocabulary::named(event);
    Event::primitive(primitive, access_point)
}

/// The primitive to the link layer that an event of the core's is.
pub(super) fn command(event: &proto::Event) -> Option<Event> {
    match event {
        proto::Event::LinkSwitch { access_point } => {
            Some(Event::primitive(Primitive::LinkSwitch, Some(*access_point)))
        }
        _ => None,
    }
}

impl Event {
    fn primitive(primitive: Primitive, access_point: Option<MacAddr>) -> Self {
        Self::Primitive {
            primitive: primitive.name(),
            mih: primitive.mih_name(),
            access_point,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{link::Direction, proto::Failure};

    const AP1: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 1]);
    const AP2: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 2]);
    const NOW: Instant = Instant::from_nanos(1_000_000_000);

    fn impend(access_point: MacAddr) -> LinkEvent {
        LinkEvent::HandoverImpend { access_point }
    }

    fn said(event: LinkEvent) -> Indication {
        Indication::Event { event, of: None }
    }

    fn failed(access_point: MacAddr) -> Indication {
        Indication::SwitchFailed {
            access_point,
            error: "no answer".to_owned(),
        }
    }

    fn switch(access_point: MacAddr) -> Output {
        Output::Command(Command::SwitchLink { access_point })
    }

    #[test]
    fn a_program_and_a_driver_are_damped_as_one() {
        let mut link = Link::default();
        let (outcome, input) = link.take(NOW, said(impend(AP2))).unwrap();
        assert_eq!(outcome, Outcome::Told);
        assert_eq!(input, Some(Input::Link(impend(AP2))));
        let (input, event) = link.hear(NOW, Told::Primitive(impend(AP2)));
        assert!(input.is_none() && event.is_none());
        let (input, _) = link.hear(NOW, Told::Primitive(impend(AP1)));
        assert_eq!(input, None);
        let due = link.poll_timeout().unwrap();
        assert!(due > NOW);
        assert_eq!(link.handle_timeout(due), Some(impend(AP1)));
        let damped = link.damped();
        assert_eq!((damped.repeated_impends, damped.held_back_impends), (1, 1));
    }

    #[test]
    fn a_target_that_the_router_does_not_know_is_refused_by_its_name() {
        let mut link = Link::default();
        // Nobody has asked the router yet.
        let (outcome, _) = link.take(NOW, said(impend(AP2))).unwrap();
        assert_eq!(outcome, Outcome::Told);
        let reason = Failure::UnknownAccessPoint;
        link.note(&Output::Event(proto::Event::HandoverFailed { reason }));
        assert_eq!(link.failed()["unknown-access-point"], 1);
        link.inform([(AP2, Prospect::Unknown), (AP1, Prospect::Plain)].into());
        let later = NOW + std::time::Duration::from_secs(1);
        assert_eq!(
            link.take(later, said(impend(AP2))).unwrap_err(),
            "access_point: the router of this link knows nothing of 02:00:00:00:0a:02: no move there \
             can be prepared"
        );
        // All else is as it was, also of the same access point.
        let detected = LinkEvent::NewLinkDetected { access_point: AP2 };
        let up = LinkEvent::LinkUp { access_point: AP1 };
        for event in [detected, impend(AP1), up] {
            let (outcome, _) = link.take(later, said(event)).unwrap();
            assert_eq!(outcome, Outcome::Told, "{event:?}");
        }
        // On another link it may be known.
        link.inform(BTreeMap::new());
        let much_later = later + std::time::Duration::from_secs(60);
        let (outcome, _) = link.take(much_later, said(impend(AP2))).unwrap();
        assert_eq!(outcome, Outcome::Told);
    }

    #[test]
    fn a_handover_that_failed_may_be_told_again() {
        let mut link = Link::default();
        link.take(NOW, said(impend(AP2))).unwrap();
        let reason = Failure::NoFback;
        link.note(&Output::Event(proto::Event::HandoverFailed { reason }));
        let later = NOW + std::time::Duration::from_secs(1);
        let (outcome, _) = link.take(later, said(impend(AP2))).unwrap();
        assert_eq!(outcome, Outcome::Told);
    }

    #[test]
    fn the_end_of_an_earlier_tunnel_that_fails_is_not_the_handover_that_is_under_way() {
        let mut link = Link::default();
        link.take(NOW, said(impend(AP2))).unwrap();
        link.note(&switch(AP2));
        let reason = Failure::NoFback;
        link.note(&Output::Event(proto::Event::EndingFailed { reason }));
        assert_eq!(
            (link.endings_failed()["no-fback"], link.failed().len()),
            (1, 0)
        );
        // It goes on, and its switch may fail.
        let later = NOW + std::time::Duration::from_secs(1);
        let (outcome, _) = link.take(later, said(impend(AP2))).unwrap();
        assert_ne!(outcome, Outcome::Told);
        assert!(link.take(later, failed(AP2)).is_ok());
    }

    #[test]
    fn only_the_link_switch_that_was_ordered_can_fail_and_only_once() {
        let mut link = Link::default();
        assert_eq!(
            link.take(NOW, failed(AP2)).unwrap_err(),
            "access_point: no LINK_SWITCH to 02:00:00:00:0a:02 waits for an answer"
        );
        link.take(NOW, said(impend(AP2))).unwrap();
        link.note(&switch(AP2));
        assert_eq!(
            link.take(NOW, failed(AP1)).unwrap_err(),
            "access_point: LINK_SWITCH was to 02:00:00:00:0a:02, and not to 02:00:00:00:0a:01"
        );
        let (outcome, input) = link.take(NOW, failed(AP2)).unwrap();
        assert_eq!(outcome, Outcome::Told);
        let Some(Input::CommandFailed { command, error }) = input else {
            panic!("the core is told");
        };
        assert_eq!(command, Command::SwitchLink { access_point: AP2 });
        assert_eq!(error.to_string(), "no answer");
        assert!(link.take(NOW, failed(AP2)).is_err());

        // It succeeded, or nothing is to be switched any more.
        let reason = Failure::Expired;
        for over in [
            Err(Output::Event(proto::Event::HandoverFailed { reason })),
            Ok(LinkEvent::LinkUp { access_point: AP2 }),
        ] {
            link.note(&switch(AP2));
            match over {
                Ok(event) => drop(link.take(NOW, said(event)).unwrap()),
                Err(output) => link.note(&output),
            }
            assert!(link.take(NOW, failed(AP2)).is_err());
        }
    }

    #[test]
    fn the_end_of_another_link_is_old_news() {
        let mut link = Link::default();
        let up = LinkEvent::LinkUp { access_point: AP2 };
        link.take(NOW, said(up)).unwrap();
        let down = |of| Indication::Event {
            event: LinkEvent::LinkDown,
            of: Some(of),
        };
        assert_eq!(link.take(NOW, down(AP1)).unwrap(), (Outcome::Dropped, None));
        let (_, input) = link.take(NOW, down(AP2)).unwrap();
        assert_eq!(input, Some(Input::Link(LinkEvent::LinkDown)));
    }

    #[test]
    fn what_is_kept_until_there_is_a_core_is_bounded_and_ends_with_the_links_last_state() {
        let up = |access_point| Told::Primitive(LinkEvent::LinkUp { access_point });
        let detected = |number: usize| {
            let [.., high, low] = number.to_be_bytes();
            let access_point = MacAddr([2, 0, 0, 1, high, low]);
            Told::Primitive(LinkEvent::NewLinkDetected { access_point })
        };
        let step = |number: usize| {
            Told::Step(Step {
                step: number.to_string(),
                direction: Direction::Local,
                peer: None,
                detail: None,
            })
        };
        let lost = || Health::Lost {
            what: "it".to_owned(),
            error: "gone".to_owned(),
        };
        let mut link = Link::default();
        link.keep(up(AP1));
        for number in 0..MAX_EARLY + 7 {
            link.keep(step(number));
            for _ in 0..2 {
                link.keep(detected(number));
            }
            link.keep(Told::Primitive(LinkEvent::LinkDown));
            link.keep(up(AP2));
            link.keep(Told::Health(lost()));
            link.keep(Told::Health(Health::Working));
            link.keep(Told::Heard(Vec::new()));
            link.keep(Told::Mark);
        }
        let kept = Vec::from(link.early);
        let of = |is: fn(&Told) -> bool| -> Vec<Told> {
            kept.iter().filter(|told| is(told)).cloned().collect()
        };
        let steps = of(|told| matches!(told, Told::Step(_)));
        assert_eq!(steps, (0..MAX_EARLY).map(step).collect::<Vec<_>>());
        let primitives: Vec<_> = (7..MAX_EARLY + 7).map(detected).chain([up(AP2)]).collect();
        assert_eq!(of(|told| matches!(told, Told::Primitive(_))), primitives);
        let rest = of(|told| !matches!(told, Told::Step(_) | Told::Primitive(_)));
        assert_eq!(
            rest,
            [Told::Health(Health::Working), Told::Heard(Vec::new())]
        );
    }

    // Rows: W16-01, W16-23
    #[test]
    fn people_are_told_both_names_of_a_primitive_either_way() {
        let json = |event: &Event| serde_json::to_string(event).unwrap();
        assert_eq!(
            json(&primitive(impend(AP2))),
            r#"{"event":"primitive","primitive":"LINK_HANDOVER_IMPEND","mih":"LINK_HANDOVER_IMMINENT","access_point":"02:00:00:00:0a:02"}"#
        );
        let event = proto::Event::LinkSwitch { access_point: AP2 };
        assert_eq!(
            json(&command(&event).unwrap()),
            r#"{"event":"primitive","primitive":"LINK_SWITCH","mih":"HANDOVER_COMMIT","access_point":"02:00:00:00:0a:02"}"#
        );
        assert_eq!(
            json(&primitive(LinkEvent::LinkDown)),
            r#"{"event":"primitive","primitive":"LINK_DOWN","mih":"LINK_DOWN"}"#
        );
    }
}
