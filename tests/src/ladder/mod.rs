//! Ladder diagrams of what really happened: who told whom what, and when, as RFC 5270 figures 3 and 4
//! draw what should happen.
//!
//! A [`Ladder`] is made by [`Sources::ladder`] of all that is known: the signalling on the wires, the
//! events of the controllers, the steps that base stations and access points print, and the streams. It
//! is shown as text (its `Display`) and as SVG ([`Ladder::svg`]); a check of the order of its rows is in
//! [`link_layers::order`](crate::link_layers::order).

mod clock;
mod gather;
mod steps;
mod svg;
mod text;

use std::time::Duration;

use serde::Serialize;

pub use self::{
    clock::{Clocks, Reading},
    gather::{Member, Sources, place_of_router},
    steps::{Direction, Reporter, Step},
};

/// A column of the diagram.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The mobile node's protocol core, and its IP layer.
    MnL3,
    /// The mobile node's link layer.
    MnL2,
    /// The access point or base station that the mobile node comes from.
    OldAp,
    /// The previous access router.
    Par,
    /// The access point or base station where it goes.
    NewAp,
    /// The new access router.
    Nar,
    /// A third access point or base station.
    ThirdAp,
    /// A third access router.
    Third,
}

impl Place {
    /// All of them, in the order of the columns.
    pub const ALL: [Self; 8] = [
        Self::MnL3,
        Self::MnL2,
        Self::OldAp,
        Self::Par,
        Self::NewAp,
        Self::Nar,
        Self::ThirdAp,
        Self::Third,
    ];

    /// Whether it has a column though nothing happens there.
    const fn is_always_shown(self) -> bool {
        !matches!(self, Self::ThirdAp | Self::Third)
    }
}

/// What a row is about; drawings give each a look of its own.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// A primitive of RFC 5270 section 5, inside the mobile node.
    Primitive,
    /// A step or a message of the link layer.
    Link,
    /// A message of the protocol.
    Network,
    /// Packets of the streams.
    Data,
}

/// What a column is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The access point or base station that the mobile node comes from.
    pub old_ap: String,
    /// Where it goes.
    pub new_ap: String,
    /// A third one.
    pub third_ap: String,
    /// The third router.
    pub third: String,
}

impl Names {
    /// For links of 802.11.
    pub fn access_points() -> Self {
        Self::of("old AP", "new AP", "third AP")
    }

    /// For links of 802.16e, as RFC 5270 abbreviates the serving and the target base station.
    pub fn base_stations() -> Self {
        Self::of("s-BS", "t-BS", "third BS")
    }

    fn of(old: &str, new: &str, third: &str) -> Self {
        Self {
            old_ap: old.to_owned(),
            new_ap: new.to_owned(),
            third_ap: third.to_owned(),
            third: "third AR".to_owned(),
        }
    }

    fn name(&self, place: Place) -> &str {
        match place {
            Place::MnL3 => "MN L3",
            Place::MnL2 => "MN L2",
            Place::OldAp => &self.old_ap,
            Place::Par => "PAR",
            Place::NewAp => &self.new_ap,
            Place::Nar => "NAR",
            Place::ThirdAp => &self.third_ap,
            Place::Third => &self.third,
        }
    }
}

/// The clock that a time was read from.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Clock {
    /// CLOCK_MONOTONIC: what a process tells.
    Monotonic,
    /// CLOCK_REALTIME: what crosses a wire.
    Realtime,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// When, since the ladder's first row.
    pub at: Duration,
    /// Which clock said so.
    pub clock: Clock,
    /// Where, or who sent it.
    pub from: Place,
    /// Who it was sent to; none if it is an affair of one place.
    pub to: Option<Place>,
    /// The access point or base station that it names, if it has a column.
    pub about: Option<Place>,
    /// What it is, in full: checks look at this.
    pub what: String,
    /// What it is, as drawings say it.
    pub label: String,
    /// What kind of thing it is.
    pub layer: Layer,
    /// Whether it stands for a question and its answer.
    pub both_ways: bool,
    /// Whether it is known not to have arrived.
    pub lost: bool,
    /// The routers that it passed on its way.
    pub via: Vec<Place>,
}

impl Row {
    /// Something at one place, as a process told it.
    pub fn note(at: Duration, place: Place, layer: Layer, what: impl Into<String>) -> Self {
        let what = what.into();
        Self {
            at,
            clock: Clock::Monotonic,
            from: place,
            to: None,
            about: None,
            label: what.clone(),
            what,
            layer,
            both_ways: false,
            lost: false,
            via: Vec::new(),
        }
    }

    /// Something that one told another.
    pub fn arrow(
        at: Duration,
        from: Place,
        to: Place,
        layer: Layer,
        what: impl Into<String>,
    ) -> Self {
        Self {
            to: Some(to),
            ..Self::note(at, from, layer, what)
        }
    }

    /// Something that two do together.
    pub fn exchange(
        at: Duration,
        from: Place,
        to: Place,
        layer: Layer,
        what: impl Into<String>,
    ) -> Self {
        Self {
            both_ways: true,
            ..Self::arrow(at, from, to, layer, what)
        }
    }

    /// The same with another label.
    pub fn labelled(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }
}

/// What happened, in order.
#[derive(Clone, Debug)]
pub struct Ladder {
    /// What it is of, in one line.
    pub title: String,
    /// What its columns are called.
    pub names: Names,
    /// In order.
    pub rows: Vec<Row>,
    /// Two rows that are nearer to each other than that may have happened the other way round, if they
    /// are known from different clocks.
    pub tolerance: Duration,
}

/// A row as machines read it.
#[derive(Serialize)]
struct RowOut<'a> {
    at_ms: f64,
    from: Place,
    to: Option<Place>,
    about: Option<Place>,
    what: &'a str,
    layer: Layer,
    both_ways: bool,
    lost: bool,
    via: &'a [Place],
}

impl Ladder {
    /// The rows as JSON, an array of objects.
    pub fn json(&self) -> serde_json::Value {
        let rows = self.rows.iter().map(|row| RowOut {
            at_ms: milliseconds(row.at),
            from: row.from,
            to: row.to,
            about: row.about,
            what: &row.what,
            layer: row.layer,
            both_ways: row.both_ways,
            lost: row.lost,
            via: &row.via,
        });
        serde_json::to_value(rows.collect::<Vec<_>>()).expect("rows are names and numbers")
    }

    /// The columns that it has, in order.
    fn columns(&self) -> Vec<Place> {
        let is_used = |place: Place| {
            let mut rows = self.rows.iter();
            rows.any(|row| row.from == place || row.to == Some(place))
        };
        // A pair stands together: an access point is not understood without its router.
        let third = is_used(Place::ThirdAp) || is_used(Place::Third);
        let columns = Place::ALL.into_iter();
        columns
            .filter(|place| place.is_always_shown() || third)
            .collect()
    }

    /// What it says of its own exactness.
    fn exactness(&self) -> String {
        format!(
            "times in ms; the clocks they are from agree to within {:.1} microseconds",
            (self.tolerance.as_nanos() as f64 / 100.0).ceil() / 10.0
        )
    }
}

/// To the microsecond.
fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_micros(ms * 1000 + 125)
    }

    /// RFC 5270 figure 3, as it might have happened.
    pub(crate) fn figure_3() -> Ladder {
        use Layer::{Data, Link, Network, Primitive};
        use Place::{MnL2, MnL3, Nar, NewAp, OldAp, Par};
        let mut rows = vec![
            Row::arrow(Duration::ZERO, OldAp, MnL2, Link, "MOB_NBR-ADV"),
            Row::note(at(1), MnL2, Link, "scan"),
            Row::arrow(at(2), MnL2, MnL3, Primitive, "NEW_LINK_DETECTED").labelled("NLD"),
            Row::arrow(at(2), MnL3, Par, Network, "RtSolPr"),
            Row::arrow(at(3), Par, MnL3, Network, "PrRtAdv 0"),
            Row::arrow(at(8), MnL2, OldAp, Link, "MOB_MSHO-REQ"),
            Row::arrow(at(9), OldAp, MnL2, Link, "MOB_BSHO-RSP"),
            Row::arrow(at(9), MnL2, MnL3, Primitive, "LINK_HANDOVER_IMPEND").labelled("LHI"),
            Row::arrow(at(10), MnL3, Par, Network, "FBU"),
            Row::arrow(at(11), Par, Nar, Network, "HI 0"),
            Row::arrow(at(12), Nar, Par, Network, "HAck 0"),
            Row::arrow(at(13), Par, MnL3, Network, "FBack 0"),
            Row::arrow(at(13), Par, Nar, Data, "tunnel"),
            Row::note(at(14), Nar, Data, "packets held"),
            Row::arrow(at(15), MnL3, MnL2, Primitive, "LINK_SWITCH").labelled("LSW"),
            Row::arrow(at(16), MnL2, OldAp, Link, "MOB_HO-IND"),
            Row::note(at(17), MnL2, Link, "disconnect"),
            Row::exchange(at(120), MnL2, NewAp, Link, "network entry"),
            Row::arrow(at(121), MnL2, MnL3, Primitive, "LINK_UP").labelled("LUP"),
            Row::arrow(at(122), MnL3, Nar, Network, "UNA 2001:db8:2::ff:fe00:1").labelled("UNA"),
            Row::arrow(at(123), Nar, MnL3, Data, "packets"),
        ];
        rows.push(Row {
            lost: true,
            ..Row::arrow(at(1130), MnL3, Par, Network, "FBU to end")
        });
        Ladder {
            title: "Predictive fast handover in 802.16e".to_owned(),
            names: Names::base_stations(),
            rows,
            tolerance: Duration::from_micros(4),
        }
    }

    #[test]
    fn rows_are_told_to_machines() {
        let json = figure_3().json();
        assert_eq!(
            json[2],
            serde_json::json!({
                "at_ms": 2.125, "from": "mn-l2", "to": "mn-l3", "about": null, "what": "NEW_LINK_DETECTED",
                "layer": "primitive", "both_ways": false, "lost": false, "via": [],
            })
        );
        assert_eq!(json[21]["lost"], true);
    }

    #[test]
    fn the_third_pair_has_columns_only_where_something_happens_there() {
        let mut ladder = figure_3();
        assert_eq!(ladder.columns().len(), 6);
        ladder
            .rows
            .push(Row::note(at(2000), Place::Third, Layer::Network, "x"));
        assert_eq!(ladder.columns(), Place::ALL);
    }
}
