//! A ladder as SVG: written by hand, for lines, words and rectangles are all that it needs, and placed on
//! whole numbers, so that the same ladder is the same file.

use std::fmt::Write as _;

use super::{Ladder, Layer, Place, Row, milliseconds};

/// Between two columns.
const COLUMN: usize = 150;
/// Left of the first column: the times.
const LEFT: usize = 130;
/// Right of the last one.
const RIGHT: usize = 150;
/// Above the first row: the title and the names.
const TOP: usize = 84;
/// Between two rows.
const ROW: usize = 26;
/// Below the last one: what the colours mean.
const BOTTOM: usize = 60;
/// About the width of a letter.
const LETTER: usize = 7;

const LEGEND: [(Layer, &str); 4] = [
    (Layer::Primitive, "primitives"),
    (Layer::Link, "link layer"),
    (Layer::Network, "FMIPv6"),
    (Layer::Data, "packets"),
];

/// Told apart by those who see colours otherwise, too: strokes differ, and the legend names them.
const fn look(layer: Layer) -> (&'static str, &'static str) {
    match layer {
        Layer::Primitive => ("#7a3b9d", "2 2"),
        Layer::Link => ("#0b62a4", "7 3"),
        Layer::Network => ("#1b1b1b", "none"),
        Layer::Data => ("#c05a00", "none"),
    }
}

const fn class(layer: Layer) -> &'static str {
    match layer {
        Layer::Primitive => "primitive",
        Layer::Link => "link",
        Layer::Network => "network",
        Layer::Data => "data",
    }
}

impl Ladder {
    /// The drawing, a file of its own: any browser shows it, and nothing is loaded from elsewhere.
    pub fn svg(&self) -> String {
        let columns = self.columns();
        let at = |place: Place| {
            let index = columns.iter().position(|column| *column == place);
            LEFT + COLUMN * index.unwrap_or(0)
        };
        let last_row = TOP + ROW * self.rows.len();
        let (width, height) = (
            LEFT + COLUMN * (columns.len() - 1) + RIGHT,
            last_row + BOTTOM,
        );
        let mut svg = String::new();
        let mut put = |line: &str| {
            svg.push_str(line);
            svg.push('\n');
        };
        put(&format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\">"
        ));
        put(&format!("<title>{}</title>", escaped(&self.title)));
        put(&style());
        put("<defs>");
        for (layer, _) in LEGEND {
            put(&format!(
                "<marker id=\"{0}\" viewBox=\"0 0 10 10\" refX=\"10\" refY=\"5\" markerWidth=\"9\" \
                 markerHeight=\"9\" markerUnits=\"userSpaceOnUse\" orient=\"auto-start-reverse\">\
                 <path d=\"M0 0L10 5L0 10z\" fill=\"{1}\"/></marker>",
                class(layer),
                look(layer).0
            ));
        }
        put("</defs>");
        put(&format!(
            "<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>"
        ));
        put(&format!(
            "<text class=\"title\" x=\"16\" y=\"28\">{}</text>",
            escaped(&self.title)
        ));
        put(&format!(
            "<text class=\"time\" x=\"{}\" y=\"58\">ms</text>",
            LEFT - 46
        ));
        for place in &columns {
            let (x, name) = (at(*place), escaped(self.names.name(*place)));
            put(&format!(
                "<text class=\"name\" x=\"{x}\" y=\"58\">{name}</text>\
                 <line class=\"life\" x1=\"{x}\" y1=\"66\" x2=\"{x}\" y2=\"{last_row}\"/>"
            ));
        }
        for (index, row) in self.rows.iter().enumerate() {
            let y = TOP + ROW * index + ROW / 2;
            put(&drawn(row, y, &at));
        }
        put(&legend(last_row + 26));
        put(&format!(
            "<text class=\"exactness\" x=\"16\" y=\"{}\">{}</text>",
            last_row + 48,
            escaped(&self.exactness())
        ));
        put("</svg>");
        svg
    }
}

fn style() -> String {
    let mut style = String::from(
        "<style>text{font-family:ui-monospace,monospace;font-size:12px;fill:#1b1b1b}\
         .title{font-size:15px;font-weight:bold}.name{text-anchor:middle;font-weight:bold}\
         .time{text-anchor:end;fill:#666666}.exactness{font-size:11px;fill:#666666}\
         .what{text-anchor:middle}.life{stroke:#b8b8b8;stroke-width:1}.under{fill:#ffffff}",
    );
    for (layer, _) in LEGEND {
        let (colour, dashes) = look(layer);
        let width = if layer == Layer::Data { 3 } else { 1 };
        let class = class(layer);
        let _ = write!(
            style,
            "line.{class}{{stroke:{colour};stroke-width:{width};stroke-dasharray:{dashes}}}\
             text.{class}{{fill:{colour}}}circle.{class}{{fill:{colour}}}\
             path.{class}{{stroke:{colour};stroke-width:2}}"
        );
    }
    style + "</style>"
}

fn drawn(row: &Row, y: usize, at: &impl Fn(Place) -> usize) -> String {
    let class = class(row.layer);
    let (from, baseline) = (at(row.from), y + 4);
    let label = escaped(&row.label);
    // What a pointer that rests on it is told.
    let whole = escaped(&told(row));
    let mut out = format!(
        "<g><title>{whole}</title><text class=\"time\" x=\"{}\" y=\"{baseline}\">{:.3}</text>",
        LEFT - 46,
        milliseconds(row.at)
    );
    let width = row.label.chars().count() * LETTER + 8;
    match row.to.map(at).filter(|to| *to != from) {
        None => {
            let _ = write!(
                out,
                "<circle class=\"{class}\" cx=\"{from}\" cy=\"{y}\" r=\"4\"/>\
                 <rect class=\"under\" x=\"{}\" y=\"{}\" width=\"{width}\" height=\"16\"/>\
                 <text class=\"{class}\" x=\"{}\" y=\"{baseline}\">{label}</text>",
                from + 6,
                y - 8,
                from + 9
            );
        }
        Some(to) => {
            let middle = from.midpoint(to);
            // What did not arrive ends before its end, with a cross.
            let end = match (row.lost, to > from) {
                (false, _) => to,
                (true, true) => to - 18,
                (true, false) => to + 18,
            };
            let mut head = String::new();
            if !row.lost {
                let _ = write!(head, " marker-end=\"url(#{class})\"");
            }
            if row.both_ways {
                let _ = write!(head, " marker-start=\"url(#{class})\"");
            }
            let _ = write!(
                out,
                "<line class=\"{class}\" x1=\"{from}\" y1=\"{y}\" x2=\"{end}\" y2=\"{y}\"{head}/>"
            );
            if row.lost {
                let _ = write!(
                    out,
                    "<path class=\"{class}\" d=\"M{} {}l10 10m0 -10l-10 10\"/>",
                    end - 5,
                    y - 5
                );
            }
            let _ = write!(
                out,
                "<rect class=\"under\" x=\"{}\" y=\"{}\" width=\"{width}\" height=\"16\"/>\
                 <text class=\"what {class}\" x=\"{middle}\" y=\"{baseline}\">{label}</text>",
                middle - width / 2,
                y - 8
            );
        }
    }
    out + "</g>"
}

fn told(row: &Row) -> String {
    let mut text = row.what.clone();
    if !row.via.is_empty() {
        let _ = write!(text, ", passed on by {:?}", row.via);
    }
    if row.lost {
        text += ", which did not arrive";
    }
    text
}

fn legend(y: usize) -> String {
    let mut out = String::new();
    for (index, (layer, name)) in LEGEND.iter().enumerate() {
        let x = 16 + 150 * index;
        let _ = write!(
            out,
            "<line class=\"{0}\" x1=\"{x}\" y1=\"{1}\" x2=\"{2}\" y2=\"{1}\"/>\
             <text x=\"{3}\" y=\"{4}\">{name}</text>",
            class(*layer),
            y - 4,
            x + 32,
            x + 40,
            y
        );
    }
    out
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // What XML 1.0 section 2.2 does not allow at all.
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::tests::figure_3;

    #[test]
    fn figure_3_is_drawn() {
        let svg = figure_3().svg();
        assert_eq!(svg, include_str!("figure_3.svg"), "\n{svg}");
    }

    #[test]
    fn every_row_has_its_time_and_its_words() {
        let ladder = figure_3();
        let svg = ladder.svg();
        for row in &ladder.rows {
            let time = format!(">{:.3}</text>", milliseconds(row.at));
            assert!(svg.contains(&time), "{time}");
            let words = format!(">{}</text>", escaped(&row.label));
            assert!(svg.contains(&words), "{words}");
        }
        assert_eq!(svg.matches("<g>").count(), svg.matches("</g>").count());
        assert!(!svg.contains("href") && !svg.contains("@import"));
    }

    #[test]
    fn what_would_be_markup_is_not() {
        assert_eq!(escaped("a<b>&\"\u{7}"), "a&lt;b&gt;&amp;&quot; ");
    }
}
