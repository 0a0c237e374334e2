//! The program that a Mobile IPv6 implementation has run with every new care-of address.
//!
//! It never keeps the event loop waiting. One runs at a time, so that an older address cannot be
//! registered behind a newer one; of those that wait for it, only the newest is of use to anybody.

use std::{ffi::OsString, net::Ipv6Addr, path::PathBuf, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group, setpriority_pgrp};
use serde::{Deserialize, Serialize};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep_until},
};
use tracing::{debug, info, warn};

use crate::config::MobileIpv6;

/// The program's niceness: it does not compete with the event loop, whose own it would inherit.
const NICENESS: i32 = 0;

/// What the program is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CareOf {
    /// The care-of address.
    pub(super) care_of: Ipv6Addr,
    /// The one before.
    pub(super) previous: Ipv6Addr,
    /// The router of the link.
    pub(super) router: Ipv6Addr,
    /// Of the link's prefix.
    pub(super) prefix_length: u8,
    /// Whether packets for the previous one still come, through a tunnel.
    pub(super) fast: bool,
}

/// What became of the runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HookCounts {
    /// Runs that were begun.
    pub(super) started: u64,
    /// Runs that could not be begun, or ended with an error or by a signal.
    pub(super) failed: u64,
    /// Of these, runs that took too long and were killed.
    pub(super) timed_out: u64,
    /// Addresses that were not told, for a newer one came before their turn.
    pub(super) superseded: u64,
}

/// Runs the program.
#[derive(Debug)]
pub(super) struct Hook {
    settings: MobileIpv6,
    /// The node's interface.
    interface: String,
    control_socket: PathBuf,
    running: Option<Running>,
    next: Option<CareOf>,
    counts: HookCounts,
}

#[derive(Debug)]
struct Running {
    child: Child,
    care_of: Ipv6Addr,
    until: Instant,
}

impl Running {
    /// The process group of the program and of all that it started, until the program is reaped: then
    /// the number may be another's.
    fn group(&self) -> Option<Pid> {
        let id = i32::try_from(self.child.id()?).ok()?;
        Pid::from_raw(id)
    }
}

impl Drop for Running {
    /// Nothing of a program that has not ended is left. The program itself is reaped by the runtime.
    fn drop(&mut self) {
        if let Some(group) = self.group()
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            warn!(care_of = %self.care_of, "cannot kill on-care-of-address: {error}");
        }
    }
}

impl Hook {
    /// With nothing to tell yet.
    pub(super) fn new(settings: MobileIpv6, interface: String, control_socket: PathBuf) -> Self {
        Self {
            settings,
            interface,
            control_socket,
            running: None,
            next: None,
            counts: HookCounts::default(),
        }
    }

    /// Has the program told of an address, at once or when it has ended. Without a program nobody is
    /// told.
    pub(super) fn tell(&mut self, care_of: CareOf) {
        if self.settings.on_care_of_address.is_empty() {
            return;
        }
        if let Some(before) = self.next.replace(care_of) {
            debug!(care_of = %before.care_of, "superseded before it was told");
            self.counts.superseded += 1;
        }
        self.start_next();
    }

    /// What became of the runs.
    pub(super) fn counts(&self) -> HookCounts {
        self.counts
    }

    /// Waits until a run has ended, and begins the next; never returns without one. Nothing is lost if
    /// it is cancelled.
    pub(super) async fn follow(&mut self) {
        let Some(running) = &mut self.running else {
            return std::future::pending().await;
        };
        let care_of = running.care_of;
        let status = tokio::select! {
            status = running.child.wait() => status,
            () = sleep_until(running.until) => {
                let limit: Duration = self.settings.timeout;
                warn!(%care_of, "on-care-of-address takes longer than {} s: killed", limit.as_secs());
                self.counts.timed_out += 1;
                self.counts.failed += 1;
                // It is killed as it is dropped.
                self.running = None;
                return self.start_next();
            }
        };
        match status {
            Ok(status) if status.success() => debug!(%care_of, "on-care-of-address has ended"),
            Ok(status) => {
                warn!(%care_of, "on-care-of-address failed: {status}");
                self.counts.failed += 1;
            }
            Err(error) => {
                warn!(%care_of, %error, "on-care-of-address cannot be waited for");
                self.counts.failed += 1;
            }
        }
        self.running = None;
        self.start_next();
    }

    fn start_next(&mut self) {
        if self.running.is_some() {
            return;
        }
        let Some(care_of) = self.next.take() else {
            return;
        };
        let Some((program, arguments)) = self.settings.on_care_of_address.split_first() else {
            return;
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .envs(self.environment(&care_of))
            .stdin(Stdio::null())
            // What it prints goes where our own lines go.
            .stdout(Stdio::inherit())
            .stderr(Stdio::inherit())
            // A group of its own, to be killed with all that it started.
            .process_group(0)
            .kill_on_drop(true);
        match command.spawn() {
            Ok(child) => {
                info!(care_of = %care_of.care_of, program, "on-care-of-address runs");
                self.counts.started += 1;
                let running = Running {
                    child,
                    care_of: care_of.care_of,
                    until: Instant::now() + self.settings.timeout,
                };
                // Of the group: it may have started others by now.
                if let Some(group) = running.group()
                    && let Err(error) = setpriority_pgrp(Some(group), NICENESS)
                {
                    debug!(
                        program,
                        "cannot set the priority of on-care-of-address: {error}"
                    );
                }
                self.running = Some(running);
            }
            Err(error) => {
                warn!(care_of = %care_of.care_of, "on-care-of-address: cannot run {program}: {error}");
                self.counts.failed += 1;
            }
        }
    }

    fn environment(&self, of: &CareOf) -> [(&'static str, OsString); 7] {
        [
            ("FMIP_CARE_OF_ADDRESS", of.care_of.to_string().into()),
            ("FMIP_PREVIOUS_ADDRESS", of.previous.to_string().into()),
            ("FMIP_ROUTER", of.router.to_string().into()),
            ("FMIP_PREFIX_LENGTH", of.prefix_length.to_string().into()),
            ("FMIP_INTERFACE", self.interface.clone().into()),
            ("FMIP_FAST", u8::from(of.fast).to_string().into()),
            ("FMIP_CONTROL_SOCKET", self.control_socket.clone().into()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn care_of(host: u16) -> CareOf {
        let address = |link| Ipv6Addr::new(0x2001, 0xdb8, link, 0, 0, 0, 0, host);
        CareOf {
            care_of: address(2),
            previous: address(1),
            router: Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1),
            prefix_length: 64,
            fast: true,
        }
    }

    fn hook(command: &[&str], timeout: Duration) -> Hook {
        let settings = MobileIpv6 {
            on_care_of_address: command.iter().map(|word| (*word).to_owned()).collect(),
            timeout,
        };
        Hook::new(settings, "wlan0".to_owned(), "/run/x.sock".into())
    }

    fn run<F: Future<Output = ()>>(work: F) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            tokio::time::timeout(LIMIT, work)
                .await
                .expect("it ends in time");
        });
    }

    #[test]
    fn the_program_has_everything_in_its_environment() {
        let file = std::env::temp_dir().join(format!("fmip-hook-{}", std::process::id()));
        let script = format!(
            "env | grep ^FMIP_ | grep -Ev '^FMIP_(CTL|LOG)=' | sort > {}",
            file.display()
        );
        run(async {
            let mut hook = hook(&["/bin/sh", "-c", &script], LIMIT);
            hook.tell(care_of(9));
            hook.follow().await;
            let counts = HookCounts {
                started: 1,
                ..HookCounts::default()
            };
            assert_eq!(hook.counts(), counts);
        });
        let told = fs::read_to_string(&file).unwrap();
        fs::remove_file(&file).unwrap();
        assert_eq!(
            told,
            "FMIP_CARE_OF_ADDRESS=2001:db8:2::9\nFMIP_CONTROL_SOCKET=/run/x.sock\nFMIP_FAST=1\n\
             FMIP_INTERFACE=wlan0\nFMIP_PREFIX_LENGTH=64\nFMIP_PREVIOUS_ADDRESS=2001:db8:1::9\n\
             FMIP_ROUTER=2001:db8:2::1\n"
        );
    }

    #[test]
    fn one_runs_at_a_time_and_only_the_newest_waits() {
        run(async {
            let mut hook = hook(&["/bin/sh", "-c", "exit 3"], LIMIT);
            for host in [7, 8, 9] {
                hook.tell(care_of(host));
            }
            assert_eq!(hook.next, Some(care_of(9)));
            hook.follow().await;
            assert_eq!(
                hook.running.as_ref().map(|running| running.care_of),
                Some(care_of(9).care_of)
            );
            hook.follow().await;
            let counts = HookCounts {
                started: 2,
                failed: 2,
                superseded: 1,
                ..HookCounts::default()
            };
            assert_eq!(hook.counts(), counts);
        });
    }

    #[test]
    fn what_a_program_that_does_not_end_has_started_is_killed_with_it() {
        let file = std::env::temp_dir().join(format!("fmip-hook-child-{}", std::process::id()));
        let script = format!(
            "sleep 1000 & echo $! > {0}.part; mv {0}.part {0}; wait",
            file.display()
        );
        run(async {
            let mut hook = hook(&["/bin/sh", "-c", &script], LIMIT);
            hook.tell(care_of(9));
            let child: u32 = loop {
                match fs::read_to_string(&file) {
                    Ok(child) => break child.trim().parse().unwrap(),
                    Err(_) => tokio::task::yield_now().await,
                }
            };
            fs::remove_file(&file).unwrap();
            hook.running.as_mut().unwrap().until = Instant::now();
            hook.follow().await;
            assert_eq!(hook.counts().timed_out, 1);
            until_gone(child).await;
        });
    }

    /// Until it is gone, or a zombie that somebody is about to reap.
    async fn until_gone(id: u32) {
        loop {
            match fs::read_to_string(format!("/proc/{id}/stat")) {
                Ok(stat) if !stat.contains(") Z ") => tokio::task::yield_now().await,
                _ => return,
            }
        }
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_and_one_that_is_not_there_is_counted() {
        run(async {
            let mut hook = hook(
                &["/bin/sh", "-c", "exec sleep 1000"],
                Duration::from_millis(20),
            );
            hook.tell(care_of(9));
            let id = hook.running.as_ref().unwrap().child.id().unwrap();
            hook.follow().await;
            assert!(hook.running.is_none());
            let counts = HookCounts {
                started: 1,
                failed: 1,
                timed_out: 1,
                ..HookCounts::default()
            };
            assert_eq!(hook.counts(), counts);
            until_gone(id).await;
        });
        run(async {
            let mut hook = hook(&["/nonexistent/program"], LIMIT);
            hook.tell(care_of(9));
            assert_eq!(hook.counts().failed, 1);
            assert!(hook.running.is_none());
        });
    }

    #[test]
    fn without_a_program_nothing_happens() {
        let mut hook = hook(&[], LIMIT);
        hook.tell(care_of(9));
        assert_eq!(hook.counts(), HookCounts::default());
    }
}
