//! The network of the lab, and the one thing that moves in it: the mobile node's radio.

mod addresses;
mod build;
mod network;
mod remains;
mod sites;

use std::{
    env,
    net::{Ipv6Addr, SocketAddrV6, UdpSocket},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

pub(crate) use self::{addresses::usable_addresses, remains::Directory, sites::lla_bytes};
pub use self::{
    network::{Companion, Network},
    remains::{ROLES, abandoned, clean},
    sites::{
        ACCESS_INTERFACE, AccessPoint, CN, CORE_INTERFACE, MN_LLA, NAR, PAR, PCOA, Router, WLAN,
    },
};
use crate::{
    netns::NetNs,
    process::Process,
    wait::{SOON, wait_until},
};

/// RFC 4291 section 2.7.1.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The network, standing. Dropping it ends what runs in it and removes it.
#[derive(Debug)]
pub struct Lab {
    radvd: Vec<Process>,
    /// The correspondent node.
    pub cn: NetNs,
    /// The router between all others.
    pub core: NetNs,
    /// The previous access router.
    pub par: NetNs,
    /// The new access router.
    pub nar: NetNs,
    /// The third access router, if the lab has one.
    pub third: Option<NetNs>,
    /// The routers that do not speak RFC 5568.
    pub companions: Vec<(Companion, NetNs)>,
    /// The access points.
    pub air: NetNs,
    /// The mobile node.
    pub mn: NetNs,
    /// Which routers and access points it has.
    pub network: Network,
    directory: Directory,
    tag: String,
}

impl Lab {
    /// Builds the network and waits until the mobile node has configured its address [`PCOA`] on the
    /// previous access router's link.
    ///
    /// # Errors
    /// Without root, or without ip, ethtool or radvd; see [`missing`].
    pub fn build() -> Result<Self> {
        Self::of(Network::Two)
    }

    /// Like [`Lab::build`], with a third access router on a link of its own, and with a second access
    /// point, [`AccessPoint::Beside`], on the previous access router's link.
    ///
    /// # Errors
    /// As for [`Lab::build`].
    pub fn with_third_router() -> Result<Self> {
        Self::of(Network::Three)
    }

    /// The access routers, in order.
    pub fn routers(&self) -> impl Iterator<Item = (Router, &NetNs)> {
        [
            (Router::Previous, Some(&self.par)),
            (Router::New, Some(&self.nar)),
            (Router::Third, self.third.as_ref()),
        ]
        .into_iter()
        .filter_map(|(router, namespace)| Some((router, namespace?)))
    }

    /// All of its namespaces.
    pub fn namespaces(&self) -> impl Iterator<Item = &NetNs> {
        [
            &self.cn, &self.core, &self.par, &self.nar, &self.air, &self.mn,
        ]
        .into_iter()
        .chain(&self.third)
        .chain(self.companions.iter().map(|(_, namespace)| namespace))
    }

    /// The namespace of an access router.
    ///
    /// # Errors
    /// If this lab has no third one and it is asked for.
    pub fn router(&self, router: Router) -> Result<&NetNs> {
        self.routers()
            .find_map(|(candidate, namespace)| (candidate == router).then_some(namespace))
            .with_context(|| format!("this lab has no router {}", router.name()))
    }

    /// What tells this lab's namespaces (`fmip-TAG-ROLE`) from others'.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// A directory for files that live as long as the lab.
    pub fn directory(&self) -> &Path {
        &self.directory.path
    }

    /// Leaves everything standing when this value is dropped; [`clean`] removes it then.
    pub fn keep(&mut self) {
        for process in &mut self.radvd {
            process.keep();
        }
        for namespace in [
            &mut self.cn,
            &mut self.core,
            &mut self.par,
            &mut self.nar,
            &mut self.air,
            &mut self.mn,
        ]
        .into_iter()
        .chain(&mut self.third)
        .chain(self.companions.iter_mut().map(|(_, namespace)| namespace))
        {
            namespace.keep();
        }
        self.directory.keep = true;
    }

    /// The radio leaves its access point: the mobile node sees its carrier go.
    pub fn detach(&self) -> Result<()> {
        // Down first: what arrives between the two is lost on the air and not flooded by the bridge.
        self.air
            .ip_batch("link set radio down\nlink set radio nomaster\n")
    }

    /// As [`Lab::detach`], if the mobile node holds what it sends: what it has sent before is not on the air any
    /// more, as that of a radio that is told to leave is not.
    pub fn leave(&self) -> Result<()> {
        self.flush_air()?;
        self.detach()
    }

    /// Waits until what the mobile node has sent so far has come to the router of its link: a packet behind
    /// it, for all nodes of the link, has.
    fn flush_air(&self) -> Result<()> {
        const PORT: u16 = 5001;
        const AGAIN: Duration = Duration::from_millis(100);
        let index = self.index_of_radio()?;
        let bind = |port| {
            let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let routers = self.network.routers().iter();
        let routers = routers.map(|router| self.router(*router)?.run(|| bind(PORT)));
        let routers = routers.collect::<Result<Vec<UdpSocket>>>()?;
        let node = self.mn.run(|| bind(0))?;
        let to = SocketAddrV6::new(ALL_NODES, PORT, 0, index);
        let mut sent: Option<Instant> = None;
        wait_until(
            "what the mobile node has sent to pass the air",
            SOON,
            || {
                if sent.is_none_or(|sent| sent.elapsed() >= AGAIN) {
                    node.send_to(b"passed", to)
                        .context("cannot send to all nodes of the link")?;
                    sent = Some(Instant::now());
                }
                let mut octets = [0; 8];
                let has_come = |router: &UdpSocket| router.recv_from(&mut octets).is_ok();
                Ok(routers.iter().any(has_come).then_some(()))
            },
        )
    }

    fn index_of_radio(&self) -> Result<u32> {
        self.mn.ip_json(&format!("link show {WLAN}"))?[0]["ifindex"]
            .as_u64()
            .and_then(|index| u32::try_from(index).ok())
            .context("ip tells no index of the mobile node's interface")
    }

    /// The radio comes up at an access point. Returns when packets pass both ways, which is what a
    /// wireless driver means by "connected".
    pub fn attach(&self, access_point: AccessPoint) -> Result<()> {
        let bridge = access_point.bridge();
        self.air.ip_batch(&format!(
            "link set radio master {bridge}\nlink set radio up\n"
        ))?;
        wait_until("the radio link to come up", SOON, || {
            let port = &self.air.ip_json("-details link show radio")?[0];
            let node = &self.mn.ip_json(&format!("link show {WLAN}"))?[0];
            let up = port["linkinfo"]["info_slave_data"]["state"] == "forwarding"
                && node["operstate"] == "UP";
            Ok(up.then_some(()))
        })
    }

    /// The mobile node forgets the address and the router of the link it was on, as network managers do
    /// when the carrier goes. The kernel alone keeps sending to the router it knows, for as long as that
    /// once said it would be one (here half a minute).
    pub fn forget_link(&self) -> Result<()> {
        self.mn.ip_batch(&format!(
            "route flush dev {WLAN} proto ra\n\
             addr flush dev {WLAN} scope global\n"
        ))
    }

    /// The mobile node asks the routers on its link to announce themselves, as network managers do when
    /// a link comes up; the kernel itself does not after a roam.
    pub fn solicit_routers(&self) -> Result<()> {
        const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
        // RFC 4861 section 4.1: type 133; the kernel fills in the checksum. Source Link-Layer Address.
        let mut message = vec![133, 0, 0, 0, 0, 0, 0, 0, 1, 1];
        message.extend(lla_bytes(MN_LLA));
        let index = self.index_of_radio()?;
        self.mn.run(|| {
            let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
            socket.set_multicast_hops_v6(255)?;
            let to = SocketAddrV6::new(ALL_ROUTERS, 0, 0, index);
            socket
                .send_to(&message, &to.into())
                .context("cannot send a router solicitation")?;
            Ok(())
        })
    }

    /// The mobile node's global addresses that the kernel lets it use: not tentative, not duplicate.
    pub fn mn_addresses(&self) -> Result<Vec<Ipv6Addr>> {
        self.mn.run(usable_addresses)
    }
}

/// Why no lab can be built here, if so.
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("network namespaces need root".to_owned());
    }
    for (program, package) in [
        ("ip", "iproute2"),
        ("ethtool", "ethtool"),
        ("radvd", "radvd"),
    ] {
        let found = env::var_os("PATH").is_some_and(|path| {
            env::split_paths(&path).any(|directory| directory.join(program).is_file())
        });
        if !found {
            return Some(format!("{program} (package {package}) is not installed"));
        }
    }
    None
}
