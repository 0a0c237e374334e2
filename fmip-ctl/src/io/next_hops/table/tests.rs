use super::*;
use crate::{io::next_hops::messages::Keeper, wire::MacAddr};

const CORE: InterfaceIndex = 3;
const OTHER: InterfaceIndex = 4;
const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
const FIRST: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const SECOND: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

fn destination(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, number)
}

fn prefix(length: u8) -> Prefix {
    Prefix::new(destination(0), length)
}

fn hop(interface: InterfaceIndex) -> Hop {
    Hop {
        interface,
        address: "fe80::1".parse().unwrap(),
    }
}

fn route(interface: InterfaceIndex) -> Option<Route> {
    Some(Route {
        hop: hop(interface),
        mtu: None,
    })
}

fn up(link_address: MacAddr) -> Interface {
    Interface {
        usable: true,
        link_address: Some(link_address),
        mtu: 1_500,
    }
}

fn down() -> Interface {
    Interface {
        usable: false,
        ..up(OWN)
    }
}

fn entry(link_address: MacAddr) -> Entry {
    Entry {
        link_address: Some(link_address),
        keeper: Keeper::Kernel,
        marked: true,
        claimed: true,
        idle: false,
    }
}

fn failed() -> Entry {
    Entry {
        link_address: None,
        ..entry(FIRST)
    }
}

fn way(interface: InterfaceIndex, link_destination: MacAddr) -> Option<Way> {
    Some(Way {
        interface,
        gateway: hop(interface).address,
        link_destination,
        link_source: OWN,
        mtu: 1_500,
    })
}

/// A kernel that answers what the table asks, and counts.
struct World {
    route: BTreeMap<Ipv6Addr, Route>,
    default_route: Option<Route>,
    neighbors: BTreeMap<Hop, Entry>,
    interfaces: BTreeMap<InterfaceIndex, Interface>,
    selective: Vec<Prefix>,
    source_routes: BTreeSet<SourceRoute>,
    routes_asked: usize,
    hops_asked: usize,
    released: Vec<Hop>,
}

impl World {
    fn new() -> Self {
        Self {
            route: BTreeMap::new(),
            default_route: route(CORE),
            neighbors: [(hop(CORE), entry(FIRST)), (hop(OTHER), entry(SECOND))].into(),
            interfaces: [(CORE, up(OWN)), (OTHER, up(OWN))].into(),
            selective: Vec::new(),
            source_routes: BTreeSet::new(),
            routes_asked: 0,
            hops_asked: 0,
            released: Vec::new(),
        }
    }

    fn ask_route(&mut self, table: &mut Table, destination: Ipv6Addr) {
        let route = match table.selective(destination) {
            true => None,
            false => {
                self.routes_asked += 1;
                let own = self.route.get(&destination).copied();
                own.or(self.default_route)
            }
        };
        table.set_route(destination, route);
    }

    /// Answers all that is asked, and gives the ways that are told, which are all of one kind.
    fn answer(&mut self, table: &mut Table) -> Vec<News> {
        let mut news = Vec::new();
        while table.urgent() || table.doubts() || table.wave() {
            if table.poll_source_routes() {
                table.set_source_routes(self.source_routes.clone());
            }
            if table.poll_all_interfaces() {
                table.set_interfaces(self.interfaces.clone());
            }
            while let Some(index) = table.poll_interface() {
                table.set_interface(index, self.interfaces.get(&index).copied());
            }
            if table.poll_rules() {
                table.set_rules(Some(self.selective.clone()));
            }
            while let Some(destination) = table.poll_fresh() {
                self.ask_route(table, destination);
            }
            if !table.wave() {
                table.start_wave();
            }
            while let Some(destination) = table.poll_wave() {
                self.ask_route(table, destination);
            }
            while let Some(hop) = table.poll_hop() {
                self.hops_asked += 1;
                table.set_neighbor(hop, self.neighbors.get(&hop).copied());
            }
            while let Some(hop) = table.poll_released() {
                self.released.push(hop);
            }
            news.extend(table.poll_news());
        }
        news
    }

    fn asked(&mut self) -> (usize, usize) {
        let asked = (self.routes_asked, self.hops_asked);
        (self.routes_asked, self.hops_asked) = (0, 0);
        asked
    }
}

/// A table with this many destinations, which all have the way by [`CORE`].
fn settled(count: u16) -> (World, Table) {
    let mut world = World::new();
    let mut table = Table::new();
    for number in 0..count {
        table.watch(destination(number), number.into());
    }
    let news = world.answer(&mut table);
    assert_eq!(news.len(), usize::from(count));
    assert!(news.iter().all(|news| news.way == way(CORE, FIRST)));
    assert_eq!(world.asked(), (count.into(), 1));
    (world, table)
}

fn ways(news: &[News]) -> Vec<(Ipv6Addr, Option<Way>)> {
    news.iter()
        .map(|news| (news.destination, news.way))
        .collect()
}

#[test]
fn a_message_about_a_prefix_questions_only_what_is_inside_it() {
    let (mut world, mut table) = settled(1_000);
    table.handle(&Notice::Routes(Prefix::new(destination(16), 124)));
    assert_eq!(world.answer(&mut table), []);
    assert_eq!(world.asked(), (16, 0));
    table.handle(&Notice::Routes(Prefix::new(
        "2001:db8:8::".parse().unwrap(),
        64,
    )));
    assert!(!table.doubts());
    table.handle(&Notice::Routes(Prefix::ALL));
    world.answer(&mut table);
    assert_eq!(world.asked(), (1_000, 0));
}

#[test]
fn a_storm_of_messages_questions_each_destination_once() {
    let (mut world, mut table) = settled(1_000);
    world.default_route = route(OTHER);
    for number in 0..100_000u32 {
        let length = u8::try_from(number % 129).unwrap();
        table.handle(&Notice::Routes(prefix(length)));
    }
    let news = world.answer(&mut table);
    assert_eq!(world.asked(), (1_000, 1));
    assert_eq!(news.len(), 1_000);
    assert_eq!(world.released, [hop(CORE)]);
}

#[test]
fn what_is_told_after_the_question_is_asked_again() {
    let (mut world, mut table) = settled(1);
    table.handle(&Notice::Routes(prefix(64)));
    table.start_wave();
    assert_eq!(table.poll_wave(), Some(destination(0)));
    // The kernel has answered, but the answer is not here yet.
    table.handle(&Notice::Routes(prefix(64)));
    table.set_route(destination(0), route(CORE));
    world.default_route = route(OTHER);
    assert_eq!(
        ways(&world.answer(&mut table)),
        [(destination(0), way(OTHER, SECOND))]
    );
}

#[test]
fn a_thousand_destinations_behind_one_neighbor_ask_for_it_once() {
    let (mut world, mut table) = settled(1_000);
    world.neighbors.insert(hop(CORE), entry(SECOND));
    for _ in 0..10 {
        table.handle(&Notice::Neighbor(hop(CORE), Some(entry(SECOND))));
    }
    let news = world.answer(&mut table);
    assert_eq!(news.len(), 1_000);
    assert!(news.iter().all(|news| news.way == way(CORE, SECOND)));
    assert_eq!(world.asked(), (0, 1));
}

#[test]
fn a_neighbor_that_is_confirmed_or_that_nothing_leads_to_is_not_asked_for() {
    let (_, mut table) = settled(1);
    let confirmed = Entry {
        idle: true,
        ..entry(FIRST)
    };
    table.handle(&Notice::Neighbor(hop(CORE), Some(confirmed)));
    table.handle(&Notice::Neighbor(hop(OTHER), None));
    assert!(!table.urgent());
    // Somebody took away that the kernel keeps it.
    let aging = Entry {
        keeper: Keeper::Nobody,
        ..entry(FIRST)
    };
    table.handle(&Notice::Neighbor(hop(CORE), Some(aging)));
    assert_eq!(table.poll_hop(), Some(hop(CORE)));
}

#[test]
fn a_neighbor_that_fails_takes_the_way_and_questions_the_route() {
    let (mut world, mut table) = settled(2);
    world.neighbors.insert(hop(CORE), failed());
    table.handle(&Notice::Neighbor(hop(CORE), Some(failed())));
    let news = world.answer(&mut table);
    assert_eq!(
        ways(&news),
        [(destination(0), None), (destination(1), None)]
    );
    assert_eq!(world.asked(), (2, 1));
    world.neighbors.insert(hop(CORE), entry(FIRST));
    table.handle(&Notice::Neighbor(hop(CORE), Some(entry(FIRST))));
    assert_eq!(world.answer(&mut table).len(), 2);
    assert_eq!(world.asked(), (0, 1));
}

#[test]
fn a_way_is_not_told_before_its_neighbor_is_known() {
    let (mut world, mut table) = settled(1);
    world.default_route = route(OTHER);
    table.handle(&Notice::Routes(Prefix::ALL));
    table.start_wave();
    let destination = table.poll_wave().unwrap();
    world.ask_route(&mut table, destination);
    assert_eq!(table.poll_news(), []);
    assert_eq!(
        ways(&world.answer(&mut table)),
        [(destination, way(OTHER, SECOND))]
    );
}

#[test]
fn an_interface_is_part_of_every_way_through_it() {
    let (mut world, mut table) = settled(2);
    table.handle(&Notice::Interface(CORE, Some(up(OWN))));
    assert!(!table.urgent(), "nothing new");
    let renamed = up(SECOND);
    world.interfaces.insert(CORE, renamed);
    table.handle(&Notice::Interface(CORE, Some(renamed)));
    let news = world.answer(&mut table);
    assert_eq!(news.len(), 2);
    assert_eq!(news[0].way.unwrap().link_source, SECOND);
    assert_eq!(world.asked(), (0, 0));

    world.interfaces.insert(CORE, down());
    table.handle(&Notice::Interface(CORE, Some(down())));
    assert!(
        world
            .answer(&mut table)
            .iter()
            .all(|news| news.way.is_none())
    );
    assert_eq!(world.asked(), (2, 0), "there may be another route");

    world.interfaces.insert(CORE, up(OWN));
    table.handle(&Notice::Interface(CORE, None));
    let news = world.answer(&mut table);
    assert_eq!(
        ways(&news),
        [
            (destination(0), way(CORE, FIRST)),
            (destination(1), way(CORE, FIRST))
        ]
    );
    assert_eq!(world.asked(), (2, 0), "it may have the better route");

    world.interfaces.remove(&CORE);
    table.handle(&Notice::Interface(CORE, None));
    assert!(
        world
            .answer(&mut table)
            .iter()
            .all(|news| news.way.is_none())
    );
}

#[test]
fn an_interface_that_is_not_told_as_gone_is_found_to_be_after_an_overrun() {
    let (mut world, mut table) = settled(3);
    world.interfaces.remove(&CORE);
    world.neighbors.insert(hop(CORE), entry(SECOND));
    table.handle(&Notice::Overrun);
    let news = world.answer(&mut table);
    assert_eq!(news.len(), 3);
    assert!(news.iter().all(|news| news.way.is_none()));
    let (routes, hops) = world.asked();
    assert!((3..=6).contains(&routes), "{routes}");
    assert_eq!(hops, 1);
}

#[test]
fn the_mtu_is_the_smaller_one_of_route_and_interface() {
    let (mut world, mut table) = settled(1);
    for (mtu, expected) in [(Some(1_300), 1_300), (Some(9_000), 1_500), (None, 1_500)] {
        let wide = Route {
            mtu,
            ..route(CORE).unwrap()
        };
        world.default_route = Some(wide);
        table.handle(&Notice::Routes(Prefix::ALL));
        world.answer(&mut table);
        let told = table.destinations[&destination(0)].told.unwrap();
        assert_eq!(told.mtu, expected);
    }
}

#[test]
fn a_selective_rule_takes_the_ways_of_the_destinations_it_may_apply_to() {
    let (mut world, mut table) = settled(20);
    world.selective = vec![Prefix::new(destination(16), 124)];
    table.handle(&Notice::Rules);
    let news = world.answer(&mut table);
    assert_eq!(
        ways(&news),
        (16..20)
            .map(|number| (destination(number), None))
            .collect::<Vec<_>>()
    );
    assert_eq!(world.asked().0, 16, "the others are not asked for");
    world.selective.clear();
    table.handle(&Notice::Rules);
    assert_eq!(world.answer(&mut table).len(), 4);
    // As long as the rules are not known there are no ways.
    table.handle(&Notice::Rules);
    assert!(table.poll_rules());
    table.set_rules(None);
    assert_eq!(world.answer(&mut table).len(), 20);
}

#[test]
fn a_neighbor_is_released_when_the_last_destination_behind_it_is() {
    let (mut world, mut table) = settled(2);
    table.unwatch(destination(0));
    assert_eq!(world.answer(&mut table), []);
    assert!(world.released.is_empty());
    table.unwatch(destination(1));
    table.unwatch(destination(1));
    assert_eq!(world.answer(&mut table), []);
    assert_eq!(world.released, [hop(CORE)]);
    assert!(table.hops.is_empty());
    assert!(table.destinations.is_empty() && table.settled.is_empty());
}

#[test]
fn a_neighbor_that_is_found_again_at_once_is_not_released() {
    let (mut world, mut table) = settled(1);
    table.unwatch(destination(0));
    table.watch(destination(1), 7);
    let asked = table.poll_fresh().unwrap();
    world.ask_route(&mut table, asked);
    assert_eq!(
        world.answer(&mut table),
        [News {
            destination: destination(1),
            watch: 7,
            way: way(CORE, FIRST)
        }]
    );
    assert!(world.released.is_empty());
}

#[test]
fn a_destination_that_is_unwatched_while_it_waits_is_not_asked_for() {
    let (mut world, mut table) = settled(2);
    table.watch(destination(5), 5);
    table.unwatch(destination(5));
    table.handle(&Notice::Routes(Prefix::ALL));
    table.start_wave();
    table.unwatch(destination(0));
    assert_eq!(world.answer(&mut table), []);
    assert_eq!(world.asked(), (1, 0));
    // An answer that comes too late.
    table.set_route(destination(0), route(OTHER));
    table.set_neighbor(hop(OTHER), Some(entry(FIRST)));
    assert!(!table.urgent());
}

#[test]
fn what_cannot_be_kept_true_is_forgotten() {
    let (_, mut table) = settled(3);
    table.distrust();
    let news = table.poll_news();
    assert_eq!(news.len(), 3);
    assert!(news.iter().all(|news| news.way.is_none()));
}

#[test]
fn only_what_is_still_of_interest_is_asked_for_again() {
    let (mut world, mut table) = settled(1);
    table.doubt_again(Again::Hop(hop(OTHER)));
    table.doubt_again(Again::Route(destination(9)));
    assert!(!table.urgent() && !table.doubts());
    table.doubt_again(Again::Hop(hop(CORE)));
    table.doubt_again(Again::Route(destination(0)));
    assert_eq!(world.answer(&mut table), []);
    assert_eq!(world.asked(), (1, 1));
    table.doubt_again(Again::Everything);
    assert_eq!(world.answer(&mut table), []);
    assert_eq!(world.asked(), (1, 0));
}

#[test]
fn a_route_for_some_sources_alone_takes_the_ways_of_its_destinations() {
    let (mut world, mut table) = settled(20);
    let of = |length| SourceRoute::first_of(Prefix::new(destination(16), length));
    // A longer and a shorter one beside, which have no more destinations of ours.
    for route in [of(124), of(128)] {
        table.handle(&Notice::SourceRoute(route, true));
        world.source_routes.insert(route);
    }
    let news = world.answer(&mut table);
    let four: Vec<_> = (16..20).map(|number| (destination(number), None)).collect();
    assert_eq!(ways(&news), four);
    table.handle(&Notice::Overrun);
    assert_eq!(world.answer(&mut table), [], "they are found again");
    table.handle(&Notice::SourceRoute(of(124), false));
    assert_eq!(
        ways(&world.answer(&mut table)),
        (17..20)
            .map(|number| (destination(number), way(CORE, FIRST)))
            .collect::<Vec<_>>()
    );
    // One that is missed is found with the list.
    world.source_routes = [of(0)].into();
    table.handle(&Notice::Overrun);
    let news = world.answer(&mut table);
    assert_eq!(news.len(), 19);
    assert!(news.iter().all(|news| news.way.is_none()));
}

#[test]
fn there_are_no_ways_before_it_is_known_what_looks_at_the_source() {
    let mut table = Table::new();
    assert!(table.selective(destination(0)));
    table.set_rules(Some(Vec::new()));
    assert!(table.selective(destination(0)));
    table.set_source_routes(BTreeSet::new());
    assert!(!table.selective(destination(0)));
}
