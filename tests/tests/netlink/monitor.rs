//! Nodes that come to an access link and leave it, as neighbor discovery sees them.

use std::time::Duration;

use fmip_ctl::{
    io::monitor::{Monitor, Watched},
    proto::StationEvent,
};
use tokio::time::timeout;

use super::*;

const NODE: &str = "2001:db8:1::ff:fe00:1";
const MAC: &str = "02:00:00:00:00:01";

fn watched(interface: u32) -> Watched {
    Watched {
        interfaces: [interface].into(),
        addresses: [address(NODE)].into(),
    }
}

/// The next event, which must come.
async fn next(monitor: &mut Monitor) -> Result<StationEvent> {
    timeout(SOON, monitor.next())
        .await
        .context("nothing is told of the neighbor")
}

fn attached(interface: u32, link_address: MacAddr) -> StationEvent {
    StationEvent::Attached {
        interface,
        address: address(NODE),
        link_address,
    }
}

fn departed(interface: u32) -> StationEvent {
    StationEvent::Departed {
        interface,
        address: address(NODE),
    }
}

impl Setup {
    fn neighbor(&self, node: &str, state: &str) -> Result<()> {
        let entry = format!("{node} lladdr {MAC} dev acc0 nud {state}");
        self.namespace
            .ip(&format!("-6 neigh replace {entry}"))
            .map(drop)
    }
}

#[test]
fn a_node_that_answers_has_come_and_one_that_does_not_has_left() {
    let Some(setup) = Setup::new() else { return };
    let setup = &setup;
    setup.run(|| async {
        let (_netlink, acc0) = connected().await?;
        setup.neighbor(NODE, "reachable")?;
        let mut monitor = Monitor::start(watched(acc0.index))?;
        // That was there before.
        let mac = link_address(MAC);
        assert_eq!(next(&mut monitor).await?, attached(acc0.index, mac));
        setup.neighbor(NODE, "failed")?;
        assert_eq!(next(&mut monitor).await?, departed(acc0.index));
        setup.neighbor(NODE, "reachable")?;
        assert_eq!(next(&mut monitor).await?, attached(acc0.index, mac));
        // Somebody without a key, and a state that says nothing; then the link goes away.
        setup.neighbor("2001:db8:1::77", "reachable")?;
        setup.neighbor("2001:db8:1::77", "failed")?;
        setup.namespace.ip("link set acc0 down")?;
        assert_eq!(next(&mut monitor).await?, departed(acc0.index));
        Ok(())
    });
}

#[test]
fn the_kernels_own_search_for_a_silent_node_tells_that_it_left() {
    let Some(setup) = Setup::new() else { return };
    let setup = &setup;
    setup.run(|| async {
        let (_netlink, acc0) = connected().await?;
        // Nobody is there: what is sent to it is asked for, three times, in vain.
        let mut monitor = Monitor::start(watched(acc0.index))?;
        setup.neighbor(NODE, "probe")?;
        assert_eq!(next(&mut monitor).await?, departed(acc0.index));
        Ok(())
    });
}

#[test]
fn other_nodes_can_be_watched_later() {
    let Some(setup) = Setup::new() else { return };
    let setup = &setup;
    setup.run(|| async {
        let (_netlink, acc0) = connected().await?;
        setup.neighbor(NODE, "reachable")?;
        let mut monitor = Monitor::start(Watched::default())?;
        let nothing = timeout(Duration::from_millis(50), monitor.next()).await;
        assert!(nothing.is_err(), "{nothing:?}");
        monitor.watch(watched(acc0.index));
        let mac = link_address(MAC);
        assert_eq!(next(&mut monitor).await?, attached(acc0.index, mac));
        Ok(())
    });
}

#[test]
fn an_overrun_of_the_socket_loses_nobody() {
    let Some(setup) = Setup::new() else { return };
    let setup = &setup;
    setup.run(|| async {
        let (_netlink, acc0) = connected().await?;
        setup.neighbor(NODE, "reachable")?;
        let mut monitor = Monitor::start(watched(acc0.index))?;
        let mac = link_address(MAC);
        assert_eq!(next(&mut monitor).await?, attached(acc0.index, mac));
        // Nobody reads the socket while this thread is busy, and its buffer holds some hundreds.
        let mut crowd = String::new();
        for number in 0..4_000 {
            crowd += &format!(
                "neigh replace 2001:db8:1::1:{number:x} lladdr {MAC} dev acc0 nud noarp\n"
            );
        }
        crowd += &format!("neigh replace {NODE} lladdr {MAC} dev acc0 nud failed\n");
        setup.namespace.ip_batch(&crowd)?;
        assert_eq!(next(&mut monitor).await?, departed(acc0.index));
        setup.neighbor(NODE, "reachable")?;
        assert_eq!(next(&mut monitor).await?, attached(acc0.index, mac));
        Ok(())
    });
}
