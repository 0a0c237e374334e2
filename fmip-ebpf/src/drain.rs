//! The drain: each frame of a run takes one packet out of a handover buffer.

use fmip_common::{
    binding::{ACTION_MOBILE, Egress, LOOPBACK, NextHop},
    buffer::{
        self, Buffer, DRAIN_CLOSE, DRAIN_DISCARD, DRAIN_OPEN, DRAIN_RELEASE, DRAIN_TRIM, DrainJob,
        OUTCOME_BUSY, OUTCOME_DONE, OUTCOME_EMPTY, OUTCOME_WAIT, PRIORITY, STREAM, Slot, Take,
    },
    limits::FRAME_BYTES,
    reason::Reason,
};

use crate::{
    Outcome,
    buffer::Queue,
    count,
    forward::{self, Answer},
    lookup,
    maps::{JOB_LIST, JOBS},
    packet::{self, Packet, TUNNEL_HEADER, XdpPacket, bounded, now},
    parse::{self, INNER, IPV6_HEADER, Ipv6},
    too_big, tunnel,
};

const UNWRITABLE: Outcome = Outcome::Drop(Reason::Unwritable);

/// Carries out the first of the jobs that is not done; what becomes of the packet, and its length.
#[inline(always)]
pub(crate) fn handle(packet: &mut XdpPacket) -> (Outcome, u64) {
    const NOTHING: (Outcome, u64) = (Outcome::Nothing, 0);
    // What a run by the controller shows as its interface. A packet that really arrives on the parked
    // interface is not ours to fill.
    if packet.interface() != LOOPBACK {
        return (Outcome::Pass(Reason::NoBinding), packet.length());
    }
    let Some(list) = JOB_LIST.get_ptr_mut(0) else {
        return NOTHING;
    };
    // SAFETY: map elements, here and below; the controller's one drain thread waits while the program runs.
    let (number, jobs) = unsafe { ((*list).next, (*list).jobs) };
    if number >= jobs {
        return NOTHING;
    }
    let Some(job) = JOBS.get_ptr_mut(number) else {
        return NOTHING;
    };
    let (index, operation) = unsafe { ((*job).buffer, (*job).operation) };
    let (outcome, verdict, length) = match Queue::new(index) {
        Some(queue) => carry_out(packet, &queue, operation, job),
        None => (0, Outcome::Nothing, 0),
    };
    unsafe {
        (*job).outcome = outcome;
        let used = (*job).used + 1;
        (*job).used = used;
        if outcome != OUTCOME_DONE || used >= (*job).budget {
            (*list).next = number + 1;
        }
    }
    (verdict, length)
}

#[inline(always)]
fn carry_out(
    packet: &mut XdpPacket,
    queue: &Queue,
    operation: u32,
    job: *mut DrainJob,
) -> (u32, Outcome, u64) {
    match operation {
        DRAIN_RELEASE => release(packet, queue, job),
        DRAIN_DISCARD => match queue.take(buffer::first(queue)) {
            Take::Slot(slot) => drop_slot(queue, job, slot, Reason::Discarded),
            Take::Empty => (OUTCOME_EMPTY, Outcome::Nothing, 0),
            Take::Busy => (OUTCOME_BUSY, Outcome::Nothing, 0),
        },
        DRAIN_TRIM => trim(queue, job),
        DRAIN_CLOSE if buffer::close(queue) => (OUTCOME_DONE, Outcome::Nothing, 0),
        DRAIN_CLOSE => (OUTCOME_BUSY, Outcome::Nothing, 0),
        DRAIN_OPEN => {
            buffer::open(queue);
            (OUTCOME_DONE, Outcome::Nothing, 0)
        }
        _ => (0, Outcome::Nothing, 0),
    }
}

/// Gives up a slot that was taken.
#[inline(always)]
fn drop_slot(queue: &Queue, job: *mut DrainJob, slot: u32, reason: Reason) -> (u32, Outcome, u64) {
    let length = queue.length(slot);
    // SAFETY: map elements; only runs of the one drain thread write `taken` and `trimmed`.
    unsafe {
        (*job).taken += 1;
        match reason {
            Reason::CopyTrimmed => (*queue.buffer()).trimmed += 1,
            _ => queue.count_dropped(reason),
        }
    }
    queue.give_back(slot, length);
    (OUTCOME_DONE, Outcome::Drop(reason), length)
}

/// Takes the oldest copy if its time is over.
#[inline(always)]
fn trim(queue: &Queue, job: *mut DrainJob) -> (u32, Outcome, u64) {
    const EMPTY: (u32, Outcome, u64) = (OUTCOME_EMPTY, Outcome::Nothing, 0);
    let which = if is_aged(queue, PRIORITY, job) {
        PRIORITY
    } else if is_aged(queue, STREAM, job) || is_nearly_full(queue.buffer()) {
        STREAM
    } else {
        return EMPTY;
    };
    match queue.take(which) {
        Take::Slot(slot) => drop_slot(queue, job, slot, Reason::CopyTrimmed),
        Take::Empty => EMPTY,
        Take::Busy => (OUTCOME_BUSY, Outcome::Nothing, 0),
    }
}

/// Whether the oldest copy in a queue left the window.
#[inline(always)]
fn is_aged(queue: &Queue, which: usize, job: *mut DrainJob) -> bool {
    let oldest = buffer::oldest(queue, which).and_then(|slot| queue.slot(slot));
    // SAFETY: map elements; a slot that is in the queue changes only when it is taken, and this is the
    // one taker.
    oldest
        .is_some_and(|slot| unsafe { now().saturating_sub((*slot).arrival_ns) >= (*job).window_ns })
}

/// Whether less than an eighth of the buffer's room is left: of copies it is the newest that count, and
/// between two trimmings a burst must find room.
#[inline(always)]
fn is_nearly_full(buffer: *mut Buffer) -> bool {
    // SAFETY: fields of a map element; volatile, since other processors write the load.
    unsafe {
        let load = (&raw const (*buffer).load).read_volatile();
        let (packets, octets) = (u64::from((*buffer).max_packets), (*buffer).max_octets);
        buffer::packets_of(load) > packets - packets / 8
            || buffer::octets_of(load) > octets - octets / 8
    }
}

/// Takes the oldest packet and sends it.
#[inline(always)]
fn release(packet: &mut XdpPacket, queue: &Queue, job: *mut DrainJob) -> (u32, Outcome, u64) {
    // SAFETY: a map element; the controller's one drain thread waits while the program runs.
    let egress = unsafe { &(*job).egress };
    // Before the queue is looked at: while the outer tunnel's packets are held, an empty queue must not be
    // shut either, or the packet that comes at this instant would find its way in neither.
    let nested = nested(egress);
    if nested.held {
        return (OUTCOME_WAIT, Outcome::Nothing, 0);
    }
    let which = buffer::first(queue);
    if buffer::oldest(queue, which).is_none() {
        return (OUTCOME_EMPTY, Outcome::Nothing, 0);
    }
    let Some(way) = way(packet, job, egress, &nested) else {
        return (OUTCOME_WAIT, Outcome::Nothing, 0);
    };
    let index = match queue.take(which) {
        Take::Slot(index) => index,
        Take::Empty => return (OUTCOME_EMPTY, Outcome::Nothing, 0),
        Take::Busy => return (OUTCOME_BUSY, Outcome::Nothing, 0),
    };
    let length = queue.length(index);
    let verdict = match queue.slot(index) {
        // SAFETY: the slot is ours since it was taken.
        Some(slot) => unsafe { send(packet, queue, slot, egress, &nested, &way) },
        None => UNWRITABLE,
    };
    // SAFETY: map elements; only runs of the one drain thread write these fields.
    unsafe {
        (*job).taken += 1;
        if let Outcome::Pass(Reason::ReleasedByKernel) = verdict {
            (*job).passed += 1;
            if way.resolves {
                (*job).resolving = 1;
            }
        }
        let put_into = match verdict {
            Outcome::Redirect(_, port) => port,
            // By way of the loopback, into the ring of the interface behind it.
            Outcome::Pass(Reason::Released) => way.hop.interface,
            _ => 0,
        };
        if put_into != 0 {
            (*job).sent += 1;
            (*job).port = put_into;
        }
        match verdict {
            Outcome::Redirect(..) | Outcome::Pass(Reason::ReleasedByKernel | Reason::Released) => {
                (*queue.buffer()).released += 1;
            }
            Outcome::Drop(reason) => queue.count_dropped(reason),
            _ => queue.count_dropped(Reason::TooBigHeld),
        }
    }
    queue.give_back(index, length);
    (OUTCOME_DONE, verdict, length)
}

/// What is bound for the tunnel's own end: a mobile node that moved again before its first tunnel ended
/// sends that tunnel's packets through a second one.
struct Nested {
    /// Those packets are held, and so must these be: the link that they would leave by may be gone.
    held: bool,
    /// There is a second tunnel, or at least another way for what is in the first.
    around: bool,
    /// How packets leave then.
    egress: Egress,
}

#[inline(always)]
fn nested(egress: &Egress) -> Nested {
    let mut nested = Nested {
        held: false,
        around: false,
        egress: Egress::default(),
    };
    if !egress.is_tunnel() {
        return nested;
    }
    let bound = lookup::binding(&egress.outer_source);
    if bound.is(ACTION_MOBILE) {
        nested.around = true;
        nested.egress = lookup::tunnel(&bound.binding);
        if let Some(queue) = Queue::new(bound.binding.buffer.into()) {
            nested.held = !queue.is_closed();
        }
    }
    nested
}

/// Where a released packet leaves.
struct Way {
    /// To whom; by the kernel, if the interface is 0.
    hop: NextHop,
    /// The longest packet, with the tunnel's header.
    mtu: u32,
    /// The kernel gets this packet so that it finds out the next hop's link-layer address.
    resolves: bool,
}

/// The way; `None` while a next hop is being resolved.
///
/// By the kernel means: as if it had arrived on the loopback, from where the kernel forwards it. That is for
/// ways that redirected frames do not go, and for the first packet to a neighbor that is not resolved.
/// Those behind it wait here: in the kernel's queue for an unresolved neighbor the oldest is lost when
/// too many come.
#[inline(always)]
fn way(packet: &XdpPacket, job: *mut DrainJob, egress: &Egress, nested: &Nested) -> Option<Way> {
    let known = match nested.around {
        true => nested.egress.next_hop,
        false => egress.next_hop,
    };
    if known.port != 0 {
        return Some(Way {
            hop: known,
            mtu: egress.mtu,
            resolves: false,
        });
    }
    let by_kernel = |resolves| Way {
        hop: NextHop::default(),
        mtu: egress.mtu,
        resolves,
    };
    if !egress.is_tunnel() {
        // To a node on a link that takes no redirected frames.
        return Some(by_kernel(false));
    }
    // SAFETY: a map element; the controller's one drain thread waits while the program runs.
    let (passed, resolving) = unsafe { ((*job).passed, (*job).resolving) };
    // How long the packet is will be known when it is taken; the answer names the bound.
    let route = forward::route(packet, &egress.outer_source, &egress.outer_destination, 0);
    match route.answer {
        Answer::To if passed > 0 => Some(Way {
            mtu: route.mtu.min(egress.mtu),
            ..by_kernel(false)
        }),
        Answer::To => Some(Way {
            hop: route.hop,
            mtu: route.mtu.min(egress.mtu),
            resolves: false,
        }),
        Answer::Unresolved if resolving != 0 => None,
        Answer::Unresolved => Some(by_kernel(true)),
        Answer::TooBig | Answer::Kernel => Some(by_kernel(false)),
    }
}

/// Makes the frame carry the packet in the slot, in its tunnels.
///
/// # Safety
/// The slot is the caller's.
#[inline(always)]
unsafe fn send(
    packet: &mut XdpPacket,
    queue: &Queue,
    slot: *mut Slot,
    egress: &Egress,
    nested: &Nested,
    way: &Way,
) -> Outcome {
    // SAFETY: the slot is the caller's; a map element.
    unsafe {
        if now().saturating_sub((*slot).arrival_ns) > (*queue.buffer()).max_age_ns {
            return Outcome::Drop(Reason::Aged);
        }
    }
    // 0 if there is none.
    let outer_mtu = nested.egress.mtu;
    let tunnels = usize::from(egress.is_tunnel()) + usize::from(outer_mtu != 0);
    // SAFETY: as the caller says.
    if unsafe { !fill(packet, slot, &way.hop, tunnels * TUNNEL_HEADER) } {
        return UNWRITABLE;
    }
    let written = match tunnels {
        0 => Some(()),
        2 => {
            let Some(inner) = parse::ipv6_at(packet, 2 * TUNNEL_HEADER) else {
                return UNWRITABLE;
            };
            let middle = tunnel::outer_header(&inner, egress);
            let outer = tunnel::outer_header(&middle, &nested.egress);
            if middle.total_length() > way.mtu || outer.total_length() > outer_mtu {
                // SAFETY: as the caller says.
                return unsafe {
                    too_big(
                        packet,
                        slot,
                        egress,
                        way.mtu.min(outer_mtu - TUNNEL_HEADER as u32),
                    )
                };
            }
            packet
                .write_ip(INNER, middle)
                .and_then(|()| packet.write_ip(0, outer))
        }
        _ => {
            let Some(inner) = parse::ipv6_at(packet, TUNNEL_HEADER) else {
                return UNWRITABLE;
            };
            let outer = tunnel::outer_header(&inner, egress);
            if outer.total_length() > way.mtu {
                // SAFETY: as the caller says.
                return unsafe { too_big(packet, slot, egress, way.mtu) };
            }
            packet.write_ip(0, outer)
        }
    };
    if written.is_none() {
        return UNWRITABLE;
    }
    match way.hop.port {
        0 => Outcome::Pass(Reason::ReleasedByKernel),
        // `mobile::exit_of_released` meets it there.
        LOOPBACK => Outcome::Pass(Reason::Released),
        port => Outcome::Redirect(Reason::Released, port),
    }
}

/// Makes the frame as long as the packet in the slot with `outer` octets of outer headers, writes the link
/// header to `hop`, and copies the packet behind those.
///
/// # Safety
/// The slot is the caller's.
#[inline(always)]
unsafe fn fill(packet: &mut XdpPacket, slot: *mut Slot, hop: &NextHop, outer: usize) -> bool {
    // SAFETY: the slot is the caller's.
    unsafe {
        let inner = u64::from((*slot).length);
        let Some(inner) = bounded(inner, IPV6_HEADER as u64, FRAME_BYTES as u64) else {
            return false;
        };
        let inner = inner as u32;
        let start = (packet::link_octets(hop) + outer) as u32;
        let from = (&raw mut (*slot).frame).cast::<u8>();
        packet.set_length(start + inner)
            && packet.fill(start, from, inner)
            && packet.write_link(hop).is_some()
    }
}

/// A packet that was held before its tunnel was known: its source is told what it would have been told
/// when it came (RFC 2473 section 7.1), by way of the kernel.
///
/// # Safety
/// The slot is the caller's.
#[inline(always)]
unsafe fn too_big(packet: &mut XdpPacket, slot: *mut Slot, egress: &Egress, mtu: u32) -> Outcome {
    const DROP: Outcome = Outcome::Drop(Reason::TooBigHeld);
    // SAFETY: as the caller says.
    let length = unsafe {
        if !fill(packet, slot, &NextHop::default(), 0) {
            return DROP;
        }
        u64::from((*slot).length)
    };
    let Some(original) = parse::ipv6_at(packet, 0) else {
        return DROP;
    };
    if !too_big::becomes_error(packet, &original, &egress.outer_source, mtu) {
        return DROP;
    }
    count::count(packet.interface(), Reason::TooBigHeld, length);
    Outcome::Pass(Reason::TooBigSent)
}

const _: () = assert!(TUNNEL_HEADER == size_of::<Ipv6>());
