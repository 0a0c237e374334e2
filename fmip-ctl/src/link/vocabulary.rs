//! The names of the primitives: those of RFC 5270 section 5 and those of IEEE 802.21, as RFC 5270
//! section 7 table 1 maps them; and what a program says in either vocabulary.
//!
//! Two primitives stand in neither column of that table, and are taken nevertheless, under the name
//! that 802.21 has for them, because who drives the node by 802.21 tells them as a matter of course:
//!
//! - LINK_DOWN, that the node is attached to nothing. RFC 5270 needs no name for it, for there the
//!   node ends the link itself (MOB_HO-IND); without it, what the node sends into the gap is lost.
//! - LINK_GOING_DOWN, that the link will be gone before long. It names the link that the node is on and
//!   no target, so no handover can be prepared for it, and 802.21 has it taken back if the signal
//!   returns: it must not move anything. What a user of 802.21 expects of it is that the node gets
//!   ready for a move to anywhere, and that is what it does: it asks its router for all access points
//!   around (a wildcard RtSolPr, RFC 4260 section 6), so that even a move without a word is one to a
//!   router that is known.
//!
//! In 802.21 both name the link which they are about. If that is another than the one that came up last,
//! they are about the past.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{proto::LinkEvent, wire::MacAddr};

/// A primitive, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Primitive {
    /// A new access point is in reach.
    NewLinkDetected,
    /// The link layer has decided to move.
    LinkHandoverImpend,
    /// The command to move.
    LinkSwitch,
    /// The link is there.
    LinkUp,
    /// The link is gone.
    LinkDown,
    /// The link will be gone.
    LinkGoingDown,
}

impl Primitive {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::NewLinkDetected,
        Self::LinkHandoverImpend,
        Self::LinkSwitch,
        Self::LinkUp,
        Self::LinkDown,
        Self::LinkGoingDown,
    ];

    /// Its names in RFC 5270 and in IEEE 802.21.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::NewLinkDetected => ("NEW_LINK_DETECTED", "LINK_DETECTED"),
            Self::LinkHandoverImpend => ("LINK_HANDOVER_IMPEND", "LINK_HANDOVER_IMMINENT"),
            Self::LinkSwitch => ("LINK_SWITCH", "HANDOVER_COMMIT"),
            Self::LinkUp => ("LINK_UP", "LINK_UP"),
            // Not in table 1.
            Self::LinkDown => ("LINK_DOWN", "LINK_DOWN"),
            Self::LinkGoingDown => ("LINK_GOING_DOWN", "LINK_GOING_DOWN"),
        }
    }

    /// Its name in RFC 5270, or that of 802.21 where that has none.
    pub fn name(self) -> &'static str {
        self.names().0
    }

    /// Its name in IEEE 802.21.
    pub fn mih_name(self) -> &'static str {
        self.names().1
    }
}

impl fmt::Display for Primitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Primitive {
    type Err = SayError;

    /// Of either vocabulary; 802.21 itself writes its names as `Link_Up`, so capitals do not matter.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is = |name: &str| name.eq_ignore_ascii_case(text);
        Self::ALL
            .into_iter()
            .find(|primitive| is(primitive.name()) || is(primitive.mih_name()))
            .ok_or_else(|| SayError::Unknown(cut(text)))
    }
}

/// As much of what somebody wrote as fits into a message.
fn cut(text: &str) -> String {
    const SHOWN: usize = 40;
    match text.char_indices().nth(SHOWN) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

/// The names of all primitives, for people.
fn names() -> String {
    let both = |primitive: Primitive| match primitive.names() {
        (name, mih) if name == mih => name.to_owned(),
        (name, mih) => format!("{name} ({mih})"),
    };
    Primitive::ALL.map(both).join(", ")
}

/// Why something that was said is no primitive. Every message names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SayError {
    /// There is none of that name.
    #[error("primitive: {0:?} is none: there are {names}", names = names())]
    Unknown(String),
    /// It says nothing about where.
    #[error("access_point: {0} needs the link-layer address of an access point")]
    NoAccessPoint(Primitive),
    /// That is no link-layer address.
    #[error("access_point: {0:?} is no link-layer address: write it as 02:00:00:00:0a:01")]
    NoAddress(String),
    /// Nobody can be attached there.
    #[error("access_point: {0} is no unicast link-layer address: no access point has it")]
    NotUnicast(MacAddr),
    /// A command of the node's, said to it.
    #[error(
        "primitive: {0} is what the mobile node says: a program that cannot do it answers with the \
         same name, the access point, and why in `error`"
    )]
    Command(Primitive),
    /// An error of something that cannot fail.
    #[error("error: {0} has none: only {switch} does", switch = Primitive::LinkSwitch)]
    NoCommand(Primitive),
}

/// What a program outside says: a primitive, or that it could not do what LINK_SWITCH says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Line", into = "Line")]
pub enum Indication {
    /// What happens.
    Event {
        /// For the core.
        event: LinkEvent,
        /// The access point that LINK_DOWN or LINK_GOING_DOWN is about, if it says so.
        of: Option<MacAddr>,
    },
    /// LINK_SWITCH failed.
    SwitchFailed {
        /// Where to.
        access_point: MacAddr,
        /// Why, in words.
        error: String,
    },
}

/// An [`Indication`] as it is written.
#[derive(Clone, Serialize, Deserialize)]
struct Line {
    primitive: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    access_point: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Indication {
    /// What is said by these words; `error` is for a LINK_SWITCH that failed.
    ///
    /// # Errors
    /// [`SayError`].
    pub fn new(
        primitive: &str,
        access_point: Option<&str>,
        error: Option<String>,
    ) -> Result<Self, SayError> {
        let primitive: Primitive = primitive.parse()?;
        let access_point = access_point.map(unicast).transpose()?;
        let at = || access_point.ok_or(SayError::NoAccessPoint(primitive));
        let (event, of) = match (primitive, error) {
            (Primitive::LinkSwitch, None) => return Err(SayError::Command(primitive)),
            (Primitive::LinkSwitch, Some(error)) => {
                let access_point = at()?;
                return Ok(Self::SwitchFailed {
                    access_point,
                    error,
                });
            }
            (_, Some(_)) => return Err(SayError::NoCommand(primitive)),
            (Primitive::NewLinkDetected, None) => {
                let access_point = at()?;
                (LinkEvent::NewLinkDetected { access_point }, None)
            }
            (Primitive::LinkHandoverImpend, None) => {
                let access_point = at()?;
                (LinkEvent::HandoverImpend { access_point }, None)
            }
            (Primitive::LinkUp, None) => {
                let access_point = at()?;
                (LinkEvent::LinkUp { access_point }, None)
            }
            (Primitive::LinkDown, None) => (LinkEvent::LinkDown, access_point),
            (Primitive::LinkGoingDown, None) => (LinkEvent::LinkGoingDown, access_point),
        };
        Ok(Self::Event { event, of })
    }
}

fn unicast(text: &str) -> Result<MacAddr, SayError> {
    let address: MacAddr = text.parse().map_err(|_| SayError::NoAddress(cut(text)))?;
    if !address.is_unicast() {
        return Err(SayError::NotUnicast(address));
    }
    Ok(address)
}

/// The primitive that an event is, and the access point in it.
pub fn named(event: LinkEvent) -> (Primitive, Option<MacAddr>) {
    match event {
        LinkEvent::NewLinkDetected { access_point } => {
            (Primitive::NewLinkDetected, Some(access_point))
        }
        LinkEvent::HandoverImpend { access_point } => {
            (Primitive::LinkHandoverImpend, Some(access_point))
        }
        LinkEvent::LinkUp { access_point } => (Primitive::LinkUp, Some(access_point)),
        LinkEvent::LinkUpSomewhere => (Primitive::LinkUp, None),
        LinkEvent::LinkDown => (Primitive::LinkDown, None),
        LinkEvent::LinkGoingDown => (Primitive::LinkGoingDown, None),
    }
}

impl TryFrom<Line> for Indication {
    type Error = SayError;

    fn try_from(line: Line) -> Result<Self, Self::Error> {
        Self::new(&line.primitive, line.access_point.as_deref(), line.error)
    }
}

impl From<Indication> for Line {
    fn from(indication: Indication) -> Self {
        let (primitive, access_point, error) = match indication {
            Indication::Event { event, of } => {
                let (primitive, access_point) = named(event);
                (primitive, access_point.or(of), None)
            }
            Indication::SwitchFailed {
                access_point,
                error,
            } => (Primitive::LinkSwitch, Some(access_point), Some(error)),
        };
        Self {
            primitive: primitive.name().to_owned(),
            access_point: access_point.map(|address| address.to_string()),
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::observe::{Request, RequestError};

    const AP: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 2]);

    // Rows: W16-01, W16-23
    #[test]
    fn the_names_are_those_of_rfc_5270_table_1() {
        let table = [
            ("NEW_LINK_DETECTED", "LINK_DETECTED"),
            ("LINK_HANDOVER_IMPEND", "LINK_HANDOVER_IMMINENT"),
            ("LINK_SWITCH", "HANDOVER_COMMIT"),
            ("LINK_UP", "LINK_UP"),
        ];
        for (name, mih) in table {
            let primitive: Primitive = name.parse().unwrap();
            assert_eq!((primitive.name(), primitive.mih_name()), (name, mih));
            assert_eq!(mih.parse(), Ok(primitive));
            assert_eq!(mih.to_lowercase().parse(), Ok(primitive));
        }
        // And one name is of one primitive.
        for primitive in Primitive::ALL {
            assert_eq!(primitive.name().parse(), Ok(primitive));
            assert_eq!(primitive.mih_name().parse(), Ok(primitive));
        }
    }

    // Rows: W16-01, W16-23
    #[test]
    fn the_same_is_said_in_both_vocabularies() {
        let at = Some("02:00:00:00:0a:02");
        for (primitive, access_point, event) in [
            (
                Primitive::NewLinkDetected,
                at,
                LinkEvent::NewLinkDetected { access_point: AP },
            ),
            (
                Primitive::LinkHandoverImpend,
                at,
                LinkEvent::HandoverImpend { access_point: AP },
            ),
            (
                Primitive::LinkUp,
                at,
                LinkEvent::LinkUp { access_point: AP },
            ),
            (Primitive::LinkDown, None, LinkEvent::LinkDown),
            (Primitive::LinkGoingDown, None, LinkEvent::LinkGoingDown),
        ] {
            for name in [primitive.name(), primitive.mih_name()] {
                assert_eq!(
                    Indication::new(name, access_point, None),
                    Ok(Indication::Event { event, of: None })
                );
            }
            assert_eq!(named(event), (primitive, access_point.map(|_| AP)));
        }
        for name in ["LINK_SWITCH", "HANDOVER_COMMIT"] {
            assert_eq!(
                Indication::new(name, at, Some("no answer".to_owned())),
                Ok(Indication::SwitchFailed {
                    access_point: AP,
                    error: "no answer".to_owned(),
                })
            );
        }
        // 802.21 says which link it is that goes.
        assert_eq!(
            Indication::new("LINK_DOWN", at, None),
            Ok(Indication::Event {
                event: LinkEvent::LinkDown,
                of: Some(AP),
            })
        );
    }

    #[test]
    fn what_is_none_is_refused_with_what_there_is() {
        let ap = Some("02:00:00:00:0a:02");
        for (primitive, access_point, error, expected) in [
            (
                "LINK_SIDEWAYS",
                ap,
                None,
                "primitive: \"LINK_SIDEWAYS\" is none: there are NEW_LINK_DETECTED (LINK_DETECTED), \
                 LINK_HANDOVER_IMPEND (LINK_HANDOVER_IMMINENT), LINK_SWITCH (HANDOVER_COMMIT), \
                 LINK_UP, LINK_DOWN, LINK_GOING_DOWN",
            ),
            (
                "LINK_HANDOVER_IMMINENT",
                None,
                None,
                "access_point: LINK_HANDOVER_IMPEND needs the link-layer address of an access point",
            ),
            (
                "LINK_UP",
                Some("02:00:00:00:0a"),
                None,
                "access_point: \"02:00:00:00:0a\" is no link-layer address: write it as \
                 02:00:00:00:0a:01",
            ),
            (
                "LINK_UP",
                Some("00:00:00:00:00:00"),
                None,
                "access_point: 00:00:00:00:00:00 is no unicast link-layer address: no access point \
                 has it",
            ),
            (
                "LINK_DOWN",
                Some("33:33:00:00:00:01"),
                None,
                "access_point: 33:33:00:00:00:01 is no unicast link-layer address: no access point \
                 has it",
            ),
            (
                "HANDOVER_COMMIT",
                ap,
                None,
                "primitive: LINK_SWITCH is what the mobile node says: a program that cannot do it \
                 answers with the same name, the access point, and why in `error`",
            ),
            (
                "LINK_SWITCH",
                None,
                Some("no answer"),
                "access_point: LINK_SWITCH needs the link-layer address of an access point",
            ),
            (
                "LINK_UP",
                ap,
                Some("no answer"),
                "error: LINK_UP has none: only LINK_SWITCH does",
            ),
        ] {
            let refused = Indication::new(primitive, access_point, error.map(str::to_owned));
            assert_eq!(refused.unwrap_err().to_string(), expected);
        }
        let long = "\u{e9}".repeat(5_000);
        let refused = Indication::new(&long, None, None).unwrap_err().to_string();
        assert!(refused.len() < 400, "{refused}");
    }

    /// A value that is right, or nearly, or not at all.
    fn any_value() -> impl Strategy<Value = serde_json::Value> {
        let word = prop::sample::select(
            Primitive::ALL
                .into_iter()
                .flat_map(|primitive| [primitive.name(), primitive.mih_name()])
                .chain([
                    "02:00:00:00:0a:02",
                    "ff:ff:ff:ff:ff:ff",
                    "00:00:00:00:00:00",
                    "",
                ])
                .collect::<Vec<_>>(),
        );
        prop_oneof![
            word.prop_map(Into::into),
            "\\PC{0,60}".prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            Just(serde_json::Value::Null),
            Just(serde_json::json!({"primitive": ["LINK_UP"]})),
        ]
    }

    proptest! {
        /// Every primitive is refused in words that name a field, or is the same when it is written and
        /// read again, and concerns an access point that there can be.
        #[test]
        fn any_primitive_is_taken_as_it_is_or_refused_by_field(
            primitive in prop::option::of(any_value()),
            access_point in prop::option::of(any_value()),
            error in prop::option::of(any_value()),
        ) {
            let mut object = serde_json::Map::new();
            object.insert("command".to_owned(), "primitive".into());
            let fields = [("primitive", primitive), ("access_point", access_point), ("error", error)];
            for (name, value) in fields {
                object.extend(value.map(|value| (name.to_owned(), value)));
            }
            let line = serde_json::Value::Object(object).to_string();
            match Request::parse(line.as_bytes()) {
                Ok(request) => {
                    let again = serde_json::to_string(&request).unwrap();
                    prop_assert_eq!(Request::parse(again.as_bytes()).unwrap(), request.clone());
                    let Request::Primitive(indication) = request else {
                        panic!("{line} is a primitive");
                    };
                    let access_point = match indication {
                        Indication::Event { event, of } => named(event).1.or(of),
                        Indication::SwitchFailed { access_point, .. } => Some(access_point),
                    };
                    prop_assert!(access_point.is_none_or(MacAddr::is_unicast));
                }
                Err(RequestError::Primitive(said)) => {
                    let names = |field: &str| said.starts_with(&format!("{field}: "));
                    prop_assert!(
                        said == "missing field `primitive`"
                            || ["primitive", "access_point", "error"].into_iter().any(names),
                        "{} of {}", said, line
                    );
                    prop_assert!(!said.contains('\n') && said.len() < 600, "{}", said);
                }
                Err(other) => panic!("{other} of {line}"),
            }
        }

        /// A line that somebody cut, or changed an octet of, is read or refused, and nothing else.
        #[test]
        fn a_damaged_line_is_read_or_refused(
            cut in 0..200usize,
            at in 0..200usize,
            octet in any::<u8>(),
        ) {
            let mut line = br#"{"command":"primitive","primitive":"LINK_HANDOVER_IMPEND","access_point":"02:00:00:00:0a:02"}"#.to_vec();
            if let Some(changed) = line.get_mut(at) {
                *changed = octet;
            }
            line.truncate(cut);
            if let Err(error) = Request::parse(&line) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
