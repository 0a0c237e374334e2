//! What is bound and held, as it is shown: page by page, and in the state that it is in.

use std::{collections::BTreeSet, net::Ipv6Addr};

use fmip_common::binding::NextHop;
use fmip_ctl::{io::maps::BindingStatus, observe::show::BufferState, proto::Tunnel};

use crate::{
    bench::{Bench, NEXT_HOP_MAC, OUT_MAC, address::*, in_namespace, later, on_router},
    packets::Packet,
};

/// One of many nodes.
fn node(number: u32) -> Ipv6Addr {
    let [high, low] = [(number >> 16) as u16, number as u16];
    Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, high, low)
}

#[test]
fn many_bindings_are_shown_page_by_page_each_once() {
    const NODES: u32 = 20_000;
    const PAGE: usize = 512;
    in_namespace(|_| {
        let mut bench = Bench::for_bindings(NODES)?;
        for number in 0..NODES {
            bench
                .maps
                .install_tunnel(node(number), NCOA, PAR, later())?;
        }
        // Behind all the others: who looks for it must go past them.
        let hop = NextHop::untagged(1, NEXT_HOP_MAC, OUT_MAC);
        let last = node(NODES);
        bench.maps.hold(last, hop, None, later())?;

        let mut from = Some(Ipv6Addr::UNSPECIFIED);
        let mut shown = Vec::new();
        while let Some(start) = from {
            let (page, next) = bench.maps.bindings_from(start, PAGE);
            assert!((1..=PAGE).contains(&page.len()));
            shown.extend(page.iter().map(|binding| binding.address));
            from = next;
        }
        assert!(shown.iter().copied().eq((0..=NODES).map(node)));
        assert_eq!(bench.maps.bound(), u64::from(NODES) + 1);

        let mut from = Some(Ipv6Addr::UNSPECIFIED);
        let (mut found, mut pages) = (Vec::new(), 0);
        while let Some(start) = from {
            let (page, next) = bench.maps.buffers_from(start, PAGE)?;
            found.extend(page.iter().map(|buffer| buffer.address));
            from = next;
            pages += 1;
        }
        assert_eq!(found, [last]);
        assert!((2..5).contains(&pages), "{pages} pages");
        Ok(())
    });
}

#[test]
fn a_binding_shows_where_its_packets_leave_to() {
    on_router(|bench, router| {
        let maps = &mut bench.maps;
        let (hop, tunnel) = (
            router.next_hop(),
            Tunnel {
                local: PAR,
                remote: NCOA,
            },
        );
        let shown = |maps: &fmip_ctl::io::maps::Maps, address| -> BindingStatus {
            let (mut page, _) = maps.bindings_from(address, 1);
            page.pop().expect("it is bound")
        };
        maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let binding = shown(maps, PCOA);
        assert_eq!((binding.action, binding.tunnel), ("tunnel", Some(tunnel)));
        assert_eq!((binding.next_hop, binding.buffer), (None, None));
        // As soon as the way to the tunnel's far end is known.
        maps.set_hop(NCOA, Some((hop, 1500)))?;
        assert_eq!(shown(maps, PCOA).next_hop, Some(hop));
        maps.set_hop(NCOA, None)?;
        assert_eq!(shown(maps, PCOA).next_hop, None);

        // A guest: to itself on its link, whatever tunnel it has.
        let buffer = maps.hold(OTHER, hop, Some(tunnel), later())?;
        let binding = shown(maps, OTHER);
        assert_eq!((binding.action, binding.tunnel), ("host", Some(tunnel)));
        assert_eq!(
            (binding.next_hop, binding.buffer),
            (Some(hop), Some(buffer))
        );
        Ok(())
    });
}

#[test]
fn a_buffer_shows_its_state_and_what_waits() {
    on_router(|bench, router| {
        let shown = |bench: &Bench| {
            let (page, next) = bench.maps.buffers_from(Ipv6Addr::UNSPECIFIED, 8)?;
            let [buffer] = page[..] else {
                anyhow::bail!("{} buffers", page.len());
            };
            assert_eq!(next, None);
            anyhow::Ok(buffer)
        };
        let hop = router.next_hop();
        bench.maps.copy(PCOA, hop)?;
        assert_eq!(shown(bench)?.state, BufferState::Copying);
        bench.maps.hold(PCOA, hop, None, later())?;
        let sent = Packet::udp(CN, PCOA, 100);
        bench.router_on(router.incoming, &sent.octets())?;
        let buffer = shown(bench)?;
        assert_eq!(buffer.state, BufferState::Holding);
        assert_eq!((buffer.waiting, buffer.waiting_octets), (1, 140));

        // Released, held again before it was drained, and released once more.
        let states = |bench: &mut Bench| -> anyhow::Result<Vec<BufferState>> {
            let released = bench.maps.release(PCOA, later())?;
            bench.releases(released)?;
            let draining = shown(bench)?.state;
            bench.maps.set_expiry(PCOA, later())?;
            let still = shown(bench)?.state;
            bench.maps.hold(PCOA, hop, None, later())?;
            Ok(vec![draining, still, shown(bench)?.state])
        };
        let expected = [
            BufferState::Draining,
            BufferState::Draining,
            BufferState::Holding,
        ];
        assert_eq!(states(bench)?, expected);
        let released = bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let buffer = bench.releases(released)?;
        assert_eq!(shown(bench)?.state, BufferState::Draining);
        let in_use = bench.maps.pool().buffers_in_use();
        assert_eq!((in_use, bench.maps.slots_in_use()?), (1, 1));
        assert_eq!(bench.maps.pool().shared(), 1);
        bench.drain(fmip_common::buffer::DRAIN_DISCARD, buffer, 1)?;
        bench.close(buffer)?;
        let buffer = shown(bench)?;
        assert_eq!(buffer.state, BufferState::Direct);
        assert_eq!((buffer.waiting, buffer.high_water, buffer.held), (0, 1, 1));
        let named: BTreeSet<_> = fmip_common::buffer::DROP_NAMES.into_iter().collect();
        assert_eq!(named.len(), buffer.dropped_by.len());
        let discarded = fmip_common::buffer::DROPPED_DISCARDED;
        assert_eq!(buffer.dropped_by[discarded], 1);
        assert_eq!(fmip_common::buffer::DROP_NAMES[discarded], "discarded");
        assert_eq!(bench.maps.pool().shared(), 0);
        Ok(())
    });
}
