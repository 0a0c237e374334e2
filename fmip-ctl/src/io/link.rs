//! The mobile node's link layer: started as the configuration says, its words carried to the core
//! and to people, the core's LINK_SWITCH carried to it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Serialize;
use tracing::{info, warn};

use crate::{
    config::{Config, Interface, LinkLayerKind, Role},
    io::machine::now,
    link::{Health, Heard, LinkLayer, Order, Step, Told, ieee80211},
    proto::{self, Command, CommandError, Input, InterfaceIndex, LinkEvent, Output},
    wire::MacAddr,
};

/// The link layer of this controller: none at a router, nor where it is told by the control socket.
#[derive(Debug, Default)]
pub(super) struct Link {
    layer: Option<LinkLayer>,
    heard: Vec<Heard>,
    health: Option<Health>,
}

/// What people are told of it.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Event {
    /// A primitive between the link layer and the core, either way.
    Primitive {
        /// Its name in RFC 5270 section 5.
        primitive: &'static str,
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
    pub(super) fn start(config: &Config, interfaces: &BTreeMap<InterfaceIndex, Interface>) -> Self {
        let Role::MobileNode(node) = &config.role else {
            return Self::default();
        };
        let layer = match &node.link_layer {
            LinkLayerKind::Told => None,
            LinkLayerKind::Ieee80211(settings) => Some(ieee80211::start(
                settings,
                beside(&config.control_socket, &node.interface),
                now,
            )),
        };
        let _ = interfaces;
        Self {
            layer,
            ..Self::default()
        }
    }

    /// The next that it tells; never, if there is none. Nothing is lost if this is cancelled.
    pub(super) async fn next(&mut self) -> Told {
        loop {
            match &mut self.layer {
                None => std::future::pending().await,
                Some(layer) => match layer.next().await {
                    Some(told) => return told,
                    None => {
                        warn!(
                            link = layer.name(),
                            "the link layer ended: nothing is predicted any more"
                        );
                        self.layer = None;
                    }
                },
            }
        }
    }

    /// What the core is told, and people are, of what the link layer told.
    pub(super) fn hear(&mut self, told: Told) -> (Option<Input>, Option<Event>) {
        match told {
            Told::Primitive(event) => (Some(Input::Link(event)), Some(primitive(event))),
            Told::SwitchFailed {
                access_point,
                error,
            } => {
                let failed = Input::CommandFailed {
                    command: Command::SwitchLink { access_point },
                    error: CommandError::Other(error),
                };
                (Some(failed), None)
            }
            Told::Step(step) => (None, Some(Event::LinkStep(step))),
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

    /// Takes note of what the core wants done: LINK_SWITCH, and that nothing is prepared.
    pub(super) fn note(&self, output: &Output) {
        let Some(layer) = &self.layer else {
            return;
        };
        match output {
            Output::Command(Command::SwitchLink { access_point }) => layer.order(Order::Switch {
                access_point: *access_point,
            }),
            Output::Event(proto::Event::HandoverFailed { .. }) => layer.order(Order::GoAhead),
            _ => {}
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

/// A socket beside that of the controller, of which there may be several in one directory.
fn beside(control_socket: &Path, interface: &str) -> PathBuf {
    let mut name = control_socket.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{interface}"));
    control_socket.with_file_name(name)
}

/// A primitive as people are told it.
pub(super) fn primitive(event: LinkEvent) -> Event {
    let (primitive, access_point) = match event {
        LinkEvent::NewLinkDetected { access_point } => ("NEW_LINK_DETECTED", Some(access_point)),
        LinkEvent::HandoverImpend { access_point } => ("LINK_HANDOVER_IMPEND", Some(access_point)),
        LinkEvent::LinkUp { access_point } => ("LINK_UP", Some(access_point)),
        LinkEvent::LinkDown => ("LINK_DOWN", None),
    };
    Event::Primitive {
        primitive,
        access_point,
    }
}
