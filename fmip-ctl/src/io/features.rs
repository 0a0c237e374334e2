//! What an interface's driver can do, and which offloads are on, as the kernel says by generic
//! netlink (its families `netdev` and `ethtool`).

use std::{collections::BTreeSet, io};

use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};
use rustix::io::Errno;

// Numbers of include/uapi/linux: netlink.h, genetlink.h, netdev.h, ethtool_netlink_generated.h.
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
const ETHTOOL_MSG_FEATURES_GET: u8 = 11;
const ETHTOOL_A_FEATURES_HEADER: u16 = 1;
const ETHTOOL_A_FEATURES_ACTIVE: u16 = 4;
const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
const ETHTOOL_A_BITSET_NOMASK: u16 = 1;
const ETHTOOL_A_BITSET_BITS: u16 = 3;
const ETHTOOL_A_BITSET_BIT_NAME: u16 = 2;
const ETHTOOL_A_BITSET_BIT_VALUE: u16 = 3;
const NLA_F_NESTED: u16 = 1 << 15;

/// Lengths of the headers of netlink and of generic netlink.
const HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;

/// What a driver's XDP can do (`NETDEV_XDP_ACT_...`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct XdpFeatures(u64);

impl XdpFeatures {
    /// Its programs may redirect.
    pub(super) fn redirects(self) -> bool {
        self.0 & 1 << 1 != 0
    }

    /// It takes frames that programs of others redirect to it.
    pub(super) fn takes_redirected(self) -> bool {
        self.0 & 1 << 2 != 0
    }

    /// Its programs get packets that do not fit into one buffer.
    pub(super) fn receives_several_buffers(self) -> bool {
        self.0 & 1 << 5 != 0
    }

    /// It takes redirected frames that do not fit into one buffer.
    pub(super) fn takes_several_buffers(self) -> bool {
        self.0 & 1 << 6 != 0
    }
}

/// Questions about the interfaces of the network namespace in which it was opened.
pub(super) struct Features {
    socket: Socket,
    sequence: u32,
}

impl Features {
    /// Opens a connection.
    ///
    /// # Errors
    /// The kernel gives no socket.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// What the driver's XDP can do; `None` if the kernel does not say (it does from 6.3 on).
    ///
    /// # Errors
    /// There is no such interface.
    pub(super) fn xdp(&mut self, interface: u32) -> io::Result<Option<XdpFeatures>> {
        let Some(family) = self.family("netdev")? else {
            return Ok(None);
        };
        let wanted = attribute(NETDEV_A_DEV_IFINDEX, &interface.to_ne_bytes());
        let answer = match self.ask(family, NETDEV_CMD_DEV_GET, &wanted) {
            Err(error) if is(&error, Errno::OPNOTSUPP) => return Ok(None),
            answer => answer?,
        };
        Ok(find(&answer, NETDEV_A_DEV_XDP_FEATURES)
            .and_then(|value| value.try_into().ok())
            .map(|octets| XdpFeatures(u64::from_ne_bytes(octets))))
    }

    /// The offloads that are on, by their names in `ethtool -k`'s kernel; `None` if the kernel does
    /// not say.
    ///
    /// # Errors
    /// There is no such interface.
    pub(super) fn offloads(&mut self, interface: u32) -> io::Result<Option<BTreeSet<String>>> {
        let Some(family) = self.family("ethtool")? else {
            return Ok(None);
        };
        let index = attribute(ETHTOOL_A_HEADER_DEV_INDEX, &interface.to_ne_bytes());
        let wanted = attribute(ETHTOOL_A_FEATURES_HEADER | NLA_F_NESTED, &index);
        let answer = match self.ask(family, ETHTOOL_MSG_FEATURES_GET, &wanted) {
            Err(error) if is(&error, Errno::OPNOTSUPP) => return Ok(None),
            answer => answer?,
        };
        Ok(find(&answer, ETHTOOL_A_FEATURES_ACTIVE).map(names_in_bitset))
    }

    /// The number of a family of generic netlink, if the kernel has it.
    fn family(&mut self, name: &str) -> io::Result<Option<u16>> {
        let name = [name.as_bytes(), &[0]].concat();
        let wanted = attribute(CTRL_ATTR_FAMILY_NAME, &name);
        match self.ask(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, &wanted) {
            Ok(answer) => Ok(find(&answer, CTRL_ATTR_FAMILY_ID)
                .and_then(|value| value.try_into().ok())
                .map(u16::from_ne_bytes)),
            Err(error) if is(&error, Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One request, and the attributes of its one answer.
    fn ask(&mut self, family: u16, command: u8, attributes: &[u8]) -> io::Result<Vec<u8>> {
        self.sequence += 1;
        let length = (HEADER + GENERIC_HEADER + attributes.len()) as u32;
        let mut request = Vec::with_capacity(length as usize);
        request.extend(length.to_ne_bytes());
        request.extend(family.to_ne_bytes());
        request.extend(NLM_F_REQUEST.to_ne_bytes());
        request.extend(self.sequence.to_ne_bytes());
        request.extend([0; 4]);
        // Every family that is asked here has version 1.
        request.extend([command, 1, 0, 0]);
        request.extend(attributes);
        self.socket.send(&request, 0)?;
        loop {
            let (answer, _) = self.socket.recv_from_full()?;
            let cut = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is cut");
            let header = answer.first_chunk::<HEADER>().ok_or_else(cut)?;
            let word = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
            if word(8) != self.sequence {
                continue;
            }
            let body = answer.get(HEADER..word(0) as usize).ok_or_else(cut)?;
            if u16::from_ne_bytes([header[4], header[5]]) == NLMSG_ERROR {
                let code = body.first_chunk().ok_or_else(cut)?;
                return Err(io::Error::from_raw_os_error(-i32::from_ne_bytes(*code)));
            }
            return Ok(body.get(GENERIC_HEADER..).ok_or_else(cut)?.to_vec());
        }
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// An attribute, padded to the next.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = (4 + value.len()) as u16;
    let mut octets = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    octets.extend(value);
    octets.resize(octets.len().next_multiple_of(4), 0);
    octets
}

/// The attributes in a row of them: kind and value.
fn attributes(octets: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        let header = rest.first_chunk::<4>()?;
        let length = u16::from_ne_bytes([header[0], header[1]]) as usize;
        let kind = u16::from_ne_bytes([header[2], header[3]]) & !NLA_F_NESTED;
        let value = rest.get(4..length)?;
        // The last one needs no padding.
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn find(octets: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(octets)
        .find(|(found, _)| *found == kind)
        .map(|(_, value)| value)
}

/// The names of the bits that are set. A bitset without a mask lists these alone.
fn names_in_bitset(bitset: &[u8]) -> BTreeSet<String> {
    let only_set = find(bitset, ETHTOOL_A_BITSET_NOMASK).is_some();
    let bits = find(bitset, ETHTOOL_A_BITSET_BITS).unwrap_or_default();
    attributes(bits)
        .filter_map(|(_, bit)| {
            let set = only_set || find(bit, ETHTOOL_A_BITSET_BIT_VALUE).is_some();
            let name = find(bit, ETHTOOL_A_BITSET_BIT_NAME)?;
            let name = name.strip_suffix(&[0]).unwrap_or(name);
            set.then(|| String::from_utf8_lossy(name).into_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bit(name: &str, set: bool) -> Vec<u8> {
        let mut bit = attribute(ETHTOOL_A_BITSET_BIT_NAME, &[name.as_bytes(), &[0]].concat());
        if set {
            bit.extend(attribute(ETHTOOL_A_BITSET_BIT_VALUE, &[]));
        }
        attribute(1 | NLA_F_NESTED, &bit)
    }

    #[test]
    fn the_names_of_the_bits_that_are_set_are_read() {
        let bits = [bit("rx-gro", true), bit("rx-lro", false)].concat();
        let bits = attribute(ETHTOOL_A_BITSET_BITS | NLA_F_NESTED, &bits);
        let names = |bitset: &[u8]| names_in_bitset(bitset).into_iter().collect::<Vec<_>>();
        assert_eq!(names(&bits), ["rx-gro"]);
        // Without a mask only those are listed that are set.
        let unmasked = [attribute(ETHTOOL_A_BITSET_NOMASK, &[]), bits].concat();
        assert_eq!(names(&unmasked), ["rx-gro", "rx-lro"]);
    }

    #[test]
    fn attributes_that_are_cut_end_the_row() {
        let row = [attribute(1, &[1, 2, 3]), attribute(2, &[4; 8])].concat();
        assert_eq!(find(&row, 2), Some(&[4; 8][..]));
        for length in 0..row.len() {
            assert_eq!(find(&row[..length], 2), None, "{length}");
        }
        // A length that is not even the header's own.
        assert_eq!(attributes(&[3, 0, 1, 0, 9, 9, 9, 9]).count(), 0);
    }
}
