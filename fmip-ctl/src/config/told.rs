//! What the protocol core is told: the file and the machine's interfaces, joined.

use std::net::Ipv6Addr;

use super::{AccessRouter, Config, ConfigError, Interface, MobileNode};
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
        has_address(interface, "mobile-node.pcoa", node.pcoa)?;
        let current = proto::RouterKey {
            router: node.access_router,
            prefix: link_prefix(interface, node),
            spi: node.spi,
            key: node.key.as_bytes().to_vec(),
        };
        let others = node.routers.iter().map(|router| proto::RouterKey {
            router: router.address,
            prefix: Some(router.prefix),
            spi: router.spi,
            key: router.key.as_bytes().to_vec(),
        });
        let routers = std::iter::once(current).chain(others).collect();
        Ok(proto::MobileNodeConfig {
            timers: self.timers.clone(),
            interface: interface.index,
            lla: interface.link_address,
            pcoa: node.pcoa,
            par: node.access_router,
            current_access_point: node.access_point,
            routers,
            lifetime: node.lifetime,
            announcement: node.announcement,
        })
    }
}

/// The prefix of the link that the node is on, as its own address there says: the same router's when
/// the node comes back.
fn link_prefix(interface: &Interface, node: &MobileNode) -> Option<Prefix> {
    let (_, length) = interface
        .addresses
        .iter()
        .find(|(address, _)| *address == node.pcoa)?;
    Prefix::new(node.pcoa, *length)
        .ok()
        .filter(|prefix| prefix.contains(node.access_router))
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
    let own: Vec<String> = interface
        .addresses
        .iter()
        .map(|(address, length)| format!("{address}/{length}"))
        .collect();
    Err(ConfigError::Interface {
        key,
        message: format!(
            "{address} is not an address of {} (it has {}): correct the file or add the address",
            interface.name,
            if own.is_empty() {
                "no global address".to_owned()
            } else {
                own.join(", ")
            },
        ),
    })
}
