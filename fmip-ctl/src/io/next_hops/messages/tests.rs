use netlink_packet_route::{
    address::AddressHeader,
    neighbour::NeighbourAddress,
    route::{RouteHeader, RouteNextHop},
};
use rtnetlink::packet_core::NetlinkHeader;

use super::*;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn told(message: RouteNetlinkMessage) -> Option<Notice> {
    notice(&NetlinkMessage::new(
        NetlinkHeader::default(),
        NetlinkPayload::InnerMessage(message),
    ))
}

fn route_message(attributes: Vec<RouteAttribute>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: AddressFamily::Inet6,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message.attributes = attributes;
    message
}

fn neighbor_message(
    state: NeighbourState,
    attributes: Vec<NeighbourAttribute>,
) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.ifindex = 3;
    message.header.state = state;
    message.attributes = attributes;
    message
        .attributes
        .push(NeighbourAttribute::Destination(NeighbourAddress::Inet6(
            ip("fe80::1"),
        )));
    message
}

fn link_message(flags: LinkFlags, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = 3;
    message.header.flags = flags;
    message.attributes = attributes;
    message
}

#[test]
fn a_prefix_contains_what_begins_with_its_bits() {
    let prefix = Prefix::new(ip("2001:db8:9::7"), 64);
    assert_eq!(prefix, Prefix::new(ip("2001:db8:9::"), 64));
    assert!(prefix.contains(ip("2001:db8:9:0:ffff::")));
    assert!(!prefix.contains(ip("2001:db8:9:1::")));
    assert!(Prefix::ALL.contains(ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")));
    let host = Prefix::new(ip("2001:db8::1"), 128);
    assert_eq!(host.range(), ip("2001:db8::1")..=ip("2001:db8::1"));
    assert_eq!(Prefix::new(ip("2001:db8::1"), 200), host);
}

#[test]
fn a_route_that_comes_or_goes_questions_its_destinations() {
    let mut message = route_message(vec![RouteAttribute::Destination(RouteAddress::Inet6(ip(
        "2001:db8:9::",
    )))]);
    message.header.destination_prefix_length = 48;
    let inside = Some(Notice::Routes(Prefix::new(ip("2001:db8:9::"), 48)));
    assert_eq!(told(RouteNetlinkMessage::NewRoute(message.clone())), inside);
    assert_eq!(told(RouteNetlinkMessage::DelRoute(message.clone())), inside);
    // The default route names no destination.
    let message = route_message(vec![]);
    let all = Some(Notice::Routes(Prefix::ALL));
    assert_eq!(told(RouteNetlinkMessage::NewRoute(message.clone())), all);
    let mut other = message;
    other.header.address_family = AddressFamily::Inet;
    assert_eq!(told(RouteNetlinkMessage::NewRoute(other)), None);
}

#[test]
fn a_route_for_some_sources_alone_is_told_from_others() {
    let mut message = route_message(vec![
        RouteAttribute::Destination(RouteAddress::Inet6(ip("2001:db8:9::"))),
        RouteAttribute::Source(RouteAddress::Inet6(ip("2001:db8:1::"))),
        RouteAttribute::Table(1_000),
        RouteAttribute::Priority(7),
    ]);
    message.header.destination_prefix_length = 48;
    message.header.source_prefix_length = 64;
    let route = SourceRoute {
        destination: Prefix::new(ip("2001:db8:9::"), 48),
        source: Prefix::new(ip("2001:db8:1::"), 64),
        table: 1_000,
        metric: 7,
    };
    assert_eq!(source_route(&message), Some(route));
    assert!(route > SourceRoute::first_of(route.destination));
    for (message, there) in [
        (RouteNetlinkMessage::NewRoute(message.clone()), true),
        (RouteNetlinkMessage::DelRoute(message.clone()), false),
    ] {
        assert_eq!(told(message), Some(Notice::SourceRoute(route, there)));
    }
    message.header.source_prefix_length = 0;
    assert_eq!(source_route(&message), None);
}

#[test]
fn an_address_questions_the_destinations_of_its_prefix() {
    let mut message = AddressMessage::default();
    message.header = AddressHeader {
        family: AddressFamily::Inet6,
        prefix_len: 64,
        ..AddressHeader::default()
    };
    message.attributes = vec![AddressAttribute::Address(ip("2001:db8:1::1").into())];
    let inside = Some(Notice::Routes(Prefix::new(ip("2001:db8:1::"), 64)));
    assert_eq!(
        told(RouteNetlinkMessage::NewAddress(message.clone())),
        inside
    );
    assert_eq!(told(RouteNetlinkMessage::DelAddress(message)), inside);
}

#[test]
fn an_entry_has_a_link_address_while_the_kernel_would_send_to_it() {
    use NeighbourState::{
        Delay, Failed, Incomplete, None as Unknown, Permanent, Probe, Reachable, Stale,
    };
    for (state, valid) in [
        (Unknown, false),
        (Incomplete, false),
        (Failed, false),
        (Reachable, true),
        (Stale, true),
        (Delay, true),
        (Probe, true),
        (Permanent, true),
    ] {
        let message = neighbor_message(
            state,
            vec![NeighbourAttribute::LinkLayerAddress(MAC.0.to_vec())],
        );
        let entry = entry(&message);
        assert_eq!(entry.link_address, valid.then_some(MAC), "{state:?}");
        assert_eq!(
            entry.idle,
            [Unknown, Failed, Stale].contains(&state),
            "{state:?}"
        );
    }
    let zero = NeighbourAttribute::LinkLayerAddress(vec![0; 6]);
    let long = NeighbourAttribute::LinkLayerAddress(vec![1; 20]);
    for attribute in [zero, long] {
        let message = neighbor_message(NeighbourState::Reachable, vec![attribute]);
        assert_eq!(entry(&message).link_address, None);
    }
}

#[test]
fn an_entry_tells_who_keeps_it() {
    let keeper = |message: &NeighbourMessage| entry(message).keeper;
    let managed = || NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed);
    let mine = || NeighbourAttribute::Protocol(RouteProtocol::Other(super::super::MARK));
    let mut message = neighbor_message(NeighbourState::Stale, vec![]);
    assert_eq!(keeper(&message), Keeper::Nobody);
    assert_eq!(left_behind(&message), None);
    message.attributes.push(managed());
    assert_eq!(keeper(&message), Keeper::Kernel);
    assert_eq!(left_behind(&message), None);
    message.attributes.push(mine());
    let hop = Hop {
        interface: 3,
        address: ip("fe80::1"),
    };
    assert_eq!(left_behind(&message), Some(hop));
    message.header.flags = NeighbourFlags::ExtLearned;
    assert_eq!(keeper(&message), Keeper::Maker);
    assert_eq!(left_behind(&message), None);
    let permanent = neighbor_message(NeighbourState::Permanent, vec![]);
    assert_eq!(keeper(&permanent), Keeper::Maker);
}

#[test]
fn a_proxy_entry_is_no_neighbor() {
    let mut message = neighbor_message(NeighbourState::None, vec![]);
    assert!(told(RouteNetlinkMessage::NewNeighbour(message.clone())).is_some());
    message.header.flags = NeighbourFlags::Proxy;
    assert_eq!(told(RouteNetlinkMessage::NewNeighbour(message)), None);
}

#[test]
fn an_interface_is_usable_with_a_carrier_and_has_the_mtu_of_ipv6() {
    let running = LinkFlags::Up | LinkFlags::Running | LinkFlags::LowerUp;
    let attributes = |mtu6: i32| {
        let mut switches = netlink_packet_route::link::Inet6DevConf::default();
        switches.mtu6 = mtu6;
        vec![
            LinkAttribute::Address(MAC.0.to_vec()),
            LinkAttribute::Mtu(1_500),
            LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::DevConf(
                switches,
            )])]),
        ]
    };
    let known = interface(&link_message(running, attributes(1_400)));
    assert_eq!(
        known,
        Interface {
            usable: true,
            link_address: Some(MAC),
            mtu: 1_400
        }
    );
    for (mtu6, expected) in [(0, 1_500), (-1, 1_500), (9_000, 1_500), (1_280, 1_280)] {
        let known = interface(&link_message(running, attributes(mtu6)));
        assert_eq!(known.mtu, expected, "{mtu6}");
    }
    for missing in [LinkFlags::Up, LinkFlags::Running, LinkFlags::LowerUp] {
        let known = interface(&link_message(running - missing, vec![]));
        assert!(!known.usable, "{missing:?}");
        assert_eq!(known.link_address, None);
    }
}

#[test]
fn a_message_of_a_bridge_about_its_port_does_not_say_how_the_interface_is() {
    let mut message = link_message(LinkFlags::Up, vec![LinkAttribute::Mtu(1_500)]);
    assert!(matches!(
        told(RouteNetlinkMessage::NewLink(message.clone())),
        Some(Notice::Interface(3, Some(_)))
    ));
    message.header.interface_family = AddressFamily::Bridge;
    for message in [
        RouteNetlinkMessage::NewLink(message.clone()),
        RouteNetlinkMessage::DelLink(message),
    ] {
        assert_eq!(told(message), Some(Notice::Interface(3, None)));
    }
}

#[test]
fn a_route_leads_to_its_gateway_or_to_the_destination_itself() {
    let destination = ip("2001:db8:9::1");
    let gateway = RouteAttribute::Gateway(RouteAddress::Inet6(ip("fe80::1")));
    let mut message = route_message(vec![RouteAttribute::Oif(3)]);
    let on_link = Route {
        hop: Hop {
            interface: 3,
            address: destination,
        },
        mtu: None,
    };
    assert_eq!(route(&message, destination), Some(on_link));
    message.attributes.push(gateway);
    message
        .attributes
        .push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(1_400)]));
    let by_gateway = Route {
        hop: Hop {
            interface: 3,
            address: ip("fe80::1"),
        },
        mtu: Some(1_400),
    };
    assert_eq!(route(&message, destination), Some(by_gateway));
}

#[test]
fn a_route_that_is_no_single_hop_leads_nowhere() {
    let destination = ip("2001:db8:9::1");
    let whole = || route_message(vec![RouteAttribute::Oif(3)]);
    let leads = |change: &dyn Fn(&mut RouteMessage)| {
        let mut message = whole();
        change(&mut message);
        route(&message, destination).is_some()
    };
    assert!(leads(&|_| ()));
    assert!(!leads(&|message| message.attributes.clear()));
    assert!(!leads(&|message| message
        .attributes
        .push(RouteAttribute::MultiPath(vec![RouteNextHop::default()]))));
    assert!(!leads(&|message| message
        .attributes
        .push(RouteAttribute::Encap(vec![]))));
    assert!(!leads(&|message| message.header.source_prefix_length = 64));
    assert!(!leads(&|message| message.header.flags = RouteFlags::Dead));
    for kind in [
        RouteType::Local,
        RouteType::BlackHole,
        RouteType::Unreachable,
        RouteType::Multicast,
    ] {
        assert!(!leads(&|message| message.header.kind = kind), "{kind:?}");
    }
}

#[test]
fn a_rule_is_selective_if_it_looks_at_more_than_the_destination() {
    let rule = |attributes: Vec<RuleAttribute>| {
        let mut message = RuleMessage::default();
        message.header.family = AddressFamily::Inet6;
        message.attributes = attributes;
        message
    };
    let usual = || {
        vec![
            RuleAttribute::Table(254),
            RuleAttribute::SuppressPrefixLen(u32::MAX),
            RuleAttribute::Protocol(RouteProtocol::Kernel),
            RuleAttribute::Priority(32_766),
        ]
    };
    assert_eq!(selective(&rule(usual())), None);
    let mut to = rule(usual());
    to.header.dst_len = 48;
    to.attributes
        .push(RuleAttribute::Destination(ip("2001:db8:9::").into()));
    assert_eq!(selective(&to), None);
    let inside = Some(Prefix::new(ip("2001:db8:9::"), 48));
    for attribute in [
        RuleAttribute::FwMark(7),
        RuleAttribute::Iifname("core0".to_owned()),
        RuleAttribute::L3MDev(true),
    ] {
        let mut looks = to.clone();
        looks.attributes.push(attribute.clone());
        assert_eq!(selective(&looks), inside, "{attribute:?}");
        looks.header.flags = RuleFlags::Invert;
        assert_eq!(selective(&looks), Some(Prefix::ALL), "{attribute:?}");
        let mut everywhere = rule(usual());
        everywhere.attributes.push(attribute);
        assert_eq!(selective(&everywhere), Some(Prefix::ALL));
    }
    for change in [
        |message: &mut RuleMessage| message.header.src_len = 64,
        |message: &mut RuleMessage| message.header.tos = 4,
    ] {
        let mut looks = to.clone();
        change(&mut looks);
        assert_eq!(selective(&looks), inside);
    }
}

#[test]
fn lost_messages_question_everything() {
    let overrun = NetlinkMessage::<RouteNetlinkMessage>::new(
        NetlinkHeader::default(),
        NetlinkPayload::Overrun(Vec::new()),
    );
    assert_eq!(notice(&overrun), Some(Notice::Overrun));
}

#[test]
fn an_address_of_one_link_alone_is_not_routable() {
    for text in ["::", "::1", "fe80::1", "ff0e::1"] {
        assert!(!routable(ip(text)), "{text}");
    }
    for text in ["2001:db8::1", "fd00::1"] {
        assert!(routable(ip(text)), "{text}");
    }
}
