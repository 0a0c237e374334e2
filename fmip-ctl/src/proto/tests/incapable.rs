//! Neighbors that do not know what an HI is (GEN-13).

use super::*;
use crate::wire::{BindingError, ParameterProblem};

/// A simulation in which one HI is out, and what it looks like.
fn asked() -> (Simulation, Bytes) {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Par, "HI", ALWAYS);
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    let (_, hi) = simulation.messages(Node::Par, "HI").next().unwrap();
    (simulation, hi.encode())
}

fn packet(source: Ipv6Addr, message: Message) -> Bytes {
    let packet = Packet {
        source,
        destination: PAR,
        hop_limit: 64,
        home_address: None,
        message,
    };
    packet.encode()
}

fn binding_error(source: Ipv6Addr, status: u8, home_address: Ipv6Addr) -> Bytes {
    let message = BindingError {
        status,
        home_address,
    };
    packet(source, Message::BindingError(message))
}

fn parameter_problem(source: Ipv6Addr, invoking: Bytes) -> Bytes {
    let message = ParameterProblem {
        code: 1,
        pointer: 6,
        invoking,
    };
    packet(source, Message::ParameterProblem(message))
}

const NONE: Ipv6Addr = Ipv6Addr::UNSPECIFIED;

fn outcomes_of(simulation: &mut Simulation) -> Vec<(PrRtAdvCode, ApOutcome)> {
    simulation.log.clear();
    simulation.inject(Node::Par, ACCESS, rtsolpr(vec![AP2]).encode());
    let outcome = |(_, packet): (_, Packet)| match packet.message {
        Message::PrRtAdv(answer) => (answer.code, answer.tuples[0].outcome),
        other => unreachable!("only PrRtAdvs were asked for, not {other:?}"),
    };
    simulation
        .messages(Node::Par, "PrRtAdv")
        .map(outcome)
        .collect()
}

// Rows: GEN-13, PRA-13
#[test]
fn a_nar_that_does_not_understand_the_hi_ends_the_fbu_and_is_marked_for_a_while() {
    for is_binding_error in [true, false] {
        let (mut simulation, hi) = asked();
        let error = match is_binding_error {
            true => binding_error(NAR, 2, NONE),
            false => parameter_problem(NAR, hi),
        };
        simulation.inject(Node::Par, CORE, error);
        assert_eq!(statuses(&simulation), [FastBindingStatus::Unspecified]);
        assert_eq!(simulation.par.counters().peer_incapable, 1);
        assert_nothing_changed(&simulation);
        simulation.run(SECOND);
        assert_eq!(simulation.count("par: -> HI"), 1, "it is not asked again");

        let incapable = (PrRtAdvCode::Partial, ApOutcome::NoFastHandover);
        assert_eq!(outcomes_of(&mut simulation), [incapable]);
        simulation.run(Duration::from_secs(61));
        let capable = (PrRtAdvCode::Solicited, ApOutcome::Known);
        assert_eq!(outcomes_of(&mut simulation), [capable]);
    }
}

// Rows: GEN-13
#[test]
fn a_nar_that_speaks_again_is_believed_to_understand() {
    let (mut simulation, _) = asked();
    simulation.inject(Node::Par, CORE, binding_error(NAR, 2, NONE));
    simulation.inject(Node::Par, CORE, hi(NAR, HI_BACK));
    let capable = (PrRtAdvCode::Solicited, ApOutcome::Known);
    assert_eq!(outcomes_of(&mut simulation), [capable]);
}

// Rows: GEN-13
#[test]
fn a_forged_error_changes_nothing() {
    let (_, hi) = asked();
    let altered = |at: usize| {
        let mut altered = hi.to_vec();
        altered[at] ^= 1;
        Bytes::from(altered)
    };
    let stranger: Ipv6Addr = "2001:db8:9::1".parse().unwrap();
    let cases: [(InterfaceIndex, Bytes, Counter); 12] = [
        (CORE, binding_error(stranger, 2, NONE), |c| c.unknown_peer),
        (ACCESS, binding_error(NAR, 2, NONE), |c| c.unknown_peer),
        // It answers another packet: an HI has no home address.
        (CORE, binding_error(NAR, 2, PCOA), |c| c.unmatched),
        (CORE, binding_error(NAR, 1, NONE), |c| c.unmatched),
        // A router on the way has nothing to say about what the NAR understands.
        (CORE, parameter_problem(stranger, hi.clone()), |c| {
            c.unknown_peer
        }),
        (ACCESS, parameter_problem(NAR, hi.clone()), |c| {
            c.unknown_peer
        }),
        (CORE, parameter_problem(NAR, altered(6)), |c| c.unmatched), // next header
        (CORE, parameter_problem(NAR, altered(8)), |c| c.unmatched), // source
        (CORE, parameter_problem(NAR, altered(24)), |c| c.unmatched), // destination
        (CORE, parameter_problem(NAR, altered(42)), |c| c.unmatched), // type
        (CORE, parameter_problem(NAR, altered(47)), |c| c.unmatched), // sequence number
        (CORE, parameter_problem(NAR, hi.slice(..47)), |c| {
            c.unmatched
        }),
    ];
    for (interface, bytes, count) in cases {
        let (mut simulation, _) = asked();
        simulation.inject(Node::Par, interface, bytes);
        assert_eq!(count(simulation.par.counters()), 1);
        assert_eq!(simulation.par.handovers()[0].state, "awaiting-hack");
        let capable = (PrRtAdvCode::Solicited, ApOutcome::Known);
        assert_eq!(outcomes_of(&mut simulation), [capable]);
    }
}

// Rows: GEN-13
#[test]
fn an_error_after_the_answer_does_not_end_the_tunnel() {
    let (mut simulation, hi) = asked();
    answer(&mut simulation, HackCode::NcoaValid, None);
    simulation.inject(Node::Par, CORE, binding_error(NAR, 2, NONE));
    simulation.inject(Node::Par, CORE, parameter_problem(NAR, hi));
    assert_eq!(simulation.par.counters().unmatched, 2);
    assert_eq!(simulation.par.handovers()[0].state, "forwarding");
}

// Rows: HAK-09
#[test]
fn a_nar_that_asks_for_an_hi_gets_one_if_an_fbu_is_known() {
    let invitation = |sequence, ncoa| hack(NAR, sequence, HackCode::Unsolicited, ncoa);
    let (mut simulation, _) = asked();
    // By the address that it wonders about, as long as the retries last.
    for sent in [2, 3, 4, 4] {
        simulation.inject(Node::Par, CORE, invitation(0, Some(NCOA)));
        assert_eq!(simulation.count("par: -> HI"), sent);
    }
    // Nobody asked to go there.
    let other = "2001:db8:2::99".parse().unwrap();
    simulation.inject(Node::Par, CORE, invitation(0, Some(other)));
    assert_eq!(simulation.par.counters().unmatched, 1);
    // A stranger cannot ask.
    let stranger = "2001:db8:9::1".parse().unwrap();
    let forged = hack(stranger, 0, HackCode::Unsolicited, Some(NCOA));
    simulation.inject(Node::Par, CORE, forged);
    assert_eq!(simulation.par.counters().unknown_peer, 1);
    assert_eq!(commands(&simulation), []);

    // It has forgotten a mobile node that the tunnel leads to.
    answer(&mut simulation, HackCode::NcoaValid, None);
    simulation.inject(Node::Par, CORE, invitation(0, Some(NCOA)));
    assert_eq!(simulation.count("par: -> HI"), 5);
    assert_eq!(simulation.count("par: remove-tunnel"), 0);
    answer(&mut simulation, HackCode::NcoaValid, None);
    simulation.run(FOREVER);
    assert_eq!(simulation.count("par: remove-tunnel"), 1);
    simulation.assert_clean();
}

// Rows: HAK-09, HAK-10
#[test]
fn an_invitation_without_a_known_fbu_is_ignored() {
    let bytes = hack(NAR, 0, HackCode::Unsolicited, Some(NCOA));
    let mut simulation = Simulation::new();
    simulation.inject(Node::Par, CORE, bytes);
    assert_eq!(simulation.par.counters().unmatched, 1);
    assert_eq!(simulation.steps(), Vec::<String>::new());
}
