//! The archive that the kernel unpacks into its first file system: cpio in its "newc" form, as
//! Documentation/driver-api/early-userspace/buffer-format.rst of the kernel describes it.
//!
//! Written here, since the few lines are less than one more program to be installed.

/// Mode bits of a directory and of a file, stat(2).
const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

/// The name of the entry that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// An archive that grows entry by entry.
#[derive(Debug, Default)]
pub(super) struct Archive {
    octets: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a directory; those above it must be there already.
    pub(super) fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY | 0o755, 2, &[]);
    }

    /// Adds a file that may be run.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) {
        self.entry(path, FILE | 0o755, 1, content);
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, 1, &[]);
        self.octets
    }

    fn entry(&mut self, path: &str, mode: u32, links: u32, content: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(content.len()).expect("files of an archive are small");
        let name_size = u32::try_from(path.len() + 1).expect("paths are short");
        let fields = [
            // ino, mode, uid, gid, nlink, mtime
            self.entries,
            mode,
            0,
            0,
            links,
            0,
            size,
            // devmajor, devminor, rdevmajor, rdevminor
            0,
            0,
            0,
            0,
            name_size,
            // No checksum in this form.
            0,
        ];
        self.octets.extend(b"070701");
        for field in fields {
            self.octets.extend(format!("{field:08x}").as_bytes());
        }
        self.octets.extend(path.as_bytes());
        self.octets.push(0);
        self.pad();
        self.octets.extend(content);
        self.pad();
    }

    /// Names and contents end at multiples of four.
    fn pad(&mut self) {
        self.octets.resize(self.octets.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_its_header_its_name_and_its_content_padded() {
        let mut archive = Archive::default();
        archive.directory("bin");
        archive.file("init", b"hello");
        let octets = archive.finish();
        let text = String::from_utf8_lossy(&octets);
        let header = |number: u32, mode: u32, links: u32, size: u32, name: u32| {
            let zeros = |count: usize| "00000000".repeat(count);
            format!(
                "070701{number:08x}{mode:08x}{}{links:08x}{}{size:08x}{}{name:08x}{}",
                zeros(2),
                zeros(1),
                zeros(4),
                zeros(1)
            )
        };
        let expected = [
            header(1, 0o040_755, 2, 0, 4),
            named("bin", ""),
            header(2, 0o100_755, 1, 5, 5),
            named("init", "hello\0\0\0"),
            header(3, 0, 1, 0, 11),
            named("TRAILER!!!", ""),
        ];
        assert_eq!(text, expected.concat());
    }

    /// A name behind a header of 110 octets, padded, and what follows it.
    fn named(name: &str, content: &str) -> String {
        let length = 110 + name.len() + 1;
        let zeros = 1 + length.next_multiple_of(4) - length;
        format!("{name}{}{content}", "\0".repeat(zeros))
    }
}
