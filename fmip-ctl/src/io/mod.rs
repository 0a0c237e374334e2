//! Thin adapters.

pub mod load;
pub mod maps;
