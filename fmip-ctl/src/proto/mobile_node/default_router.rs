//! The books of the default router: which one was ordered, and whether there is one to forget.

use std::net::Ipv6Addr;

use crate::wire::MacAddr;

use super::{Command, MobileNode, Owner};

/// What was ordered.
#[derive(Debug, Default)]
pub(super) struct DefaultRouter {
    /// The last one, whether it could be set or not: it is not ordered again.
    last: Option<Ipv6Addr>,
    /// How many orders were given since the last one to forget, and did not fail: one router stands
    /// once the first of them is carried out.
    orders: usize,
    /// How many of them the last order to forget undoes.
    undone: usize,
}

impl MobileNode {
    /// Orders the router of the link that it is on as the default router, if another one was
    /// ordered before.
    pub(super) fn choose_router(&mut self, owner: Owner) {
        let link = self.link();
        let (router, link_address) = (link.router, link.router_lla);
        self.order_router(owner, router, link_address);
    }

    pub(super) fn order_router(
        &mut self,
        owner: Owner,
        router: Ipv6Addr,
        link_address: Option<MacAddr>,
    ) {
        if router.is_unspecified() || self.default_router.last == Some(router) {
            return;
        }
        // Without a link-layer address it is the kernel's own router that is meant.
        if link_address.is_none() {
            self.forget_router();
        }
        self.default_router.last = Some(router);
        self.default_router.orders += 1;
        let command = Command::SetDefaultRouter {
            interface: self.config.interface,
            router,
            link_address,
        };
        self.outbox.command(owner, command);
    }

    pub(super) fn forget_router(&mut self) {
        self.default_router.last = None;
        let orders = std::mem::take(&mut self.default_router.orders);
        if orders > 0 {
            self.default_router.undone = orders;
            let command = self.forget_command();
            self.outbox.command(Owner::Rest, command);
        }
    }

    /// These commands were taken back; the router of the link is what was ordered before.
    pub(super) fn withdraw_router(&mut self, withdrawn: &[Command]) {
        let is_order = |command: &&Command| matches!(command, Command::SetDefaultRouter { .. });
        let orders = withdrawn.iter().filter(is_order).count();
        if orders > 0 {
            let left = self.default_router.orders.saturating_sub(orders);
            self.default_router.orders = left;
            self.default_router.last = (left > 0).then(|| self.link().router);
        }
    }

    /// A router could not be set: what else was ordered before or after, stands.
    pub(super) fn handle_router_failure(&mut self) {
        let forget = self.forget_command();
        if !self.outbox.contains(&forget) {
            let orders = &mut self.default_router.orders;
            *orders = orders.saturating_sub(1);
            return;
        }
        // It was to be forgotten again before anybody had heard of it.
        let undone = &mut self.default_router.undone;
        *undone = undone.saturating_sub(1);
        if *undone == 0 {
            self.outbox.take_back(|command| *command == forget);
        }
    }

    fn forget_command(&self) -> Command {
        let interface = self.config.interface;
        Command::ForgetRouter { interface }
    }
}
