//! Makes a ladder of what is known from many places: one axis of time, and one arrow for a message that
//! was seen several times on its way.

use std::{collections::BTreeMap, net::Ipv6Addr, time::Duration};

use serde_json::Value;

use super::{Clock, Clocks, Direction, Ladder, Layer, Names, Place, Row, Step};
use crate::{
    capture::Seen,
    controller::Event,
    emulated::ieee80211::{self, RecordedStep},
    stream::Passage,
    topology::{CN, Router},
};

#[cfg(test)]
mod tests;

/// How long a router may take to pass a message on while it holds packets: what takes longer was held with
/// them, and is drawn as two.
const PASSED_ON: Duration = Duration::from_millis(20);
/// How long after it was sent somebody may tell that he has sent it: the other end may be quicker. What is
/// for everybody is told before it is sent.
const TOLD: Duration = Duration::from_millis(50);
/// How long a router may take to answer a solicitation: half a second (RFC 4861 section 6.2.6), and what a
/// busy machine adds.
const ANSWERED: Duration = Duration::from_millis(1500);
/// A silence of that length in the packets to the mobile node is shown.
const SILENCE: Duration = Duration::from_millis(20);

/// An access point or base station in the ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its link-layer address.
    pub id: String,
    /// Its column.
    pub place: Place,
    /// The router on its link.
    pub router: Place,
}

/// All that is known.
#[derive(Clone, Debug)]
pub struct Sources {
    /// What the ladder is of.
    pub title: String,
    /// What its columns are called.
    pub names: Names,
    /// The access points or base stations, by link-layer address.
    pub access_points: Vec<Member>,
    /// When the play began, on CLOCK_MONOTONIC: what was before is left out.
    pub began: Duration,
    /// When it ended.
    pub ended: Duration,
    /// How the clocks stand to each other.
    pub clocks: Clocks,
    /// The signalling as it came onto a wire (CLOCK_REALTIME).
    pub seen: Vec<Seen>,
    /// The signalling as it left a wire towards somebody.
    pub delivered: Vec<Seen>,
    /// The controllers' events, by the name of the namespace.
    pub events: Vec<(&'static str, Vec<Event>)>,
    /// The steps that access points and base stations have printed.
    pub steps: Vec<(Place, Vec<Step>)>,
    /// The steps of 802.11, if there is an emulated air. It knows more than the mobile node, and more
    /// exactly: what both tell is taken from here.
    pub air: Option<Vec<RecordedStep>>,
    /// The packets to the mobile node.
    pub passages: Vec<Passage>,
    /// When the streams began, on CLOCK_MONOTONIC.
    pub streams_began: Duration,
}

impl Sources {
    /// Puts all into one order.
    pub fn ladder(&self) -> Ladder {
        let mut rows = self.signalling();
        let unseen = self.never_sent(&rows);
        rows.extend(unseen);
        for (of, events) in &self.events {
            let events = events.iter();
            rows.extend(events.filter_map(|event| self.event(of, event)));
        }
        rows.extend(self.link_steps());
        rows.extend(self.air_steps());
        let silence = self.silence(&rows);
        rows.extend(silence);
        rows.retain(|row| row.at >= self.began && row.at <= self.ended);
        // What is known from one clock stays in its order: the sort is stable.
        rows.sort_by_key(|row| row.at);
        let first = rows.first().map_or(Duration::ZERO, |row| row.at);
        for row in &mut rows {
            row.at -= first;
        }
        Ladder {
            title: self.title.clone(),
            names: self.names.clone(),
            rows,
            tolerance: self.clocks.tolerance(),
        }
    }

    // Signalling

    fn signalling(&self) -> Vec<Row> {
        let mut legs = legs(&self.seen, &self.delivered);
        // Neighbor discovery fills the neighbor caches, and says nothing of a handover.
        legs.retain(|leg| is_shown(&leg.what));
        let buffers = self.buffers();
        let is_held = |message: &Message, leg: &Leg| {
            let [came, went] = [message.last_at, leg.at].map(|at| self.clocks.monotonic(at));
            // What the mobile node sends is in no router's buffer.
            place_of(leg.ends.1) == Some(Place::MnL3)
                && went.saturating_sub(came) >= PASSED_ON
                && (buffers.iter()).any(|(router, began, ended)| {
                    *router == leg.from && *began <= went && *ended >= came
                })
        };
        let mut messages: Vec<Message> = Vec::new();
        for leg in legs {
            let passed_on = messages.iter_mut().rev().find(|message| {
                message.what == leg.what
                    && message.ends == leg.ends
                    && message.last_to == Some(leg.from)
                    && !is_held(message, &leg)
            });
            match passed_on {
                Some(message) => {
                    message.via.push(leg.from);
                    message.last_to = leg.to;
                    message.last_at = leg.at;
                }
                None => messages.push(Message {
                    at: leg.at,
                    from: leg.from,
                    what: leg.what,
                    ends: leg.ends,
                    via: Vec::new(),
                    last_to: leg.to,
                    last_at: leg.at,
                }),
            }
        }
        let solicited: Vec<(Duration, Option<Place>)> = messages
            .iter()
            .filter(|message| message.what == "RS")
            .map(|message| (message.at, message.last_to))
            .collect();
        // Of the advertisements that come by themselves all the time, none is shown.
        messages.retain(|message| {
            let is_answer = |(at, of): &(Duration, Option<Place>)| {
                *at <= message.at
                    && message.at - *at < ANSWERED
                    && *of == Some(message.from)
                    && message.last_to.is_some()
            };
            message.what != "RA" || solicited.iter().any(is_answer)
        });
        messages
            .into_iter()
            .map(|message| self.message(message))
            .collect()
    }

    /// The routers' buffers: whose each is, since when it holds packets and until when.
    fn buffers(&self) -> Vec<(Place, Duration, Duration)> {
        let mut buffers = Vec::new();
        for (of, events) in &self.events {
            let Some(router) = node(of).filter(|place| *place != Place::MnL3) else {
                continue;
            };
            let mut began = None;
            for event in events {
                match event.name.as_str() {
                    "buffer-started" => drop(began.get_or_insert(time_of(event))),
                    "buffer-drained" | "buffer-expired" => {
                        let began = began.take().into_iter();
                        buffers.extend(began.map(|began| (router, began, time_of(event))));
                    }
                    _ => {}
                }
            }
            buffers.extend(began.map(|began| (router, began, Duration::MAX)));
        }
        buffers
    }

    fn message(&self, message: Message) -> Row {
        let arrived = message.last_to;
        let last = message.via.last().copied().unwrap_or(message.from);
        let headed = place_of(message.ends.1)
            // For all: those at the mobile node's link are not known to have heard it.
            .unwrap_or(if message.from == Place::MnL3 {
                Place::Par
            } else {
                Place::MnL3
            });
        let to = arrived.unwrap_or(if last == headed { Place::MnL3 } else { headed });
        let label = label(&message.what);
        Row {
            clock: Clock::Realtime,
            lost: arrived.is_none(),
            via: message.via,
            ..Row::arrow(
                self.clocks.monotonic(message.at),
                message.from,
                to,
                Layer::Network,
                message.what,
            )
        }
        .labelled(label)
    }

    /// What the mobile node says it sent, and nobody saw: the link was gone.
    fn never_sent(&self, rows: &[Row]) -> Vec<Row> {
        let mut lost = Vec::new();
        for (event, what) in [("fbu-sent", "FBU"), ("una-sent", "UNA")] {
            let mut seen: Vec<Duration> = rows
                .iter()
                .filter(|row| row.from == Place::MnL3 && is_sent_as(&row.what, what))
                .map(|row| row.at)
                .collect();
            // The last first: a message on the air is that of the last word before it.
            let sent = self.events_of("mn").iter().rev();
            for sent in sent.filter(|sent| sent.name == event) {
                let at = time_of(sent);
                let on_the_air = seen
                    .iter()
                    .rposition(|seen| *seen + self.clocks.tolerance() >= at);
                match on_the_air {
                    Some(found) => drop(seen.remove(found)),
                    None => {
                        let to = self.router_at(at);
                        let row = Row::arrow(at, Place::MnL3, to, Layer::Network, what);
                        lost.push(Row { lost: true, ..row });
                    }
                }
            }
        }
        lost
    }

    /// The router on whose link the mobile node was at a time, as far as its link layer told.
    fn router_at(&self, at: Duration) -> Place {
        let mut events = self.events_of("mn").iter().rev();
        events
            .find(|event| event.fields["primitive"] == "LINK_UP" && time_of(event) <= at)
            .and_then(|event| self.member(event.fields["access_point"].as_str()?))
            .map_or(Place::Par, |member| member.router)
    }

    fn events_of(&self, name: &str) -> &[Event] {
        let mut all = self.events.iter();
        all.find(|(of, _)| *of == name)
            .map_or(&[], |(_, events)| events)
    }

    // Events

    fn event(&self, of: &str, event: &Event) -> Option<Row> {
        let at = time_of(event);
        let place = node(of)?;
        let note = |layer, what: String| Some(Row::note(at, place, layer, what));
        let text = |name: &str| match &event.fields[name] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let is_mn = place == Place::MnL3;
        let primitive = |from, to, name: &str, short: &str| {
            let named = event.fields["access_point"].as_str();
            let about = named.and_then(|id| self.member(id));
            let row = Row {
                about: about.map(|member| member.place),
                ..Row::arrow(at, from, to, Layer::Primitive, name)
            };
            Some(row.labelled(short))
        };
        match event.name.as_str() {
            "primitive" if is_mn && event.fields["primitive"] == "LINK_SWITCH" => {
                primitive(Place::MnL3, Place::MnL2, "LINK_SWITCH", "LSW")
            }
            "primitive" if is_mn => {
                let name = text("primitive");
                let short = match name.as_str() {
                    "NEW_LINK_DETECTED" => "NLD",
                    "LINK_HANDOVER_IMPEND" => "LHI",
                    "LINK_UP" => "LUP",
                    "LINK_GOING_DOWN" => "LGD",
                    "LINK_DOWN" => "LDN",
                    other => other,
                };
                primitive(Place::MnL2, Place::MnL3, &name, short)
            }
            "primitive" => note(Layer::Link, text("primitive")),
            // The core's word for it: told by the primitive, too, where there is a link layer to hear it.
            "link-switch" if self.knows_link_switch() => None,
            "link-switch" => primitive(Place::MnL3, Place::MnL2, "LINK_SWITCH", "LSW"),
            "link-health" => note(Layer::Link, format!("link layer: {}", text("state"))),
            "handover-failed" => note(Layer::Network, format!("gives up: {}", text("reason"))),
            "ending-failed" => note(
                Layer::Network,
                format!("cannot end the tunnel: {}", text("reason")),
            ),
            "fell-back" => note(Layer::Network, "falls back to Mobile IPv6".to_owned()),
            "fbu-refused" => note(
                Layer::Network,
                format!("refuses the FBU: {}", text("reason")),
            ),
            "hi-refused" => note(
                Layer::Network,
                format!("refuses the HI: {}", text("reason")),
            ),
            "tunnel-installed" => {
                let ncoa = event.fields["ncoa"].as_str()?.parse().ok()?;
                let to = router_of(ncoa)?;
                Some(Row::arrow(at, place, to, Layer::Data, "packets: tunnel"))
            }
            "tunnel-removed" => note(Layer::Data, format!("tunnel ends: {}", text("reason"))),
            "buffer-started" => note(Layer::Data, "buffer".to_owned()),
            "first-held" => note(Layer::Data, "holds packets".to_owned()),
            "first-released" if is_mn => note(Layer::Data, "sends held packets".to_owned()),
            "first-released" => Some(Row::arrow(
                at,
                place,
                Place::MnL3,
                Layer::Data,
                "packets: held ones",
            )),
            "buffer-drained" => note(Layer::Data, format!("{} released", text("released"))),
            "buffer-expired" => note(Layer::Data, "buffer expired".to_owned()),
            _ => None,
        }
    }

    fn knows_link_switch(&self) -> bool {
        let mut events = self.events_of("mn").iter();
        events.any(|event| event.fields["primitive"] == "LINK_SWITCH")
    }

    // Link layer

    fn member(&self, id: &str) -> Option<&Member> {
        let mut members = self.access_points.iter();
        members.find(|member| member.id.eq_ignore_ascii_case(id))
    }

    /// The steps of RFC 4260 section 4.
    fn air_steps(&self) -> Vec<Row> {
        let steps = self.air.iter().flatten();
        steps.filter_map(|step| self.air_step(step)).collect()
    }

    fn air_step(&self, done: &RecordedStep) -> Option<Row> {
        let at = Duration::from_nanos(done.began_ns);
        let member = || self.member(&done.access_point?.to_string());
        let exchange = |what: &str| {
            Some(Row::exchange(
                at,
                Place::MnL2,
                member()?.place,
                Layer::Link,
                what,
            ))
        };
        match done.step {
            ieee80211::Step::Scan => {
                let took = (done.time_ns - done.began_ns) / 1_000_000;
                let row = Row::note(at, Place::MnL2, Layer::Link, "scan");
                Some(row.labelled(format!("scan, {took} ms")))
            }
            ieee80211::Step::Join => {
                let row = Row::note(at, Place::MnL2, Layer::Link, "join");
                let name = self.names.name(member()?.place);
                Some(row.labelled(format!("leaves, joins {name}")))
            }
            ieee80211::Step::Authenticate => exchange("authenticate"),
            ieee80211::Step::Associate => exchange("associate"),
            ieee80211::Step::Handshake => exchange("802.1X"),
            ieee80211::Step::Layer2Update => {
                let Member { place, router, .. } = member()?;
                let row = Row::arrow(at, *place, *router, Layer::Link, "layer 2 update");
                Some(row.labelled("L2 update"))
            }
        }
    }

    /// Whether the air tells of a step of the mobile node.
    fn is_told_by_the_air(&self, step: &Step) -> bool {
        let done = ["scan", "join", "authenticate", "associate", "802.1X"];
        // What went wrong, it does not tell.
        let went_wrong = step.detail.as_ref().is_some_and(|detail| {
            ["rejected", "failed", "failure"]
                .iter()
                .any(|word| detail.starts_with(word))
        });
        self.air.is_some() && done.contains(&step.step.as_str()) && !went_wrong
    }

    /// The steps, told by one end or by both.
    fn link_steps(&self) -> Vec<Row> {
        let own = self.events_of("mn").iter().filter_map(|event| {
            (event.name == "link-step")
                .then(|| serde_json::from_value::<Step>(event.fields.clone()).ok())
                .flatten()
                .filter(|step| !self.is_told_by_the_air(step))
        });
        let mut told: Vec<Told> = own
            .map(|step| Told {
                place: Place::MnL2,
                peer: self.peer(&step),
                step,
            })
            .collect();
        for (place, steps) in &self.steps {
            told.extend(steps.iter().map(|step| Told {
                place: *place,
                peer: self.peer(step).or_else(|| {
                    // Those that it does not know are the mobile node's.
                    step.peer.as_ref().map(|_| Place::MnL2)
                }),
                step: step.clone(),
            }));
        }
        told.sort_by_key(|told| told.step.time_ns);
        let reports = |place: Place| {
            place == Place::MnL2 || self.steps.iter().any(|(reporter, _)| *reporter == place)
        };
        // What is for everybody is said again and again: until when it can be this that was heard.
        let said_again = |sent: &Told| {
            let mut later = told.iter().filter(|later| {
                later.place == sent.place
                    && later.step.step == sent.step.step
                    && later.step.direction == Direction::Sent
                    && later.peer.is_none()
                    && later.step.time_ns > sent.step.time_ns
            });
            later.next().map_or(u64::MAX, |later| later.step.time_ns)
        };
        let mut received: Vec<Option<&Told>> = told
            .iter()
            .map(|told| (told.step.direction == Direction::Received).then_some(told))
            .collect();
        let mut rows = Vec::new();
        for sent in &told {
            let step = &sent.step.step;
            let what = words(&sent.step);
            let at = Duration::from_nanos(sent.step.time_ns);
            match (sent.step.direction, sent.peer) {
                (Direction::Local, _) => {
                    let text = match &sent.step.detail {
                        Some(detail) => format!("{step} ({detail})"),
                        None => step.clone(),
                    };
                    let row = Row::note(at, sent.place, Layer::Link, what);
                    rows.push(row.labelled(text));
                }
                (Direction::Sent, peer) => {
                    let heard_at = match peer {
                        Some(_) => {
                            sent.step.time_ns.saturating_sub(TOLD.as_nanos() as u64)..u64::MAX
                        }
                        None => sent.step.time_ns..said_again(sent),
                    };
                    let arrived = received.iter_mut().find(|entry| {
                        entry.is_some_and(|received| {
                            received.step.step == *step
                                && agree(key_code(&received.step), key_code(&sent.step))
                                && heard_at.contains(&received.step.time_ns)
                                && received.place != sent.place
                                && peer.is_none_or(|peer| peer == received.place)
                                && received.peer.is_none_or(|from| from == sent.place)
                        })
                    });
                    let arrived = arrived.and_then(Option::take);
                    // Nothing is received before it is sent.
                    let at =
                        arrived.map_or(at, |told| at.min(Duration::from_nanos(told.step.time_ns)));
                    let arrived = arrived.map(|told| told.place);
                    // What is for everybody need not be heard, nor told by anybody.
                    let Some(to) = arrived.or(peer) else { continue };
                    let row = Row::arrow(at, sent.place, to, Layer::Link, what);
                    let lost = arrived.is_none() && reports(to);
                    rows.push(Row { lost, ..row }.labelled(step));
                }
                (Direction::Received, _) => {}
            }
        }
        // Each tells his steps in their order, if late: none is later than one that he told behind it.
        let mut latest = BTreeMap::new();
        for row in rows.iter_mut().rev() {
            let bound = latest.entry(row.from).or_insert(row.at);
            *bound = row.at.min(*bound);
            row.at = *bound;
        }
        // What was received, and who sent it does not tell.
        for received in received.into_iter().flatten() {
            if let Some(from) = received.peer {
                let at = Duration::from_nanos(received.step.time_ns);
                let what = words(&received.step);
                let row = Row::arrow(at, from, received.place, Layer::Link, what);
                rows.push(row.labelled(&received.step.step));
            }
        }
        rows
    }

    fn peer(&self, step: &Step) -> Option<Place> {
        self.member(step.peer.as_ref()?).map(|member| member.place)
    }

    // Streams

    /// The ends of the longest silence that the mobile node heard since it left a link for the first time.
    fn silence(&self, rows: &[Row]) -> Vec<Row> {
        let leaves = |row: &&Row| {
            row.at >= self.began
                && row.from == Place::MnL2
                && ["join", "disconnect", "LINK_DOWN"].contains(&row.what.as_str())
        };
        let left = rows.iter().filter(leaves).map(|row| row.at).min();
        let since = left.unwrap_or(self.began);
        let mut arrivals: Vec<Duration> = self
            .passages
            .iter()
            .filter_map(|passage| Some(self.streams_began + passage.arrived?))
            .filter(|at| *at <= self.ended)
            .collect();
        arrivals.sort();
        let pairs = arrivals.windows(2).filter(|pair| pair[1] >= since);
        let longest = pairs.max_by_key(|pair| pair[1] - pair[0]);
        match longest {
            Some(&[last, first]) if first - last >= SILENCE => {
                let silence = (first - last).as_millis();
                vec![
                    Row::note(last, Place::MnL3, Layer::Data, "last packet before the gap"),
                    Row::note(
                        first,
                        Place::MnL3,
                        Layer::Data,
                        "first packet after the gap",
                    )
                    .labelled(format!("first packet after {silence} ms")),
                ]
            }
            _ => Vec::new(),
        }
    }
}

/// A step, by one of its ends.
struct Told {
    place: Place,
    peer: Option<Place>,
    step: Step,
}

/// Which message of the key exchange it is: their names say no more than who sent it.
fn key_code(step: &Step) -> Option<&str> {
    let is_of_keys = ["PKM-REQ", "PKM-RSP"].contains(&step.step.as_str());
    let detail = step.detail.as_deref().filter(|_| is_of_keys)?;
    detail.split(',').next()
}

/// What is known from both ends is the same; one of them may not know it.
fn agree(one: Option<&str>, other: Option<&str>) -> bool {
    one.is_none() || other.is_none() || one == other
}

/// What checks see of a step.
fn words(step: &Step) -> String {
    match key_code(step) {
        Some(code) => format!("{} {code}", step.step),
        None => step.step.clone(),
    }
}

/// A message on one wire.
#[derive(Debug)]
struct Leg {
    /// On CLOCK_REALTIME.
    at: Duration,
    from: Place,
    to: Option<Place>,
    what: String,
    /// Source and destination.
    ends: (Ipv6Addr, Ipv6Addr),
    wire: &'static str,
}

/// A message on its way.
#[derive(Debug)]
struct Message {
    at: Duration,
    from: Place,
    what: String,
    ends: (Ipv6Addr, Ipv6Addr),
    via: Vec<Place>,
    last_to: Option<Place>,
    last_at: Duration,
}

fn legs(seen: &[Seen], delivered: &[Seen]) -> Vec<Leg> {
    let mut legs: Vec<Leg> = seen
        .iter()
        .filter_map(|seen| {
            Some(Leg {
                at: seen.at,
                from: node(&seen.by)?,
                to: None,
                what: plain(&seen.what).to_owned(),
                ends: (seen.source, seen.destination),
                wire: seen.wire,
            })
        })
        .collect();
    for delivered in delivered {
        let Some(place) = node(&delivered.by) else {
            continue;
        };
        // A message may be repeated: what arrives is the last that was sent and has not arrived yet.
        let leg = legs.iter_mut().rev().find(|leg| {
            leg.to.is_none()
                && leg.wire == delivered.wire
                && leg.what == plain(&delivered.what)
                && leg.ends == (delivered.source, delivered.destination)
                && leg.from != place
                && leg.at <= delivered.at
        });
        if let Some(leg) = leg {
            leg.to = Some(place);
        }
    }
    legs
}

/// A message is the same inside a tunnel and outside.
fn plain(what: &str) -> &str {
    what.strip_suffix(" in a tunnel").unwrap_or(what)
}

fn is_shown(what: &str) -> bool {
    !what.starts_with("NS ") && !what.starts_with("NA ")
}

/// Whether a message on the wire is what an event calls so.
fn is_sent_as(what: &str, event: &str) -> bool {
    what == event
        || what.starts_with(&format!("{event} "))
        // RFC 4068 puts the one into the other.
        || what == "FNA with FBU"
        || (event == "UNA" && what == "FNA")
}

/// As short as a drawing wants it: an address says less than where the arrow points.
fn label(what: &str) -> String {
    let words = what.split(' ');
    let words: Vec<&str> = words.filter(|word| !word.contains(':')).collect();
    words.join(" ")
}

fn time_of(event: &Event) -> Duration {
    Duration::from_nanos(event.time_ns)
}

/// Where the node with that namespace stands.
fn node(name: &str) -> Option<Place> {
    match name {
        "mn" => Some(Place::MnL3),
        "par" => Some(Place::Par),
        "nar" => Some(Place::Nar),
        "third" => Some(Place::Third),
        _ => None,
    }
}

/// A router's column.
pub const fn place_of_router(router: Router) -> Place {
    match router {
        Router::Previous => Place::Par,
        Router::New => Place::Nar,
        Router::Third => Place::Third,
    }
}

/// The router on whose link an address is.
fn router_of(address: Ipv6Addr) -> Option<Place> {
    let prefix = |address: Ipv6Addr| address.to_bits() >> 64;
    let mut routers = Router::ALL.into_iter();
    routers
        .find(|router| prefix(router.address()) == prefix(address))
        .map(place_of_router)
}

/// Who has an address; none if it is no single node's.
fn place_of(address: Ipv6Addr) -> Option<Place> {
    if address.is_multicast() || address == CN {
        return None;
    }
    let mut routers = Router::ALL.into_iter();
    let router = routers.find(|router| [router.address(), router.link_local()].contains(&address));
    router
        .map(place_of_router)
        .or_else(|| router_of(address).map(|_| Place::MnL3))
}
