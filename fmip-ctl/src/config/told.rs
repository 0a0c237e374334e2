//! What the protocol core is told: the file and the machine's interfaces, joined.

use std::net::Ipv6Addr;

use super::{AccessRouter, Config, ConfigError, Interface, MobileNode, RouterKey};
use crate::{proto, wire::Prefix};

impl Config {
    /// What the protocol core of an access router is told; `router` is this configuration's role.
    ///
    /// # Errors
    /// [`ConfigError::Interface`] if an access interface is not among `interfaces`, is down, or
    /// does not have the addresses it should.
    pub fn router_config(
        &self,
        router: &AccessRouter,
        interfaces: &[Interface],
    ) -> Result<proto::RouterConfig, ConfigError> {
        let access = router
            .access
            .iter()
            .map(|access| {
                const KEY: &str = "access-router.access.address";
                let interface = usable_interface(
                    interfaces,
                    "access-router.access.interface",
                    &access.interface,
                )?;
                has_address(interface, KEY, access.address)?;
                let link_local = interface.link_local.ok_or_else(|| ConfigError::Interface {
                    key: "access-router.access.interface",
                    message: format!(
                        "{} has no link-local address, and router advertisements need one: set \
                         net.ipv6.conf.{}.disable_ipv6 to 0",
                        interface.name, interface.name
                    ),
                })?;
                Ok(proto::AccessLink {
                    interface: interface.index,
                    address: access.address,
                    link_local,
                    lla: interface.link_address,
                    prefix: access.prefix,
                    access_points: access.access_points.clone(),
                    mtu: interface.mtu as usize,
                    addressing: access.addressing,
                    departure: access.departure,
                    duplicate_probe: access.duplicate_probe,
                    on_invalid_ncoa: access.on_invalid_ncoa,
                    known_link_addresses: access.known_link_addresses.clone(),
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        for core in &router.core {
            usable_interface(interfaces, "access-router.core-interfaces", &core.interface)?;
        }
        Ok(proto::RouterConfig {
            timers: self.timers.clone(),
            access,
            peers: router
                .neighbors
                .iter()
                .map(|neighbor| proto::Peer {
                    address: neighbor.address,
                    lla: neighbor.link_address,
                    prefix: neighbor.prefix,
                    access_points: neighbor.access_points.clone(),
                    other_addresses: neighbor.other_addresses.clone(),
                    addressing: neighbor.addressing,
                    fast_handover: neighbor.fast_handover,
                })
                .collect(),
            mobile_nodes: router
                .mobile_nodes
                .iter()
                .map(|node| proto::HandoverKey {
                    pcoa: node.pcoa,
                    spi: node.spi,
                    key: node.key.as_bytes().to_vec(),
                })
                .collect(),
            buffering: self.buffer.enabled,
            limits: router.limits.clone(),
        })
    }

    /// What the protocol core of a mobile node is told; `node` is this configuration's role.
    ///
    /// # Errors
    /// [`ConfigError::Interface`] if its interface is not among `interfaces`, is down, or does not
    /// have the address it should.
    pub fn mobile_node_config(
        &self,
        node: &MobileNode,
        interfaces: &[Interface],
    ) -> Result<proto::MobileNodeConfig, ConfigError> {
        let interface = usable_interface(interfaces, "mobile-node.interface", &node.interface)?;
        let pcoa = match node.pcoa {
            Some(pcoa) => {
                has_address(interface, "mobile-node.pcoa", pcoa)?;
                pcoa
            }
            None => find_address(interface, node)?,
        };
        let current = node.access_router.as_ref().map(|current| proto::RouterKey {
            router: current.address,
            prefix: link_prefix(interface, pcoa).filter(|prefix| prefix.contains(current.address)),
            // It is on its link already.
            access_point: None,
            spi: current.spi,
            key: current.key.as_bytes().to_vec(),
        });
        let par = match &node.access_router {
            Some(current) => current.address,
            None => {
                router_of(node, pcoa)
                    .ok_or_else(|| ConfigError::Interface {
                        key: "mobile-node.pcoa",
                        message: format!("{pcoa} is in the prefix of no [[mobile-node.router]]"),
                    })?
                    .address
            }
        };
        let others = node.routers.iter().map(|router| proto::RouterKey {
            router: router.address,
            prefix: Some(router.prefix),
            access_point: router.access_point,
            spi: router.spi,
            key: router.key.as_bytes().to_vec(),
        });
        Ok(proto::MobileNodeConfig {
            timers: self.timers.clone(),
            interface: interface.index,
            lla: interface.link_address,
            pcoa,
            par,
            current_access_point: node.access_point,
            router_lla: None, // the kernel may know
            routers: current.into_iter().chain(others).collect(),
            lifetime: node.lifetime,
            announcement: node.announcement,
            neighborhood_interval: node.neighborhood_interval,
            silent_router_interval: node.silent_router_interval,
        })
    }
}

/// The address of an interface that says at which router the node is. Where there are several, the
/// one made of the link-layer address comes first (RFC 4291 section 2.5.1): the node makes its
/// addresses so on other links, too.
fn find_address(interface: &Interface, node: &MobileNode) -> Result<Ipv6Addr, ConfigError> {
    let iid = interface.link_address.modified_eui64();
    let here = |(address, length): &(Ipv6Addr, u8)| match &node.access_router {
        Some(router) => {
            *address != router.address
                && Prefix::new(*address, *length)
                    .is_ok_and(|prefix| prefix.contains(router.address))
        }
        None => router_of(node, *address).is_some_and(|router| router.address != *address),
    };
    let mut found: Vec<Ipv6Addr> = (interface.addresses.iter())
        .filter(|address| here(address))
        .map(|(address, _)| *address)
        .collect();
    found.sort_by_key(|address| address.octets()[8..] != iid);
    found.first().copied().ok_or_else(|| {
        let wanted: Vec<String> = match &node.access_router {
            Some(router) => vec![format!("of the link of {}", router.address)],
            None => (node.routers.iter())
                .map(|router| router.prefix.to_string())
                .collect(),
        };
        ConfigError::Interface {
            key: "mobile-node.interface",
            message: format!(
                "{} has no address in a prefix of a router that there is a key for ({}); it has {}",
                interface.name,
                wanted.join(", "),
                addresses_of(interface),
            ),
        }
    })
}

/// The router whose prefix an address is in, and which there is a key for.
fn router_of(node: &MobileNode, address: Ipv6Addr) -> Option<&RouterKey> {
    let mut routers = node.routers.iter();
    routers.find(|router| router.prefix.contains(address))
}

/// The prefix of the link that the node is on, as its own address there says: the same router's when
/// the node comes back.
fn link_prefix(interface: &Interface, pcoa: Ipv6Addr) -> Option<Prefix> {
    let mut addresses = interface.addresses.iter();
    let (_, length) = addresses.find(|(address, _)| *address == pcoa)?;
    Prefix::new(pcoa, *length).ok()
}

fn addresses_of(interface: &Interface) -> String {
    let own: Vec<String> = interface
        .addresses
        .iter()
        .map(|(address, length)| format!("{address}/{length}"))
        .collect();
    match own.is_empty() {
        true => "no global address".to_owned(),
        false => own.join(", "),
    }
}

fn usable_interface<'a>(
    interfaces: &'a [Interface],
    key: &'static str,
    name: &str,
) -> Result<&'a Interface, ConfigError> {
    let interface = interfaces
        .iter()
        .find(|interface| interface.name == name)
        .ok_or_else(|| ConfigError::Interface {
            key,
            message: format!("there is no interface {name}"),
        })?;
    if !interface.up {
        return Err(ConfigError::Interface {
            key,
            message: format!("{name} is down: `ip link set {name} up`"),
        });
    }
    Ok(interface)
}

fn has_address(
    interface: &Interface,
    key: &'static str,
    address: Ipv6Addr,
) -> Result<(), ConfigError> {
    if interface.addresses.iter().any(|(own, _)| *own == address) {
        return Ok(());
    }
    Err(ConfigError::Interface {
        key,
        message: format!(
            "{address} is not an address of {} (it has {}): correct the file or add the address",
            interface.name,
            addresses_of(interface),
        ),
    })
}
