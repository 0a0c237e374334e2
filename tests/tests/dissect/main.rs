//! What we send, as an outside judge reads it: tshark dissects every message, field by field.

use std::net::Ipv6Addr;

use fmip_ctl::wire::{HackCode, HiCode, MacAddr, Message, Packet};

mod companions;
mod fast_handovers;
mod judge;
mod management;

use fast_handovers::{hack, hi, rtsolpr};
use judge::{Case, dissect, skipped};

const MN: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x11]);
const AP2: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0xa2]);
const AP3: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0xa3]);
const PAR_LLA: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x01]);
const NAR_LLA: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x02]);

const PCOA: &str = "2001:db8:1::11";
const PAR: &str = "2001:db8:1::1";
const NCOA: &str = "2001:db8:2::11";
const OTHER_NCOA: &str = "2001:db8:2::12";
const NAR: &str = "2001:db8:2::1";
const MN_LINK_LOCAL: &str = "fe80::11";
const PAR_LINK_LOCAL: &str = "fe80::1";
const NAR_LINK_LOCAL: &str = "fe80::2";

fn address(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn packet(source: &str, destination: &str, message: Message) -> Packet {
    let hop_limit = match message {
        Message::RtSolPr(_)
        | Message::PrRtAdv(_)
        | Message::NeighborAdvertisement(_)
        | Message::RouterSolicitation(_)
        | Message::RouterAdvertisement(_)
        | Message::NeighborSolicitation(_) => 255,
        _ => 64,
    };
    Packet {
        source: address(source),
        destination: address(destination),
        hop_limit,
        home_address: None,
        message,
    }
}

/// A link-layer address as tshark prints one whose length it does not know: with the padding.
fn padded(address: MacAddr) -> String {
    let hex: String = address
        .0
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    hex + &"00".repeat(7)
}

fn joined<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    texts.join(",")
}

// Rows: AMB-04, AMB-14, FBA-01, FBU-01, HAK-02, HI-01, KRN-05, OPT-02, OPT-04, OPT-05, OPT-10
#[test]
fn tshark_reads_what_we_mean() {
    let cases = [fast_handovers::cases(), companions::cases()].concat();
    let mut fields: Vec<&str> = cases
        .iter()
        .flat_map(|case| case.expected.iter().map(|(field, _)| *field))
        .collect();
    fields.sort_unstable();
    fields.dedup();
    let Some(lines) = dissect(&cases, &fields) else {
        return skipped();
    };
    let mut differences = String::new();
    for (case, line) in cases.iter().zip(&lines) {
        for (field, expected) in &case.expected {
            let found = &line[fields.binary_search(field).unwrap()];
            if found != expected {
                differences += &format!("{}: {field} is {found:?}, not {expected:?}\n", case.name);
            }
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

/// The judge must be able to say no, or his yes is worth nothing.
#[test]
fn tshark_finds_fault_with_a_damaged_packet() {
    let mut wrong_checksum = rtsolpr(&[AP2]);
    wrong_checksum.bytes[47] ^= 1;
    let mut wrong_option = hi(false, true, HiCode::PcoaSource);
    // The MN's link-layer address, said to go on far beyond the end.
    wrong_option.bytes[51] = 200;
    let cases = [
        wrong_checksum,
        wrong_option,
        hack(HackCode::NcoaValid, None),
    ];
    let fields = ["icmpv6.checksum.status", "_ws.expert.message"];
    let Some(lines) = dissect(&cases, &fields) else {
        return skipped();
    };
    assert_eq!(lines[0][0], "0");
    assert!(!lines[1][1].is_empty());
    assert_eq!(lines[2], ["", ""]);
}
