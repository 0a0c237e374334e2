//! From the configuration to a controller that runs: checks, loads, attaches.

use std::path::Path;

use anyhow::{Context as _, Result};
use aya::programs::TcAttachType;
use aya_log::EbpfLogger;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};
use tracing::info;

use super::{
    check,
    controller::{Controller, Sources},
    drain::{Drain, Pace, Report},
    execute::Executor,
    hurry::hurry,
    load::{DRAIN, MOBILE_IN, MOBILE_OUT, Programs, ROUTER},
    machine::Machine,
    maps::{BufferLimits, DrainMaps, Maps, signal_ring},
    netlink::Netlink,
    requests::Requests,
    sequences::Sequences,
    signals::Signals,
    transmit::Transmitter,
};
use crate::config::{self, Config, Role};

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
    let mut machine = Machine::new(&config, &interfaces, record)?;
    netlink.remove_leftovers(&interfaces).await?;
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
    let executor = Executor::new(loaded.maps, loaded.drain, netlink, sequences, interfaces);
    let sources = Sources {
        signals: loaded.signals,
        reports: loaded.reports,
        requests,
    };
    Controller::new(file, config, machine, executor, loaded.transmitter)
        .run(sources)
        .await
}

/// What is loaded, ready to be driven.
struct Loaded {
    maps: Maps,
    drain: Drain,
    reports: UnboundedReceiver<Report>,
    signals: Signals,
    transmitter: Transmitter,
}

async fn load(
    config: &Config,
    interfaces: &[config::Interface],
    netlink: &mut Netlink,
) -> Result<Loaded> {
    let transmitter = Transmitter::new()?;
    let buffer = &config.buffer;
    let mut programs = Programs::load(buffer.packets)?;
    forward_logs(&mut programs)?;
    let mut maps = Maps::new(programs.ebpf(), buffer.packets, BufferLimits::from(buffer))?;
    for interface in interfaces {
        maps.add_interface(interface.index, interface.mtu)?;
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
    let signals = Signals::new(signal_ring(programs.ebpf())?)?;
    for interface in interfaces {
        match config.role {
            Role::AccessRouter(_) => programs.attach_xdp(ROUTER, &interface.name)?,
            Role::MobileNode(_) => {
                programs.attach_classifier(MOBILE_IN, &interface.name, TcAttachType::Ingress)?;
                programs.attach_classifier(MOBILE_OUT, &interface.name, TcAttachType::Egress)?;
            }
        }
        info!(interface = interface.name, "attached");
    }
    let pace = match buffer.drain {
        config::Drain::Burst => Pace::Burst,
        config::Drain::Paced => Pace::Metered {
            catch_up: buffer.catch_up,
        },
    };
    let (sender, reports) = unbounded_channel();
    Ok(Loaded {
        maps,
        drain: Drain::start(programs, drain_maps, pace, sender)?,
        reports,
        signals,
        transmitter,
    })
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
