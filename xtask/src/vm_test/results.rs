//! What the test programs said: read line by line from what their harness prints.

use std::{collections::BTreeMap, fmt, time::Duration};

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    Failed,
    /// It was not compiled to be run.
    Ignored,
    /// It found that it cannot run there, and why.
    Skipped(String),
    /// The same, because the kernel was built without what it is about.
    WithoutKernel(String),
    /// It had begun when the program ended, was ended, or the machine died.
    Unfinished,
}

/// How a test program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With this exit code.
    Code(i32),
    /// Because its time was up.
    TimeUp,
    /// Somebody killed it before that: the kernel, for want of memory, or the program itself.
    Killed,
    /// Not at all: the machine ended before it did.
    Cut,
}

impl End {
    /// Of two tests' ends that one of which people should know.
    pub(super) fn worse(self, other: Self) -> Self {
        let badness = |end| match end {
            Self::Code(0) => 0,
            Self::Code(_) => 1,
            Self::Killed => 2,
            Self::TimeUp => 3,
            Self::Cut => 4,
        };
        match badness(other) > badness(self) {
            true => other,
            false => self,
        }
    }

    /// What it was if the program ran for `took` and was allowed `limit`: a program that is killed by others
    /// ends as one does whose time is up.
    pub(super) fn after(self, took: Duration, limit: Duration) -> Self {
        /// This side may have heard of its beginning a little late.
        const LATE: Duration = Duration::from_secs(2);
        match self {
            Self::TimeUp if took + LATE < limit => Self::Killed,
            other => other,
        }
    }
}

/// What one test program said, as far as it has been read.
#[derive(Debug, Default)]
pub(super) struct Results {
    /// By name.
    tests: BTreeMap<String, Outcome>,
    /// The test whose outcome is still to come, and why it does not really run, if it has said so.
    current: Option<(String, Option<Outcome>)>,
    /// What tests report of their measurements, for people.
    pub(super) reports: Vec<String>,
}

/// What a line of a measurement begins with.
const REPORT: &str = "REPORT: ";

impl Results {
    /// Reads one line. The harness writes `test NAME ... ` when a test begins and its outcome when it
    /// ends; what the test itself writes past the harness stands between them, on the same line or on
    /// lines of its own.
    pub(super) fn read(&mut self, line: &str) {
        let mut rest = line;
        if let Some((name, behind)) = line
            .strip_prefix("test ")
            .and_then(|begun| begun.split_once(" ... "))
        {
            self.unfinished();
            self.current = Some((name.to_owned(), None));
            rest = behind;
        }
        if let Some((_, report)) = rest.split_once(REPORT) {
            self.reports.push(report.to_owned());
        }
        let Some((name, excuse)) = &mut self.current else {
            return;
        };
        if let Some((_, reason)) = rest.split_once("SKIPPED: ") {
            *excuse = Some(Outcome::Skipped(reason_of(reason)));
        } else if let Some((_, reason)) = rest.split_once("WITHOUT KERNEL: ") {
            *excuse = Some(Outcome::WithoutKernel(reason_of(reason)));
        }
        let outcome = match rest.trim_end() {
            "ok" => excuse.take().unwrap_or(Outcome::Passed),
            "FAILED" => Outcome::Failed,
            ignored if ignored == "ignored" || ignored.starts_with("ignored, ") => Outcome::Ignored,
            _ => return,
        };
        self.tests.insert(std::mem::take(name), outcome);
        self.current = None;
    }

    /// To be called when the program has ended.
    pub(super) fn finish(&mut self) {
        self.unfinished();
    }

    fn unfinished(&mut self) {
        if let Some((name, _)) = self.current.take() {
            self.tests.insert(name, Outcome::Unfinished);
        }
    }

    /// Each test with its outcome, by name.
    pub(super) fn tests(&self) -> impl Iterator<Item = (&str, &Outcome)> {
        self.tests
            .iter()
            .map(|(name, outcome)| (name.as_str(), outcome))
    }

    /// What became of one.
    pub(super) fn outcome(&self, test: &str) -> Option<&Outcome> {
        self.tests.get(test)
    }

    /// The numbers.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for (_, outcome) in self.tests() {
            *match outcome {
                Outcome::Passed => &mut tally.passed,
                Outcome::Failed | Outcome::Unfinished => &mut tally.failed,
                Outcome::Ignored => &mut tally.ignored,
                Outcome::Skipped(_) => &mut tally.skipped,
                Outcome::WithoutKernel(_) => &mut tally.without_kernel,
            } += 1;
        }
        tally
    }
}

/// Without the name of the test, which stands before it anyway.
fn reason_of(text: &str) -> String {
    let text = text.trim();
    let reason = text.split_once(": ").map_or(text, |(_, reason)| reason);
    reason.to_owned()
}

/// How many tests ended how.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: u32,
    pub(super) failed: u32,
    pub(super) ignored: u32,
    pub(super) skipped: u32,
    pub(super) without_kernel: u32,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.skipped += other.skipped;
        self.without_kernel += other.without_kernel;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        for (count, what) in [
            (self.ignored, "ignored"),
            (self.skipped, "skipped"),
            (
                self.without_kernel,
                "not run for want of something in that kernel",
            ),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Results {
        let mut results = Results::default();
        for line in text.lines() {
            results.read(line);
        }
        results.finish();
        results
    }

    #[test]
    fn outcomes_are_read_on_the_line_and_behind_what_a_test_says_itself() {
        let results = read(
            "running 7 tests\n\
             test a ... ok\n\
             test b::c ... FAILED\n\
             test d ... SKIPPED: d: network namespaces need root\n\
             ok\n\
             test e ... a line of its own\n\
             WITHOUT KERNEL: e: it makes no VLAN devices: File exists\n\
             ok\n\
             test f ... ignored, takes a night\n\
             test g ... ignored\n\
             test h ... REPORT: predictive: 0 lost\n\
             ok\n\
             \n\
             failures:\n\
             \n\
             ---- b::c stdout ----\n\
             test result: FAILED. 2 passed; 1 failed; 1 ignored\n",
        );
        let outcomes: Vec<_> = results.tests().collect();
        let skipped = Outcome::Skipped("network namespaces need root".to_owned());
        let without = Outcome::WithoutKernel("it makes no VLAN devices: File exists".to_owned());
        assert_eq!(
            outcomes,
            [
                ("a", &Outcome::Passed),
                ("b::c", &Outcome::Failed),
                ("d", &skipped),
                ("e", &without),
                ("f", &Outcome::Ignored),
                ("g", &Outcome::Ignored),
                ("h", &Outcome::Passed),
            ]
        );
        assert_eq!(results.reports, ["predictive: 0 lost"]);
        assert_eq!(
            results.tally().to_string(),
            "2 passed, 1 failed, 2 ignored, 1 skipped, 1 not run for want of something in that kernel"
        );
    }

    #[test]
    fn a_test_without_an_outcome_has_failed() {
        let results = read("test a ... ok\ntest b ... the kernel dies\n");
        assert_eq!(results.tests().last(), Some(("b", &Outcome::Unfinished)),);
        assert_eq!(results.tally().failed, 1);
        let results = read("test a ... \ntest b ... ok\n");
        assert_eq!(results.tests().next(), Some(("a", &Outcome::Unfinished)));
    }

    #[test]
    fn the_worst_end_is_the_one_that_is_told() {
        let ends = [
            End::Code(0),
            End::Code(101),
            End::Killed,
            End::TimeUp,
            End::Cut,
        ];
        for (place, end) in ends.into_iter().enumerate() {
            for (other_place, other) in ends.into_iter().enumerate() {
                assert_eq!(end.worse(other), ends[place.max(other_place)]);
            }
        }
    }

    #[test]
    fn who_is_killed_before_the_time_is_up_was_killed_by_somebody_else() {
        let seconds = Duration::from_secs;
        assert_eq!(End::TimeUp.after(seconds(5), seconds(900)), End::Killed);
        assert_eq!(End::TimeUp.after(seconds(899), seconds(900)), End::TimeUp);
        assert_eq!(End::TimeUp.after(seconds(910), seconds(900)), End::TimeUp);
        assert_eq!(End::Code(1).after(seconds(5), seconds(900)), End::Code(1));
    }

    #[test]
    fn a_failed_test_is_no_skipped_one() {
        let results = read("test a ... SKIPPED: a: no root\nFAILED\n");
        assert_eq!(results.tests().next(), Some(("a", &Outcome::Failed)));
    }
}
