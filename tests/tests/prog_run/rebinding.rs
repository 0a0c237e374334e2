//! Bindings that change while packets meet them: an element of the kernel's hash map is given to another
//! key at once, whoever still reads it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use fmip_ctl::io::load::ROUTER;

use crate::{
    bench::{address::*, later, on_bench},
    packets::Packet,
};

const PACKETS: u32 = 200_000;
const XDP_PASS: u32 = 2;

/// Two nodes' bindings are renewed again and again; no packet to one goes to the other.
#[test]
fn a_binding_that_is_renewed_never_lends_its_place_to_another() {
    on_bench(|bench| {
        let other_ncoa = CN;
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        bench.maps.install_tunnel(OTHER, other_ncoa, PAR, later())?;
        bench.programs.load_programs(&[ROUTER])?;
        let ebpf = &*bench.programs.ebpf();
        let router: &Xdp = ebpf.program(ROUTER).context("no router")?.try_into()?;
        let maps = &mut bench.maps;
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let feeder = scope.spawn(|| {
                let result = feed(router);
                ended.store(true, Ordering::Relaxed);
                result
            });
            while !ended.load(Ordering::Relaxed) {
                maps.set_expiry(PCOA, later())?;
                maps.set_expiry(OTHER, later())?;
            }
            feeder.join().expect("no panic inside")
        })
    });
}

fn feed(router: &Xdp) -> Result<()> {
    let frame = Packet::udp(CN, PCOA, 100).octets();
    let mut out = [0; 4096];
    for number in 0..PACKETS {
        let result = router.test_run(TestRunOptions {
            data_in: Some(&frame),
            data_out: Some(&mut out),
            ..TestRunOptions::new()
        })?;
        let packet = Packet::read(&out[..result.data_size_out as usize]);
        ensure!(
            result.return_value == XDP_PASS && packet.destination == NCOA,
            "packet {number} left as {packet:?}"
        );
    }
    Ok(())
}
