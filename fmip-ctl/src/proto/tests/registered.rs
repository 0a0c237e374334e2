//! Mobile IPv6 has registered the new care-of address: the tunnel from the previous one ends.

use super::*;

/// How long stragglers are waited for, and a moment more.
const LINGER: Duration = Duration::from_millis(2_100);

/// A mobile node that was handed over a while ago.
fn arrived() -> Simulation {
    let mut simulation = Simulation::new();
    simulation.impend();
    simulation.run(SECOND * 3);
    assert_eq!(simulation.par.handovers()[0].state, "forwarding");
    simulation.log.clear();
    simulation
}

fn registered(simulation: &mut Simulation, care_of: Ipv6Addr) {
    simulation.input(Node::Mn, Input::Admin(Admin::Registered { care_of }));
}

// Rows: MOV-02, MOV-07, AMB-17, TUN-07
#[test]
fn the_tunnel_ends_at_both_ends_and_stragglers_are_still_heard() {
    let mut simulation = arrived();
    registered(&mut simulation, NCOA);
    let (_, packet) = simulation.messages(Node::Mn, "FBU").next().unwrap();
    assert_eq!((packet.source, packet.destination), (NCOA, PAR));
    assert_eq!(packet.home_address, Some(PCOA));
    let Message::FastBindingUpdate(fbu) = &packet.message else {
        panic!("it is an FBU");
    };
    assert_eq!(fbu.lifetime, 0);
    let addresses = Addresses {
        care_of: PCOA,
        par: PAR,
    };
    let authorization = fbu.authorization.as_ref().expect("it is signed");
    assert!(auth::verify(
        &packet.encode(),
        authorization,
        KEY,
        addresses
    ));
    simulation.run(SECOND);
    assert_eq!(
        simulation.steps(),
        ["mn: -> fbu", "par: remove-tunnel", "par: -> fback"]
    );
    assert_eq!(simulation.par.handovers(), []);
    // It can be used from now on, and the old one is there for what is still on its way.
    let prefer = Command::PreferAddress {
        interface: ACCESS,
        address: NCOA,
    };
    assert!(commands(&simulation).contains(&prefer));
    assert_eq!(simulation.addresses, [PCOA, NCOA].into());
    let status = simulation.mn.status();
    assert!(status.registered);
    assert!(status.previous[0].ending);
    simulation.run(LINGER);
    assert_eq!(simulation.count("mn: remove-uplink"), 1);
    assert_eq!(simulation.addresses, [NCOA].into());
    let events = simulation.events(Node::Mn);
    assert_eq!(
        events[events.len() - 1],
        r#"{"event":"tunnel-removed","pcoa":"2001:db8:1::ff:fe00:1","reason":"ended"}"#
    );
    assert_eq!(simulation.mn.handovers(), []);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

#[test]
fn a_word_that_is_lost_is_said_again_and_a_second_one_says_nothing_new() {
    let mut simulation = arrived();
    simulation.lose(Node::Mn, "FBU", 2);
    registered(&mut simulation, NCOA);
    registered(&mut simulation, NCOA);
    simulation.run(SECOND);
    assert_eq!(simulation.count("mn: -> fbu"), 3);
    let numbers: Vec<u16> = simulation
        .messages(Node::Mn, "FBU")
        .filter_map(|(_, packet)| match packet.message {
            Message::FastBindingUpdate(fbu) => Some(fbu.sequence),
            _ => None,
        })
        .collect();
    assert_eq!([numbers[1] - numbers[0], numbers[2] - numbers[1]], [1, 1]);
    assert_eq!(simulation.count("par: remove-tunnel"), 1);
    simulation.run(LINGER);
    assert_eq!(simulation.count("mn: remove-uplink"), 1);
    registered(&mut simulation, NCOA);
    simulation.run(FOREVER);
    assert_eq!(simulation.count("mn: -> fbu"), 3);
    simulation.assert_clean();
}

#[test]
fn a_router_that_does_not_answer_is_listened_to_until_the_lifetime_ends() {
    let mut simulation = arrived();
    simulation.lose(Node::Mn, "FBU", ALWAYS);
    registered(&mut simulation, NCOA);
    simulation.run(SECOND * 10);
    assert_eq!(simulation.count("mn: -> fbu"), 4);
    assert_eq!(simulation.count("mn: remove-uplink"), 0);
    assert_eq!(simulation.mn.handovers()[0].state, "arrived");
    simulation.run(FOREVER);
    assert_eq!(simulation.count("mn: remove-uplink"), 1);
    simulation.assert_clean();
}

// Rows: MOV-07, FBA-09
#[test]
fn the_answer_must_be_signed() {
    let mut simulation = arrived();
    simulation.lose(Node::Par, "FBack", ALWAYS);
    registered(&mut simulation, NCOA);
    let (_, packet) = simulation.messages(Node::Mn, "FBU").next().unwrap();
    let Message::FastBindingUpdate(fbu) = packet.message else {
        panic!("it is an FBU");
    };
    let fback = FastBindingAck {
        lifetime: 0,
        ..accepted(fbu.sequence)
    };
    // Over the new address, as if it were an ordinary one.
    simulation.inject(Node::Mn, ACCESS, fback_to(NCOA, fback.clone(), NCOA));
    assert_eq!(simulation.mn.counters().bad_authenticator, 1);
    assert!(simulation.mn.poll_timeout().is_some());
    simulation.inject(Node::Mn, ACCESS, fback_to(NCOA, fback, PCOA));
    simulation.run(LINGER);
    assert_eq!(simulation.count("mn: remove-uplink"), 1);
}

#[test]
fn a_router_that_lost_count_is_asked_with_the_right_number() {
    let mut simulation = arrived();
    simulation.lose(Node::Mn, "FBU", 1);
    registered(&mut simulation, NCOA);
    let lost = FastBindingAck {
        status: SEQUENCE_OUT_OF_WINDOW,
        lifetime: 0,
        ..accepted(700)
    };
    simulation.inject(Node::Mn, ACCESS, fback_to(NCOA, lost, PCOA));
    let (_, packet) = simulation.messages(Node::Mn, "FBU").last().unwrap();
    let Message::FastBindingUpdate(fbu) = packet.message else {
        panic!("it is an FBU");
    };
    assert_eq!((fbu.sequence, fbu.lifetime), (701, 0));
    simulation.run(SECOND + LINGER);
    assert_eq!(simulation.count("mn: remove-uplink"), 1);
}

#[test]
fn what_is_no_care_of_address_of_its_own_is_refused_in_words() {
    let mut simulation = arrived();
    assert_eq!(simulation.mn.may_register(NCOA), Ok(()));
    assert_eq!(
        simulation.mn.may_register(PCOA).unwrap_err(),
        "2001:db8:1::ff:fe00:1 was the care-of address before: it is 2001:db8:2::ff:fe00:1 now, \
         and that is to be registered"
    );
    assert_eq!(
        simulation.mn.may_register(PAR).unwrap_err(),
        "2001:db8:1::1 is no care-of address of this node: it is 2001:db8:2::ff:fe00:1"
    );
    for care_of in [PCOA, PAR] {
        registered(&mut simulation, care_of);
    }
    assert_eq!(simulation.mn.counters().unexpected, 2);
    assert_eq!(simulation.steps(), Vec::<String>::new());
}

#[test]
fn without_a_tunnel_there_is_nothing_to_end() {
    let mut simulation = Simulation::new();
    registered(&mut simulation, PCOA);
    assert_eq!(simulation.steps(), Vec::<String>::new());
    simulation.run(FOREVER);
    simulation.assert_clean();
}

#[test]
fn a_node_that_goes_back_meanwhile_ends_the_tunnel_as_one_that_is_back() {
    let mut simulation = arrived();
    simulation.lose(Node::Mn, "FBU", 1);
    registered(&mut simulation, NCOA);
    simulation.link(LinkEvent::LinkDown);
    simulation.run(Duration::from_millis(150));
    // Nothing is sent without a link.
    assert_eq!(simulation.count("mn: -> fbu"), 1);
    simulation.come_up(AP1);
    simulation.run(SECOND);
    let (_, packet) = simulation.messages(Node::Mn, "FBU").last().unwrap();
    assert_eq!((packet.source, packet.destination), (PCOA, PAR));
    assert_eq!(simulation.count("par: remove-tunnel"), 1);
    simulation.run(FOREVER);
    assert_eq!(simulation.addresses, [PCOA].into());
    simulation.assert_clean();
}

#[test]
fn a_shutdown_in_the_middle_leaves_nothing_to_do() {
    let mut simulation = arrived();
    simulation.lose(Node::Mn, "FBU", ALWAYS);
    registered(&mut simulation, NCOA);
    simulation.input(Node::Mn, Input::Admin(Admin::Shutdown));
    assert_eq!(simulation.count("mn: remove-uplink"), 1);
    assert_eq!(simulation.mn.poll_timeout(), None);
}
