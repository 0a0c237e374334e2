//! Management messages of 802.16e, as tshark reads them.
//!
//! Of the messages that are about mobility it knows the types alone; of the others all of the
//! fields, but for the CMAC tuple of RNG-REQ and RNG-RSP, which it takes for an unknown TLV.

use bytes::Bytes;
use fmip_ctl::{
    link::ieee80216e::{
        auth::{Ak, Context, End, KEY_LEN, KEY_SEQUENCE, Pmk},
        message::{
            BasicCapabilities, Confirmation, DlMap, DsaAnswer, DsaReq, Flows, HoIndication,
            HoOptimization, Message, MobHoInd, MobNbrAdv, Neighbor, Pdu, Pkm, PkmCode,
            RangingStatus, RegReq, RegResponse, RegRsp, RegistrationParameters, RngReq, RngRsp,
            ServiceFlow, cid,
        },
    },
    wire::MacAddr,
};

use super::judge::{self, skipped};

const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
const BS1: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 1]);
const BASIC: u16 = 0x0101;
const PRIMARY: u16 = 0x0201;

/// A PDU, and lines that tshark is to say of it.
struct Case {
    pdu: Bytes,
    lines: &'static [&'static str],
}

fn cases() -> Vec<Case> {
    let ak = Ak::derive(&Pmk([7; KEY_LEN]), STATION, BS1);
    let mut context = Context::new(&ak, KEY_SEQUENCE, STATION, BS1, End::Station);
    let mut signed = |cid, message, lines| Case {
        pdu: context.sign(cid, message).unwrap(),
        lines,
    };
    let plain = |cid, message, lines| {
        let pdu = Pdu {
            cid,
            message,
            authentication: None,
        };
        Case {
            pdu: pdu.encode().unwrap(),
            lines,
        }
    };
    let flows = || Flows {
        downlink: Some(ServiceFlow {
            sfid: Some(0x0102_0304),
            cid: Some(0x1234),
            qos_set: Some(7),
            convergence: Some(ServiceFlow::IPV6),
            ..ServiceFlow::default()
        }),
        ..Flows::default()
    };
    vec![
        signed(
            cid::INITIAL_RANGING,
            Message::RngReq(RngReq {
                station: Some(STATION),
                serving: Some(BS1),
                handover: true,
                ..RngReq::default()
            }),
            &[
                "MAC Management Message Type: RNG-REQ (4)",
                "Connection ID: 0",
                "SS MAC Address: 02:00:00:00:00:11",
                "Former serving BS ID: 02:00:00:00:0a:01",
                ".... ...1 = MS HO indication: 1",
            ],
        ),
        plain(
            cid::INITIAL_RANGING,
            Message::RngRsp(RngRsp {
                station: Some(STATION),
                basic_cid: Some(BASIC),
                primary_cid: Some(PRIMARY),
                resource_retain: Some(true),
                ho_optimization: Some(
                    HoOptimization::OMIT_SBC
                        .with(HoOptimization::UPDATE_TEK)
                        .with(HoOptimization::OMIT_REG),
                ),
                ..RngRsp::new(RangingStatus::Success)
            }),
            &[
                "MAC Management Message Type: RNG-RSP (5)",
                "Ranging status: success (3)",
                "SS MAC Address: 02:00:00:00:00:11",
                "Basic CID: 257",
                "Primary Management CID: 513",
                "HO Process Optimization: 0x0083",
                ".... .... .... ...1 = Bit #0: Omit SBC-REQ management messages during current \
                 re-entry processing (0x1)",
                ".... .... 1... .... = Bit #7: Omit REG-REQ management message during current \
                 re-entry processing (0x1)",
            ],
        ),
        plain(
            BASIC,
            Message::SbcReq(BasicCapabilities::profile()),
            &[
                "MAC Management Message Type: SBC-REQ (26)",
                "Connection ID: 257",
                ".... ..1. = PKM version 2: supported",
                ".... ..1. = CMAC: supported",
            ],
        ),
        signed(
            PRIMARY,
            Message::PkmReq(Pkm {
                ms_random: Some([1, 2, 3, 4, 5, 6, 7, 8]),
                bs_random: Some([8, 7, 6, 5, 4, 3, 2, 1]),
                akid: Some([9; 8]),
                ..Pkm::new(PkmCode::SaTekRequest, 5)
            }),
            &[
                "MAC Management Message Type: PKM-REQ (9)",
                "Code: PKMv2 SA TEK Request (21)",
                "PKM Identifier: 5",
                "SS_RANDOM: 0102030405060708",
                "BS_RANDOM: 0807060504030201",
                "AKID: 0909090909090909",
                "Key Sequence Number: 1",
                "CMAC Packet Number counter, CMAC_PN_*: 0x00000002",
            ],
        ),
        signed(
            PRIMARY,
            Message::RegReq(RegReq {
                parameters: RegistrationParameters {
                    ip_version: Some(RegistrationParameters::IPV6),
                    mobility: Some(RegistrationParameters::HANDOVER),
                    ..RegistrationParameters::default()
                },
            }),
            &[
                "MAC Management Message Type: REG-REQ (6)",
                "IP version: IPV6 (0x02)",
                ".... ...1 = Mobility (handover): supported",
                "Packet Number Counter: 3",
            ],
        ),
        signed(
            PRIMARY,
            Message::RegRsp(RegRsp {
                response: RegResponse::Ok,
                parameters: RegistrationParameters {
                    resource_retain_time: Some(5),
                    service_flows: Some(2),
                    ..RegistrationParameters::default()
                },
            }),
            &[
                "MAC Management Message Type: REG-RSP (7)",
                "Response: OK (0x00)",
                "System Resource Retain Time: 5 (multiple of 100 milliseconds)",
                "Total Number of Provisional Service Flow: 2",
                "Packet Number Counter: 4",
            ],
        ),
        signed(
            PRIMARY,
            Message::DsaReq(DsaReq {
                transaction: 0x8001,
                flows: flows(),
            }),
            &[
                "MAC Management Message Type: DSA-REQ (11)",
                "Transaction ID: 0x8001",
                "Service Flow ID: 0x01020304",
                "CID: 4660",
                "CS Specification: Packet, IPv6 (2)",
                "Packet Number Counter: 5",
            ],
        ),
        signed(
            PRIMARY,
            Message::DsaRsp(DsaAnswer {
                transaction: 0x8001,
                confirmation: Confirmation::Ok,
                flows: flows(),
            }),
            &[
                "MAC Management Message Type: DSA-RSP (12)",
                "Transaction ID: 0x8001",
                "Service Flow ID: 0x01020304",
                "Packet Number Counter: 6",
            ],
        ),
        plain(
            cid::BROADCAST,
            Message::MobNbrAdv(MobNbrAdv {
                operator: Some([2, 0, 0]),
                change_count: 0,
                fragment: 0,
                fragments: 1,
                neighbors: vec![Neighbor::new(BS1)],
            }),
            &["MAC Management Message Type: MOB-NBR-ADV (53)"],
        ),
        signed(
            BASIC,
            Message::MobHoInd(MobHoInd::new(HoIndication::Release { target: BS1 })),
            &["MAC Management Message Type: MOB-HO-IND (59)"],
        ),
        plain(
            cid::BROADCAST,
            Message::DlMap(DlMap {
                frame_duration: DlMap::FRAME_5_MS,
                frame_number: 0x01_02_03,
                dcd_count: 4,
                bsid: BS1,
                symbols: 20,
                allocations: Bytes::new(),
            }),
            &["MAC Management Message Type: DL-MAP (2)"],
        ),
    ]
}

#[test]
fn tshark_reads_the_management_messages_as_they_are_meant() {
    let cases = cases();
    let pdus: Vec<_> = cases.iter().map(|case| case.pdu.to_vec()).collect();
    let Some(texts) = judge::management(&pdus) else {
        return skipped();
    };
    let mut differences = String::new();
    for (case, text) in cases.iter().zip(&texts) {
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        let missing = case.lines.iter().filter(|line| !lines.contains(line));
        for line in missing {
            differences += &format!("{line:?} is not said of {}\n{text}\n", case.lines[0]);
        }
        if text.contains("Malformed") || text.contains("CRC error") {
            differences += &format!("something is wrong with {}\n{text}\n", case.lines[0]);
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

/// The judge must be able to say no.
#[test]
fn tshark_finds_fault_with_a_header_whose_check_sequence_is_wrong() {
    let mut pdu = cases()[0].pdu.to_vec();
    pdu[5] ^= 1;
    let Some(texts) = judge::management(&[pdu]) else {
        return skipped();
    };
    assert!(texts[0].contains("MAC Header CRC error"), "{}", texts[0]);
}
