//! One version of the programs takes the place of another while packets come in.

use std::{
    net::UdpSocket,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use aya::programs::TcAttachType::{Egress, Ingress};
use fmip_ctl::{
    config::Attach,
    io::{
        attach::Mode,
        drain::Pace,
        load::{MOBILE_IN, MOBILE_OUT, Programs, ROUTER},
        maps::Maps,
        pool::{BufferLimits, Policy, Pool},
    },
};
use fmip_tests::wait::{SOON, wait_until};

use crate::setup::{SHAPE, Setup};

/// How often the programs are replaced.
const TIMES: u32 = 200;
/// Between two packets.
const INTERVAL: Duration = Duration::from_micros(100);

/// The programs and their counters.
struct Version {
    programs: Programs,
    maps: Maps,
}

impl Version {
    fn load(setup: &Setup) -> Self {
        let policy = Policy {
            pace: Pace::Burst,
            age: Duration::from_secs(1),
        };
        let mut programs = setup.load();
        let ebpf = programs.ebpf();
        let pool = Pool::new(ebpf, SHAPE.room, BufferLimits::new(1, 2_000, policy)).unwrap();
        let maps = Maps::new(ebpf, &SHAPE, pool).unwrap();
        Self { programs, maps }
    }

    /// The packets that its programs have met.
    fn met(&self) -> Result<u64> {
        let counts = self.maps.counts()?.into_iter();
        Ok(counts.map(|(_, count)| count.packets).sum())
    }
}

/// Tells the sender to end when it is dropped.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends packets to the program that `attach` attaches to `core0` while it is replaced again and again:
/// each must meet the one version or the other.
fn every_packet_meets_a_program(
    setup: &Setup,
    attach: impl Fn(&mut Programs) -> Result<()> + Sync,
) {
    setup.pair("core0", "far0");
    setup.there.prepare_for_xdp("far0").unwrap();
    let device = setup.device("core0");
    let address = device.link_address.unwrap();
    for line in [
        "address add 192.0.2.1/24 dev far0".to_owned(),
        format!("neighbor add 192.0.2.2 lladdr {address} dev far0 nud permanent"),
    ] {
        setup.there.ip(&line).unwrap();
    }
    let mut one = Version::load(setup);
    let mut other = Version::load(setup);
    setup.here.run(|| attach(&mut one.programs)).unwrap();
    let socket = setup
        .there
        .run(|| Ok(UdpSocket::bind("192.0.2.1:0")?))
        .unwrap();
    // What found no room in the ring of the link, when this machine had no time to empty it.
    let dropped = || -> Result<u64> {
        let links = setup.there.ip_json("-s link show dev far0")?;
        let dropped = links[0]["stats64"]["tx"]["dropped"].as_u64();
        dropped.context("ip shows no packets that were dropped")
    };
    // From here on nothing else is sent to it.
    let before = one.met().unwrap() + other.met().unwrap() + dropped().unwrap();
    let done = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0_u64;
            while !done.load(Ordering::Relaxed) {
                socket.send_to(b"fmip", "192.0.2.2:9")?;
                sent += 1;
                thread::sleep(INTERVAL);
            }
            Ok::<_, std::io::Error>(sent)
        });
        // Whatever becomes of this thread, the sender ends.
        let end = End(&done);
        let replaced = (0..TIMES).try_for_each(|_| {
            let met = one.met()? + other.met()?;
            // In the namespace, as all that goes by netlink.
            (setup.here).run(|| other.programs.take_over(&mut one.programs))?;
            std::mem::swap(&mut one, &mut other);
            // Each of them meets some.
            wait_until("a packet", SOON, || {
                Ok((one.met()? + other.met()? > met).then_some(()))
            })
        });
        drop(end);
        let sent = sender.join().expect("the sender does not panic");
        replaced.unwrap();
        sent.unwrap()
    });
    assert!(sent >= TIMES.into());
    let accounted_for = || anyhow::Ok(one.met()? + other.met()? + dropped()? - before);
    wait_until("the last packet", SOON, || {
        Ok((accounted_for()? >= sent).then_some(()))
    })
    .with_context(|| {
        let accounted_for = accounted_for().unwrap();
        format!("{accounted_for} of {sent} packets met a program, or no room in the ring")
    })
    .unwrap();
    assert_eq!(accounted_for().unwrap(), sent);
    assert!(one.met().unwrap() > 0 && other.met().unwrap() > 0);
}

#[test]
fn no_packet_is_missed_when_a_native_program_is_replaced() {
    let Some(setup) = Setup::new() else { return };
    every_packet_meets_a_program(&setup, |programs| programs.attach_xdp(ROUTER, "core0"));
}

#[test]
fn no_packet_is_missed_when_a_tc_program_is_replaced() {
    let Some(setup) = Setup::new() else { return };
    every_packet_meets_a_program(&setup, |programs| {
        programs.attach_classifier(MOBILE_IN, "core0", Ingress)
    });
}

#[test]
fn all_attachments_are_taken_over_and_outlive_the_old_programs() {
    let Some(setup) = Setup::new() else { return };
    setup.pair("core0", "far0");
    setup.pair("core1", "far1");
    setup.there.prepare_for_xdp("far0").unwrap();
    let mut old = setup.load();
    let mode = setup.attach(&mut old, "core0", Attach::Auto).unwrap();
    assert_eq!(mode, Mode::Native);
    let mode = setup.attach(&mut old, "core1", Attach::Auto).unwrap();
    assert_eq!(mode, Mode::Tc);
    (setup.here)
        .run(|| old.attach_classifier(MOBILE_OUT, "core1", Egress))
        .unwrap();
    let number = |setup: &Setup| setup.device("core0").xdp.unwrap();
    let before = number(&setup);
    let mut new = setup.load();
    setup.here.run(|| new.take_over(&mut old)).unwrap();
    assert_ne!(number(&setup), before);
    setup.end(old);
    assert_eq!(
        setup.xdp("core0"),
        Some(("native", "fmip_router".to_owned()))
    );
    assert_eq!(setup.tc("core1", Ingress), ["fmip_router_in"]);
    assert_eq!(setup.tc("core1", Egress), ["fmip_mobile_out"]);
    setup.end(new);
    assert_eq!(setup.xdp("core0"), None);
    assert!(setup.tc("core1", Ingress).is_empty());
    assert!(setup.tc("core1", Egress).is_empty());
}
