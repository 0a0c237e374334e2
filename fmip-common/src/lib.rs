//! What the data path and the controller must agree on, and nothing else.
//!
//! Layout rules: every type that lives in a map is `repr(C)`, has no `bool`, no implicit padding,
//! and its size asserted beside it.

#![cfg_attr(not(test), no_std)]

pub mod bench;
pub mod binding;
pub mod buffer;
pub mod event;
pub mod limits;
pub mod probe;
pub mod reason;
pub mod signalling;
pub mod table;
