//! The decoders of packets and of the messages in them.

use bytes::Buf;
use fmip_ctl::{
    link::ieee80216e::{
        air::Frame,
        message::{self, Pdu},
    },
    wire::{
        BindingError, DecodeError, FastBindingAck, FastBindingUpdate, FastNeighborAdvertisement,
        HandoverAck, HandoverInitiate, Leniency, NeighborAdvertisement, NeighborSolicitation,
        Packet, ParameterProblem, PrRtAdv, RouterAdvertisement, RouterSolicitation, RtSolPr,
        mobility_header,
    },
};

/// What is longer than this is not written again: a message near the longest that its length field
/// can count loses options when their padding grows.
const LONGEST: usize = 1500;

const ICMPV6: u8 = 58;
const ICMPV6_CHECKSUM: usize = 2;
const MOBILITY_CHECKSUM: usize = 4;
const IPV6_HEADER_LEN: usize = 40;

/// A whole packet: as it is, and with the checksum that it should have.
pub fn packet(data: &[u8]) {
    read_packet(data);
    let mut mended = data.to_vec();
    if mend(&mut mended) {
        read_packet(&mended);
    }
}

fn read_packet(data: &[u8]) {
    let lenient = Leniency {
        address_option_17: true,
    };
    for leniency in [Leniency::default(), lenient] {
        match Packet::decode_with(data, leniency) {
            Err(error) => drop(error.to_string()),
            Ok(packet) if data.len() <= LONGEST => {
                let written = packet.encode();
                assert_eq!(Packet::decode(&written).as_ref(), Ok(&packet));
            }
            Ok(_) => {}
        }
    }
    if let Some(header) = mobility_header(data) {
        assert_eq!(header.len() % 8, 0);
    }
}

/// Gives a packet the checksum that it should have; tells whether it has it then. One whose ICMPv6
/// message stands behind an extension header is left as it is.
pub fn mend(packet: &mut [u8]) -> bool {
    let Err(DecodeError::Checksum { computed, .. }) = Packet::decode(packet) else {
        return false;
    };
    let field = match mobility_header(packet) {
        Some(header) => header.as_ptr().addr() - packet.as_ptr().addr() + MOBILITY_CHECKSUM,
        None if packet[6] == ICMPV6 => IPV6_HEADER_LEN + ICMPV6_CHECKSUM,
        None => return false,
    };
    packet[field..field + 2].copy_from_slice(&computed.to_be_bytes());
    true
}

/// Reads a message from one piece and from two, and what is written of it once more.
macro_rules! stable {
    ($message:ty, $data:expr, $tear:expr) => {{
        let (data, tear): (&[u8], usize) = ($data, usize::from($tear));
        let read = <$message>::decode(&mut &data[..]);
        let (first, second) = data.split_at(tear.min(data.len()));
        assert_eq!(<$message>::decode(&mut first.chain(second)), read);
        match read {
            Err(error) => drop(error.to_string()),
            Ok(message) if data.len() <= LONGEST => {
                let mut written = Vec::new();
                message.encode(&mut written);
                assert_eq!(<$message>::decode(&mut &written[..]), Ok(message));
            }
            Ok(_) => {}
        }
    }};
}

/// An ICMPv6 message without its packet: the first octet says which, the second where the buffer
/// that holds it is torn in two.
pub fn icmpv6(data: &[u8]) {
    let [which, tear, message @ ..] = data else {
        return;
    };
    match which % 7 {
        0 => stable!(RtSolPr, message, *tear),
        1 => stable!(PrRtAdv, message, *tear),
        2 => stable!(NeighborAdvertisement, message, *tear),
        3 => stable!(RouterSolicitation, message, *tear),
        4 => stable!(RouterAdvertisement, message, *tear),
        5 => stable!(NeighborSolicitation, message, *tear),
        _ => stable!(ParameterProblem, message, *tear),
    }
}

/// The data of a Mobility Header: the first two octets are as in [`icmpv6`].
pub fn mobility(data: &[u8]) {
    let [which, tear, message @ ..] = data else {
        return;
    };
    match which % 6 {
        0 => stable!(FastBindingUpdate, message, *tear),
        1 => stable!(FastBindingAck, message, *tear),
        2 => stable!(HandoverInitiate, message, *tear),
        3 => stable!(HandoverAck, message, *tear),
        4 => stable!(BindingError, message, *tear),
        _ => {
            let plain = FastNeighborAdvertisement::decode(&mut &message[..], None);
            let behind = FastNeighborAdvertisement::decode(&mut &message[..], Some(message));
            if let (Ok(plain), Ok(behind)) = (plain, behind) {
                assert_eq!(plain.mn_lla, behind.mn_lla);
                assert!(plain.fbu.is_none());
                assert!(behind.fbu.is_some_and(|fbu| message.starts_with(&fbu)));
            }
        }
    }
}

/// A PDU of 802.16e: as a frame of the air, as it is, and with the header that it should have.
pub fn management(data: &[u8]) {
    if let Ok(frame) = Frame::decode(data) {
        assert_eq!(frame.encode(), data);
    }
    read_pdu(data);
    let mut mended = data.to_vec();
    if mend_header(&mut mended) {
        read_pdu(&mended);
    }
}

fn read_pdu(data: &[u8]) {
    match Pdu::decode(data) {
        Err(error) => drop(error.to_string()),
        Ok(received) => match received.pdu.encode() {
            Ok(written) => {
                let again = Pdu::decode(&written).map(|again| again.pdu);
                assert_eq!(again.as_ref(), Ok(&received.pdu));
            }
            Err(error) => drop(error.to_string()),
        },
    }
}

/// Gives a PDU the plain header of its length and connection.
fn mend_header(pdu: &mut [u8]) -> bool {
    let Ok(length) = u16::try_from(pdu.len()) else {
        return false;
    };
    if !(6..=0x7ff).contains(&length) {
        return false;
    }
    pdu[0] = 0;
    pdu[1..3].copy_from_slice(&length.to_be_bytes());
    if let Err(message::DecodeError::HeaderCheck { computed, .. }) = Pdu::decode(pdu) {
        pdu[5] = computed;
    }
    true
}
