//! What the fuzzers begin with: a valid input of every kind, from which they find their way.

mod link_layers;

use std::net::Ipv6Addr;

use bytes::Bytes;
use fmip_ctl::{
    link::{
        ieee80216e::{
            auth::{Ak, Context, End, KEY_LEN, KEY_SEQUENCE, Pmk, Requirement, requirement},
            message::{
                BasicCapabilities, Candidate, Confirmation, DlMap, DsaAnswer, DsaReq, Flows,
                HoIndication, HoOptimization, Measured, Message as Management, MobBshoReq,
                MobBshoRsp, MobHoInd, MobMshoReq, MobNbrAdv, MobScnRep, MobScnReq, MobScnRsp,
                Neighbor, Pdu, Pkm, PkmCode, RangingStatus, Recommendation, RegReq, RegResponse,
                RegRsp, RegistrationParameters, RngReq, RngRsp, Rssi, ScanGrant, ScanTarget,
                ScanType, SecurityNegotiation, ServiceFlow, Target,
            },
        },
        vocabulary::Indication,
    },
    observe::{Request, Trigger},
    proto::LinkEvent,
    wire::{
        ApOutcome, ApTuple, Authorization, BindingError, FastBindingAck, FastBindingStatus,
        FastBindingUpdate, FastNeighborAdvertisement, HackCode, HandoverAck, HandoverInitiate,
        HiCode, MacAddr, Message, Naack, NaackStatus, NeighborAdvertisement, NeighborSolicitation,
        Packet, ParameterProblem, PrRtAdv, PrRtAdvCode, PrefixInformation, RouterAdvertisement,
        RouterInfo, RouterSolicitation, RtSolPr, UnknownOption, mobility_header, solicited_node,
    },
};

const IPV6_HEADER_LEN: usize = 40;
const MH_DATA: usize = 6;

const MN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
const AP: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa2]);
const ROUTER_LLA: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const PCOA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x11);
const NCOA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x11);
const PAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const NAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The inputs to begin a target with.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "packet" => packets()
            .iter()
            .map(|packet| packet.encode().to_vec())
            .collect(),
        "icmpv6" => packets().iter().filter_map(icmpv6).collect(),
        "mobility" => packets().iter().filter_map(mobility).collect(),
        "management" => management(),
        "configuration" => vec![
            include_str!("../../../fmip-ctl/examples/access-router.toml").into(),
            include_str!("../../../fmip-ctl/examples/mobile-node.toml").into(),
        ],
        "control" => requests(),
        "access_router" => ROUTER_STORIES.iter().map(|story| story.concat()).collect(),
        "mobile_node" => MOBILE_STORIES.iter().map(|story| story.concat()).collect(),
        "station" => link_layers::station(),
        "supplicant" => link_layers::supplicant(),
        "hostapd" => link_layers::hostapd(),
        _ => Vec::new(),
    }
}

/// A PDU of 802.16e of every kind, some of them with what authenticates them.
fn management() -> Vec<Vec<u8>> {
    let ak = Ak::derive(&Pmk([7; KEY_LEN]), MN, AP);
    let mut context = Context::new(&ak, KEY_SEQUENCE, MN, AP, End::BaseStation);
    let flows = || Flows {
        downlink: Some(ServiceFlow {
            sfid: Some(1),
            convergence: Some(ServiceFlow::IPV6),
            ..ServiceFlow::default()
        }),
        ..Flows::default()
    };
    let pkm = |code| Pkm {
        ms_random: Some([1; 8]),
        bs_random: Some([2; 8]),
        akid: Some([3; 8]),
        security: Some(SecurityNegotiation::profile()),
        ..Pkm::new(code, 1)
    };
    let measured = Measured {
        bsid: AP,
        rssi: Rssi::from_dbm(-70),
    };
    let targets = || {
        vec![ScanTarget {
            bsid: AP,
            kind: ScanType::Listen,
        }]
    };
    let recommendation = || Recommendation {
        mandatory: true,
        resource_retain: true,
        targets: vec![Target {
            ho_id: Some(1),
            policy: Some(2),
            ..Target::new(AP)
        }],
    };
    let answer = || DsaAnswer {
        transaction: 0x8000,
        confirmation: Confirmation::Ok,
        flows: flows(),
    };
    let unknown = Vec::new;
    let messages = [
        Management::DlMap(DlMap {
            frame_duration: DlMap::FRAME_5_MS,
            frame_number: 1,
            dcd_count: 0,
            bsid: AP,
            symbols: 0,
            allocations: Bytes::new(),
        }),
        Management::RngReq(RngReq {
            station: Some(MN),
            serving: Some(AP),
            handover: true,
            ..RngReq::default()
        }),
        Management::RngRsp(RngRsp {
            station: Some(MN),
            basic_cid: Some(1),
            primary_cid: Some(2),
            ho_optimization: Some(HoOptimization::OMIT_PKM),
            sbc: Some(BasicCapabilities::profile()),
            reg: Some(RegistrationParameters::default()),
            ..RngRsp::new(RangingStatus::Success)
        }),
        Management::RegReq(RegReq::default()),
        Management::RegRsp(RegRsp {
            response: RegResponse::Ok,
            parameters: RegistrationParameters {
                service_flows: Some(1),
                ..RegistrationParameters::default()
            },
        }),
        Management::PkmReq(pkm(PkmCode::SaTekRequest)),
        Management::PkmRsp(pkm(PkmCode::SaTekResponse)),
        Management::DsaReq(DsaReq {
            transaction: 0x8000,
            flows: flows(),
        }),
        Management::DsaRsp(answer()),
        Management::DsaAck(answer()),
        Management::SbcReq(BasicCapabilities::profile()),
        Management::SbcRsp(BasicCapabilities::profile()),
        Management::MobNbrAdv(MobNbrAdv {
            operator: Some([2, 0, 0]),
            change_count: 1,
            fragment: 0,
            fragments: 1,
            neighbors: vec![Neighbor {
                fa_index: Some(1),
                eirp: Some(2),
                ..Neighbor::new(AP)
            }],
        }),
        Management::MobScnReq(MobScnReq {
            duration: 1,
            interleaving: 2,
            iterations: 3,
            targets: targets(),
            unknown: unknown(),
        }),
        Management::MobScnRsp(MobScnRsp {
            grant: Some(ScanGrant {
                duration: 1,
                start: 2,
                interleaving: 3,
                iterations: 4,
                targets: targets(),
            }),
            report_mode: 1,
            report_period: 0,
            unknown: unknown(),
        }),
        Management::MobScnRep(MobScnRep {
            event_triggered: false,
            serving: Some(Rssi(1)),
            neighbors: vec![measured],
            unknown: unknown(),
        }),
        Management::MobMshoReq(MobMshoReq {
            candidates: vec![Candidate {
                measured,
                preamble: 0,
                service_level: 2,
            }],
            serving: Some(Rssi(1)),
            unknown: unknown(),
        }),
        Management::MobBshoReq(MobBshoReq {
            network_assisted: true,
            recommendation: recommendation(),
            action_time: 1,
            unknown: unknown(),
        }),
        Management::MobBshoRsp(MobBshoRsp {
            recommendation: Some(recommendation()),
            action_time: 1,
            unknown: unknown(),
        }),
        Management::MobHoInd(MobHoInd::new(HoIndication::Release { target: AP })),
    ];
    messages
        .into_iter()
        .flat_map(|message| {
            let plain = Pdu {
                cid: 1,
                message: message.clone(),
                authentication: None,
            };
            let plain = plain.encode().expect("it is short");
            let signed = match requirement(&message) {
                Requirement::Never => None,
                _ => Some(context.sign(1, message).expect("it is short")),
            };
            [Some(plain), signed].into_iter().flatten()
        })
        .map(|pdu| pdu.to_vec())
        .collect()
}

/// An ICMPv6 message as [`super::octets::icmpv6`] reads it.
fn icmpv6(packet: &Packet) -> Option<Vec<u8>> {
    let which = match packet.message {
        Message::RtSolPr(_) => 0,
        Message::PrRtAdv(_) => 1,
        Message::NeighborAdvertisement(_) => 2,
        Message::RouterSolicitation(_) => 3,
        Message::RouterAdvertisement(_) => 4,
        Message::NeighborSolicitation(_) => 5,
        Message::ParameterProblem(_) => 6,
        _ => return None,
    };
    Some([&[which, 12], &packet.encode()[IPV6_HEADER_LEN..]].concat())
}

/// A Mobility Header's data as [`super::octets::mobility`] reads it.
fn mobility(packet: &Packet) -> Option<Vec<u8>> {
    let which = match packet.message {
        Message::FastBindingUpdate(_) => 0,
        Message::FastBindingAck(_) => 1,
        Message::HandoverInitiate(_) => 2,
        Message::HandoverAck(_) => 3,
        Message::BindingError(_) => 4,
        Message::FastNeighborAdvertisement(_) => 5,
        _ => return None,
    };
    let bytes = packet.encode();
    let data = &mobility_header(&bytes)?[MH_DATA..];
    Some([&[which, 12], data].concat())
}

fn requests() -> Vec<Vec<u8>> {
    let (access_point, node, link_address) = (AP, PCOA, MN);
    let interface = || Some("acc0".to_owned());
    let requests = [
        Request::Status,
        Request::Reload,
        Request::Subscribe,
        Request::Shutdown,
        Request::Trigger(Trigger::Impend { access_point }),
        Request::Trigger(Trigger::LinkUp { access_point }),
        Request::Trigger(Trigger::LinkDown),
        Request::Trigger(Trigger::NewLink { access_point }),
        Request::Trigger(Trigger::Attached {
            node,
            link_address,
            interface: interface(),
        }),
        Request::Trigger(Trigger::Departed {
            node,
            interface: interface(),
        }),
        Request::Trigger(Trigger::Handover {
            node,
            access_point,
            ncoa: Some(NCOA),
        }),
        Request::Trigger(Trigger::Advertise { node }),
        Request::Primitive(Indication::Event {
            event: LinkEvent::HandoverImpend { access_point },
            of: None,
        }),
        Request::Primitive(Indication::Event {
            event: LinkEvent::LinkDown,
            of: Some(access_point),
        }),
        Request::Primitive(Indication::SwitchFailed {
            access_point,
            error: "no answer".to_owned(),
        }),
    ];
    requests
        .iter()
        .map(|request| serde_json::to_vec(request).expect("a request is plain data"))
        .collect()
}

/// Choices of a configuration of the router: the first of each, or others.
const ROUTER_CONFIG: &[u8] = &[0; 15];
const ASSIGNING: &[u8] = &[1, 0, 1, 1, 2, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0];
const KEEPING: &[u8] = &[2, 0, 2, 0, 3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0];
/// A signed FBU from the PCoA, to the second neighbor's prefix or the third's; one after the move.
const FBU: &[u8] = &[10, 0, 0, 0];
const FBU_ELSEWHERE: &[u8] = &[10, 0, 1, 0];
const FBU_AFTER_THE_MOVE: &[u8] = &[10, 0x20, 2, 0];
const FBU_BACK: &[u8] = &[10, 0, 2, 1];
/// The answer to the last HI: accepted; with another NCoA; refused.
const HACK: &[u8] = &[15, 1, 0];
const HACK_ASSIGNED: &[u8] = &[15, 0x81, 2];
const HACK_REFUSED: &[u8] = &[15, 1, 6];
/// An HI for our first link, of mobile node 0; its UNA.
const HI: &[u8] = &[13, 0, 0, 0, 1];
const UNA: &[u8] = &[18, 0, 0];
const DRAINED: &[u8] = &[5];
const A_MOMENT: &[u8] = &[0, 50];
const NEXT_DEADLINE: &[u8] = &[2];
const LONG: &[u8] = &[1, 4, 0];
const DEPARTED: &[u8] = &[25, 0, 0, 0];
const ATTACHED: &[u8] = &[25, 0, 0, 1];
const FNA_WITH_FBU: &[u8] = &[21, 0, 0, 1, 0x20, 2, 0, 0, 1];

const ROUTER_STORIES: &[&[&[u8]]] = &[
    &[ROUTER_CONFIG, FBU, HACK, A_MOMENT, LONG],
    &[
        ROUTER_CONFIG,
        FBU,
        HACK_REFUSED,
        FBU_ELSEWHERE,
        HACK_ASSIGNED,
        FBU_BACK,
        LONG,
    ],
    &[
        ROUTER_CONFIG,
        FBU_AFTER_THE_MOVE,
        NEXT_DEADLINE,
        NEXT_DEADLINE,
        HACK,
        LONG,
    ],
    &[ROUTER_CONFIG, HI, A_MOMENT, UNA, DRAINED, LONG],
    &[ASSIGNING, HI, NEXT_DEADLINE, UNA, DRAINED, LONG],
    &[KEEPING, HI, UNA, DRAINED, LONG],
    &[
        KEEPING,
        DEPARTED,
        A_MOMENT,
        FBU_AFTER_THE_MOVE,
        HACK,
        DRAINED,
        LONG,
    ],
    &[ASSIGNING, DEPARTED, ATTACHED, LONG],
    &[ROUTER_CONFIG, FNA_WITH_FBU, LONG],
];

/// Choices of a mobile node's configuration; the legacy announcement.
const NODE_CONFIG: &[u8] = &[1, 1, 1, 0, 0];
const LEGACY: &[u8] = &[1, 1, 1, 0, 1];
const IMPEND: &[u8] = &[10, 1, 0];
const DOWN: &[u8] = &[10, 0, 2];
const UP: &[u8] = &[10, 1, 1];
const UP_AT_HOME: &[u8] = &[10, 0, 1];
/// The answer to the last RtSolPr: the second router is behind the second access point.
const PRRTADV: &[u8] = &[14, 0, 1, 0, 0];
const FBACK: &[u8] = &[17, 0, 0, 0];
const FBACK_REFUSED: &[u8] = &[17, 0, 2, 0];
/// The second router's advertisement; with a supplied address.
const RA: &[u8] = &[20, 1, 0, 0, 1, 0, 0];
const NAACK: &[u8] = &[20, 1, 2, 0, 1, 0, 0];

const MOBILE_STORIES: &[&[&[u8]]] = &[
    &[
        NODE_CONFIG,
        IMPEND,
        PRRTADV,
        FBACK,
        DOWN,
        UP,
        A_MOMENT,
        LONG,
    ],
    &[
        NODE_CONFIG,
        IMPEND,
        PRRTADV,
        DOWN,
        UP,
        NEXT_DEADLINE,
        FBACK,
        LONG,
    ],
    &[NODE_CONFIG, DOWN, UP, RA, A_MOMENT, FBACK, LONG],
    &[LEGACY, IMPEND, PRRTADV, DOWN, UP, RA, FBACK, LONG],
    &[
        NODE_CONFIG,
        IMPEND,
        PRRTADV,
        FBACK,
        DOWN,
        UP,
        NAACK,
        NEXT_DEADLINE,
        FBACK,
        LONG,
    ],
    &[
        NODE_CONFIG,
        IMPEND,
        PRRTADV,
        FBACK,
        DOWN,
        UP_AT_HOME,
        NEXT_DEADLINE,
        FBACK,
        LONG,
    ],
    &[NODE_CONFIG, IMPEND, PRRTADV, FBACK_REFUSED, LONG],
];

fn packet(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, message: Message) -> Packet {
    Packet {
        source,
        destination,
        hop_limit,
        home_address: None,
        message,
    }
}

fn authorization() -> Option<Authorization> {
    Some(Authorization {
        spi: 0x100,
        authenticator: Bytes::from_static(b"authenticate"),
    })
}

/// A packet of every kind.
fn packets() -> Vec<Packet> {
    let mut packets = neighbor_discovery();
    packets.extend(mobility_headers());
    packets
}

fn neighbor_discovery() -> Vec<Packet> {
    let nd = |source, destination, message| packet(source, destination, 255, message);
    let prefix = "2001:db8:2::/64".parse().expect("a prefix");
    let known = ApTuple {
        access_point: AP,
        outcome: ApOutcome::Known,
        router: Some(RouterInfo {
            lla: ROUTER_LLA,
            address: NAR,
            prefix,
        }),
        new_coa: Some(NCOA),
    };
    let unknown = ApTuple {
        outcome: ApOutcome::NoPrefix,
        router: None,
        new_coa: None,
        ..known
    };
    let rtsolpr = |access_points| {
        Message::RtSolPr(RtSolPr {
            identifier: 1,
            source_lla: Some(MN),
            access_points,
            unknown: vec![],
        })
    };
    let naacks = [
        None,
        Some((NaackStatus::UseSupplied, Some(NCOA))),
        Some((NaackStatus::UseRouterAddress, None)),
    ];
    let mut packets = vec![
        nd(PCOA, PAR, rtsolpr(vec![])),
        nd(PCOA, PAR, rtsolpr(vec![AP, ROUTER_LLA])),
        nd(
            LINK_LOCAL,
            PCOA,
            Message::PrRtAdv(PrRtAdv {
                code: PrRtAdvCode::Partial,
                identifier: 1,
                source_lla: Some(ROUTER_LLA),
                tuples: vec![known, unknown],
                unknown: vec![],
            }),
        ),
        nd(
            NCOA,
            ALL_NODES,
            Message::NeighborAdvertisement(NeighborAdvertisement::unsolicited(NCOA, MN)),
        ),
        nd(
            LINK_LOCAL,
            ALL_NODES,
            Message::RouterSolicitation(RouterSolicitation {
                source_lla: Some(MN),
                unknown: vec![UnknownOption {
                    kind: 14,
                    body: Bytes::from_static(b"nonce!"),
                }],
            }),
        ),
        nd(
            Ipv6Addr::UNSPECIFIED,
            solicited_node(NCOA),
            Message::NeighborSolicitation(NeighborSolicitation::probe(NCOA)),
        ),
        packet(
            NAR,
            PAR,
            60,
            Message::ParameterProblem(ParameterProblem {
                code: 1,
                pointer: 6,
                invoking: Bytes::from_static(&[0x60, 0, 0, 0, 0, 0, 135, 64]),
            }),
        ),
    ];
    packets.extend(naacks.map(|naack| {
        let message = Message::RouterAdvertisement(RouterAdvertisement {
            hop_limit: 64,
            managed: false,
            other: true,
            router_lifetime: 1800,
            reachable_ms: 0,
            retrans_ms: 0,
            source_lla: Some(ROUTER_LLA),
            prefixes: vec![PrefixInformation {
                prefix,
                on_link: true,
                autonomous: true,
                valid: 86_400,
                preferred: 14_400,
            }],
            naack: naack.map(|(status, ncoa)| Naack { status, ncoa }),
            unknown: vec![],
        });
        nd(LINK_LOCAL, NCOA, message)
    }));
    packets
}

fn mobility_headers() -> Vec<Packet> {
    let fbu = Packet {
        home_address: Some(PCOA),
        ..packet(
            PCOA,
            PAR,
            64,
            Message::FastBindingUpdate(FastBindingUpdate {
                sequence: 1,
                ack: true,
                home: true,
                link_local: false,
                key_management: false,
                lifetime: 30,
                alternate_coa: Some(NCOA),
                mn_lla: Some(MN),
                unknown: vec![],
                authorization: authorization(),
            }),
        )
    };
    let fna = |fbu| {
        Message::FastNeighborAdvertisement(FastNeighborAdvertisement {
            mn_lla: Some(MN),
            unknown: vec![],
            fbu,
        })
    };
    vec![
        packet(NCOA, NAR, 64, fna(None)),
        packet(NCOA, NAR, 64, fna(Some(fbu.encode()))),
        fbu,
        packet(
            PAR,
            NCOA,
            64,
            Message::FastBindingAck(FastBindingAck {
                status: FastBindingStatus::NcoaInvalid,
                key_management: false,
                sequence: 1,
                lifetime: 30,
                alternate_coa: Some(NCOA),
                unknown: vec![],
                authorization: authorization(),
            }),
        ),
        packet(
            PAR,
            NAR,
            64,
            Message::HandoverInitiate(HandoverInitiate {
                sequence: 1,
                assigned_address: false,
                buffer: true,
                proxy: false,
                forward: false,
                code: HiCode::PcoaSource,
                mn_lla: Some(MN),
                pcoa: Some(PCOA),
                ncoa: Some(NCOA),
                unknown: vec![],
            }),
        ),
        packet(
            NAR,
            PAR,
            64,
            Message::HandoverAck(HandoverAck {
                sequence: 1,
                code: HackCode::NcoaAssigned,
                ncoa: Some(NCOA),
                // The address type that RFC 5568 section 6.4.2 has by a slip.
                unknown: vec![UnknownOption {
                    kind: 17,
                    body: Bytes::from_static(&[2; 18]),
                }],
            }),
        ),
        packet(
            NAR,
            PAR,
            64,
            Message::BindingError(BindingError {
                status: BindingError::UNRECOGNIZED_TYPE,
                home_address: PCOA,
            }),
        ),
    ]
}
