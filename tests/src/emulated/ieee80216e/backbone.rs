//! What base stations say to each other when a station moves. IEEE 802.16e leaves the form of these
//! messages to the network (section 6.3.22); here each is a datagram of JSON.

use fmip_ctl::{link::ieee80216e::auth::KEY_LEN, wire::MacAddr};
use serde::{Deserialize, Serialize};

/// A message with its sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Envelope {
    /// The BSID of the sender.
    pub from: MacAddr,
    /// The mobile station that it is about.
    pub station: MacAddr,
    /// What is said of it.
    pub message: Message,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Message {
    /// Would you take the station?
    HandoverRequest {
        /// Tells the answers apart that belong to an earlier question.
        transaction: u32,
    },
    /// Whether.
    HandoverResponse {
        /// That of the question.
        transaction: u32,
        /// Whether.
        accepted: bool,
    },
    /// The station has left for you (its MOB_HO-IND said so), with what it need not say again.
    HandoverConfirm {
        /// What is known of it; nothing if contexts are not given away.
        context: Option<Context>,
    },
    /// The station does not come to you.
    HandoverCancel,
    /// The station has come here, and says that it was with you: what do you know of it?
    ContextRequest,
    /// That.
    ContextResponse {
        /// Nothing, if the station is not known or contexts are not given away.
        context: Option<Context>,
    },
    /// The station is here and has shown its key: it is not with you any more, whatever it told you.
    Arrived,
    /// The station has entered the network here: what you keep for it can go.
    HandoverComplete,
}

impl Message {
    /// Its name, for people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::HandoverRequest { .. } => "HO-request",
            Self::HandoverResponse { .. } => "HO-response",
            Self::HandoverConfirm { .. } => "HO-confirm",
            Self::HandoverCancel => "HO-cancel",
            Self::ContextRequest => "context-request",
            Self::ContextResponse { .. } => "context-response",
            Self::Arrived => "arrived",
            Self::HandoverComplete => "HO-complete",
        }
    }

    /// More of it, for people.
    pub fn detail(&self) -> Option<String> {
        let context = |context: &Option<Context>| match context {
            Some(_) => "with its context".to_owned(),
            None => "without its context".to_owned(),
        };
        match self {
            Self::HandoverResponse { accepted, .. } => {
                Some(if *accepted { "accepted" } else { "rejected" }.to_owned())
            }
            Self::HandoverConfirm { context: told } | Self::ContextResponse { context: told } => {
                Some(context(told))
            }
            _ => None,
        }
    }
}

/// What a base station knows of a station that has entered the network there: whoever has it can do
/// without SBC, PKM and REG.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Context {
    /// The authenticator's key, of which every base station's own AK is made: the authenticator goes with
    /// the station.
    pub pmk: [u8; KEY_LEN],
    /// Its basic capabilities, the octets of an SBC-RSP.
    pub capabilities: Vec<u8>,
    /// Its registration, the octets of a REG-RSP.
    pub registration: Vec<u8>,
}

/// The octets of a message.
pub fn encode(envelope: &Envelope) -> Vec<u8> {
    serde_json::to_vec(envelope).expect("numbers and lists have a form in JSON")
}

/// The message of octets.
///
/// # Errors
/// Names what is wrong with it.
pub fn decode(datagram: &[u8]) -> Result<Envelope, serde_json::Error> {
    serde_json::from_slice(datagram)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_written_and_read_and_garbage_is_an_error() {
        let context = Context {
            pmk: [1; KEY_LEN],
            capabilities: vec![5],
            registration: vec![],
        };
        for message in [
            Message::HandoverRequest { transaction: 7 },
            Message::HandoverConfirm {
                context: Some(context),
            },
            Message::HandoverCancel,
            Message::ContextResponse { context: None },
        ] {
            let envelope = Envelope {
                from: MacAddr([2, 0, 0, 0, 10, 1]),
                station: MacAddr([2, 0, 0, 0, 0, 1]),
                message,
            };
            let datagram = encode(&envelope);
            assert_eq!(decode(&datagram).unwrap(), envelope);
            for length in 0..datagram.len() {
                assert!(decode(&datagram[..length]).is_err());
            }
        }
    }
}
