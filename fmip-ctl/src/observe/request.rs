//! From a line to a [`Request`], or to words that say which field of it is wrong.
//!
//! What is a request is what serde says; only what it says of a line that is none often does not
//! name the field. So such a line is looked at a second time, field by field.

use std::net::Ipv6Addr;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Request;
use crate::wire::MacAddr;

/// Why a line is no request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It is none.
    #[error("this is no request: {0}")]
    NoRequest(String),
    /// It tells a primitive, and there is none such.
    #[error("{0}")]
    Primitive(String),
}

/// What a field is, whatever the request, and how that is written.
type Field = (&'static str, fn(&Value) -> bool, &'static str);

const FIELDS: &[Field] = &[
    ("command", Value::is_string, TEXT),
    ("trigger", Value::is_string, TEXT),
    ("interface", is::<Option<String>>, TEXT),
    ("access_point", is::<MacAddr>, LINK_ADDRESS),
    ("link_address", is::<MacAddr>, LINK_ADDRESS),
    ("node", is::<Ipv6Addr>, ADDRESS),
    ("ncoa", is::<Option<Ipv6Addr>>, ADDRESS),
    ("care_of", is::<Ipv6Addr>, ADDRESS),
    ("from", is::<Option<Ipv6Addr>>, ADDRESS),
    ("limit", is::<Option<u32>>, "a number from 0 to 4294967295"),
];
/// Those of a primitive are read by [`Indication`](crate::link::vocabulary::Indication), which names
/// them; it is given texts.
const OF_PRIMITIVE: &[Field] = &[
    ("primitive", Value::is_string, TEXT),
    ("access_point", is::<Option<String>>, LINK_ADDRESS),
    ("error", is::<Option<String>>, TEXT),
];
const TEXT: &str = "a text";
const LINK_ADDRESS: &str = "a link-layer address such as \"02:00:00:00:0a:01\"";
const ADDRESS: &str = "an IPv6 address such as \"2001:db8:1::1\"";

/// How many characters of a wrong value are repeated.
const SHOWN: usize = 60;

fn is<T: DeserializeOwned>(value: &Value) -> bool {
    serde_json::from_value::<T>(value.clone()).is_ok()
}

impl Request {
    /// Reads a line.
    ///
    /// # Errors
    /// [`RequestError`], whose words name the field that is wrong or missing.
    pub fn parse(line: &[u8]) -> Result<Self, RequestError> {
        serde_json::from_slice(line).map_err(|error| explain(line, &error))
    }
}

/// What is wrong with a line of which serde says `error`.
fn explain(line: &[u8], error: &serde_json::Error) -> RequestError {
    let object = match serde_json::from_slice(line) {
        Ok(Value::Object(object)) => object,
        Ok(other) => {
            return RequestError::NoRequest(format!(
                "{} is no object such as {{\"command\":\"status\"}}",
                shown(&other)
            ));
        }
        Err(error) => return RequestError::NoRequest(error.to_string()),
    };
    let is_primitive = object.get("command").is_some_and(|it| it == "primitive");
    let fields = if is_primitive { OF_PRIMITIVE } else { FIELDS };
    let said = wrong_field(&object, fields).unwrap_or_else(|| {
        // The same without the place in the line; or, of a field that is there twice, as it was.
        let again = serde_json::from_value::<Request>(Value::Object(object.clone()));
        named(&object, again.err().as_ref().unwrap_or(error))
    });
    match is_primitive {
        true => RequestError::Primitive(said),
        false => RequestError::NoRequest(said),
    }
}

fn wrong_field(object: &Map<String, Value>, fields: &[Field]) -> Option<String> {
    fields.iter().find_map(|(name, is_right, what)| {
        let value = object.get(*name).filter(|value| !is_right(value))?;
        Some(format!("{name}: {} is not {what}", shown(value)))
    })
}

/// What serde says of a word that is none of a list, with the field in front that it stands in.
fn named(object: &Map<String, Value>, error: &serde_json::Error) -> String {
    let error = error.to_string();
    let is_about = |field: &&&str| {
        let word = object.get(**field).and_then(Value::as_str);
        word.is_some_and(|word| error.starts_with(&format!("unknown variant `{word}`")))
    };
    let said = match ["command", "trigger"].iter().find(is_about) {
        Some(field) => format!("{field}: {error}"),
        None => error,
    };
    on_one_line(&said)
}

/// Serde shows a word as it is, and a word may have a line end in it.
fn on_one_line(text: &str) -> String {
    let shown = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(shown).collect()
}

/// A value, cut to what fits into a message.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        None => text,
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}
