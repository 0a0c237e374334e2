//! Tables for people: columns that stand one below the other.

use std::fmt::Write as _;

/// Appends `rows`, each indented by `indent` blanks, with the columns two blanks apart. A column whose cells
/// are all numbers, but for the `heading`'s, is aligned at its right. A row may end before the others.
pub(super) fn append(
    text: &mut String,
    indent: usize,
    heading: Option<&[&str]>,
    rows: &[Vec<String>],
) {
    let width = Columns::of(heading, rows);
    if let Some(heading) = heading {
        let heading: Vec<String> = heading.iter().map(|cell| (*cell).to_owned()).collect();
        width.line(text, indent, &heading);
    }
    for row in rows {
        width.line(text, indent, row);
    }
}

/// Of each column: its width, and whether it is one of numbers.
pub(super) struct Columns(Vec<(usize, bool)>);

impl Columns {
    pub(super) fn of(heading: Option<&[&str]>, rows: &[Vec<String>]) -> Self {
        let columns = (rows.iter().map(Vec::len))
            .chain(heading.map(<[_]>::len))
            .max()
            .unwrap_or(0);
        let column = |number: usize| {
            let cells = || rows.iter().filter_map(move |row| row.get(number));
            let heading = heading.and_then(|heading| heading.get(number));
            let width = (cells().map(|cell| cell.chars().count()))
                .chain(heading.map(|cell| cell.chars().count()))
                .max()
                .unwrap_or(0);
            (width, cells().all(|cell| is_number(cell)))
        };
        Self((0..columns).map(column).collect())
    }

    pub(super) fn line(&self, text: &mut String, indent: usize, row: &[String]) {
        let mut line = " ".repeat(indent);
        for (place, (cell, &(width, is_number))) in row.iter().zip(&self.0).enumerate() {
            if place > 0 {
                line.push_str("  ");
            }
            let _ = if is_number {
                write!(line, "{cell:>width$}")
            } else {
                write!(line, "{cell:width$}")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// Digits, perhaps with a unit behind them; or nothing.
fn is_number(cell: &str) -> bool {
    cell == "-" || cell.starts_with(|first: char| first.is_ascii_digit()) && !cell.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_at_the_right_and_words_at_the_left() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        let rows = [
            row(&["2001:db8::1", "7", "-", "up"]),
            row(&["::1", "1200", "4", "-"]),
            row(&["::"]),
        ];
        let mut text = String::new();
        append(
            &mut text,
            1,
            Some(&["ADDRESS", "SENT", "BUFFER", "X"]),
            &rows,
        );
        assert_eq!(
            text,
            [
                " ADDRESS      SENT  BUFFER  X\n",
                " 2001:db8::1     7       -  up\n",
                " ::1          1200       4  -\n",
                " ::\n",
            ]
            .concat()
        );
    }
}
