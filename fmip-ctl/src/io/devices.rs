//! What the interfaces of the configuration are made of: VLAN devices, and what they stand on.

use std::fmt;

use anyhow::{Context as _, Result};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVlan, LinkAttribute, LinkInfo, LinkMessage, LinkXdp, VlanProtocol,
    XdpAttached,
};

use super::netlink::link_name;
use crate::wire::MacAddr;

/// Tags that a frame may carry and still be read by the programs: one of 802.1Q within one of
/// 802.1ad (QinQ).
const MAX_TAGS: usize = 2;

/// A network device as it is at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its index in the controller's network namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The largest packet it sends, in octets.
    pub mtu: u32,
    /// Its link-layer address, if that has 6 octets.
    pub link_address: Option<MacAddr>,
    /// What it is.
    pub kind: Kind,
    /// Whether there is somebody at the other end.
    pub carrier: bool,
    /// The program that has its XDP, by its number.
    pub xdp: Option<u32>,
    /// The tags that its frames carry on the wire, the outer one first.
    pub tags: [Option<Tag>; MAX_TAGS],
    /// What a VLAN device stands on at last: the device that the wire is at. `None` for all others,
    /// and where it cannot be used: in another network namespace, or under more tags than
    /// `MAX_TAGS`.
    pub parent: Option<Box<Device>>,
}

/// What a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A driver's own: hardware, or what a virtual machine takes for it.
    Physical,
    /// One end of a pair; with the index of the other, unless that is in another network namespace.
    Veth {
        /// Index of the other end.
        peer: Option<u32>,
    },
    /// A VLAN of another device.
    Vlan,
    /// A bridge.
    Bridge,
    /// Several devices as one.
    Bond,
    /// Something else that the kernel makes, by the kernel's word for it.
    Other(String),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Physical => "a network card",
            Self::Veth { .. } => "a veth",
            Self::Vlan => "a VLAN device",
            Self::Bridge => "a bridge",
            Self::Bond => "a bond",
            Self::Other(kind) => return write!(f, "a device of the kind {kind}"),
        })
    }
}

/// A VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// Which of the two it is.
    pub protocol: TagProtocol,
    /// The VLAN, 0 to 4094.
    pub id: u16,
}

/// The kinds of tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TagProtocol {
    /// 802.1Q, the usual one.
    Customer,
    /// 802.1ad, the outer one of two.
    Service,
}

impl TagProtocol {
    /// The ethertype that announces such a tag.
    pub fn ethertype(self) -> u16 {
        match self {
            Self::Customer => 0x8100,
            Self::Service => 0x88a8,
        }
    }
}

impl Device {
    /// The device that the wire is at: the parent of a VLAN device, else itself. `None` for a VLAN
    /// device whose parent cannot be used.
    pub fn bottom(&self) -> Option<&Device> {
        match (&self.parent, &self.kind) {
            (Some(parent), _) => Some(parent),
            (None, Kind::Vlan) => None,
            (None, _) => Some(self),
        }
    }

    /// Whether its frames carry tags on the wire.
    pub fn is_tagged(&self) -> bool {
        self.kind == Kind::Vlan
    }
}

/// The device with that index.
///
/// # Errors
/// It is not among `links`, or has no name.
pub(super) fn device(index: u32, links: &[LinkMessage]) -> Result<Device> {
    let mut device = alone(index, links)?;
    let mut tags = Vec::new();
    let mut lower = device.clone();
    while lower.kind == Kind::Vlan {
        let link = find(lower.index, links)?;
        // From the top down, and so the inner tag comes first.
        tags.extend(tag(link));
        let below = lower_index(link).filter(|_| tags.len() <= MAX_TAGS);
        match below.and_then(|below| alone(below, links).ok()) {
            Some(below) => lower = below,
            None => return Ok(device),
        }
    }
    if !tags.is_empty() {
        for (slot, tag) in device.tags.iter_mut().zip(tags.into_iter().rev()) {
            *slot = Some(tag);
        }
        device.parent = Some(Box::new(lower));
    }
    Ok(device)
}

fn find(index: u32, links: &[LinkMessage]) -> Result<&LinkMessage> {
    links
        .iter()
        .find(|link| link.header.index == index)
        .with_context(|| format!("interface {index} is gone"))
}

/// A device without what it stands on.
fn alone(index: u32, links: &[LinkMessage]) -> Result<Device> {
    let link = find(index, links)?;
    let name = link_name(link).with_context(|| format!("interface {index} has no name"))?;
    let mut device = Device {
        index,
        name: name.to_owned(),
        mtu: 0,
        link_address: None,
        kind: kind(link),
        carrier: false,
        xdp: None,
        tags: [None; MAX_TAGS],
        parent: None,
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) => device.mtu = *mtu,
            LinkAttribute::Address(octets) => {
                device.link_address = octets.as_slice().try_into().ok().map(MacAddr);
            }
            LinkAttribute::Carrier(carrier) => device.carrier = *carrier != 0,
            LinkAttribute::Xdp(xdp) => device.xdp = xdp_program(xdp),
            _ => {}
        }
    }
    Ok(device)
}

fn xdp_program(xdp: &[LinkXdp]) -> Option<u32> {
    let attached = xdp
        .iter()
        .any(|xdp| matches!(xdp, LinkXdp::Attached(attached) if *attached != XdpAttached::None));
    let number = xdp.iter().find_map(|xdp| match xdp {
        LinkXdp::ProgId(number)
        | LinkXdp::DrvProgId(number)
        | LinkXdp::SkbProgId(number)
        | LinkXdp::HwProgId(number) => Some(*number),
        _ => None,
    });
    attached.then(|| number.unwrap_or(0))
}

fn info(link: &LinkMessage) -> impl Iterator<Item = &LinkInfo> {
    link.attributes
        .iter()
        .filter_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(info) => Some(info),
            _ => None,
        })
        .flatten()
}

fn kind(link: &LinkMessage) -> Kind {
    let found = info(link).find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    });
    match found {
        None => Kind::Physical,
        Some(InfoKind::Veth) => Kind::Veth {
            peer: lower_index(link),
        },
        Some(InfoKind::Vlan) => Kind::Vlan,
        Some(InfoKind::Bridge) => Kind::Bridge,
        Some(InfoKind::Bond) => Kind::Bond,
        Some(other) => Kind::Other(other.to_string()),
    }
}

/// What it stands on, or the other end, if that is in this network namespace.
fn lower_index(link: &LinkMessage) -> Option<u32> {
    let elsewhere = (link.attributes.iter())
        .any(|attribute| matches!(attribute, LinkAttribute::LinkNetNsId(_)));
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Link(index) => Some(*index),
            _ => None,
        })
        .filter(|_| !elsewhere)
}

fn tag(link: &LinkMessage) -> Option<Tag> {
    let data = info(link).find_map(|info| match info {
        LinkInfo::Data(InfoData::Vlan(data)) => Some(data),
        _ => None,
    })?;
    let id = data.iter().find_map(|datum| match datum {
        InfoVlan::Id(id) => Some(*id),
        _ => None,
    })?;
    let service = data
        .iter()
        .any(|datum| matches!(datum, InfoVlan::Protocol(VlanProtocol::Ieee8021Ad)));
    let protocol = if service {
        TagProtocol::Service
    } else {
        TagProtocol::Customer
    };
    Some(Tag { protocol, id })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, more: Vec<LinkAttribute>) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Mtu(1500),
            LinkAttribute::Carrier(1),
        ];
        link.attributes.extend(more);
        link
    }

    fn vlan(index: u32, below: u32, protocol: VlanProtocol, id: u16) -> LinkMessage {
        let data = InfoData::Vlan(vec![InfoVlan::Protocol(protocol), InfoVlan::Id(id)]);
        let info = vec![LinkInfo::Kind(InfoKind::Vlan), LinkInfo::Data(data)];
        let more = vec![LinkAttribute::Link(below), LinkAttribute::LinkInfo(info)];
        link(index, &format!("v{index}"), more)
    }

    #[test]
    fn two_vlan_devices_stand_on_their_parent_with_the_outer_tag_first() {
        let links = [
            link(2, "eth0", Vec::new()),
            vlan(3, 2, VlanProtocol::Ieee8021Ad, 100),
            vlan(4, 3, VlanProtocol::Ieee8021Q, 7),
        ];
        let top = device(4, &links).unwrap();
        assert_eq!(top.kind, Kind::Vlan);
        let tags = top.tags.map(|tag| tag.map(|tag| (tag.protocol, tag.id)));
        assert_eq!(
            tags,
            [
                Some((TagProtocol::Service, 100)),
                Some((TagProtocol::Customer, 7))
            ]
        );
        let parent = top.bottom().unwrap();
        assert_eq!((parent.index, parent.name.as_str()), (2, "eth0"));
        assert_eq!(parent.kind, Kind::Physical);

        let middle = device(3, &links).unwrap();
        assert_eq!(middle.tags[0].unwrap().id, 100);
        assert_eq!(middle.tags[1], None);
        let plain = device(2, &links).unwrap();
        assert_eq!(plain.bottom(), Some(&plain));
    }

    #[test]
    fn what_stands_elsewhere_or_too_deep_has_no_bottom() {
        let mut elsewhere = vlan(3, 2, VlanProtocol::Ieee8021Q, 1);
        elsewhere.attributes.push(LinkAttribute::LinkNetNsId(0));
        let links = [
            link(2, "eth0", Vec::new()),
            elsewhere,
            vlan(4, 2, VlanProtocol::Ieee8021Q, 1),
            vlan(5, 4, VlanProtocol::Ieee8021Q, 2),
            vlan(6, 5, VlanProtocol::Ieee8021Q, 3),
        ];
        for index in [3, 6] {
            let device = device(index, &links).unwrap();
            assert_eq!((device.bottom(), device.tags), (None, [None; MAX_TAGS]));
        }
        assert!(device(5, &links).unwrap().bottom().is_some());
    }

    #[test]
    fn the_other_end_of_a_veth_is_known_in_this_namespace_alone() {
        let pair = |more: Vec<LinkAttribute>| {
            let info = vec![LinkInfo::Kind(InfoKind::Veth)];
            let mut all = vec![LinkAttribute::Link(9), LinkAttribute::LinkInfo(info)];
            all.extend(more);
            [link(8, "core0", all)]
        };
        let here = device(8, &pair(Vec::new())).unwrap();
        assert_eq!(here.kind, Kind::Veth { peer: Some(9) });
        let there = device(8, &pair(vec![LinkAttribute::LinkNetNsId(1)])).unwrap();
        assert_eq!(there.kind, Kind::Veth { peer: None });
    }

    #[test]
    fn a_program_that_has_the_xdp_is_seen() {
        let xdp = vec![LinkXdp::Attached(XdpAttached::Driver), LinkXdp::ProgId(42)];
        let links = [
            link(2, "eth0", vec![LinkAttribute::Xdp(xdp)]),
            link(
                3,
                "eth1",
                vec![LinkAttribute::Xdp(vec![LinkXdp::Attached(
                    XdpAttached::None,
                )])],
            ),
        ];
        assert_eq!(device(2, &links).unwrap().xdp, Some(42));
        assert_eq!(device(3, &links).unwrap().xdp, None);
    }
}
