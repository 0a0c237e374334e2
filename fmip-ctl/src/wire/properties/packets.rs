//! Packets of every kind, made of arbitrary fields.

use proptest::{collection::vec, option, prelude::*};

use super::super::*;

fn mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr)
}

fn address() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>().prop_map(Ipv6Addr::from_bits)
}

fn unicast() -> impl Strategy<Value = Ipv6Addr> {
    address().prop_filter("a node's address", |address| {
        !address.is_multicast() && !address.is_unspecified()
    })
}

/// Options of types that no message gives a meaning to, with bodies of these lengths.
fn unknown(len: impl Strategy<Value = usize>) -> impl Strategy<Value = Vec<UnknownOption>> {
    let body = len.prop_flat_map(|len| vec(any::<u8>(), len));
    let option = (100..=255u8, body).prop_map(|(kind, body)| UnknownOption {
        kind,
        body: body.into(),
    });
    vec(option, 0..3)
}

fn unknown_nd() -> impl Strategy<Value = Vec<UnknownOption>> {
    unknown((1..5usize).prop_map(|units| 8 * units - 2))
}

fn unknown_mh() -> impl Strategy<Value = Vec<UnknownOption>> {
    unknown(prop_oneof![0..20usize, Just(255)])
}

fn rtsolpr() -> impl Strategy<Value = Message> {
    let fields = (
        any::<u16>(),
        option::of(mac()),
        vec(mac(), 0..4),
        unknown_nd(),
    );
    fields.prop_map(|(identifier, source_lla, access_points, unknown)| {
        Message::RtSolPr(RtSolPr {
            identifier,
            source_lla,
            access_points,
            unknown,
        })
    })
}

fn prrtadv() -> impl Strategy<Value = Message> {
    let prefix =
        (address(), 0..=128u8).prop_map(|(address, length)| Prefix::new(address, length).unwrap());
    let router = (mac(), address(), prefix).prop_map(|(lla, address, prefix)| RouterInfo {
        lla,
        address,
        prefix,
    });
    let outcome = prop_oneof![Just(1u8), 5..=255u8].prop_map(ApOutcome::from);
    let tuple = (mac(), outcome, option::of(router), option::of(address())).prop_map(
        |(access_point, outcome, router, new_coa)| ApTuple {
            access_point,
            outcome,
            router,
            new_coa,
        },
    );
    let fields = (
        any::<u8>(),
        any::<u16>(),
        option::of(mac()),
        vec(tuple, 0..4),
        unknown_nd(),
    );
    fields.prop_map(|(code, identifier, source_lla, tuples, unknown)| {
        Message::PrRtAdv(PrRtAdv {
            code: code.into(),
            identifier,
            source_lla,
            tuples,
            unknown,
        })
    })
}

fn na() -> impl Strategy<Value = Message> {
    let fields = (
        any::<[bool; 3]>(),
        unicast(),
        option::of(mac()),
        unknown_nd(),
    );
    fields.prop_map(
        |([router, solicited, override_], target, target_lla, unknown)| {
            Message::NeighborAdvertisement(NeighborAdvertisement {
                router,
                solicited,
                override_,
                target,
                target_lla,
                unknown,
            })
        },
    )
}

fn authorization() -> impl Strategy<Value = Option<Authorization>> {
    let len = prop_oneof![4 => Just(12usize), 1 => Just(16), 1 => Just(32), 2 => 1..=251usize];
    let authenticator = len.prop_flat_map(|len| vec(any::<u8>(), len));
    option::weighted(
        0.8,
        (any::<u32>(), authenticator).prop_map(|(spi, authenticator)| Authorization {
            spi,
            authenticator: authenticator.into(),
        }),
    )
}

fn fbu() -> impl Strategy<Value = Message> {
    let fields = (
        any::<u16>(),
        any::<[bool; 4]>(),
        any::<u16>(),
        option::of(address()),
        option::of(mac()),
        unknown_mh(),
        authorization(),
    );
    fields.prop_map(
        |(sequence, flags, lifetime, alternate_coa, mn_lla, unknown, authorization)| {
            let [ack, home, link_local, key_management] = flags;
            Message::FastBindingUpdate(FastBindingUpdate {
                sequence,
                ack,
                home,
                link_local,
                key_management,
                lifetime,
                alternate_coa,
                mn_lla,
                unknown,
                authorization,
            })
        },
    )
}

fn fback() -> impl Strategy<Value = Message> {
    let fields = (
        any::<u8>(),
        any::<bool>(),
        any::<u16>(),
        any::<u16>(),
        option::of(address()),
        unknown_mh(),
        authorization(),
    );
    fields.prop_map(
        |(status, key_management, sequence, lifetime, alternate_coa, unknown, authorization)| {
            Message::FastBindingAck(FastBindingAck {
                status: status.into(),
                key_management,
                sequence,
                lifetime,
                alternate_coa,
                unknown,
                authorization,
            })
        },
    )
}

fn hi() -> impl Strategy<Value = Message> {
    let fields = (
        any::<u16>(),
        any::<[bool; 4]>(),
        any::<u8>(),
        option::of(mac()),
        option::of(address()),
        option::of(address()),
        unknown_mh(),
    );
    fields.prop_map(
        |(
            sequence,
            [assigned_address, buffer, proxy, forward],
            code,
            mn_lla,
            pcoa,
            ncoa,
            unknown,
        )| {
            Message::HandoverInitiate(HandoverInitiate {
                sequence,
                assigned_address,
                buffer,
                proxy,
                forward,
                code: code.into(),
                mn_lla,
                pcoa,
                ncoa,
                unknown,
            })
        },
    )
}

fn hack() -> impl Strategy<Value = Message> {
    let fields = (
        any::<u16>(),
        any::<u8>(),
        option::of(address()),
        unknown_mh(),
    );
    fields.prop_map(|(sequence, code, ncoa, unknown)| {
        Message::HandoverAck(HandoverAck {
            sequence,
            code: code.into(),
            ncoa,
            unknown,
        })
    })
}

fn rs() -> impl Strategy<Value = Message> {
    (option::of(mac()), unknown_nd()).prop_map(|(source_lla, unknown)| {
        Message::RouterSolicitation(RouterSolicitation {
            source_lla,
            unknown,
        })
    })
}

fn prefix_information() -> impl Strategy<Value = PrefixInformation> {
    let fields = (
        address(),
        0..=128u8,
        any::<[bool; 2]>(),
        any::<u32>(),
        any::<u32>(),
    );
    fields.prop_map(
        |(address, length, [on_link, autonomous], valid, preferred)| PrefixInformation {
            prefix: Prefix::new(address, length).unwrap(),
            on_link,
            autonomous,
            valid,
            preferred,
        },
    )
}

fn naack() -> impl Strategy<Value = Naack> {
    let fields = (any::<u8>(), option::of(unicast()), unicast());
    fields.prop_map(|(status, ncoa, supplied)| {
        let status = NaackStatus::from(status);
        let ncoa = match status {
            NaackStatus::UseSupplied => Some(supplied),
            _ => ncoa,
        };
        Naack { status, ncoa }
    })
}

fn ra() -> impl Strategy<Value = Message> {
    let fields = (
        any::<(u8, [bool; 2], u16, u32, u32)>(),
        option::of(mac()),
        vec(prefix_information(), 0..3),
        option::of(naack()),
        unknown_nd(),
    );
    fields.prop_map(|(fixed, source_lla, prefixes, naack, unknown)| {
        let (hop_limit, [managed, other], router_lifetime, reachable_ms, retrans_ms) = fixed;
        Message::RouterAdvertisement(RouterAdvertisement {
            hop_limit,
            managed,
            other,
            router_lifetime,
            reachable_ms,
            retrans_ms,
            source_lla,
            prefixes,
            naack,
            unknown,
        })
    })
}

fn ns() -> impl Strategy<Value = Message> {
    let fields = (unicast(), option::of(mac()), unknown_nd());
    fields.prop_map(|(target, source_lla, unknown)| {
        Message::NeighborSolicitation(NeighborSolicitation {
            target,
            source_lla,
            unknown,
        })
    })
}

fn fna() -> impl Strategy<Value = Message> {
    let fbu = vec(any::<u8>(), 0..80).prop_map(|payload| {
        let mut packet = vec![0x60, 0, 0, 0, 0, payload.len() as u8];
        packet.extend([0x3c; 34]);
        packet.extend(payload);
        Bytes::from(packet)
    });
    let fields = (option::of(mac()), unknown_mh(), option::of(fbu));
    fields.prop_map(|(mn_lla, unknown, fbu)| {
        Message::FastNeighborAdvertisement(FastNeighborAdvertisement {
            mn_lla,
            unknown,
            fbu,
        })
    })
}

fn binding_error() -> impl Strategy<Value = Message> {
    (any::<u8>(), address()).prop_map(|(status, home_address)| {
        Message::BindingError(BindingError {
            status,
            home_address,
        })
    })
}

fn parameter_problem() -> impl Strategy<Value = Message> {
    let fields = (any::<u8>(), any::<u32>(), vec(any::<u8>(), 0..100));
    fields.prop_map(|(code, pointer, invoking)| {
        Message::ParameterProblem(ParameterProblem {
            code,
            pointer,
            invoking: invoking.into(),
        })
    })
}

/// Tells whether a message is refused unless its hop limit is 255.
pub(super) fn is_neighbor_discovery(message: &Message) -> bool {
    matches!(
        message,
        Message::RtSolPr(_)
            | Message::PrRtAdv(_)
            | Message::NeighborAdvertisement(_)
            | Message::RouterSolicitation(_)
            | Message::RouterAdvertisement(_)
            | Message::NeighborSolicitation(_)
    )
}

/// Any packet that the formats allow.
pub(super) fn packet() -> impl Strategy<Value = Packet> {
    let message = prop_oneof![
        rtsolpr(),
        prrtadv(),
        na(),
        fbu(),
        fback(),
        hi(),
        hack(),
        rs(),
        ra(),
        ns(),
        fna(),
        binding_error(),
        parameter_problem(),
    ];
    let addresses = (address(), address(), option::of(unicast()));
    (addresses, any::<u8>(), any::<bool>(), message).prop_map(
        |((mut source, mut destination, home_address), mut hop_limit, nobody, mut message)| {
            if is_neighbor_discovery(&message) {
                hop_limit = 255;
            }
            match &mut message {
                Message::RouterAdvertisement(_) => {
                    source = Ipv6Addr::from_bits(0xfe80 << 112 | source.to_bits() >> 10);
                }
                Message::RouterSolicitation(message) if nobody => {
                    source = Ipv6Addr::UNSPECIFIED;
                    message.source_lla = None;
                }
                Message::NeighborSolicitation(message) if nobody => {
                    source = Ipv6Addr::UNSPECIFIED;
                    destination = solicited_node(message.target);
                    message.source_lla = None;
                }
                _ => {}
            }
            Packet {
                source,
                destination,
                hop_limit,
                home_address,
                message,
            }
        },
    )
}
