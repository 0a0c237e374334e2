//! What a bench finds: figures for the table and for machines, series for the plots.

use serde::Serialize;

/// One figure: the median of its measurements, with the least and the greatest of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Its key.
    pub name: String,
    /// The median.
    pub value: f64,
    /// What it is counted in: `ratio`, `ns`, `us`, `Mpps`.
    pub unit: String,
    /// The least measurement.
    pub min: f64,
    /// The greatest measurement.
    pub max: f64,
}

impl Figure {
    /// The figure that `values` give.
    ///
    /// # Panics
    /// When there are no values.
    pub fn of(name: impl Into<String>, unit: &str, mut values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "a figure needs a measurement");
        values.sort_by(f64::total_cmp);
        Self {
            name: name.into(),
            value: values[values.len() / 2],
            unit: unit.to_owned(),
            min: values[0],
            max: values[values.len() - 1],
        }
    }
}

/// One line of a plot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// What the legend says.
    pub name: String,
    /// Points in the order in which the line goes through them. One without a finite y is of something
    /// that never came to be, such as the delay of a packet that was lost.
    pub points: Vec<(f64, f64)>,
    /// The least and the greatest y at each of the points; empty where that is not told.
    pub spread: Vec<(f64, f64)>,
}

impl Series {
    /// Goes on to what a figure says of `x`.
    pub fn push(&mut self, x: f64, figure: &Figure) {
        self.points.push((x, figure.value));
        self.spread.push((figure.min, figure.max));
    }
}

/// What one axis of a plot shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axis {
    /// What it counts, with the unit.
    pub label: String,
    /// Whether each step multiplies instead of adding.
    pub logarithmic: bool,
}

/// One drawing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plot {
    /// The file's name, without extension.
    pub name: String,
    /// What stands above it.
    pub title: String,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// The lines.
    pub series: Vec<Series>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_with_its_spread() {
        let figure = Figure::of("x", "ns", vec![9.0, 1.0, 4.0]);
        assert_eq!((figure.min, figure.value, figure.max), (1.0, 4.0, 9.0));
    }
}
