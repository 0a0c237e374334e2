//! `fmip-ctl check`: is this file one that `run` would take?

use std::{
    io::{self, Write},
    path::Path,
};

use fmip_ctl::config::{Config, Role};

use super::counted;

/// Says in one line what a valid file is for. That it can be read at all was checked before.
pub(super) fn check(file: &Path, config: &Config) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{}: {}", file.display(), summary(config))?;
    Ok(())
}

fn summary(config: &Config) -> String {
    match &config.role {
        Role::AccessRouter(router) => format!(
            "valid, for an access router with {}, {} and {}",
            counted(router.access.len() as u64, "access link"),
            counted(router.neighbors.len() as u64, "neighbor"),
            counted(router.mobile_nodes.len() as u64, "mobile node key"),
        ),
        Role::MobileNode(node) => match node.pcoa {
            Some(pcoa) => format!("valid, for a mobile node with {pcoa} on {}", node.interface),
            None => format!(
                "valid, for a mobile node that finds its address on {}",
                node.interface
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_file_is_summed_up_in_a_line() {
        for (text, expected) in [
            (
                include_str!("../../examples/access-router.toml"),
                "valid, for an access router with 1 access link, 1 neighbor and 1 mobile node key",
            ),
            (
                include_str!("../../examples/mobile-node.toml"),
                "valid, for a mobile node with 2001:db8:1::ff:fe00:1 on wlan0",
            ),
        ] {
            let config = Config::parse(Path::new("f.toml"), text).unwrap();
            assert_eq!(summary(&config), expected);
        }
    }
}
