//! Which configuration may take another's place while the controller runs.

use std::{collections::BTreeSet, path::Path};

use super::{Attach, Config, ConfigError, Role, Side};

impl Config {
    /// Whether this configuration, read from `file`, may take the place of `running` without a
    /// restart.
    ///
    /// # Errors
    /// [`ConfigError::Fixed`] with the first key whose value only a restart can change.
    pub fn may_replace(&self, running: &Self, file: &Path) -> Result<(), ConfigError> {
        let (old, new) = match (&running.role, &self.role) {
            (Role::AccessRouter(old), Role::AccessRouter(new)) => (old, new),
            // What it is told is where it was at its start.
            (Role::MobileNode(_), Role::MobileNode(_)) => return Err(fixed(file, "mobile-node")),
            _ => return Err(fixed(file, "role")),
        };
        let links = |router: &super::AccessRouter| -> BTreeSet<String> {
            let names = router.access.iter().map(|access| access.interface.clone());
            names.collect()
        };
        let cores = |router: &super::AccessRouter| -> BTreeSet<String> {
            let names = router.core.iter().map(|core| core.interface.clone());
            names.collect()
        };
        let attached = |router: &super::AccessRouter, side: Side| -> BTreeSet<(String, Attach)> {
            let core = router
                .core
                .iter()
                .map(|core| (&core.interface, core.attach));
            let access = router.access.iter();
            let access = access.map(|access| (&access.interface, access.attach));
            let of_side: Vec<_> = match side {
                Side::Core => core.collect(),
                Side::Access => access.collect(),
            };
            let owned = of_side.into_iter();
            owned.map(|(name, attach)| (name.clone(), attach)).collect()
        };
        let (before, after) = (&running.buffer, &self.buffer);
        for (key, same) in [
            (
                "control-socket",
                running.control_socket == self.control_socket,
            ),
            ("access-router.core-interfaces", cores(old) == cores(new)),
            ("access-router.access.interface", links(old) == links(new)),
            (
                "access-router.core.attach",
                attached(old, Side::Core) == attached(new, Side::Core),
            ),
            (
                "access-router.access.attach",
                attached(old, Side::Access) == attached(new, Side::Access),
            ),
            (
                "access-router.state-directory",
                old.state_directory == new.state_directory,
            ),
            (
                // What is left out follows from what may be in the file.
                match new.max_bindings == new.min_bindings() {
                    true => "access-router.max-handovers (and with it max-bindings)",
                    false => "access-router.max-bindings",
                },
                old.max_bindings == new.max_bindings,
            ),
            ("buffer.packets", before.packets == after.packets),
            ("buffer.nodes", before.nodes == after.nodes),
            (
                match after.guaranteed_per_node == after.packets_per_node {
                    true => "buffer.packets-per-node (and with it guaranteed-per-node)",
                    false => "buffer.guaranteed-per-node",
                },
                before.guaranteed_per_node == after.guaranteed_per_node,
            ),
        ] {
            if !same {
                return Err(fixed(file, key));
            }
        }
        Ok(())
    }
}

fn fixed(file: &Path, key: &'static str) -> ConfigError {
    ConfigError::Fixed {
        file: file.to_owned(),
        key,
    }
}
