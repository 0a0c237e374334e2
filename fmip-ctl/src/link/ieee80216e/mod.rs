//! IEEE 802.16e at the mobile node: the handover dialogue of RFC 5270, message by message.
//!
//! [`message`] is the messages as octets, [`auth`] who may send them, [`air`] what carries them,
//! [`station`] the mobile station's part of the dialogue, and [`timing`] its timers.

pub mod air;
pub mod auth;
pub mod message;
pub mod station;
pub mod timing;
