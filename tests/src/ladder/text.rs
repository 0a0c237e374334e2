//! A ladder as text of fixed width, as RFC 5270 figures 3 and 4 are drawn.

use std::fmt;

use super::{Ladder, Layer, Place, Row, milliseconds};

/// What stands before the first column: a time.
const TIME: usize = 10;
/// Between the time and the first column, for half of its name.
const MARGIN: usize = 4;
/// The least distance between two columns.
const DISTANCE: usize = 8;

impl fmt::Display for Ladder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.columns();
        let positions = self.positions(&columns);
        writeln!(formatter, "{}", self.title)?;
        let mut heads = Canvas::default();
        heads.put(TIME - 2, "ms");
        for (place, position) in columns.iter().zip(&positions) {
            let name = self.names.name(*place);
            heads.put(position.saturating_sub(name.len() / 2), name);
        }
        writeln!(formatter, "{}", heads.line())?;
        for row in &self.rows {
            writeln!(formatter, "{}", line(row, &columns, &positions))?;
        }
        writeln!(formatter, "{}", self.exactness())
    }
}

impl Ladder {
    /// Where the columns stand: as near as what is written between them allows.
    fn positions(&self, columns: &[Place]) -> Vec<usize> {
        let index = |place: Place| columns.iter().position(|column| *column == place);
        let mut distances = vec![DISTANCE; columns.len().saturating_sub(1)];
        for (distance, pair) in distances.iter_mut().zip(columns.windows(2)) {
            let [left, right] = [pair[0], pair[1]].map(|place| self.names.name(place).len());
            *distance = (*distance).max(left.div_ceil(2) + right.div_ceil(2) + 1);
        }
        let mut spans: Vec<(usize, usize, usize)> = self
            .rows
            .iter()
            .filter_map(|row| {
                let (from, to) = (index(row.from)?, index(row.to?)?);
                // The head, and a stroke on either side.
                let heads = 1 + usize::from(row.lost) + usize::from(row.both_ways);
                let length = row.label.chars().count() + 3 + heads;
                Some((from.min(to), from.max(to), length))
            })
            .filter(|(left, right, _)| left != right)
            .collect();
        // The short ones first: they leave no choice.
        spans.sort_by_key(|(left, right, length)| (right - left, *left, *length));
        for (left, right, length) in spans {
            let between = &mut distances[left..right];
            let missing = length.saturating_sub(between.iter().sum());
            for step in 0..missing {
                between[step % (right - left)] += 1;
            }
        }
        let mut position = TIME + MARGIN;
        let mut positions = vec![position];
        for distance in distances {
            position += distance;
            positions.push(position);
        }
        positions
    }
}

fn line(row: &Row, columns: &[Place], positions: &[usize]) -> String {
    let mut canvas = Canvas::default();
    canvas.put(0, &format!("{:>TIME$.3}", milliseconds(row.at)));
    for position in positions {
        canvas.put(*position, "|");
    }
    let position = |place: Place| {
        let index = columns.iter().position(|column| *column == place);
        index.map(|index| positions[index])
    };
    let Some(from) = position(row.from) else {
        return canvas.line();
    };
    match row.to.and_then(position).filter(|to| *to != from) {
        None => canvas.put(from, &format!("* {} ", row.label)),
        Some(to) => canvas.put(from.min(to) + 1, &arrow(row, from, to)),
    }
    canvas.line()
}

/// What is written between two columns.
fn arrow(row: &Row, from: usize, to: usize) -> String {
    let width = from.abs_diff(to) - 1;
    let stroke = if row.layer == Layer::Data { "=" } else { "-" };
    let head = match (to > from, row.lost) {
        (true, false) => ">",
        (true, true) => "X>",
        (false, false) => "<",
        (false, true) => "<X",
    };
    let tail = match (row.both_ways, to > from) {
        (false, _) => "",
        (true, true) => "<",
        (true, false) => ">",
    };
    let room = width.saturating_sub(head.len() + tail.len() + row.label.chars().count());
    let (left, right) = (stroke.repeat(room / 2), stroke.repeat(room - room / 2));
    if to > from {
        format!("{tail}{left}{}{right}{head}", row.label)
    } else {
        format!("{head}{right}{}{left}{tail}", row.label)
    }
}

/// A line that is written on at places.
#[derive(Default)]
struct Canvas(Vec<char>);

impl Canvas {
    fn put(&mut self, at: usize, text: &str) {
        for (place, letter) in (at..).zip(text.chars()) {
            if place >= self.0.len() {
                self.0.resize(place + 1, ' ');
            }
            self.0[place] = letter;
        }
    }

    fn line(&self) -> String {
        let line: String = self.0.iter().collect();
        line.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ladder::{Names, tests::figure_3};

    #[test]
    fn figure_3_looks_as_in_the_rfc() {
        let text = figure_3().to_string();
        let expected = include_str!("figure_3.txt");
        assert_eq!(text, expected, "\n{text}");
    }

    #[test]
    fn a_long_label_moves_the_columns_apart() {
        let long = "a message of a very long name that is to be read";
        let ladder = Ladder {
            title: "x".to_owned(),
            names: Names::access_points(),
            rows: vec![Row::arrow(
                Duration::ZERO,
                Place::MnL3,
                Place::Par,
                Layer::Network,
                long,
            )],
            tolerance: Duration::ZERO,
        };
        let text = ladder.to_string();
        assert!(text.contains(&format!("-{long}-")), "{text}");
    }
}
