//! Which binding a packet meets.

use core::mem::transmute;

use fmip_common::binding::{Address, Binding};

use crate::{maps::BINDINGS, packet::now};

/// What is bound for an address.
pub(crate) enum Lookup {
    /// A binding in force.
    Found(Binding),
    /// A binding whose controller did not renew it.
    Expired,
    /// Nothing.
    None,
}

/// How often a binding is looked up that the controller replaces again and again meanwhile.
const ATTEMPTS: u32 = 16;

/// Looks up the binding for an address.
#[inline(always)]
pub(crate) fn binding(address: &Address) -> Lookup {
    match consistent(address) {
        Some(binding) if now() < binding.expires_ns => Lookup::Found(binding),
        Some(_) => Lookup::Expired,
        None => Lookup::None,
    }
}

/// A copy of the binding, of this address and no other.
///
/// When the controller replaces an entry, the kernel may give the old one's place to another key at once,
/// though a program still reads it. So it is copied, and looked up once more: if it is still in its place,
/// what was copied was this address's.
#[inline(always)]
fn consistent(address: &Address) -> Option<Binding> {
    for _ in 0..ATTEMPTS {
        let found = BINDINGS.get_ptr(address)?;
        // SAFETY: a map element: it may change, but it stays memory, and every bit pattern is valid.
        // In words, and volatile: read once, and here.
        let words = unsafe { found.cast::<Words>().read_volatile() };
        if BINDINGS.get_ptr(address) == Some(found) {
            // SAFETY: a structure of integers of the same size.
            return Some(unsafe { transmute::<Words, Binding>(words) });
        }
    }
    None
}

type Words = [u64; size_of::<Binding>() / 8];
