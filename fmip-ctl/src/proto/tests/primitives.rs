//! What a link layer tells, through the damper and to the routers.

use super::*;
use crate::link::damping::{Damper, Outcome, Settings};

/// A mobile node whose link layer is damped.
struct Damped {
    simulation: Simulation,
    damper: Damper,
}

impl Damped {
    fn new(settings: Settings) -> Self {
        let mut par = router_config(false);
        // Two access points of the other router, to hesitate between.
        par.peers[0].access_points = vec![AP2, AP_UNKNOWN];
        Self {
            simulation: Simulation::with(mobile_node_config(), par, router_config(true)),
            damper: Damper::new(settings, Some(AP1)),
        }
    }

    fn tell(&mut self, event: LinkEvent) -> Outcome {
        let outcome = self.damper.tell(self.simulation.now, event);
        if outcome == Outcome::Told {
            self.simulation.link(event);
        }
        outcome
    }

    /// The link layer hears of both, and the router says what is behind them.
    fn look_around(&mut self) {
        for access_point in [AP2, AP_UNKNOWN] {
            self.tell(LinkEvent::NewLinkDetected { access_point });
        }
        self.run(SECOND);
        assert_eq!(self.simulation.count("par: -> PrRtAdv"), 2);
        self.simulation.log.clear();
    }

    fn impend(&mut self, access_point: MacAddr) -> Outcome {
        self.tell(LinkEvent::HandoverImpend { access_point })
    }

    /// Lets time pass, for the damper, too.
    fn run(&mut self, limit: Duration) {
        let end = self.simulation.now + limit;
        while let Some(due) = self.damper.poll_timeout().filter(|&due| due <= end) {
            self.simulation.run(due - self.simulation.now);
            if let Some(event) = self.damper.handle_timeout(due) {
                self.simulation.link(event);
            }
        }
        self.simulation.run(end - self.simulation.now);
    }
}

fn forged(n: u16) -> MacAddr {
    let [high, low] = n.to_be_bytes();
    MacAddr([2, 0xee, 0, 0, high, low])
}

/// As much as the damper can be set to let through, and as much as it does by itself.
// Rows: W16-03, RTS-08
#[test]
fn a_flood_of_10_000_forged_access_points_keeps_the_rate_and_the_memory() {
    let open = Settings {
        new_link_burst: 1_000,
        new_links_per_second: 1_000,
        ..Settings::default()
    };
    for (settings, most_told) in [(Settings::default(), 32 + 20), (open, 10_000)] {
        let mut damped = Damped::new(settings);
        let start = damped.simulation.now;
        let mut told = 0;
        let mut size_early = 0;
        for n in 0..10_000 {
            let event = LinkEvent::NewLinkDetected {
                access_point: forged(n),
            };
            told += usize::from(damped.tell(event) == Outcome::Told);
            damped.run(Duration::from_millis(1));
            // The log is the test's own.
            damped.simulation.log.retain(|(_, node, output)| {
                *node == Node::Mn && matches!(output, Output::Transmit(_))
            });
            if n == 1_000 {
                size_early = format!("{:?}", damped.simulation.mn).len();
            }
        }
        assert!((32..=most_told).contains(&told), "{told}");
        let dropped = damped.damper.counters().flooded_new_links;
        assert_eq!(dropped, 10_000 - told as u64);
        let times = damped.simulation.times(start, Node::Mn, "RtSolPr");
        assert!(times.len() > 3, "it still asks: {times:?}");
        for window in times.windows(4) {
            assert!(window[3] - window[0] >= 1_000, "{times:?}");
        }
        let size = format!("{:?}", damped.simulation.mn).len();
        assert!(size < 2 * size_early, "{size_early} to {size}");

        // And a genuine move is prepared in the midst of it.
        assert_eq!(damped.impend(AP2), Outcome::Told);
        damped.run(FOREVER);
        for step in ["mn: -> FBU", "mn: switch-link", "mn: release-uplink"] {
            assert_eq!(damped.simulation.count(step), 1, "{step}");
        }
        damped.simulation.assert_clean();
    }
}

// Rows: W16-07
#[test]
fn indications_that_are_repeated_while_the_signal_fades_make_one_handover() {
    let mut damped = Damped::new(Settings::default());
    damped.simulation.gap = None;
    for n in 0..100 {
        let expected = if n == 0 {
            Outcome::Told
        } else {
            Outcome::Dropped
        };
        assert_eq!(damped.impend(AP2), expected);
        damped.run(Duration::from_millis(5));
    }
    assert_eq!(damped.simulation.count("mn: -> FBU"), 1);
    assert_eq!(damped.simulation.count("mn: switch-link"), 1);
}

/// RFC 4907 section 2.3.3: how often an indication may lead to an action.
// Rows: W16-07
#[test]
fn targets_that_flap_cost_an_fbu_in_every_interval_and_the_last_one_wins() {
    let mut damped = Damped::new(Settings::default());
    damped.look_around();
    let start = damped.simulation.now;
    // An FBack would make the link layer go.
    damped.simulation.lose(Node::Par, "FBack", ALWAYS);
    for n in 0..100 {
        damped.impend(if n % 2 == 0 { AP2 } else { AP_UNKNOWN });
        damped.run(Duration::from_millis(10));
    }
    damped.simulation.repair();
    damped.run(SECOND);
    // In each of the intervals an FBU to another target, and its repetition after 100 ms.
    let times = damped.simulation.times(start, Node::Mn, "FBU");
    assert!(times.len() >= 5, "{times:?}");
    for interval in times.windows(3) {
        assert!(interval[2] - interval[0] >= 200, "{times:?}");
    }
    let last = damped
        .simulation
        .log
        .iter()
        .rev()
        .find_map(|(_, _, output)| match output {
            Output::Command(Command::SwitchLink { access_point }) => Some(*access_point),
            _ => None,
        });
    assert_eq!(last, Some(AP_UNKNOWN));
}

/// RFC 5270 section 5.3: "there is no signaling overhead as a result of a intermittent loss".
// Rows: W16-15
#[test]
fn a_link_that_flaps_at_the_same_access_point_costs_no_signalling_and_is_told_at_once() {
    let mut damped = Damped::new(Settings::default());
    damped.look_around();
    for _ in 0..50 {
        assert_eq!(damped.tell(LinkEvent::LinkDown), Outcome::Told);
        damped.run(Duration::from_millis(3));
        let up = LinkEvent::LinkUp { access_point: AP1 };
        assert_eq!(damped.tell(up), Outcome::Told);
        damped.run(Duration::from_millis(3));
    }
    damped.run(FOREVER);
    let sent = damped
        .simulation
        .log
        .iter()
        .filter(|(_, _, output)| matches!(output, Output::Transmit(_)));
    assert_eq!(sent.count(), 0);
    // What was sent in the gaps was held, and went out.
    assert_eq!(damped.simulation.count("mn: hold-uplink"), 50);
    assert_eq!(damped.simulation.count("mn: release-uplink"), 50);
    damped.simulation.assert_clean();
}

/// Nothing was advertised since the node started, and the kernel knew its router.
// Rows: W16-15
#[test]
fn what_was_held_leaves_at_once_where_the_router_was_known_from_the_start() {
    let config = MobileNodeConfig {
        router_lla: Some(PAR_LLA),
        ..mobile_node_config()
    };
    let mut simulation = Simulation::with(config, router_config(false), router_config(true));
    simulation.link(LinkEvent::LinkDown);
    simulation.run(SECOND / 10);
    simulation.link(LinkEvent::LinkUp { access_point: AP1 });
    simulation.run(SECOND / 10);
    assert_eq!(simulation.count("mn: hold-uplink"), 1);
    assert_eq!(simulation.count("mn: release-uplink"), 1);
    let released = simulation
        .log
        .iter()
        .find_map(|(_, _, output)| match output {
            Output::Command(Command::ReleaseUplink { router_lla, .. }) => Some(*router_lla),
            _ => None,
        });
    assert_eq!(released, Some(PAR_LLA));
}

/// LINK_GOING_DOWN of 802.21 has no target: what it leads to is that the move is one to a router that
/// is known.
// Rows: W16-13
#[test]
fn a_link_that_goes_down_without_a_target_makes_the_move_one_to_a_known_router() {
    let mut damped = Damped::new(Settings::default());
    assert_eq!(damped.tell(LinkEvent::LinkGoingDown), Outcome::Told);
    assert_eq!(damped.tell(LinkEvent::LinkGoingDown), Outcome::Dropped);
    damped.run(SECOND);
    let asked: Vec<_> = damped
        .simulation
        .messages(Node::Mn, "RtSolPr")
        .map(|(_, packet)| match packet.message {
            Message::RtSolPr(message) => message.access_points,
            other => unreachable!("only RtSolPrs were asked for, not {other:?}"),
        })
        .collect();
    assert_eq!(asked, [[]], "for all");
    assert_eq!(damped.simulation.count("mn: switch-link"), 0);
    damped.simulation.come_up(AP2);
    damped.run(SECOND);
    assert_eq!(damped.simulation.count("mn: -> RS"), 0);
    let fbu = damped.simulation.messages(Node::Mn, "FBU").next();
    assert_eq!(fbu.unwrap().1.source, NCOA);
    damped.run(FOREVER);
    damped.simulation.assert_clean();
}

/// A driver that takes its time to say so.
#[test]
fn that_a_link_switch_failed_does_not_end_a_handover_to_elsewhere() {
    let mut damped = Damped::new(Settings::default());
    damped.simulation.gap = None;
    damped.simulation.lose(Node::Par, "FBack", ALWAYS);
    damped.impend(AP2);
    damped.run(Duration::from_millis(250));
    damped.simulation.repair();
    damped.impend(AP_UNKNOWN);
    damped.run(SECOND);
    assert_eq!(damped.simulation.count("mn: switch-link"), 1);
    let failed = |access_point| Input::CommandFailed {
        command: Command::SwitchLink { access_point },
        error: CommandError::Other("no answer".to_owned()),
    };
    damped.simulation.input(Node::Mn, failed(AP2));
    assert_eq!(damped.simulation.mn.handovers()[0].state, "switching");
    damped.simulation.input(Node::Mn, failed(AP_UNKNOWN));
    assert_eq!(
        damped
            .simulation
            .events(Node::Mn)
            .last()
            .map(String::as_str),
        Some(r#"{"event":"handover-failed","reason":"command-failed"}"#)
    );
}
