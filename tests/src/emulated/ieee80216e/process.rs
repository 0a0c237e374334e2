//! A base station as a process: its sockets, its clock, and what it prints.

use std::{
    fs,
    io::{self, Write as _},
    os::{fd::AsFd as _, unix::net::UnixDatagram},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use fmip_ctl::{link::ieee80216e::air::ETHERTYPE, proto::Instant, wire::MacAddr};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    time::{ClockId, clock_gettime},
};

use super::{
    backbone,
    base_station::{BaseStation, Output},
    configuration::{Configuration, backbone_socket, control_socket},
    control::{self, Answer},
    radio::Radio,
    router_link::RouterLink,
    step::{Act, Step},
};

/// The longest datagram of the backbone and of the controls.
const DATAGRAM: usize = 8192;

/// Runs a base station until the process is ended.
///
/// # Errors
/// If its radio or a socket cannot be opened, or the configuration is not within the standard's ranges.
pub fn run(configuration: Configuration) -> Result<()> {
    configuration.timing.check()?;
    let radio = Radio::open(&configuration.interface, ETHERTYPE, &configuration.bridge)?;
    let own = configuration.base_station;
    let router = configuration.router.clone();
    let router = router.map(|router| RouterLink::start(own, router));
    let router = router.transpose()?;
    let directory = configuration.directory.clone();
    let backbone = listen(&backbone_socket(&directory, own))?;
    // The last, for it says that all is ready.
    let control = listen(&control_socket(&directory, own))?;
    let mut process = Process {
        machine: BaseStation::new(now(), configuration, fastrand::u64(..)),
        radio,
        backbone,
        control,
        router,
        directory,
        own,
    };
    loop {
        process.carry_out()?;
        process.wait()?;
        process.hear()?;
    }
}

struct Process {
    machine: BaseStation,
    radio: Radio,
    backbone: UnixDatagram,
    control: UnixDatagram,
    router: Option<RouterLink>,
    directory: PathBuf,
    own: MacAddr,
}

impl Process {
    /// Sleeps until there is something to do.
    fn wait(&self) -> Result<()> {
        let timeout = self.machine.poll_timeout().map(|at| {
            let left = at - now();
            Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let mut waited_for = [
            PollFd::from_borrowed_fd(self.radio.socket().as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.backbone.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.control.as_fd(), PollFlags::IN),
        ];
        match poll(&mut waited_for, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("cannot wait for the sockets"),
        }
    }

    /// Hands all that has come to the machine, and what comes of it out.
    fn hear(&mut self) -> Result<()> {
        while let Some(frame) = self.radio.receive().context("the air is gone")? {
            self.machine.handle_frame(now(), &frame);
            self.carry_out()?;
        }
        let mut datagram = [0; DATAGRAM];
        while let Some((length, _)) = receive(&self.backbone, &mut datagram)? {
            match backbone::decode(&datagram[..length]) {
                Ok(envelope) => self.machine.handle_backbone(now(), envelope),
                Err(error) => eprintln!("the backbone carries what is no message: {error}"),
            }
            self.carry_out()?;
        }
        while let Some((length, from)) = receive(&self.control, &mut datagram)? {
            let result = control::parse(&datagram[..length])
                .and_then(|request| self.machine.handle_control(now(), request));
            // What it brought about comes before the answer.
            self.carry_out()?;
            let answer = serde_json::to_vec(&Answer::of(result))?;
            if let Some(path) = from
                && let Err(error) = self.control.send_to(&answer, &path)
            {
                eprintln!("cannot answer {}: {error}", path.display());
            }
        }
        self.machine.handle_timeout(now());
        self.carry_out()
    }

    /// Does what the machine wants done, in its order.
    fn carry_out(&mut self) -> Result<()> {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Air(frame) => {
                    if let Err(error) = self.radio.send(&frame) {
                        eprintln!("a frame is lost on the air: {error}");
                    }
                }
                Output::Backbone(to, envelope) => {
                    let path = backbone_socket(&self.directory, to);
                    let datagram = backbone::encode(&envelope);
                    // Another base station may be out of order; that is for the timers.
                    if let Err(error) = self.backbone.send_to(&datagram, &path) {
                        eprintln!("{} is not reached: {error}", path.display());
                    }
                }
                Output::Carry { station, carries } => {
                    let result = if carries {
                        self.radio.join()
                    } else {
                        self.radio.leave()
                    };
                    result.context("the radio does not obey")?;
                    if let Some(router) = &self.router {
                        router.tell(station, carries);
                    }
                }
                Output::Act(act) => self.print(act)?,
            }
        }
        Ok(())
    }

    fn print(&self, act: Act) -> Result<()> {
        let step = Step {
            time_ns: now().as_nanos(),
            base_station: self.own,
            act,
        };
        // One write for a line, so that lines stay whole.
        let mut line = serde_json::to_vec(&step)?;
        line.push(b'\n');
        let mut output = io::stdout().lock();
        output.write_all(&line)?;
        Ok(output.flush()?)
    }
}

/// Opens a socket at a path; one that an earlier process has left there is replaced.
fn listen(path: &Path) -> Result<UnixDatagram> {
    let _ = fs::remove_file(path);
    let socket = UnixDatagram::bind(path)
        .with_context(|| format!("cannot open the socket {}", path.display()))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The next datagram, and where it is from if that has a name.
fn receive(socket: &UnixDatagram, datagram: &mut [u8]) -> Result<Option<(usize, Option<PathBuf>)>> {
    match socket.recv_from(datagram) {
        Ok((length, from)) => Ok(Some((length, from.as_pathname().map(Path::to_owned)))),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error).context("a socket is gone"),
    }
}

/// The kernel's monotonic clock.
pub(super) fn now() -> Instant {
    let now = clock_gettime(ClockId::Monotonic);
    let since = Duration::new(now.tv_sec as u64, now.tv_nsec as u32);
    Instant::from_nanos(since.as_nanos() as u64)
}
