//! Every map, with its writer and its reader named.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, bpf_fib_lookup},
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use fmip_common::{
    binding::{Address, Exit, Interface, Vlan, Way},
    buffer::{Buffer, DrainJob, DrainList, Pool, Slot},
    event::KINDS,
    limits,
    reason::Count,
    signalling::{Link, QUEUES_PER_LINK, Queue, Source, Station},
    table::{Entry, Seed},
};

use crate::{forward::Recent, signal::Draft, too_big::Bucket};

/// What to do with packets of an address: the buckets of the table (`fmip_common::table`). The controller
/// sets their number and writes them, through its own memory; every program reads.
#[map]
pub(crate) static BUCKETS: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The entries of the same table. The programs count in them.
#[map]
pub(crate) static ENTRIES: Array<Entry> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Their spares. The programs read them while a binding changes, and move full counters there.
#[map]
pub(crate) static SPARES: Array<Entry> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The table's seed and number of buckets less 1. Set when the programs are loaded, and constant to them.
#[unsafe(no_mangle)]
static TABLE_SEED: Seed = Seed([0; 2]);
/// See [`TABLE_SEED`].
#[unsafe(no_mangle)]
static TABLE_MASK: u32 = 0;

/// See [`TABLE_SEED`].
#[inline(always)]
pub(crate) fn table_shape() -> (Seed, u32) {
    // SAFETY: constants; volatile, since the loader replaces them.
    unsafe {
        (
            (&raw const TABLE_SEED).read_volatile(),
            (&raw const TABLE_MASK).read_volatile(),
        )
    }
}

/// How packets leave, as the bindings name it. Controller writes, every program reads.
#[map]
pub(crate) static WAYS: Array<Way> = Array::with_max_entries(limits::WAYS, BPF_F_MMAPABLE);

/// The addresses of this node, at which signalling is taken and tunnels end. Controller writes,
/// router and mobile programs read. The value says nothing.
#[map]
pub(crate) static LOCAL: HashMap<Address, u32> =
    HashMap::with_max_entries(limits::LOCAL_ADDRESSES, 0);

/// An array that user space can map into its own memory. Its elements begin at the beginning of a page: the
/// structures of the handover buffers lie on lines of the cache as they were laid out, and a slot never
/// reaches into a second page.
const MAPPED: u32 = BPF_F_MMAPABLE;

/// The handover buffers. Controller sets their number and opens them, router and mobile programs put,
/// drain program takes.
#[map]
pub(crate) static BUFFERS: Array<Buffer> = Array::with_max_entries(limits::DEFAULT_NODES, MAPPED);

/// The slots of all buffers. Controller sets their number; the programs own them.
#[map]
pub(crate) static SLOTS: Array<Slot> = Array::with_max_entries(limits::DEFAULT_POOL, MAPPED);

/// The link of each slot. As `SLOTS`.
#[map]
pub(crate) static LINKS: Array<u32> = Array::with_max_entries(limits::DEFAULT_POOL, 0);

/// The free slots, one entry. Controller writes it once; the programs own it after that.
#[map]
pub(crate) static POOL: Array<Pool> = Array::with_max_entries(1, MAPPED);

/// What the drain program is asked for. Controller's drain thread and drain program.
#[map]
pub(crate) static JOBS: Array<DrainJob> = Array::with_max_entries(limits::DRAIN_JOBS, MAPPED);

/// How far it is with that, one entry. As `JOBS`.
#[map]
pub(crate) static JOB_LIST: Array<DrainList> = Array::with_max_entries(1, MAPPED);

/// Packets and octets by interface and reason, [`limits::REASONS_PER_INTERFACE`] for each interface. Every
/// program writes, controller reads. Its size is set by the controller.
#[map]
pub(crate) static COUNTS: PerCpuArray<Count> =
    PerCpuArray::with_max_entries(limits::REASONS_PER_INTERFACE, 0);

/// Signalling. Router and mobile programs write, controller reads.
#[map]
pub(crate) static SIGNALS: RingBuf = RingBuf::with_byte_size(limits::SIGNAL_RING_BYTES, 0);

/// Where a record is put together, one entry. Router and mobile programs.
#[map]
pub(crate) static SIGNAL: PerCpuArray<Draft> = PerCpuArray::with_max_entries(1, 0);

/// What signalling is admitted from an interface, by its index; 0 stands for all that are not named.
/// Controller writes, router and mobile programs read.
#[map]
pub(crate) static SIGNAL_LINKS: HashMap<u32, Link> =
    HashMap::with_max_entries(limits::INTERFACES + 1, 0);

/// What is in the ring, by queue. Router and mobile programs.
#[map]
pub(crate) static SIGNAL_QUEUES: Array<Queue> =
    Array::with_max_entries((limits::INTERFACES + 1) * QUEUES_PER_LINK, 0);

/// Octets that were ever read from the ring, by queue. Controller writes, router and mobile programs
/// read.
#[map]
pub(crate) static SIGNALS_READ: Array<u64> =
    Array::with_max_entries((limits::INTERFACES + 1) * QUEUES_PER_LINK, 0);

/// The bucket of each source: when it will be full. Those that were quiet for longest are forgotten.
/// Router and mobile programs.
#[map]
pub(crate) static SIGNAL_SOURCES: LruHashMap<Source, u64> =
    LruHashMap::with_max_entries(limits::SIGNAL_SOURCES, 0);

/// The stations that are known to be mobile nodes'; the value says nothing. Controller writes, router
/// program reads.
#[map]
pub(crate) static STATIONS: HashMap<Station, u32> = HashMap::with_max_entries(limits::STATIONS, 0);

/// What happened, for people. Every program writes, controller reads.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(limits::EVENT_RING_BYTES, 0);

/// The bucket of each kind of event. Every program.
#[map]
pub(crate) static EVENT_BUCKETS: Array<u64> = Array::with_max_entries(KINDS, 0);

/// Events that were not told, by kind. Every program writes, controller reads.
#[map]
pub(crate) static EVENTS_LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(KINDS, 0);

/// Index of the parked interface, one entry. Controller writes, mobile program reads.
#[map]
pub(crate) static PARKED: Array<u32> = Array::with_max_entries(1, 0);

/// How a mobile node's released packets leave if they are passed up, one entry. Controller writes,
/// `fmip_release` reads.
#[map]
pub(crate) static RELEASE_TO: Array<Exit> = Array::with_max_entries(1, 0);

/// The interfaces that this node's programs are attached to, by index. Its size is set by the controller, which
/// writes it; every program reads: only these are known to take redirected frames.
#[map]
pub(crate) static INTERFACES: Array<Interface> = Array::with_max_entries(1, 0);

/// The interface of each VLAN, by port and tags. Controller writes, every XDP program reads.
#[map]
pub(crate) static VLANS: HashMap<Vlan, u32> = HashMap::with_max_entries(limits::VLANS, 0);

/// What the kernel's routes are asked with, one entry: the programs have no room for it on their stack. Every
/// program that sends packets.
#[map]
pub(crate) static FIB: PerCpuArray<bpf_fib_lookup> = PerCpuArray::with_max_entries(1, 0);

/// What the kernel said of routes lately. Router programs alone.
#[map]
pub(crate) static RECENT_ROUTES: PerCpuArray<Recent> =
    PerCpuArray::with_max_entries(1 << limits::RECENT_ROUTES_BITS, 0);

/// The routers that this one hands over to and from: by each address, a number for the router, which is
/// not 0 (AMB-20). Controller writes, router program reads.
#[map]
pub(crate) static PEERS: HashMap<Address, u32> =
    HashMap::with_max_entries(limits::PEER_ADDRESSES, 0);

/// How many addresses are bound by which packets' sources are looked up: while there are none, no packet
/// pays for it. Controller writes, router program reads. A variable, that is a map named `.bss`, whose one
/// element is read without being looked up. It must stay the only one.
#[unsafe(no_mangle)]
static mut HOSTS: u32 = 0;

/// The number of such addresses.
#[inline(always)]
pub(crate) fn hosts() -> u32 {
    // SAFETY: an integer; volatile, since the controller writes it.
    unsafe { (&raw const HOSTS).read_volatile() }
}

/// Limits the rate of ICMPv6 errors. Every program that sends some.
#[map]
pub(crate) static ERROR_RATE: PerCpuArray<Bucket> = PerCpuArray::with_max_entries(1, 0);
