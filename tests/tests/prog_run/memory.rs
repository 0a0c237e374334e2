//! What the controller says that its maps take of the kernel's memory is what the kernel says.

use std::{
    collections::BTreeSet,
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
};

use anyhow::{Context as _, Result};
use aya::{maps::MapInfo, programs::Program};
use fmip_ctl::io::{
    load::{Programs, Shape},
    pool::Room,
};

use crate::bench::in_namespace;

/// Octets of all maps that the loaded programs use, as the kernel counts them.
fn counted_by_the_kernel(programs: &mut Programs) -> Result<u64> {
    let mut ids = BTreeSet::new();
    for (name, program) in programs.ebpf().programs() {
        let info = match program {
            Program::Xdp(program) => program.info(),
            Program::SchedClassifier(program) => program.info(),
            // Those only listen, with no map of any size.
            _ => continue,
        };
        let info = info.with_context(|| format!("{name} is not loaded"))?;
        ids.extend(info.map_ids()?.context("the kernel names no maps")?);
    }
    let mut octets = 0;
    for id in ids {
        let map = MapInfo::from_id(id)?.fd()?;
        let told = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_fd().as_raw_fd()))?;
        let memory = told.lines().find_map(|line| line.strip_prefix("memlock:"));
        octets += memory
            .context("the kernel does not say what a map takes")?
            .trim()
            .parse::<u64>()?;
    }
    Ok(octets)
}

#[test]
fn the_memory_of_the_maps_is_what_the_kernel_counts() {
    in_namespace(|_| {
        for (packets, bindings) in [(64, 1_000), (8_192, 200_000)] {
            let room = Room {
                packets,
                nodes: 512,
                guaranteed: 0,
            };
            let shape = Shape::new(room, bindings, 1..=9)?;
            let computed: u64 = shape.memory()?.values().sum();
            let counted = counted_by_the_kernel(&mut Programs::load(&shape)?)?;
            // Whole pages, and what the kernel keeps about each map.
            assert!(
                computed.abs_diff(counted) * 50 < counted,
                "{computed} octets computed, {counted} counted"
            );
        }
        Ok(())
    });
}
