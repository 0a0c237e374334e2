//! Random journeys of many mobile nodes over many access routers, on a virtual clock.
//!
//! A [`World`] is drawn from a seed: its routers and their ways of giving addresses, its mobile
//! nodes and where they go, what the links do to signalling, who crashes, who attacks. Every message
//! crosses the links as the bytes that the wire would carry; commands change an account of what
//! stands ([`books`]); and after every step what must hold is checked, by the account and by a
//! [`judge`] that knows what the mobile nodes really did. The same seed gives the same trace.
//!
//! Reading order: [`plan`] draws the world, [`world`] moves it, [`books`] and [`judge`] object.

pub mod books;
mod explore;
mod flow;
pub mod judge;
mod messages;
pub mod plan;
mod summary;
pub mod world;

pub use explore::{Exploration, explore, replay_command};
pub use flow::Loss;
pub use summary::{Summary, Violation};
pub use world::{NodeId, World};
