//! Whether what became of a packet is one of the things that may become of it, whatever the packet.
//!
//! Written from the RFCs, over octets, and sharing nothing with the programs: a packet passes as it came; or
//! ends under a reason; or leaves as tunnel, buffer, delivery or error make it. One reason ends it, with its
//! octets; no slot is lost, and another node's buffer stays what it was.

use std::net::Ipv6Addr;

use anyhow::{Context as _, Result, bail, ensure};
use fmip_common::{buffer::CLOSED, reason::Reason};

use crate::{
    bench::{Bench, NEXT_HOP_MAC, OUT_MAC, Program, Ran, Verdict},
    corpus::{BYSTANDER, MOBILITY, World, network_layer},
    packets::{ICMPV6, IPV6, IPV6_IN_IPV6, Packet},
};

const HOP_LIMIT: usize = 7;

/// An IPv6 packet, as long as its frame: there may be something behind it.
type Octets<'a> = &'a [u8];

impl World {
    /// Judges one run.
    pub(crate) fn judge(&self, bench: &mut Bench, sent: &[u8], ran: &Ran) -> Result<()> {
        let Some(reason) = end(sent, ran)? else {
            ensure!(
                self.program == Program::RouterOut && is_signalling(sent),
                "nothing was counted"
            );
            ensure!(
                ran.verdict == Verdict::Pass && ran.frame == sent,
                "not counted, and changed"
            );
            return self.books(bench);
        };
        ensure!(
            verdicts(self.program, reason).contains(&ran.verdict),
            "{:?} is no verdict for {reason:?}",
            ran.verdict
        );
        self.contents(bench, reason, sent, ran)
            .with_context(|| format!("counted as {reason:?}"))?;
        self.books(bench)
    }

    /// Whether the packet is what its reason says.
    fn contents(&self, bench: &Bench, reason: Reason, sent: &[u8], ran: &Ran) -> Result<()> {
        use Reason as R;
        if reason == R::Held {
            return self.is_held(bench, sent);
        }
        if ran.verdict == Verdict::Drop {
            return Ok(());
        }
        if ran.frame == sent {
            ensure!(
                !matches!(
                    reason,
                    R::Tunnelled
                        | R::TunnelledByKernel
                        | R::Untunnelled
                        | R::UntunnelledByKernel
                        | R::Delivered
                        | R::MobileSent
                        | R::MobileTunnelled
                        | R::MobileUntunnelled
                        | R::TooBigSent
                ),
                "the packet is as it was"
            );
            return Ok(());
        }
        let at = network_layer(sent).context("what is no IPv6 was changed")?;
        let (link, sent) = sent.split_at(at);
        let at = network_layer(&ran.frame).context("what came out is no IPv6")?;
        let (got_link, got) = ran.frame.split_at(at);
        let forms = Forms::of(sent);
        let fits = match reason {
            // Out of a tunnel, and then left alone.
            R::HopLimit | R::LinkScope | R::Expired | R::DeliveredByKernel => {
                forms.opened.iter().any(|form| form == got)
            }
            R::UntunnelledByKernel | R::MobileUntunnelled => {
                forms.opened.iter().any(|form| form == got)
            }
            R::Untunnelled => forms.opened.iter().any(|form| self.forwarded(form, got)),
            R::Delivered => forms.all(sent).any(|form| self.forwarded(form, got)),
            R::Tunnelled | R::TunnelledByKernel => self.is_tunnelled(&forms, sent, got)?,
            R::MobileSent => sent == got,
            R::MobileTunnelled => self.is_mobile_tunnelled(sent, got)?,
            R::TooBigSent => {
                let back = [&link[6..12], &link[..6], &link[12..]].concat();
                ensure!(got_link == back, "not back to where it came from");
                return forms
                    .all(sent)
                    .map(|form| self.is_error(form, got))
                    .reduce(|a, b| a.or(b))
                    .expect("the packet itself at least");
            }
            _ => bail!("the packet was changed"),
        };
        ensure!(fits, "the packet does not follow from what was sent");
        let stays = matches!(
            reason,
            R::HopLimit
                | R::LinkScope
                | R::Expired
                | R::DeliveredByKernel
                | R::TunnelledByKernel
                | R::UntunnelledByKernel
                | R::MobileUntunnelled
        );
        // No next hop of the corpus is on a VLAN.
        let untagged = [&NEXT_HOP_MAC[..], &OUT_MAC, &[0x86, 0xdd]].concat();
        let expected = if stays { link } else { &untagged };
        ensure!(got_link == expected, "the link header is {got_link:02x?}");
        Ok(())
    }

    /// Router: from a form of the packet that may be forwarded, into the tunnel of its destination, or of its
    /// source.
    fn is_tunnelled(&self, forms: &Forms, sent: Octets<'_>, got: Octets<'_>) -> Result<bool> {
        let inner = self.is_in_tunnel(got)?;
        Ok(forms.all(sent).any(|form| self.forwarded(form, inner)))
    }

    /// Mobile node: in one or two tunnels, and otherwise as it was sent.
    fn is_mobile_tunnelled(&self, sent: Octets<'_>, got: Octets<'_>) -> Result<bool> {
        let inner = self.is_in_tunnel(got)?;
        Ok(inner == sent || (got.len() > sent.len() + IPV6 && self.is_in_tunnel(inner)? == sent))
    }

    /// Checks the outer header (RFC 2473 section 3.1, RFC 6040 section 4.1); what is in the tunnel.
    fn is_in_tunnel<'a>(&self, got: Octets<'a>) -> Result<Octets<'a>> {
        ensure!(got.len() >= 2 * IPV6, "too short for a tunnel");
        let (outer, inner) = got.split_at(IPV6);
        ensure!(outer[0] >> 4 == 6, "the outer version");
        ensure!(outer[6] == IPV6_IN_IPV6, "the outer next header");
        ensure!(outer[HOP_LIMIT] == 64, "the outer hop limit");
        ensure!(
            usize::from(payload(outer)) == usize::from(payload(inner)) + IPV6,
            "the outer payload length"
        );
        ensure!(class(outer) == class(inner), "the outer traffic class");
        ensure!(
            flow(inner) == 0 || flow(outer) == flow(inner),
            "the outer flow label"
        );
        let bound = [destination(inner), source(inner)];
        ensure!(
            self.tunnels.iter().any(|(address, tunnel)| {
                bound.contains(address)
                    && (source(outer), destination(outer)) == (tunnel.local, tunnel.remote)
            }),
            "from {} to {} is not the tunnel of {bound:?}",
            source(outer),
            destination(outer)
        );
        Ok(inner)
    }

    /// RFC 4443 sections 2.4 and 3.2.
    fn is_error(&self, original: Octets<'_>, got: Octets<'_>) -> Result<()> {
        let mut frame = vec![0; 12];
        frame.extend([0x86, 0xdd]);
        frame.extend_from_slice(got);
        let answer = Packet::read(&frame);
        ensure!(
            (answer.next_header, &answer.payload[..2]) == (ICMPV6, &[2, 0][..]),
            "no Packet Too Big"
        );
        ensure!(got.len() == 1280, "{} octets", got.len());
        ensure!(answer.checksum() == 0, "the checksum");
        ensure!(answer.destination == source(original), "not to the source");
        ensure!(
            !answer.destination.is_multicast() && !answer.destination.is_unspecified(),
            "to what is no single node"
        );
        ensure!(
            self.tunnels
                .iter()
                .any(|(_, tunnel)| tunnel.local == answer.source),
            "from what is not the router's"
        );
        let mtu = u32::from_be_bytes(answer.payload[4..8].try_into()?);
        ensure!(mtu >= 1280, "an MTU of {mtu}");
        ensure!(
            u32::from(payload(original)) + IPV6 as u32 > mtu,
            "it would have fitted"
        );
        let quoted = &answer.payload[8..];
        ensure!(original.starts_with(quoted), "it quotes something else");
        let is_error = original[6] == ICMPV6 && original.get(IPV6).is_some_and(|kind| *kind < 128);
        ensure!(!is_error, "an error about an error");
        Ok(())
    }

    /// The newest slot of one of the open buffers follows from the packet.
    fn is_held(&self, bench: &Bench, sent: &[u8]) -> Result<()> {
        let at = network_layer(sent).context("what is no IPv6 was held")?;
        let sent = &sent[at..];
        let forms = Forms::of(sent);
        let mut newest = Vec::new();
        for &buffer in &self.open {
            let buffer = bench.buffer(buffer)?;
            newest.extend([buffer.tail, buffer.priority]);
        }
        if let Some(slot) = newest.into_iter().find(|&slot| slot < CLOSED) {
            let frame = bench.slot(slot)?;
            let held = &frame[network_layer(&frame).context("what is held is no IPv6")?..];
            return match self.program {
                // The kernel has taken its hop, or there is none to be taken of what this node sends. What its
                // interface would have computed is computed.
                Program::MobileOut | Program::RouterOut | Program::RouterForward => {
                    let sent = whole(sent);
                    ensure!(held.len() == sent.len(), "it is not as long");
                    let differs = held.iter().zip(sent).filter(|(a, b)| a != b).count();
                    ensure!(differs <= 2, "{differs} octets differ");
                    Ok(())
                }
                _ => {
                    let fits = forms
                        .all(sent)
                        .any(|form| self.forwarded(whole(form), held));
                    ensure!(fits, "what is held is {held:02x?}");
                    Ok(())
                }
            };
        }
        bail!("no buffer holds it")
    }

    /// Whether it is the packet, forwarded: one hop on (RFC 8200 section 3), if that is not done yet.
    fn forwarded(&self, packet: Octets<'_>, got: Octets<'_>) -> bool {
        let hops = u8::from(!self.program.is_router_out());
        packet.len() >= IPV6 && packet[HOP_LIMIT] > hops && {
            let mut expected = packet.to_vec();
            expected[HOP_LIMIT] -= hops;
            expected == got
        }
    }

    /// The bystander's packet is where it was, and every slot in use is in a queue.
    fn books(&self, bench: &Bench) -> Result<()> {
        let bystander = bench.buffer(self.bystander)?;
        ensure!(
            (
                bystander.waiting,
                bystander.held,
                bystander.tail,
                bystander.dropped
            ) == (1, 1, 0, 0),
            "the bystander's buffer was touched: {bystander:?}"
        );
        let packet = Packet::read(&bench.slot(0)?);
        ensure!(
            packet.number() == 1 && [packet.source, packet.destination].contains(&BYSTANDER),
            "the bystander's packet was touched: {packet:?}"
        );
        let mut waiting = 1;
        for &buffer in &self.open {
            waiting += bench.buffer(buffer)?.waiting;
        }
        let used = bench.maps.slots_in_use()?;
        ensure!(used == waiting, "{used} slots for {waiting} packets");
        Ok(())
    }
}

/// Whether a router that sends it means it for another, or for a mobile node: messages of RFC 5568.
fn is_signalling(sent: &[u8]) -> bool {
    network_layer(sent).is_some_and(|at| {
        let octet = |offset: usize| sent.get(at + offset).copied().unwrap_or(0);
        match octet(6) {
            MOBILITY => octet(IPV6 + 2) >= 7,
            ICMPV6 => octet(IPV6) == 154,
            _ => false,
        }
    })
}

/// The one reason that ended the packet, if any was counted; those beside it must belong to it.
fn end(sent: &[u8], ran: &Ran) -> Result<Option<Reason>> {
    let octets = sent.len() as u64;
    let mut ends = Vec::new();
    for &(reason, packets, bytes) in &ran.moved {
        ensure!(packets == 1, "{packets} times {reason:?}");
        match reason {
            // Of the copy, whose packet may have come out of a tunnel.
            Reason::Copied | Reason::CopyRefused => {
                ensure!(octets >= bytes, "{bytes} octets of {octets} copied");
            }
            // Of the packet, when the answer to it is the end.
            Reason::TooBig if counted(ran, Reason::TooBigSent) => {}
            // Never of one packet alone on a quiet machine.
            Reason::SlotLost | Reason::Contended => bail!("{reason:?}"),
            _ => {
                ensure!(bytes == octets, "{bytes} octets of {octets} as {reason:?}");
                ends.push(reason);
            }
        }
    }
    match ends[..] {
        [reason] => Ok(Some(reason)),
        [] if ran.moved.is_empty() => Ok(None),
        _ => bail!("ended {} times: {:?}", ends.len(), ran.moved),
    }
}

fn counted(ran: &Ran, reason: Reason) -> bool {
    ran.moved.iter().any(|moved| moved.0 == reason)
}

/// The verdicts that a reason may come with.
fn verdicts(program: Program, reason: Reason) -> &'static [Verdict] {
    use Reason as R;
    use Verdict::{Drop, Pass, Redirect, Reply};
    match reason {
        R::NotIpv6
        | R::NoBinding
        | R::Expired
        | R::HopLimit
        | R::Malformed
        | R::LinkScope
        | R::OtherVlan
        | R::DeliveredByKernel
        | R::SignalCopied
        | R::TunnelledByKernel
        | R::UntunnelledByKernel
        | R::MobileTunnelled
        | R::MobileUntunnelled
        | R::MobileSent => &[Pass],
        R::Spoofed
        | R::TooBig
        | R::Nested
        | R::NodeFull
        | R::NodeOctets
        | R::PoolFull
        | R::TooLong
        | R::Unchangeable
        | R::CongestionLost
        | R::OwnProbe
        | R::Signal => &[Drop],
        // Of what the kernel gets in any case, only the copy is lost.
        R::SignalLost | R::SignalSourceRate | R::SignalLinkRate | R::SignalShare => &[Pass, Drop],
        R::Held if program == Program::MobileOut || program.is_router_out() => &[Redirect],
        R::Held => &[Drop],
        // On its way out of the node's link already.
        R::Delivered if program.is_router_out() => &[Pass, Redirect],
        R::Tunnelled | R::Untunnelled | R::Delivered => &[Redirect],
        R::TooBigSent if program.is_xdp() => &[Reply],
        R::TooBigSent => &[Redirect],
        // The drain's, and what ends no packet.
        _ => &[],
    }
}

/// What the packet may have become before it met a binding: what is in its tunnel, and in that one's.
struct Forms {
    opened: Vec<Vec<u8>>,
}

impl Forms {
    fn of(sent: Octets<'_>) -> Self {
        let mut opened: Vec<Vec<u8>> = Vec::new();
        for _ in 0..2 {
            match open(opened.last().map_or(sent, Vec::as_slice)) {
                Some(form) => opened.push(form),
                None => break,
            }
        }
        Self { opened }
    }

    fn all<'a>(&'a self, sent: Octets<'a>) -> impl Iterator<Item = Octets<'a>> {
        std::iter::once(sent).chain(self.opened.iter().map(Vec::as_slice))
    }
}

/// What comes out of the tunnel (RFC 2473 section 3.3).
fn open(packet: Octets<'_>) -> Option<Vec<u8>> {
    if packet.len() < 2 * IPV6 || packet[6] != IPV6_IN_IPV6 {
        return None;
    }
    let (outer, inner) = packet.split_at(IPV6);
    let mut opened = inner.to_vec();
    let mark = congestion(class(inner) & 3, class(outer) & 3)?;
    opened[1] = inner[1] & !0x30 | mark << 4;
    Some(opened)
}

/// RFC 6040 section 4.2, figure 4, by the inner mark and the outer one; `None` where the packet is dropped.
pub(crate) fn congestion(inner: u8, outer: u8) -> Option<u8> {
    // 0: not ECN-capable; 1: ECT(1); 2: ECT(0); 3: congestion experienced.
    [
        [Some(0), Some(0), Some(0), None],
        [Some(1), Some(1), Some(1), Some(3)],
        [Some(2), Some(1), Some(2), Some(3)],
        [Some(3), Some(3), Some(3), Some(3)],
    ][usize::from(inner)][usize::from(outer)]
}

/// Without what the link has put behind it.
fn whole(packet: Octets<'_>) -> Octets<'_> {
    match packet.get(..IPV6) {
        Some(header) => &packet[..packet.len().min(IPV6 + usize::from(payload(header)))],
        None => packet,
    }
}

fn class(header: Octets<'_>) -> u8 {
    header[0] << 4 | header[1] >> 4
}

fn flow(header: Octets<'_>) -> u32 {
    u32::from_be_bytes([0, header[1] & 0xf, header[2], header[3]])
}

fn payload(header: Octets<'_>) -> u16 {
    u16::from_be_bytes([header[4], header[5]])
}

fn source(header: Octets<'_>) -> Ipv6Addr {
    address(&header[8..24])
}

fn destination(header: Octets<'_>) -> Ipv6Addr {
    address(&header[24..40])
}

fn address(octets: &[u8]) -> Ipv6Addr {
    <[u8; 16]>::try_from(octets).expect("sixteen octets").into()
}
