//! What the kernel counts of the packets that an interface sends.

use rustix::{
    fd::OwnedFd,
    net::{AddressFamily, SocketType, netdevice::index_to_name, socket},
};

/// What an interface made of the packets that it was given, since it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// That left it: of a veth, that its far end took out of the ring.
    pub(super) packets: u64,
    /// That it had no room for. Not every driver counts them.
    pub(super) dropped: u64,
}

/// The kernel's counters of packets sent, by the index of the interface.
#[derive(Default)]
pub(super) struct Counters {
    socket: Option<OwnedFd>,
    name: Option<(u32, String)>,
}

impl Counters {
    /// Where this thread's namespace shows its counters. Not in /sys, which belongs to whoever mounted it.
    const FILE: &str = "/proc/thread-self/net/dev";

    /// What an interface has sent so far, if that is told.
    pub(super) fn sent(&mut self, interface: u32) -> Option<Sent> {
        let name = self.name(interface)?;
        let sent = sent_of(&std::fs::read_to_string(Self::FILE).ok()?, &name);
        if sent.is_none() {
            // It has another name by now, or is gone.
            self.name = None;
        }
        sent
    }

    fn name(&mut self, interface: u32) -> Option<String> {
        if let Some((known, name)) = &self.name
            && *known == interface
        {
            return Some(name.clone());
        }
        if self.socket.is_none() {
            self.socket = socket(AddressFamily::INET6, SocketType::DGRAM, None).ok();
        }
        let name = index_to_name(self.socket.as_ref()?, interface).ok()?;
        self.name = Some((interface, name.clone()));
        Some(name)
    }
}

/// What an interface of this name sent, by what the kernel says of all of them.
fn sent_of(table: &str, name: &str) -> Option<Sent> {
    const PACKETS: usize = 9;
    const DROPPED: usize = 11;
    let columns = table
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(of, _)| of.trim() == name)?
        .1;
    let number = |place| columns.split_ascii_whitespace().nth(place)?.parse().ok();
    Some(Sent {
        packets: number(PACKETS)?,
        dropped: number(DROPPED)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read_by_name() {
        let table = "Inter-|   Receive    |  Transmit\n face |bytes packets|bytes packets\n    \
                     lo:    1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n  out0: 5 6 0 0 0 0 0 0 7 8 0 9 0 0 0 0\n";
        let sent = |packets, dropped| Some(Sent { packets, dropped });
        assert_eq!(sent_of(table, "out0"), sent(8, 9));
        assert_eq!(sent_of(table, "lo"), sent(4, 0));
        assert_eq!(sent_of(table, "out"), None);
    }
}
