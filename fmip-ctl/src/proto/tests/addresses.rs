//! Which address something new may begin from, which is kept, and which goes.

use super::*;

/// What was ordered about addresses, as `keep PCOA`.
fn orders(simulation: &Simulation) -> Vec<String> {
    let name = |address: Ipv6Addr| match address {
        PCOA => "PCOA".to_owned(),
        NCOA => "NCOA".to_owned(),
        other => other.to_string(),
    };
    let order = |command: Command| match command {
        Command::ConfigureAddress { address, .. } => Some(format!("configure {}", name(address))),
        Command::PreferAddress { address, .. } => Some(format!("prefer {}", name(address))),
        Command::KeepAddress { address, .. } => Some(format!("keep {}", name(address))),
        Command::RestoreAddress { address, .. } => Some(format!("restore {}", name(address))),
        Command::RemoveAddress { address, .. } => Some(format!("remove {}", name(address))),
        _ => None,
    };
    commands(simulation).into_iter().filter_map(order).collect()
}

/// A mobile node that was handed over a second ago.
fn arrived() -> Simulation {
    let mut simulation = Simulation::new();
    simulation.impend();
    simulation.run(SECOND);
    simulation
}

// Rows: TUN-07
#[test]
fn the_new_address_is_like_any_other_when_no_tunnel_lives_any_more() {
    let mut simulation = arrived();
    assert_eq!(orders(&simulation), ["configure NCOA", "keep PCOA"]);
    assert_eq!(simulation.addresses, [PCOA, NCOA].into());
    simulation.log.clear();
    simulation.run(FOREVER);
    assert_eq!(orders(&simulation), ["prefer NCOA", "remove PCOA"]);
    assert_eq!(simulation.addresses, [NCOA].into());
}

#[test]
fn back_on_its_link_an_address_gets_back_what_it_had_and_the_other_goes() {
    let mut simulation = arrived();
    simulation.log.clear();
    simulation.link(LinkEvent::LinkDown);
    assert_eq!(orders(&simulation), Vec::<String>::new());
    simulation.come_up(AP1);
    simulation.run(SECOND);
    assert_eq!(orders(&simulation), ["restore PCOA", "remove NCOA"]);
    let events = simulation.events(Node::Mn);
    let told = concat!(
        r#"{"event":"care-of-address","care_of":"2001:db8:1::ff:fe00:1","#,
        r#""previous":"2001:db8:2::ff:fe00:1","router":"2001:db8:1::1","#,
        r#""prefix_length":64,"fast":false}"#
    );
    assert!(events.iter().any(|event| event == told), "{events:?}");
    simulation.run(FOREVER);
    simulation.assert_clean();
    assert_eq!(simulation.addresses, [PCOA].into());
}

#[test]
fn a_node_that_stays_has_its_address_as_ever() {
    let mut simulation = Simulation::new();
    simulation.gap = None;
    simulation.impend();
    simulation.run(SECOND);
    simulation.come_up(AP1);
    simulation.run(FOREVER);
    assert_eq!(orders(&simulation), Vec::<String>::new());
}

/// A mobile node that has come to the other link without a word, from where nobody answers its FBU.
fn fallen_back() -> Simulation {
    let mut simulation = Simulation::new();
    simulation.link(LinkEvent::NewLinkDetected { access_point: AP2 });
    simulation.run(SECOND);
    simulation.lose(Node::Mn, "FBU", ALWAYS);
    simulation.log.clear();
    simulation.come_up(AP2);
    simulation.run(2 * SECOND);
    assert_eq!(simulation.mn.counters().fell_back, 1);
    simulation
}

// Rows: TUN-07, W11-15
#[test]
fn after_a_fall_back_the_address_that_leads_nowhere_goes() {
    let mut simulation = fallen_back();
    let left = ["configure NCOA", "prefer NCOA", "keep PCOA", "remove PCOA"];
    assert_eq!(orders(&simulation), left);
    assert_eq!(simulation.addresses, [NCOA].into());
    simulation.run(FOREVER);
    assert_eq!(orders(&simulation), left);
    simulation.assert_clean();

    // As one that has no key, and is a guest there as it was before.
    let mut config = mobile_node_config();
    config.routers.clear();
    let mut simulation = Simulation::with(config, router_config(false), router_config(true));
    simulation.link(LinkEvent::NewLinkDetected { access_point: AP2 });
    simulation.run(SECOND);
    simulation.come_up(AP2);
    simulation.run(FOREVER);
    assert_eq!(orders(&simulation), left);
    assert_eq!(simulation.addresses, [NCOA].into());
}

// Rows: MOV-01, W16-15
#[test]
fn back_from_a_fall_back_it_has_the_address_of_that_link_alone() {
    let mut simulation = fallen_back();
    simulation.repair();
    simulation.log.clear();
    simulation.come_up(AP1);
    simulation.run(FOREVER);
    let returned = ["restore PCOA", "keep NCOA", "remove NCOA"];
    assert_eq!(orders(&simulation), returned);
    assert_eq!(simulation.addresses, [PCOA].into());
    simulation.assert_clean();
    // What was restored goes as it went before.
    simulation.lose(Node::Mn, "FBU", ALWAYS);
    simulation.inject(Node::Mn, ACCESS, neighborhood(AP2, 2, None));
    simulation.log.clear();
    simulation.come_up(AP2);
    simulation.run(FOREVER);
    assert_eq!(
        orders(&simulation),
        ["configure NCOA", "prefer NCOA", "keep PCOA", "remove PCOA"]
    );
    assert_eq!(simulation.addresses, [NCOA].into());
}

/// The kernel, or whoever gave it, has an address back as soon as something may begin from it.
// Rows: TUN-07
#[test]
fn an_address_that_is_like_any_other_is_kept_before_it_is_removed() {
    let mut simulation = arrived();
    let registered = Input::Admin(Admin::Registered { care_of: NCOA });
    simulation.input(Node::Mn, registered);
    simulation.log.clear();
    simulation.come_up(AP1);
    simulation.run(FOREVER);
    assert_eq!(
        orders(&simulation),
        ["restore PCOA", "keep NCOA", "remove NCOA"]
    );
    assert_eq!(simulation.addresses, [PCOA].into());
}

// Rows: UNA-05, UNA-10
#[test]
fn an_address_that_duplicate_address_detection_refuses_goes_and_another_comes() {
    let mut simulation = arrived();
    simulation.log.clear();
    let configure = Command::ConfigureAddress {
        interface: ACCESS,
        address: NCOA,
        prefix_length: 64,
    };
    let failed = Input::CommandFailed {
        command: configure,
        error: CommandError::InUse("at another node".to_owned()),
    };
    simulation.input(Node::Mn, failed.clone());
    assert_eq!(orders(&simulation), ["remove NCOA"]);
    assert_eq!(simulation.count("mn: -> rs"), 1);
    assert!(simulation.mn.status().handover.is_some());
    // It is known; nothing is to be done again.
    simulation.input(Node::Mn, failed);
    assert_eq!(orders(&simulation), ["remove NCOA"]);
    // No last word about an address that is another's.
    simulation.run(FOREVER);
    let overriding = simulation.messages(Node::Mn, "NA").any(
        |(_, packet)| matches!(packet.message, Message::NeighborAdvertisement(na) if na.override_),
    );
    assert!(!overriding);
}

// Rows: UNA-05
#[test]
fn a_refusal_is_heard_after_the_link_has_flapped_too() {
    let mut simulation = arrived();
    simulation.link(LinkEvent::LinkDown);
    simulation.come_up(AP2);
    simulation.run(Duration::from_millis(10));
    simulation.log.clear();
    simulation.input(
        Node::Mn,
        Input::CommandFailed {
            command: Command::ConfigureAddress {
                interface: ACCESS,
                address: NCOA,
                prefix_length: 64,
            },
            error: CommandError::InUse("at another node".to_owned()),
        },
    );
    assert_eq!(orders(&simulation), ["remove NCOA"]);
    assert_eq!(simulation.count("mn: -> rs"), 1);
}

// Rows: UNA-10
#[test]
fn the_last_word_is_said_as_soon_as_the_kernel_knows_that_nobody_has_the_address() {
    let last = |simulation: &Simulation| {
        let mut messages = simulation.messages(Node::Mn, "NA");
        messages.find_map(|(at, packet)| match packet.message {
            Message::NeighborAdvertisement(na) if na.override_ => Some(at),
            _ => None,
        })
    };
    let mut simulation = arrived();
    assert_eq!(last(&simulation), None);
    let confirmed = |address| Input::AddressConfirmed { address };
    // Another address is not this one.
    simulation.input(Node::Mn, confirmed(PCOA));
    simulation.run(Duration::from_millis(1));
    assert_eq!(last(&simulation), None);
    let now = simulation.now;
    simulation.input(Node::Mn, confirmed(NCOA));
    simulation.run(Duration::from_millis(1));
    assert_eq!(last(&simulation), Some(now));
    // Once.
    let said = simulation.count("mn: -> na");
    simulation.input(Node::Mn, confirmed(NCOA));
    simulation.run(FOREVER);
    assert_eq!(simulation.count("mn: -> na"), said);

    // Not before the others, without which a router would not have an entry to change.
    let mut simulation = Simulation::new();
    simulation.impend();
    simulation.run(Duration::from_millis(250));
    assert_eq!(simulation.count("mn: -> na"), 1);
    simulation.input(Node::Mn, confirmed(NCOA));
    assert_eq!(last(&simulation), None);
    simulation.run(Duration::from_millis(300));
    assert_eq!(simulation.count("mn: -> na"), 4);
    assert!(last(&simulation).is_some());
}
