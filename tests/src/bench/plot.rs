//! Draws plots, as SVG: text that every browser shows, and that needs no font to be made.

use std::{
    fmt, fs,
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, ensure};
use plotters::{
    chart::{ChartBuilder, ChartContext},
    coord::{
        Shift,
        combinators::BindKeyPoints as _,
        ranged1d::{AsRangedCoord, Ranged, ValueFormatter},
    },
    drawing::DrawingArea,
    prelude::*,
};

use super::{Axis, Plot, Series};

/// The size of a drawing; what shows it scales it.
const SIZE: (u32, u32) = (960, 600);
const TITLE: u32 = 22;
const LABEL: u32 = 17;
const SMALL: u32 = 16;
/// The height of a line of the legend, which stands below the axes: nothing is hidden by it.
const LEGEND: u32 = 24;
/// Where the drawing's axes begin on the left.
const LEFT: u32 = 76;
const MARGIN: u32 = 16;
/// The last label below an axis is wider than what it stands under.
const RIGHT_MARGIN: u32 = 44;
/// Half the width of the bar at a whisker's end.
const WHISKER: i32 = 5;
/// From so many points on a line would hide them: they are drawn as dots alone.
const MANY: usize = 64;
/// Colours that people of all sorts of sight tell apart (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(120, 94, 20),
];

/// Writes the plot into `directory`; the file's path.
///
/// # Errors
/// If it cannot be drawn or written.
pub fn write(plot: &Plot, directory: &Path) -> Result<PathBuf> {
    let path = directory.join(format!("{}.svg", plot.name));
    fs::write(&path, draw(plot)?).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The plot as an SVG document.
///
/// # Errors
/// If it has no point, or a logarithmic axis has one at or below 0.
pub fn draw(plot: &Plot) -> Result<String> {
    let bounds = Bounds::of(plot)?;
    let mut document = String::new();
    {
        let area = SVGBackend::with_string(&mut document, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(|error| drawing(plot, &error))?;
        let legend = LEGEND * plot.series.len() as u32 + MARGIN;
        let (chart, below) = area.split_vertically(SIZE.1.saturating_sub(legend));
        let Bounds { x, y, .. } = bounds.clone();
        // Where each step multiplies, the values that were measured are the ones to be read.
        let steps = |x: Range<f64>| x.log_scale().with_key_points(bounds.steps.clone());
        match (plot.x.logarithmic, plot.y.logarithmic) {
            (false, false) => draw_on(&chart, plot, &bounds, x, y),
            (true, false) => draw_on(&chart, plot, &bounds, steps(x), y),
            (false, true) => draw_on(&chart, plot, &bounds, x, y.log_scale()),
            (true, true) => draw_on(&chart, plot, &bounds, steps(x), y.log_scale()),
        }?;
        explain(&below, plot).map_err(|error| drawing(plot, &error))?;
        area.present().map_err(|error| drawing(plot, &error))?;
    }
    Ok(document)
}

fn drawing(plot: &Plot, error: &impl fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw {}: {error}", plot.name)
}

/// What a plot's axes must show.
#[derive(Clone, Debug)]
struct Bounds {
    x: Range<f64>,
    y: Range<f64>,
    /// The values of x that there are points at.
    steps: Vec<f64>,
    /// Where what never came to be is shown, if something did not.
    never: Option<f64>,
}

impl Bounds {
    fn of(plot: &Plot) -> Result<Self> {
        let points = || plot.series.iter().flat_map(|series| &series.points);
        let spread = plot.series.iter().flat_map(|series| &series.spread);
        let finite = points().map(|point| point.1).filter(|y| y.is_finite());
        let all_y: Vec<f64> = finite
            .chain(spread.flat_map(|&(least, greatest)| [least, greatest]))
            .collect();
        let mut steps: Vec<f64> = points().map(|point| point.0).collect();
        steps.sort_by(f64::total_cmp);
        steps.dedup();
        ensure!(!all_y.is_empty(), "{} shows nothing", plot.name);
        let never = points().any(|point| !point.1.is_finite());
        let x = range(&plot.x, &steps, 0.0).with_context(|| plot.name.clone())?;
        let room = if never { 0.25 } else { 0.05 };
        let mut y = range(&plot.y, &all_y, room).with_context(|| plot.name.clone())?;
        if !plot.y.logarithmic {
            // Lengths are compared: they start from nothing.
            y.start = if all_y.iter().any(|y| *y < 0.0) {
                y.start
            } else {
                0.0
            };
        }
        let high = match plot.y.logarithmic {
            true => y.start * (y.end / y.start).powf(0.93),
            false => y.start + (y.end - y.start) * 0.88,
        };
        Ok(Self {
            x,
            y,
            steps,
            never: never.then_some(high),
        })
    }
}

/// What an axis must show to show all `values`, with a part of it left as room at the upper end.
fn range(axis: &Axis, values: &[f64], room: f64) -> Result<Range<f64>> {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if axis.logarithmic {
        ensure!(least > 0.0, "{least} has no place on a logarithmic axis");
        let margin = (greatest / least).powf(0.04).max(1.1);
        let upper = (greatest / least).powf(room).max(1.1);
        return Ok(least / margin..greatest * upper);
    }
    let width = match greatest - least {
        width if width > 0.0 => width,
        _ => least.abs().max(1.0),
    };
    Ok(least - width * 0.03..greatest + width * room.max(0.03))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw_on<'a, X, Y>(area: &Area<'a>, plot: &Plot, bounds: &Bounds, x: X, y: Y) -> Result<()>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let failed = |error: &dyn fmt::Display| drawing(plot, &error);
    let mut chart = ChartBuilder::on(area)
        .caption(&plot.title, ("sans-serif", TITLE))
        .margin(MARGIN)
        .margin_right(RIGHT_MARGIN)
        .x_label_area_size(52)
        .y_label_area_size(LEFT)
        .build_cartesian_2d(x, y)
        .map_err(|error| failed(&error))?;
    chart
        .configure_mesh()
        .x_desc(&plot.x.label)
        .y_desc(&plot.y.label)
        .axis_desc_style(("sans-serif", LABEL))
        .label_style(("sans-serif", SMALL))
        .x_label_formatter(&|value| number(*value))
        .y_label_formatter(&|value| number(*value))
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.15))
        .draw()
        .map_err(|error| failed(&error))?;
    for (series, colour) in plot.series.iter().zip(COLOURS.iter().cycle()) {
        add(&mut chart, series, *colour, bounds.never).map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// Draws the legend: a line for every series.
fn explain(area: &Area<'_>, plot: &Plot) -> Result<(), Failure> {
    let style = ("sans-serif", SMALL).into_font().color(&BLACK);
    let x = (MARGIN + LEFT) as i32;
    for (line, series) in plot.series.iter().enumerate() {
        let y = LEGEND as i32 * line as i32 + LEGEND as i32 / 2;
        let colour = COLOURS[line % COLOURS.len()];
        area.draw(&Circle::new((x + 6, y), 5, colour.filled()))?;
        let lost = (series.points.iter()).filter(|point| !point.1.is_finite());
        let text = match lost.count() {
            0 => series.name.clone(),
            lost => format!("{} (\u{d7}: {lost} never came)", series.name),
        };
        // The position is that of the upper edge, as far as the backend can tell without the font.
        area.draw(&Text::new(
            text,
            (x + 22, y - SMALL as i32 / 2 + 3),
            style.clone(),
        ))?;
    }
    Ok(())
}

type Failure = DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>;

/// Adds one series: a line with its points and whiskers, or a cloud of dots.
fn add<'a, X, Y>(
    chart: &mut ChartContext<'a, SVGBackend<'_>, Cartesian2d<X, Y>>,
    series: &Series,
    colour: RGBColor,
    never: Option<f64>,
) -> Result<(), Failure>
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    let (came, lost): (Vec<_>, Vec<_>) =
        (series.points.iter().copied()).partition(|point| point.1.is_finite());
    let many = series.points.len() >= MANY;
    let size = if many { 2 } else { 4 };
    if !many {
        chart.draw_series(LineSeries::new(came.clone(), colour.stroke_width(2)))?;
    }
    let dots = (came.iter()).map(|&at| Circle::new(at, size, colour.filled()));
    chart.draw_series(dots)?;
    if let Some(height) = never {
        let crosses = lost
            .iter()
            .map(|&(x, _)| Cross::new((x, height), 3, colour.mix(0.6)));
        chart.draw_series(crosses)?;
    }
    let whiskers = series.points.iter().zip(&series.spread);
    chart.draw_series(whiskers.clone().map(|(&(x, _), &(least, greatest))| {
        PathElement::new(vec![(x, least), (x, greatest)], colour.stroke_width(1))
    }))?;
    let ends = whiskers.flat_map(|(&(x, _), &(least, greatest))| [(x, least), (x, greatest)]);
    chart.draw_series(ends.map(|end| {
        let bar = PathElement::new(vec![(-WHISKER, 0), (WHISKER, 0)], colour.stroke_width(1));
        EmptyElement::at(end) + bar
    }))?;
    Ok(())
}

/// A number as people write it: no more digits than it needs.
fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 1e6 {
        return format!("{} million", trimmed(value / 1e6));
    }
    if size >= 1e4 {
        // A thin space between thousands.
        let thousands = (value / 1e3).trunc();
        let rest = (value - thousands * 1e3).abs();
        return format!("{thousands}\u{2009}{rest:03.0}");
    }
    trimmed(value)
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match text {
        "-0" => "0".to_owned(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(logarithmic: bool, points: &[(f64, f64)]) -> Plot {
        Plot {
            name: "nanoseconds".to_owned(),
            title: "By size & <more>".to_owned(),
            x: Axis {
                label: "bindings".to_owned(),
                logarithmic,
            },
            y: Axis {
                label: "ns per packet".to_owned(),
                logarithmic: false,
            },
            series: vec![Series {
                name: "match".to_owned(),
                points: points.to_vec(),
                ..Series::default()
            }],
        }
    }

    #[test]
    fn a_drawing_says_what_it_shows() {
        let mut plot = plot(true, &[(1.0, 30.0), (1e6, 300.0)]);
        plot.series[0].spread = vec![(25.0, 40.0), (280.0, 350.0)];
        let document = draw(&plot).unwrap();
        for text in [
            "By size &amp; &lt;more&gt;",
            "bindings",
            "ns per packet",
            "match",
        ] {
            assert!(document.contains(text), "{text}: {document}");
        }
        let without = draw(&self::plot(true, &[(1.0, 30.0), (1e6, 300.0)])).unwrap();
        let of_series = |document: &str| document.matches("stroke=\"#0072B2\"").count();
        assert_eq!(of_series(&without), 1, "the line");
        assert_eq!(
            of_series(&document),
            1 + 6,
            "a whisker and its two bars each"
        );
    }

    #[test]
    fn what_never_came_is_shown_and_counted() {
        let document = draw(&plot(false, &[(0.0, 1.0), (1.0, f64::NAN), (2.0, 1.5)])).unwrap();
        assert!(
            document.contains("match (\u{d7}: 1 never came)"),
            "{document}"
        );
    }

    #[test]
    fn nothing_cannot_be_drawn_and_0_has_no_logarithm() {
        assert!(draw(&plot(false, &[])).is_err());
        assert!(draw(&plot(false, &[(1.0, f64::NAN)])).is_err());
        let error = draw(&plot(true, &[(0.0, 1.0)])).unwrap_err();
        assert!(format!("{error:#}").contains("logarithmic"), "{error:#}");
        assert!(
            draw(&plot(false, &[(3.0, 7.0)])).is_ok(),
            "one point is one"
        );
    }

    #[test]
    fn numbers_are_written_for_people() {
        let written = [0.0, -0.001, 0.25, 64.0, 1500.0, 100_000.0, 1e6, 2.5e6].map(number);
        let thousands = "100\u{2009}000";
        assert_eq!(
            written,
            [
                "0",
                "0",
                "0.25",
                "64",
                "1500",
                thousands,
                "1 million",
                "2.5 million"
            ]
        );
    }
}
