//! IEEE 802.16e at the mobile node: the handover dialogue of RFC 5270, message by message.
//!
//! [`message`] is the messages as octets, [`auth`] who may send them, [`air`] what carries them.

pub mod air;
pub mod auth;
pub mod message;
