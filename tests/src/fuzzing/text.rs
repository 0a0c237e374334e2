//! The parsers of the configuration file and of the control socket's lines.

use std::{net::Ipv6Addr, path::Path};

use fmip_ctl::{
    config::{Config, ConfigError, Interface, Role},
    observe::{EventRecord, Request, Status},
    proto::{AccessRouter, MobileNode},
    wire::MacAddr,
};

/// A configuration file; one that is accepted is joined with the interfaces that it names, and a
/// machine made of it.
pub fn configuration(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let file = Path::new("file.toml");
    match Config::parse(file, text) {
        Err(error) => {
            let said = error.to_string();
            assert!(said.starts_with("file.toml:"), "{said}");
            if let ConfigError::Invalid { line, .. } = error {
                let lines = text.split('\n').count();
                assert!((1..=lines.max(1)).contains(&line), "line {line} of {lines}");
            }
        }
        Ok(config) => {
            assert_eq!(Config::parse(file, text).ok().as_ref(), Some(&config));
            make_machine(&config);
        }
    }
}

fn make_machine(config: &Config) {
    let addresses: Vec<Ipv6Addr> = match &config.role {
        Role::AccessRouter(router) => router.access.iter().map(|link| link.address).collect(),
        Role::MobileNode(node) => node.pcoa.into_iter().collect(),
    };
    let names = config.interface_names();
    let interfaces: Vec<Interface> = (1u32..)
        .zip(&names)
        .map(|(index, name)| Interface {
            name: (*name).to_owned(),
            index,
            link_address: MacAddr([2, 0, 0, 0, 0, index as u8]),
            mtu: 1500,
            up: true,
            link_local: Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, index as u16)),
            addresses: addresses.iter().map(|address| (*address, 64)).collect(),
        })
        .collect();
    match &config.role {
        Role::AccessRouter(router) => match config.router_config(router, &interfaces) {
            Ok(told) => drop(AccessRouter::new(told, 1)),
            Err(error) => drop(error.to_string()),
        },
        Role::MobileNode(node) => match config.mobile_node_config(node, &interfaces) {
            Ok(told) => drop(MobileNode::new(told, 1)),
            Err(error) => drop(error.to_string()),
        },
    }
}

/// A line to the controller, or one from it.
pub fn control(data: &[u8]) {
    match Request::parse(data) {
        Ok(request) => {
            let line = serde_json::to_string(&request).expect("a request is plain data");
            assert_eq!(Request::parse(line.as_bytes()).ok(), Some(request));
        }
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
    if let Ok(record) = serde_json::from_slice::<EventRecord>(data) {
        drop(serde_json::to_string(&record).expect("an event is plain data"));
    }
    if let Ok(status) = serde_json::from_slice::<Status>(data) {
        drop(serde_json::to_string(&status).expect("a status is plain data"));
    }
}
