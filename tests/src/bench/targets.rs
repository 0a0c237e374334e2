//! What the figures are to reach.

/// The bound that a figure must keep, and the one that it is to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// The figure's key.
    pub name: &'static str,
    /// Worse than this is a fault.
    pub floor: f64,
    /// This is the aim.
    pub goal: f64,
}

/// How a value stands to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The goal is reached.
    Goal,
    /// The floor is.
    Floor,
    /// Neither is.
    Below,
}

impl Standing {
    /// In one word, for the table.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Goal => "goal",
            Self::Floor => "floor",
            Self::Below => "BELOW",
        }
    }
}

const fn target(name: &'static str, floor: f64, goal: f64) -> Target {
    Target { name, floor, goal }
}

/// All of them, in the order of the table.
pub const TARGETS: [Target; 15] = [
    target("encap_vs_redirect", 0.60, 0.75),
    target("encap_vs_seg6", 2.0, 2.8),
    target("encap_vs_seg6_1000", 2.2, 3.0),
    target("decap_vs_end_dt6", 2.4, 3.0),
    target("pass_vs_forward", 0.94, 0.98),
    target("match_ns_1", 45.0, 30.0),
    target("match_ns_100k", 250.0, 150.0),
    target("match_ns_1m", 650.0, 300.0),
    target("miss_ns", 20.0, 12.0),
    target("put_ns_100", 100.0, 60.0),
    target("put_ns_1400", 400.0, 250.0),
    target("drain_vs_send", 2.5, 4.0),
    target("drain_vs_sendmmsg", 2.0, 3.0),
    target("una_to_first_us_p50", 300.0, 100.0),
    target("una_to_first_us_p99", 1000.0, 300.0),
];

impl Target {
    /// The target of a figure, if it has one.
    pub fn of(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// How `value` stands to it. The goal tells whether less is better.
    pub fn standing(&self, value: f64) -> Standing {
        let reaches = |bound: f64| match self.goal < self.floor {
            true => value <= bound,
            false => value >= bound,
        };
        if reaches(self.goal) {
            Standing::Goal
        } else if reaches(self.floor) {
            Standing::Floor
        } else {
            Standing::Below
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_to_be_large_and_a_time_short() {
        let standing = |name, value| Target::of(name).expect("a target").standing(value);
        assert_eq!(standing("encap_vs_seg6", 2.8), Standing::Goal);
        assert_eq!(standing("encap_vs_seg6", 2.0), Standing::Floor);
        assert_eq!(standing("encap_vs_seg6", 1.9), Standing::Below);
        assert_eq!(standing("miss_ns", 12.0), Standing::Goal);
        assert_eq!(standing("miss_ns", 20.0), Standing::Floor);
        assert_eq!(standing("miss_ns", 20.1), Standing::Below);
    }
}
