//! The mobile nodes' last sequence numbers, kept where they survive a restart (AMB-21).
//!
//! A router that forgets them can be made to redirect traffic by an old binding update that
//! somebody has recorded; so it does not start if they cannot be read, or cannot be kept.
//!
//! One text file, to which a line is appended for every number: the address, the number, and a
//! checksum of both. The last line of an address counts. A line that is cut short at the end is
//! what a crash leaves, and is dropped; one that is damaged elsewhere is an error. When most lines
//! are out of date, the file is written anew beside the old one and takes its place in one step.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    net::Ipv6Addr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use rustix::fs::{FlockOperation, flock};
use tracing::warn;

const FILE: &str = "sequences";
/// The file while it is written anew.
const NEXT: &str = "sequences.next";
const LOCK: &str = "lock";
/// The first line: the format and its version.
const HEADER: &str = "fmip-sequences 1";
/// Lines that may be out of date before the file is written anew, and as many again as there are
/// numbers.
const SLACK: usize = 1_024;

/// Why sequence numbers cannot be kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum SequenceError {
    /// Another controller has the directory.
    #[error(
        "another controller keeps its state in {}: give this one another state-directory",
        .0.display()
    )]
    InUse(PathBuf),
    /// The file is not what this program writes.
    #[error(
        "{}:{line}: this is no sequence number: put back a good copy, or remove the file (until \
         the mobile nodes have sent newer ones, their old binding updates are accepted then)",
        file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The kernel refused.
    #[error(
        "cannot {action} {}, and a router that forgets sequence numbers can be deceived by old \
         binding updates: give a state-directory that can be written",
        path.display()
    )]
    Io {
        /// What was tried.
        action: &'static str,
        /// What with.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The numbers, and the file that they are in.
#[derive(Debug)]
pub(super) struct Sequences {
    directory: PathBuf,
    numbers: BTreeMap<Ipv6Addr, u16>,
    file: Arc<File>,
    /// Lines in the file, the first aside.
    lines: usize,
    /// Whether all numbers are in the file.
    whole: bool,
    sync: Syncer,
    /// Locked as long as it is open.
    _lock: File,
}

impl Sequences {
    /// Opens the numbers that are kept in `directory`, which is made if need be. Those of addresses
    /// that are not `known` are forgotten: there is no key that they could go with.
    ///
    /// # Errors
    /// [`SequenceError`]; nothing was changed then but the directory made.
    pub(super) fn open(
        directory: &Path,
        known: impl Fn(Ipv6Addr) -> bool,
    ) -> Result<Self, SequenceError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| SequenceError::Io {
                action,
                path,
                source,
            }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed("make the state directory", directory))?;
        let path = directory.join(LOCK);
        let lock = private()
            .open(&path)
            .map_err(failed("open the lock", &path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            match io::Error::from(error) {
                error if error.kind() == ErrorKind::WouldBlock => {
                    SequenceError::InUse(directory.to_owned())
                }
                source => failed("lock", &path)(source),
            }
        })?;
        let path = directory.join(FILE);
        let mut numbers = match fs::read(&path) {
            Ok(octets) => parse(&octets).map_err(|line| SequenceError::Damaged {
                file: path.clone(),
                line,
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        numbers.retain(|address, _| known(*address));
        // Written anew in any case: that shows now, and not in a handover, that it can be.
        let file = rewrite(directory, &numbers).map_err(failed("write", &path))?;
        Ok(Self {
            directory: directory.to_owned(),
            lines: numbers.len(),
            whole: true,
            numbers,
            file: Arc::new(file),
            sync: Syncer::start().map_err(failed("write", &path))?,
            _lock: lock,
        })
    }

    /// The numbers that are kept.
    pub(super) fn numbers(&self) -> impl Iterator<Item = (Ipv6Addr, u16)> + '_ {
        self.numbers
            .iter()
            .map(|(address, number)| (*address, *number))
    }

    /// Keeps a number in place of the one before. From the return on it survives the end of this
    /// process, and a moment later that of the machine.
    ///
    /// # Errors
    /// [`SequenceError::Io`]; the next call tries to write this number, too.
    pub(super) fn store(&mut self, address: Ipv6Addr, number: u16) -> Result<(), SequenceError> {
        if self.numbers.insert(address, number) == Some(number) && self.whole {
            return Ok(());
        }
        let written = if self.whole && self.lines < 2 * self.numbers.len() + SLACK {
            self.append(&line(address, number))
        } else {
            self.begin_anew()
        };
        // Whatever stands there after a failure, the next number begins a new file.
        self.whole = written.is_ok();
        written.map_err(|source| SequenceError::Io {
            action: "write",
            path: self.directory.join(FILE),
            source,
        })
    }

    /// At once, and whole: half a line is what only a crash leaves.
    fn append(&mut self, line: &str) -> io::Result<()> {
        let mut file: &File = &self.file;
        if file.write(line.as_bytes())? != line.len() {
            return Err(ErrorKind::StorageFull.into());
        }
        self.lines += 1;
        self.sync.sync(&self.file);
        Ok(())
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        self.file = Arc::new(rewrite(&self.directory, &self.numbers)?);
        self.lines = self.numbers.len();
        Ok(())
    }

    /// Forgets the numbers of addresses that are not `known` any more, at the next writing anew.
    pub(super) fn retain(&mut self, known: impl Fn(Ipv6Addr) -> bool) {
        self.numbers.retain(|address, _| known(*address));
    }
}

/// Writes files through to the disk without making anybody wait.
#[derive(Debug)]
struct Syncer {
    files: Option<SyncSender<Arc<File>>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    fn start() -> io::Result<Self> {
        // One: what is written while it waits there is written through with it.
        let (files, receiver) = sync_channel::<Arc<File>>(1);
        let thread = std::thread::Builder::new()
            .name("fmip-sync".to_owned())
            .spawn(move || {
                while let Ok(file) = receiver.recv() {
                    if let Err(error) = file.sync_data() {
                        warn!(%error, "cannot write sequence numbers through to the disk");
                    }
                }
            })?;
        Ok(Self {
            files: Some(files),
            thread: Some(thread),
        })
    }

    fn sync(&self, file: &Arc<File>) {
        if let Some(files) = &self.files {
            // Full: it is about to happen.
            let _ = files.try_send(Arc::clone(file));
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.files = None;
        if let Some(thread) = self.thread.take() {
            // It does not panic, and if it did, nothing would be lost by that.
            let _ = thread.join();
        }
    }
}

/// A file that nobody else may read: who knows the numbers knows how far a node is.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

/// Writes the numbers to a new file, which then takes the place of the old one.
fn rewrite(directory: &Path, numbers: &BTreeMap<Ipv6Addr, u16>) -> io::Result<File> {
    let next = directory.join(NEXT);
    let mut text = format!("{HEADER}\n");
    for (address, number) in numbers {
        text += &line(*address, *number);
    }
    match fs::remove_file(&next) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private().append(true).create_new(true).open(&next)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&next, directory.join(FILE))?;
    File::open(directory)?.sync_all()?;
    Ok(file)
}

fn line(address: Ipv6Addr, number: u16) -> String {
    let mut line = format!("{address} {number}");
    let sum = checksum(line.as_bytes());
    let _ = writeln!(line, " {sum:08x}");
    line
}

/// The numbers of a file, or the number of the line that is none.
fn parse(octets: &[u8]) -> Result<BTreeMap<Ipv6Addr, u16>, usize> {
    let mut numbers = BTreeMap::new();
    let mut lines = octets.split_inclusive(|octet| *octet == b'\n').enumerate();
    match lines.next() {
        None => return Ok(numbers),
        Some((_, line)) if line.strip_suffix(b"\n") == Some(HEADER.as_bytes()) => {}
        Some(_) => return Err(1),
    }
    for (index, line) in lines {
        // Cut short by a crash: always the last one.
        let Some(line) = line.strip_suffix(b"\n") else {
            break;
        };
        let (address, number) = parse_line(line).ok_or(index + 1)?;
        numbers.insert(address, number);
    }
    Ok(numbers)
}

fn parse_line(line: &[u8]) -> Option<(Ipv6Addr, u16)> {
    let (text, sum) = std::str::from_utf8(line).ok()?.rsplit_once(' ')?;
    if u32::from_str_radix(sum, 16).ok()? != checksum(text.as_bytes()) {
        return None;
    }
    let (address, number) = text.split_once(' ')?;
    Some((address.parse().ok()?, number.parse().ok()?))
}

/// FNV-1a with 32 bits: finds what a disk or an editor did, and needs to find no more.
fn checksum(octets: &[u8]) -> u32 {
    octets.iter().fold(0x811c_9dc5, |sum, octet| {
        (sum ^ u32::from(*octet)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests;
