//! Reads `tests/conformance.md`: the rows by section, and the written reasons at its end.

use std::collections::{BTreeMap, BTreeSet};

use super::Problem;

/// The title of the section that holds the reasons.
const REASONS: &str = "Not covered by a test, and why";

/// How much the standards insist; in order of strength.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// `[M]`: MUST.
    Must,
    /// `[m]`: a clear duty in lower case.
    Duty,
    /// `[S]`: SHOULD.
    Should,
    /// `[O]`: optional.
    Optional,
    /// `[D]`: decided in the matrix itself.
    Decided,
    /// `[T]`: a scenario to run.
    Scenario,
    /// `[K]`: a fact of the Linux kernel.
    Kernel,
}

impl Level {
    pub(super) const ALL: [Self; 7] = [
        Self::Must,
        Self::Duty,
        Self::Should,
        Self::Optional,
        Self::Decided,
        Self::Scenario,
        Self::Kernel,
    ];

    pub(super) fn letter(self) -> char {
        match self {
            Self::Must => 'M',
            Self::Duty => 'm',
            Self::Should => 'S',
            Self::Optional => 'O',
            Self::Decided => 'D',
            Self::Scenario => 'T',
            Self::Kernel => 'K',
        }
    }

    fn from_letter(letter: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|level| letter.chars().eq([level.letter()]))
    }
}

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: String,
    /// Where the requirement is from: sections of RFC 5568, or of the RFC that is named.
    pub(super) source: String,
    pub(super) role: String,
    /// Never empty; `[S]/[M]` has two.
    pub(super) levels: BTreeSet<Level>,
    pub(super) requirement: String,
}

impl Row {
    /// The strongest of its levels.
    pub(super) fn level(&self) -> Level {
        *self.levels.first().expect("a row has a level")
    }

    /// Whether it asks for a test by its level.
    fn is_binding(&self) -> bool {
        self.level() <= Level::Should
    }

    fn is_scenario(&self) -> bool {
        self.level() == Level::Scenario
    }
}

/// `## A. General`, with its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) letter: char,
    pub(super) title: String,
    pub(super) rows: Vec<Row>,
}

impl Section {
    /// Whether `row` of this section must have a test or a reason: `[M]`, `[m]` and `[S]` of
    /// sections A to N, and `[T]` of those on link layers (M and N), which are scenarios. What
    /// follows there are extensions and facts.
    pub(super) fn demands(&self, row: &Row) -> bool {
        match self.letter {
            'A'..='L' => row.is_binding(),
            'M' | 'N' => row.is_binding() || row.is_scenario(),
            _ => false,
        }
    }
}

/// The whole file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Matrix {
    pub(super) sections: Vec<Section>,
    /// Row id to the line number and the reason why no test proves the row.
    pub(super) reasons: BTreeMap<String, (usize, String)>,
}

impl Matrix {
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.sections.iter().flat_map(|section| &section.rows)
    }
}

enum Place {
    Preamble,
    Rows,
    Reasons,
}

/// Reads the matrix from `text`; what cannot be understood is added to `problems` with its place
/// in `file`, and left out.
pub(super) fn parse(file: &str, text: &str, problems: &mut Vec<Problem>) -> Matrix {
    let mut matrix = Matrix::default();
    let mut place = Place::Preamble;
    let mut first_seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut letters: BTreeSet<char> = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let mut object = |text: String| problems.push(Problem::new(file, number, text));
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if let Some(title) = line.strip_prefix("## ") {
            if title == REASONS {
                place = Place::Reasons;
            } else if let Some((letter, title)) = section_title(title) {
                if !letters.insert(letter) {
                    object(format!("section {letter} is there twice"));
                }
                place = Place::Rows;
                matrix.sections.push(Section {
                    letter,
                    title: title.to_owned(),
                    rows: Vec::new(),
                });
            } else {
                object(format!(
                    "{title:?} is no section: \"A. Title\" or {REASONS:?} is expected"
                ));
                place = Place::Preamble;
            }
            continue;
        }
        match place {
            Place::Preamble => {}
            Place::Rows => match row(line) {
                Ok(row) => {
                    if let Some(first) = first_seen.get(&row.id) {
                        object(format!(
                            "row {} is there twice, first in line {first}",
                            row.id
                        ));
                        continue;
                    }
                    first_seen.insert(row.id.clone(), number);
                    let section = matrix.sections.last_mut().expect("rows follow a section");
                    section.rows.push(row);
                }
                Err(error) => object(error),
            },
            Place::Reasons => match reason(line) {
                Ok(None) => {}
                Ok(Some((id, reason))) => {
                    if let Some((first, _)) = matrix.reasons.get(id) {
                        object(format!(
                            "{id} has a second reason, the first is in line {first}"
                        ));
                        continue;
                    }
                    let reason = (number, reason.to_owned());
                    matrix.reasons.insert(id.to_owned(), reason);
                }
                Err(error) => object(error),
            },
        }
    }
    if matrix.sections.is_empty() {
        problems.push(Problem::new(
            file,
            1,
            "no section with rows was found".into(),
        ));
    }
    matrix
}

/// `A. General` -> `('A', "General")`.
fn section_title(title: &str) -> Option<(char, &str)> {
    let (letter, title) = title.split_once(". ")?;
    let mut letters = letter.chars();
    match (letters.next(), letters.next()) {
        (Some(letter @ 'A'..='Z'), None) if !title.is_empty() => Some((letter, title)),
        _ => None,
    }
}

/// Whether `word` is made like `HI-09` or `W11-01`.
pub(super) fn is_id(word: &str) -> bool {
    word.split_once('-').is_some_and(|(subject, number)| {
        subject.starts_with(|c: char| c.is_ascii_uppercase())
            && subject
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
            && number.len() == 2
            && number.chars().all(|c| c.is_ascii_digit())
    })
}

fn row(line: &str) -> Result<Row, String> {
    let mut parts = line.splitn(4, " | ").map(str::trim);
    let (Some(id), Some(source), Some(role), Some(rest)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("not a row: `id | section | role | [level] requirement` is expected".into());
    };
    if !is_id(id) {
        return Err(format!("{id:?} is no row id: one like HI-09 is expected"));
    }
    for (name, value) in [("section", source), ("role", role)] {
        if value.is_empty() {
            return Err(format!("row {id} has no {name}"));
        }
    }
    let (tag, requirement) = rest.split_once(' ').unwrap_or((rest, ""));
    let levels = tag
        .split('/')
        .map(|level| {
            level
                .strip_prefix('[')
                .and_then(|level| level.strip_suffix(']'))
                .and_then(Level::from_letter)
        })
        .collect::<Option<BTreeSet<Level>>>()
        .ok_or_else(|| {
            let known = Level::ALL.map(|level| format!("[{}]", level.letter()));
            format!(
                "row {id} has the level {tag:?}: one of {} is expected",
                known.join(" ")
            )
        })?;
    let requirement = requirement.trim();
    if requirement.is_empty() {
        return Err(format!("row {id} has no requirement"));
    }
    Ok(Row {
        id: id.to_owned(),
        source: source.to_owned(),
        role: role.to_owned(),
        levels,
        requirement: requirement.to_owned(),
    })
}

/// A line of the reasons; `None` for the prose around them, which has no bar.
fn reason(line: &str) -> Result<Option<(&str, &str)>, String> {
    let Some((id, reason)) = line.split_once('|') else {
        return match line.split_once(' ').unwrap_or((line, "")).0 {
            word if is_id(word) => Err(format!("{word} has no reason: `ID | reason` is expected")),
            _ => Ok(None),
        };
    };
    let (id, reason) = (id.trim(), reason.trim());
    if !is_id(id) {
        return Err(format!("{id:?} is no row id: one like HI-09 is expected"));
    }
    if reason.is_empty() {
        return Err(format!("the reason for {id} is empty"));
    }
    Ok(Some((id, reason)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(lines: &[&str]) -> (Matrix, Vec<String>) {
        let mut problems = Vec::new();
        let matrix = parse("m.md", &lines.join("\n"), &mut problems);
        (matrix, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn rows_and_reasons_are_read_by_section() {
        let (matrix, problems) = parsed(&[
            "# Matrix",
            "Prose | with a bar.",
            "",
            "## A. General",
            "GEN-01 | 1, App.B | AR | [M] Never | ever.",
            "## M. Scenarios",
            "W11-05 | RFC 4260 7.1 | MN | [S]/[M] Told.",
            "## Not covered by a test, and why",
            "Each with its reason.",
            "GEN-01 | It cannot be seen | from outside.",
        ]);
        assert!(problems.is_empty(), "{problems:?}");
        let rows: Vec<_> = matrix.rows().collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].source, "1, App.B");
        assert_eq!(rows[0].role, "AR");
        assert_eq!(rows[0].requirement, "Never | ever.");
        assert_eq!(rows[0].level(), Level::Must);
        assert_eq!(rows[1].level(), Level::Must);
        assert_eq!(rows[1].levels.len(), 2);
        assert!(matrix.sections[0].demands(rows[0]));
        assert!(matrix.sections[1].demands(rows[1]));
        assert_eq!(
            matrix.reasons["GEN-01"],
            (10, "It cannot be seen | from outside.".to_owned())
        );
    }

    #[test]
    fn what_is_demanded_depends_on_level_and_section() {
        for (tag, protocol, link_layers) in [
            ("[M]", true, true),
            ("[m]", true, true),
            ("[S]", true, true),
            ("[O]/[S]", true, true),
            ("[O]", false, false),
            ("[D]", false, false),
            ("[T]", false, true),
            ("[T]/[O]", false, false),
            ("[K]", false, false),
        ] {
            for (letters, demanded) in [("AL", protocol), ("MN", link_layers), ("OPZ", false)] {
                for letter in letters.chars() {
                    let title = format!("## {letter}. Title");
                    let line = format!("GEN-01 | 1 | AR | {tag} Something.");
                    let (matrix, problems) = parsed(&[&title, &line]);
                    assert!(problems.is_empty(), "{problems:?}");
                    let section = &matrix.sections[0];
                    let demands = section.demands(&section.rows[0]);
                    assert_eq!(demands, demanded, "{tag} in section {letter}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_row_is_named_with_its_line() {
        for (line, complaint) in [
            ("GEN-01 | 1 | AR", "not a row"),
            ("Some prose.", "not a row"),
            ("GEN-1 | 1 | AR | [M] x", "\"GEN-1\" is no row id"),
            ("gen-01 | 1 | AR | [M] x", "\"gen-01\" is no row id"),
            ("GEN-01 |  | AR | [M] x", "GEN-01 has no section"),
            ("GEN-01 | 1 |  | [M] x", "GEN-01 has no role"),
            ("GEN-01 | 1 | AR | [X] x", "GEN-01 has the level \"[X]\""),
            ("GEN-01 | 1 | AR | M x", "GEN-01 has the level \"M\""),
            ("GEN-01 | 1 | AR | [M][S] x", "GEN-01 has the level"),
            ("GEN-01 | 1 | AR | [M]/ x", "GEN-01 has the level"),
            ("GEN-01 | 1 | AR | [M]", "GEN-01 has no requirement"),
        ] {
            let (matrix, problems) = parsed(&["## A. General", line]);
            assert_eq!(matrix.rows().count(), 0, "{line}");
            assert_eq!(problems.len(), 1, "{line}: {problems:?}");
            assert!(problems[0].starts_with("m.md:2: "), "{problems:?}");
            assert!(problems[0].contains(complaint), "{line}: {problems:?}");
        }
    }

    #[test]
    fn reasons_that_say_nothing_are_refused() {
        for (line, complaint) in [
            ("GEN-01 |", "the reason for GEN-01 is empty"),
            ("GEN-01 because", "GEN-01 has no reason"),
            ("GEN 01 | because", "\"GEN 01\" is no row id"),
        ] {
            let (matrix, problems) = parsed(&[
                "## A. General",
                "",
                "## Not covered by a test, and why",
                line,
            ]);
            assert!(matrix.reasons.is_empty(), "{line}");
            assert_eq!(problems.len(), 1, "{line}: {problems:?}");
            assert!(problems[0].starts_with("m.md:4: "), "{problems:?}");
            assert!(problems[0].contains(complaint), "{line}: {problems:?}");
        }
    }

    #[test]
    fn what_is_there_twice_is_named_with_both_lines() {
        let (_, problems) = parsed(&[
            "## A. General",
            "GEN-01 | 1 | AR | [M] x",
            "GEN-01 | 1 | AR | [M] y",
            "## A. Again",
            "## Not covered by a test, and why",
            "GEN-01 | a",
            "GEN-01 | b",
        ]);
        assert_eq!(
            problems,
            [
                "m.md:3: row GEN-01 is there twice, first in line 2",
                "m.md:4: section A is there twice",
                "m.md:7: GEN-01 has a second reason, the first is in line 6",
            ]
        );
    }

    #[test]
    fn a_file_without_sections_is_no_matrix() {
        for text in ["", "GEN-01 | 1 | AR | [M] x", "## General", "## AB. Two"] {
            let (_, problems) = parsed(&[text]);
            assert!(
                problems
                    .last()
                    .is_some_and(|problem| problem.contains("no section")),
                "{text:?}: {problems:?}"
            );
        }
    }
}
