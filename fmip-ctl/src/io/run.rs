//! From the configuration to a controller that runs: checks, loads, attaches.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result};
use aya::programs::TcAttachType;
use aya_log::EbpfLogger;
use fmip_common::{
    binding::{LOOPBACK, Tag},
    limits::MOBILE_NODE_BINDINGS,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};
use tracing::info;

use super::{
    admission::Admission,
    attach::Mode,
    check,
    controller::{Controller, Sources},
    devices::{self, Device},
    drain::{Drain, DrainMaps, Report},
    events::Events,
    execute::Executor,
    far_ends::FarEnds,
    hurry::hurry,
    link::Link,
    load::{DRAIN, MOBILE_IN, MOBILE_OUT, OF_MOBILE_NODE, OF_ROUTER, Programs, RELEASE, Shape},
    machine::Machine,
    maps::{Maps, Port},
    netlink::Netlink,
    pool::{BufferLimits, Pool, Room},
    requests::Requests,
    sequences::Sequences,
    signals::{Ring, Signals},
    transmit::Transmitter,
    watch::Watch,
    whereabouts,
};
use crate::{
    config::{self, Config, Role},
    observe::control::Directory,
};

/// The niceness of the thread that decides: before those of the machine's other business, and behind the
/// drain thread's, which is to run as soon as it is told to and not when this one sleeps.
const NICENESS: i32 = -10;

/// Loads the programs as the configuration says and runs until it is told to end; then removes all
/// that it loaded and changed. `file` is what the configuration was read from, and is read again
/// when that is asked for. All that the protocol core is told and does is recorded in a new file at
/// `record`.
///
/// # Errors
/// When a precondition is not met, an interface is not as the configuration says, or the kernel
/// refuses something. Nothing is left behind then.
pub async fn run(file: &Path, config: Config, record: Option<&Path>) -> Result<()> {
    check::preconditions()?;
    // What waits for this thread is a mobile node that has arrived.
    hurry(NICENESS);
    // Before anything is changed: who interrupts the loading gets everything undone, too.
    let requests = Requests::new()?;
    let mut netlink = Netlink::connect().await?;
    let interfaces = netlink.resolve(&config.interface_names()).await?;
    // Before the node finds out where it is: an address that a killed controller left is of no link.
    netlink.remove_leftovers(&interfaces).await?;
    // Gone when all is gone that stands in it.
    let _directory = Directory::of(&config.control_socket)?;
    // There is no address to be found on a link that is not up.
    let mut link = Link::start(&config, &interfaces)?;
    let host = Host {
        netlink,
        interfaces,
        requests,
    };
    let result = run_on(file, config, record, host, &mut link).await;
    // What the controller did not take.
    link.end().await;
    result
}

/// What there is before the node knows where it is.
struct Host {
    netlink: Netlink,
    interfaces: Vec<config::Interface>,
    requests: Requests,
}

async fn run_on(
    file: &Path,
    config: Config,
    record: Option<&Path>,
    host: Host,
    link: &mut Link,
) -> Result<()> {
    let Host {
        mut netlink,
        mut interfaces,
        mut requests,
    } = host;
    if let Role::MobileNode(node) = &config.role {
        match whereabouts::find(&config, node, &mut netlink, &mut requests, link).await? {
            Some(found) => interfaces = found,
            None => return Ok(()),
        }
    }
    let router_lla = match &config.role {
        Role::AccessRouter(_) => None,
        Role::MobileNode(node) => {
            netlink.set_route_metric(node.route_metric);
            let told = config.mobile_node_config(node, &interfaces)?;
            netlink.known_router(told.interface, told.par).await?
        }
    };
    let mut machine = Machine::new(&config, &interfaces, router_lla, record)?;
    let sequences = match &config.role {
        Role::AccessRouter(router) => {
            let keyed = router.keyed();
            let known = |address| keyed.contains(&address);
            Some(Sequences::open(&router.state_directory, known)?)
        }
        Role::MobileNode(_) => None,
    };
    for (pcoa, sequence) in sequences.iter().flat_map(Sequences::numbers) {
        machine.restore_sequence(pcoa, sequence);
    }

    let loaded = match load(&config, &interfaces, &mut netlink).await {
        Ok(loaded) => loaded,
        Err(error) => {
            netlink.clean_up().await;
            return Err(error);
        }
    };
    let _watch = loaded.watch;
    let executor = Executor::new(
        loaded.maps,
        loaded.admission,
        loaded.drain,
        netlink,
        loaded.far_ends,
        sequences,
        interfaces,
    );
    let sources = Sources {
        signals: loaded.signals,
        events: loaded.events,
        reports: loaded.reports,
        requests,
        link: std::mem::take(link),
    };
    Controller::new(
        file,
        config,
        machine,
        executor,
        loaded.transmitter,
        loaded.modes,
    )
    .run(sources)
    .await
}

/// What is loaded, ready to be driven.
struct Loaded {
    maps: Maps,
    admission: Admission,
    drain: Drain,
    reports: UnboundedReceiver<Report>,
    signals: Signals,
    events: Events,
    transmitter: Transmitter,
    far_ends: FarEnds,
    watch: Watch,
    /// How the packets of each interface are met, by its index.
    modes: BTreeMap<u32, Mode>,
}

async fn load(
    config: &Config,
    interfaces: &[config::Interface],
    netlink: &mut Netlink,
) -> Result<Loaded> {
    let transmitter = Transmitter::new()?;
    let room = Room::from(&config.buffer);
    let devices = netlink.devices(interfaces).await?;
    // What comes in on a VLAN's parent is counted for the VLAN, or together with the rest.
    let indexes = interfaces.iter().map(|interface| interface.index);
    let bindings = match &config.role {
        Role::AccessRouter(router) => router.max_bindings,
        // Its own addresses, present and past.
        Role::MobileNode(_) => MOBILE_NODE_BINDINGS,
    };
    let shape = Shape::new(room, bindings, indexes)?;
    let mut programs = Programs::open(&shape)?;
    programs.load_programs(match &config.role {
        Role::AccessRouter(_) => OF_ROUTER,
        Role::MobileNode(_) => OF_MOBILE_NODE,
    })?;
    forward_logs(&mut programs)?;
    let limits = BufferLimits::configured(config, interfaces);
    let pool = Pool::new(programs.ebpf(), room, limits)?;
    let mut maps = Maps::new(programs.ebpf(), &shape, pool)?;
    for interface in interfaces {
        let addresses = interface.addresses.iter().map(|(address, _)| *address);
        for address in addresses.chain(interface.link_local) {
            maps.add_local(address)?;
        }
    }
    if let Role::AccessRouter(router) = &config.role {
        maps.set_peers(&router.peers())?;
    }
    let parked = netlink.park().await?;
    maps.set_parked(parked.index)?;
    programs.attach_xdp(DRAIN, &parked.name)?;
    let drain_maps = DrainMaps::new(programs.ebpf())?;
    let signals = Signals::new(Ring::new(programs.ebpf())?)?;
    let names = interfaces.iter();
    let names = names.map(|interface| (interface.index, interface.name.clone()));
    let events = Events::new(programs.ebpf(), names.collect())?;
    // Before anything is attached: no message comes that is not counted in its queue.
    let mut admission = Admission::new(programs.ebpf())?;
    admission.configure(config, &interfaces.iter().collect::<Vec<_>>())?;
    let watch = Watch::start(devices.iter())?;
    let mut modes = BTreeMap::new();
    for interface in interfaces {
        programs.take_away_leftovers(&interface.name, interface.index)?;
    }
    // What a mobile node has there, whatever starts now.
    programs.take_away_leftovers("lo", LOOPBACK)?;
    match &config.role {
        Role::AccessRouter(router) => {
            for device in &devices {
                let (attach, side) = router
                    .attachment(&device.name)
                    .with_context(|| format!("{} is none of the router's", device.name))?;
                let mode = programs.attach_router(device, attach, side)?;
                maps.add_interface(device.index, device.mtu, port(device, mode))?;
                modes.insert(device.index, mode);
            }
        }
        Role::MobileNode(_) => {
            for interface in interfaces {
                let name = &interface.name;
                programs.attach_classifier(MOBILE_IN, name, TcAttachType::Ingress)?;
                programs.attach_classifier(MOBILE_OUT, name, TcAttachType::Egress)?;
                // What was held leaves by way of the loopback, whose program hands it to the kernel's ordinary
                // transmission, where what the node sends next is behind it. Redirected frames would have a
                // way of their own: drivers of 802.11 have none, those of network cards a queue beside the
                // others, and of what is in its ring at one time a veth takes in the packets of ordinary
                // transmission first.
                maps.set_release_to(interface.index, interface.link_address)?;
                programs.attach_classifier(RELEASE, "lo", TcAttachType::Ingress)?;
                maps.add_interface(interface.index, interface.mtu, Port::of(LOOPBACK))?;
                modes.insert(interface.index, Mode::Tc);
                info!(interface = name, mode = Mode::Tc.name(), "attached");
            }
        }
    }
    let (sender, reports) = unbounded_channel();
    Ok(Loaded {
        maps,
        admission,
        drain: Drain::start(programs, drain_maps, sender)?,
        reports,
        signals,
        events,
        transmitter,
        far_ends: FarEnds::new(matches!(config.role, Role::AccessRouter(_)))?,
        watch,
        modes,
    })
}

/// Where frames go that are redirected to a device.
fn port(device: &Device, mode: Mode) -> Port {
    if mode != Mode::Native {
        // Generic XDP takes no redirected frames, nor does what is no driver's.
        return Port::default();
    }
    let bottom = device.bottom().unwrap_or(device);
    let tag = |tag: Option<devices::Tag>| {
        tag.map_or(Tag::NONE, |tag| Tag::new(tag.protocol.ethertype(), tag.id))
    };
    Port {
        index: bottom.index,
        tags: device.tags.map(tag),
    }
}

/// Shows what the programs log among the controller's own lines.
fn forward_logs(programs: &mut Programs) -> Result<()> {
    let logger = EbpfLogger::init(programs.ebpf()).context("cannot read what the programs log")?;
    // SAFETY: the logger owns its ring's descriptor and gives the same one as long as it lives.
    let mut logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }
        .context("cannot watch what the programs log")?;
    tokio::spawn(async move {
        while let Ok(mut guard) = logger.readable_mut().await {
            guard.clear_ready();
            guard.get_inner_mut().flush();
        }
    });
    Ok(())
}
