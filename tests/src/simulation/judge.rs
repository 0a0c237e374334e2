//! What must hold whatever happens, checked against what the mobile nodes really did.

use std::{collections::VecDeque, net::Ipv6Addr, time::Duration};

use fmip_ctl::{
    proto::{Addressing, Command, Departure, Event, Instant},
    wire::{Message, Packet},
};

use super::{
    flow::Loss,
    plan::{
        Leg, Manner, Plan, mobile_of_address, own_address, prefix, router_address,
        router_of_address,
    },
    summary::Summary,
    world::NodeId,
};

/// An FBU can lead to a tunnel this long after it was sent: all retransmissions of the HI, and all
/// delays.
const FBU_LIFE: Duration = Duration::from_secs(10);
/// The longest lifetime that a router grants.
const MAX_LIFETIME: Duration = Duration::from_secs(60);
/// What a failure is excused by: an exchange of one try and three retransmissions fails only if each
/// lost a message.
const EXCUSE: u32 = 4;
/// A NAR waits a little longer than this.
const PROXY_LIFETIME: Duration = Duration::from_millis(1400);
/// By when what was held has arrived.
const SETTLED: Duration = Duration::from_millis(500);
/// By when a mobile node must know how its move went.
const TOLD: Duration = Duration::from_secs(12);

/// An FBU that a mobile node sent.
#[derive(Copy, Clone, Debug)]
struct Sent {
    at: Instant,
    pcoa: Ipv6Addr,
    par: Ipv6Addr,
    ncoa: Ipv6Addr,
    lifetime: Duration,
}

/// One move.
#[derive(Clone, Debug)]
struct Move {
    from: usize,
    leg: Leg,
    began: Instant,
    arrived: Option<(Instant, usize)>,
    accepted: bool,
    /// Whether it told people that nothing but a Binding Update completes it.
    told: bool,
    /// Whether it knew in the end which address it has, and how its packets leave.
    settled: bool,
    failed: Option<String>,
    /// Of its messages, since it came to where it left from if it never heard of its router's
    /// neighborhood there.
    losses: u32,
    earlier_losses: u32,
    /// Whether it must succeed but for losses.
    is_due: bool,
}

#[derive(Debug, Default)]
struct Account {
    current: Option<Move>,
    /// When it was last at which router.
    visits: Vec<(usize, Instant)>,
    /// The router that its address in use is of.
    home: Option<usize>,
    /// That address, once it has told of one.
    address: Option<Ipv6Addr>,
    /// Messages that were lost since it came to where it is.
    losses: u32,
    /// Whether it was still on its way to an address here when it moved on.
    is_lost: bool,
}

/// Knows what is right.
#[derive(Debug)]
pub struct Judge {
    routers: usize,
    /// Whether every router takes every mobile node in the plainest way.
    plain: bool,
    fair: bool,
    /// Whether packets are held at the new router, for longer than any gap, in fair weather.
    lossless: bool,
    /// Which routers copy packets.
    copies: Vec<bool>,
    accounts: Vec<Account>,
    fbus: VecDeque<Sent>,
    disturbed: Option<Instant>,
    totals: Summary,
}

impl Judge {
    /// Makes a judge of a world.
    pub fn new(plan: &Plan) -> Self {
        let plain = plan.routers.iter().all(|router| {
            let config = &router.config;
            config.access[0].addressing == Addressing::Stateless
                && config.peers.iter().all(|peer| peer.fast_handover)
        });
        Self {
            routers: plan.routers.len(),
            plain,
            fair: plan.is_fair(),
            lossless: plan.is_fair() && plan.routers.iter().all(|router| router.config.buffering),
            copies: plan
                .routers
                .iter()
                .map(|router| matches!(router.config.access[0].departure, Departure::Copy { .. }))
                .collect(),
            accounts: plan
                .mobiles
                .iter()
                .map(|mobile| Account {
                    home: Some(mobile.start),
                    ..Account::default()
                })
                .collect(),
            fbus: VecDeque::new(),
            disturbed: None,
            totals: Summary::default(),
        }
    }

    /// What the moves came to.
    pub fn totals(&self) -> Summary {
        self.totals
    }

    /// Something happened that excuses failures around it.
    pub fn disturbance(&mut self, now: Instant) {
        self.disturbed = Some(now);
    }

    /// A mobile node sends, or a router.
    pub fn sent(&mut self, now: Instant, from: NodeId, packet: &Packet) {
        let (NodeId::Mobile(_), Message::FastBindingUpdate(fbu)) = (from, &packet.message) else {
            if let (NodeId::Mobile(_), Message::FastNeighborAdvertisement(fna)) =
                (from, &packet.message)
                && let Some(inner) = fna.fbu.as_ref()
                && let Ok(inner) = Packet::decode(inner)
            {
                self.sent(now, from, &inner);
            }
            return;
        };
        let Some(pcoa) = packet.home_address else {
            return;
        };
        while self
            .fbus
            .front()
            .is_some_and(|sent| sent.at + FBU_LIFE < now)
        {
            self.fbus.pop_front();
        }
        self.fbus.push_back(Sent {
            at: now,
            pcoa,
            par: packet.destination,
            ncoa: fbu.alternate_coa.unwrap_or(packet.source),
            lifetime: Duration::from_secs(fbu.lifetime.into()),
        });
    }

    /// A message was lost.
    pub fn lost(&mut self, packet: &Packet) {
        let address = match &packet.message {
            Message::FastBindingUpdate(_) => packet.home_address,
            Message::HandoverInitiate(hi) => hi.pcoa,
            Message::FastBindingAck(_) | Message::PrRtAdv(_) => Some(packet.destination),
            Message::RtSolPr(_) | Message::FastNeighborAdvertisement(_) => Some(packet.source),
            Message::NeighborAdvertisement(na) => Some(na.target),
            _ => None,
        };
        let whose = address.and_then(mobile_of_address);
        for (index, account) in self.accounts.iter_mut().enumerate() {
            if whose.is_none_or(|whose| whose == index) {
                account.losses += 1;
                if let Some(current) = &mut account.current {
                    current.losses += 1;
                }
            }
        }
    }

    /// A message did not reach a mobile node that had no link, or could not be sent by it.
    pub fn no_link(&mut self, mobile: usize) {
        self.accounts[mobile].losses += 1;
        if let Some(current) = &mut self.accounts[mobile].current {
            current.losses += 1;
        }
    }

    /// The next move begins.
    pub fn depart(&mut self, now: Instant, mobile: usize, from: usize, leg: &Leg) {
        let last_visit = |router: usize| {
            let visits = self.accounts[mobile].visits.iter().rev();
            visits
                .clone()
                .find(|(at, _)| *at == router)
                .map(|&(_, when)| when)
        };
        // While an old tunnel may lead away from there, the router may refuse (HI-12).
        let is_clear = last_visit(leg.to).is_none_or(|when| when + MAX_LIFETIME < now);
        let is_short = leg.gap < PROXY_LIFETIME;
        let account = &mut self.accounts[mobile];
        // A key is for the address that it makes of its link-layer address alone.
        let is_keyed = (account.address).is_none_or(|of| of == own_address(mobile, from));
        let is_due = self.plain
            && is_keyed
            && leg.manner == Manner::Predicted
            && is_clear
            && is_short
            && !std::mem::take(&mut account.is_lost);
        account.visits.push((from, now));
        if let Manner::Astray { predicted } | Manner::Stays { predicted } = leg.manner {
            // It was expected there.
            account.visits.push((predicted, now));
        }
        account.current = Some(Move {
            from,
            leg: *leg,
            began: now,
            arrived: None,
            accepted: false,
            told: false,
            settled: false,
            failed: None,
            losses: 0,
            earlier_losses: std::mem::take(&mut account.losses),
            is_due,
        });
    }

    /// A mobile node left its link.
    pub fn left(&mut self, _mobile: usize) {}

    /// A mobile node came up at a router.
    pub fn arrived(&mut self, now: Instant, mobile: usize, router: usize) {
        let account = &mut self.accounts[mobile];
        account.losses = 0;
        if let Some(current) = &mut account.current {
            current.arrived = Some((now, router));
        }
    }

    /// The move of a mobile node is over: it must know how it went.
    pub fn close(&mut self, now: Instant, mobile: usize, loss: Loss) -> Option<String> {
        let current = self.accounts[mobile].current.take()?;
        let (arrived, router) = current.arrived?;
        if router == current.from {
            return None;
        }
        self.totals.moves += 1;
        match (current.accepted, &current.failed) {
            (true, None) => self.totals.fast += 1,
            (_, Some(_)) => self.totals.fallen_back += 1,
            (false, None) => {}
        }
        let is_fast = current.accepted && current.failed.is_none();
        match is_fast && current.leg.manner == Manner::Predicted {
            true => self.totals.predicted += loss,
            false => self.totals.others += loss,
        }
        let home = self.accounts[mobile].home;
        let told = current.accepted || current.failed.is_some() || current.told;
        let account = &mut self.accounts[mobile];
        account.is_lost = !current.settled;
        // Back at the link of the address that it never gave up.
        if account.home.replace(router) == Some(router) {
            return None;
        }
        if account.is_lost {
            account.home = home;
        }
        if !told && arrived + TOLD < now {
            return Some(format!(
                "m{mobile} moved from r{} to r{router} ({:?}) and was told nothing",
                current.from, current.leg.manner
            ));
        }
        // What was copied between the question and the tunnel, a node that waits for the answer gets
        // twice (BUF-01).
        let excused = Loss {
            duplicated: if self.copies[current.from] {
                0
            } else {
                loss.duplicated
            },
            ..loss
        };
        let is_over = arrived + SETTLED < now;
        if is_fast && current.is_due && self.lossless && is_over && excused.is_any() {
            return Some(format!(
                "m{mobile}'s handover from r{} to r{router} was predicted, and yet {loss:?}",
                current.from
            ));
        }
        let failed = current.failed.as_ref()?;
        let disturbed = self
            .disturbed
            .is_some_and(|at| at + FBU_LIFE > current.began);
        if !current.is_due || disturbed {
            return None;
        }
        // A router that did not answer once is not asked again for a while (RTS-09).
        let losses = match failed.as_str() {
            "NoPrrtadv" => current.losses + current.earlier_losses,
            _ => current.losses,
        };
        (self.fair || losses < EXCUSE).then(|| {
            format!(
                "m{mobile}'s handover from r{} to r{router} failed ({failed}) with {} losses",
                current.from, current.losses
            )
        })
    }

    /// A node tells people something.
    pub fn event(&mut self, _now: Instant, node: NodeId, event: &Event) -> Option<String> {
        let NodeId::Mobile(mobile) = node else {
            return None;
        };
        let account = &mut self.accounts[mobile];
        if let Event::CareOfAddress { care_of, .. } = event {
            account.address = Some(*care_of);
        }
        let current = account.current.as_mut()?;
        match event {
            // If it is an ordinary move, people know.
            Event::CareOfAddress { fast, .. } => {
                current.settled = true;
                current.told |= !fast;
            }
            Event::FbackReceived { status } if *status < 128 => current.accepted = true,
            Event::FellBack { .. } => {
                current.settled = true;
                current.failed.get_or_insert_with(|| "FellBack".to_owned());
            }
            Event::HandoverFailed { reason } | Event::EndingFailed { reason } => {
                current.failed = Some(format!("{reason:?}"));
            }
            _ => {}
        }
        None
    }

    /// A node wants something changed.
    pub fn command(&mut self, now: Instant, node: NodeId, command: &Command) -> Option<String> {
        let router = match (node, command) {
            (NodeId::Router(router), _) => router,
            // It knows how its packets leave from here: by the word of an FBack, of a NAACK, or
            // because it is back.
            (NodeId::Mobile(mobile), Command::ReleaseUplink { .. }) => {
                let current = self.accounts[mobile].current.as_mut();
                if let Some(current) = current.filter(|current| current.arrived.is_some()) {
                    current.accepted = true;
                    current.settled = true;
                }
                return None;
            }
            (NodeId::Mobile(_), _) => return None,
        };
        match *command {
            Command::InstallTunnel {
                pcoa,
                ncoa,
                local,
                expires,
            } => {
                if local != router_address(router) {
                    return Some(format!("a tunnel from {local}, which is not ours"));
                }
                self.tunnel(now, router, pcoa, ncoa, expires)
            }
            Command::StartBuffering {
                address, tunnel, ..
            } => {
                let ours = prefix(router).contains(address);
                let kept = tunnel.is_some() && router_of_address(address, self.routers).is_some();
                (!ours && !kept).then(|| format!("holds packets for {address}, a stranger"))
            }
            Command::StartCopying { address, .. } => (!prefix(router).contains(address))
                .then(|| format!("copies packets for {address}, a stranger")),
            _ => None,
        }
    }

    /// Only a mobile node's own FBU leads to a tunnel, as long as it asked for at most, and into the
    /// link of the router that it chose.
    fn tunnel(
        &self,
        now: Instant,
        router: usize,
        pcoa: Ipv6Addr,
        ncoa: Ipv6Addr,
        expires: Instant,
    ) -> Option<String> {
        let asked: Vec<&Sent> = self
            .fbus
            .iter()
            .filter(|sent| {
                sent.pcoa == pcoa
                    && sent.par == router_address(router)
                    && sent.at + FBU_LIFE >= now
                    && !sent.lifetime.is_zero()
            })
            .collect();
        if asked.is_empty() {
            return Some(format!(
                "a tunnel from {pcoa} to {ncoa} that nobody asked for"
            ));
        }
        let link = router_of_address(ncoa, self.routers);
        let chosen = asked.iter().any(|sent| {
            let chosen = router_of_address(sent.ncoa, self.routers);
            chosen.is_some() && chosen == link && chosen != Some(router)
        });
        if !chosen {
            return Some(format!(
                "a tunnel from {pcoa} to {ncoa}, which is not on the link that was chosen"
            ));
        }
        let longest = asked.iter().map(|sent| sent.lifetime).max()?;
        (expires > now + longest.min(MAX_LIFETIME))
            .then(|| format!("a tunnel from {pcoa} for longer than was asked"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::plan::own_address;

    const NOW: Instant = Instant::from_nanos(100_000_000_000);

    /// What the judge says of a tunnel for mobile node 0 from router 0 to `ncoa` for `lifetime`,
    /// when it asked router 0 some time ago for ten seconds to router 1.
    fn verdict(ago: Duration, ncoa: Ipv6Addr, lifetime: Duration) -> Option<String> {
        let plan = (0..).map(Plan::new).find(|plan| plan.routers.len() > 2);
        let mut judge = Judge::new(&plan.expect("some world has three routers"));
        judge.fbus.push_back(Sent {
            at: Instant::from_nanos(NOW.as_nanos() - ago.as_nanos() as u64),
            pcoa: own_address(0, 0),
            par: router_address(0),
            ncoa: own_address(0, 1),
            lifetime: Duration::from_secs(10),
        });
        let install = Command::InstallTunnel {
            pcoa: own_address(0, 0),
            ncoa,
            local: router_address(0),
            expires: NOW + lifetime,
        };
        judge.command(NOW, NodeId::Router(0), &install)
    }

    #[test]
    fn only_what_was_asked_for_may_be_tunnelled() {
        let second = Duration::from_secs(1);
        let own = own_address(0, 1);
        assert_eq!(verdict(second, own, second * 10), None);
        assert!(verdict(second * 11, own, second * 10).is_some());
        assert!(verdict(second, own, second * 11).is_some());
        assert!(verdict(second, own_address(0, 2), second).is_some());
        assert!(verdict(second, own_address(0, 0), second).is_some());
    }
}
