//! Builds the network: namespaces, links, addresses, routes, and the routers' advertisements.

use std::{
    fs,
    net::Ipv6Addr,
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    Lab, Network,
    remains::{Directory, directory_of, namespace_name},
    sites::{ACCESS_INTERFACE, AccessPoint, CN, CORE_INTERFACE, MN_LLA, PCOA, Router, WLAN},
};
use crate::{
    netns::NetNs,
    process::Process,
    wait::{SOON, wait_until},
};

/// The index of the mobile node's interface.
const MN_WLAN: u32 = 21;

/// The first of the indexes that are given to the other interfaces, one after the other: all different,
/// because where the two ends of a veth have the same index the kernel takes it for an ordinary device
/// and delays the news of its carrier by up to a second.
const FIRST_INDEX: u32 = 31;

/// The first of those of near ends where the numbers below [`FIRST_INDEX`] do not suffice.
const MORE_INDEXES: u32 = 71;

/// What an end of a veth pair needs: one queue each way. A veth spreads a flow over its queues as the
/// sending CPU changes, which reorders it; a network card keeps a flow on one queue.
const QUEUES: &str = "numtxqueues 1 numrxqueues 1";

/// A router at the edge, whatever it speaks.
struct Node<'a> {
    name: &'static str,
    /// Addresses are made of it.
    number: u16,
    /// On its access link.
    address: Ipv6Addr,
    lla: &'static str,
    /// Whose link that is.
    link: Router,
    namespace: &'a NetNs,
}

/// What waits at an access point for the radio, as in real ones: frames that find the ring to the station full.
/// From Linux 6.16 on a veth lets its queue wait; before that they are lost, queue or none.
const RADIO_QUEUE: &str = "qdisc add dev radio root pfifo limit 10000";

/// One end of a veth pair.
struct End<'a> {
    namespace: &'a NetNs,
    name: &'a str,
    lla: &'a str,
}

impl<'a> End<'a> {
    fn new(namespace: &'a NetNs, name: &'a str, lla: &'a str) -> Self {
        Self {
            namespace,
            name,
            lla,
        }
    }
}

impl Lab {
    /// Builds a network, and waits as [`Lab::build`] does.
    ///
    /// # Errors
    /// As for [`Lab::build`].
    pub fn of(network: Network) -> Result<Self> {
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
            third: network
                .routers()
                .contains(&Router::Third)
                .then(|| namespace(Router::Third.name()))
                .transpose()?,
            companions: network
                .companions()
                .iter()
                .map(|companion| Ok((*companion, namespace(companion.name)?)))
                .collect::<Result<_>>()?,
            network,
            air: namespace("air")?,
            mn: namespace("mn")?,
            directory,
            tag,
        };
        lab.prepare_stacks()?;
        lab.lay_links()?;
        lab.configure_hosts()?;
        for node in lab.nodes() {
            configure_router(&node)?;
        }
        lab.radvd = (lab.nodes())
            .map(|node| lab.advertise(&node))
            .collect::<Result<_>>()?;
        lab.first_attach()?;
        Ok(lab)
    }

    /// Adds a node with `address`, in the routers' /64, to the link of an access point. It is there until
    /// the value is dropped, and answers neighbor solicitations for its address.
    ///
    /// # Errors
    /// If the lab has such a node already.
    pub fn add_node(&self, access_point: AccessPoint, address: Ipv6Addr) -> Result<NetNs> {
        let node = NetNs::create(&namespace_name(&self.tag, "other"))?;
        node.sysctl("ipv6/conf/default/accept_dad", 0)?;
        node.sysctl("ipv6/conf/default/dad_transmits", 0)?;
        node.sysctl("ipv6/conf/default/accept_ra", 0)?;
        node.ip(&format!(
            "link add eth0 index 51 address 02:00:00:00:00:99 {QUEUES} \
             type veth peer name other-air {QUEUES} netns {}",
            self.air.name()
        ))?;
        self.air.ip_batch(&format!(
            "link set other-air master {}\n\
             link set other-air up\n",
            access_point.bridge()
        ))?;
        node.ip_batch(&format!(
            "addr add {address}/64 dev eth0\n\
             link set eth0 up\n"
        ))?;
        wait_until("the other node's link to come up", SOON, || {
            let port = &self.air.ip_json("-details link show other-air")?[0];
            let forwards = port["linkinfo"]["info_slave_data"]["state"] == "forwarding";
            Ok(forwards.then_some(()))
        })?;
        Ok(node)
    }

    /// All routers at the edge.
    fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        let speakers = self.routers().map(|(router, namespace)| Node {
            name: router.name(),
            number: router.number(),
            address: router.address(),
            lla: router.lla(),
            link: router,
            namespace,
        });
        let companions = self.companions.iter();
        speakers.chain(companions.map(|(companion, namespace)| Node {
            name: companion.name,
            number: companion.number,
            address: companion.address(),
            lla: companion.lla,
            link: companion.beside,
            namespace,
        }))
    }

    fn prepare_stacks(&self) -> Result<()> {
        let routers: Vec<&NetNs> = self.nodes().map(|node| node.namespace).collect();
        for router in routers.iter().chain(&[&self.core]) {
            router.sysctl("ipv6/conf/all/forwarding", 1)?;
        }
        // Addresses given by hand are usable at once: setting up needs no waiting.
        for namespace in routers.iter().chain(&[&self.core, &self.cn]) {
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
        let mut indexes = FIRST_INDEX..;
        let mut next_index = || indexes.next().expect("there are enough indexes");
        let mut lay = |near: End<'_>, near_index: u32, far: End<'_>| -> Result<()> {
            near.namespace.ip(&format!(
                "link add {} index {near_index} address {} {QUEUES} \
                 type veth peer name {} index {} address {} {QUEUES} netns {}",
                near.name,
                near.lla,
                far.name,
                next_index(),
                far.lla,
                far.namespace.name()
            ))?;
            for end in [near, far] {
                end.namespace.prepare_for_xdp(end.name)?;
            }
            Ok(())
        };
        // The near ends come from below the far ends' numbers, and from above them.
        let mut near_indexes = (11..MN_WLAN).chain(MORE_INDEXES..);
        let mut near_index = || near_indexes.next().expect("there are enough indexes");
        lay(
            End::new(&self.cn, "eth0", "02:00:00:00:0c:02"),
            near_index(),
            End::new(&self.core, "cn0", "02:00:00:00:0c:01"),
        )?;
        lay(
            End::new(&self.mn, WLAN, MN_LLA),
            MN_WLAN,
            End::new(&self.air, "radio", "02:00:00:00:a0:01"),
        )?;
        self.air.tc(RADIO_QUEUE)?;
        for node in self.nodes() {
            let (name, number) = (node.name, node.number);
            lay(
                End::new(
                    node.namespace,
                    CORE_INTERFACE,
                    &format!("02:00:00:00:f{number}:02"),
                ),
                near_index(),
                End::new(
                    &self.core,
                    &format!("{name}0"),
                    &format!("02:00:00:00:f{number}:01"),
                ),
            )?;
            lay(
                End::new(node.namespace, ACCESS_INTERFACE, node.lla),
                near_index(),
                End::new(
                    &self.air,
                    &format!("{name}-air"),
                    &format!("02:00:00:00:a{number}:01"),
                ),
            )?;
        }
        let mut air = String::new();
        for (router, _) in self.routers() {
            let access_points = self.network.access_points(router);
            for access_point in access_points {
                air += &bridge(*access_point);
            }
            let (first, others) = access_points.split_first().expect("every link has one");
            let mut join = |port: &str, access_point: AccessPoint| {
                let bridge = access_point.bridge();
                air += &format!("link set {port} master {bridge}\nlink set {port} up\n");
            };
            for node in self.nodes().filter(|node| node.link == router) {
                join(&format!("{}-air", node.name), *first);
            }
            // A wire from each of the others to the first.
            for other in others {
                let name = other.bridge().trim_start_matches("br-");
                let ends = [name.to_owned(), format!("{name}-wire")];
                self.air.ip(&format!(
                    "link add {} {QUEUES} type veth peer name {} {QUEUES}",
                    ends[0], ends[1]
                ))?;
                for port in &ends {
                    self.air.prepare_for_xdp(port)?;
                }
                join(&ends[0], *other);
                join(&ends[1], *first);
            }
        }
        self.air.ip_batch(&air)
    }

    fn configure_hosts(&self) -> Result<()> {
        self.cn.ip_batch(&format!(
            "addr add {CN}/64 dev eth0\n\
             link set eth0 up\n\
             route add default via 2001:db8:c::1\n"
        ))?;
        let mut core = "addr add 2001:db8:c::1/64 dev cn0\n\
                        link set cn0 up\n"
            .to_owned();
        for node in self.nodes() {
            let (name, number) = (node.name, node.number);
            core += &format!(
                "addr add 2001:db8:f{number}::1/64 dev {name}0\n\
                 link set {name}0 up\n"
            );
        }
        // Of the routers of a link, one is the way to it.
        for (router, _) in self.routers() {
            let (number, prefix) = (router.number(), router.prefix());
            core += &format!("route add {prefix} via 2001:db8:f{number}::2\n");
        }
        self.core.ip_batch(&core)
    }

    fn advertise(&self, node: &Node<'_>) -> Result<Process> {
        let (name, prefix) = (node.name, node.link.prefix());
        let file = |extension: &str| {
            self.directory
                .path
                .join(format!("{name}-radvd.{extension}"))
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
        let log = file("log");
        Process::start(node.namespace, &format!("radvd of {name}"), command, log)
    }

    /// Brings the mobile node up at the previous access point, with its address.
    fn first_attach(&mut self) -> Result<()> {
        self.mn.ip(&format!("link set {WLAN} up"))?;
        self.attach(self.network.start())?;
        self.first_address()
    }

    /// Makes the mobile node's interface one whose driver takes no redirected frames, as none of 802.11 does: a
    /// bridge, with the end of the wire as its port.
    pub fn make_mobile_node_plain(&mut self) -> Result<()> {
        const PORT: &str = "port0";
        self.mn.ip(&format!("link set {WLAN} down"))?;
        self.mn.ip(&format!("addr flush dev {WLAN}"))?;
        self.mn.ip(&format!("link set {WLAN} name {PORT}"))?;
        self.mn
            .sysctl(&format!("ipv6/conf/{PORT}/disable_ipv6"), 1)?;
        self.mn.ip(&format!(
            "link add {WLAN} address {MN_LLA} type bridge \
             stp_state 0 forward_delay 0 mcast_snooping 0"
        ))?;
        self.mn.ip(&format!("link set {PORT} master {WLAN}"))?;
        self.mn.ip(&format!("link set {PORT} up"))?;
        self.mn.ip(&format!("link set {WLAN} up"))?;
        self.attach(AccessPoint::Previous)?;
        self.first_address()
    }

    /// Waits for the mobile node's address on the link that it is on, the previous router's.
    pub(crate) fn first_address(&mut self) -> Result<()> {
        let mut asked: Option<Instant> = None;
        wait_until("the mobile node's first address", SOON, || {
            for process in &mut self.radvd {
                process.check_running()?;
            }
            // The kernel's own solicitation may have come before radvd was there to hear it. It fails as long as
            // the kernel has not given the interface its link-local address.
            if asked.is_none_or(|at| at.elapsed() > Duration::from_millis(500))
                && self.solicit_routers().is_ok()
            {
                asked = Some(Instant::now());
            }
            Ok(self.mn_addresses()?.contains(&PCOA).then_some(()))
        })?;
        // From now on as everywhere: an address that comes later is checked for duplicates first.
        self.mn
            .sysctl(&format!("ipv6/conf/{WLAN}/dad_transmits"), 1)
    }
}

/// An access point without ports.
fn bridge(access_point: AccessPoint) -> String {
    let name = access_point.bridge();
    // A bridge with the address of its router would keep the frames that are for that one.
    let address = match access_point {
        AccessPoint::Integrated(_) => String::new(),
        _ => format!("address {access_point}"),
    };
    format!(
        "link add {name} {address} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
         link set {name} up\n"
    )
}

fn configure_router(node: &Node<'_>) -> Result<()> {
    let (number, address, prefix) = (node.number, node.address, node.link.prefix());
    // The two rules are the ingress filter of every ordinary network (BCP 38): the access link
    // sends nothing on with a source address from elsewhere. Without it the plain move would
    // look better than it is, as the node's old address still got out at the new router.
    node.namespace.ip_batch(&format!(
        "addr add 2001:db8:f{number}::2/64 dev {CORE_INTERFACE}\n\
         addr add {address}/64 dev {ACCESS_INTERFACE}\n\
         link set {CORE_INTERFACE} up\n\
         link set {ACCESS_INTERFACE} up\n\
         route add default via 2001:db8:f{number}::1\n\
         rule add pref 100 iif {ACCESS_INTERFACE} from {prefix} lookup main\n\
         rule add pref 101 iif {ACCESS_INTERFACE} blackhole\n"
    ))
}
