//! Which kernel modules must be loaded, and in which order.

use std::collections::{HashMap, HashSet};

/// What depmod wrote: each module's file and the files of those that it needs.
#[derive(Debug, Default)]
pub(super) struct Dependencies<'a> {
    needs: HashMap<&'a str, Vec<&'a str>>,
    /// Files by the names that modules are called by.
    files: HashMap<String, &'a str>,
}

impl<'a> Dependencies<'a> {
    /// Reads `modules.dep`: `kernel/net/a.ko: kernel/net/b.ko kernel/net/c.ko`.
    pub(super) fn read(text: &'a str) -> Self {
        let mut dependencies = Self::default();
        for (file, needs) in text.lines().filter_map(|line| line.split_once(':')) {
            dependencies.files.insert(name_of(file), file);
            dependencies
                .needs
                .insert(file, needs.split_whitespace().collect());
        }
        dependencies
    }

    /// The files of `names` and of all that they need, each once and after what it needs itself. What
    /// is no module of this kernel is left out: it is built in, or not there at all.
    pub(super) fn in_order(&self, names: &[&str]) -> Vec<&'a str> {
        let mut order = Vec::new();
        let mut seen = HashSet::new();
        for name in names {
            if let Some(file) = self.files.get(&name_of(name)) {
                self.visit(file, &mut seen, &mut order);
            }
        }
        order
    }

    /// Depth first: what is needed is there before its user. A circle, which depmod refuses to write,
    /// would be cut where it closes.
    fn visit(&self, file: &'a str, seen: &mut HashSet<&'a str>, order: &mut Vec<&'a str>) {
        if !seen.insert(file) {
            return;
        }
        for need in self.needs.get(file).into_iter().flatten() {
            self.visit(need, seen, order);
        }
        order.push(file);
    }
}

/// `kernel/net/9p/9pnet-virtio.ko.xz` -> `9pnet_virtio`: dash and underscore are the same to the kernel.
fn name_of(file: &str) -> String {
    let file = file.rsplit('/').next().unwrap_or(file);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULES_DEP: &str = "kernel/fs/9p/9p.ko: kernel/net/9p/9pnet.ko kernel/fs/netfs.ko\n\
        kernel/net/9p/9pnet.ko:\n\
        kernel/net/9p/9pnet-virtio.ko.xz: kernel/net/9p/9pnet.ko kernel/drivers/ring.ko kernel/drivers/virtio.ko\n\
        kernel/fs/netfs.ko:\n\
        kernel/drivers/virtio.ko: kernel/drivers/ring.ko\n\
        kernel/drivers/ring.ko:\n\
        kernel/other.ko: kernel/fs/9p/9p.ko\n";

    #[test]
    fn a_module_comes_once_and_after_all_that_it_needs() {
        let dependencies = Dependencies::read(MODULES_DEP);
        assert_eq!(
            dependencies.in_order(&["9p", "9pnet_virtio", "virtio"]),
            [
                "kernel/net/9p/9pnet.ko",
                "kernel/fs/netfs.ko",
                "kernel/fs/9p/9p.ko",
                "kernel/drivers/ring.ko",
                "kernel/drivers/virtio.ko",
                "kernel/net/9p/9pnet-virtio.ko.xz",
            ]
        );
    }

    #[test]
    fn what_is_built_in_is_left_out() {
        let dependencies = Dependencies::read(MODULES_DEP);
        assert_eq!(
            dependencies.in_order(&["tmpfs", "netfs"]),
            ["kernel/fs/netfs.ko"]
        );
        assert!(Dependencies::read("").in_order(&["9p"]).is_empty());
    }

    #[test]
    fn a_circle_ends() {
        let dependencies = Dependencies::read("a.ko: b.ko\nb.ko: a.ko\n");
        assert_eq!(dependencies.in_order(&["a"]), ["b.ko", "a.ko"]);
    }

    #[test]
    fn a_module_is_found_by_either_spelling() {
        let dependencies = Dependencies::read(MODULES_DEP);
        assert_eq!(
            dependencies.in_order(&["9pnet-virtio"]),
            dependencies.in_order(&["9pnet_virtio"])
        );
    }
}
