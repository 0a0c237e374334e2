//! The network of the lab, and the one thing that moves in it: the mobile node's radio.

use std::{
    env, fmt, fs,
    net::{Ipv6Addr, SocketAddrV6},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    netns::{self, NetNs},
    process::Process,
    wait::{SOON, wait_until},
};

/// The correspondent node's address.
pub const CN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 2);
/// The previous access router's address on its access link.
pub const PAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
/// The new access router's address on its access link.
pub const NAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1);
/// The prefix of the previous access router's link.
pub const PAR_PREFIX: &str = "2001:db8:1::/64";
/// The prefix of the new access router's link.
pub const NAR_PREFIX: &str = "2001:db8:2::/64";
/// The link-layer address of the previous access router on its access link.
pub const PAR_LLA: &str = "02:00:00:00:00:11";
/// The link-layer address of the new access router on its access link.
pub const NAR_LLA: &str = "02:00:00:00:00:22";
/// The mobile node's link-layer address, the same on every link.
pub const MN_LLA: &str = "02:00:00:00:00:01";
/// What stateless address configuration makes of [`PAR_PREFIX`] and [`MN_LLA`].
pub const PCOA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0xff, 0xfe00, 1);

/// The mobile node's interface.
pub const WLAN: &str = "wlan0";
/// The routers' interface towards the other routers.
pub const CORE_INTERFACE: &str = "core0";
/// The routers' interface on their access link.
pub const ACCESS_INTERFACE: &str = "acc0";

/// The roles of a lab; each is one namespace.
pub const ROLES: [&str; 6] = ["cn", "core", "par", "nar", "air", "mn"];

/// One of the two access points.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum AccessPoint {
    /// On the previous access router's link.
    Previous,
    /// On the new access router's link.
    New,
}

impl AccessPoint {
    /// Its identifier: a link-layer address.
    pub fn id(self) -> &'static str {
        match self {
            Self::Previous => "02:00:00:00:0a:01",
            Self::New => "02:00:00:00:0a:02",
        }
    }

    fn bridge(self) -> &'static str {
        match self {
            Self::Previous => "br-ap1",
            Self::New => "br-ap2",
        }
    }
}

impl fmt::Display for AccessPoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.id())
    }
}

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
    /// The access points.
    pub air: NetNs,
    /// The mobile node.
    pub mn: NetNs,
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
        static BUILT: AtomicU32 = AtomicU32::new(0);
        let tag = format!(
            "{}x{}",
            process::id(),
            BUILT.fetch_add(1, Ordering::Relaxed) + 1
        );
        let directory = Directory::create(directory_of(&tag))?;
        let namespace = |role: &str| NetNs::create(&namespace_name(&tag, role));
        let mut lab = Self {
            radvd: Vec::new(),
            cn: namespace("cn")?,
            core: namespace("core")?,
            par: namespace("par")?,
            nar: namespace("nar")?,
            air: namespace("air")?,
            mn: namespace("mn")?,
            directory,
            tag,
        };
        lab.prepare_stacks()?;
        lab.lay_links()?;
        lab.configure_hosts()?;
        lab.configure_routers()?;
        lab.advertise("par", PAR_PREFIX)?;
        lab.advertise("nar", NAR_PREFIX)?;
        lab.first_attach()?;
        Ok(lab)
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
        ] {
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
        self.mn.run(|| {
            let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
            socket.set_multicast_hops_v6(255)?;
            let to = SocketAddrV6::new(ALL_ROUTERS, 0, 0, indexes::MN_WLAN);
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

    fn prepare_stacks(&self) -> Result<()> {
        for router in [&self.core, &self.par, &self.nar] {
            router.sysctl("ipv6/conf/all/forwarding", 1)?;
        }
        // Addresses given by hand are usable at once: setting up needs no waiting.
        for namespace in [&self.cn, &self.core, &self.par, &self.nar] {
            namespace.sysctl("ipv6/conf/default/accept_dad", 0)?;
            namespace.sysctl("ipv6/conf/default/dad_transmits", 0)?;
            namespace.sysctl("ipv6/conf/default/accept_ra", 0)?;
        }
        // An access point is no IPv6 node.
        self.air.sysctl("ipv6/conf/default/disable_ipv6", 1)?;
        // The first address, too, without waiting; `first_attach` goes back to the ordinary.
        self.mn.sysctl("ipv6/conf/default/dad_transmits", 0)?;
        self.mn
            .sysctl("ipv6/conf/default/router_solicitation_delay", 0)
    }

    fn lay_links(&self) -> Result<()> {
        use indexes::*;
        let end = |namespace, name, index, lla| End {
            namespace,
            name,
            index,
            lla,
        };
        let links = [
            [
                end(&self.cn, "eth0", CN_ETH, "02:00:00:00:0c:02"),
                end(&self.core, "cn0", CORE_CN, "02:00:00:00:0c:01"),
            ],
            [
                end(&self.core, "par0", CORE_PAR, "02:00:00:00:f1:01"),
                end(&self.par, CORE_INTERFACE, PAR_CORE, "02:00:00:00:f1:02"),
            ],
            [
                end(&self.core, "nar0", CORE_NAR, "02:00:00:00:f2:01"),
                end(&self.nar, CORE_INTERFACE, NAR_CORE, "02:00:00:00:f2:02"),
            ],
            [
                end(&self.par, ACCESS_INTERFACE, PAR_ACCESS, PAR_LLA),
                end(&self.air, "par-air", AIR_PAR, "02:00:00:00:a1:01"),
            ],
            [
                end(&self.nar, ACCESS_INTERFACE, NAR_ACCESS, NAR_LLA),
                end(&self.air, "nar-air", AIR_NAR, "02:00:00:00:a2:01"),
            ],
            [
                end(&self.mn, WLAN, MN_WLAN, MN_LLA),
                end(&self.air, "radio", RADIO, "02:00:00:00:a0:01"),
            ],
        ];
        for [near, far] in links {
            // One queue each way: a veth spreads a flow over its queues as the sending CPU changes,
            // which reorders it; a network card keeps a flow on one queue.
            const QUEUES: &str = "numtxqueues 1 numrxqueues 1";
            near.namespace.ip(&format!(
                "link add {} index {} address {} {QUEUES} \
                 type veth peer name {} index {} address {} {QUEUES} netns {}",
                near.name,
                near.index,
                near.lla,
                far.name,
                far.index,
                far.lla,
                far.namespace.name()
            ))?;
            for end in [near, far] {
                end.namespace.prepare_for_xdp(end.name)?;
            }
        }
        let mut air = String::new();
        for (access_point, index, port) in [
            (AccessPoint::Previous, BRIDGE_PREVIOUS, "par-air"),
            (AccessPoint::New, BRIDGE_NEW, "nar-air"),
        ] {
            let bridge = access_point.bridge();
            air += &format!(
                "link add {bridge} index {index} address {access_point} type bridge \
                 stp_state 0 forward_delay 0 mcast_snooping 0\n\
                 link set {port} master {bridge}\n\
                 link set {bridge} up\n\
                 link set {port} up\n"
            );
        }
        self.air.ip_batch(&air)
    }

    fn configure_hosts(&self) -> Result<()> {
        self.cn.ip_batch(&format!(
            "addr add {CN}/64 dev eth0\n\
             link set eth0 up\n\
             route add default via 2001:db8:c::1\n"
        ))?;
        self.core.ip_batch(&format!(
            "addr add 2001:db8:c::1/64 dev cn0\n\
             addr add 2001:db8:f1::1/64 dev par0\n\
             addr add 2001:db8:f2::1/64 dev nar0\n\
             link set cn0 up\n\
             link set par0 up\n\
             link set nar0 up\n\
             route add {PAR_PREFIX} via 2001:db8:f1::2\n\
             route add {NAR_PREFIX} via 2001:db8:f2::2\n"
        ))
    }

    fn configure_routers(&self) -> Result<()> {
        for (router, link, address, prefix) in [
            (&self.par, "f1", PAR, PAR_PREFIX),
            (&self.nar, "f2", NAR, NAR_PREFIX),
        ] {
            // The two rules are the ingress filter of every ordinary network (BCP 38): the access link
            // sends nothing on with a source address from elsewhere. Without it the plain move would
            // look better than it is, as the node's old address still got out at the new router.
            router.ip_batch(&format!(
                "addr add 2001:db8:{link}::2/64 dev {CORE_INTERFACE}\n\
                 addr add {address}/64 dev {ACCESS_INTERFACE}\n\
                 link set {CORE_INTERFACE} up\n\
                 link set {ACCESS_INTERFACE} up\n\
                 route add default via 2001:db8:{link}::1\n\
                 rule add pref 100 iif {ACCESS_INTERFACE} from {prefix} lookup main\n\
                 rule add pref 101 iif {ACCESS_INTERFACE} blackhole\n"
            ))?;
        }
        Ok(())
    }

    fn advertise(&mut self, role: &str, prefix: &str) -> Result<()> {
        let router = match role {
            "par" => &self.par,
            _ => &self.nar,
        };
        let file = |extension: &str| {
            self.directory
                .path
                .join(format!("{role}-radvd.{extension}"))
        };
        // Far more often than the 200 to 600 s that RFC 4861 section 6.2.1 has as default: a node that
        // does not ask still hears of the router soon. A node that asks is answered at once.
        fs::write(
            file("conf"),
            format!(
                "interface {ACCESS_INTERFACE} {{\n\
                 \tAdvSendAdvert on;\n\
                 \tMinRtrAdvInterval 3;\n\
                 \tMaxRtrAdvInterval 10;\n\
                 \tprefix {prefix} {{ AdvOnLink on; AdvAutonomous on; }};\n\
                 }};\n"
            ),
        )?;
        let mut command = Command::new("radvd");
        command
            .args(["--nodaemon", "--logmethod", "stderr", "--config"])
            .arg(file("conf"))
            .arg("--pidfile")
            .arg(file("pid"));
        let process = Process::start(router, &format!("radvd of {role}"), command, file("log"))?;
        self.radvd.push(process);
        Ok(())
    }

    /// Brings the mobile node up at the previous access point, with its address.
    fn first_attach(&mut self) -> Result<()> {
        self.mn.ip(&format!("link set {WLAN} up"))?;
        self.attach(AccessPoint::Previous)?;
        let mut asked: Option<Instant> = None;
        wait_until("the mobile node's first address", SOON, || {
            for process in &mut self.radvd {
                process.check_running()?;
            }
            // The kernel's own solicitation may have come before radvd was there to hear it.
            if asked.is_none_or(|at| at.elapsed() > Duration::from_millis(500)) {
                self.solicit_routers()?;
                asked = Some(Instant::now());
            }
            Ok(self.mn_addresses()?.contains(&PCOA).then_some(()))
        })?;
        // From now on as everywhere: an address that comes later is checked for duplicates first.
        self.mn
            .sysctl(&format!("ipv6/conf/{WLAN}/dad_transmits"), 1)
    }
}

/// Interface indexes, all different: where the two ends of a veth have the same index the kernel takes
/// it for an ordinary device and delays the news of its carrier by up to a second.
mod indexes {
    pub(super) const CN_ETH: u32 = 11;
    pub(super) const CORE_CN: u32 = 12;
    pub(super) const CORE_PAR: u32 = 13;
    pub(super) const PAR_CORE: u32 = 14;
    pub(super) const CORE_NAR: u32 = 15;
    pub(super) const NAR_CORE: u32 = 16;
    pub(super) const PAR_ACCESS: u32 = 17;
    pub(super) const AIR_PAR: u32 = 18;
    pub(super) const NAR_ACCESS: u32 = 19;
    pub(super) const AIR_NAR: u32 = 20;
    pub(super) const MN_WLAN: u32 = 21;
    pub(super) const RADIO: u32 = 22;
    pub(super) const BRIDGE_PREVIOUS: u32 = 31;
    pub(super) const BRIDGE_NEW: u32 = 32;
}

/// One end of a veth pair.
struct End<'a> {
    namespace: &'a NetNs,
    name: &'static str,
    index: u32,
    lla: &'static str,
}

/// A directory that goes away with its owner.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
    keep: bool,
}

impl Directory {
    fn create(path: PathBuf) -> Result<Self> {
        // Handover keys are written into it.
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path, keep: false })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}

fn namespace_name(tag: &str, role: &str) -> String {
    format!("fmip-{tag}-{role}")
}

fn directory_of(tag: &str) -> PathBuf {
    env::temp_dir().join(format!("fmip-lab-{tag}"))
}

/// Removes a lab that was kept. Returns how many namespaces it had.
pub fn clean(tag: &str) -> Result<usize> {
    let existing = netns::list()?;
    let mut removed = 0;
    for role in ROLES {
        let name = namespace_name(tag, role);
        if existing.contains(&name) {
            netns::remove(&name);
            removed += 1;
        }
    }
    let directory = directory_of(tag);
    if directory.exists() {
        fs::remove_dir_all(&directory)
            .with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    Ok(removed)
}

/// The tags of labs whose maker no longer runs: kept ones, and what a killed runner has left.
pub fn abandoned() -> Result<Vec<String>> {
    let mut tags: Vec<String> = netns::list()?
        .iter()
        .filter_map(|name| tag_of(name))
        .filter(|tag| {
            let maker = tag.split('x').next().unwrap_or_default();
            !Path::new("/proc").join(maker).exists()
        })
        .map(str::to_owned)
        .collect();
    tags.sort();
    tags.dedup();
    Ok(tags)
}

/// The tag in a namespace's name, if a lab made it.
fn tag_of(name: &str) -> Option<&str> {
    let (tag, role) = name.strip_prefix("fmip-")?.rsplit_once('-')?;
    let (maker, count) = tag.split_once('x')?;
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (ROLES.contains(&role) && number(maker) && number(count)).then_some(tag)
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

/// The global addresses of the calling thread's namespace that are neither tentative nor duplicates.
pub(crate) fn usable_addresses() -> Result<Vec<Ipv6Addr>> {
    let text = fs::read_to_string("/proc/thread-self/net/if_inet6")
        .context("cannot read the list of IPv6 addresses")?;
    text.lines()
        .filter_map(|line| parse_if_inet6(line).transpose())
        .collect()
}

/// One line of if_inet6: address, interface index, prefix length, scope, flags (all hexadecimal), name.
fn parse_if_inet6(line: &str) -> Result<Option<Ipv6Addr>> {
    const SCOPE_GLOBAL: u32 = 0;
    /// `IFA_F_DADFAILED` and `IFA_F_TENTATIVE` of linux/if_addr.h.
    const NOT_USABLE: u32 = 0x08 | 0x40;
    let fields: Vec<_> = line.split_whitespace().collect();
    ensure!(fields.len() == 6, "if_inet6 has an unknown form: {line:?}");
    let hex = |text: &str| u32::from_str_radix(text, 16).with_context(|| line.to_owned());
    let address = u128::from_str_radix(fields[0], 16).with_context(|| line.to_owned())?;
    let usable = hex(fields[3])? == SCOPE_GLOBAL && hex(fields[4])? & NOT_USABLE == 0;
    Ok(usable.then(|| Ipv6Addr::from_bits(address)))
}

fn lla_bytes(text: &str) -> [u8; 6] {
    let mut bytes = [0; 6];
    for (byte, part) in bytes.iter_mut().zip(text.split(':')) {
        *byte = u8::from_str_radix(part, 16).expect("the lab's own addresses are hexadecimal");
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_usable_when_global_and_checked() {
        let line = |scope: &str, flags: &str| {
            format!("20010db800010000000000fffe000001 15 40 {scope} {flags} wlan0")
        };
        let address = Some("2001:db8:1::ff:fe00:1".parse().unwrap());
        assert_eq!(parse_if_inet6(&line("00", "00")).unwrap(), address);
        assert_eq!(
            parse_if_inet6(&line("00", "20")).unwrap(),
            address,
            "deprecated"
        );
        assert_eq!(
            parse_if_inet6(&line("00", "40")).unwrap(),
            None,
            "tentative"
        );
        assert_eq!(
            parse_if_inet6(&line("00", "48")).unwrap(),
            None,
            "duplicate"
        );
        assert_eq!(
            parse_if_inet6(&line("20", "80")).unwrap(),
            None,
            "link-local"
        );
        assert!(parse_if_inet6("nonsense").is_err());
    }

    #[test]
    fn the_pcoa_is_the_prefix_and_the_modified_eui_64_of_the_link_layer_address() {
        let mac = lla_bytes(MN_LLA);
        let identifier = [
            mac[0] ^ 2,
            mac[1],
            mac[2],
            0xff,
            0xfe,
            mac[3],
            mac[4],
            mac[5],
        ];
        let prefix: Ipv6Addr = PAR_PREFIX.strip_suffix("/64").unwrap().parse().unwrap();
        let expected = prefix.to_bits() | u128::from(u64::from_be_bytes(identifier));
        assert_eq!(PCOA.to_bits(), expected);
    }

    #[test]
    fn only_namespaces_of_a_lab_have_a_tag() {
        assert_eq!(tag_of("fmip-12x1-core"), Some("12x1"));
        assert_eq!(tag_of("fmip-12x1-elsewhere"), None);
        assert_eq!(tag_of("fmip-probe-core"), None);
        assert_eq!(tag_of("other"), None);
    }
}
