//! Addresses: those that a mobile node gets on its way, and those it had, which are kept for a while
//! and get back what they had.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv6Addr},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use futures_util::TryStreamExt;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, CacheInfo},
    addrlabel::{AddrLabelAttribute, AddrLabelMessage},
};
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use tracing::{debug, info, warn};

use super::{
    Netlink, PROTOCOL,
    messages::{gone_is_done, gone_is_done_io, io_error, ipv6_of},
    routes::PrefixRoute,
    sysctl::{Sysctl, interface_sysctl},
};
use crate::io::addresses::{Change, Described};

/// Marks an address that was there before us and is kept beyond its time (`IFA_PROTO`): what a killed
/// controller left of it can be told from what is ours.
pub const KEPT: u8 = PROTOCOL + 1;

/// The label of an address that nothing is to begin from (RFC 6724 section 2.1), whatever other address
/// there is: no destination has this label, so that any other address is the better source (rule 6).
/// The number is free in the kernel's own table, and tells what a killed controller left.
pub const UNUSED_LABEL: u32 = 0x464d_4950; // "FMIP"

/// For ever.
const INFINITY: u32 = u32::MAX;
/// As good as for ever, but such that the kernel does not take it for an address that was given by hand.
const VERY_LONG: u32 = u32::MAX - 1;
/// What an address has whose own time ran out while it was kept, and which is needed again: as long as
/// a router advertisement cannot take it back (RFC 4862 section 5.5.3 e).
const TWO_HOURS: u32 = 7_200;

/// How many removed addresses are remembered: as many as the links that a mobile node remembers.
const MAX_REMOVED: usize = 4;

/// Those flags of an address that an order to the kernel states; the rest is its own.
const STATED: AddressFlags = AddressFlags::Nodad
    .union(AddressFlags::Homeaddress)
    .union(AddressFlags::Managetempaddr)
    .union(AddressFlags::Noprefixroute)
    .union(AddressFlags::Mcautojoin);

/// What the kernel found out about an address of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody else has it.
    Confirmed(Ipv6Addr),
    /// Another node has it. It is still configured, but not used.
    Duplicate {
        /// The interface's index.
        interface: u32,
        /// The address.
        address: Ipv6Addr,
        /// Of its prefix.
        prefix_length: u8,
    },
}

/// Whose an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressOwner {
    /// Of [`Netlink::add_address`], whoever made it first.
    Own,
    /// Of [`Netlink::keep_address`]: it was there before.
    Kept,
    /// The kernel's, or that of other people.
    Others,
}

/// An address of ours.
#[derive(Clone, Debug)]
pub(super) struct Own {
    prefix_length: u8,
    /// Whether something new may begin from it.
    preferred: bool,
    /// Whether the kernel's verdict is known.
    judged: bool,
    /// Whether it is of a link that was left.
    kept: bool,
    /// What it was, if somebody else had made it before: the kernel, from the advertisement that tells
    /// us of the link, or people.
    found: Option<Found>,
}

impl Own {
    fn new(prefix_length: u8, found: Option<Found>) -> Self {
        Self {
            prefix_length,
            preferred: false,
            judged: false,
            kept: false,
            found,
        }
    }

    /// The flags that it is to have now.
    fn flags(&self) -> AddressFlags {
        let found = self.found.as_ref();
        let flags = found.map_or(AddressFlags::empty(), |found| flags_of(&found.before)) & STATED;
        match self.kept {
            true => flags | AddressFlags::Noprefixroute,
            false => flags,
        }
    }

    /// What tells the next start whose it is, if this one is killed: what people gave stays.
    fn mark(&self) -> u8 {
        match &self.found {
            Some(found) if !is_dynamic(&found.before) => KEPT,
            _ => PROTOCOL,
        }
    }

    /// Whether no verdict is to be waited for.
    fn is_settled(&self) -> bool {
        self.judged || self.flags().contains(AddressFlags::Nodad)
    }
}

/// An address that was there, as it was before it was kept.
#[derive(Clone, Debug)]
pub(super) struct Found {
    before: AddressMessage,
    /// The route to its prefix on the link, which an advertisement had made.
    route: Option<PrefixRoute>,
    at: Instant,
}

impl Found {
    fn now(before: AddressMessage) -> Self {
        Self {
            before,
            route: None,
            at: Instant::now(),
        }
    }

    /// Whether it would still be there if nobody had touched it.
    fn is_alive(&self) -> bool {
        let valid_s = Described::by(&self.before).map_or(0, |of| of.valid_s);
        valid_s == INFINITY || u64::from(valid_s) > self.at.elapsed().as_secs()
    }
}

impl Netlink {
    /// Adds an address that may be used at once for what it is needed for, and for nothing else.
    ///
    /// At once: it is optimistic (RFC 4429), that is, duplicate address detection runs beside its
    /// use. Where the kernel knows no optimistic addresses there is no detection at all, which
    /// would take a second; the new access router has looked for duplicates before. Nothing else:
    /// its preferred lifetime is 0 and its label is nobody's, so that no connection begins from it as
    /// long as there is another address (TUN-07).
    ///
    /// That the address exists already is no error. The kernel may have made it, as the same
    /// advertisement told it to that we learn of the link by: it becomes what ours would be, and
    /// [`Netlink::prefer_address`] and [`Netlink::clean_up`] give it back what it had. One that is kept
    /// stays so. One that [`Netlink::remove_address`] has removed gets back in the same way what it had
    /// before, if its time is not over.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn add_address(
        &mut self,
        interface: u32,
        address: Ipv6Addr,
        prefix_length: u8,
    ) -> Result<()> {
        let (name, _) = self.resolved(interface)?;
        let action = format!("cannot add the address {address}/{prefix_length} to {name}");
        // Without this switch the kernel drops the flag in silence. It is turned back at once,
        // for it would change what becomes of addresses from router advertisements as well.
        let (flag, _switch) = match Sysctl::set(interface_sysctl(name, "optimistic_dad"), "1") {
            Ok(switch) => (AddressFlags::Optimistic, Some(switch)),
            // The kernel was built without.
            Err(error) if error.kind() == ErrorKind::NotFound => (AddressFlags::Nodad, None),
            Err(error) => return Err(error).context(action),
        };
        let key = (interface, address);
        let own = Own::new(prefix_length, None);
        let own = match self.create(key, &own, flag).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if self.addresses.contains_key(&key) || self.found.contains_key(&key) {
                    return Ok(());
                }
                self.adopt(key, flag).await.context(action)?
            }
            created => {
                created.context(action)?;
                let found = self.take_removed(key).filter(Found::is_alive);
                Own::new(prefix_length, found)
            }
        };
        self.addresses.insert(key, own);
        if let Err(error) = self.label(interface, address) {
            // Source address selection has other rules that speak against it.
            warn!("{error:#}");
        }
        Ok(())
    }

    /// Makes an address that is to be checked with this flag, or not at all.
    async fn create(
        &self,
        (interface, address): (u32, Ipv6Addr),
        own: &Own,
        flag: AddressFlags,
    ) -> io::Result<()> {
        let mut request =
            self.handle
                .address()
                .add(interface, IpAddr::V6(address), own.prefix_length);
        let attributes = stated(own.flags() | flag, (0, INFINITY), own.mark());
        request.message_mut().attributes.extend(attributes);
        request.execute().await.map_err(io_error)
    }

    /// Turns an address that is there into what [`Netlink::create`] would have made. One that cannot be
    /// used yet is made anew: the kernel takes nobody's word for it that it could be.
    async fn adopt(
        &self,
        (interface, address): (u32, Ipv6Addr),
        flag: AddressFlags,
    ) -> Result<Own> {
        let before = self.address(interface, address).await?;
        let before = before.context("it is there, and gone again")?;
        let is_usable = Described::by(&before).is_some_and(|of| of.is_usable());
        let own = Own::new(before.header.prefix_len, Some(Found::now(before.clone())));
        debug!(%address, is_usable, "taking over an address that is there already");
        if !is_usable {
            self.delete_address(before).await?;
            match self.create((interface, address), &own, flag).await {
                // Another advertisement.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    if let Some(found) = &own.found {
                        self.put_back(interface, address, found, TWO_HOURS).await?;
                    }
                    return Err(error.into());
                }
                Ok(()) => return Ok(own),
            }
        }
        let of = (interface, address, own.prefix_length);
        self.restate(of, own.flags(), (0, INFINITY), own.mark())
            .await?;
        Ok(own)
    }

    /// Makes an address of [`Netlink::add_address`] one like any other. That it is none is no error:
    /// it is one like any other then.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn prefer_address(&mut self, interface: u32, address: Ipv6Addr) -> Result<()> {
        let key = (interface, address);
        let Some(own) = self.addresses.get_mut(&key) else {
            return Ok(());
        };
        own.preferred = true;
        own.kept = false;
        let (of, flags, mark) = (
            (interface, address, own.prefix_length),
            own.flags(),
            own.mark(),
        );
        // What the kernel may still find to be another's stays ours until then: with a time to live it
        // would be gone without a word.
        let returned = own.is_settled() && own.found.is_some();
        self.unlabel(interface, address)?;
        match returned {
            true => self.give_back(key).await,
            false => self.restate(of, flags, (INFINITY, INFINITY), mark).await,
        }
    }

    /// Makes an address that was there before one of those that are none of our business.
    async fn give_back(&mut self, key: (u32, Ipv6Addr)) -> Result<()> {
        match self.addresses.remove(&key).and_then(|own| own.found) {
            Some(found) => self.put_back(key.0, key.1, &found, TWO_HOURS).await,
            None => Ok(()),
        }
    }

    /// Keeps an address that a tunnel from it needs: it does not run out, and nothing new begins from
    /// it. Its prefix is not taken for one of the link any more: what goes there goes through the tunnel,
    /// too. [`Netlink::restore_address`] and [`Netlink::clean_up`] give back what it had.
    ///
    /// # Errors
    /// It is not there; the kernel refuses.
    pub async fn keep_address(&mut self, interface: u32, address: Ipv6Addr) -> Result<()> {
        let key = (interface, address);
        if let Some(own) = self.addresses.get_mut(&key) {
            own.preferred = false;
            own.kept = true;
            let (flags, mark) = (own.flags(), own.mark());
            let of = (interface, address, own.prefix_length);
            return self.restate(of, flags, (0, INFINITY), mark).await;
        }
        if self.found.contains_key(&key) {
            return Ok(());
        }
        let Some(before) = self.address(interface, address).await? else {
            let (name, _) = self.resolved(interface)?;
            bail!("{address} is not on {name} any more: its tunnel is of no use");
        };
        let prefix_length = before.header.prefix_len;
        let (flags, lifetimes) = kept(&before);
        self.found.insert(key, Found::now(before));
        if let Err(error) = self
            .restate((interface, address, prefix_length), flags, lifetimes, KEPT)
            .await
        {
            self.found.remove(&key);
            return Err(error);
        }
        // After the address, whose own change may have taken it along.
        let route = self
            .take_prefix_route(interface, address, prefix_length)
            .await?;
        if let Some(found) = self.found.get_mut(&key) {
            found.route = route;
        }
        Ok(())
    }

    /// Gives an address back what [`Netlink::keep_address`] took, for the node is on its link again; if
    /// it has been removed, it is added.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn restore_address(
        &mut self,
        interface: u32,
        address: Ipv6Addr,
        prefix_length: u8,
    ) -> Result<()> {
        let key = (interface, address);
        if let Some(found) = self.found.remove(&key) {
            return self.put_back(interface, address, &found, TWO_HOURS).await;
        }
        if !self.addresses.contains_key(&key) {
            self.add_address(interface, address, prefix_length).await?;
        }
        self.prefer_address(interface, address).await
    }

    /// Removes an address that is ours, or one that is kept, if people did not give it: the kernel had made
    /// it from a router's advertisement. Any other is left as it is, or was.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn remove_address(&mut self, interface: u32, address: Ipv6Addr) -> Result<()> {
        let key = (interface, address);
        let prefix_length = match (self.addresses.get(&key), self.found.get(&key)) {
            (Some(own), _) if own.mark() == KEPT => {
                self.unlabel(interface, address)?;
                return self.give_back(key).await;
            }
            (Some(own), _) => own.prefix_length,
            (None, Some(found)) if is_dynamic(&found.before) => found.before.header.prefix_len,
            (None, _) => return Ok(()),
        };
        // From here on that it is gone is no news.
        let before = (self.addresses.remove(&key), self.found.remove(&key));
        let removed = self
            .delete_address(message(interface, address, prefix_length))
            .await;
        let (own, found) = before;
        if removed.is_err() {
            self.addresses.extend(own.map(|own| (key, own)));
            self.found.extend(found.map(|found| (key, found)));
            return removed;
        }
        if let Some(found) = found.or_else(|| own.and_then(|own| own.found)) {
            self.take_removed(key);
            self.removed.push_back((key, found));
            if self.removed.len() > MAX_REMOVED {
                self.removed.pop_front();
            }
        }
        self.unlabel(interface, address)
    }

    /// What an address had that was removed.
    fn take_removed(&mut self, key: (u32, Ipv6Addr)) -> Option<Found> {
        let index = self.removed.iter().position(|(of, _)| *of == key)?;
        self.removed.remove(index).map(|(_, found)| found)
    }

    /// What a change means for the addresses that are ours, or kept. A router's advertisement makes an
    /// address that it has the prefix of one that something may begin from: that is turned back.
    ///
    /// # Errors
    /// The kernel does not tell, or refuses.
    pub async fn note_address(&mut self, change: Change) -> Result<Vec<Verdict>> {
        let is_ours = match change {
            Change::There(of) | Change::Gone(of) => {
                let key = (of.interface, of.address);
                self.addresses.contains_key(&key) || self.found.contains_key(&key)
            }
            Change::Unknown => true,
        };
        if !is_ours {
            return Ok(Vec::new());
        }
        // What was told may be over: what is now, counts.
        let now = self.addresses().await?;
        let now: Vec<Described> = now.iter().filter_map(Described::by).collect();
        let mut verdicts = Vec::new();
        let mut restated = Vec::new();
        let mut returned = Vec::new();
        let mut gone = Vec::new();
        for (&(interface, address), own) in &mut self.addresses {
            let mut all = now.iter();
            let Some(is) = all.find(|of| (of.interface, of.address) == (interface, address)) else {
                gone.push((interface, address));
                continue;
            };
            if !own.preferred && is.preferred_s > 0 {
                restated.push((
                    (interface, address, own.prefix_length),
                    own.flags(),
                    INFINITY,
                    own.mark(),
                ));
            }
            if own.judged {
                continue;
            }
            if is.is_duplicate() {
                own.judged = true;
                verdicts.push(Verdict::Duplicate {
                    interface,
                    address,
                    prefix_length: own.prefix_length,
                });
            } else if is.is_confirmed() {
                own.judged = true;
                verdicts.push(Verdict::Confirmed(address));
                if own.preferred && own.found.is_some() {
                    returned.push((interface, address));
                }
            }
        }
        for (&(interface, address), found) in &self.found {
            let mut all = now.iter();
            match all.find(|of| (of.interface, of.address) == (interface, address)) {
                None => gone.push((interface, address)),
                Some(is) if is.preferred_s > 0 => {
                    let (flags, (_, valid)) = kept(&found.before);
                    let prefix_length = found.before.header.prefix_len;
                    restated.push(((interface, address, prefix_length), flags, valid, KEPT));
                }
                Some(_) => {}
            }
        }
        for (of, flags, valid, protocol) in restated {
            debug!(address = %of.1, "nothing is to begin from it");
            self.restate(of, flags, (0, valid), protocol).await?;
        }
        for key in returned {
            self.give_back(key).await?;
        }
        for (interface, address) in gone {
            warn!(%address, "somebody else has removed this address");
            self.addresses.remove(&(interface, address));
            self.found.remove(&(interface, address));
            self.unlabel(interface, address)?;
        }
        Ok(verdicts)
    }

    /// The addresses of an interface.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub async fn described_addresses(&self, interface: u32) -> Result<Vec<Described>> {
        let addresses = self.addresses().await?;
        let described = addresses.iter().filter_map(Described::by);
        Ok(described.filter(|of| of.interface == interface).collect())
    }

    /// Whose an address is.
    pub fn owner_of(&self, interface: u32, address: Ipv6Addr) -> AddressOwner {
        let key = (interface, address);
        match (
            self.addresses.contains_key(&key),
            self.found.contains_key(&key),
        ) {
            (true, _) => AddressOwner::Own,
            (false, true) => AddressOwner::Kept,
            (false, false) => AddressOwner::Others,
        }
    }

    /// Undoes all of it; what cannot be undone is in the results.
    pub(super) async fn clean_up_addresses(&mut self, results: &mut Vec<Result<()>>) {
        let own: Vec<(u32, Ipv6Addr)> = self.addresses.keys().copied().collect();
        for (interface, address) in own {
            let key = (interface, address);
            match self
                .addresses
                .get_mut(&key)
                .and_then(|own| own.found.take())
            {
                None => results.push(self.remove_address(interface, address).await),
                Some(found) => {
                    self.addresses.remove(&key);
                    results.push(self.put_back(interface, address, &found, 0).await);
                }
            }
        }
        for ((interface, address), found) in std::mem::take(&mut self.found) {
            results.push(self.put_back(interface, address, &found, 0).await);
        }
        for (interface, address) in self.labels.clone() {
            results.push(self.unlabel(interface, address));
        }
    }

    /// Removes what a killed controller left on the interfaces that `is_here` tells. An address that it
    /// kept is of another link than the node was on; one that people had given it gets back its life.
    pub(super) async fn remove_left_addresses(&self, is_here: impl Fn(u32) -> bool) -> Result<()> {
        let marked = |message: &AddressMessage, mark| {
            let mark = AddressAttribute::Protocol(AddressProtocol::Other(mark));
            message.attributes.contains(&mark)
        };
        for message in self.addresses().await? {
            if !is_here(message.header.index) {
                continue;
            }
            let address = ipv6_of(&message).unwrap_or(Ipv6Addr::UNSPECIFIED);
            if marked(&message, PROTOCOL) || (marked(&message, KEPT) && is_dynamic(&message)) {
                debug!(%address, "removing an address that was left behind");
                self.delete_address(message).await?;
            } else if marked(&message, KEPT) {
                info!(%address, "an address that was kept is one like any other again");
                let of = (message.header.index, address, message.header.prefix_len);
                let flags = flags_of(&message) & STATED & !AddressFlags::Noprefixroute;
                self.restate(of, flags, (INFINITY, INFINITY), 0).await?;
            }
        }
        for (interface, address) in self.labelled().await? {
            if is_here(interface) {
                debug!(%address, "removing an address label that was left behind");
                self.delete_label(interface, address)?;
            }
        }
        Ok(())
    }

    /// Gives an address back what it had, less the time that has passed. One whose time is over gets
    /// `at_least` seconds, or is removed with 0.
    async fn put_back(
        &self,
        interface: u32,
        address: Ipv6Addr,
        found: &Found,
        at_least: u32,
    ) -> Result<()> {
        let Some(described) = Described::by(&found.before) else {
            return Ok(());
        };
        if self.address(interface, address).await?.is_none() && at_least == 0 {
            // Somebody has removed it, and had a reason.
            return Ok(());
        }
        let elapsed = u32::try_from(found.at.elapsed().as_secs()).unwrap_or(INFINITY);
        let left = |seconds: u32| match seconds {
            INFINITY => INFINITY,
            seconds => seconds.saturating_sub(elapsed),
        };
        let prefix_length = found.before.header.prefix_len;
        let valid = match left(described.valid_s) {
            0 => at_least,
            valid => valid,
        };
        if valid == 0 {
            return self
                .delete_address(message(interface, address, prefix_length))
                .await;
        }
        let preferred = match (described.preferred_s, left(described.preferred_s)) {
            (1.., 0) => at_least.min(valid),
            (_, preferred) => preferred,
        };
        let mut attributes = found.before.attributes.iter();
        let protocol = attributes.find_map(|attribute| match attribute {
            AddressAttribute::Protocol(protocol) => Some(u8::from(*protocol)),
            _ => None,
        });
        self.restate(
            (interface, address, prefix_length),
            described.flags & STATED,
            (preferred, valid),
            protocol.unwrap_or(0),
        )
        .await?;
        match &found.route {
            Some(route) => self.put_back_prefix_route(interface, route, elapsed).await,
            None => Ok(()),
        }
    }

    /// Says anew what an address is like: interface, address and prefix length; its flags, its preferred
    /// and its valid lifetime, and whose it is.
    async fn restate(
        &self,
        (interface, address, prefix_length): (u32, Ipv6Addr, u8),
        flags: AddressFlags,
        lifetimes: (u32, u32),
        protocol: u8,
    ) -> Result<()> {
        let mut request = self
            .handle
            .address()
            .add(interface, IpAddr::V6(address), prefix_length)
            .replace();
        let attributes = stated(flags, lifetimes, protocol);
        request.message_mut().attributes.extend(attributes);
        request.execute().await.map_err(io_error).with_context(|| {
            format!("cannot change the address {address} of interface {interface}")
        })
    }

    /// The address as the kernel has it.
    async fn address(&self, interface: u32, address: Ipv6Addr) -> Result<Option<AddressMessage>> {
        let mut all = self.addresses().await?.into_iter();
        Ok(all
            .find(|message| message.header.index == interface && ipv6_of(message) == Some(address)))
    }

    async fn delete_address(&self, message: AddressMessage) -> Result<()> {
        let address = ipv6_of(&message).unwrap_or(Ipv6Addr::UNSPECIFIED);
        let interface = message.header.index;
        gone_is_done(self.handle.address().del(message).execute().await).with_context(|| {
            format!("cannot remove the address {address} from interface {interface}")
        })
    }

    pub(super) async fn addresses(&self) -> Result<Vec<AddressMessage>> {
        let addresses: Result<Vec<AddressMessage>, _> =
            self.handle.address().get().execute().try_collect().await;
        let mut addresses = addresses
            .map_err(io_error)
            .context("cannot list the addresses")?;
        addresses.retain(|message| message.header.family == AddressFamily::Inet6);
        Ok(addresses)
    }

    fn label(&mut self, interface: u32, address: Ipv6Addr) -> Result<()> {
        let message = RouteNetlinkMessage::NewAddrLabel(label_of(interface, address));
        self.direct
            .change(message, NLM_F_CREATE | NLM_F_REPLACE)
            .with_context(|| format!("cannot label the address {address}"))?;
        self.labels.insert((interface, address));
        Ok(())
    }

    fn unlabel(&mut self, interface: u32, address: Ipv6Addr) -> Result<()> {
        if self.labels.contains(&(interface, address)) {
            self.delete_label(interface, address)?;
            self.labels.remove(&(interface, address));
        }
        Ok(())
    }

    fn delete_label(&self, interface: u32, address: Ipv6Addr) -> Result<()> {
        let message = RouteNetlinkMessage::DelAddrLabel(label_of(interface, address));
        gone_is_done_io(self.direct.change(message, 0))
            .with_context(|| format!("cannot remove the label of the address {address}"))
    }

    /// What has [`UNUSED_LABEL`].
    async fn labelled(&self) -> Result<Vec<(u32, Ipv6Addr)>> {
        let labels = self
            .direct
            .address_labels()
            .context("cannot list the address labels")?;
        Ok(labels
            .iter()
            .filter(|label| {
                let unused = AddrLabelAttribute::Label(UNUSED_LABEL);
                label.attributes.contains(&unused)
            })
            .filter_map(|label| {
                let mut attributes = label.attributes.iter();
                let address = attributes.find_map(|attribute| match attribute {
                    AddrLabelAttribute::Address(IpAddr::V6(address)) => Some(*address),
                    _ => None,
                })?;
                Some((label.header.index, address))
            })
            .collect())
    }
}

/// What is stated about an address besides itself: its flags, its preferred and its valid lifetime, and
/// whose it is.
fn stated(
    flags: AddressFlags,
    (preferred, valid): (u32, u32),
    protocol: u8,
) -> [AddressAttribute; 3] {
    let mut lifetimes = CacheInfo::default();
    lifetimes.ifa_preferred = preferred;
    lifetimes.ifa_valid = valid;
    [
        AddressAttribute::Flags(flags),
        AddressAttribute::CacheInfo(lifetimes),
        AddressAttribute::Protocol(AddressProtocol::Other(protocol)),
    ]
}

/// Flags and lifetimes of an address that was like this and is kept.
fn kept(before: &AddressMessage) -> (AddressFlags, (u32, u32)) {
    let flags = (flags_of(before) & STATED) | AddressFlags::Noprefixroute;
    match is_dynamic(before) {
        true => (flags, (0, VERY_LONG)),
        false => (flags, (0, INFINITY)),
    }
}

fn flags_of(message: &AddressMessage) -> AddressFlags {
    Described::by(message).map_or(AddressFlags::empty(), |of| of.flags)
}

/// Whether an address has a time to live, as those from advertisements and by DHCP have.
fn is_dynamic(message: &AddressMessage) -> bool {
    !flags_of(message).contains(AddressFlags::Permanent)
}

fn message(interface: u32, address: Ipv6Addr, prefix_length: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.index = interface;
    message.header.prefix_len = prefix_length;
    message
        .attributes
        .push(AddressAttribute::Local(address.into()));
    message
}

fn label_of(interface: u32, address: Ipv6Addr) -> AddrLabelMessage {
    let mut message = AddrLabelMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.prefix_len = 128;
    message.header.index = interface;
    message.attributes = vec![
        AddrLabelAttribute::Address(address.into()),
        AddrLabelAttribute::Label(UNUSED_LABEL),
    ];
    message
}
