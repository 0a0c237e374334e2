//! The interface under the emulated air of 802.16e comes and goes.

use std::io;

use anyhow::{Context as _, Result, ensure};
use fmip_ctl::{link::ieee80216e::air::Air, wire::MacAddr};
use fmip_tests::{netns::NetNs, testing, wait::SOON};
use rustix::io::Errno;
use tokio::time::timeout;

const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);

/// Opens the air, and hears that what it stands on goes away while `goes` is done.
fn open_until(air: &NetNs, goes: &str) -> Result<()> {
    air.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let opened = Air::open("wlan0", STATION).context("it is up")?;
            air.ip(goes)?;
            let lost = timeout(SOON, opened.receive())
                .await
                .with_context(|| format!("{goes}: nothing is heard of it"))?;
            ensure!(is(&lost, Errno::NETDOWN), "{goes}: {lost:?}");
            let again = Air::open("wlan0", STATION).map(drop);
            ensure!(
                is(&again, Errno::NETDOWN) || is(&again, Errno::NODEV),
                "{goes}: {again:?}"
            );
            Ok(())
        })
    })
}

fn is<T>(result: &io::Result<T>, errno: Errno) -> bool {
    result
        .as_ref()
        .is_err_and(|error| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[test]
fn it_cannot_be_opened_at_an_interface_that_is_down_and_can_when_that_is_made_anew() {
    let Some(_turn) = testing::turn() else { return };
    let air = NetNs::create(&format!("fmip-{}-air", std::process::id())).unwrap();
    let added = "link add wlan0 up type veth peer name far";
    air.ip(added).unwrap();
    open_until(&air, "link set wlan0 down").unwrap();
    air.ip("link set wlan0 up").unwrap();
    open_until(&air, "link delete wlan0").unwrap();
    // Not by the index that it had.
    air.ip(added).unwrap();
    open_until(&air, "link delete wlan0").unwrap();
}
