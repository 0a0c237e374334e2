//! IEEE 802.16e in the lab: base stations as processes, and the radio that they share.
//!
//! ```text
//!     mobile node            air                                      (namespaces)
//!   +-------------+   +----------------------------------------------+
//!   | fmip-ctl    |   |   fmip-base-station    fmip-base-station     |
//!   |  802.16e    |   |      BS 0a:01  <-backbone->  BS 0a:02        |
//!   |  station    |   |        ^  |                    ^             |
//!   |      wlan0==|===|== radio ==+== br-ap1 -- par    :   br-ap2 -- nar
//!   +-------------+   +----------------------------------------------+
//! ```
//!
//! Management messages are frames of an EtherType of their own between `wlan0` and `radio`; every base
//! station hears all of them and answers those to its BSID. Data crosses the radio only while it is a
//! port of a base station's bridge: from the end of network entry there until MOB_HO-IND.
//!
//! Reading order: [`base_station`] is the state machine, without clock and socket; `process` drives it;
//! `network` starts the processes in a lab and tells them what to do; `router_link` tells the routers of
//! them who comes and goes; `watch` sees what crosses the radio.

pub mod backbone;
pub mod base_station;
mod configuration;
mod control;
mod forge;
mod network;
mod process;
mod radio;
mod router_link;
mod step;
mod watch;

pub use self::{
    configuration::{Configuration, OutOfRange, Router, Timing},
    control::{Control, Willingness},
    forge::{Flood, Forgery},
    network::{Network, Settings, bsid, find_base_station, mobile_station},
    process::run,
    step::{Act, Direction, Medium, Step},
    watch::{AirWatch, Crossed},
};
