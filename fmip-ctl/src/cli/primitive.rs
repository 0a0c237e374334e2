//! `fmip-ctl primitive`: what a link layer's driver tells a mobile node, in the words of RFC 5270 or
//! of IEEE 802.21.

use std::{
    io::{self, Write as _},
    path::Path,
};

use clap::Args;
use fmip_ctl::{
    link::{
        damping::Outcome,
        vocabulary::{Indication, SayError},
    },
    observe::client::Client,
};

#[derive(Args)]
pub(super) struct Options {
    /// NEW_LINK_DETECTED (LINK_DETECTED), LINK_HANDOVER_IMPEND (LINK_HANDOVER_IMMINENT), LINK_UP,
    /// LINK_DOWN or LINK_GOING_DOWN; with --failed: LINK_SWITCH (HANDOVER_COMMIT).
    #[arg(value_name = "NAME")]
    primitive: String,
    /// The link-layer address (BSSID, BSID) of the access point that it is about.
    #[arg(value_name = "ACCESS-POINT")]
    access_point: Option<String>,
    /// Answers a LINK_SWITCH: the link layer could not move there, and why.
    #[arg(long, value_name = "WHY")]
    failed: Option<String>,
}

impl Options {
    fn indication(self) -> Result<Indication, SayError> {
        Indication::new(&self.primitive, self.access_point.as_deref(), self.failed)
    }
}

/// Hands the primitive over and returns when the controller has taken it; says so if it does not act
/// on it at once.
pub(super) fn primitive(socket: &Path, options: Options) -> anyhow::Result<()> {
    let indication = options.indication()?;
    let said = match Client::connect(socket)?.primitive(indication)? {
        Outcome::Told => return Ok(()),
        Outcome::HeldBack => "held back: it comes too soon after another target",
        Outcome::Dropped => "dropped: it says nothing new, or there are too many of them",
    };
    Ok(writeln!(io::stdout(), "{said}")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_vocabulary_is_taken_and_the_rest_is_refused_in_words() {
        let options = |primitive: &str, access_point: Option<&str>, failed: Option<&str>| Options {
            primitive: primitive.to_owned(),
            access_point: access_point.map(str::to_owned),
            failed: failed.map(str::to_owned),
        };
        let ap = Some("02:00:00:00:0a:02");
        for (said, same) in [
            (
                options("LINK_HANDOVER_IMMINENT", ap, None),
                options("link_handover_impend", ap, None),
            ),
            (
                options("HANDOVER_COMMIT", ap, Some("no answer")),
                options("LINK_SWITCH", ap, Some("no answer")),
            ),
            (
                options("LINK_DOWN", None, None),
                options("Link_Down", None, None),
            ),
        ] {
            assert_eq!(said.indication().unwrap(), same.indication().unwrap());
        }
        let refused = options("LINK_UP", Some("ap2"), None).indication();
        assert_eq!(
            refused.unwrap_err().to_string(),
            "access_point: \"ap2\" is no link-layer address: write it as 02:00:00:00:0a:01"
        );
    }
}
