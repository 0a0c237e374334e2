//! Which binding a packet meets.

use fmip_common::binding::{Address, Binding};

use crate::{maps::BINDINGS, packet::now};

/// What is bound for an address.
pub(crate) enum Lookup {
    /// A binding in force.
    Found(&'static Binding),
    /// A binding whose controller did not renew it.
    Expired,
    /// Nothing.
    None,
}

/// Looks up the binding for an address.
#[inline(always)]
pub(crate) fn binding(address: &Address) -> Lookup {
    // SAFETY: the controller replaces an entry as a whole, and the kernel frees the old one only
    // after every program that may read it has ended.
    match unsafe { BINDINGS.get(address) } {
        Some(binding) if now() < binding.expires_ns => Lookup::Found(binding),
        Some(_) => Lookup::Expired,
        None => Lookup::None,
    }
}
