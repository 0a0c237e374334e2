//! `cargo xtask conformance`: which test proves which row of `tests/conformance.md`, and which rows
//! have neither a test nor a written reason.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    fs,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::{Arg, ArgAction, ArgMatches};

use crate::step;

mod annotations;
mod matrix;

use annotations::Annotation;
use matrix::{Level, Matrix, Row, Section};

/// The matrix, from the root of the workspace.
const MATRIX: &str = "tests/conformance.md";

/// Something in a file that has to be put right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    file: String,
    line: usize,
    text: String,
}

impl Problem {
    fn new(file: &str, line: usize, text: String) -> Self {
        Self {
            file: file.to_owned(),
            line,
            text,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, text } = self;
        write!(f, "{file}:{line}: {text}")
    }
}

pub(crate) fn command_line() -> clap::Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    clap::Command::new("conformance")
        .about("Lists the tests of every requirement; fails if one has neither test nor reason")
        .arg(flag(
            "uncovered",
            "Print only the rows that lack a test and a reason",
        ))
        .arg(flag(
            "json",
            "Print one JSON object, alone on standard output",
        ))
}

pub(crate) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let root = step::workspace_root();
    let mut problems = Vec::new();
    let path = root.join(MATRIX);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let matrix = matrix::parse(MATRIX, &text, &mut problems);
    let mut annotations = Vec::new();
    for file in rust_files(root)? {
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file
            .strip_prefix(root)
            .unwrap_or(&file)
            .display()
            .to_string();
        annotations.extend(annotations::scan(&name, &text, &mut problems));
    }
    let report = Report::new(matrix, annotations, problems);
    for problem in &report.problems {
        eprintln!("error: {problem}");
    }
    let text = if matches.get_flag("json") {
        report.json() + "\n"
    } else {
        report.text(matches.get_flag("uncovered"))
    };
    // A reader that has seen enough closes the pipe; the verdict stays the same.
    if let Err(error) = io::stdout().write_all(text.as_bytes())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        return Err(error).context("cannot print the matrix");
    }
    eprintln!("{}", report.summary());
    Ok(if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Every `.rs` file below `root` but those that a build has made, in the order of their names.
fn rust_files(root: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder)
            .with_context(|| format!("cannot read the folder {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
            let (path, name) = (entry.path(), entry.file_name());
            let kind = entry
                .file_type()
                .with_context(|| format!("cannot look at {}", path.display()))?;
            let hidden = name.as_encoded_bytes().starts_with(b".");
            if kind.is_dir() && !hidden && name != "target" {
                folders.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|kind| kind == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// What a row has to show for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Covered,
    Reasoned,
    /// It must have one of both and has none.
    Missing,
    /// Nothing is demanded of it, and nothing is there.
    Open,
}

impl Standing {
    fn word(self) -> &'static str {
        match self {
            Self::Covered => "covered",
            Self::Reasoned => "reasoned",
            Self::Missing => "missing",
            Self::Open => "open",
        }
    }
}

/// The matrix with the tests of each row.
struct Report {
    matrix: Matrix,
    /// Row id to `file::test`, sorted.
    tests: BTreeMap<String, Vec<String>>,
    problems: Vec<Problem>,
}

impl Report {
    fn new(matrix: Matrix, annotations: Vec<Annotation>, mut problems: Vec<Problem>) -> Self {
        let known = |id: &str| matrix.rows().any(|row| row.id == id);
        let mut tests: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for Annotation {
            row,
            file,
            line,
            test,
        } in annotations
        {
            if known(&row) {
                tests
                    .entry(row)
                    .or_default()
                    .push(format!("{file}::{test}"));
            } else {
                let text = format!("`fn {test}` names {row}, which is no row of {MATRIX}");
                problems.push(Problem::new(&file, line, text));
            }
        }
        for names in tests.values_mut() {
            names.sort();
            names.dedup();
        }
        for (id, (line, _)) in &matrix.reasons {
            let text = if !known(id) {
                format!("a reason is given for {id}, which is no row")
            } else if let Some(tests) = tests.get(id) {
                format!("the reason for {id} is out of date: {} proves it", tests[0])
            } else {
                continue;
            };
            problems.push(Problem::new(MATRIX, *line, text));
        }
        problems.sort();
        Self {
            matrix,
            tests,
            problems,
        }
    }

    fn tests_of(&self, row: &Row) -> &[String] {
        self.tests.get(&row.id).map_or(&[], Vec::as_slice)
    }

    fn reason_of(&self, row: &Row) -> Option<&str> {
        self.matrix
            .reasons
            .get(&row.id)
            .map(|(_, reason)| reason.as_str())
    }

    fn standing(&self, section: &Section, row: &Row) -> Standing {
        if !self.tests_of(row).is_empty() {
            Standing::Covered
        } else if self.reason_of(row).is_some() {
            Standing::Reasoned
        } else if section.demands(row) {
            Standing::Missing
        } else {
            Standing::Open
        }
    }

    fn rows(&self) -> impl Iterator<Item = (&Section, &Row)> {
        let sections = self.matrix.sections.iter();
        sections.flat_map(|section| section.rows.iter().map(move |row| (section, row)))
    }

    fn is_good(&self) -> bool {
        self.problems.is_empty()
            && self
                .rows()
                .all(|(section, row)| self.standing(section, row) != Standing::Missing)
    }

    /// For people, with a line end; with `uncovered` only what is missing, and nothing if nothing
    /// is.
    fn text(&self, uncovered: bool) -> String {
        let mut text = String::new();
        for section in &self.matrix.sections {
            let mut lines = String::new();
            for row in &section.rows {
                let standing = self.standing(section, row);
                if uncovered && standing != Standing::Missing {
                    continue;
                }
                let levels: Vec<_> = row
                    .levels
                    .iter()
                    .map(|level| format!("[{}]", level.letter()))
                    .collect();
                let Row {
                    id,
                    role,
                    requirement,
                    ..
                } = row;
                writeln!(lines, "  {id} {} {role}: {requirement}", levels.join("/"))
                    .expect("a string takes all");
                let below = match standing {
                    Standing::Covered => self.tests_of(row).to_vec(),
                    Standing::Reasoned => {
                        vec![format!(
                            "no test: {}",
                            self.reason_of(row).unwrap_or_default()
                        )]
                    }
                    Standing::Missing => vec!["MISSING: no test, no reason".to_owned()],
                    Standing::Open => Vec::new(),
                };
                for line in below {
                    writeln!(lines, "      {line}").expect("a string takes all");
                }
            }
            if !lines.is_empty() {
                writeln!(text, "{}. {}\n{lines}", section.letter, section.title)
                    .expect("a string takes all");
            }
        }
        text
    }

    /// One line: how the demanded rows stand by level, and how many of the others have tests.
    fn summary(&self) -> String {
        let count = |level: Option<Level>, standing: &[Standing]| {
            self.rows()
                .filter(|(section, row)| match level {
                    Some(level) => section.demands(row) && row.level() == level,
                    None => !section.demands(row),
                })
                .filter(|(section, row)| standing.contains(&self.standing(section, row)))
                .count()
        };
        let mut parts = Vec::new();
        for level in [Level::Must, Level::Duty, Level::Should, Level::Scenario] {
            parts.push(format!(
                "[{}] {} covered, {} reasoned, {} missing",
                level.letter(),
                count(Some(level), &[Standing::Covered]),
                count(Some(level), &[Standing::Reasoned]),
                count(Some(level), &[Standing::Missing]),
            ));
        }
        let others = count(None, &[Standing::Covered]);
        let all = others + count(None, &[Standing::Reasoned, Standing::Open]);
        parts.push(format!("{others} of {all} others covered"));
        let verdict = if self.is_good() { "ok" } else { "FAILED" };
        let mut summary = format!("xtask conformance: {verdict}: {}", parts.join("; "));
        if !self.problems.is_empty() {
            write!(summary, "; {} errors", self.problems.len()).expect("a string takes all");
        }
        summary
    }

    fn json(&self) -> String {
        let list = |items: Vec<String>| format!("[{}]", items.join(","));
        let rows = self.rows().map(|(section, row)| {
            let levels = row
                .levels
                .iter()
                .map(|level| quoted(&level.letter().to_string()));
            let tests = self.tests_of(row).iter().map(|test| quoted(test));
            let fields = [
                ("id", quoted(&row.id)),
                ("section", quoted(&section.letter.to_string())),
                ("source", quoted(&row.source)),
                ("role", quoted(&row.role)),
                ("levels", list(levels.collect())),
                ("requirement", quoted(&row.requirement)),
                ("demanded", section.demands(row).to_string()),
                ("standing", quoted(self.standing(section, row).word())),
                ("tests", list(tests.collect())),
                (
                    "reason",
                    self.reason_of(row).map_or_else(|| "null".into(), quoted),
                ),
            ];
            let fields = fields.map(|(name, value)| format!("{}:{value}", quoted(name)));
            format!("{{{}}}", fields.join(","))
        });
        let errors = self
            .problems
            .iter()
            .map(|problem| quoted(&problem.to_string()));
        format!(
            "{{\"ok\":{},\"rows\":{},\"errors\":{}}}",
            self.is_good(),
            list(rows.collect()),
            list(errors.collect()),
        )
    }
}

/// `text` as a string of JSON.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => write!(out, "\\u{:04x}", u32::from(c)).expect("a string takes all"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: &[&str] = &[
        "## A. General",
        "GEN-01 | 1 | AR | [M] Must.",
        "GEN-02 | 1 | AR | [m] \"Duty\".",
        "GEN-03 | 1 | AR | [O]/[S] Should.",
        "GEN-04 | 1 | AR | [O] May.",
        "## M. Scenarios",
        "W11-01 | 1 | AR | [T] Walk.",
        "## Not covered by a test, and why",
    ];

    /// The report on [`SOME`] rows, the reasons `reasons` and a test for each of `covered`.
    fn report(reasons: &[&str], covered: &[&str]) -> Report {
        let mut problems = Vec::new();
        let lines = [SOME, reasons].concat();
        let matrix = matrix::parse(MATRIX, &lines.join("\n"), &mut problems);
        let annotations = covered
            .iter()
            .map(|row| Annotation {
                row: (*row).to_owned(),
                file: "a.rs".into(),
                line: 7,
                test: "t".into(),
            })
            .collect();
        Report::new(matrix, annotations, problems)
    }

    fn problems(report: &Report) -> Vec<String> {
        report.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_demanded_row_needs_a_test_or_a_reason() {
        assert!(report(&["GEN-02 | r"], &["GEN-01", "GEN-03", "W11-01"]).is_good());
        for (reasons, covered) in [
            (&["GEN-02 | r"][..], &["GEN-01", "W11-01"][..]),
            (&["GEN-02 | r"], &["GEN-03", "W11-01"]),
            (&[], &["GEN-01", "GEN-03", "W11-01"]),
            (&["GEN-02 | r"], &["GEN-01", "GEN-03"]),
        ] {
            let report = report(reasons, covered);
            assert!(report.problems.is_empty());
            assert!(!report.is_good(), "{reasons:?} {covered:?}");
            assert!(report.summary().contains("FAILED"));
        }
    }

    #[test]
    fn what_is_missing_is_all_that_uncovered_prints() {
        let report = report(&["GEN-02 | r"], &["GEN-01"]);
        assert_eq!(
            report.text(true),
            "A. General\n  GEN-03 [S]/[O] AR: Should.\n      MISSING: no test, no reason\n\n\
             M. Scenarios\n  W11-01 [T] AR: Walk.\n      MISSING: no test, no reason\n\n"
        );
        let all = report.text(false);
        for line in [
            "      a.rs::t\n",
            "      no test: r\n",
            "GEN-04",
            "M. Scenarios\n  W11-01",
        ] {
            assert!(all.contains(line), "{all}");
        }
        assert_eq!(
            self::report(&["GEN-02 | r"], &["GEN-01", "GEN-03", "W11-01"]).text(true),
            ""
        );
    }

    #[test]
    fn a_reason_beside_a_test_is_out_of_date() {
        let report = report(&["GEN-02 | r", "GEN-03 | r"], &["GEN-01", "GEN-02"]);
        assert_eq!(
            problems(&report),
            ["tests/conformance.md:9: the reason for GEN-02 is out of date: a.rs::t proves it"]
        );
        assert!(!report.is_good());
    }

    #[test]
    fn unknown_rows_are_named_where_they_are_named() {
        let report = report(
            &["GEN-02 | r", "GEN-99 | r"],
            &["GEN-01", "GEN-03", "GEN-98"],
        );
        assert_eq!(
            problems(&report),
            [
                "a.rs:7: `fn t` names GEN-98, which is no row of tests/conformance.md",
                "tests/conformance.md:10: a reason is given for GEN-99, which is no row",
            ]
        );
        assert!(!report.is_good());
    }

    #[test]
    fn the_summary_counts_by_level() {
        assert_eq!(
            report(&["GEN-02 | r"], &["GEN-01", "W11-01"]).summary(),
            "xtask conformance: FAILED: [M] 1 covered, 0 reasoned, 0 missing; \
             [m] 0 covered, 1 reasoned, 0 missing; [S] 0 covered, 0 reasoned, 1 missing; \
             [T] 1 covered, 0 reasoned, 0 missing; 0 of 1 others covered"
        );
    }

    #[test]
    fn json_says_the_same() {
        let json = report(&["GEN-03 | r"], &["GEN-01"]).json();
        for part in [
            r#"{"ok":false,"rows":[{"id":"GEN-01","section":"A","source":"1","role":"AR","#,
            r#""levels":["M"],"requirement":"Must.","demanded":true,"standing":"covered","#,
            r#""tests":["a.rs::t"],"reason":null}"#,
            r#""requirement":"\"Duty\".","demanded":true,"standing":"missing","tests":[]"#,
            r#""levels":["S","O"]"#,
            r#""reason":"r""#,
            r#""errors":[]}"#,
        ] {
            assert!(json.contains(part), "{part} is not in {json}");
        }
        assert_eq!(quoted("a\"b\\c\n"), r#""a\"b\\c\u000a""#);
    }

    /// What is wrong with the files as they are is shown by the command; here, that there is
    /// something to read.
    #[test]
    fn the_matrix_and_the_files_of_this_workspace_are_found() {
        let root = step::workspace_root();
        let mut problems = Vec::new();
        let text = fs::read_to_string(root.join(MATRIX)).unwrap();
        let matrix = matrix::parse(MATRIX, &text, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        assert!(matrix.rows().any(|row| row.id == "HI-09"));
        let files = rust_files(root).unwrap();
        assert!(files.contains(&root.join("xtask/src/conformance.rs")));
        assert!(
            files
                .iter()
                .all(|file| !file.starts_with(root.join("target")))
        );
    }
}
