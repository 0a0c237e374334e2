//! What a bench found, for people and for machines.

use std::fmt;

use super::{
    Figure, Plot,
    targets::{TARGETS, Target},
};

/// All that was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The figures.
    pub figures: Vec<Figure>,
    /// What could not be measured here.
    pub skipped: Vec<Skipped>,
    /// The drawings.
    pub plots: Vec<Plot>,
}

/// A figure that could not be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its key.
    pub name: String,
    /// Why.
    pub reason: String,
}

impl Report {
    /// Says of these figures that they could not be measured.
    pub(super) fn skip(&mut self, names: &[&str], error: &anyhow::Error) {
        for name in names {
            self.skipped.push(Skipped {
                name: (*name).to_owned(),
                reason: format!("{error:#}"),
            });
        }
    }

    /// An array of objects, in one line.
    pub fn json(&self) -> String {
        serde_json::to_string(&self.figures).expect("figures have only names and numbers")
    }

    /// Whether every figure that was measured keeps the floor of its target.
    pub fn keeps_floors(&self) -> bool {
        use super::targets::Standing;
        self.figures.iter().all(|figure| {
            Target::of(&figure.name)
                .is_none_or(|target| target.standing(figure.value) != Standing::Below)
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:<26}{:>9} {:<7}{:<22}{:>8}{:>8}",
            "", "median", "", "   min .. max", "floor", "goal"
        )?;
        // Those with a target first, in the order of the targets.
        let targeted = TARGETS.iter().filter_map(|target| {
            let figure = self.figures.iter().find(|f| f.name == target.name)?;
            Some((figure, Some(target)))
        });
        let others = self
            .figures
            .iter()
            .filter(|f| Target::of(&f.name).is_none());
        for (figure, target) in targeted.chain(others.map(|figure| (figure, None))) {
            line(formatter, figure, target)?;
        }
        for Skipped { name, reason } in &self.skipped {
            writeln!(formatter, "{name:<26}  SKIPPED: {reason}")?;
        }
        Ok(())
    }
}

fn line(
    formatter: &mut fmt::Formatter<'_>,
    figure: &Figure,
    target: Option<&Target>,
) -> fmt::Result {
    let Figure {
        name,
        value,
        unit,
        min,
        max,
    } = figure;
    // Enough digits for its size.
    let digits = match *max {
        max if max >= 100.0 => 0,
        max if max >= 10.0 => 1,
        _ => 2,
    };
    let spread = format!("{min:>6.digits$} .. {max:.digits$}");
    write!(
        formatter,
        "{name:<26}{value:>9.digits$} {unit:<7}{spread:<22}"
    )?;
    match target {
        Some(target) => writeln!(
            formatter,
            "{:>8}{:>8}  {}",
            target.floor,
            target.goal,
            target.standing(*value).word()
        ),
        None => writeln!(formatter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_stands_beside_its_target_and_what_is_missing_has_its_reason() {
        let mut report = Report {
            figures: vec![
                Figure::of("rate_redirect_64", "Mpps", vec![7.2]),
                Figure::of("miss_ns", "ns", vec![25.0, 11.0, 15.0]),
            ],
            ..Report::default()
        };
        assert!(report.keeps_floors());
        report.skip(&["encap_vs_seg6"], &anyhow::anyhow!("no seg6 here"));
        let table = report.to_string();
        let line = |name: &str| {
            let line = table.lines().find(|line| line.starts_with(name));
            line.expect("a line").split_whitespace().collect::<Vec<_>>()
        };
        assert_eq!(
            line("miss_ns"),
            [
                "miss_ns", "15.0", "ns", "11.0", "..", "25.0", "20", "12", "floor"
            ]
        );
        assert_eq!(
            line("encap_vs_seg6")[1..],
            ["SKIPPED:", "no", "seg6", "here"]
        );
        assert_eq!(line("rate_redirect_64")[1..3], ["7.20", "Mpps"]);

        report
            .figures
            .push(Figure::of("put_ns_100", "ns", vec![101.0]));
        assert!(!report.keeps_floors());
    }

    #[test]
    fn machines_get_an_array_of_objects() {
        let report = Report {
            figures: vec![Figure::of("miss_ns", "ns", vec![15.0])],
            ..Report::default()
        };
        assert_eq!(
            report.json(),
            r#"[{"name":"miss_ns","value":15.0,"unit":"ns","min":15.0,"max":15.0}]"#
        );
    }
}
