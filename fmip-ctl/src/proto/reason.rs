//! Why messages are refused or ignored, and how often what happened.

use serde::Serialize;

macro_rules! reasons {
    (
        messages { $($(#[$about:meta])* $message:ident,)* }
        reasons { $($(#[$doc:meta])* $reason:ident => $counter:ident,)* }
    ) => {
        /// Why a message was refused or ignored; each has its own counter.
        #[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Reason {
            $($(#[$doc])* $reason,)*
        }

        /// How often things happened, since the machine was made. Serialized as a flat map.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "kebab-case")]
        #[allow(missing_docs)] // The names are those of the messages and of `Reason`.
        pub struct Counters {
            $($(#[$about])* pub $message: u64,)*
            $($(#[$doc])* pub $counter: u64,)*
        }

        impl Counters {
            pub(super) fn count(&mut self, reason: Reason) {
                *match reason {
                    $(Reason::$reason => &mut self.$counter,)*
                } += 1;
            }
        }
    };
}

reasons! {
    messages {
        received_rtsolpr,
        received_prrtadv,
        received_fbu,
        received_fback,
        received_hi,
        received_hack,
        received_una,
        received_binding_error,
        received_parameter_problem,
        /// Neighbor advertisements that are no UNA.
        received_other_advertisement,
        sent_rtsolpr,
        sent_prrtadv,
        sent_fbu,
        sent_fback,
        sent_hi,
        sent_hack,
        sent_una,
        received_fna,
        sent_naack,
        sent_binding_error,
        /// FBUs out of an FNA, sent on to the PAR (LEG-03).
        relayed_fbu,
        sent_fna,
        sent_rs,
        received_ra,
        /// MN: moves that were left to an ordinary Binding Update.
        fell_back,
    }
    reasons {
        /// It could not be parsed.
        Malformed => malformed,
        /// It is not for this role, or did not come over a link where it may come from.
        Unexpected => unexpected,
        /// It is addressed to none of our addresses.
        NotForUs => not_for_us,
        /// A neighbor discovery message that came from beyond the link (hop limit below 255).
        HopLimit => hop_limit,
        /// An FBU without a Home Address option (FBU-04).
        HomeAddressMissing => home_address_missing,
        /// An FBU without its 'A' or its 'H' flag (FBU-01).
        FlagsMissing => flags_missing,
        /// A message without a BADF option at its end (FBU-05).
        AuthorizationMissing => authorization_missing,
        /// An FBU for a previous care-of address, or with an SPI, that no key is configured for.
        UnknownKey => unknown_key,
        /// The authenticator is not the one that the key gives.
        BadAuthenticator => bad_authenticator,
        /// A sequence number that is not newer than the last (FBU-16).
        StaleSequence => stale_sequence,
        /// An FBU for a previous care-of address that is on none of our links.
        PcoaNotOurs => pcoa_not_ours,
        /// No new care-of address is given.
        NcoaMissing => ncoa_missing,
        /// The new care-of address is not in the prefix of a neighbor (FBU) or of ours (HI).
        NcoaOutsidePrefix => ncoa_outside_prefix,
        /// No room for another handover.
        Resources => resources,
        /// The NAR did not answer.
        PeerSilent => peer_silent,
        /// The NAR refused.
        PeerRefused => peer_refused,
        /// The NAR did not accept the new care-of address.
        PeerRefusedNcoa => peer_refused_ncoa,
        /// The NAR answered in a way that we cannot follow.
        PeerUnsupported => peer_unsupported,
        /// The NAR does not know fast handovers (GEN-13).
        PeerIncapable => peer_incapable,
        /// A command to the data path or the kernel failed.
        CommandFailed => command_failed,
        /// A newer FBU of the same mobile node took this one's place.
        Superseded => superseded,
        /// The mobile node's key, its link or the NAR was taken out of the configuration.
        Revoked => revoked,
        /// Its sender sends more than one may (SEC-07).
        RateLimited => rate_limited,
        /// An order to move a mobile node to an access point that is no neighbor's.
        UnknownAccessPoint => unknown_access_point,
        /// The link layer saw a mobile node leave that it had not seen come.
        UnknownStation => unknown_station,
        /// From a router that is not a configured neighbor (SEC-06).
        UnknownPeer => unknown_peer,
        /// An HI for a previous care-of address outside its sender's prefix (SEC-06).
        PcoaOutsidePrefix => pcoa_outside_prefix,
        /// An HI without the mobile node's link-layer address or its previous care-of address.
        OptionMissing => option_missing,
        /// An HI that asks for something that we do not do.
        Unsupported => unsupported,
        /// An HI for an address that another node has.
        NcoaInUse => ncoa_in_use,
        /// An answer to nothing that we asked (HAK-10).
        Unmatched => unmatched,
        /// A UNA for an address that no handover is known for: the kernel's matter (UNA-08).
        NoHandover => no_handover,
        /// A UNA with another link-layer address than that of the HI (UNA-09).
        WrongLinkAddress => wrong_link_address,
        /// From, or about, a link-layer address that is not among those that the link takes.
        UnknownLinkAddress => unknown_link_address,
        /// What an FNA carried is no FBU of its sender to a neighbor, or the FNA was refused.
        NotRelayed => not_relayed,
        /// Something that was said before.
        Duplicate => duplicate,
    }
}
