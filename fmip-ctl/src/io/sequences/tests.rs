//! Sequence numbers across restarts, crashes and damage.

use std::{
    os::unix::fs::PermissionsExt as _,
    sync::atomic::{AtomicU32, Ordering},
};

use super::*;

/// A directory that is removed with what is in it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("fmip-sequences-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn open(&self) -> Result<Sequences, SequenceError> {
        Sequences::open(&self.0, |_| true)
    }

    fn file(&self) -> PathBuf {
        self.0.join(FILE)
    }

    fn lines(&self) -> usize {
        fs::read_to_string(self.file()).unwrap().lines().count() - 1
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn node(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, number)
}

fn kept(sequences: &Sequences) -> Vec<(Ipv6Addr, u16)> {
    sequences.numbers().collect()
}

// Rows: AMB-21
#[test]
fn the_last_number_of_every_node_survives_an_end_without_warning() {
    let directory = Directory::new();
    let mut sequences = directory.open().unwrap();
    for number in [65_534, 65_535, 0, 1] {
        sequences.store(node(1), number).unwrap();
    }
    sequences.store(node(2), 7).unwrap();
    // What a killed process leaves: the file as it is. The lock goes with the process.
    let copy = Directory::new();
    fs::create_dir(&copy.0).unwrap();
    fs::copy(directory.file(), copy.file()).unwrap();
    assert_eq!(kept(&copy.open().unwrap()), [(node(1), 1), (node(2), 7)]);
    drop(sequences);
    assert_eq!(
        kept(&directory.open().unwrap()),
        [(node(1), 1), (node(2), 7)]
    );
}

#[test]
fn a_line_that_a_crash_cut_short_is_dropped_at_any_octet() {
    let directory = Directory::new();
    let mut sequences = directory.open().unwrap();
    sequences.store(node(1), 5).unwrap();
    let before = fs::read(directory.file()).unwrap().len();
    sequences.store(node(2), 6).unwrap();
    drop(sequences);
    let whole = fs::read(directory.file()).unwrap();
    for length in before..whole.len() {
        fs::write(directory.file(), &whole[..length]).unwrap();
        assert_eq!(kept(&directory.open().unwrap()), [(node(1), 5)], "{length}");
    }
    // Before that, as it is when the first line was not yet written.
    fs::write(directory.file(), b"").unwrap();
    assert_eq!(kept(&directory.open().unwrap()), []);
}

#[test]
fn a_damaged_line_is_named_and_nothing_is_overwritten() {
    let directory = Directory::new();
    let mut sequences = directory.open().unwrap();
    sequences.store(node(1), 5).unwrap();
    sequences.store(node(2), 6).unwrap();
    drop(sequences);
    let whole = fs::read_to_string(directory.file()).unwrap();
    for (damaged, line) in [
        (whole.replacen("::1 5", "::1 4", 1), 2),
        (whole.replacen("::2 6", "::3 6", 1), 3),
        (whole.replacen('\n', "\nx\n", 1), 2),
        (whole.replacen(" 1\n", " 2\n", 1), 1),
        ("hello".to_owned(), 1),
    ] {
        fs::write(directory.file(), &damaged).unwrap();
        let error = directory.open().unwrap_err().to_string();
        let expected = format!(
            "{}:{line}: this is no sequence number",
            directory.file().display()
        );
        assert!(error.starts_with(&expected), "{error}");
        assert_eq!(fs::read_to_string(directory.file()).unwrap(), damaged);
    }
}

#[test]
fn the_file_does_not_grow_with_the_handovers() {
    let directory = Directory::new();
    let mut sequences = directory.open().unwrap();
    for number in 0..20_000 {
        sequences.store(node(number % 3), number).unwrap();
        if number % 500 == 0 {
            assert!(directory.lines() <= 2 * 3 + SLACK);
        }
    }
    assert!(directory.lines() <= 2 * 3 + SLACK);
    drop(sequences);
    assert_eq!(
        kept(&directory.open().unwrap()),
        [(node(0), 19_998), (node(1), 19_999), (node(2), 19_997)]
    );
    assert_eq!(directory.lines(), 3);
}

#[test]
fn numbers_of_nodes_without_a_key_are_forgotten() {
    let directory = Directory::new();
    let mut sequences = directory.open().unwrap();
    sequences.store(node(1), 5).unwrap();
    sequences.store(node(2), 6).unwrap();
    sequences.store(node(3), 7).unwrap();
    sequences.retain(|address| address != node(3));
    assert_eq!(kept(&sequences), [(node(1), 5), (node(2), 6)]);
    drop(sequences);
    let sequences = Sequences::open(&directory.0, |address| address == node(2)).unwrap();
    assert_eq!(kept(&sequences), [(node(2), 6)]);
    assert_eq!(directory.lines(), 1);
}

#[test]
fn two_controllers_do_not_share_a_directory() {
    let directory = Directory::new();
    let first = directory.open().unwrap();
    let error = directory.open().unwrap_err();
    assert!(matches!(error, SequenceError::InUse(_)), "{error}");
    drop(first);
    directory.open().unwrap();
}

#[test]
fn what_is_kept_is_for_nobody_elses_eyes() {
    let directory = Directory::new();
    drop(directory.open().unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory.0), 0o700);
    assert_eq!(mode(&directory.file()), 0o600);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let directory = Directory::new();
    fs::write(&directory.0, "a file").unwrap();
    let error = directory.open().unwrap_err().to_string();
    assert!(
        error.starts_with(&format!(
            "cannot make the state directory {}, and a router that forgets",
            directory.0.display()
        )),
        "{error}"
    );
    fs::remove_file(&directory.0).unwrap();
}

#[test]
fn a_number_that_could_not_be_written_is_written_with_the_next() {
    let directory = Directory::new();
    let mut sequences = directory.open().unwrap();
    sequences.store(node(1), 5).unwrap();
    // A file that takes nothing, as a full disk does.
    sequences.file = Arc::new(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let error = sequences.store(node(1), 6).unwrap_err().to_string();
    assert!(error.starts_with("cannot write "), "{error}");
    // The same number again is no reason to believe that it is kept.
    sequences.store(node(1), 6).unwrap();
    sequences.store(node(2), 1).unwrap();
    drop(sequences);
    assert_eq!(
        kept(&directory.open().unwrap()),
        [(node(1), 6), (node(2), 1)]
    );
}
