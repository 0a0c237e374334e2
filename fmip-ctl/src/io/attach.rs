//! Attaching programs to interfaces, and finding out that they really are.
//!
//! A router's interface is taken in its driver (native XDP) if that does all that is needed, else by
//! TC; generic XDP, which is neither fast nor complete, only where the configuration names it. That
//! a driver takes the program is not enough: it must also take what is redirected to it, show the
//! program the tags of VLANs, and hand over packets of the interface's whole MTU. What does not is
//! found here, when the controller starts, and named.

use std::{
    fmt, io,
    os::fd::{AsFd as _, BorrowedFd},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use aya::programs::{
    TcAttachType,
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError},
};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketType, netdevice, socket},
};
use tracing::{debug, info, warn};

use super::{
    bpf_link::{BpfLink, Hook, chain},
    clsact::Clsact,
    devices::{Device, Kind, TagProtocol},
    features::Features,
    load::{MOBILE_IN, MOBILE_OUT, Programs, RELEASE, ROUTER, ROUTER_IN, ROUTER_OUT, in_full},
    probe::{self, Answer},
};
use crate::{
    config::{Attach, Side},
    wire::MacAddr,
};

/// The largest MTU that every driver's XDP takes in one buffer: a page, less headroom, tailroom and
/// the headers of the link.
const ONE_BUFFER_MTU: u32 = 3_498;

/// An attachment. It ends when it is dropped.
pub(super) struct Link {
    program: &'static str,
    interface: u32,
    held: Held,
}

enum Held {
    Bpf { link: BpfLink, hook: Hook },
    Clsact { link: SchedClassifierLink },
}

/// How an interface's packets are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In its driver, or that of a VLAN's parent. It takes redirected frames.
    Native,
    /// By TC, on the interface itself.
    Tc,
    /// By generic XDP, on the interface itself.
    Generic,
}

impl Mode {
    /// The word that the configuration file and the logs have for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => Attach::Native.name(),
            Self::Tc => Attach::Tc.name(),
            Self::Generic => Attach::Generic.name(),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Programs {
    /// Attaches a router's programs to an interface in the way that is wanted, and on an access
    /// interface the one for what goes out besides; which way it became.
    ///
    /// # Errors
    /// When there is no such way; all that were tried are named, each with the reason.
    pub fn attach_router(&mut self, device: &Device, wanted: Attach, side: Side) -> Result<Mode> {
        let name = &device.name;
        let mode = match wanted {
            Attach::Native => {
                self.native(device)
                    .with_context(|| format!("cannot attach to {name} natively"))?;
                Mode::Native
            }
            Attach::Tc => {
                self.tc(device)
                    .with_context(|| format!("cannot attach to {name} by tc"))?;
                Mode::Tc
            }
            Attach::Generic => {
                self.generic(device)
                    .with_context(|| format!("cannot attach to {name} by generic XDP"))?;
                Mode::Generic
            }
            Attach::Auto => match self.native(device) {
                Ok(()) => Mode::Native,
                Err(native) => {
                    let native = format!("{native:#}");
                    self.tc(device).map_err(|tc| {
                        anyhow!("cannot attach to {name}: native: {native}; tc: {tc:#}")
                    })?;
                    warn!(interface = name, "not native: {native}");
                    Mode::Tc
                }
            },
        };
        if side == Side::Access {
            self.attach_tc(ROUTER_OUT, name, device.index, TcAttachType::Egress)?;
        }
        info!(interface = name, mode = mode.name(), "attached");
        Ok(mode)
    }

    /// Puts these programs in the places of `old`'s, wherever those are attached. There is no moment
    /// in which an interface has neither.
    ///
    /// # Errors
    /// The kernel refuses; what was taken over until then is, and the rest stays with `old`.
    pub fn take_over(&mut self, old: &mut Programs) -> Result<()> {
        self.qdiscs.append(&mut old.qdiscs);
        while let Some(link) = old.links.pop() {
            match self.take_link(link) {
                Ok(link) => self.links.push(link),
                Err((link, error)) => {
                    old.links.extend(link);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// The link with this object's program; or, if the kernel refuses, the link as it was.
    fn take_link(&mut self, link: Link) -> Result<Link, (Option<Link>, anyhow::Error)> {
        let refused = |error| {
            anyhow::Error::from(error).context(format!(
                "cannot replace {} on interface {}",
                link.program, link.interface
            ))
        };
        match link.held {
            Held::Bpf { link: bpf, hook } => {
                let replaced = match self.fd(link.program) {
                    Ok(program) => bpf.replace(program).map_err(refused),
                    Err(error) => Err(error),
                };
                let held = Held::Bpf { link: bpf, hook };
                let link = Link { held, ..link };
                match replaced {
                    Ok(()) => Ok(link),
                    Err(error) => Err((Some(link), error)),
                }
            }
            Held::Clsact { link: filter } => {
                let taken = self.classifier(link.program).and_then(|program| {
                    let id = program.attach_to_link(filter)?;
                    Ok(program.take_link(id)?)
                });
                match taken {
                    Ok(link_to_filter) => Ok(Link {
                        held: Held::Clsact {
                            link: link_to_filter,
                        },
                        ..link
                    }),
                    Err(error) => Err((None, error)),
                }
            }
        }
    }

    /// Takes away what a killed controller of either role has left at an interface: programs that are
    /// attached without TCX outlive it, and the next may attach others, or in another way.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn take_away_leftovers(&mut self, interface: &str, index: u32) -> Result<()> {
        if self.has_tcx {
            return Ok(());
        }
        [
            (ROUTER_IN, TcAttachType::Ingress),
            (ROUTER_OUT, TcAttachType::Egress),
            (MOBILE_IN, TcAttachType::Ingress),
            (MOBILE_OUT, TcAttachType::Egress),
            (RELEASE, TcAttachType::Ingress),
        ]
        .into_iter()
        .try_for_each(|(name, direction)| self.take_away(interface, index, direction, name))
    }

    /// Takes away a filter that a killed controller has left, if there is one. The queueing discipline
    /// goes with us then: that controller may have found it there, but then others have filters in it, or
    /// nobody has any use for it.
    fn take_away(
        &mut self,
        interface: &str,
        index: u32,
        direction: TcAttachType,
        name: &str,
    ) -> Result<()> {
        match tc::qdisc_detach_program(interface, direction, name) {
            Ok(()) => {
                info!(
                    interface,
                    program = name,
                    "what another controller left is taken away"
                );
                (self.qdiscs.entry(index)).or_insert_with(|| Clsact::of(index));
                Ok(())
            }
            Err(TcError::IoError(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(anyhow!(in_full(&error))).with_context(|| {
                format!("cannot detach what another controller left on {interface}")
            }),
        }
    }

    /// Whether the driver of an interface with that address takes redirected frames; one is sent.
    ///
    /// # Errors
    /// It cannot be tried: the right to trace (CAP_PERFMON) is missing, or the kernel refuses.
    pub fn probe(&mut self, interface: u32, address: MacAddr) -> Result<Answer> {
        if let Err(why) = &self.hearing {
            bail!("{why}");
        }
        probe::run(&mut self.ebpf, interface, address)
    }

    /// Attaches an XDP program to an interface, natively, and asks no more of the driver.
    ///
    /// # Errors
    /// When another program is there, or the interface's driver cannot run XDP.
    pub fn attach_xdp(&mut self, name: &'static str, interface: &str) -> Result<()> {
        let index = index_of(interface)?;
        self.link(name, index, Hook::NativeXdp)
            .map_err(|error| anyhow!("{}", why_not_native(&error)))
            .with_context(|| {
                format!(
                    "cannot attach {name} to {interface}: its driver must run XDP natively, and \
                     no other XDP program may be attached (`ip link show {interface}` shows one)"
                )
            })
    }

    /// Attaches a TC program to an interface: TCX where the kernel has it, else clsact.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach_classifier(
        &mut self,
        name: &'static str,
        interface: &str,
        direction: TcAttachType,
    ) -> Result<()> {
        self.attach_tc(name, interface, index_of(interface)?, direction)
    }

    /// Attaches TC programs from now on as on a kernel without TCX.
    pub fn without_tcx(&mut self) {
        self.has_tcx = false;
    }

    /// The router's program in the driver, if that can do all that is needed.
    fn native(&mut self, device: &Device) -> Result<()> {
        let Some(bottom) = device.bottom() else {
            bail!(
                "it is a VLAN device whose parent is in another network namespace, or it has more \
                 than two tags"
            );
        };
        let mut features = Features::open().context("cannot ask what its driver can do")?;
        if device.is_tagged() {
            tags_are_seen(device, bottom, &mut features)?;
        }
        let ours = |link: &Link| link.program == ROUTER && link.interface == bottom.index;
        // A parent has it once for all its VLANs.
        if self.links.iter().any(ours) {
            return Ok(());
        }
        self.link(ROUTER, bottom.index, Hook::NativeXdp)
            .map_err(|error| why_refused(&error, bottom))?;
        // After it is attached: many drivers make the queues for redirected frames only then.
        let verified = self.verify_native(bottom, &mut features);
        if verified.is_err() {
            self.links.pop();
        }
        verified
    }

    fn verify_native(&mut self, bottom: &Device, features: &mut Features) -> Result<()> {
        let name = &bottom.name;
        let told = features
            .xdp(bottom.index)
            .with_context(|| format!("cannot ask what {name} can do"))?;
        if let Some(told) = told {
            ensure!(
                told.redirects(),
                "the driver of {name} runs XDP, but its programs cannot redirect"
            );
            ensure!(told.takes_redirected(), takes_no_redirected(bottom, None));
            ensure!(
                bottom.mtu <= ONE_BUFFER_MTU
                    || told.receives_several_buffers() && told.takes_several_buffers(),
                "the MTU of {name} is {}, and its XDP takes no packets of several buffers: set it \
                 to {ONE_BUFFER_MTU} or less",
                bottom.mtu
            );
        }
        if !bottom.carrier {
            // Nobody could take it; and what a driver does without carrier says nothing.
            warn!(
                interface = name,
                "there is no carrier: whether redirected frames are really sent was not tried"
            );
            return Ok(());
        }
        let (Ok(()), Some(address)) = (&self.hearing, bottom.link_address) else {
            let why = self
                .hearing
                .as_ref()
                .err()
                .map_or("it has no address", |why| why);
            warn!(
                interface = name,
                "whether redirected frames are really sent cannot be tried: {why}"
            );
            return Ok(());
        };
        match probe::run(&mut self.ebpf, bottom.index, address)
            .with_context(|| format!("cannot try whether {name} takes redirected frames"))?
        {
            Answer::Taken => {
                debug!(interface = name, "takes redirected frames");
                Ok(())
            }
            Answer::Refused(error) | Answer::NotAsked(error) => {
                bail!(takes_no_redirected(bottom, Some(error)))
            }
        }
    }

    /// The router's program by TC.
    fn tc(&mut self, device: &Device) -> Result<()> {
        self.attach_tc(ROUTER_IN, &device.name, device.index, TcAttachType::Ingress)?;
        let bottom = device.bottom().unwrap_or(device);
        let merging = Features::open()
            .and_then(|mut features| features.offloads(bottom.index))
            .context("cannot ask which offloads are on")?;
        let merging: Vec<&str> = [
            ("rx-gro", "gro"),
            ("rx-lro", "lro"),
            ("rx-gro-hw", "rx-gro-hw"),
        ]
        .into_iter()
        .filter(|(feature, _)| merging.as_ref().is_some_and(|on| on.contains(*feature)))
        .map(|(_, word)| word)
        .collect();
        if !merging.is_empty() {
            let switches: Vec<String> = merging.iter().map(|word| format!("{word} off")).collect();
            warn!(
                interface = device.name,
                "packets are merged before the program sees them, and merged ones cannot be held: \
                 `ethtool -K {} {}`",
                bottom.name,
                switches.join(" ")
            );
        }
        Ok(())
    }

    fn generic(&mut self, device: &Device) -> Result<()> {
        self.link(ROUTER, device.index, Hook::GenericXdp)
            .map_err(|error| why_refused(&error, device))
    }

    fn attach_tc(
        &mut self,
        name: &'static str,
        interface: &str,
        index: u32,
        direction: TcAttachType,
    ) -> Result<()> {
        let what = || format!("cannot attach {name} to {interface}");
        if self.has_tcx {
            let hook = match direction {
                TcAttachType::Egress => Hook::TcxEgress,
                _ => Hook::TcxIngress,
            };
            self.link(name, index, hook)
                .map_err(anyhow::Error::from)
                .and_then(|()| self.verify_chain(name, interface, index, hook))
                .with_context(what)
        } else {
            self.attach_clsact(name, interface, index, direction)
                .with_context(what)
        }
    }

    /// Whether the program is in the chain, and who is before it.
    fn verify_chain(
        &mut self,
        name: &'static str,
        interface: &str,
        index: u32,
        hook: Hook,
    ) -> Result<()> {
        let chain = chain(index, hook).context("cannot list the programs that are attached")?;
        let own = self.classifier(name)?.info()?.id();
        let before = chain
            .iter()
            .position(|program| *program == own)
            .context("the kernel says that it is attached, and does not list it")?;
        if before > 0 {
            warn!(
                interface,
                "{before} other TC programs run before {name}, and may take packets from it \
                 (`bpftool net show dev {interface}`)"
            );
        }
        Ok(())
    }

    fn attach_clsact(
        &mut self,
        name: &'static str,
        interface: &str,
        index: u32,
        direction: TcAttachType,
    ) -> Result<()> {
        if Clsact::add(interface)? {
            self.qdiscs.insert(index, Clsact::of(index));
        }
        self.take_away(interface, index, direction, name)?;
        let filter = TcAttachOptions::Netlink(NlOptions::default());
        let program = self.classifier(name)?;
        let id = program
            .attach_with_options(interface, direction, filter)
            .map_err(|error| anyhow!(in_full(&error)))?;
        let link = program.take_link(id)?;
        self.links.push(Link {
            program: name,
            interface: index,
            held: Held::Clsact { link },
        });
        Ok(())
    }

    fn link(&mut self, name: &'static str, interface: u32, hook: Hook) -> io::Result<()> {
        let program = self.fd(name).map_err(io::Error::other)?;
        let link = BpfLink::create(program, interface, hook)?;
        self.links.push(Link {
            program: name,
            interface,
            held: Held::Bpf { link, hook },
        });
        Ok(())
    }

    fn fd(&mut self, name: &str) -> Result<BorrowedFd<'_>> {
        self.load_programs(&[name])?;
        let program = self
            .ebpf
            .program(name)
            .with_context(|| format!("the BPF object has no program {name}"))?;
        Ok(program.fd()?.as_fd())
    }
}

/// Whether the programs of a VLAN's parent see the tags: a tag that is taken off the frame by
/// hardware, or was never put on it by the other end of a veth, is hidden from XDP.
fn tags_are_seen(device: &Device, bottom: &Device, features: &mut Features) -> Result<()> {
    let Some(outer) = device.tags[0] else {
        bail!("{} has no VLAN number", device.name);
    };
    let (hider, feature, word, what) = match (&bottom.kind, outer.protocol) {
        (Kind::Veth { peer: None }, _) => {
            warn!(
                interface = device.name,
                "the other end of {} is in another network namespace: if it leaves VLAN tags to the \
                 driver, the packets of {} are not seen (`ethtool -K PEER txvlan off` there)",
                bottom.name,
                device.name
            );
            return Ok(());
        }
        (Kind::Veth { peer: Some(peer) }, TagProtocol::Customer) => {
            (*peer, "tx-vlan-hw-insert", "txvlan", "does not write")
        }
        (Kind::Veth { peer: Some(peer) }, TagProtocol::Service) => (
            *peer,
            "tx-vlan-stag-hw-insert",
            "tx-vlan-stag-hw-insert",
            "does not write",
        ),
        (_, TagProtocol::Customer) => (bottom.index, "rx-vlan-hw-parse", "rxvlan", "takes off"),
        (_, TagProtocol::Service) => (
            bottom.index,
            "rx-vlan-stag-hw-parse",
            "rx-vlan-stag-hw-parse",
            "takes off",
        ),
    };
    let on = features
        .offloads(hider)
        .context("cannot ask which offloads are on")?;
    if on.is_some_and(|on| on.contains(feature)) {
        let hider = name_of(hider).unwrap_or_else(|_| bottom.name.clone());
        bail!(
            "{hider} {what} the VLAN tags, and the program on {} does not see them: \
             `ethtool -K {hider} {word} off`",
            bottom.name
        );
    }
    Ok(())
}

/// Why the kernel does not let the program be attached; the kernel itself gives a number.
fn why_refused(error: &io::Error, device: &Device) -> anyhow::Error {
    let name = &device.name;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    if let (Some(Errno::BUSY | Errno::EXIST), Some(other)) = (errno, device.xdp) {
        return anyhow!(
            "another XDP program is attached to {name} (number {other}: `bpftool prog show id \
             {other}`)"
        );
    }
    let why = why_not_native(error);
    match errno {
        Some(Errno::OPNOTSUPP) => anyhow!("{name} is {}: {why}", device.kind),
        _ if device.mtu > ONE_BUFFER_MTU => anyhow!(
            "{name} has an MTU of {}, which may be more than its XDP takes (set it to \
             {ONE_BUFFER_MTU} or less): {why}",
            device.mtu
        ),
        _ => anyhow!("{why}"),
    }
}

fn why_not_native(error: &io::Error) -> String {
    let why = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::OPNOTSUPP) => "its driver does not run XDP",
        Some(Errno::BUSY | Errno::EXIST) => "another XDP program is attached there",
        Some(Errno::RANGE) => "the MTU, or that of the other end, is more than its XDP takes",
        Some(Errno::NOSPC) => "it has fewer queues than its XDP needs",
        Some(Errno::INVAL) => "the driver or the kernel does not take it by a BPF link",
        Some(Errno::NODEV) => "the interface is gone",
        _ => return error.to_string(),
    };
    format!("{why} ({error})")
}

fn takes_no_redirected(bottom: &Device, error: Option<Errno>) -> String {
    let name = &bottom.name;
    let error = error.map_or_else(String::new, |error| format!(" ({error})"));
    let why = match bottom.kind {
        Kind::Veth { .. } => {
            "its other end has neither an XDP program nor GRO (`ethtool -K PEER gro on` there)"
        }
        _ => "its driver does not send them",
    };
    format!("{name} takes no redirected frames{error}: {why}")
}

fn index_of(interface: &str) -> Result<u32> {
    socket(AddressFamily::INET6, SocketType::DGRAM, None)
        .and_then(|socket| netdevice::name_to_index(socket, interface))
        .with_context(|| format!("there is no interface {interface}"))
}

fn name_of(index: u32) -> Result<String> {
    socket(AddressFamily::INET6, SocketType::DGRAM, None)
        .and_then(|socket| netdevice::index_to_name(socket, index))
        .with_context(|| format!("interface {index} is gone"))
}
