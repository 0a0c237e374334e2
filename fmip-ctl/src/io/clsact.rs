//! The queueing discipline that TC programs need before TCX (Linux 6.6): added where there is none, and
//! removed again unless others have come to use it.

use std::io;

use anyhow::{Context as _, Result, anyhow};
use aya::programs::tc::{self, TcError};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcHandle, TcMessage},
};
use rustix::io::Errno;
use tracing::{debug, warn};

use super::{load::in_full, netlink::Direct};

/// One that is ours. It is removed when it is dropped; the programs must have been detached by then.
pub(super) struct Clsact {
    interface: u32,
}

impl Clsact {
    /// Adds one to an interface; whether there was none before.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn add(interface: &str) -> Result<bool> {
        let already_there = |error: &TcError| match error {
            TcError::AlreadyAttached => true,
            TcError::NetlinkError(error) => {
                error.raw_os_error() == Some(Errno::EXIST.raw_os_error())
            }
            _ => false,
        };
        match tc::qdisc_add_clsact(interface) {
            Ok(()) => Ok(true),
            Err(error) if already_there(&error) => Ok(false),
            Err(error) => Err(anyhow!(in_full(&error)))
                .with_context(|| format!("cannot add clsact to {interface}")),
        }
    }

    /// The one of this interface is ours.
    pub(super) fn of(interface: u32) -> Self {
        Self { interface }
    }

    /// Removes it; whether nobody else uses it.
    fn remove(&self) -> io::Result<bool> {
        let netlink = Direct::open()?;
        for minor in [TcHandle::MIN_INGRESS, TcHandle::MIN_EGRESS] {
            let mut filters = self.message();
            filters.header.parent = TcHandle {
                major: u16::MAX,
                minor,
            };
            if netlink.has_filters(filters)? {
                return Ok(false);
            }
        }
        let mut message = self.message();
        message.header.parent = TcHandle::CLSACT;
        message.header.handle = TcHandle {
            major: u16::MAX,
            minor: 0,
        };
        netlink.remove(RouteNetlinkMessage::DelQueueDiscipline(message))?;
        Ok(true)
    }

    fn message(&self) -> TcMessage {
        TcMessage::with_index(self.interface as i32)
    }
}

impl Drop for Clsact {
    fn drop(&mut self) {
        let interface = self.interface;
        match self.remove() {
            Ok(true) => debug!(interface, "clsact is removed"),
            Ok(false) => debug!(interface, "clsact stays: others use it by now"),
            Err(error) => warn!(interface, "left behind: cannot remove clsact: {error}"),
        }
    }
}
