//! The bench: the data path measured on this machine, beside what a user would take instead.
//!
//! What counts are ratios of two ways that are measured in turn, in one run: a machine that is slow
//! today is slow for both.

pub mod figure;
pub mod journey;
pub mod plot;
mod tap;
pub mod timeline;

pub use figure::{Axis, Figure, Plot, Series};
