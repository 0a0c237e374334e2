//! Interfaces of a router in one namespace, and what is at their other ends in another.

use std::{
    future::Future,
    io::Write as _,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};
use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType};
use fmip_common::table::Seed;
use fmip_ctl::{
    config::{Attach, Side},
    io::{
        attach::Mode,
        devices::Device,
        load::{Programs, Shape},
        netlink::Netlink,
        pool::Room,
    },
};
use fmip_tests::netns::NetNs;

/// The maps: none of these tests binds or holds anything.
pub(crate) const SHAPE: Shape = Shape {
    room: Room {
        packets: 8,
        nodes: 8,
        guaranteed: 0,
    },
    bindings: 64,
    highest_interface: 64,
    counters: 1,
    seed: Seed([0; 2]),
};

/// The namespaces.
pub(crate) struct Setup {
    /// That of the router.
    pub(crate) here: NetNs,
    /// That of the others.
    pub(crate) there: NetNs,
}

impl Setup {
    /// `None`, said aloud, if the rights to make namespaces are missing.
    pub(crate) fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);

        if !rustix::process::geteuid().is_root() {
            // Not by eprintln, which the test harness keeps to itself when a test passes.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: {}: BPF programs and network namespaces need root",
                std::thread::current().name().unwrap_or("a test")
            );
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let create = |end: &str| {
            let name = format!("fmip-at-{}-{number}-{end}", std::process::id());
            let namespace = NetNs::create(&name).unwrap();
            // The kernel's own packets would be counted among the tests'.
            namespace
                .sysctl("ipv6/conf/default/disable_ipv6", 1)
                .unwrap();
            namespace
        };
        Some(Self {
            here: create("here"),
            there: create("there"),
        })
    }

    /// A veth pair with both ends up, `name` here and `peer` there.
    pub(crate) fn pair(&self, name: &str, peer: &str) {
        let there = self.there.name();
        self.here
            .ip_batch(&format!(
                "link add {name} type veth peer name {peer} netns {there}\nlink set {name} up\n"
            ))
            .unwrap();
        self.there.ip(&format!("link set {peer} up")).unwrap();
    }

    /// Switches offloads of an interface of the router.
    pub(crate) fn ethtool(&self, interface: &str, switches: &[&str]) {
        Self::ethtool_in(&self.here, interface, switches);
    }

    /// Switches offloads of an interface in a namespace.
    pub(crate) fn ethtool_in(namespace: &NetNs, interface: &str, switches: &[&str]) {
        let mut command = Command::new("ethtool");
        command.args(["-K", interface]).args(switches);
        let status = namespace.run(|| Ok(command.status()?)).unwrap();
        assert!(status.success(), "ethtool -K {interface} {switches:?}");
    }

    /// Opens the object. A program is loaded when it is attached: to verify all of them would be most of
    /// a test's time.
    pub(crate) fn load(&self) -> Programs {
        self.here
            .run(|| {
                let mut programs = Programs::open(&SHAPE)?;
                programs.load_programs(&["fmip_probe"])?;
                Ok(programs)
            })
            .unwrap()
    }

    /// Lets go of the programs and of all that they are attached to. In the router's namespace, as a
    /// controller does it: without TCX they are attached by netlink, and it is asked to take them away.
    pub(crate) fn end(&self, programs: Programs) {
        self.here
            .run(|| {
                drop(programs);
                Ok(())
            })
            .unwrap();
    }

    /// What an interface is made of.
    pub(crate) fn device(&self, name: &str) -> Device {
        self.run(|| async move {
            let mut netlink = Netlink::connect().await?;
            let interfaces = netlink.resolve(&[name]).await?;
            let mut devices = netlink.devices(&interfaces).await?;
            devices.pop().context("there is no device")
        })
        .unwrap()
    }

    /// Attaches a router's programs to an interface on the core side.
    pub(crate) fn attach(
        &self,
        programs: &mut Programs,
        name: &str,
        wanted: Attach,
    ) -> Result<Mode> {
        let device = self.device(name);
        self.here
            .run(|| programs.attach_router(&device, wanted, Side::Core))
    }

    /// Why it cannot be attached so.
    pub(crate) fn refusal(&self, name: &str, wanted: Attach) -> String {
        let mut programs = self.load();
        match self.attach(&mut programs, name, wanted) {
            Ok(mode) => panic!("{name} is attached by {mode}"),
            Err(error) => format!("{error:#}"),
        }
    }

    /// The XDP program of an interface, by `ip`: how it is attached, and its name.
    pub(crate) fn xdp(&self, name: &str) -> Option<(&'static str, String)> {
        let links = self.here.ip_json(&format!("-details link show dev {name}"));
        let links = links.unwrap();
        let xdp = links[0].get("xdp")?;
        // XDP_ATTACHED_DRV, XDP_ATTACHED_SKB
        let mode = match xdp["mode"].as_u64() {
            Some(1) => "native",
            Some(2) => "generic",
            other => panic!("ip shows mode {other:?}"),
        };
        let name = xdp["prog"]["name"].as_str().unwrap_or_default();
        Some((mode, name.to_owned()))
    }

    /// Whether the kernel has TCX, as from Linux 6.6 on; else TC programs are filters.
    pub(crate) fn has_tcx(&self, name: &str) -> bool {
        self.tcx(name, TcAttachType::Ingress).is_some()
    }

    fn tcx(&self, name: &str, direction: TcAttachType) -> Option<Vec<ProgramInfo>> {
        let asked = self
            .here
            .run(|| Ok(SchedClassifier::query_tcx(name, direction)?));
        asked.ok().map(|(_, programs)| programs)
    }

    /// The TC programs of an interface in that direction, in their order.
    pub(crate) fn tc(&self, name: &str, direction: TcAttachType) -> Vec<String> {
        let Some(programs) = self.tcx(name, direction) else {
            return self.filters(name, direction);
        };
        let name = |program: &ProgramInfo| program.name_as_str().map(str::to_owned);
        programs.iter().filter_map(name).collect()
    }

    /// The BPF programs among the filters of an interface in that direction.
    pub(crate) fn filters(&self, name: &str, direction: TcAttachType) -> Vec<String> {
        let direction = match direction {
            TcAttachType::Ingress => "ingress",
            _ => "egress",
        };
        let shown = self.traffic_control(&format!("-json filter show dev {name} {direction}"));
        let filters: Vec<serde_json::Value> = serde_json::from_str(&shown).unwrap_or_default();
        let programs = filters
            .iter()
            .filter_map(|filter| filter["options"]["bpf_name"].as_str());
        programs.map(str::to_owned).collect()
    }

    /// The queueing disciplines of an interface.
    pub(crate) fn qdiscs(&self, name: &str) -> String {
        self.traffic_control(&format!("qdisc show dev {name}"))
    }

    /// What `tc` says.
    pub(crate) fn traffic_control(&self, arguments: &str) -> String {
        let mut command = Command::new("tc");
        command.args(arguments.split(' '));
        let output = self.here.run(|| Ok(command.output()?)).unwrap();
        assert!(output.status.success(), "tc {arguments}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `work` in the router's namespace, on a runtime of its own.
    pub(crate) fn run<T: Send, F: Future<Output = Result<T>>>(
        &self,
        work: impl FnOnce() -> F + Send,
    ) -> Result<T> {
        self.here.run(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(work())
        })
    }
}
