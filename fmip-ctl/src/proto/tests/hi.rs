//! HIs that must not work.

use super::*;

// Rows: HAK-06, HI-18, SEC-06
#[test]
fn an_hi_from_a_stranger_is_refused() {
    let stranger = "2001:db8:9::1".parse().unwrap();
    let simulation = nar_hears(hi(stranger, HI));
    assert_eq!(simulation.nar.counters().unknown_peer, 1);
    assert_eq!(hack_codes(&simulation), [HackCode::Prohibited]);
    assert_nothing_changed(&simulation);
}

// Rows: SEC-06
#[test]
fn an_hi_that_comes_over_an_access_link_is_no_neighbors() {
    let mut simulation = Simulation::new();
    simulation.inject(Node::Nar, ACCESS, hi(PAR, HI));
    assert_eq!(simulation.nar.counters().unknown_peer, 1);
    assert_nothing_changed(&simulation);
}

// Rows: HAK-06, HI-18, SEC-06
#[test]
fn an_hi_for_a_pcoa_outside_its_senders_prefix_is_refused() {
    let pcoa = Some("2001:db8:3::1".parse().unwrap());
    let simulation = nar_hears(hi(PAR, HandoverInitiate { pcoa, ..HI }));
    assert_eq!(simulation.nar.counters().pcoa_outside_prefix, 1);
    assert_eq!(hack_codes(&simulation), [HackCode::Prohibited]);
    assert_nothing_changed(&simulation);
}

// Rows: HI-12, HI-18
#[test]
fn an_hi_for_an_ncoa_that_is_not_ours_to_give_is_refused() {
    let cases: [(&str, Counter); 3] = [
        ("2001:db8:3::1", |counters| counters.ncoa_outside_prefix),
        ("2001:db8:2::1", |counters| counters.ncoa_in_use), // the router itself
        ("2001:db8:2::", |counters| counters.ncoa_in_use),  // any router
    ];
    for (ncoa, count) in cases {
        let ncoa = Some(ncoa.parse().unwrap());
        let simulation = nar_hears(hi(PAR, HandoverInitiate { ncoa, ..HI }));
        assert_eq!(count(simulation.nar.counters()), 1);
        assert_eq!(hack_codes(&simulation), [HackCode::NcoaInUse]);
        assert_nothing_changed(&simulation);
    }
}

// Rows: EXT-02, HAK-06
#[test]
fn an_hi_that_asks_for_what_we_do_not_do_is_refused() {
    let code = |code| HandoverInitiate { code, ..HI };
    for message in [
        code(HiCode::Other(9)),
        HandoverInitiate { proxy: true, ..HI },
        HandoverInitiate {
            forward: true,
            ..HI
        },
    ] {
        let simulation = nar_hears(hi(PAR, message));
        assert_eq!(simulation.nar.counters().unsupported, 1);
        assert_eq!(hack_codes(&simulation), [HackCode::Unspecified]);
        assert_nothing_changed(&simulation);
    }
}

// Rows: HAK-06, HI-18
#[test]
fn an_hi_without_its_options_is_refused() {
    for message in [
        HandoverInitiate { mn_lla: None, ..HI },
        HandoverInitiate { pcoa: None, ..HI },
        HandoverInitiate { ncoa: None, ..HI },
    ] {
        let simulation = nar_hears(hi(PAR, message));
        assert_eq!(hack_codes(&simulation), [HackCode::Unspecified]);
        assert_nothing_changed(&simulation);
    }
}

// Rows: HI-12, HI-18
#[test]
fn an_ncoa_that_another_mobile_node_is_expected_with_is_refused() {
    let mut simulation = nar_hears(hi(PAR, HI));
    let other = HandoverInitiate {
        sequence: 8,
        mn_lla: Some(MacAddr([2, 0, 0, 0, 0, 9])),
        pcoa: Some("2001:db8:1::9".parse().unwrap()),
        ..HI
    };
    // The answer to the same question is the same.
    for _ in 0..2 {
        simulation.inject(Node::Nar, CORE, hi(PAR, other.clone()));
    }
    assert_eq!(
        hack_codes(&simulation),
        [
            HackCode::NcoaValid,
            HackCode::NcoaInUse,
            HackCode::NcoaInUse
        ]
    );
    assert_eq!(simulation.nar.counters().ncoa_in_use, 2);
    assert_eq!(simulation.count("nar: start-buffering"), 1);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

#[test]
fn a_mobile_node_that_left_and_returns_is_expected_anew() {
    let mut simulation = nar_hears(hi(PAR, HI));
    simulation.inject(Node::Nar, ACCESS, una(NCOA, MN_LLA).encode());
    simulation.run(Duration::from_millis(500));
    let again = HandoverInitiate { sequence: 8, ..HI };
    simulation.inject(Node::Nar, CORE, hi(PAR, again));
    assert_eq!(simulation.nar.handovers()[0].state, "expected");
    assert_eq!(simulation.count("nar: remove-buffer"), 1);
    assert_eq!(simulation.count("nar: add-proxy-nd"), 2);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// Rows: HAK-01, HI-14, HI-18
#[test]
fn an_hi_that_the_mobile_node_overtook_does_not_send_it_away_again() {
    let mut simulation = nar_hears(hi(PAR, HI));
    simulation.inject(Node::Nar, ACCESS, una(NCOA, MN_LLA).encode());
    simulation.run(Duration::from_millis(10));
    // The FBU was sent again just before the FBack to the first came.
    let again = HandoverInitiate { sequence: 8, ..HI };
    simulation.inject(Node::Nar, CORE, hi(PAR, again));
    assert_eq!(simulation.nar.handovers()[0].state, "arrived");
    assert_eq!(simulation.count("nar: remove-buffer"), 0);
    assert_eq!(
        hack_codes(&simulation),
        [HackCode::NcoaValid, HackCode::NcoaValid]
    );
    let sequences =
        simulation
            .messages(Node::Nar, "HAck")
            .map(|(_, packet)| match packet.message {
                Message::HandoverAck(hack) => hack.sequence,
                other => unreachable!("only HAcks were asked for, not {other:?}"),
            });
    assert_eq!(sequences.collect::<Vec<_>>(), [7, 8]);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

/// An HI for the mobile node of the others.
fn numbered(sequence: u16, buffer: bool) -> Bytes {
    let message = HandoverInitiate {
        sequence,
        buffer,
        ..HI
    };
    hi(PAR, message)
}

// Rows: MOV-06, BUF-06
#[test]
fn what_is_held_is_dropped_at_the_word_of_the_par_alone_that_holds_its_mobile_node() {
    let mut simulation = nar_hears(numbered(7, true));
    simulation.log.clear();
    simulation.inject(Node::Nar, CORE, numbered(8, false));
    assert_eq!(simulation.steps(), ["nar: remove-buffer", "nar: -> hack"]);
    assert_eq!(simulation.nar.handovers()[0].state, "expected");
    // It comes after all.
    simulation.log.clear();
    simulation.inject(Node::Nar, CORE, numbered(9, true));
    assert_eq!(simulation.steps(), ["nar: start-buffering", "nar: -> hack"]);
    // The one before that was overtaken: it changes nothing, and has an answer (HI-18).
    simulation.log.clear();
    simulation.inject(Node::Nar, CORE, numbered(8, false));
    assert_eq!(simulation.steps(), ["nar: -> hack"]);
    // It has gone without a word to its PAR (Code 1), which wants nothing held then.
    simulation.log.clear();
    let moved = HandoverInitiate {
        sequence: 10,
        code: HiCode::OtherSource,
        buffer: false,
        ..HI
    };
    simulation.inject(Node::Nar, CORE, hi(PAR, moved));
    assert_eq!(simulation.count("nar: remove-buffer"), 0);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// Rows: HI-11, HI-12
#[test]
fn what_is_asked_for_while_the_link_is_asked_for_the_address_is_held() {
    let mut simulation = nar_with(|nar| {
        nar.access[0].duplicate_probe = Some(Duration::from_millis(300));
    });
    simulation.inject(Node::Nar, CORE, numbered(7, false));
    assert_eq!(simulation.nar.handovers()[0].state, "probing");
    assert_eq!(simulation.count("nar: start-buffering"), 0);
    simulation.inject(Node::Nar, CORE, numbered(8, true));
    assert_eq!(simulation.count("nar: start-buffering"), 1);
    simulation.inject(Node::Nar, CORE, numbered(9, true));
    assert_eq!(simulation.count("nar: start-buffering"), 1);
    simulation.run(FOREVER);
    assert_eq!(simulation.count("nar: remove-buffer"), 1);
    simulation.assert_clean();
}
