//! Every way a packet can leave a program, as one numbered list. Numbers are never reused.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $name:literal;)+) => {
        /// Why a packet left the program, with what verdict.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant = $number,)+
        }

        impl Reason {
            /// All reasons, in the order of their numbers.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)+];

            /// The name under which it is shown.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Reason::$variant => $name,)+
                }
            }
        }
    };
}

reasons! {
    /// Not IPv6 over Ethernet: passed to the kernel.
    NotIpv6 = 0, "pass-not-ipv6";
    /// No binding for it: passed to the kernel. Almost all of a router's traffic.
    NoBinding = 1, "pass-no-binding";
    /// Its binding has expired: passed to the kernel as if there were none.
    Expired = 2, "pass-expired";
    /// Its hop limit is used up: passed to the kernel, which answers it (RFC 4443 section 3.3).
    HopLimit = 3, "pass-hop-limit";
    /// Put into a tunnel and sent: at a PAR to the new care-of address, at a NAR (HAck code 3) to the
    /// PAR.
    Tunnelled = 4, "tunnel-sent";
    /// Put into such a tunnel and handed to the kernel, which finds the next hop.
    TunnelledByKernel = 5, "tunnel-passed";
    /// Too big for the tunnel; answered with ICMPv6 Packet Too Big (RFC 2473 section 7.1).
    TooBig = 6, "drop-too-big";
    /// PAR: taken out of the reverse tunnel and sent.
    Untunnelled = 7, "reverse-sent";
    /// PAR: taken out of the reverse tunnel and handed to the kernel, which finds the next hop.
    UntunnelledByKernel = 8, "reverse-passed";
    /// A tunnelled packet with an inner source or destination that is bound, from another end than
    /// the binding's, or one from a bound address that came in elsewhere than on that node's link:
    /// dropped (TUN-04).
    Spoofed = 9, "drop-spoofed";
    /// Held in a handover buffer.
    Held = 10, "held";
    /// Not held: the mobile node's own bound on packets is reached.
    NodeFull = 11, "drop-node-full";
    /// Not held: all slots of the pool are in use, but for those that are guaranteed to other nodes.
    PoolFull = 12, "drop-pool-full";
    /// Not held: longer than a slot, or several packets that the kernel has merged into one.
    TooLong = 13, "drop-too-long";
    /// Not held: other processors kept winning the race for the buffer.
    Contended = 14, "drop-contended";
    /// Sent to the mobile node straight away, the buffer being drained.
    Delivered = 15, "delivered";
    /// Released from a handover buffer and sent.
    Released = 16, "released";
    /// Dropped at release: it had waited longer than the configured bound.
    Aged = 17, "drop-aged";
    /// Dropped from a buffer that ended before its mobile node arrived.
    Discarded = 18, "drop-discarded";
    /// Dropped at release: it could not be written into a frame.
    Unwritable = 19, "drop-unwritable";
    /// Signalling, taken to the controller.
    Signal = 20, "signal-taken";
    /// Signalling, copied to the controller and passed to the kernel.
    SignalCopied = 21, "signal-copied";
    /// Signalling, lost because the ring to the controller is full.
    SignalLost = 22, "signal-lost";
    /// Mobile node: put into the reverse tunnel.
    MobileTunnelled = 23, "mobile-tunnel-sent";
    /// Mobile node: taken out of the tunnel.
    MobileUntunnelled = 24, "mobile-tunnel-received";
    /// A helper of the kernel refused to change the packet: dropped.
    Unchangeable = 25, "drop-unchangeable";
    /// A packet whose headers are cut short or contradict each other: passed to the kernel.
    Malformed = 26, "pass-malformed";
    /// Congestion was marked on the outer header of a packet that cannot carry the mark (RFC 6040
    /// section 4.2): dropped.
    CongestionLost = 27, "drop-ecn";
    /// ICMPv6 Packet Too Big sent in answer to a packet too big for the tunnel.
    TooBigSent = 28, "too-big-sent";
    /// To, from or in the tunnel of a bound address, but of one link alone (a link-local address,
    /// multicast, neighbor discovery): passed to the kernel as it came.
    LinkScope = 29, "pass-link-scope";
    /// Not the end of a packet but of its slot: it could not be given back to the pool, because
    /// other processors kept winning.
    SlotLost = 30, "slot-lost";
    /// PAR: not the end of a packet but a copy of it, put into a handover buffer.
    Copied = 31, "copied";
    /// PAR: not the end of a packet but of its copy: there was no room for it.
    CopyRefused = 32, "copy-refused";
    /// PAR: not the end of a packet but of its copy: it left the window, or its buffer ended.
    CopyTrimmed = 33, "copy-trimmed";
    /// Released from a handover buffer and handed to the kernel, which finds the next hop.
    ReleasedByKernel = 34, "released-passed";
    /// Dropped at release: held before its tunnel was known, and too big for it.
    TooBigHeld = 35, "drop-too-big-held";
    /// Mobile node: sent as it is by the router that its binding names.
    MobileSent = 36, "mobile-sent";
    /// Of a VLAN that is none of this node's, or whose interface will see it again: passed to the kernel.
    OtherVlan = 37, "pass-other-vlan";
    /// In too many tunnels to go into one more: it goes in circles (RFC 2473 section 4.1).
    Nested = 38, "drop-nested";
    /// Not held: the mobile node's own bound on octets is reached.
    NodeOctets = 39, "drop-node-octets";
    /// Signalling that its source sends faster than it may: lost to the controller.
    SignalSourceRate = 40, "signal-over-source-rate";
    /// Signalling that all unexpected sources of its interface, or all expected ones, send faster than they
    /// may: lost to the controller.
    SignalLinkRate = 41, "signal-over-link-rate";
    /// Signalling from an interface that has its share of the ring to the controller, which does not keep
    /// up: lost to the controller.
    SignalShare = 42, "signal-over-share";
    /// To the mobile node, its buffer being drained, but handed to the kernel: its link takes no redirected
    /// frames.
    DeliveredByKernel = 43, "delivered-passed";
    /// NAR: a mobile node's own probe for duplicates of the address that is defended for it here, from its
    /// own link-layer address: kept from the kernel, which would answer it as if another had the address
    /// until the controller has heard the UNA before it (RFC 5568 section 5.3).
    OwnProbe = 44, "drop-own-probe";
}

/// How many reasons there are.
pub const REASONS: u32 = Reason::ALL.len() as u32;

/// Packets and octets counted under one reason, on one processor.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Octets, with the Ethernet header.
    pub bytes: u64,
}
const _: () = assert!(size_of::<Count>() == 16);

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), without padding (size asserted above), every bit pattern valid.
    unsafe impl aya::Pod for super::Count {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn numbers_are_the_places_in_the_list_and_names_are_unique() {
        let mut names = HashSet::new();
        for (place, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, place);
            assert!(names.insert(reason.name()), "{} twice", reason.name());
        }
    }
}
