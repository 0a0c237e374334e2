//! Finds the tests in a Rust file that say which rows they prove.
//!
//! A test says so in a line of its own, `// Rows: HI-09, HI-18`, in the comments and attributes
//! directly above its `fn`. The file is read line by line, as rustfmt leaves it; a line within a
//! string that looks like an annotation is taken for one.

use super::{Problem, matrix};

/// How an annotation begins.
const MARK: &str = "// Rows: ";

/// A test that proves a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Annotation {
    pub(super) row: String,
    pub(super) file: String,
    pub(super) line: usize,
    /// The name of the test's function.
    pub(super) test: String,
}

/// The comments and attributes that are above the line being read.
#[derive(Default)]
struct Block {
    /// Line number and id.
    rows: Vec<(usize, String)>,
    is_test: bool,
    is_ignored: bool,
}

impl Block {
    /// Ends the block without a function: rows in it belong to nothing.
    fn end(&mut self, why: &str, file: &str, problems: &mut Vec<Problem>) {
        let block = std::mem::take(self);
        if let Some((line, _)) = block.rows.first() {
            problems.push(Problem::new(file, *line, format!("rows are named {why}")));
        }
    }
}

/// Finds the annotations in `text`; those that are not above a test or are badly made are added to
/// `problems` instead.
pub(super) fn scan(file: &str, text: &str, problems: &mut Vec<Problem>) -> Vec<Annotation> {
    let mut found = Vec::new();
    let mut block = Block::default();
    // The attribute that the lines before have begun and not ended.
    let mut open_attribute = String::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let line = line.trim();
        if !open_attribute.is_empty() || line.starts_with("#[") {
            open_attribute.push_str(line);
            if brackets_are_even(&open_attribute) {
                match attribute_path(&open_attribute) {
                    path if path == "test" || path.ends_with("::test") => block.is_test = true,
                    "ignore" => block.is_ignored = true,
                    _ => {}
                }
                open_attribute.clear();
            }
        } else if line.starts_with("//") {
            match annotation(line) {
                Ok(ids) => block.rows.extend(ids.into_iter().map(|id| (number, id))),
                Err(error) => problems.push(Problem::new(file, number, error)),
            }
        } else if let Some(name) = function_name(line) {
            if !block.is_test {
                block.end(
                    &format!("above `fn {name}`, which is no test"),
                    file,
                    problems,
                );
            } else if block.is_ignored {
                block.end(&format!("by `fn {name}`, which is ignored"), file, problems);
            }
            let Block { rows, .. } = std::mem::take(&mut block);
            found.extend(rows.into_iter().map(|(line, row)| Annotation {
                row,
                file: file.to_owned(),
                line,
                test: name.to_owned(),
            }));
        } else {
            block.end(
                "in a comment that is not directly above a test",
                file,
                problems,
            );
        }
    }
    block.end(
        "in a comment that is not directly above a test",
        file,
        problems,
    );
    found
}

/// The ids of an annotation; none for any other comment.
fn annotation(line: &str) -> Result<Vec<String>, String> {
    let Some(list) = line.strip_prefix(MARK) else {
        // What was meant as one is not passed over.
        let words = line
            .trim_start_matches(['/', '!', ' '])
            .to_ascii_lowercase();
        if words.starts_with("rows:") || words.starts_with("row:") {
            return Err(format!(
                "an annotation is written `{MARK}HI-09, HI-18`, not `{line}`"
            ));
        }
        return Ok(Vec::new());
    };
    let mut ids: Vec<String> = Vec::new();
    for id in list.split(',').map(str::trim) {
        if !matrix::is_id(id) {
            return Err(format!("{id:?} is no row id: one like HI-09 is expected"));
        }
        if ids.iter().any(|other| other == id) {
            return Err(format!("{id} is named twice"));
        }
        ids.push(id.to_owned());
    }
    Ok(ids)
}

fn brackets_are_even(attribute: &str) -> bool {
    let count = |bracket| attribute.matches(bracket).count();
    count('[') <= count(']')
}

/// `#[tokio::test(flavor = "x")]` -> `tokio::test`.
fn attribute_path(attribute: &str) -> &str {
    let inner = attribute.trim_start_matches("#[");
    let end = inner
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .unwrap_or(inner.len());
    &inner[..end]
}

/// The name of the function that `line` begins.
fn function_name(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    loop {
        match words.next()? {
            "fn" => {
                let name = words.next()?;
                let end = name
                    .find(|c: char| !(c.is_alphanumeric() || c == '_'))
                    .unwrap_or(name.len());
                return (end > 0).then(|| &name[..end]);
            }
            "async" | "const" | "unsafe" => {}
            word if word.starts_with("pub") => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(lines: &[&str]) -> (Vec<String>, Vec<String>) {
        let mut problems = Vec::new();
        let found = scan("a.rs", &lines.join("\n"), &mut problems);
        (
            found
                .iter()
                .map(|found| format!("{} {}:{} {}", found.row, found.file, found.line, found.test))
                .collect(),
            problems.iter().map(ToString::to_string).collect(),
        )
    }

    #[test]
    fn rows_are_found_wherever_in_the_block_above_a_test_they_are() {
        let (found, problems) = scanned(&[
            "// Rows: HI-01, HI-02",
            "#[test]",
            "fn first() {}",
            "",
            "/// About it.",
            "#[tokio::test(flavor = \"current_thread\")]",
            "// Rows: W11-03",
            "#[expect(",
            "    clippy::x,",
            "    reason = \"y\"",
            ")]",
            "// Rows: HI-03",
            "pub(crate) async fn second() {}",
            "proptest! {",
            "    #[test]",
            "    // Rows: OPT-03",
            "    fn third(",
        ]);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(
            found,
            [
                "HI-01 a.rs:1 first",
                "HI-02 a.rs:1 first",
                "W11-03 a.rs:7 second",
                "HI-03 a.rs:12 second",
                "OPT-03 a.rs:16 third",
            ]
        );
    }

    #[test]
    fn rows_that_are_not_above_a_test_are_an_error() {
        for (lines, complaint) in [
            (
                &["", "// Rows: HI-01", "fn helper() {}"][..],
                "above `fn helper`, which is no test",
            ),
            (
                &["", "// Rows: HI-01", "#[cfg(test)]", "fn f() {}"],
                "which is no test",
            ),
            (
                &["#[test]", "// Rows: HI-01", "", "fn f() {}"],
                "not directly above a test",
            ),
            (
                &["#[test]", "// Rows: HI-01", "mod m {"],
                "not directly above a test",
            ),
            (
                &["fn f() {", "    // Rows: HI-01", "}"],
                "not directly above a test",
            ),
            (&["", "// Rows: HI-01"], "not directly above a test"),
            (
                &["#[ignore]", "// Rows: HI-01", "#[test]", "fn f() {}"],
                "which is ignored",
            ),
        ] {
            let (found, problems) = scanned(lines);
            assert!(found.is_empty(), "{lines:?}: {found:?}");
            assert_eq!(problems.len(), 1, "{lines:?}: {problems:?}");
            assert!(
                problems[0].starts_with("a.rs:2: "),
                "{lines:?}: {problems:?}"
            );
            assert!(problems[0].contains(complaint), "{lines:?}: {problems:?}");
        }
    }

    #[test]
    fn badly_written_annotations_are_an_error() {
        for (line, complaint) in [
            ("// Rows: HI-1", "\"HI-1\" is no row id"),
            ("// Rows: HI-01 HI-02", "\"HI-01 HI-02\" is no row id"),
            ("// Rows: HI-01,", "\"\" is no row id"),
            ("// Rows: HI-01, HI-01", "HI-01 is named twice"),
            ("// Rows: hi-01", "\"hi-01\" is no row id"),
            ("//Rows: HI-01", "is written `// Rows: HI-09, HI-18`"),
            ("/// Rows: HI-01", "is written"),
            ("// rows: HI-01", "is written"),
            ("// Row: HI-01", "is written"),
        ] {
            let (found, problems) = scanned(&["#[test]", line, "fn f() {}"]);
            assert!(found.is_empty(), "{line}: {found:?}");
            assert_eq!(problems.len(), 1, "{line}: {problems:?}");
            assert!(problems[0].starts_with("a.rs:2: "), "{problems:?}");
            assert!(problems[0].contains(complaint), "{line}: {problems:?}");
        }
    }

    #[test]
    fn a_test_that_names_no_rows_takes_none_from_its_neighbors() {
        let (found, problems) = scanned(&[
            "#[test]",
            "fn one() {}",
            "#[test]",
            "// Rows: HI-01",
            "fn two() {}",
            "#[test]",
            "fn three() {}",
        ]);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(found, ["HI-01 a.rs:4 two"]);
    }
}
