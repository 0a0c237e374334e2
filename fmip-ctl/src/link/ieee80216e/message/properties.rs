//! What holds for every PDU, and for every string of octets.

use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::wire::MacAddr;

fn address() -> BoxedStrategy<MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr).boxed()
}

/// TLVs with types that no message and no tuple has; short values for the most part, and one that
/// needs a long length.
fn unknown() -> BoxedStrategy<Vec<UnknownTlv>> {
    let value = prop_oneof![9 => vec(any::<u8>(), 0..12), 1 => vec(any::<u8>(), 120..140)];
    vec((200..=255u8, value), 0..3)
        .prop_map(|tlvs| {
            tlvs.into_iter()
                .map(|(kind, value)| UnknownTlv {
                    kind,
                    value: value.into(),
                })
                .collect()
        })
        .boxed()
}

/// As [`unknown`], for lists of such lists, which must fit into one PDU together.
fn few_unknown() -> BoxedStrategy<Vec<UnknownTlv>> {
    vec((200..=255u8, vec(any::<u8>(), 0..4)), 0..2)
        .prop_map(|tlvs| {
            tlvs.into_iter()
                .map(|(kind, value)| UnknownTlv {
                    kind,
                    value: value.into(),
                })
                .collect()
        })
        .boxed()
}

fn security() -> BoxedStrategy<SecurityNegotiation> {
    (
        any::<[Option<u8>; 3]>(),
        any::<Option<u16>>(),
        few_unknown(),
    )
        .prop_map(
            |([pkm_version, authorization, mac_mode], pn_window, unknown)| SecurityNegotiation {
                pkm_version,
                authorization,
                mac_mode,
                pn_window,
                unknown,
            },
        )
        .boxed()
}

fn capabilities() -> BoxedStrategy<BasicCapabilities> {
    (
        any::<[Option<u8>; 3]>(),
        option::of(security()),
        few_unknown(),
    )
        .prop_map(
            |([bandwidth, pdu, authorization], security, unknown)| BasicCapabilities {
                bandwidth,
                pdu,
                authorization,
                security,
                unknown,
            },
        )
        .boxed()
}

fn registration() -> BoxedStrategy<RegistrationParameters> {
    (any::<[Option<u8>; 7]>(), few_unknown())
        .prop_map(|(values, unknown)| {
            let [
                managed,
                ip_management,
                ip_version,
                resource_retain_time,
                ho_retransmission,
                mobility,
                service_flows,
            ] = values;
            RegistrationParameters {
                managed,
                ip_management,
                ip_version,
                resource_retain_time,
                ho_retransmission,
                mobility,
                service_flows,
                unknown,
            }
        })
        .boxed()
}

fn flows() -> BoxedStrategy<Flows> {
    let flow = || {
        (
            any::<Option<u32>>(),
            any::<Option<u16>>(),
            any::<[Option<u8>; 4]>(),
            few_unknown(),
        )
            .prop_map(
                |(sfid, cid, [qos_set, priority, scheduling, convergence], unknown)| ServiceFlow {
                    sfid,
                    cid,
                    qos_set,
                    priority,
                    scheduling,
                    convergence,
                    unknown,
                },
            )
    };
    (option::of(flow()), option::of(flow()), few_unknown())
        .prop_map(|(uplink, downlink, unknown)| Flows {
            uplink,
            downlink,
            unknown,
        })
        .boxed()
}

fn ranging() -> BoxedStrategy<Message> {
    let request = (
        option::of(address()),
        option::of(address()),
        any::<bool>(),
        any::<Option<u8>>(),
        unknown(),
    )
        .prop_map(|(station, serving, handover, ho_id, unknown)| {
            Message::RngReq(RngReq {
                station,
                serving,
                handover,
                ho_id,
                unknown,
            })
        });
    let response = (
        any::<u8>(),
        any::<(Option<[u8; 4]>, Option<u8>, Option<[u8; 4]>)>(),
        option::of(address()),
        any::<(Option<u16>, Option<u16>, Option<u16>)>(),
        any::<(Option<u8>, Option<bool>, Option<u8>)>(),
        option::of(capabilities()),
        option::of(registration()),
        unknown(),
    )
        .prop_map(
            |(
                status,
                (timing, power, frequency),
                station,
                (basic_cid, primary_cid, bits),
                (service_level, resource_retain, ho_id),
                sbc,
                reg,
                unknown,
            )| {
                Message::RngRsp(RngRsp {
                    status: status.into(),
                    timing,
                    power,
                    frequency,
                    station,
                    basic_cid,
                    primary_cid,
                    service_level,
                    resource_retain,
                    ho_optimization: bits.map(HoOptimization),
                    ho_id,
                    sbc,
                    reg,
                    unknown,
                })
            },
        );
    prop_oneof![request.boxed(), response.boxed()].boxed()
}

fn privacy() -> BoxedStrategy<Message> {
    (
        any::<(bool, u8, u8)>(),
        any::<(Option<u32>, Option<u8>)>(),
        option::of(security()),
        any::<[Option<[u8; 8]>; 3]>(),
        unknown(),
    )
        .prop_map(
            |(
                (request, code, identifier),
                (key_lifetime, error_code),
                security,
                random,
                unknown,
            )| {
                let [ms_random, bs_random, akid] = random;
                let pkm = Pkm {
                    code: code.into(),
                    identifier,
                    key_lifetime,
                    error_code,
                    security,
                    ms_random,
                    bs_random,
                    akid,
                    unknown,
                };
                if request {
                    Message::PkmReq(pkm)
                } else {
                    Message::PkmRsp(pkm)
                }
            },
        )
        .boxed()
}

fn entry() -> BoxedStrategy<Message> {
    let answer = || {
        (any::<(u16, u8)>(), flows()).prop_map(|((transaction, confirmation), flows)| DsaAnswer {
            transaction,
            confirmation: confirmation.into(),
            flows,
        })
    };
    prop_oneof![
        capabilities().prop_map(Message::SbcReq),
        capabilities().prop_map(Message::SbcRsp),
        registration().prop_map(|parameters| Message::RegReq(RegReq { parameters })),
        (any::<u8>(), registration()).prop_map(|(response, parameters)| {
            Message::RegRsp(RegRsp {
                response: response.into(),
                parameters,
            })
        }),
        (any::<u16>(), flows())
            .prop_map(|(transaction, flows)| Message::DsaReq(DsaReq { transaction, flows })),
        answer().prop_map(Message::DsaRsp),
        answer().prop_map(Message::DsaAck),
    ]
    .boxed()
}

fn broadcast() -> BoxedStrategy<Message> {
    let map = (
        any::<(u8, u8, u8)>(),
        0..1u32 << 24,
        address(),
        vec(any::<u8>(), 0..20),
    )
        .prop_map(
            |((frame_duration, dcd_count, symbols), frame_number, bsid, allocations)| {
                Message::DlMap(DlMap {
                    frame_duration,
                    frame_number,
                    dcd_count,
                    bsid,
                    symbols,
                    allocations: allocations.into(),
                })
            },
        );
    let neighbor = (
        any::<[u8; 3]>(),
        any::<(u8, Option<u8>, Option<u8>)>(),
        any::<[u8; 3]>(),
        (0..16u8, 0..16u8),
        few_unknown(),
    )
        .prop_map(
            |(
                bsid,
                (phy_profile, fa_index, eirp),
                [preamble, ho_optimization, scheduling],
                (dcd_count, ucd_count),
                unknown,
            )| Neighbor {
                bsid,
                // The other two bits say whether the fields behind it are there.
                phy_profile: phy_profile & !0x50,
                fa_index,
                eirp,
                preamble,
                ho_optimization,
                scheduling,
                dcd_count,
                ucd_count,
                unknown,
            },
        );
    let advertisement = (
        any::<(Option<[u8; 3]>, u8)>(),
        (0..16u8, 0..16u8),
        vec(neighbor, 0..5),
    )
        .prop_map(
            |((operator, change_count), (fragment, fragments), neighbors)| {
                Message::MobNbrAdv(MobNbrAdv {
                    operator,
                    change_count,
                    fragment,
                    fragments,
                    neighbors,
                })
            },
        );
    prop_oneof![map.boxed(), advertisement.boxed()].boxed()
}

fn measured() -> BoxedStrategy<Measured> {
    (address(), any::<u8>())
        .prop_map(|(bsid, rssi)| Measured {
            bsid,
            rssi: Rssi(rssi),
        })
        .boxed()
}

fn scanning() -> BoxedStrategy<Message> {
    let targets = || {
        let kind = prop_oneof![Just(ScanType::Listen), Just(ScanType::Associate)];
        vec(
            (address(), kind).prop_map(|(bsid, kind)| ScanTarget { bsid, kind }),
            0..9,
        )
    };
    let request = (any::<[u8; 3]>(), targets(), unknown()).prop_map(
        |([duration, interleaving, iterations], targets, unknown)| {
            Message::MobScnReq(MobScnReq {
                duration,
                interleaving,
                iterations,
                targets,
                unknown,
            })
        },
    );
    let grant = (1..=255u8, 0..16u8, any::<(u8, u8)>(), targets()).prop_map(
        |(duration, start, (interleaving, iterations), targets)| ScanGrant {
            duration,
            start,
            interleaving,
            iterations,
            targets,
        },
    );
    let response = (option::of(grant), 0..4u8, any::<u8>(), unknown()).prop_map(
        |(grant, report_mode, report_period, unknown)| {
            Message::MobScnRsp(MobScnRsp {
                grant,
                report_mode,
                report_period,
                unknown,
            })
        },
    );
    let report = (
        any::<(bool, Option<u8>)>(),
        vec(measured(), 0..9),
        unknown(),
    )
        .prop_map(|((event_triggered, serving), neighbors, unknown)| {
            Message::MobScnRep(MobScnRep {
                event_triggered,
                serving: serving.map(Rssi),
                neighbors,
                unknown,
            })
        });
    prop_oneof![request.boxed(), response.boxed(), report.boxed()].boxed()
}

fn handover() -> BoxedStrategy<Message> {
    let candidate =
        (measured(), any::<u8>(), 0..8u8).prop_map(|(measured, preamble, service_level)| {
            Candidate {
                measured,
                preamble,
                service_level,
            }
        });
    let request = (vec(candidate, 0..6), any::<Option<u8>>(), unknown()).prop_map(
        |(candidates, serving, unknown)| {
            Message::MobMshoReq(MobMshoReq {
                candidates,
                serving: serving.map(Rssi),
                unknown,
            })
        },
    );
    let recommendation = || {
        let target = (
            address(),
            any::<[u8; 3]>(),
            any::<(bool, Option<u8>, Option<u8>)>(),
        )
            .prop_map(
                |(
                    bsid,
                    [preamble, service_level, ho_optimization],
                    (network_assisted, ho_id, policy),
                )| Target {
                    bsid,
                    preamble,
                    service_level,
                    ho_optimization,
                    network_assisted,
                    ho_id,
                    policy,
                },
            );
        (any::<(bool, bool)>(), vec(target, 0..6)).prop_map(
            |((mandatory, resource_retain), targets)| Recommendation {
                mandatory,
                resource_retain,
                targets,
            },
        )
    };
    let ordered = (any::<bool>(), recommendation(), 0..128u8, unknown()).prop_map(
        |(network_assisted, recommendation, action_time, unknown)| {
            Message::MobBshoReq(MobBshoReq {
                network_assisted,
                recommendation,
                action_time,
                unknown,
            })
        },
    );
    let answer = (option::of(recommendation()), any::<u8>(), unknown()).prop_map(
        |(recommendation, action_time, unknown)| {
            Message::MobBshoRsp(MobBshoRsp {
                recommendation,
                action_time,
                unknown,
            })
        },
    );
    let said = prop_oneof![
        address().prop_map(|target| HoIndication::Release { target }),
        Just(HoIndication::Cancel),
        Just(HoIndication::Reject),
    ];
    let indication = (said, 0..4u8, any::<u8>(), unknown()).prop_map(
        |(indication, ranging_valid, preamble, unknown)| {
            Message::MobHoInd(MobHoInd {
                indication,
                ranging_valid,
                preamble,
                unknown,
            })
        },
    );
    prop_oneof![
        request.boxed(),
        ordered.boxed(),
        answer.boxed(),
        indication.boxed()
    ]
    .boxed()
}

fn message() -> BoxedStrategy<Message> {
    prop_oneof![
        broadcast(),
        ranging(),
        privacy(),
        entry(),
        scanning(),
        handover(),
    ]
    .boxed()
}

fn pdu() -> BoxedStrategy<Pdu> {
    let cmac = (
        0..16u8,
        option::of(address()),
        any::<u32>(),
        any::<[u8; CMAC_LEN]>(),
    )
        .prop_map(|(key_sequence, bsid, packet_number, value)| {
            Authentication::Cmac(CmacTuple {
                key_sequence,
                bsid,
                packet_number,
                value,
            })
        });
    let hmac = (0..16u8, any::<[u8; HMAC_LEN]>()).prop_map(|(key_sequence, digest)| {
        Authentication::Hmac(HmacTuple {
            key_sequence,
            digest,
        })
    });
    let authentication = option::of(prop_oneof![3 => cmac, 1 => hmac]);
    (any::<u16>(), message(), authentication)
        .prop_map(|(cid, message, authentication)| {
            // What this kind of message cannot carry is not written.
            let authentication = match (message.form(), authentication) {
                (Form::None, _) => None,
                (Form::Digest, Some(Authentication::Cmac(cmac))) => {
                    Some(Authentication::Cmac(CmacTuple { bsid: None, ..cmac }))
                }
                (_, authentication) => authentication,
            };
            Pdu {
                cid,
                message,
                authentication,
            }
        })
        .boxed()
}

/// What was accepted is written as something that says the same, and is written so again.
fn accepted_is_stable(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(Received { pdu, .. }) = Pdu::decode(bytes) {
        let written = pdu.encode().expect("it was as long as a PDU");
        let again = Pdu::decode(&written).map(|received| received.pdu);
        prop_assert_eq!(again.as_ref(), Ok(&pdu));
        prop_assert_eq!(again.unwrap().encode(), Ok(written));
    }
    Ok(())
}

proptest! {
    #[test]
    fn pdu_is_read_as_it_was_written(pdu in pdu(), padding in 0..40usize) {
        let mut bytes = pdu.encode().unwrap().to_vec();
        // A short frame is padded by Ethernet.
        bytes.resize(bytes.len() + padding, 0);
        let received = Pdu::decode(&bytes).unwrap();
        prop_assert_eq!(&received.covered[..], &pdu.covered()[..]);
        prop_assert_eq!(received.pdu, pdu);
    }

    #[test]
    fn every_strict_prefix_is_an_error(pdu in pdu()) {
        let bytes = pdu.encode().unwrap();
        for len in 0..bytes.len() {
            let refused = matches!(
                Pdu::decode(&bytes[..len]), Err(DecodeError::Truncated { .. }));
            prop_assert!(refused, "{} of {} octets", len, bytes.len());
        }
    }

    /// A PDU whose header says less than it holds: what is cut off is missed, or never counted.
    #[test]
    fn shorter_length_in_the_header_never_panics(pdu in pdu(), len in 0..0x800usize) {
        let bytes = pdu.encode().unwrap();
        let mut cut = BytesMut::new();
        Header { len, cid: pdu.cid }.encode(&mut cut);
        cut.extend_from_slice(&bytes[header::LEN..]);
        accepted_is_stable(&cut)?;
    }

    #[test]
    fn tampered_message_never_panics_and_what_passes_is_stable(
        pdu in pdu(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = pdu.encode().unwrap().to_vec();
        for (position, octet) in changes {
            let at = header::LEN + position.index(bytes.len() - header::LEN);
            bytes[at] = octet;
        }
        accepted_is_stable(&bytes)?;
    }

    #[test]
    fn any_octets_behind_a_type_never_panic_and_what_passes_is_stable(
        kind in prop::sample::select(vec![
            2u8, 4, 5, 6, 7, 9, 10, 11, 12, 13, 26, 27, 53, 54, 55, 56, 57, 58, 59, 60]),
        octets in vec(any::<u8>(), 0..80),
    ) {
        let mut bytes = BytesMut::new();
        Header { len: header::LEN + 1 + octets.len(), cid: 1 }.encode(&mut bytes);
        bytes.extend_from_slice(&[kind]);
        bytes.extend_from_slice(&octets);
        accepted_is_stable(&bytes)?;
    }

    #[test]
    fn random_octets_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Pdu::decode(&bytes);
    }
}

#[test]
fn message_that_no_pdu_holds_is_refused_by_name() {
    let neighbors = vec![Neighbor::new(MacAddr([2, 0, 0, 0, 0, 1])); 300];
    let pdu = Pdu {
        cid: cid::BROADCAST,
        message: Message::MobNbrAdv(MobNbrAdv {
            operator: None,
            change_count: 0,
            fragment: 0,
            fragments: 1,
            neighbors,
        }),
        authentication: None,
    };
    let error = pdu.encode().unwrap_err();
    assert_eq!(error.message, "MOB_NBR-ADV");
    assert!(error.to_string().ends_with("a PDU holds 2047"), "{error}");
}
