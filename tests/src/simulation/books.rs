//! What stands at one node: an account of its commands that objects to what must not be.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
    time::Duration,
};

use bytes::Bytes;
use fmip_ctl::proto::{Command, Instant, Tunnel};

/// The account of one node.
#[derive(Debug, Default)]
pub struct Books {
    /// By previous care-of address.
    pub tunnels: BTreeMap<Ipv6Addr, StandingTunnel>,
    /// By the address whose packets they hold.
    pub buffers: BTreeMap<Ipv6Addr, Buffer>,
    /// Addresses that are defended.
    pub proxies: BTreeSet<Ipv6Addr>,
    /// Addresses with a host route.
    pub routes: BTreeSet<Ipv6Addr>,
    /// At a mobile node, by previous care-of address.
    pub uplinks: BTreeMap<Ipv6Addr, Uplink>,
    /// Whether a mobile node's default router was set.
    pub default_router: bool,
    /// Addresses that a mobile node has.
    pub addresses: BTreeSet<Ipv6Addr>,
    /// The last FBU sequence numbers, which survive a crash.
    pub sequences: BTreeMap<Ipv6Addr, u16>,
    /// How buffers ended.
    pub ends: Ends,
    generation: u64,
}

/// A tunnel that stands.
#[derive(Debug)]
pub struct StandingTunnel {
    /// Its other end.
    pub ncoa: Ipv6Addr,
    /// When the data path stops by itself.
    pub expires: Instant,
    /// Whether it took over a buffer.
    buffered: bool,
}

/// A handover buffer, of a router.
#[derive(Debug)]
pub struct Buffer {
    /// What it does now.
    pub state: BufferState,
    /// When the data path stops by itself; a buffer of copies does not.
    pub expires: Option<Instant>,
    /// What it holds, with the time it came.
    pub content: Vec<(Instant, Load)>,
    /// How old a copy gets; unbounded for what is held.
    pub window: Option<Duration>,
    /// Where its packets come from, if not by themselves.
    pub tunnel: Option<Tunnel>,
}

/// What travels to a mobile node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Load {
    /// Signalling.
    Signal(Bytes),
    /// A packet of a correspondent.
    Data(Data),
}

/// A packet of a correspondent.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// Whose it is.
    pub mobile: usize,
    /// Which of its flows: one for each move.
    pub flow: usize,
    /// Its place in the flow.
    pub number: u64,
    /// The address that the correspondent knows.
    pub to: Ipv6Addr,
}

/// What a buffer does.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum BufferState {
    /// Keeps copies.
    Copying,
    /// Holds.
    Holding,
    /// Lets go.
    Released,
}

/// The binding of a mobile node's own packets.
#[derive(Debug)]
pub struct Uplink {
    /// When the data path stops by itself.
    pub expires: Instant,
    /// Whether its packets leave again.
    pub released: bool,
}

/// How many buffers ended how.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// To the mobile node.
    pub released: u64,
    /// Into a tunnel.
    pub handed_on: u64,
    /// When their time was over.
    pub expired: u64,
    /// Before their time, with what they held: the handover was taken back.
    pub cancelled: u64,
}

/// What a command leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing that the world must do.
    None,
    /// A drain begins; these go to the mobile node on the link.
    Deliver(Ipv6Addr, Vec<Load>),
    /// A drain begins; these go into the tunnel.
    Tunnel(Ipv6Addr, Vec<Load>),
    /// A mobile node's drain begins.
    Uplink(Ipv6Addr),
    /// The link layer of a mobile node is told to move.
    Switch(fmip_ctl::wire::MacAddr),
}

type Books1 = Result<Effect, String>;

impl Books {
    /// The account of the same node after a crash: only what is kept on disk is left.
    pub fn after_crash(self) -> Self {
        Self {
            sequences: self.sequences,
            ends: self.ends,
            generation: self.generation + 1,
            ..Self::default()
        }
    }

    /// Which of several drains of one address a report is about.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Carries out a command.
    ///
    /// # Errors
    /// What is wrong with it: it installs what stands, or removes what does not.
    pub fn execute(&mut self, now: Instant, command: &Command) -> Books1 {
        match *command {
            Command::InstallTunnel {
                pcoa,
                ncoa,
                expires,
                ..
            } => self.install_tunnel(now, pcoa, ncoa, expires),
            Command::RemoveTunnel { pcoa } => {
                self.tunnels
                    .remove(&pcoa)
                    .ok_or_else(|| format!("no tunnel for {pcoa} to remove"))?;
                Ok(Effect::None)
            }
            Command::StartBuffering {
                address,
                tunnel,
                expires,
                ..
            } => {
                // Takes its place.
                self.tunnels.remove(&address);
                let buffer = self.buffers.entry(address).or_insert(Buffer {
                    state: BufferState::Holding,
                    expires: None,
                    content: Vec::new(),
                    window: None,
                    tunnel,
                });
                buffer.forget_old(now);
                buffer.window = None;
                buffer.state = BufferState::Holding;
                buffer.expires = Some(expires);
                Ok(Effect::None)
            }
            Command::StartCopying {
                address, window, ..
            } => {
                self.no_rival(address)?;
                let buffer = Buffer {
                    state: BufferState::Copying,
                    expires: None,
                    content: Vec::new(),
                    window: Some(window),
                    tunnel: None,
                };
                match self.buffers.insert(address, buffer) {
                    Some(old) if old.state != BufferState::Copying => Err(format!(
                        "copies for {address}, whose buffer does {:?}",
                        old.state
                    )),
                    _ => Ok(Effect::None),
                }
            }
            Command::ReleaseBuffer { address, expires } => {
                let buffer = self
                    .buffers
                    .get_mut(&address)
                    .ok_or_else(|| format!("no buffer of {address} to release"))?;
                buffer.state = BufferState::Released;
                buffer.expires = Some(expires);
                let content = buffer.take(now);
                self.generation += 1;
                Ok(Effect::Deliver(address, content))
            }
            Command::RemoveBuffer { address } => {
                let Some(buffer) = self.buffers.remove(&address) else {
                    // Of a tunnel whose place could not be taken.
                    return stood(self.tunnels.remove(&address).is_some(), "buffer", address);
                };
                match buffer.state {
                    BufferState::Released => self.ends.released += 1,
                    BufferState::Copying => {}
                    BufferState::Holding if buffer.expires.is_some_and(|at| at <= now) => {
                        self.ends.expired += 1;
                    }
                    BufferState::Holding => self.ends.cancelled += 1,
                }
                Ok(Effect::None)
            }
            Command::AddProxyNd { address, .. } => {
                new(self.proxies.insert(address), "proxy", address)
            }
            Command::RemoveProxyNd { address, .. } => {
                stood(self.proxies.remove(&address), "proxy", address)
            }
            Command::AddHostRoute { address, .. } => {
                new(self.routes.insert(address), "host route", address)
            }
            Command::RemoveHostRoute { address, .. } => {
                stood(self.routes.remove(&address), "host route", address)
            }
            Command::StoreSequence { pcoa, sequence } => {
                self.sequences.insert(pcoa, sequence);
                Ok(Effect::None)
            }
            Command::HoldUplink { pcoa, expires, .. } => {
                let released = false;
                self.uplinks.insert(pcoa, Uplink { expires, released });
                Ok(Effect::None)
            }
            Command::ReleaseUplink { pcoa, expires, .. } => {
                let uplink = self
                    .uplinks
                    .get_mut(&pcoa)
                    .ok_or_else(|| format!("no uplink of {pcoa} to release"))?;
                uplink.expires = expires;
                uplink.released = true;
                self.generation += 1;
                Ok(Effect::Uplink(pcoa))
            }
            Command::RemoveUplink { pcoa } => {
                stood(self.uplinks.remove(&pcoa).is_some(), "uplink", pcoa)
            }
            Command::ConfigureAddress { address, .. } | Command::RestoreAddress { address, .. } => {
                self.addresses.insert(address);
                Ok(Effect::None)
            }
            Command::PreferAddress { address, .. } | Command::KeepAddress { address, .. } => {
                match self.addresses.contains(&address) {
                    true => Ok(Effect::None),
                    false => Err(format!("{address} is not there")),
                }
            }
            Command::RemoveAddress { address, .. } => {
                stood(self.addresses.remove(&address), "address", address)
            }
            Command::SetDefaultRouter { .. } => {
                self.default_router = true;
                Ok(Effect::None)
            }
            Command::ForgetRouter { .. } => match std::mem::take(&mut self.default_router) {
                true => Ok(Effect::None),
                false => Err("no default router to forget".to_owned()),
            },
            Command::SwitchLink { access_point } => Ok(Effect::Switch(access_point)),
            Command::AddNeighbor { .. } => Ok(Effect::None),
        }
    }

    fn install_tunnel(
        &mut self,
        now: Instant,
        pcoa: Ipv6Addr,
        ncoa: Ipv6Addr,
        expires: Instant,
    ) -> Books1 {
        let taken_over = self.buffers.remove(&pcoa);
        if let Some(buffer) = &taken_over
            && buffer.state == BufferState::Released
        {
            // What is being released still goes to the link; only then may the address be tunnelled.
            self.ends.released += 1;
        }
        let buffered = taken_over.is_some();
        let tunnel = StandingTunnel {
            ncoa,
            expires,
            buffered,
        };
        let before = self.tunnels.insert(pcoa, tunnel);
        if buffered && before.is_some() {
            return Err(format!("{pcoa} had a tunnel and a buffer"));
        }
        match taken_over {
            Some(mut buffer) => {
                self.ends.handed_on += 1;
                self.generation += 1;
                Ok(Effect::Tunnel(pcoa, buffer.take(now)))
            }
            None => Ok(Effect::None),
        }
    }

    /// One address has one binding in the data path.
    fn no_rival(&self, address: Ipv6Addr) -> Result<(), String> {
        match self.tunnels.get(&address) {
            Some(tunnel) => Err(format!(
                "{address} is tunnelled to {}{} and cannot be copied",
                tunnel.ncoa,
                if tunnel.buffered {
                    " with a buffer"
                } else {
                    ""
                }
            )),
            None => Ok(()),
        }
    }

    /// What stands beyond its time.
    pub fn overdue(&self, now: Instant) -> Option<String> {
        let tunnels = self
            .tunnels
            .iter()
            .map(|(of, it)| ("tunnel", of, it.expires));
        let buffers = self.buffers.iter();
        let buffers = buffers.filter_map(|(of, it)| Some(("buffer", of, it.expires?)));
        let uplinks = self
            .uplinks
            .iter()
            .map(|(of, it)| ("uplink", of, it.expires));
        tunnels
            .chain(buffers)
            .chain(uplinks)
            .find(|&(_, _, expires)| expires < now)
            .map(|(what, of, expires)| {
                let late = now - expires;
                format!("the {what} of {of} stands {late:?} beyond its lifetime")
            })
    }

    /// What stands that should not when all is over; a buffer of copies is part of every day.
    pub fn left(&self, copies_too: bool) -> Option<String> {
        let buffers = self.buffers.iter();
        let mut buffers = buffers.filter(|(_, it)| copies_too || it.state != BufferState::Copying);
        let left = (self.tunnels.keys().next().map(|of| ("tunnel", of)))
            .or_else(|| buffers.next().map(|(of, _)| ("buffer", of)))
            .or_else(|| self.proxies.first().map(|of| ("proxy", of)))
            .or_else(|| self.routes.first().map(|of| ("host route", of)))
            .or_else(|| self.uplinks.keys().next().map(|of| ("uplink", of)));
        left.map(|(what, of)| format!("a {what} of {of} is left"))
    }
}

impl Buffer {
    /// Keeps something, and a copy no longer than its window.
    pub fn keep(&mut self, now: Instant, load: Load) {
        self.forget_old(now);
        self.content.push((now, load));
    }

    fn forget_old(&mut self, now: Instant) {
        if let Some(window) = self.window {
            self.content.retain(|&(came, _)| came + window >= now);
        }
    }

    fn take(&mut self, now: Instant) -> Vec<Load> {
        self.forget_old(now);
        let content = std::mem::take(&mut self.content);
        content.into_iter().map(|(_, load)| load).collect()
    }
}

fn new(is_new: bool, what: &str, address: Ipv6Addr) -> Books1 {
    match is_new {
        true => Ok(Effect::None),
        false => Err(format!("{what} of {address} a second time")),
    }
}

fn stood(it_stood: bool, what: &str, address: Ipv6Addr) -> Books1 {
    match it_stood {
        true => Ok(Effect::None),
        false => Err(format!("no {what} of {address} to remove")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PCOA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 7);
    const NCOA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 7);
    const NOW: Instant = Instant::from_nanos(5_000_000_000);

    fn install() -> Command {
        Command::InstallTunnel {
            pcoa: PCOA,
            ncoa: NCOA,
            local: PCOA,
            expires: NOW + Duration::from_secs(1),
        }
    }

    fn hold() -> Command {
        Command::StartBuffering {
            address: PCOA,
            interface: 1,
            link_address: fmip_ctl::wire::MacAddr([2; 6]),
            tunnel: None,
            expires: NOW + Duration::from_secs(1),
        }
    }

    #[test]
    fn what_does_not_stand_cannot_be_removed() {
        let mut books = Books::default();
        let (pcoa, address, interface) = (PCOA, PCOA, 1);
        for command in [
            Command::RemoveTunnel { pcoa },
            Command::RemoveBuffer { address },
            Command::RemoveProxyNd { interface, address },
            Command::RemoveHostRoute { interface, address },
            Command::RemoveUplink { pcoa },
            Command::ForgetRouter { interface },
        ] {
            assert!(books.execute(NOW, &command).is_err(), "{command:?}");
        }
    }

    #[test]
    fn a_tunnel_takes_over_what_is_held() {
        let mut books = Books::default();
        books.execute(NOW, &hold()).unwrap();
        let effect = books.execute(NOW, &install());
        assert_eq!(effect, Ok(Effect::Tunnel(PCOA, Vec::new())));
        assert_eq!(books.ends.handed_on, 1);
        assert_eq!(
            books.left(true).unwrap(),
            format!("a tunnel of {PCOA} is left")
        );
    }

    #[test]
    fn what_is_held_takes_the_place_of_a_tunnel() {
        let mut books = Books::default();
        books.execute(NOW, &install()).unwrap();
        books.execute(NOW, &hold()).unwrap();
        assert_eq!(
            books.left(true).unwrap(),
            format!("a buffer of {PCOA} is left")
        );
    }

    #[test]
    fn what_is_tunnelled_cannot_be_copied() {
        let mut books = Books::default();
        books.execute(NOW, &install()).unwrap();
        let copy = Command::StartCopying {
            address: PCOA,
            interface: 1,
            link_address: fmip_ctl::wire::MacAddr([2; 6]),
            window: Duration::from_secs(1),
        };
        assert!(books.execute(NOW, &copy).is_err());
    }

    #[test]
    fn what_stands_beyond_its_lifetime_is_found() {
        for command in [install(), hold()] {
            let mut books = Books::default();
            books.execute(NOW, &command).unwrap();
            assert_eq!(books.overdue(NOW + Duration::from_secs(1)), None);
            assert!(books.overdue(NOW + Duration::from_millis(1001)).is_some());
        }
    }
}
