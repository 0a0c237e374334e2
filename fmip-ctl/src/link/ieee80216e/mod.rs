//! IEEE 802.16e at the mobile node: the handover dialogue of RFC 5270, message by message.

pub mod message;
