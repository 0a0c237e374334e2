//! From a mobile node's announcement to its first packet: the time that a new access router takes, from
//! end to end, with the controller's process in between.
//!
//! ```text
//!     core (the PAR's stand-in)           nar, with fmip-ctl             air (the mobile nodes' stand-in)
//!   +----------------------+          +------------------------+          +------------------------+
//!   |             par-end  |----------|core0              acc0 |----------|mn-end                  |
//!   +----------------------+          +------------------------+          +------------------------+
//!       HI, packets  -->                 holds, then releases                <-- UNA, packets -->
//! ```
//!
//! Both stand-ins write and read frames; no kernel's IPv6 answers in their stead. The time is from just
//! before the UNA is handed to the wire to when the kernel has the first packet at the wire's other end:
//! what wakes the stand-in that reads it is not the router's time.

use std::{
    fs::OpenOptions,
    io::Write as _,
    net::Ipv6Addr,
    os::unix::{fs::OpenOptionsExt as _, net::UnixStream},
    panic::resume_unwind,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use fmip_ctl::wire::{
    HackCode, HandoverInitiate, HiCode, MacAddr, Message, NeighborAdvertisement, Packet,
};
use rustix::{process::setpriority_process, thread::gettid};
use serde_json::json;

use super::{
    Figure,
    tap::{Tap, wall_clock},
};
use crate::{
    netns::NetNs,
    process::{Process, tail},
    topology::Directory,
    wait::{SOON, elapse, wait_until},
};

/// The PAR's address, out of its own access link's prefix.
const PAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
/// The NAR's address on its access link.
const NAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1);
/// The correspondent's.
const CN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 2);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const PAR_LLA: MacAddr = MacAddr([2, 0, 0, 0, 0xf2, 1]);
const CORE_LLA: MacAddr = MacAddr([2, 0, 0, 0, 0xf2, 2]);
const ACCESS_LLA: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x22]);
const ALL_NODES_LLA: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 1]);

const IPV6_HEADER: usize = 40;
const UDP_HEADER: usize = 8;
const IPV6_IN_IPV6: u8 = 41;
const UDP: u8 = 17;

/// Packets that the NAR holds for each node.
const HELD: u32 = 10;
/// The time between them, a call's or a video's.
const INTERVAL: Duration = Duration::from_millis(1);
/// The rest of the time that the node is between two links: the router sleeps meanwhile, as it would.
const GAP: Duration = Duration::from_millis(20);
/// Octets of a packet's payload: a number behind a UDP header.
const PAYLOAD: usize = 120;

/// Measures `una_to_first_us_p50` and `una_to_first_us_p99`, with the least and the greatest of the
/// rounds: in each of them a controller is started, and hands so many different nodes over.
///
/// # Errors
/// If a packet is lost, comes before its node does, or overtakes another; if the router still stands in
/// for a node afterwards, or does not know it; if no rig can be built.
pub fn una_to_first(fmip_ctl: &Path, rounds: usize, handovers: u16) -> Result<Vec<Figure>> {
    ensure!(rounds > 0 && handovers > 0, "nothing is to be measured");
    let rounds = (0..rounds)
        .map(|_| {
            let rig = Rig::start(fmip_ctl)?;
            rig.play(handovers)
                .map_err(|error| error.context(tail(&rig.controller.output())))
        })
        .collect::<Result<Vec<Vec<f64>>>>()?;
    let all = rounds.concat();
    let figure = |percent: u32| {
        let mut of_rounds: Vec<f64> = rounds
            .iter()
            .map(|times| percentile(times, percent))
            .collect();
        of_rounds.sort_by(f64::total_cmp);
        Figure {
            name: format!("una_to_first_us_p{percent}"),
            value: percentile(&all, percent),
            unit: "us".to_owned(),
            min: of_rounds[0],
            max: of_rounds[of_rounds.len() - 1],
        }
    };
    Ok(vec![figure(50), figure(99)])
}

/// The least of `values` that `percent` of them do not exceed.
fn percentile(values: &[f64], percent: u32) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent as usize).div_ceil(100).max(1);
    sorted[rank - 1]
}

/// A mobile node.
#[derive(Copy, Clone, Debug)]
struct Node {
    number: u16,
    lla: MacAddr,
    pcoa: Ipv6Addr,
    ncoa: Ipv6Addr,
}

impl Node {
    fn new(number: u16) -> Self {
        let [high, low] = number.to_be_bytes();
        let address = |link| Ipv6Addr::new(0x2001, 0xdb8, link, 0, 0, 0xff, 0xfe01, number);
        Self {
            number,
            lla: MacAddr([2, 0, 0, 1, high, low]),
            pcoa: address(1),
            ncoa: address(2),
        }
    }

    /// What its PAR asks for it.
    fn initiate(self) -> Packet {
        Packet {
            source: PAR,
            destination: NAR,
            hop_limit: 64,
            home_address: None,
            message: Message::HandoverInitiate(HandoverInitiate {
                sequence: self.number,
                assigned_address: false,
                buffer: true,
                proxy: false,
                forward: false,
                code: HiCode::PcoaSource,
                mn_lla: Some(self.lla),
                pcoa: Some(self.pcoa),
                ncoa: Some(self.ncoa),
                unknown: Vec::new(),
            }),
        }
    }

    /// What it says when it is there.
    fn announcement(self) -> Packet {
        let una = NeighborAdvertisement::unsolicited(self.ncoa, self.lla);
        Packet {
            source: self.ncoa,
            destination: ALL_NODES,
            hop_limit: 255,
            home_address: None,
            message: Message::NeighborAdvertisement(una),
        }
    }

    /// A packet for its previous address, as it leaves its PAR's tunnel entrance.
    fn tunnelled(self, number: u32) -> Vec<u8> {
        let mut datagram = vec![0; UDP_HEADER + PAYLOAD];
        datagram[..2].copy_from_slice(&6000_u16.to_be_bytes());
        datagram[2..4].copy_from_slice(&5000_u16.to_be_bytes());
        let length = datagram.len() as u16;
        datagram[4..6].copy_from_slice(&length.to_be_bytes());
        datagram[UDP_HEADER..UDP_HEADER + 4].copy_from_slice(&number.to_be_bytes());
        let sum = fmip_ctl::wire::checksum(CN, self.pcoa, UDP, &datagram);
        // RFC 8200 section 8.1: 0 would mean that there is none.
        let sum = if sum == 0 { u16::MAX } else { sum };
        datagram[6..8].copy_from_slice(&sum.to_be_bytes());
        let inner = with_header(CN, self.pcoa, UDP, &datagram);
        with_header(PAR, self.ncoa, IPV6_IN_IPV6, &inner)
    }

    /// The number of a packet that [`Node::tunnelled`] made, if it is for this node.
    fn number_of(self, packet: &[u8]) -> Option<u32> {
        let to_node = packet.get(24..IPV6_HEADER)? == self.ncoa.octets();
        let at = 2 * IPV6_HEADER + UDP_HEADER;
        let number = packet.get(at..at + 4)?.try_into().ok()?;
        (to_node && packet[6] == IPV6_IN_IPV6).then_some(u32::from_be_bytes(number))
    }
}

fn with_header(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    next_header: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next_header, 64]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    packet
}

/// A new access router between two stand-ins. What is first is dropped first.
struct Rig {
    controller: Process,
    par: Tap,
    air: Tap,
    nar: NetNs,
    _others: [NetNs; 2],
    _directory: Directory,
}

impl Rig {
    fn start(fmip_ctl: &Path) -> Result<Self> {
        let name = |role: &str| format!("fmip-journey-{}-{role}", std::process::id());
        let directory = Directory::create(std::env::temp_dir().join(name("files")))?;
        let [core, nar, air] = ["core", "nar", "air"].map(|role| NetNs::create(&name(role)));
        let (core, nar, air) = (core?, nar?, air?);
        // One queue each way: a veth spreads a flow over more, which reorders it.
        let queues = "numtxqueues 1 numrxqueues 1";
        for (near, lla, far, end, far_lla) in [
            ("core0", CORE_LLA, &core, "par-end", PAR_LLA),
            (
                "acc0",
                ACCESS_LLA,
                &air,
                "mn-end",
                MacAddr([2, 0, 0, 0, 0, 0xa2]),
            ),
        ] {
            far.sysctl("ipv6/conf/default/disable_ipv6", 1)?;
            nar.ip(&format!(
                "link add {near} address {lla} {queues} type veth \
                 peer name {end} address {far_lla} {queues} netns {}",
                far.name()
            ))?;
            far.prepare_for_xdp(end)?;
            nar.prepare_for_xdp(near)?;
            // The frames of all nodes, whatever their link-layer address.
            far.ip(&format!("link set {end} up promisc on"))?;
        }
        nar.sysctl("ipv6/conf/all/forwarding", 1)?;
        nar.sysctl("ipv6/conf/default/accept_dad", 0)?;
        nar.sysctl("ipv6/conf/default/dad_transmits", 0)?;
        nar.ip_batch(&format!(
            "addr add 2001:db8:f2::2/64 dev core0 nodad\n\
             addr add {NAR}/64 dev acc0 nodad\n\
             link set core0 up\n\
             link set acc0 up\n\
             neigh add 2001:db8:f2::1 lladdr {PAR_LLA} dev core0 nud permanent\n\
             route add default via 2001:db8:f2::1\n"
        ))?;
        wait_until("the links' own addresses", SOON, || {
            let up = ["core0", "acc0"].map(|interface| {
                let shown = nar.ip_json(&format!("-6 address show dev {interface} scope link"));
                Ok(!shown?[0]["addr_info"].is_null())
            });
            let [core, access]: [Result<bool>; 2] = up;
            Ok((core? && access?).then_some(()))
        })?;
        let par = Tap::open(&core, "par-end")?;
        let mobile = Tap::open(&air, "mn-end")?;
        let mut controller = start_controller(fmip_ctl, &nar, &directory.path)?;
        let socket = directory.path.join("nar.sock");
        wait_until("fmip-ctl to be ready", SOON, || {
            controller.check_running()?;
            Ok(UnixStream::connect(&socket).ok().map(drop))
        })?;
        Ok(Self {
            controller,
            par,
            air: mobile,
            nar,
            _others: [core, air],
            _directory: directory,
        })
    }

    /// Hands nodes over, one after another; the microseconds from each one's UNA to its first packet.
    fn play(&self, handovers: u16) -> Result<Vec<f64>> {
        let nodes = (1..=handovers).map(Node::new);
        let times = thread::scope(|scope| {
            let on_time = scope.spawn(|| -> Result<Vec<f64>> {
                // A stand-in that is not run when it has something to send or to read takes the
                // router's time.
                setpriority_process(Some(gettid()), -20)
                    .context("cannot raise the stand-ins' priority")?;
                nodes.clone().map(|node| self.hand_over(node)).collect()
            });
            on_time.join().unwrap_or_else(|panic| resume_unwind(panic))
        })?;
        for node in nodes {
            self.check_arrived(node)?;
        }
        Ok(times)
    }

    /// UNA-06: the router does not stand in for the node any more, and has it as its neighbor; both come behind
    /// what it held.
    fn check_arrived(&self, node: Node) -> Result<()> {
        let ncoa = node.ncoa;
        let what = format!("the router to have {ncoa} as its neighbor, and not to stand in for it");
        wait_until(&what, SOON, || {
            let proxy = self.nar.ip_json("-6 neigh show proxy")?;
            let entries = proxy.as_array().into_iter().flatten();
            let mut addresses = entries.filter_map(|entry| entry["dst"].as_str());
            let stands_in = addresses.any(|address| address.parse() == Ok(ncoa));
            let of = format!("-6 neigh show {ncoa} dev acc0");
            let is_neighbor = self.nar.ip_json(&of)?[0]["lladdr"] == node.lla.to_string();
            Ok((is_neighbor && !stands_in).then_some(()))
        })
    }

    /// Hands one node over; the microseconds from its UNA to its first packet.
    fn hand_over(&self, node: Node) -> Result<f64> {
        let of = || format!("in the handover of node {}", node.number);
        self.prepare(node).with_context(of)?;
        for number in 0..HELD {
            self.par.send(PAR_LLA, CORE_LLA, &node.tunnelled(number))?;
            elapse(INTERVAL)?;
        }
        elapse(GAP)?;
        let una = node.announcement().encode();
        let announced = wall_clock();
        self.air.send(node.lla, ALL_NODES_LLA, &una)?;
        let first = self.collect(node).with_context(of)?;
        let taken = first.checked_sub(announced).with_context(|| {
            format!(
                "node {} got a packet before it was announced: nothing held it",
                node.number
            )
        })?;
        Ok(taken.as_nanos() as f64 / 1e3)
    }

    /// Announces the node to the router, and waits for its word.
    fn prepare(&self, node: Node) -> Result<()> {
        let initiate = node.initiate().encode();
        self.par.send(PAR_LLA, CORE_LLA, &initiate)?;
        let end = Instant::now() + SOON;
        while Instant::now() < end {
            let Some(frame) = self.par.receive(SOON)? else {
                break;
            };
            // What is no signalling, such as a report of multicast listeners, is none of ours.
            if let Ok(packet) = Packet::decode(frame.packet())
                && let Message::HandoverAck(answer) = packet.message
                && answer.sequence == node.number
            {
                ensure!(
                    answer.code == HackCode::NcoaValid,
                    "the router says {:?}",
                    answer.code
                );
                return Ok(());
            }
        }
        anyhow::bail!("no answer to the HI within {SOON:?}")
    }

    /// Waits for all packets of the node; when the first of them came.
    fn collect(&self, node: Node) -> Result<Duration> {
        let mut first = None;
        for expected in 0..HELD {
            let end = Instant::now() + SOON;
            loop {
                ensure!(
                    Instant::now() < end,
                    "packet {expected} did not come within {SOON:?}"
                );
                let Some(frame) = self.air.receive(SOON)? else {
                    continue;
                };
                if let Some(number) = node.number_of(frame.packet()) {
                    ensure!(
                        number == expected,
                        "packet {number} came where {expected} was due"
                    );
                    first.get_or_insert(frame.at);
                    break;
                }
            }
        }
        first.context("no packet was held")
    }
}

fn start_controller(fmip_ctl: &Path, nar: &NetNs, directory: &Path) -> Result<Process> {
    let file = |extension: &str| directory.join(format!("nar.{extension}"));
    let settings = json!({
        "role": "access-router",
        "control-socket": file("sock"),
        "access-router": {
            "core-interfaces": ["core0"],
            "state-directory": file("state"),
            "access": [{
                "interface": "acc0",
                "address": NAR,
                "prefix": "2001:db8:2::/64",
                "access-points": ["02:00:00:00:0a:02"],
            }],
            "neighbor": [{
                "address": PAR,
                "link-address": "02:00:00:00:00:11",
                "prefix": "2001:db8:1::/64",
                "access-points": ["02:00:00:00:0a:01"],
            }],
        },
    });
    let config = file("toml");
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&config)
        .and_then(|mut out| {
            out.write_all(toml::to_string(&settings).unwrap_or_default().as_bytes())
        })
        .with_context(|| format!("cannot write {}", config.display()))?;
    let mut command = Command::new(fmip_ctl);
    // It says what it does, as it would anywhere.
    command.args(["run", "--config"]).arg(&config);
    Process::start(nar, "fmip-ctl of nar", command, file("log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_measurement_that_so_many_do_not_exceed() {
        let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, 50), 100.0);
        assert_eq!(percentile(&values, 99), 198.0);
        assert_eq!(percentile(&[7.0], 99), 7.0);
    }

    #[test]
    fn a_nodes_packet_is_known_by_its_number_and_its_address() {
        let node = Node::new(258);
        let packet = node.tunnelled(7);
        assert_eq!(node.number_of(&packet), Some(7));
        assert_eq!(Node::new(259).number_of(&packet), None);
        assert_eq!(node.number_of(&node.announcement().encode()), None);
    }
}
