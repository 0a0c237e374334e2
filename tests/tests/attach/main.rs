//! How the router's programs get at the packets of an interface, and what is found out about it before
//! any packet comes.
//!
//! `ip` and aya's own query are the witnesses: neither is the code under test.

mod modes;
mod probe;
mod process;
mod replace;
mod setup;
mod vlan;
