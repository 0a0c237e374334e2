//! CMAC and HMAC of management messages: who may tell a station to move, and a base station that it
//! did.
//!
//! IEEE 802.16e-2005 section 7.2.2.2 (keys), 7.5.3 (HMAC) and 7.5.4.4 (CMAC). Which of the two it is,
//! both ends agree on when the station enters. An HMAC covers no packet number: what is repeated cannot
//! be told from what was replayed, but by the random numbers of the SA-TEK handshake. A [`Context`] is one end's view of
//! one authorization key: a station has one for every base station, a base station one for every
//! station. The pairwise master key would be made by an EAP method; in the profile it is
//! configured at both ends.

use std::fmt;

use aes::Aes128;
use bytes::Bytes;
use cmac::{Cmac, KeyInit, Mac};
use hmac::Hmac;
use sha1::{Digest as _, Sha1};

use super::message::{
    Authentication, CMAC_LEN, CmacTuple, HMAC_LEN, HmacTuple, MacMode, Message, Pdu, PkmCode,
    Received, TooLong,
};
use crate::wire::MacAddr;

/// Octets of a pairwise master key and of an authorization key: 160 bits.
pub const KEY_LEN: usize = 20;
/// The sequence number of the profile's keys, which are never replaced while both ends run.
pub const KEY_SEQUENCE: u8 = 1;

/// A pairwise master key. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Pmk(pub [u8; KEY_LEN]);

impl fmt::Debug for Pmk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pmk")
    }
}

/// An authorization key: what one station and one base station share, for one mode of authentication.
/// `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Ak {
    key: [u8; KEY_LEN],
    mode: MacMode,
}

impl fmt::Debug for Ak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ak")
    }
}

impl Ak {
    /// That of the profile's usual mode, CMAC.
    pub fn derive(pmk: &Pmk, station: MacAddr, bsid: MacAddr) -> Self {
        Self::derive_for(MacMode::Cmac, pmk, station, bsid)
    }

    /// AK = Dot16KDF(PMK, SS MAC address | BSID | "AK", 160): after EAP alone, without RSA (section
    /// 7.2.2.2.3).
    pub fn derive_for(mode: MacMode, pmk: &Pmk, station: MacAddr, bsid: MacAddr) -> Self {
        Self {
            key: dot16kdf(mode, &pmk.0, &[&station.0, &bsid.0, b"AK"]),
            mode,
        }
    }

    /// AKID = Dot16KDF(AK, AK sequence number | SS MAC address | BSID | "AK", 64) (table 133).
    fn id(&self, sequence: u8, station: MacAddr, bsid: MacAddr) -> [u8; 8] {
        let parts: [&[u8]; 4] = [&[sequence], &station.0, &bsid.0, b"AK"];
        dot16kdf(self.mode, &self.key, &parts)
    }
}

/// Which end a [`Context`] is at: what it signs with, and what the other end does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A station signs with CMAC_KEY_U or HMAC_KEY_U.
    Station,
    /// A base station signs with CMAC_KEY_D or HMAC_KEY_D.
    BaseStation,
}

/// Why a message is not authentic, or not known to be. Each is counted under its [name](Self::name).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Refusal {
    /// It carries nothing that would authenticate it.
    #[error("it is not authenticated")]
    Missing,
    /// It carries an HMAC where CMAC was agreed, or the other way round.
    #[error("it is authenticated in another way than was agreed")]
    NotNegotiated,
    /// It was made with another key.
    #[error("its key has another sequence number, or is another base station's")]
    OtherKey,
    /// The CMAC or HMAC is not that of the message.
    #[error("its authentication is wrong")]
    Wrong,
    /// Its packet number was used before.
    #[error("its packet number was used before")]
    Replayed,
    /// There is no key yet.
    #[error("there is no key for it")]
    NoKey,
}

impl Refusal {
    /// The name that it is counted under, where `mode` was agreed.
    pub fn name(self, mode: MacMode) -> &'static str {
        match (mode, self) {
            (MacMode::Cmac, Self::Missing) => "cmac-missing",
            (MacMode::Cmac, Self::NotNegotiated) => "hmac-not-negotiated",
            (MacMode::Cmac, Self::OtherKey) => "cmac-other-key",
            (MacMode::Cmac, Self::Wrong) => "cmac-wrong",
            (MacMode::Cmac, Self::Replayed) => "cmac-replayed",
            (MacMode::Cmac, Self::NoKey) => "cmac-no-key",
            (MacMode::Hmac, Self::Missing) => "hmac-missing",
            (MacMode::Hmac, Self::NotNegotiated) => "cmac-not-negotiated",
            (MacMode::Hmac, Self::OtherKey) => "hmac-other-key",
            (MacMode::Hmac, Self::Wrong) => "hmac-wrong",
            (MacMode::Hmac, Self::Replayed) => "hmac-replayed",
            (MacMode::Hmac, Self::NoKey) => "hmac-no-key",
        }
    }
}

/// Why a message cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// It does not fit into a PDU.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// All packet numbers of this key were used: no second message may have the same.
    #[error("{0}: all packet numbers of this key are used up; a new key is needed")]
    Exhausted(&'static str),
}

/// Whether a message must be authenticated (section 6.3.2.3, the message's own table).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// It always must.
    Always,
    /// It must if it belongs to a handover: before the first entry there is no key.
    InHandover,
    /// It cannot, or there is no key yet.
    Never,
}

/// Whether `message` must be authenticated.
pub fn requirement(message: &Message) -> Requirement {
    match message {
        Message::DlMap(_) | Message::MobNbrAdv(_) | Message::SbcReq(_) | Message::SbcRsp(_) => {
            Requirement::Never
        }
        Message::RngReq(_) | Message::RngRsp(_) => Requirement::InHandover,
        // EAP has its own.
        Message::PkmReq(pkm) | Message::PkmRsp(pkm) if pkm.code == PkmCode::EapTransfer => {
            Requirement::Never
        }
        Message::PkmReq(_)
        | Message::PkmRsp(_)
        | Message::RegReq(_)
        | Message::RegRsp(_)
        | Message::DsaReq(_)
        | Message::DsaRsp(_)
        | Message::DsaAck(_)
        | Message::MobScnReq(_)
        | Message::MobScnRsp(_)
        | Message::MobScnRep(_)
        | Message::MobMshoReq(_)
        | Message::MobBshoReq(_)
        | Message::MobBshoRsp(_)
        | Message::MobHoInd(_) => Requirement::Always,
    }
}

/// What one end knows of one authorization key.
#[derive(Clone)]
pub struct Context {
    bsid: MacAddr,
    sequence: u8,
    akid: [u8; 8],
    keys: Keys,
    /// The packet number that was sent last; they begin with 1. Of CMAC alone, as is the next.
    sent: u32,
    /// The highest packet number that was heard.
    heard: u32,
}

/// What one end signs with, and what the other one does.
#[derive(Clone)]
enum Keys {
    Cmac {
        sign: [u8; 16],
        verify: [u8; 16],
    },
    Hmac {
        sign: [u8; HMAC_LEN],
        verify: [u8; HMAC_LEN],
    },
}

impl Keys {
    fn derive(ak: &Ak, station: MacAddr, bsid: MacAddr, end: End) -> Self {
        match ak.mode {
            // CMAC_KEY_U | CMAC_KEY_D | KEK = Dot16KDF(AK, SS MAC address | BSID | "CMAC_KEYS+KEK", 384)
            // (section 7.2.2.2.9).
            MacMode::Cmac => {
                let parts: [&[u8]; 3] = [&station.0, &bsid.0, b"CMAC_KEYS+KEK"];
                let keys: [u8; 48] = dot16kdf(ak.mode, &ak.key, &parts);
                let (sign, verify) = by_end(&keys, end);
                Self::Cmac { sign, verify }
            }
            // HMAC_KEY_U | HMAC_KEY_D | KEK = Dot16KDF(AK, SS MAC address | BSID | "HMAC_KEYS+KEK", 448).
            MacMode::Hmac => {
                let parts: [&[u8]; 3] = [&station.0, &bsid.0, b"HMAC_KEYS+KEK"];
                let keys: [u8; 56] = dot16kdf(ak.mode, &ak.key, &parts);
                let (sign, verify) = by_end(&keys, end);
                Self::Hmac { sign, verify }
            }
        }
    }
}

/// The first two of some keys, the uplink's and the downlink's: what this end signs with, and what the
/// other does.
fn by_end<const N: usize>(keys: &[u8], end: End) -> ([u8; N], [u8; N]) {
    let key = |at: usize| -> [u8; N] { keys[at..at + N].try_into().expect("as many octets") };
    match end {
        End::Station => (key(0), key(N)),
        End::BaseStation => (key(N), key(0)),
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("bsid", &self.bsid)
            .field("sequence", &self.sequence)
            .field("sent", &self.sent)
            .field("heard", &self.heard)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// The key `ak` between `station` and `bsid`, with its sequence number (4 bits).
    pub fn new(ak: &Ak, sequence: u8, station: MacAddr, bsid: MacAddr, end: End) -> Self {
        let sequence = sequence & 0xf;
        Self {
            bsid,
            sequence,
            akid: ak.id(sequence, station, bsid),
            keys: Keys::derive(ak, station, bsid, end),
            sent: 0,
            heard: 0,
        }
    }

    /// The AKID, which PKM messages name the key by.
    pub fn akid(&self) -> [u8; 8] {
        self.akid
    }

    /// The mode that it is for.
    pub fn mode(&self) -> MacMode {
        match self.keys {
            Keys::Cmac { .. } => MacMode::Cmac,
            Keys::Hmac { .. } => MacMode::Hmac,
        }
    }

    /// Writes a PDU with a CMAC under the next packet number, or with an HMAC.
    ///
    /// # Errors
    /// It is too long, or the packet numbers are used up.
    pub fn sign(&mut self, cid: u16, message: Message) -> Result<Bytes, SignError> {
        match self.keys {
            Keys::Cmac { sign, .. } => self.sign_cmac(&sign, cid, message),
            Keys::Hmac { sign, .. } => self.sign_hmac(&sign, cid, message),
        }
    }

    fn sign_hmac(
        &self,
        key: &[u8; HMAC_LEN],
        cid: u16,
        message: Message,
    ) -> Result<Bytes, SignError> {
        let mut tuple = HmacTuple {
            key_sequence: self.sequence,
            digest: [0; HMAC_LEN],
        };
        let mut pdu = Pdu {
            cid,
            message,
            authentication: Some(Authentication::Hmac(tuple)),
        };
        tuple.digest = hmac(key, &pdu.covered()).finalize().into_bytes().into();
        pdu.authentication = Some(Authentication::Hmac(tuple));
        Ok(pdu.encode()?)
    }

    fn sign_cmac(
        &mut self,
        key: &[u8; 16],
        cid: u16,
        message: Message,
    ) -> Result<Bytes, SignError> {
        let packet_number = self
            .sent
            .checked_add(1)
            .ok_or(SignError::Exhausted(message.name()))?;
        let mut tuple = CmacTuple {
            key_sequence: self.sequence,
            bsid: None,
            packet_number,
            value: [0; CMAC_LEN],
        };
        let mut pdu = Pdu {
            cid,
            message,
            authentication: Some(Authentication::Cmac(tuple)),
        };
        let mac = self.cmac(key, packet_number, cid, &pdu.covered());
        tuple
            .value
            .copy_from_slice(&mac.finalize().into_bytes()[..CMAC_LEN]);
        pdu.authentication = Some(Authentication::Cmac(tuple));
        let bytes = pdu.encode()?;
        self.sent = packet_number;
        Ok(bytes)
    }

    /// Whether a message is authentic, and, by CMAC, was not heard before.
    ///
    /// # Errors
    /// Why it is not. Nothing is remembered of it then.
    pub fn verify(&mut self, received: &Received) -> Result<(), Refusal> {
        let Some(packet_number) = self.verify_value(received)? else {
            return Ok(());
        };
        // The profile has no window (SBC: PN window size 0): frames come in their order.
        if packet_number <= self.heard {
            return Err(Refusal::Replayed);
        }
        self.heard = packet_number;
        Ok(())
    }

    /// As [`Self::verify`], for a message that is known to be new by a random number in it that
    /// this end chose: packet numbers are counted from its own on. An end that was started anew
    /// counts from 1.
    ///
    /// # Errors
    /// As [`Self::verify`], but for [`Refusal::Replayed`].
    pub fn verify_fresh(&mut self, received: &Received) -> Result<(), Refusal> {
        if let Some(packet_number) = self.verify_value(received)? {
            self.heard = packet_number;
        }
        Ok(())
    }

    /// Whether the CMAC or HMAC is right, whatever the packet number: for SA-TEK-Challenge, whose sender is
    /// the first to choose a random number. Nothing may be done on it but to answer.
    ///
    /// # Errors
    /// As [`Self::verify_fresh`].
    pub fn verify_unordered(&self, received: &Received) -> Result<(), Refusal> {
        self.verify_value(received).map(|_| ())
    }

    /// The packet number, where there is one.
    fn verify_value(&self, received: &Received) -> Result<Option<u32>, Refusal> {
        let authentication = received.pdu.authentication.as_ref();
        match (&self.keys, authentication.ok_or(Refusal::Missing)?) {
            (Keys::Cmac { verify, .. }, Authentication::Cmac(tuple)) => {
                self.verify_cmac(verify, tuple, received).map(Some)
            }
            (Keys::Hmac { verify, .. }, Authentication::Hmac(tuple)) => {
                self.verify_hmac(verify, tuple, received).map(|()| None)
            }
            (Keys::Cmac { .. }, Authentication::Hmac(_))
            | (Keys::Hmac { .. }, Authentication::Cmac(_)) => Err(Refusal::NotNegotiated),
        }
    }

    fn verify_hmac(
        &self,
        key: &[u8; HMAC_LEN],
        tuple: &HmacTuple,
        received: &Received,
    ) -> Result<(), Refusal> {
        if tuple.key_sequence != self.sequence {
            return Err(Refusal::OtherKey);
        }
        hmac(key, &received.covered)
            .verify_slice(&tuple.digest)
            .map_err(|_| Refusal::Wrong)
    }

    fn verify_cmac(
        &self,
        key: &[u8; 16],
        tuple: &CmacTuple,
        received: &Received,
    ) -> Result<u32, Refusal> {
        if tuple.key_sequence != self.sequence || tuple.bsid.is_some_and(|bsid| bsid != self.bsid) {
            return Err(Refusal::OtherKey);
        }
        self.cmac(
            key,
            tuple.packet_number,
            received.pdu.cid,
            &received.covered,
        )
        .verify_truncated_left(&tuple.value)
        .map_err(|_| Refusal::Wrong)?;
        Ok(tuple.packet_number)
    }

    /// CMAC(key, AKID | CMAC_PN | CID | 16 bits of zero | message), of which the first 64 bits are
    /// sent (section 7.5.4.4.1).
    fn cmac(&self, key: &[u8; 16], packet_number: u32, cid: u16, message: &[u8]) -> Cmac<Aes128> {
        let mut cmac = Cmac::<Aes128>::new(key.into());
        cmac.update(&self.akid);
        cmac.update(&packet_number.to_be_bytes());
        cmac.update(&cid.to_be_bytes());
        cmac.update(&[0; 2]);
        cmac.update(message);
        cmac
    }
}

/// HMAC-SHA1 of a message up to the tuple or the digest (section 7.5.3).
fn hmac(key: &[u8; HMAC_LEN], message: &[u8]) -> Hmac<Sha1> {
    let mut hmac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes any key");
    hmac.update(message);
    hmac
}

/// Dot16KDF of section 7.5.4.6.1, with CMAC or, where HMAC is agreed, with SHA-1: the bits of the key
/// that it works with and the bits that it gives are the last ones of what they are taken from.
fn dot16kdf<const N: usize>(mode: MacMode, key: &[u8; KEY_LEN], parts: &[&[u8]]) -> [u8; N] {
    let bits = (N * 8) as u32;
    let mut result = Vec::new();
    let mut block = 0_u32;
    while result.len() < N {
        match mode {
            MacMode::Cmac => {
                let key: &[u8; 16] = key.last_chunk().expect("160 bits are more than 128");
                let mut cmac = Cmac::<Aes128>::new(key.into());
                cmac.update(&block.to_be_bytes());
                parts.iter().for_each(|part| cmac.update(part));
                cmac.update(&bits.to_be_bytes());
                result.extend_from_slice(&cmac.finalize().into_bytes());
            }
            MacMode::Hmac => {
                let mut sha1 = Sha1::new();
                sha1.update(block.to_be_bytes());
                parts.iter().for_each(|part| sha1.update(part));
                sha1.update(bits.to_be_bytes());
                sha1.update(key);
                result.extend_from_slice(&sha1.finalize());
            }
        }
        block += 1;
    }
    *result.last_chunk().expect("blocks enough were made")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::ieee80216e::message::{
        HmacTuple, HoIndication, MobBshoReq, MobHoInd, Pkm, Recommendation, Target,
    };

    const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
    const BS1: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 1]);
    const BS2: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 2]);
    const PMK: Pmk = Pmk([7; KEY_LEN]);

    fn ends(bsid: MacAddr) -> (Context, Context) {
        ends_by(MacMode::Cmac, bsid)
    }

    fn ends_by(mode: MacMode, bsid: MacAddr) -> (Context, Context) {
        let ak = Ak::derive_for(mode, &PMK, STATION, bsid);
        (
            Context::new(&ak, 1, STATION, bsid, End::Station),
            Context::new(&ak, 1, STATION, bsid, End::BaseStation),
        )
    }

    fn order() -> Message {
        Message::MobBshoReq(MobBshoReq {
            network_assisted: false,
            recommendation: Recommendation {
                mandatory: true,
                resource_retain: false,
                targets: vec![Target::new(BS2)],
            },
            action_time: 0,
            unknown: vec![],
        })
    }

    fn received(bytes: &[u8]) -> Received {
        Pdu::decode(bytes).unwrap()
    }

    /// RFC 4493 section 4: examples 1 to 3.
    #[test]
    fn aes_cmac_is_that_of_rfc_4493() {
        let key = 0x2b7e1516_28aed2a6_abf71588_09cf4f3c_u128.to_be_bytes();
        let message = [
            0x6bc1bee2_2e409f96_e93d7e11_7393172a_u128.to_be_bytes(),
            0xae2d8a57_1e03ac9c_9eb76fac_45af8e51_u128.to_be_bytes(),
            0x30c81c46_a35ce411_00000000_00000000_u128.to_be_bytes(),
        ]
        .concat();
        for (length, expected) in [
            (0, 0xbb1d6929_e9593728_7fa37d12_9b756746_u128),
            (16, 0x070a16b4_6b4d4144_f79bdd9d_d04a287c),
            (40, 0xdfa66747_de9ae630_30ca3261_1497c827),
        ] {
            let mut cmac = Cmac::<Aes128>::new(&key.into());
            cmac.update(&message[..length]);
            assert_eq!(cmac.finalize().into_bytes()[..], expected.to_be_bytes());
        }
    }

    /// Values that another implementation of the standard was tested with: an AK and its AKID from
    /// a PMK, a station and a base station.
    #[test]
    fn ak_and_akid_are_those_of_another_implementation() {
        let pmk = Pmk([
            0xf4, 0x3c, 0xe2, 0xcc, 0xb5, 0x6b, 0xf2, 0xf1, 0x86, 0x2c, 0x2a, 0xac, 0x72, 0x4c,
            0x20, 0xdb, 0x43, 0x7d, 0x62, 0xad,
        ]);
        let station = MacAddr([0x00, 0xed, 0x04, 0xa5, 0x10, 0x5b]);
        let bsid = MacAddr([0x00, 0x00, 0xbb, 0x02, 0x00, 0x03]);
        let ak = Ak::derive(&pmk, station, bsid);
        assert_eq!(
            ak.key,
            [
                0xca, 0xe0, 0xde, 0x08, 0xe0, 0x27, 0xac, 0xb5, 0x19, 0x8a, 0xe7, 0x8c, 0x2a, 0x2d,
                0x78, 0xab, 0x99, 0x45, 0xce, 0x74,
            ]
        );
        let akid = ak.id(0, station, bsid);
        assert_eq!(akid, 0xc056_432d_9407_4994_u64.to_be_bytes());
    }

    /// RFC 2202 section 3: test cases 1, 2 and 7.
    #[test]
    fn hmac_sha1_is_that_of_rfc_2202() {
        let long = b"Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data";
        for (key, message, expected) in [
            (
                vec![0x0b; 20],
                &b"Hi There"[..],
                "b617318655057264e28bc0b6fb378c8ef146be00",
            ),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?",
                "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
            ),
            (
                vec![0xaa; 80],
                long,
                "e8e99d0f45237d786d6bbaa7965c7808bbff1a91",
            ),
        ] {
            let digest = match <[u8; HMAC_LEN]>::try_from(&key[..]) {
                Ok(key) => hmac(&key, message),
                Err(_) => {
                    let mut hmac = Hmac::<Sha1>::new_from_slice(&key).unwrap();
                    hmac.update(message);
                    hmac
                }
            };
            let digest = digest.finalize().into_bytes();
            let written: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
            assert_eq!(written, expected);
        }
    }

    /// Values that were computed from the text of section 7.5.4.6.1 with another language's SHA-1.
    #[test]
    fn keys_for_hmac_are_made_with_sha1() {
        let ak = Ak::derive_for(MacMode::Hmac, &PMK, STATION, BS1);
        assert_eq!(
            ak.key,
            [
                0x35, 0xf9, 0xf8, 0x18, 0x52, 0x8a, 0x75, 0xb1, 0x65, 0xd0, 0x3b, 0x0c, 0xb0, 0xe1,
                0x0d, 0xbf, 0x07, 0x56, 0xe7, 0xda
            ]
        );
        assert_eq!(ak.id(1, STATION, BS1), 0x1475fb92e651f661_u64.to_be_bytes());
        let Keys::Hmac { sign, verify } = Keys::derive(&ak, STATION, BS1, End::Station) else {
            panic!("they are for HMAC");
        };
        assert_eq!(
            sign,
            [
                0x22, 0x2f, 0x27, 0x80, 0x7c, 0x7e, 0xfc, 0x8b, 0x7c, 0xdb, 0x3f, 0x65, 0xf7, 0x7e,
                0x51, 0x24, 0x90, 0xb2, 0x29, 0xde
            ]
        );
        assert_eq!(
            verify,
            [
                0xf7, 0xfe, 0x9f, 0x56, 0xe9, 0x75, 0x1a, 0x46, 0xc5, 0x63, 0xc9, 0x71, 0x92, 0x02,
                0x20, 0x85, 0x50, 0x39, 0x8b, 0x3b
            ]
        );
        // Another mode, another key.
        assert_ne!(ak.key, Ak::derive(&PMK, STATION, BS1).key);
    }

    // Rows: W16-24
    #[test]
    fn an_hmac_covers_the_message_from_its_type_to_the_tuple() {
        let (mut station, mut base) = ends_by(MacMode::Hmac, BS1);
        let message = Message::MobHoInd(MobHoInd::new(HoIndication::Cancel));
        let bytes = station.sign(0x101, message.clone()).unwrap();
        let received = received(&bytes);
        let Keys::Hmac { sign, .. } = station.keys else {
            panic!("they are for HMAC");
        };
        // Behind the header of 6 octets; 149, 21 octets: the sequence number and the digest.
        let (covered, tuple) = bytes[6..].split_at(bytes.len() - 6 - 23);
        assert_eq!(received.covered, covered);
        assert_eq!(tuple[..3], [149, 21, 1]);
        let digest = hmac(&sign, covered).finalize().into_bytes();
        assert_eq!(tuple[3..], digest[..]);
        assert_eq!(base.verify(&received), Ok(()));
        // It has no packet number, and is the same when it is said again.
        assert_eq!(station.sign(0x101, message).unwrap(), bytes);
        assert_eq!(base.verify(&received), Ok(()));
    }

    // Rows: W16-24
    #[test]
    fn what_is_not_by_hmac_or_of_another_key_is_refused_and_counted_so() {
        let (mut station, mut base) = ends_by(MacMode::Hmac, BS1);
        let (_, mut other) = ends_by(MacMode::Hmac, BS2);
        let (_, mut by_cmac) = ends(BS1);
        let plain = Pdu {
            cid: 0x101,
            message: order(),
            authentication: None,
        };
        let ak = Ak::derive_for(MacMode::Hmac, &PMK, STATION, BS1);
        let mut newer = Context::new(&ak, 2, STATION, BS1, End::BaseStation);
        let up = station.sign(0x101, order()).unwrap();
        for (bytes, refusal, name) in [
            (plain.encode().unwrap(), Refusal::Missing, "hmac-missing"),
            (
                by_cmac.sign(0x101, order()).unwrap(),
                Refusal::NotNegotiated,
                "cmac-not-negotiated",
            ),
            (
                other.sign(0x101, order()).unwrap(),
                Refusal::Wrong,
                "hmac-wrong",
            ),
            // Of the other direction.
            (up, Refusal::Wrong, "hmac-wrong"),
            (
                newer.sign(0x101, order()).unwrap(),
                Refusal::OtherKey,
                "hmac-other-key",
            ),
        ] {
            assert_eq!(station.verify(&received(&bytes)), Err(refusal));
            assert_eq!(refusal.name(station.mode()), name);
        }
        let bytes = base.sign(0x101, order()).unwrap();
        let original = received(&bytes);
        for bit in 0..(bytes.len() - 6) * 8 {
            let mut flipped = bytes.to_vec();
            flipped[6 + bit / 8] ^= 1 << (bit % 8);
            let Ok(received) = Pdu::decode(&flipped) else {
                continue;
            };
            if received != original {
                assert!(station.verify(&received).is_err(), "bit {bit}");
            }
        }
        assert_eq!(station.verify(&original), Ok(()));
    }

    // Rows: W16-24
    #[test]
    fn what_one_end_signs_the_other_verifies_once() {
        let (mut station, mut base) = ends(BS1);
        let first = base.sign(0x101, order()).unwrap();
        let second = base.sign(0x101, order()).unwrap();
        assert_ne!(first, second);
        assert_eq!(station.verify(&received(&first)), Ok(()));
        assert_eq!(station.verify(&received(&first)), Err(Refusal::Replayed));
        assert_eq!(station.verify(&received(&second)), Ok(()));
        assert_eq!(station.verify(&received(&first)), Err(Refusal::Replayed));
    }

    // Rows: W16-24
    #[test]
    fn every_flipped_bit_of_the_message_is_noticed() {
        let (mut station, mut base) = ends(BS1);
        let bytes = base.sign(0x101, order()).unwrap();
        let head = 6;
        for bit in 0..(bytes.len() - head) * 8 {
            let mut flipped = bytes.to_vec();
            flipped[head + bit / 8] ^= 1 << (bit % 8);
            // What cannot be read at all is not verified either.
            let Ok(received) = Pdu::decode(&flipped) else {
                continue;
            };
            // The upper half of the octet with the key's sequence number is reserved.
            let original = Pdu::decode(&bytes).unwrap();
            if received == original {
                continue;
            }
            assert!(station.verify(&received).is_err(), "bit {bit}");
        }
        assert_eq!(station.verify(&received(&bytes)), Ok(()));
    }

    // Rows: W16-24
    #[test]
    fn keys_of_another_direction_base_station_or_connection_do_not_fit() {
        let (mut station, mut base) = ends(BS1);
        let (mut other_station, mut other_base) = ends(BS2);
        let indication = Message::MobHoInd(MobHoInd::new(HoIndication::Cancel));
        let up = station.sign(0x101, indication.clone()).unwrap();
        assert_eq!(station.verify(&received(&up)), Err(Refusal::Wrong));
        assert_eq!(other_base.verify(&received(&up)), Err(Refusal::Wrong));
        let mut elsewhere = received(&up);
        elsewhere.pdu.cid = 0x102;
        assert_eq!(base.verify(&elsewhere), Err(Refusal::Wrong));
        assert_eq!(base.verify(&received(&up)), Ok(()));
        let down = base.sign(0x101, order()).unwrap();
        assert_eq!(other_station.verify(&received(&down)), Err(Refusal::Wrong));
        // Nor does a key that was replaced.
        let ak = Ak::derive(&PMK, STATION, BS1);
        let mut newer = Context::new(&ak, 2, STATION, BS1, End::Station);
        assert_eq!(newer.verify(&received(&down)), Err(Refusal::OtherKey));
    }

    // Rows: W16-24
    #[test]
    fn message_without_a_cmac_is_refused() {
        let (mut station, _) = ends(BS1);
        let mut pdu = Pdu {
            cid: 0x101,
            message: order(),
            authentication: None,
        };
        let bytes = pdu.encode().unwrap();
        assert_eq!(station.verify(&received(&bytes)), Err(Refusal::Missing));
        pdu.authentication = Some(Authentication::Hmac(HmacTuple {
            key_sequence: 1,
            digest: [0; 20],
        }));
        let bytes = pdu.encode().unwrap();
        assert_eq!(
            station.verify(&received(&bytes)),
            Err(Refusal::NotNegotiated)
        );
        assert_eq!(requirement(&pdu.message), Requirement::Always);
    }

    #[test]
    fn digest_of_pkm_covers_the_key_sequence_number() {
        let (mut station, mut base) = ends(BS1);
        let request = Pkm {
            ms_random: Some([1; 8]),
            ..Pkm::new(PkmCode::SaTekRequest, 1)
        };
        let bytes = station.sign(0x201, Message::PkmReq(request)).unwrap();
        let received = received(&bytes);
        // Type, code, identifier, MS_Random, key sequence number.
        assert_eq!(received.covered.len(), 3 + 10 + 3);
        assert_eq!(received.covered[13..], [10, 1, 1]);
        assert_eq!(base.verify(&received), Ok(()));
    }

    #[test]
    fn hmac_digest_of_pkm_is_attribute_11() {
        let (mut station, mut base) = ends_by(MacMode::Hmac, BS1);
        let request = Message::PkmReq(Pkm::new(PkmCode::SaTekRequest, 1));
        let bytes = station.sign(0x201, request).unwrap();
        let received = received(&bytes);
        assert_eq!(received.covered[..], [9, 21, 1, 10, 1, 1]);
        assert_eq!(bytes[12..14], [11, 20]);
        assert_eq!(bytes.len(), 14 + 20);
        assert_eq!(base.verify_fresh(&received), Ok(()));
    }

    #[test]
    fn packet_numbers_begin_again_with_a_message_that_is_known_to_be_new() {
        let (_, mut base) = ends(BS1);
        let (mut old, _) = ends(BS1);
        let indication = || Message::MobHoInd(MobHoInd::new(HoIndication::Cancel));
        for _ in 0..5 {
            let bytes = old.sign(1, indication()).unwrap();
            assert_eq!(base.verify(&received(&bytes)), Ok(()));
        }
        let (mut anew, _) = ends(BS1);
        let first = received(&anew.sign(1, indication()).unwrap());
        assert_eq!(base.verify(&first), Err(Refusal::Replayed));
        assert_eq!(base.verify_fresh(&first), Ok(()));
        let second = received(&anew.sign(1, indication()).unwrap());
        assert_eq!(base.verify(&second), Ok(()));
    }

    #[test]
    fn no_packet_number_is_used_twice() {
        let (mut station, _) = ends(BS1);
        station.sent = u32::MAX;
        let message = Message::MobHoInd(MobHoInd::new(HoIndication::Cancel));
        assert_eq!(
            station.sign(1, message),
            Err(SignError::Exhausted("MOB_HO-IND"))
        );
    }
}
