//! PDUs laid out octet by octet after the tables of IEEE 802.16e-2005, to be read and written
//! exactly so. The header check sequences come from a separate program.

use super::*;
use crate::wire::MacAddr;

/// Lines of hexadecimal octets, each with what it is.
type Lines = &'static [(&'static str, &'static str)];

const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
const BS1: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 1]);
const BS2: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 2]);

fn is_exactly(pdu: Pdu, lines: Lines) {
    let octets: Vec<u8> = lines
        .iter()
        .flat_map(|(hex, _)| hex.split_whitespace())
        .map(|octet| u8::from_str_radix(octet, 16).unwrap())
        .collect();
    assert_eq!(pdu.encode().unwrap(), octets, "{pdu:?}");
    assert_eq!(Pdu::decode(&octets).map(|received| received.pdu), Ok(pdu));
}

const CMAC: Option<Authentication> = Some(Authentication::Cmac(CmacTuple {
    key_sequence: 3,
    bsid: None,
    packet_number: 0x0102_0304,
    value: [0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7],
}));

#[test]
fn rng_req_of_a_handover() {
    is_exactly(
        Pdu {
            cid: cid::INITIAL_RANGING,
            message: Message::RngReq(RngReq {
                station: Some(STATION),
                serving: Some(BS1),
                handover: true,
                ho_id: None,
                unknown: vec![],
            }),
            authentication: CMAC,
        },
        &[
            ("00 00 2a 00 00 c4", "42 octets on CID 0, HCS"),
            ("04 00", "RNG-REQ, reserved"),
            ("02 06 02 00 00 00 00 11", "SS MAC address"),
            ("05 06 02 00 00 00 0a 01", "serving BSID"),
            ("06 01 01", "ranging purpose: handover"),
            ("8d 0d 03", "CMAC tuple of 13 octets, key sequence number"),
            ("01 02 03 04", "packet number"),
            ("c0 c1 c2 c3 c4 c5 c6 c7", "value"),
        ],
    );
}

#[test]
fn rng_rsp_that_lets_all_be_skipped() {
    is_exactly(
        Pdu {
            cid: cid::INITIAL_RANGING,
            message: Message::RngRsp(RngRsp {
                station: Some(STATION),
                basic_cid: Some(0x0101),
                primary_cid: Some(0x0201),
                ho_optimization: Some(
                    HoOptimization::OMIT_SBC
                        .with(HoOptimization::OMIT_PKM)
                        .with(HoOptimization::OMIT_REG)
                        .with(HoOptimization::FULL_STATE),
                ),
                ..RngRsp::new(RangingStatus::Success)
            }),
            authentication: None,
        },
        &[
            ("00 00 1f 00 00 e5", "31 octets on CID 0, HCS"),
            ("05 00", "RNG-RSP, reserved"),
            ("04 01 03", "ranging status: success"),
            ("08 06 02 00 00 00 00 11", "SS MAC address"),
            ("09 02 01 01", "basic CID"),
            ("0a 02 02 01", "primary management CID"),
            ("15 02 00 c7", "HO process optimization: bits 0, 1, 2, 6, 7"),
        ],
    );
}

#[test]
fn sa_tek_challenge_has_its_digest_as_an_attribute() {
    is_exactly(
        Pdu {
            cid: 0x0201,
            message: Message::PkmRsp(Pkm {
                bs_random: Some([1, 2, 3, 4, 5, 6, 7, 8]),
                ..Pkm::new(PkmCode::SaTekChallenge, 9)
            }),
            authentication: CMAC,
        },
        &[
            ("00 00 24 02 01 c5", "36 octets on CID 0x0201, HCS"),
            ("0a 14 09", "PKM-RSP, SA-TEK-Challenge, identifier"),
            ("22 08 01 02 03 04 05 06 07 08", "BS_Random"),
            ("0a 01 03", "key sequence number"),
            ("28 0c 01 02 03 04", "CMAC digest: packet number"),
            ("c0 c1 c2 c3 c4 c5 c6 c7", "value"),
        ],
    );
}

#[test]
fn mob_nbr_adv_is_table_109f() {
    is_exactly(
        Pdu {
            cid: cid::BROADCAST,
            message: Message::MobNbrAdv(MobNbrAdv {
                operator: Some([2, 0, 0]),
                change_count: 7,
                fragment: 0,
                fragments: 1,
                neighbors: vec![Neighbor {
                    preamble: 5,
                    dcd_count: 1,
                    ucd_count: 2,
                    ..Neighbor::new(BS2)
                }],
            }),
            authentication: None,
        },
        &[
            ("00 00 17 ff ff 90", "23 octets on CID 0xffff, HCS"),
            ("35 00", "MOB_NBR-ADV, nothing skipped"),
            ("02 00 00", "operator ID"),
            ("07 01 01", "change count, part 0 of 1, one neighbor"),
            ("08 00", "8 octets, PHY profile ID"),
            ("00 0a 02", "neighbor BSID"),
            ("05 00 00 12", "preamble, optimization, services, counts"),
        ],
    );
}

#[test]
fn mob_scn_req_packs_a_target_into_51_bits() {
    is_exactly(
        Pdu {
            cid: 0x0101,
            message: Message::MobScnReq(MobScnReq {
                duration: 4,
                interleaving: 8,
                iterations: 2,
                targets: vec![ScanTarget {
                    bsid: BS2,
                    kind: ScanType::Associate,
                }],
                unknown: vec![],
            }),
            authentication: None,
        },
        &[
            ("00 00 13 01 01 0d", "19 octets on CID 0x0101, HCS"),
            (
                "36 04 08 02",
                "MOB_SCN-REQ, duration, interleaving, iterations",
            ),
            ("00 01", "none by index, one by BSID"),
            ("02 00 00 00 0a 02 20", "BSID, type 1 in 3 bits, padding"),
        ],
    );
}

#[test]
fn mob_msho_req_reports_the_rssi() {
    is_exactly(
        Pdu {
            cid: 0x0101,
            message: Message::MobMshoReq(MobMshoReq {
                candidates: vec![Candidate {
                    measured: Measured {
                        bsid: BS2,
                        rssi: Rssi::from_dbm(-60),
                    },
                    preamble: 5,
                    service_level: 2,
                }],
                serving: Some(Rssi::from_dbm(-85)),
                unknown: vec![],
            }),
            authentication: CMAC,
        },
        &[
            ("00 00 24 01 01 fa", "36 octets on CID 0x0101, HCS"),
            ("39 02", "MOB_MSHO-REQ, metric: RSSI"),
            ("00 01", "none by index, one by BSID"),
            ("02 00 00 00 0a 02 05 af", "BSID, preamble, -60 dBm"),
            (
                "42 09 60",
                "level 2 (3), no time (1), one current (3), Temp BSID (4), -85 dBm (8), padding (5)",
            ),
            ("8d 0d 03 01 02 03 04", "CMAC tuple, packet number"),
            ("c0 c1 c2 c3 c4 c5 c6 c7", "value"),
        ],
    );
}

#[test]
fn mob_bsho_rsp_recommends_one() {
    is_exactly(
        Pdu {
            cid: 0x0101,
            message: Message::MobBshoRsp(MobBshoRsp {
                recommendation: Some(Recommendation {
                    mandatory: false,
                    resource_retain: true,
                    targets: vec![Target {
                        preamble: 5,
                        ho_optimization: 0xc7,
                        ..Target::new(BS2)
                    }],
                }),
                action_time: 10,
                unknown: vec![],
            }),
            authentication: None,
        },
        &[
            ("00 00 15 01 01 70", "21 octets on CID 0x0101, HCS"),
            ("3a 00", "MOB_BSHO-RSP, mode 0"),
            (
                "00 c0",
                "operation mode (1), N_Recommended 1 (8), retain (1), reserved (7: with one bit of the next)",
            ),
            (
                "01 00 00 00 05 01 02 81 63 80 0a",
                "BSID, preamble, level, optimization, all one bit on; flags and reserved (7), action time",
            ),
        ],
    );
}

#[test]
fn mob_ho_ind_releases_the_serving_base_station() {
    is_exactly(
        Pdu {
            cid: 0x0101,
            message: Message::MobHoInd(MobHoInd::new(HoIndication::Release { target: BS2 })),
            authentication: CMAC,
        },
        &[
            ("00 00 1f 01 01 f7", "31 octets on CID 0x0101, HCS"),
            ("3b 00 00", "MOB_HO-IND, mode 0, type 0"),
            ("02 00 00 00 0a 02 00", "target BSID, preamble"),
            ("8d 0d 03 01 02 03 04", "CMAC tuple, packet number"),
            ("c0 c1 c2 c3 c4 c5 c6 c7", "value"),
        ],
    );
}

#[test]
fn what_stands_behind_the_tuple_is_refused() {
    let mut message = vec![0x3b, 0x00, 0x40, 0x00];
    message.extend([0x8d, 0x0d, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    message.extend([0xc8, 0x00]);
    let mut bytes = BytesMut::new();
    Header {
        len: header::LEN + message.len(),
        cid: 1,
    }
    .encode(&mut bytes);
    bytes.extend_from_slice(&message);
    assert_eq!(
        Pdu::decode(&bytes),
        Err(DecodeError::TupleNotLast {
            message: "MOB_HO-IND",
            octets: 2
        })
    );
}
