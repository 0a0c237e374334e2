//! tshark, who is asked what a packet says, and the packets put to it.

use std::{
    io::Write as _,
    net::Ipv6Addr,
    process::{Command, Stdio},
};

use fmip_ctl::wire::{Packet, mobility_header};

/// A packet, and what tshark is to say of it: field names of `tshark -G fields`, and values as
/// `-T fields` prints them, several ones with commas between.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) expected: Vec<(&'static str, String)>,
}

impl Case {
    /// Says what a field's value is to be; the last word counts.
    pub(super) fn expect(mut self, field: &'static str, value: impl ToString) -> Self {
        self.expected.retain(|(named, _)| *named != field);
        self.expected.push((field, value.to_string()));
        self
    }

    /// What holds for every packet: the addresses, the lengths, nothing that tshark frowns at.
    fn of(name: impl ToString, packet: &Packet) -> Self {
        let bytes = packet.encode().to_vec();
        let payload_length = bytes.len() - 40;
        Self {
            name: name.to_string(),
            bytes,
            expected: Vec::new(),
        }
        .expect("ipv6.version", 6)
        .expect("ipv6.plen", payload_length)
        .expect("ipv6.hlim", packet.hop_limit)
        .expect("ipv6.src", packet.source)
        .expect("ipv6.dst", packet.destination)
        .expect("_ws.expert.message", "")
        .expect("_ws.malformed", "")
    }

    pub(super) fn icmpv6(name: impl ToString, packet: &Packet, kind: u8, code: u8) -> Self {
        Self::of(name, packet)
            .expect("ipv6.nxt", 58)
            .expect("icmpv6.type", kind)
            .expect("icmpv6.code", code)
            .expect("icmpv6.checksum.status", 1)
    }

    /// A Mobility Header. tshark shows its checksum without checking it (KRN-05), so that the
    /// right one is computed here, from the octets and in the slow way.
    pub(super) fn mobility(name: impl ToString, packet: &Packet, kind: u8) -> Self {
        let case = Self::of(name, packet);
        let header = mobility_header(&case.bytes).unwrap();
        let len = header.len();
        let source = packet.home_address.unwrap_or(packet.source);
        let checksum = checksum(source, packet.destination, 135, header, 4);
        let case = match packet.home_address {
            Some(home_address) => case
                .expect("ipv6.nxt", 60)
                .expect("ipv6.dstopts.nxt", 135)
                .expect("ipv6.dstopts.len", 2)
                .expect("ipv6.opt.mipv6.home_address", home_address),
            None => case.expect("ipv6.nxt", 135),
        };
        case.expect("mip6.proto", 59)
            .expect("mip6.hlen", len / 8 - 1)
            .expect("mip6.mhtype", kind)
            .expect("mip6.reserved", "0x00")
            .expect("mip6.csum", format_args!("{checksum:#06x}"))
    }
}

/// The link type of raw IP packets, and the first of those that say nothing by themselves.
const RAW_IP: u32 = 101;
const USER_0: u32 = 147;

/// A capture file.
fn capture<'a>(link_type: u32, packets: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(0xa1b2_c3d4_u32.to_ne_bytes());
    file.extend([2u16, 4].map(u16::to_ne_bytes).concat());
    file.extend([0, 0, 65_535, link_type].map(u32::to_ne_bytes).concat());
    for (second, bytes) in (0u32..).zip(packets) {
        let len = bytes.len() as u32;
        file.extend([second, 0, len, len].map(u32::to_ne_bytes).concat());
        file.extend(bytes);
    }
    file
}

/// Has tshark dissect the packets; returns the value of each of `fields` for each of them, or none
/// if there is no tshark here.
pub(super) fn dissect(cases: &[Case], fields: &[&str]) -> Option<Vec<Vec<String>>> {
    let mut arguments = vec!["-T", "fields", "-E", "separator=/t"];
    arguments.extend(["-E", "occurrence=a", "-E", "aggregator=,"]);
    arguments.extend(fields.iter().flat_map(|field| ["-e", field]));
    let packets = cases.iter().map(|case| &case.bytes[..]);
    let text = tshark(&arguments, &capture(RAW_IP, packets))?;
    let lines: Vec<Vec<String>> = text
        .lines()
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect();
    assert_eq!(
        lines.len(),
        cases.len(),
        "one line for each packet:\n{text}"
    );
    assert!(lines.iter().all(|line| line.len() == fields.len()));
    Some(lines)
}

/// Has tshark dissect PDUs of 802.16e; returns what it says of each of them, or none if there is no
/// tshark here.
pub(super) fn management(pdus: &[Vec<u8>]) -> Option<Vec<String>> {
    let link_type =
        "uat:user_dlts:\"User 0 (DLT=147)\",\"wimax_pdu_burst_handler\",\"0\",\"\",\"0\",\"\"";
    let packets = pdus.iter().map(Vec::as_slice);
    let text = tshark(&["-o", link_type, "-V"], &capture(USER_0, packets))?;
    let mut texts: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with("Frame ") {
            texts.push(String::new());
        }
        if let Some(text) = texts.last_mut() {
            *text += line;
            *text += "\n";
        }
    }
    assert_eq!(texts.len(), pdus.len(), "one for each PDU:\n{text}");
    Some(texts)
}

/// What tshark says of a capture file, or none if it is not here.
fn tshark(arguments: &[&str], file: &[u8]) -> Option<String> {
    let mut command = Command::new("tshark");
    // No name resolution, no configuration of this machine's user: the values as they are.
    command.args(["-n", "-r", "-"]).args(arguments);
    let child = command
        .env(
            "WIRESHARK_CONFIG_DIR",
            std::env::temp_dir().join("fmip-no-such-directory"),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("cannot run tshark: {error}"),
    };
    // tshark reads all of it; the file is a few kilobytes, so that neither pipe fills up.
    child.stdin.take().unwrap().write_all(file).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "tshark: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Says so past the test harness, which keeps what `println!` says of a test that passes.
pub(super) fn skipped() {
    let text = "SKIPPED: tshark is not installed; `cargo xtask setup` installs it\n";
    // Nothing is lost with the message but itself.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// RFC 8200 section 8.1 to the letter, with the message's checksum field taken as 0.
fn checksum(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    next_header: u8,
    message: &[u8],
    checksum_offset: usize,
) -> u16 {
    let mut text = Vec::new();
    text.extend(source.octets());
    text.extend(destination.octets());
    text.extend((message.len() as u32).to_be_bytes());
    text.extend([0, 0, 0, next_header]);
    text.extend(&message[..checksum_offset]);
    text.extend([0, 0]);
    text.extend(&message[checksum_offset + 2..]);
    text.resize(text.len().next_multiple_of(2), 0);
    let mut sum = 0u16;
    for word in text.chunks(2) {
        let (next, carry) = sum.overflowing_add(u16::from_be_bytes([word[0], word[1]]));
        sum = next + u16::from(carry);
    }
    !sum
}
