//! How fast the protocol core of the access routers is, and how much it remembers: whole predictive
//! handovers through a PAR and a NAR, with the real octets and without I/O.
//!
//! `cargo xtask bench core` runs it. Every figure comes out of one run in which routers that know
//! few and many mobile nodes take turns, so that what slows the machine for a while slows all alike.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    env,
    net::Ipv6Addr,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use fmip_ctl::{
    proto::{
        AccessLink, AccessRouter, Addressing, Command, Departure, HandoverKey, Input, Instant,
        InterfaceIndex, Limits, OnInvalidNcoa, Output, Peer, PeerAddressing, RouterConfig, Timers,
        auth::{Addresses, sign},
    },
    wire::{FastBindingUpdate, MacAddr, Message, NeighborAdvertisement, Packet, Prefix},
};

/// How many mobile nodes the routers know.
const KNOWN: [u32; 3] = [1_000, 100_000, 1_000_000];
/// Handovers that are under way at the same time.
const BATCH: u32 = 1_000;
/// Batches of one repetition: some tenths of a second.
const BATCHES: u32 = 20;
/// Repetitions of each number of known nodes; odd, so that one is the median.
const REPETITIONS: usize = 9;

const ACCESS: InterfaceIndex = 1;
const CORE: InterfaceIndex = 2;
const PAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const NAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// As long as the digest of HMAC-SHA1, which is what such a key would have.
const KEY_LEN: usize = 20;

/// Octets that are allocated.
static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, with an account of what it has given out.
struct Counting;

// SAFETY: every call is handed on as it came; counting touches no memory of the caller's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `pointer` came from `alloc` above with this layout, so from the system.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocated() -> usize {
    ALLOCATED.load(Ordering::Relaxed)
}

/// How long this thread has run: what others do on the same processor does not count.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("no thread runs for a negative time")
}

/// Mobile node number `number`, in 0..2^24.
#[derive(Clone, Copy)]
struct Mobile(u32);

impl Mobile {
    fn lla(self) -> MacAddr {
        let [_, high, middle, low] = self.0.to_be_bytes();
        MacAddr([2, 0, 1, high, middle, low])
    }

    fn address(self, link: u16) -> Ipv6Addr {
        let [a, b, c, d, e, f, g, h] = self.lla().modified_eui64();
        let word = |high, low| u16::from_be_bytes([high, low]);
        let (first, second) = (word(a, b), word(c, d));
        let (third, fourth) = (word(e, f), word(g, h));
        Ipv6Addr::new(0x2001, 0xdb8, link, 0, first, second, third, fourth)
    }

    fn pcoa(self) -> Ipv6Addr {
        self.address(1)
    }

    fn ncoa(self) -> Ipv6Addr {
        self.address(2)
    }

    fn spi(self) -> u32 {
        0x1000 + self.0
    }

    fn key(self) -> [u8; KEY_LEN] {
        let mut key = [0x5a; KEY_LEN];
        key[..4].copy_from_slice(&self.0.to_be_bytes());
        key
    }

    fn fbu(self, sequence: u16) -> Bytes {
        let (pcoa, ncoa) = (self.pcoa(), self.ncoa());
        let packet = Packet {
            source: pcoa,
            destination: PAR,
            hop_limit: 64,
            home_address: Some(pcoa),
            message: Message::FastBindingUpdate(FastBindingUpdate {
                sequence,
                ack: true,
                home: true,
                link_local: false,
                key_management: false,
                lifetime: 30,
                alternate_coa: Some(ncoa),
                mn_lla: Some(self.lla()),
                unknown: Vec::new(),
                authorization: None,
            }),
        };
        let addresses = Addresses {
            care_of: ncoa,
            par: PAR,
        };
        sign(packet, self.spi(), &self.key(), addresses)
    }

    fn una(self) -> Bytes {
        let una = NeighborAdvertisement::unsolicited(self.ncoa(), self.lla());
        let packet = Packet {
            source: self.ncoa(),
            destination: ALL_NODES,
            hop_limit: 255,
            home_address: None,
            message: Message::NeighborAdvertisement(una),
        };
        packet.encode()
    }
}

fn prefix(link: u16) -> Prefix {
    Prefix::new(Ipv6Addr::new(0x2001, 0xdb8, link, 0, 0, 0, 0, 0), 64).expect("64 is a length")
}

fn router(link: u16, mobile_nodes: Vec<HandoverKey>) -> AccessRouter {
    let (address, other, other_link) = match link {
        1 => (PAR, NAR, 2),
        _ => (NAR, PAR, 1),
    };
    let access_point = |link: u16| MacAddr([2, 0, 0, 0, 0xa, link as u8]);
    let lla = |link: u16| MacAddr([2, 0, 0, 0, 0xb, link as u8]);
    let config = RouterConfig {
        timers: Timers::default(),
        access: vec![AccessLink {
            interface: ACCESS,
            address,
            link_local: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, link),
            lla: lla(link),
            prefix: prefix(link),
            access_points: vec![access_point(link)],
            mtu: 1500,
            addressing: Addressing::Stateless,
            departure: Departure::Ignore,
            duplicate_probe: None,
            on_invalid_ncoa: OnInvalidNcoa::Silent,
            known_link_addresses: Vec::new(),
        }],
        peers: vec![Peer {
            address: other,
            lla: lla(other_link),
            prefix: prefix(other_link),
            access_points: vec![access_point(other_link)],
            other_addresses: Vec::new(),
            addressing: PeerAddressing::Stateless,
            fast_handover: true,
        }],
        mobile_nodes,
        buffering: true,
        // Out of the way: a batch is more than one neighbor would be granted at once.
        limits: Limits {
            max_handovers: usize::MAX,
            max_per_peer: usize::MAX,
            max_per_link: usize::MAX,
            signalling_per_source: u32::MAX,
        },
    };
    AccessRouter::new(config, link.into())
}

/// What a router has put out.
#[derive(Default)]
struct Put {
    /// Messages for the other router, in order.
    messages: Vec<Bytes>,
    commands: Vec<Command>,
}

impl Put {
    fn collect(&mut self, router: &mut AccessRouter, peer: Ipv6Addr) {
        while let Some(output) = router.poll_output() {
            match output {
                // The destination stands at octets 24 to 39 of an IPv6 header (RFC 8200 section 3).
                Output::Transmit(transmit) if transmit.bytes[24..40] == peer.octets() => {
                    self.messages.push(transmit.bytes);
                }
                Output::Transmit(_) | Output::Event(_) => {}
                Output::Command(command) => self.commands.push(command),
            }
        }
    }

    /// Checks that each of `names` was commanded once for each of `handovers`.
    fn is_all(&self, handovers: u32, names: &[&str]) -> Result<(), String> {
        for name in names {
            let named = self
                .commands
                .iter()
                .filter(|command| command.name() == *name);
            let times = named.count();
            if times != handovers as usize {
                return Err(format!("{handovers} handovers, but {times} times {name}"));
            }
        }
        Ok(())
    }
}

/// A PAR that knows mobile nodes, and a NAR beside it.
struct Pair {
    known: u32,
    par: AccessRouter,
    nar: AccessRouter,
    now: Instant,
    /// The last sequence number of each mobile node.
    sequences: Vec<u16>,
    /// Where the next mobile node is drawn from.
    random: u64,
    /// Octets that the routers had allocated before their first handover.
    state: usize,
    /// What a batch needs, made before the clock runs.
    fbus: Vec<Bytes>,
    unas: Vec<Bytes>,
    mobiles: Vec<Mobile>,
    put: Put,
}

impl Pair {
    fn new(known: u32) -> Self {
        let sequences = vec![0; known as usize];
        let before = allocated();
        let key = |mobile: Mobile| HandoverKey {
            pcoa: mobile.pcoa(),
            spi: mobile.spi(),
            key: mobile.key().to_vec(),
        };
        let par = router(1, (0..known).map(|number| key(Mobile(number))).collect());
        let nar = router(2, Vec::new());
        Self {
            known,
            par,
            nar,
            now: Instant::from_nanos(1_000_000_000),
            sequences,
            random: u64::from(known),
            state: allocated() - before,
            fbus: Vec::new(),
            unas: Vec::new(),
            mobiles: Vec::new(),
            put: Put::default(),
        }
    }

    /// Chooses the mobile nodes of a batch, all different, and writes what they will send. How many
    /// octets are allocated for their FBUs.
    fn prepare(&mut self, handovers: u32) -> usize {
        self.fbus.clear();
        self.unas.clear();
        self.mobiles.clear();
        // A stride that has no divisor in common with any of KNOWN visits all of them before one
        // comes again, far apart in memory.
        const STRIDE: u64 = 611_953;
        let mut octets = 0;
        for _ in 0..handovers {
            self.random = (self.random + STRIDE) % u64::from(self.known);
            let number = self.random as usize;
            let mobile = Mobile(number as u32);
            self.sequences[number] = self.sequences[number].wrapping_add(1);
            let before = allocated();
            let fbu = mobile.fbu(self.sequences[number]);
            octets += allocated() - before;
            self.fbus.push(fbu);
            self.unas.push(mobile.una());
            self.mobiles.push(mobile);
        }
        octets
    }

    /// What leads to tunnel and buffer: FBU, HI, HAck, FBack.
    fn begin(&mut self, handovers: u32) -> Result<(), String> {
        let packet = |interface, link_source, bytes| Input::Packet {
            interface,
            link_source,
            bytes,
        };
        self.put.messages.clear();
        self.put.commands.clear();
        for (bytes, mobile) in self.fbus.drain(..).zip(&self.mobiles) {
            self.par
                .handle_input(self.now, packet(ACCESS, mobile.lla(), bytes));
            self.put.collect(&mut self.par, NAR);
        }
        self.now = self.now + Duration::from_millis(5);
        let his = std::mem::take(&mut self.put.messages);
        let peer = MacAddr([2, 0, 0, 0, 0xc, 1]);
        for bytes in his {
            self.nar.handle_input(self.now, packet(CORE, peer, bytes));
            self.put.collect(&mut self.nar, PAR);
        }
        self.now = self.now + Duration::from_millis(5);
        let hacks = std::mem::take(&mut self.put.messages);
        for bytes in hacks {
            self.par.handle_input(self.now, packet(CORE, peer, bytes));
            self.put.collect(&mut self.par, NAR);
        }
        self.put
            .is_all(handovers, &["start-buffering", "install-tunnel"])
    }

    /// The arrival, and all that follows until nothing is left: UNA, drained, expiry.
    fn end(&mut self, handovers: u32) -> Result<(), String> {
        self.put.messages.clear();
        self.put.commands.clear();
        self.now = self.now + Duration::from_millis(200);
        for (bytes, mobile) in self.unas.drain(..).zip(&self.mobiles) {
            let packet = Input::Packet {
                interface: ACCESS,
                link_source: mobile.lla(),
                bytes,
            };
            self.nar.handle_input(self.now, packet);
            self.put.collect(&mut self.nar, PAR);
        }
        self.now = self.now + Duration::from_millis(50);
        for mobile in &self.mobiles {
            let address = mobile.ncoa();
            self.nar.handle_input(self.now, Input::Drained { address });
            self.put.collect(&mut self.nar, PAR);
        }
        for router in [&mut self.nar, &mut self.par] {
            while let Some(due) = router.poll_timeout() {
                self.now = self.now.max(due);
                router.handle_timeout(self.now);
                self.put.collect(router, Ipv6Addr::UNSPECIFIED);
            }
        }
        for router in [&self.nar, &self.par] {
            let left = router.handovers().len();
            if left > 0 {
                return Err(format!("{left} handovers never end"));
            }
        }
        let names = ["release-buffer", "remove-buffer", "remove-tunnel"];
        self.put.is_all(handovers, &names)
    }

    /// One repetition; nanoseconds per handover.
    fn measure(&mut self) -> Result<f64, String> {
        let mut spent = Duration::ZERO;
        for _ in 0..BATCHES {
            self.prepare(BATCH);
            let start = processor_time();
            self.begin(BATCH)?;
            self.end(BATCH)?;
            spent += processor_time() - start;
        }
        Ok(spent.as_nanos() as f64 / f64::from(BATCH * BATCHES))
    }
}

/// One figure: the median of its measurements, with the least and the greatest of them.
struct Figure {
    name: String,
    unit: &'static str,
    value: f64,
    min: f64,
    max: f64,
}

impl Figure {
    fn of(name: String, unit: &'static str, mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self {
            name,
            unit,
            value: values[values.len() / 2],
            min: values[0],
            max: values[values.len() - 1],
        }
    }

    /// Enough digits for its size.
    fn digits(&self) -> usize {
        if self.max < 100.0 { 2 } else { 0 }
    }

    fn line(&self) -> String {
        let Self { name, unit, .. } = self;
        let digits = self.digits();
        format!(
            "{name:<38}{:>12.digits$} {unit:<20}{:.digits$} .. {:.digits$}",
            self.value, self.min, self.max
        )
    }

    fn json(&self) -> String {
        let Self { name, unit, .. } = self;
        let digits = self.digits();
        format!(
            "{{\"name\":\"{name}\",\"value\":{:.digits$},\"unit\":\"{unit}\",\
             \"min\":{:.digits$},\"max\":{:.digits$}}}",
            self.value, self.min, self.max
        )
    }
}

fn figures() -> Result<Vec<Figure>, String> {
    let mut figures = Vec::new();
    let mut pairs: Vec<Pair> = KNOWN.into_iter().map(Pair::new).collect();
    for pair in &pairs {
        let per_node = pair.state as f64 / f64::from(pair.known);
        let name = format!("core_bytes_per_known_mn_{}", pair.known);
        figures.push(Figure::of(name, "bytes", vec![per_node]));
    }

    let mut costs = vec![Vec::new(); pairs.len()];
    // The first round warms up caches and tables, and is not counted.
    for round in 0..=REPETITIONS {
        for (pair, costs) in pairs.iter_mut().zip(&mut costs) {
            let cost = pair.measure()?;
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    for (pair, costs) in pairs.iter().zip(&costs) {
        let rates = costs.iter().map(|cost| 1e9 / cost).collect();
        let name = format!("core_handovers_per_s_{}", pair.known);
        figures.push(Figure::of(name, "handovers/s/core", rates));
    }
    for (pair, costs_of) in pairs.iter().zip(&costs).skip(1) {
        // Of one round each: what slowed the machine then, slowed both.
        let ratios = costs_of.iter().zip(&costs[0]).map(|(many, few)| many / few);
        let name = format!("core_cost_ratio_{}_vs_{}", pair.known, pairs[0].known);
        figures.push(Figure::of(name, "ratio", ratios.collect()));
    }

    // Memory of what is under way, with half of the mobile nodes on the move at the same time.
    const UNDER_WAY: u32 = 50_000;
    let mut pair = pairs.swap_remove(1);
    drop(pairs);
    let fbus = pair.prepare(UNDER_WAY);
    // What the driver itself keeps of a batch of this size is there before the count begins; the
    // FBUs are gone when it ends.
    pair.put.commands.reserve(8 * UNDER_WAY as usize);
    let before = allocated() - fbus;
    pair.begin(UNDER_WAY)?;
    let both = allocated().saturating_sub(before);
    let nar = std::mem::replace(&mut pair.nar, router(2, Vec::new()));
    let with_nar = allocated();
    drop(nar);
    let of_nar = with_nar - allocated();
    for (name, octets) in [("par", both.saturating_sub(of_nar)), ("nar", of_nar)] {
        let per_handover = octets as f64 / f64::from(UNDER_WAY);
        let name = format!("core_bytes_per_handover_{name}");
        figures.push(Figure::of(name, "bytes", vec![per_handover]));
    }
    Ok(figures)
}

fn main() -> ExitCode {
    let mut json = false;
    for argument in env::args().skip(1) {
        match argument.as_str() {
            "--json" => json = true,
            // Cargo says so to every benchmark.
            "--bench" => {}
            other => {
                eprintln!("error: {other:?} is no option of this benchmark: there is --json");
                return ExitCode::from(2);
            }
        }
    }
    let figures = match figures() {
        Ok(figures) => figures,
        Err(error) => {
            eprintln!("error: the handovers did not go as they should: {error}");
            return ExitCode::FAILURE;
        }
    };
    if json {
        let objects: Vec<String> = figures.iter().map(Figure::json).collect();
        println!("[{}]", objects.join(","));
    } else {
        println!("{:<38}{:>12} {:<20}min .. max", "", "median", "");
        for figure in &figures {
            println!("{}", figure.line());
        }
    }
    ExitCode::SUCCESS
}
