//! `fmip-ctl show`: the data path of a running controller, what is bound, and what waits.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write},
    net::Ipv6Addr,
    path::Path,
};

use anyhow::bail;
use clap::{Args, Subcommand};
use fmip_ctl::observe::{
    Count, Request,
    client::{Client, ClientError},
    show::{BindingEntry, BufferEntry, DataPath, InterfaceStatus, Listed, MAX_PAGE, Page, Usage},
};
use serde::Serialize;

use super::{counted, mobile_state as mobile, table};

/// Columns of a terminal that what is shown is made for.
const WIDTH: usize = 100;

#[derive(Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The interfaces, packets by reason, the pool, memory, what was lost.
    Datapath {
        /// Prints one object of JSON.
        #[arg(long)]
        json: bool,
        /// Shows what was never counted, too. (JSON has everything always.)
        #[arg(long)]
        all: bool,
    },
    /// What is bound for each address.
    Bindings(Wanted),
    /// The handover buffers.
    Buffers(Wanted),
    /// A mobile node: where it is, its addresses and tunnels, what it hears, what it does.
    Mobile {
        /// Prints one object of JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Part of a list.
#[derive(Args)]
struct Wanted {
    /// Only that of this address.
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["from", "limit"])]
    address: Option<Ipv6Addr>,
    /// From this address on, in their order.
    #[arg(long, value_name = "ADDR")]
    from: Option<Ipv6Addr>,
    /// So many at most.
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,
    /// Prints an array of objects of JSON, one on each line.
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
pub(super) fn show(socket: &Path, options: &Options) -> anyhow::Result<()> {
    let mut client = Client::connect(socket)?;
    let mut out = io::stdout().lock();
    match &options.what {
        What::Datapath { json: true, .. } => {
            let mut answer = client.request(&Request::ShowDatapath)?;
            answer.remove("ok");
            writeln!(out, "{}", serde_json::to_string(&answer)?)?;
        }
        What::Datapath { json: false, all } => {
            out.write_all(data_path(&client.data_path()?, *all).as_bytes())?;
        }
        What::Bindings(wanted) => list(
            &mut out,
            wanted,
            |page| client.bindings(page),
            |binding| binding.address,
            bindings,
            "nothing is bound",
        )?,
        What::Buffers(wanted) => list(
            &mut out,
            wanted,
            |page| client.buffers(page),
            |buffer| buffer.address,
            buffers,
            "there is no handover buffer",
        )?,
        What::Mobile { json: true } => {
            let mut answer = client.request(&Request::ShowMobile)?;
            answer.remove("ok");
            writeln!(out, "{}", serde_json::to_string(&answer)?)?;
        }
        What::Mobile { json: false } => {
            out.write_all(mobile::text(&client.mobile()?).as_bytes())?;
        }
    }
    Ok(())
}

/// Prints a list, page by page: neither end ever has more than one of them in its memory.
fn list<T: Serialize>(
    out: &mut impl Write,
    wanted: &Wanted,
    mut ask: impl FnMut(Page) -> Result<Listed<T>, ClientError>,
    address_of: impl Fn(&T) -> Ipv6Addr,
    table: impl Fn(&[T]) -> String,
    nothing: &str,
) -> anyhow::Result<()> {
    let mut from = wanted.address.or(wanted.from);
    let mut left = match wanted.address {
        Some(_) => 1,
        None => wanted.limit.unwrap_or(u64::MAX),
    };
    let mut printed = 0;
    while left > 0 {
        let limit = u32::try_from(left).map_or(MAX_PAGE, |left| left.min(MAX_PAGE));
        let Listed { mut list, next } = ask(Page {
            from,
            limit: Some(limit),
        })?;
        if let Some(address) = wanted.address {
            list.retain(|entry| address_of(entry) == address);
        }
        if wanted.json {
            for entry in &list {
                let before = if printed == 0 { "[\n" } else { ",\n" };
                write!(out, "{before}{}", serde_json::to_string(entry)?)?;
                printed += 1;
            }
        } else if !list.is_empty() {
            out.write_all(table(&list).as_bytes())?;
            printed += list.len() as u64;
        }
        left = left.saturating_sub(list.len() as u64);
        match next {
            Some(_) if wanted.address.is_some() => break,
            Some(next) => from = Some(next),
            None => break,
        }
    }
    match (printed, wanted.address) {
        (0, Some(address)) => bail!("{nothing} for {address}"),
        (0, None) if wanted.json => writeln!(out, "[]")?,
        (0, None) => writeln!(out, "{nothing}")?,
        _ if wanted.json => writeln!(out, "\n]")?,
        _ => {}
    }
    Ok(())
}

/// The data path for people; with `all`, what is zero, too.
fn data_path(data_path: &DataPath, all: bool) -> String {
    let mut text = format!("{}\n", data_path.role);
    for interface in &data_path.interfaces {
        let _ = writeln!(text, "\n{}", heading(interface, &data_path.interfaces));
        match &interface.reasons {
            Some(reasons) => append_counts(&mut text, reasons, all),
            None => text.push_str("  counted together with others, below\n"),
        }
    }
    text.push_str("\nOut of the buffers, and what comes in elsewhere\n");
    append_counts(&mut text, &data_path.elsewhere, all);
    text.push_str("\nIn all\n");
    append_counts(&mut text, &data_path.reasons, all);

    let pool = &data_path.pool;
    text.push_str("\nRoom\n");
    let row = |what: &str, usage: Usage, more: &str| {
        let of = format!("of {}{more}", usage.room);
        vec![what.to_owned(), usage.used.to_string(), of]
    };
    let guaranteed = format!(", and {} guaranteed to each node", pool.guaranteed_per_node);
    let rows = [
        row("bindings", data_path.bindings, ""),
        row("buffers", pool.buffers, ""),
        row("packets in buffers", pool.slots, ""),
        row("shared among nodes", pool.shared, &guaranteed),
    ];
    table::append(&mut text, 2, None, &rows);

    text.push_str("\nMemory of the maps\n");
    let total: u64 = data_path.memory_octets.values().sum();
    let memory = data_path.memory_octets.iter();
    let rows: Vec<_> = memory
        .map(|(what, octets)| (what.as_str(), *octets))
        .chain([("in all", total)])
        .map(|(what, octets)| vec![what.to_owned(), octets.to_string(), "octets".to_owned()])
        .collect();
    table::append(&mut text, 2, None, &rows);

    append_lost(
        &mut text,
        "Signalling lost",
        &data_path.signalling_lost,
        all,
    );
    append_lost(&mut text, "Events lost", &data_path.events_lost, all);
    text
}

/// `acc0 (index 2), native, VLAN 802.1ad 100 802.1Q 7 on eth0`.
fn heading(interface: &InterfaceStatus, others: &[InterfaceStatus]) -> String {
    let mut heading = format!("{} (index {})", interface.name, interface.index);
    if let Some(mode) = &interface.mode {
        let _ = write!(heading, ", {mode}");
    }
    if !interface.tags.is_empty() {
        heading.push_str(", VLAN");
        for tag in &interface.tags {
            let _ = write!(heading, " {} {}", tag.protocol, tag.vlan);
        }
    }
    match interface.port {
        None => heading.push_str(", takes no redirected frames"),
        Some(port) if port != interface.index => {
            match others.iter().find(|other| other.index == port) {
                Some(other) => {
                    let _ = write!(heading, " on {}", other.name);
                }
                None => {
                    let _ = write!(heading, " on the interface with index {port}");
                }
            }
        }
        Some(_) => {}
    }
    heading
}

fn append_counts(text: &mut String, counts: &BTreeMap<String, Count>, all: bool) {
    let shown = counts.iter().filter(|(_, count)| all || count.packets != 0);
    let rows: Vec<_> = shown
        .map(|(reason, count)| {
            vec![
                reason.clone(),
                count.packets.to_string(),
                "packets".to_owned(),
                count.bytes.to_string(),
                "octets".to_owned(),
            ]
        })
        .collect();
    match rows.is_empty() {
        true => text.push_str("  nothing yet\n"),
        false => table::append(text, 2, None, &rows),
    }
}

fn append_lost(text: &mut String, title: &str, lost: &BTreeMap<String, u64>, all: bool) {
    let shown = lost.iter().filter(|(_, number)| all || **number != 0);
    let rows: Vec<_> = shown
        .map(|(cause, number)| vec![cause.clone(), number.to_string()])
        .collect();
    if !rows.is_empty() {
        let _ = writeln!(text, "\n{title}");
        table::append(text, 2, None, &rows);
    }
}

/// Bindings for people: the numbers in a row, and below it where the packets go.
fn bindings(bindings: &[BindingEntry]) -> String {
    const HEADING: [&str; 6] = [
        "ADDRESS", "ACTION", "ENDS IN", "PACKETS", "OCTETS", "BUFFER",
    ];
    let rows: Vec<_> = bindings
        .iter()
        .map(|binding| {
            vec![
                binding.address.to_string(),
                binding.action.clone(),
                match binding.expires_in_s {
                    None => "never".to_owned(),
                    Some(0.0) => "expired".to_owned(),
                    Some(left) => format!("{left:.1} s"),
                },
                binding.packets.to_string(),
                binding.octets.to_string(),
                binding
                    .buffer
                    .map_or_else(|| "-".to_owned(), |buffer| buffer.to_string()),
            ]
        })
        .collect();
    let details = bindings.iter().map(|binding| {
        let tunnel = (binding.tunnel)
            .map(|tunnel| format!("tunnel from {} to {}", tunnel.local, tunnel.remote));
        let way = match &binding.next_hop {
            Some(hop) => format!("by {}, next hop {}", hop.interface, hop.link_address),
            None => "by route".to_owned(),
        };
        tunnel.into_iter().chain([way]).collect()
    });
    with_details(&HEADING, &rows, details)
}

/// Buffers for people: the numbers in a row, and below it the bounds and what was dropped.
fn buffers(buffers: &[BufferEntry]) -> String {
    const HEADING: [&str; 8] = [
        "ADDRESS", "STATE", "WAITING", "OCTETS", "MOST", "HELD", "RELEASED", "DROPPED",
    ];
    let rows: Vec<_> = buffers
        .iter()
        .map(|buffer| {
            let dropped: u64 = buffer.dropped.values().sum();
            let words = [buffer.address.to_string(), buffer.state.name().to_owned()];
            let numbers = [
                buffer.waiting_packets,
                buffer.waiting_octets,
                buffer.high_water_packets,
                buffer.held,
                buffer.released,
                dropped,
            ];
            let numbers = numbers.iter().map(u64::to_string);
            words.into_iter().chain(numbers).collect()
        })
        .collect();
    let details = buffers.iter().map(|buffer| {
        let bounds = format!(
            "at most {}, {}, {} ms each; {} guaranteed",
            counted(u64::from(buffer.max_packets), "packet"),
            counted(buffer.max_octets, "octet"),
            buffer.max_age_ms,
            buffer.guaranteed_packets
        );
        let dropped = buffer.dropped.iter().filter(|(_, number)| **number != 0);
        let dropped: Vec<String> = dropped
            .map(|(limit, number)| format!("{limit} {number}"))
            .collect();
        let dropped = (!dropped.is_empty()).then(|| format!("dropped by {}", dropped.join(", ")));
        [bounds].into_iter().chain(dropped).collect()
    });
    with_details(&HEADING, &rows, details)
}

/// A table whose rows have something said below them: in one line if it fits, else in several.
fn with_details(
    heading: &[&str],
    rows: &[Vec<String>],
    details: impl Iterator<Item = Vec<String>>,
) -> String {
    const INDENT: usize = 4;
    let columns = table::Columns::of(Some(heading), rows);
    let mut text = String::new();
    let heading: Vec<String> = heading.iter().map(|cell| (*cell).to_owned()).collect();
    columns.line(&mut text, 0, &heading);
    for (row, details) in rows.iter().zip(details) {
        columns.line(&mut text, 0, row);
        let line = details.join("; ");
        let lines = match INDENT + line.len() <= WIDTH {
            true => vec![line],
            false => details,
        };
        for line in lines {
            let _ = writeln!(text, "{:INDENT$}{line}", "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use fmip_ctl::{
        observe::show::{BufferState, NextHopStatus, PoolStatus, TagStatus},
        proto::Tunnel,
    };
    use serde_json::{Value, json};

    use super::*;

    fn address(host: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, host)
    }

    fn count(packets: u64, bytes: u64) -> Count {
        Count { packets, bytes }
    }

    fn named<T>(of: impl IntoIterator<Item = (&'static str, T)>) -> BTreeMap<String, T> {
        let named = of.into_iter().map(|(name, value)| (name.to_owned(), value));
        named.collect()
    }

    fn the_data_path() -> DataPath {
        let usage = |used, room| Usage { used, room };
        DataPath {
            role: "access-router".to_owned(),
            interfaces: vec![
                InterfaceStatus {
                    name: "core0".to_owned(),
                    index: 3,
                    mode: Some("native".to_owned()),
                    port: Some(3),
                    tags: Vec::new(),
                    reasons: Some(named([
                        ("tunnel-sent", count(1_200, 240_000)),
                        ("held", count(0, 0)),
                        ("pass-no-binding", count(7, 900)),
                    ])),
                },
                InterfaceStatus {
                    name: "core0.7".to_owned(),
                    index: 4,
                    mode: Some("native".to_owned()),
                    port: Some(3),
                    tags: vec![TagStatus {
                        protocol: "802.1Q".to_owned(),
                        vlan: 7,
                    }],
                    reasons: Some(named([("held", count(0, 0))])),
                },
                InterfaceStatus {
                    name: "wlan0".to_owned(),
                    index: 5,
                    mode: Some("tc".to_owned()),
                    ..InterfaceStatus::default()
                },
            ],
            elsewhere: named([("released", count(4, 800))]),
            reasons: named([
                ("released", count(4, 800)),
                ("tunnel-sent", count(1_200, 240_000)),
                ("pass-no-binding", count(7, 900)),
                ("held", count(0, 0)),
            ]),
            pool: PoolStatus {
                slots: usage(3, 16_384),
                shared: usage(0, 8_192),
                guaranteed_per_node: 8,
                buffers: usage(1, 1_024),
            },
            bindings: usage(2, 65_536),
            memory_octets: named([("bindings", 19_005_440), ("buffers", 33_882_248)]),
            signalling_lost: named([("signal-lost", 0), ("signal-over-share", 9)]),
            events_lost: named([("pool-full", 0)]),
        }
    }

    const SHOWN: &str = "\
access-router

core0 (index 3), native
  pass-no-binding     7  packets     900  octets
  tunnel-sent      1200  packets  240000  octets

core0.7 (index 4), native, VLAN 802.1Q 7 on core0
  nothing yet

wlan0 (index 5), tc, takes no redirected frames
  counted together with others, below

Out of the buffers, and what comes in elsewhere
  released  4  packets  800  octets

In all
  pass-no-binding     7  packets     900  octets
  released            4  packets     800  octets
  tunnel-sent      1200  packets  240000  octets

Room
  bindings            2  of 65536
  buffers             1  of 1024
  packets in buffers  3  of 16384
  shared among nodes  0  of 8192, and 8 guaranteed to each node

Memory of the maps
  bindings  19005440  octets
  buffers   33882248  octets
  in all    52887688  octets

Signalling lost
  signal-over-share  9
";

    #[test]
    fn the_data_path_is_shown_without_its_zeros_unless_they_are_wanted() {
        let shown = data_path(&the_data_path(), false);
        assert_eq!(shown, SHOWN);
        let all = data_path(&the_data_path(), true);
        for line in [
            "  held             ",
            "  signal-lost        0\n",
            "  pool-full  0\n",
        ] {
            assert!(all.contains(line), "{all}");
            assert!(!shown.contains(line));
        }
    }

    fn tunnelled() -> BindingEntry {
        BindingEntry {
            address: address(9),
            action: "tunnel".to_owned(),
            tunnel: Some(Tunnel {
                local: address(1),
                remote: "2001:db8:2::ff:fe00:1".parse().unwrap(),
            }),
            next_hop: Some(NextHopStatus {
                interface: "core0".to_owned(),
                link_address: "02:00:00:00:00:22".parse().unwrap(),
            }),
            buffer: None,
            expires_in_s: Some(59.26),
            packets: 1_200,
            octets: 240_000,
        }
    }

    #[test]
    fn a_binding_says_where_its_packets_go() {
        let long = |first| {
            Ipv6Addr::new(
                first, 0xdb81, 0xaaaa, 0xbbbb, 0x1234, 0x5678, 0x9abc, 0xdef0,
            )
        };
        let shown = bindings(&[
            tunnelled(),
            BindingEntry {
                address: long(0x2001),
                action: "mobile".to_owned(),
                tunnel: Some(Tunnel {
                    local: long(0x2001),
                    remote: long(0x2002),
                }),
                next_hop: None,
                buffer: Some(17),
                expires_in_s: None,
                packets: 0,
                octets: 0,
            },
        ]);
        assert_eq!(
            shown,
            "\
ADDRESS                                  ACTION  ENDS IN  PACKETS  OCTETS  BUFFER
2001:db8:1::9                            tunnel  59.3 s      1200  240000       -
    tunnel from 2001:db8:1::1 to 2001:db8:2::ff:fe00:1; by core0, next hop 02:00:00:00:00:22
2001:db81:aaaa:bbbb:1234:5678:9abc:def0  mobile  never          0       0      17
    tunnel from 2001:db81:aaaa:bbbb:1234:5678:9abc:def0 to 2002:db81:aaaa:bbbb:1234:5678:9abc:def0
    by route
"
        );
        assert!(shown.lines().all(|line| line.len() <= WIDTH), "{shown}");
    }

    fn holding() -> BufferEntry {
        BufferEntry {
            address: address(9),
            state: BufferState::Holding,
            waiting_packets: 3,
            waiting_octets: 4_500,
            high_water_packets: 5,
            held: 40,
            released: 35,
            dropped: named([("age", 2), ("pool", 0), ("other", 0), ("node-packets", 11)]),
            max_packets: 8_192,
            guaranteed_packets: 8,
            max_octets: 16_777_216,
            max_age_ms: 10_000,
        }
    }

    #[test]
    fn a_buffer_says_what_it_dropped_and_by_which_limit() {
        let shown = buffers(&[holding()]);
        assert_eq!(
            shown,
            "\
ADDRESS        STATE    WAITING  OCTETS  MOST  HELD  RELEASED  DROPPED
2001:db8:1::9  holding        3    4500     5    40        35       13
    at most 8192 packets, 16777216 octets, 10000 ms each; 8 guaranteed
    dropped by age 2, node-packets 11
"
        );
    }

    /// A list of so many bindings, as a controller gives it out; pages that are asked for are noted.
    fn answer(
        number: u16,
        asked: &mut Vec<Page>,
        page: Page,
    ) -> Result<Listed<BindingEntry>, ClientError> {
        asked.push(page);
        let from = page.from.unwrap_or(Ipv6Addr::UNSPECIFIED);
        let mut all = (0..number).map(address).filter(|address| *address >= from);
        let list = all.by_ref().take(page.length());
        let list = list
            .map(|address| BindingEntry {
                address,
                ..tunnelled()
            })
            .collect();
        Ok(Listed {
            list,
            next: all.next(),
        })
    }

    fn printed(number: u16, wanted: &Wanted) -> (anyhow::Result<String>, Vec<Page>) {
        let (mut out, mut asked) = (Vec::new(), Vec::new());
        let result = list(
            &mut out,
            wanted,
            |page| answer(number, &mut asked, page),
            |binding| binding.address,
            bindings,
            "nothing is bound",
        );
        let text = String::from_utf8(out).unwrap();
        (result.map(|()| text), asked)
    }

    const ALL: Wanted = Wanted {
        address: None,
        from: None,
        limit: None,
        json: true,
    };

    #[test]
    fn a_long_list_is_asked_for_page_by_page_and_is_one_array() {
        let (text, asked) = printed(1_300, &ALL);
        let found: Vec<BindingEntry> = serde_json::from_str(&text.unwrap()).unwrap();
        assert!(
            found
                .iter()
                .map(|entry| entry.address)
                .eq((0..1_300).map(address))
        );
        let from: Vec<_> = asked.iter().map(|page| page.from).collect();
        assert_eq!(from, [None, Some(address(512)), Some(address(1_024))]);

        let part = Wanted {
            from: Some(address(7)),
            limit: Some(600),
            ..ALL
        };
        let (text, asked) = printed(1_300, &part);
        let found: Vec<BindingEntry> = serde_json::from_str(&text.unwrap()).unwrap();
        assert!(
            found
                .iter()
                .map(|entry| entry.address)
                .eq((7..607).map(address))
        );
        let limits: Vec<_> = asked.iter().map(|page| page.limit).collect();
        assert_eq!(limits, [Some(512), Some(88)]);
    }

    #[test]
    fn an_address_that_is_not_bound_is_said_to_be_not() {
        let one = |host| Wanted {
            address: Some(address(host)),
            ..ALL
        };
        let (text, asked) = printed(10, &one(4));
        let found: Value = serde_json::from_str(&text.unwrap()).unwrap();
        assert_eq!(found[0]["address"], "2001:db8:1::4");
        assert_eq!((found.as_array().unwrap().len(), asked.len()), (1, 1));
        let (error, _) = printed(10, &one(12));
        assert_eq!(
            error.unwrap_err().to_string(),
            "nothing is bound for 2001:db8:1::c"
        );
        assert_eq!(printed(0, &ALL).0.unwrap(), "[]\n");
        let people = Wanted { json: false, ..ALL };
        assert_eq!(printed(0, &people).0.unwrap(), "nothing is bound\n");
    }

    #[test]
    fn what_machines_read_has_its_units_in_its_keys() {
        assert_eq!(
            serde_json::to_value(tunnelled()).unwrap(),
            json!({
                "address": "2001:db8:1::9",
                "action": "tunnel",
                "tunnel": {"local": "2001:db8:1::1", "remote": "2001:db8:2::ff:fe00:1"},
                "next_hop": {"interface": "core0", "link_address": "02:00:00:00:00:22"},
                "buffer": null,
                "expires_in_s": 59.26,
                "packets": 1200,
                "octets": 240_000,
            })
        );
        let buffer = serde_json::to_value(holding()).unwrap();
        assert_eq!(buffer["state"], "holding");
        assert_eq!(buffer["dropped"]["node-packets"], 11);
        assert_eq!(buffer["max_age_ms"], 10_000);
        let data_path = serde_json::to_value(the_data_path()).unwrap();
        assert_eq!(
            data_path["pool"]["slots"],
            json!({"used": 3, "room": 16_384})
        );
        assert_eq!(data_path["interfaces"][1]["tags"][0]["vlan"], 7);
        assert_eq!(data_path["reasons"]["held"]["packets"], 0);
    }
}
