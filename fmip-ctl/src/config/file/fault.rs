//! What is wrong with a file, and the way back from there to line and key.

use std::{collections::BTreeMap, fmt, ops::Range, path::Path};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::config::ConfigError;

/// Keys whose values are shown nowhere.
const SECRETS: [&str; 2] = ["key", "pmk"];

/// What is wrong, and where in the text.
#[derive(Debug)]
pub(super) struct Fault {
    span: Range<usize>,
    message: String,
}

impl Fault {
    pub(super) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
        }
    }

    pub(super) fn from_toml(error: toml::de::Error) -> Self {
        // Its Display shows the line with the error, and that line may hold a key.
        Self::new(error.span().unwrap_or(0..0), error.message())
    }

    /// Adds file, line and key.
    pub(super) fn locate(
        self,
        file: &Path,
        text: &str,
        table: Option<&DeTable<'_>>,
    ) -> ConfigError {
        let key = table.map_or_else(String::new, |table| key_at(table, &self.span));
        let name = key.rsplit('.').next().unwrap_or_default();
        let message = if SECRETS.contains(&name) {
            // serde repeats the value it did not expect.
            if self.message.starts_with("invalid type") {
                "must be a string of hexadecimal digits in quotation marks".to_owned()
            } else {
                self.message
            }
        } else {
            self.message
        };
        ConfigError::Invalid {
            file: file.to_owned(),
            line: 1 + text
                .bytes()
                .take(self.span.start)
                .filter(|byte| *byte == b'\n')
                .count(),
            key,
            message,
        }
    }
}

/// The dotted path of the innermost key or value that `span` lies in. Elements of arrays are not
/// numbered: the line tells them apart.
fn key_at(table: &DeTable<'_>, span: &Range<usize>) -> String {
    fn visit(
        value: &DeValue<'_>,
        path: &str,
        span: &Range<usize>,
        best: &mut Option<(usize, String)>,
    ) {
        match value {
            DeValue::Table(table) => {
                for (key, value) in table {
                    let path = if path.is_empty() {
                        key.get_ref().to_string()
                    } else {
                        format!("{path}.{}", key.get_ref())
                    };
                    offer(key.span(), &path, span, best);
                    offer(value.span(), &path, span, best);
                    visit(value.get_ref(), &path, span, best);
                }
            }
            DeValue::Array(array) => {
                for value in array.iter() {
                    offer(value.span(), path, span, best);
                    visit(value.get_ref(), path, span, best);
                }
            }
            _ => {}
        }
    }
    fn offer(
        candidate: Range<usize>,
        path: &str,
        span: &Range<usize>,
        best: &mut Option<(usize, String)>,
    ) {
        if candidate.start <= span.start
            && span.end <= candidate.end
            && best
                .as_ref()
                .is_none_or(|(length, _)| candidate.len() <= *length)
        {
            *best = Some((candidate.len(), path.to_owned()));
        }
    }
    let mut best = None;
    visit(&DeValue::Table(table.clone()), "", span, &mut best);
    best.map(|(_, path)| path).unwrap_or_default()
}

/// A value that must not occur twice, and where it first stood.
#[derive(Default)]
pub(super) struct Unique(BTreeMap<String, usize>);

impl Unique {
    pub(super) fn insert(
        &mut self,
        text: &str,
        span: Range<usize>,
        value: impl fmt::Display,
        what: &str,
    ) -> Result<(), Fault> {
        let line = 1 + text[..span.start].matches('\n').count();
        match self.0.insert(value.to_string(), line) {
            None => Ok(()),
            Some(first) => Err(Fault::new(
                span,
                format!("{value} is {what} on line {first} already: remove one of the two"),
            )),
        }
    }
}

/// `"value" what is wrong with it`.
pub(super) fn bad(value: &Spanned<String>, why: &str) -> Fault {
    Fault::new(value.span(), format!("{:?} {why}", value.get_ref()))
}
