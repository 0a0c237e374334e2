//! Where packets were lost: every counter of lost packets that the kernels of a lab keep, and which of them grew.
//!
//! A packet that never arrives is somebody's: of a ring that was full, a socket that nobody read, a route that was
//! not there. What the controllers' own programs drop they count themselves
//! ([`Controllers::account`](crate::controller::Controllers::account)).

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};

use crate::{netns::NetNs, topology::Lab};

/// Which counter, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Counter {
    place: String,
    what: String,
}

type Counts = BTreeMap<Counter, u64>;

/// The account of a lab's losses since a moment.
#[derive(Debug)]
pub struct Losses {
    places: Vec<(String, NetNs)>,
    before: Counts,
}

impl Losses {
    /// Opens the account.
    ///
    /// # Errors
    /// If a namespace's counters cannot be read.
    pub fn open(lab: &Lab) -> Result<Self> {
        let places = lab
            .namespaces()
            .map(|namespace| {
                let name = namespace.name();
                let role = name.rsplit_once('-').map_or(name, |(_, role)| role);
                Ok((role.to_owned(), NetNs::open(name)?))
            })
            .collect::<Result<Vec<_>>>()?;
        let before = count(&places)?;
        Ok(Self { places, before })
    }

    /// What has been lost since, a line for each counter that grew. Not all of it need be the stream's: of what
    /// the kernel sends of its own accord, too, something may be lost.
    ///
    /// # Errors
    /// As for [`Losses::open`].
    pub fn lines(&self) -> Result<Vec<String>> {
        Ok(grown(&self.before, &count(&self.places)?))
    }
}

fn grown(before: &Counts, after: &Counts) -> Vec<String> {
    let grown = after.iter().filter_map(|(counter, now)| {
        let more = now.checked_sub(before.get(counter).copied().unwrap_or(0))?;
        let Counter { place, what } = counter;
        (more > 0).then(|| format!("lost at {place}: {more} {what}"))
    });
    grown.collect()
}

fn count(places: &[(String, NetNs)]) -> Result<Counts> {
    let mut counts = Counts::new();
    let mut enter = |place: &str, counted: Vec<(String, u64)>| {
        for (what, number) in counted {
            let place = place.to_owned();
            counts.insert(Counter { place, what }, number);
        }
    };
    for (role, namespace) in places {
        let (interfaces, protocols) = namespace.run(|| {
            let read = |file: &str| {
                let path = format!("/proc/thread-self/net/{file}");
                fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
            };
            Ok((read("dev")?, read("snmp6")?))
        })?;
        enter(role, of_interfaces(&interfaces));
        enter(role, of_protocols(&protocols));
    }
    // Of all namespaces together, and of others' labs. Who cannot read them does without.
    let machine = |file| fs::read_to_string(file).unwrap_or_default();
    let processors = of_processors(&machine("/proc/net/softnet_stat"));
    enter("the machine's processors", processors);
    let neighbors = of_neighbors(&machine("/proc/net/stat/ndisc_cache"));
    enter("the machine's neighbor tables", neighbors);
    Ok(counts)
}

/// By /proc/net/dev: what interfaces dropped.
fn of_interfaces(table: &str) -> Vec<(String, u64)> {
    const LOST: [(usize, &str); 4] = [
        (2, "received with errors"),
        (3, "dropped on reception"),
        (10, "not sent because of errors"),
        // Of a veth: the ring to its far end was full.
        (11, "dropped on transmission, the ring being full perhaps,"),
    ];
    let mut counted = Vec::new();
    for (name, columns) in table.lines().filter_map(|line| line.split_once(':')) {
        let columns: Vec<&str> = columns.split_ascii_whitespace().collect();
        for (column, what) in LOST {
            if let Some(number) = columns.get(column).and_then(|text| text.parse().ok()) {
                counted.push((format!("{} by {}", what, name.trim()), number));
            }
        }
    }
    counted
}

/// By /proc/net/snmp6: what IPv6 and UDP dropped.
fn of_protocols(table: &str) -> Vec<(String, u64)> {
    const LOST: [(&str, &str); 16] = [
        (
            "Ip6InHdrErrors",
            "with a header that is wrong, or a hop limit that is used up",
        ),
        ("Ip6InTooBigErrors", "too big for the next link"),
        ("Ip6InNoRoutes", "to be forwarded without a route"),
        ("Ip6InAddrErrors", "to an address that is not this node's"),
        ("Ip6InTruncatedPkts", "cut short"),
        (
            "Ip6InDiscards",
            "discarded on reception, by a filter or for want of memory",
        ),
        (
            "Ip6OutDiscards",
            "discarded on transmission, for want of a neighbor perhaps",
        ),
        ("Ip6OutNoRoutes", "to be sent without a route"),
        ("Ip6ReasmFails", "in pieces that did not all come"),
        ("Ip6FragFails", "that could not be taken to pieces"),
        ("Udp6NoPorts", "at no socket of the receiver"),
        // Those of the next two are among them.
        ("Udp6InErrors", "at the receiver's socket, of all kinds"),
        (
            "Udp6RcvbufErrors",
            "at the receiver's socket, which was full",
        ),
        (
            "Udp6InCsumErrors",
            "at the receiver's socket, with a wrong checksum",
        ),
        ("Udp6SndbufErrors", "at the sender's socket, which was full"),
        ("Udp6MemErrors", "at a socket, for want of memory"),
    ];
    let mut counted = Vec::new();
    for line in table.lines() {
        let mut words = line.split_ascii_whitespace();
        if let (Some(name), Some(number)) = (words.next(), words.next())
            && let Some((_, what)) = LOST.iter().find(|(of, _)| *of == name)
            && let Ok(number) = number.parse()
        {
            counted.push((format!("{what} ({name})"), number));
        }
    }
    counted
}

/// By /proc/net/softnet_stat, a line for each processor: what did not find room in its backlog.
fn of_processors(table: &str) -> Vec<(String, u64)> {
    let dropped = |line: &str| hexadecimal(line.split_ascii_whitespace().nth(1)?);
    vec![(
        "in the backlog (net.core.netdev_max_backlog)".to_owned(),
        table.lines().filter_map(dropped).sum(),
    )]
}

/// By /proc/net/stat/ndisc_cache: what waited for a neighbor's address in vain. A line for each processor,
/// below the names of the columns.
fn of_neighbors(table: &str) -> Vec<(String, u64)> {
    const NAME: &str = "unresolved_discards";
    let mut lines = table.lines();
    let column = lines
        .next()
        .and_then(|heads| heads.split_ascii_whitespace().position(|head| head == NAME));
    let Some(column) = column else {
        return Vec::new();
    };
    let discarded = |line: &str| hexadecimal(line.split_ascii_whitespace().nth(column)?);
    vec![(
        format!("that waited for a neighbor's address ({NAME})"),
        lines.filter_map(discarded).sum(),
    )]
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(counted: Vec<(String, u64)>) -> Counts {
        let place = "mn".to_owned();
        let counter = |what| Counter {
            place: place.clone(),
            what,
        };
        counted
            .into_iter()
            .map(|(what, number)| (counter(what), number))
            .collect()
    }

    #[test]
    fn what_an_interface_had_no_room_for_is_told_apart_from_what_it_could_not_take() {
        let table = |drops| {
            format!(
                "Inter-|   Receive    |  Transmit\n face |bytes packets|bytes packets\n  wlan0: 1 2 0 {drops} \
                 0 0 0 0 3 4 0 7{drops} 0 0 0 0\n"
            )
        };
        let before = counts(of_interfaces(&table(0)));
        assert_eq!(grown(&before, &before), [""; 0]);
        assert_eq!(
            grown(&before, &counts(of_interfaces(&table(5)))),
            [
                "lost at mn: 5 dropped on reception by wlan0",
                "lost at mn: 5 dropped on transmission, the ring being full perhaps, by wlan0",
            ]
        );
    }

    #[test]
    fn a_full_socket_is_named() {
        let before = counts(of_protocols("Ip6InReceives 7\nUdp6RcvbufErrors 1\n"));
        let after = counts(of_protocols("Ip6InReceives 9\nUdp6RcvbufErrors 4\n"));
        assert_eq!(
            grown(&before, &after),
            ["lost at mn: 3 at the receiver's socket, which was full (Udp6RcvbufErrors)"]
        );
    }

    #[test]
    fn the_counters_of_all_processors_are_added_up() {
        let [(_, dropped)] = &of_processors("0310ee3d 0000000a 00\n2557a7bc 00000010 4e\n")[..]
        else {
            panic!("one counter");
        };
        assert_eq!(*dropped, 26);
        let table = "entries lookups unresolved_discards table_fulls\n03 04 0a 00\n03 04 01 00\n";
        let [(_, discarded)] = &of_neighbors(table)[..] else {
            panic!("one counter");
        };
        assert_eq!(*discarded, 11);
        assert!(of_neighbors("").is_empty());
    }
}
