//! Where a mobile node is when it starts, if nobody told it: its interface has an address in the
//! prefix of a router that it has a key for, or will have.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::time::sleep;
use tracing::{info, warn};

use super::{
    addresses::AddressWatch,
    link::Link,
    netlink::Netlink,
    requests::{Request, Requests},
};
use crate::config::{Config, Interface, MobileNode};

/// How often people are told what is waited for.
const REMINDER: Duration = Duration::from_secs(5);
/// How often the kernel is asked though it told nothing: it says nothing of an interface that is set
/// up and has no address yet.
const LOOK: Duration = Duration::from_secs(1);

/// The interface, as soon as its addresses say where the node is; `None` if the wait was ended by a
/// signal.
///
/// # Errors
/// There is no such interface; there is no such address in time.
pub(super) async fn find(
    config: &Config,
    node: &MobileNode,
    netlink: &mut Netlink,
    requests: &mut Requests,
    link: &mut Link,
) -> Result<Option<Vec<Interface>>> {
    // Before the first look: what comes between the two is told.
    let mut watch = AddressWatch::start()?;
    let started = Instant::now();
    let mut reminded = None;
    loop {
        let mut interfaces = netlink.resolve(&config.interface_names()).await?;
        if node.pcoa.is_some() {
            // Who says which address it is, has it.
            return Ok(Some(interfaces));
        }
        for interface in &mut interfaces {
            let usable = netlink.usable_addresses(interface.index).await?;
            let addresses = usable.iter().map(|of| (of.address, of.prefix_length));
            interface.addresses = addresses.collect();
        }
        let error = match config.mobile_node_config(node, &interfaces) {
            Ok(found) => {
                info!(pcoa = %found.pcoa, router = %found.par, "the node is here");
                return Ok(Some(interfaces));
            }
            Err(error) => error,
        };
        let waited = started.elapsed();
        if waited >= node.start_timeout {
            bail!("{error}; waited {} s for one", waited.as_secs());
        }
        if reminded.is_none_or(|at: Instant| at.elapsed() >= REMINDER) {
            warn!(
                "{error}; waiting for one, for {} s more",
                (node.start_timeout - waited).as_secs()
            );
            reminded = Some(Instant::now());
        }
        tokio::select! {
            _ = watch.next() => {}
            never = link.listen() => match never {},
            () = sleep(LOOK.min(node.start_timeout - waited)) => {}
            request = requests.next() => if request == Request::End {
                return Ok(None);
            },
        }
    }
}
