//! The lab: a small IPv6 network of namespaces in which a mobile node moves between access routers.
//!
//! ```text
//!     cn                        core                          par  (access router, where the MN comes from)
//!   +------+  2001:db8:c::/64  +------+  2001:db8:f1::/64  +-------+
//!   |  eth0|-------------------|cn0   |--------------------|core0  |
//!   | ::2  |  ::2         ::1  |  par0| ::1            ::2 |   acc0|---+ 2001:db8:1::/64   air
//!   +------+                   |      |                    +-------+   | ::1       +-----------------+
//!                              |      |                     radvd      +-----------|par-air   br-ap1 |
//!                              |      |  2001:db8:f2::/64  +-------+               |          ~ ~    |
//!                              |  nar0|--------------------|core0  |               |  radio  ~ ~ ~   |---wlan0  mn
//!                              +------+ ::1            ::2 |   acc0|---+           |          ~ ~    |   (moves)
//!                                                          +-------+   +-----------|nar-air   br-ap2 |
//!                                                     nar   radvd        ::1       +-----------------+
//!                                                                      2001:db8:2::/64
//! ```
//!
//! Every box is a network namespace, every line a veth pair; `air` holds the two access points, each a
//! bridge. The mobile node has one interface, `wlan0`, and keeps its link-layer address. The far end of
//! it, `radio`, is a port of the bridge whose access point the node is attached to; a move takes it down
//! and out of one bridge (the node sees its carrier go) and, after the link-layer gap, into the other.
//!
//! A lab may have a third access router, `third`, on 2001:db8:3::/64 behind 2001:db8:f3::/64, with an
//! access point of its own, and then a second access point on the previous router's link, too.
//! Two more networks are those of RFC 4260 figures 1 and 2: see [`Network`](topology::Network).
//!
//! Addresses, routes and neighbours are the kernel's own doing; router advertisements are radvd's.
//! Nothing here touches an interface of the machine itself, and everything goes away with the [`Lab`].
//!
//! Reading order: [`topology`] builds the network, [`stream`] sends the packets and keeps the account,
//! [`controller`] runs `fmip-ctl` in it, [`handover`] plays the move, [`emulated`] the link layers that
//! move it otherwise, [`scenario`] plays every mode of the protocol, [`link_layers`] every scenario of
//! those, [`capture`] sees what the wires show, [`losses`] where packets were lost, [`ladder`] draws all that happened, [`report`] tells
//! people and machines.

pub mod bench;
pub mod capture;
pub mod controller;
pub mod emulated;
pub mod flood;
pub mod fuzzing;
pub mod handover;
pub mod ladder;
pub mod link_layers;
pub mod losses;
pub mod netns;
pub mod process;
pub mod radios;
pub mod report;
pub mod scenario;
pub mod simulation;
pub mod stall;
pub mod stream;
pub mod testing;
pub mod topology;
pub mod wait;

pub use netns::NetNs;
pub use topology::{AccessPoint, Lab, Router};
pub use wait::wait_until;
