//! Which binding a packet meets, and which way it leaves.

use core::{
    intrinsics::{AtomicOrdering, atomic_xadd, atomic_xchg},
    ptr::null_mut,
};

use fmip_common::{
    binding::{Address, Binding, Egress, NextHop, Way},
    limits::WAYS,
    table::{self, COUNTS, Entry, Found, Seed, TOTALS, Table, counted, is_filling, one_packet},
};

use crate::{
    maps::{self, BUCKETS, ENTRIES, SPARES, table_shape},
    packet::tick,
};

/// What is bound for an address.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum State {
    /// A binding in force.
    InForce,
    /// A binding whose controller did not renew it.
    Expired,
    /// Nothing.
    Nothing,
}

/// A binding, or none: not an enumeration, see [`table::find`].
#[derive(Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) state: State,
    /// Of [`State::Nothing`] an empty one.
    pub(crate) binding: Binding,
    entry: *mut Entry,
    number: u32,
}

impl Bound {
    /// Whether there is a binding in force, with this action.
    #[inline(always)]
    pub(crate) fn is(&self, action: u16) -> bool {
        self.state == State::InForce && self.binding.action == action
    }

    /// Counts a packet of `octets` octets that met the binding.
    #[inline(always)]
    pub(crate) fn count(&self, octets: u64) {
        if self.entry.is_null() {
            return;
        }
        // SAFETY: words of a map element, here and below.
        let before = unsafe {
            let counts = self.entry.cast::<u64>().add(COUNTS);
            atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counts, one_packet(octets))
        };
        if is_filling(before) {
            self.move_counts();
        }
    }

    /// Once in a hundred million packets.
    #[inline(always)]
    fn move_counts(&self) {
        let Some(spare) = SPARES.get_ptr_mut(self.number) else {
            return;
        };
        // SAFETY: as above.
        unsafe {
            let counts = self.entry.cast::<u64>().add(COUNTS);
            let all = atomic_xchg::<u64, { AtomicOrdering::Relaxed }>(counts, 0);
            let (packets, octets) = counted(all);
            let totals = spare.cast::<u64>().add(TOTALS);
            atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(totals, packets);
            atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(totals.add(1), octets);
        }
    }
}

/// Looks up the binding for an address.
#[inline(always)]
pub(crate) fn binding(address: &Address) -> Bound {
    let mut found = Found {
        entry: null_mut(),
        number: 0,
        binding: Binding::default(),
    };
    let state = if !table::find(&Bindings, address, &mut found) {
        State::Nothing
    } else if found.binding.expiry.is_over(tick()) {
        State::Expired
    } else {
        State::InForce
    };
    Bound {
        state,
        binding: found.binding,
        entry: found.entry,
        number: found.number,
    }
}

/// How packets leave that go into the binding's tunnel.
#[inline(always)]
pub(crate) fn tunnel(binding: &Binding) -> Egress {
    way(binding.tunnel).to(binding.remote)
}

/// The same, where it stands: what is bound keeps it from being changed.
#[inline(always)]
pub(crate) fn tunnel_way(binding: &Binding) -> Option<&'static Way> {
    maps::WAYS.get(u32::from(binding.tunnel))
}

/// Where packets leave to the mobile node on its link.
#[inline(always)]
pub(crate) fn node(binding: &Binding) -> NextHop {
    NextHop {
        destination: binding.node,
        ..way(binding.link).next_hop
    }
}

#[inline(always)]
fn way(number: u16) -> Way {
    const { assert!(WAYS > u16::MAX as u32, "every number is one of a way") };
    match maps::WAYS.get(u32::from(number)) {
        Some(way) => *way,
        None => Way::default(),
    }
}

/// The table of bindings, in its maps.
struct Bindings;

impl Table for Bindings {
    type Entry = *mut Entry;
    #[inline(always)]
    fn shape(&self) -> (Seed, u32) {
        table_shape()
    }
    #[inline(always)]
    fn bucket(&self, number: u32) -> u64 {
        match BUCKETS.get_ptr(number) {
            // SAFETY: a map element; volatile, since the controller writes it.
            Some(bucket) => unsafe { bucket.read_volatile() },
            None => 0,
        }
    }
    #[inline(always)]
    fn entry(&self, number: u32) -> *mut Entry {
        ENTRIES.get_ptr_mut(number).unwrap_or(null_mut())
    }
    #[inline(always)]
    fn spare(&self, number: u32) -> *mut Entry {
        SPARES.get_ptr_mut(number).unwrap_or(null_mut())
    }
    #[inline(always)]
    fn exists(entry: *mut Entry) -> bool {
        !entry.is_null()
    }
    #[inline(always)]
    fn word(entry: *mut Entry, word: usize) -> u64 {
        // SAFETY: as above; `word` is one of the entry's.
        unsafe { entry.cast::<u64>().add(word).read_volatile() }
    }
    #[inline(always)]
    fn fence() {
        // An exchange orders all that is around it, and costs as much as the whole lookup: only where the
        // machine does not keep loads in order by itself.
        if cfg!(not(bpf_target_arch = "x86_64")) {
            let mut word = 0_u64;
            // SAFETY: a word on this stack.
            unsafe {
                atomic_xchg::<u64, { AtomicOrdering::SeqCst }>(&raw mut word, 1);
            }
        }
    }
}
