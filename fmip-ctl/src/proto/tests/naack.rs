//! What a mobile node is told whose address it cannot have.

use super::*;

const OTHER_LLA: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

/// A NAR with this policy, and an address that is another mobile node's.
fn nar_with_policy(policy: OnInvalidNcoa) -> Simulation {
    let mut simulation = nar_with(|config| config.access[0].on_invalid_ncoa = policy);
    simulation.inject(Node::Nar, CORE, hi(PAR, HI));
    simulation
}

fn status(status: NaackStatus) -> Naack {
    Naack { status, ncoa: None }
}

// Rows: NAK-01, NAK-03
#[test]
fn a_node_whose_address_is_anothers_is_told_as_the_policy_says() {
    for (policy, expected) in [
        (OnInvalidNcoa::Silent, None),
        (
            OnInvalidNcoa::Configure,
            Some(NaackStatus::ConfigureAddress),
        ),
        (
            OnInvalidNcoa::UseRouterAddress,
            Some(NaackStatus::UseRouterAddress),
        ),
        // There is no pool on this link.
        (OnInvalidNcoa::Assign, Some(NaackStatus::ConfigureAddress)),
    ] {
        let mut simulation = nar_with_policy(policy);
        simulation.inject(Node::Nar, ACCESS, una(NCOA, OTHER_LLA).encode());
        let expected = expected.map(|code| (NCOA, Some(OTHER_LLA), status(code)));
        assert_eq!(naacks(&simulation), Vec::from_iter(expected));
        let sent = u64::from(expected.is_some());
        assert_eq!(simulation.nar.counters().sent_naack, sent);
        // It is still the other one's.
        assert_eq!(simulation.count("nar: remove-proxy-nd"), 0);
        assert_eq!(simulation.count("nar: release-buffer"), 0);
    }
}

// Rows: NAK-01, NAK-03, GEN-09
#[test]
fn the_advertisement_changes_nothing_else_on_the_link() {
    let mut simulation = nar_with_policy(OnInvalidNcoa::Configure);
    simulation.inject(Node::Nar, ACCESS, una(NCOA, OTHER_LLA).encode());
    let (_, packet) = simulation.messages(Node::Nar, "RA").next().unwrap();
    assert_eq!(packet.source, Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2));
    assert_eq!(packet.hop_limit, 255);
    let Message::RouterAdvertisement(message) = packet.message else {
        panic!("it is an advertisement");
    };
    // RFC 4861 section 6.3.4: 0 would end this router's being the default one.
    assert_eq!(message.router_lifetime, 1800);
    // What 0 leaves as it is.
    let left_open = (message.hop_limit, message.reachable_ms, message.retrans_ms);
    assert_eq!(left_open, (0, 0, 0));
    assert_eq!(message.source_lla, Some(NAR_LLA));
    assert_eq!(message.prefixes, []);
    assert!(!message.managed && !message.other);
}

// Rows: NAK-02, UNA-11
#[test]
fn the_proxy_is_gone_before_its_mobile_node_hears_that_the_address_is_not_its_own() {
    let mut simulation = nar_with_policy(OnInvalidNcoa::Configure);
    simulation.log.clear();
    simulation.in_use = true;
    simulation.fail(Node::Nar, "add-neighbor");
    simulation.inject(Node::Nar, ACCESS, una(NCOA, MN_LLA).encode());
    assert_eq!(
        simulation.steps(),
        [
            "nar: remove-proxy-nd",
            "nar: add-neighbor",
            "nar: remove-buffer",
            "nar: -> ra"
        ]
    );
    let told = (NCOA, Some(MN_LLA), status(NaackStatus::ConfigureAddress));
    assert_eq!(naacks(&simulation), [told]);
    simulation.assert_clean();
}

// Rows: NAK-01, SEC-07
#[test]
fn a_link_that_knows_its_nodes_takes_no_others() {
    let mut simulation = nar_with(|config| {
        config.access[0].known_link_addresses = vec![OTHER_LLA];
    });
    simulation.inject(Node::Nar, CORE, hi(PAR, HI));
    assert_eq!(hacks(&simulation), [(HackCode::Prohibited, None)]);
    simulation.inject(Node::Nar, ACCESS, una(NCOA, MN_LLA).encode());
    let told = (
        NCOA,
        Some(MN_LLA),
        status(NaackStatus::LinkAddressUnrecognized),
    );
    assert_eq!(naacks(&simulation), [told]);
    assert_eq!(simulation.nar.counters().unknown_link_address, 2);
    assert_nothing_changed(&simulation);
    // The one that it knows is taken.
    simulation.inject(Node::Nar, ACCESS, una(NCOA, OTHER_LLA).encode());
    assert_eq!(simulation.count("nar: add-neighbor"), 1);
}
