//! The order of steps, against the texts that say it: RFC 4260 section 7 names its scenarios by it, RFC
//! 5270 section 6 numbers its steps.

use std::{fmt, time::Duration};

use anyhow::{Result, bail};

use crate::ladder::{Ladder, Place, Row};

/// How far the clocks may be apart: far longer than reading them takes, far shorter than any step. They run
/// alike, so that more than that is a clock that was set.
const EXACT_ENOUGH: Duration = Duration::from_millis(1);

/// What a row must be.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Is {
    what: &'static str,
    from: Option<Place>,
    to: Option<Place>,
    about: Option<Place>,
    arrives: Option<bool>,
    again: bool,
}

impl Is {
    /// A row whose words are `what`, or begin with them and go on with another word.
    pub const fn what(what: &'static str) -> Self {
        Self {
            what,
            from: None,
            to: None,
            about: None,
            arrives: None,
            again: false,
        }
    }

    /// Of that sender, or at that place.
    pub const fn from(mut self, place: Place) -> Self {
        self.from = Some(place);
        self
    }

    /// To that place.
    pub const fn to(mut self, place: Place) -> Self {
        self.to = Some(place);
        self
    }

    /// It names that place.
    pub const fn about(mut self, place: Place) -> Self {
        self.about = Some(place);
        self
    }

    /// It arrives.
    pub const fn arrives(mut self) -> Self {
        self.arrives = Some(true);
        self
    }

    /// It does not arrive.
    pub const fn is_lost(mut self) -> Self {
        self.arrives = Some(false);
        self
    }

    /// Not the first such row is meant, but the next: the step may have been taken before, too.
    pub const fn again(mut self) -> Self {
        self.again = true;
        self
    }

    /// Whether a row is such a one.
    pub fn matches(&self, row: &Row) -> bool {
        let rest = row.what.strip_prefix(self.what);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', ':']))
            && self.from.is_none_or(|from| row.from == from)
            && self.to.is_none_or(|to| row.to == Some(to))
            && self.about.is_none_or(|about| row.about == Some(about))
            && self.arrives.is_none_or(|arrives| row.lost != arrives)
    }
}

impl fmt::Display for Is {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.what)?;
        if let Some(from) = self.from {
            write!(formatter, " from {from:?}")?;
        }
        if let Some(to) = self.to {
            write!(formatter, " to {to:?}")?;
        }
        if let Some(about) = self.about {
            write!(formatter, " that names {about:?}")?;
        }
        match self.arrives {
            Some(true) => formatter.write_str(" that arrives"),
            Some(false) => formatter.write_str(" that does not arrive"),
            None => Ok(()),
        }
    }
}

/// The steps were not taken as the text says; it tells how they were.
#[derive(Clone, Debug)]
pub struct OutOfOrder(String);

impl OutOfOrder {
    fn new(problem: &str, ladder: &Ladder) -> Self {
        Self(format!("{problem}\n{ladder}"))
    }
}

impl fmt::Display for OutOfOrder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for OutOfOrder {}

/// A step as the text calls it, and what shows it; several rows may show one step, one after the other.
#[derive(Copy, Clone, Debug)]
pub struct Step<'a> {
    /// Its name in the text, such as `a` or `8.`.
    pub name: &'a str,
    /// What it looks like.
    pub shown_by: &'a [Is],
}

/// Checks that the steps were taken in this order: each the first time only after the one before it.
///
/// Two rows that are known from two clocks, and are nearer to each other than those are exact, count as in
/// either order.
///
/// # Errors
/// Names the step that is not where it belongs, says where it is, and shows the ladder; or says that the
/// clocks were set meanwhile, so that nothing is known.
pub fn check(ladder: &Ladder, steps: &[Step<'_>]) -> Result<()> {
    check_clocks(ladder)?;
    let names: Vec<&str> = steps.iter().map(|step| step.name).collect();
    let mut before: Option<(&str, usize)> = None;
    let mut used = Vec::new();
    for step in steps {
        for is in step.shown_by {
            let place = find(ladder, is, before.map(|(_, index)| index), &used);
            let problem = match (place, before) {
                (None, _) => "never happened".to_owned(),
                (Some(index), Some((earlier, after))) if !is_after(ladder, index, after) => {
                    format!(
                        "was at {}, before step {earlier} at {}",
                        time(ladder, index),
                        time(ladder, after)
                    )
                }
                (Some(index), _) => {
                    used.push(index);
                    // Of two in either order the later one counts for what follows.
                    let latest = before.map_or(index, |(_, after)| index.max(after));
                    before = Some((step.name, latest));
                    continue;
                }
            };
            let problem = format!(
                "step {} of {} is not where it belongs: {is} {problem}",
                step.name,
                names.join(" ")
            );
            bail!(OutOfOrder::new(&problem, ladder));
        }
    }
    Ok(())
}

/// Checks that the steps were taken in the order of `sequence`, which names each by one letter of
/// `legend`, as RFC 4260 does: `1abcdef23456g`.
///
/// # Errors
/// As [`check`].
///
/// # Panics
/// If the sequence has a letter that the legend has not.
pub fn check_sequence(ladder: &Ladder, sequence: &str, legend: &[Step<'_>]) -> Result<()> {
    let letters = sequence.split("").filter(|letter| !letter.is_empty());
    let steps: Vec<Step<'_>> = letters
        .map(|letter| {
            let mut steps = legend.iter();
            let step = steps.find(|step| step.name == letter);
            *step.unwrap_or_else(|| panic!("the legend has no {letter}"))
        })
        .collect();
    check(ladder, &steps)
}

/// The row that shows a step: the first one at all or, if it may have been before, the next.
fn find(ladder: &Ladder, is: &Is, before: Option<usize>, used: &[usize]) -> Option<usize> {
    let mut rows = ladder.rows.iter().enumerate();
    rows.find(|(index, row)| {
        let is_late_enough =
            !is.again || before.is_none_or(|before| is_after(ladder, *index, before));
        is.matches(row) && !used.contains(index) && is_late_enough
    })
    .map(|(index, _)| index)
}

fn is_after(ladder: &Ladder, index: usize, before: usize) -> bool {
    let (row, earlier) = (&ladder.rows[index], &ladder.rows[before]);
    let tolerance = if row.clock == earlier.clock {
        Duration::ZERO
    } else {
        ladder.tolerance
    };
    index > before || row.at + tolerance >= earlier.at
}

fn check_clocks(ladder: &Ladder) -> Result<()> {
    if ladder.tolerance <= EXACT_ENOUGH {
        return Ok(());
    }
    let problem = format!(
        "the clocks were set meanwhile, by up to {:?}: nothing is known of the order",
        ladder.tolerance
    );
    bail!(OutOfOrder::new(&problem, ladder))
}

fn time(ladder: &Ladder, index: usize) -> String {
    format!("{:.3} ms", ladder.rows[index].at.as_secs_f64() * 1e3)
}

/// Checks that no row is such a one.
///
/// # Errors
/// Says which one is, and shows the ladder.
pub fn never(ladder: &Ladder, is: Is) -> Result<()> {
    match ladder.rows.iter().position(|row| is.matches(row)) {
        None => Ok(()),
        Some(index) => {
            let at = time(ladder, index);
            let problem = format!("{is} happened at {at}, and should not have");
            bail!(OutOfOrder::new(&problem, ladder))
        }
    }
}

/// Checks that no row is `is` before the first that is `before`, which must be there.
///
/// # Errors
/// Says which one is too early, or that `before` never happened, and shows the ladder; or as [`check`] that
/// nothing is known.
pub fn not_before(ladder: &Ladder, is: Is, before: Is) -> Result<()> {
    check_clocks(ladder)?;
    let Some(limit) = ladder.rows.iter().position(|row| before.matches(row)) else {
        let problem = format!("{before} never happened");
        bail!(OutOfOrder::new(&problem, ladder));
    };
    match ladder.rows[..limit].iter().position(|row| is.matches(row)) {
        None => Ok(()),
        Some(index) => {
            let (at, limit) = (time(ladder, index), time(ladder, limit));
            let problem = format!("{is} happened at {at}, before {before} at {limit}");
            bail!(OutOfOrder::new(&problem, ladder))
        }
    }
}

/// Checks that no row is `is` behind the first that is `after`, which must be there.
///
/// # Errors
/// Says which one is too late, or that `after` never happened, and shows the ladder; or as [`check`] that
/// nothing is known.
pub fn never_after(ladder: &Ladder, is: Is, after: Is) -> Result<()> {
    check_clocks(ladder)?;
    let Some(from) = ladder.rows.iter().position(|row| after.matches(row)) else {
        let problem = format!("{after} never happened");
        bail!(OutOfOrder::new(&problem, ladder));
    };
    let rest = &ladder.rows[from + 1..];
    match rest.iter().position(|row| is.matches(row)) {
        None => Ok(()),
        Some(index) => {
            let (at, from) = (time(ladder, from + 1 + index), time(ladder, from));
            let problem = format!("{is} happened at {at}, after {after} at {from}");
            bail!(OutOfOrder::new(&problem, ladder))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::{Clock, Layer, Names};

    /// Its rows are one millisecond apart, but those that begin with `~`: these are nearer than that to
    /// the one before than the clocks are exact, and known from the other clock.
    fn ladder(rows: &[&str]) -> Ladder {
        let mut at = Duration::ZERO;
        let rows = rows.iter().map(|what| {
            let near = what.strip_prefix('~');
            at += Duration::from_micros(if near.is_some() { 1 } else { 1000 });
            let what = near.unwrap_or(what);
            Row {
                clock: near.map_or(Clock::Monotonic, |_| Clock::Realtime),
                ..Row::arrow(at, Place::MnL3, Place::Par, Layer::Network, what)
            }
        });
        Ladder {
            title: "test".to_owned(),
            names: Names::access_points(),
            rows: rows.collect(),
            tolerance: Duration::from_micros(2),
        }
    }

    const LEGEND: &[Step<'static>] = &[
        Step {
            name: "a",
            shown_by: &[Is::what("RtSolPr")],
        },
        Step {
            name: "b",
            shown_by: &[Is::what("PrRtAdv")],
        },
        Step {
            name: "c",
            shown_by: &[Is::what("FBU")],
        },
    ];

    fn error(result: Result<()>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn steps_in_their_order_are_found_whatever_is_between_them() {
        let ladder = ladder(&["x", "RtSolPr", "y", "PrRtAdv 0", "FBU", "FBU"]);
        check_sequence(&ladder, "abc", LEGEND).unwrap();
        check_sequence(&ladder, "ac", LEGEND).unwrap();
    }

    #[test]
    fn a_step_out_of_its_order_is_named_with_where_it_was() {
        let ladder = ladder(&["RtSolPr", "FBU", "PrRtAdv 0", "FBU"]);
        let error = error(check_sequence(&ladder, "abc", LEGEND));
        assert!(
            error.starts_with(
                "step c of a b c is not where it belongs: FBU was at 2.000 ms, before step b at 3.000 ms"
            ),
            "{error}"
        );
        assert!(error.contains("PrRtAdv 0"), "the ladder is shown: {error}");
    }

    #[test]
    fn a_step_that_may_be_taken_again_is_looked_for_behind_the_one_before() {
        let ladder = ladder(&["RtSolPr", "FBU", "PrRtAdv 0", "FBU"]);
        let fbu = [Is::what("FBU").again()];
        let again = [
            LEGEND[0],
            LEGEND[1],
            Step {
                name: "c",
                shown_by: &fbu,
            },
        ];
        check(&ladder, &again).unwrap();
    }

    #[test]
    fn a_step_that_is_not_there_is_named() {
        let error = error(check_sequence(&ladder(&["RtSolPr"]), "ab", LEGEND));
        assert!(error.contains("PrRtAdv never happened"), "{error}");
    }

    #[test]
    fn two_rows_that_the_clocks_cannot_tell_apart_are_in_either_order() {
        check_sequence(&ladder(&["RtSolPr", "FBU", "~PrRtAdv 0"]), "abc", LEGEND).unwrap();
        check_sequence(&ladder(&["RtSolPr", "FBU", "PrRtAdv 0"]), "abc", LEGEND).unwrap_err();
    }

    #[test]
    fn two_rows_of_one_clock_are_in_its_order() {
        for clock in [Clock::Monotonic, Clock::Realtime] {
            let mut ladder = ladder(&["RtSolPr", "FBU", "~PrRtAdv 0"]);
            for row in &mut ladder.rows {
                row.clock = clock;
            }
            check_sequence(&ladder, "abc", LEGEND).unwrap_err();
        }
    }

    #[test]
    fn nothing_is_known_of_the_order_if_the_clocks_were_set_meanwhile() {
        let mut ladder = ladder(&["RtSolPr", "PrRtAdv 0", "FBU"]);
        check_sequence(&ladder, "abc", LEGEND).unwrap();
        ladder.tolerance = Duration::from_secs(1);
        let [first, last] = [Is::what("RtSolPr"), Is::what("FBU")];
        for result in [
            check_sequence(&ladder, "abc", LEGEND),
            not_before(&ladder, last, first),
            never_after(&ladder, first, last),
        ] {
            let error = error(result);
            assert!(error.contains("clocks were set meanwhile"), "{error}");
        }
    }

    #[test]
    fn one_row_is_not_two_steps() {
        let twice = [LEGEND[2], LEGEND[2]];
        check(&ladder(&["FBU"]), &twice).unwrap_err();
        check(&ladder(&["FBU", "FBU"]), &twice).unwrap();
    }

    #[test]
    fn a_row_is_told_by_its_words_its_ends_and_its_fate() {
        let row = &ladder(&["UNA 2001:db8::1"]).rows[0];
        assert!(Is::what("UNA").matches(row));
        assert!(!Is::what("UN").matches(row));
        assert!(
            Is::what("UNA")
                .from(Place::MnL3)
                .to(Place::Par)
                .matches(row)
        );
        assert!(!Is::what("UNA").to(Place::Nar).matches(row));
        assert!(Is::what("UNA").arrives().matches(row));
        assert!(!Is::what("UNA").is_lost().matches(row));
        let about = Is::what("UNA").about(Place::NewAp);
        assert!(!about.matches(row));
        let named = Row {
            about: Some(Place::NewAp),
            ..row.clone()
        };
        assert!(about.matches(&named));
        assert!(!Is::what("UNA").about(Place::OldAp).matches(&named));
    }

    #[test]
    fn what_must_never_be_is_found() {
        let ladder = ladder(&["RtSolPr", "FBU"]);
        never(&ladder, Is::what("HI")).unwrap();
        let error = error(never(&ladder, Is::what("FBU")));
        assert!(error.contains("FBU happened at 2.000 ms"), "{error}");
    }

    #[test]
    fn what_must_not_be_before_is_found() {
        let ladder = ladder(&["RtSolPr", "FBU", "PrRtAdv 0"]);
        not_before(&ladder, Is::what("FBU"), Is::what("RtSolPr")).unwrap();
        not_before(&ladder, Is::what("FBU"), Is::what("PrRtAdv")).unwrap_err();
        not_before(&ladder, Is::what("FBU"), Is::what("HI")).unwrap_err();
    }

    #[test]
    fn what_must_not_be_after_is_found() {
        let ladder = ladder(&["RtSolPr", "FBU", "PrRtAdv 0"]);
        never_after(&ladder, Is::what("RtSolPr"), Is::what("FBU")).unwrap();
        never_after(&ladder, Is::what("PrRtAdv"), Is::what("FBU")).unwrap_err();
        never_after(&ladder, Is::what("RtSolPr"), Is::what("HI")).unwrap_err();
    }
}
