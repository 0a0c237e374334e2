//! The modes of RFC 5568 as plays: each moves the mobile node in its way, under traffic, and checks what
//! the wires showed and what became of the packets.

mod addressing;
mod movement;
pub(crate) mod naack;
mod predictive;
pub(crate) mod reactive;
pub mod stage;

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};

use self::stage::Stage;
use crate::{controller::Settings, report::Run};

/// A mode of the protocol.
#[derive(Copy, Clone, Debug)]
pub struct Mode {
    /// Its name, for the command line.
    pub name: &'static str,
    /// What happens in it, for people.
    pub title: &'static str,
    /// Whether it needs the third router.
    with_third_router: bool,
    /// What the configuration files say for it.
    configure: fn(&mut Settings),
    play: fn(&mut Stage) -> Result<Run>,
}

/// What a mode came to.
#[derive(Debug)]
pub struct Performance {
    /// The account of the traffic.
    pub run: Run,
    /// The signalling on the wires, as `who: message`, in order.
    pub story: Vec<String>,
}

impl Mode {
    const fn new(
        name: &'static str,
        title: &'static str,
        configure: fn(&mut Settings),
        play: fn(&mut Stage) -> Result<Run>,
    ) -> Self {
        Self {
            name,
            title,
            with_third_router: false,
            configure,
            play,
        }
    }

    const fn with_third_router(mut self) -> Self {
        self.with_third_router = true;
        self
    }

    /// The mode of that name.
    ///
    /// # Errors
    /// Names those that there are.
    pub fn named(name: &str) -> Result<Self> {
        let mut modes = MODES.iter();
        modes
            .find(|mode| mode.name == name)
            .copied()
            .with_context(|| {
                let names: Vec<&str> = MODES.iter().map(|mode| mode.name).collect();
                format!("there is no mode {name}; there are {}", names.join(", "))
            })
    }

    /// Plays it in a lab of its own, with the controller at `fmip_ctl`.
    ///
    /// # Errors
    /// If it did not come to what the mode promises: tells what, with all that was seen.
    pub fn play(&self, fmip_ctl: PathBuf, log_level: &str) -> Result<Performance> {
        // No mode is about what happens when the time for a move or an answer has passed.
        let mut settings = Settings::new(fmip_ctl).patient();
        log_level.clone_into(&mut settings.log_level);
        (self.configure)(&mut settings);
        let mut stage = Stage::set(settings, self.with_third_router)?;
        let run = (self.play)(&mut stage)
            .map_err(|error| anyhow!("{}: {error:#}\n{}", self.title, stage.account()))?;
        let mut story = stage.story.lines();
        // The kernels' own resolving of addresses says nothing to people.
        story.retain(|line| !line.contains(": NS ") && !line.contains(": NA "));
        Ok(Performance { run, story })
    }
}

/// Nothing beyond the topology.
fn as_is(_: &mut Settings) {}

/// All modes.
pub const MODES: &[Mode] = &[
    Mode::new(
        "predictive",
        "prepared by the mobile node before it leaves",
        as_is,
        predictive::by_mobile_node,
    ),
    Mode::new(
        "network-initiated",
        "the previous router tells the mobile node to move",
        as_is,
        predictive::by_network,
    ),
    Mode::new(
        "network-initiated-ncoa",
        "the previous router tells the mobile node to move, and which address to use there",
        as_is,
        predictive::by_network_with_ncoa,
    ),
    Mode::new(
        "reactive-known",
        "the mobile node leaves without a word to a router that it has heard of",
        as_is,
        reactive::known_router,
    ),
    Mode::new(
        "reactive",
        "the mobile node leaves without a word to a router that it never heard of",
        as_is,
        reactive::unknown_router,
    ),
    Mode::new(
        "fback-missed",
        "the mobile node asks, and is gone before the answer",
        as_is,
        reactive::fback_missed,
    ),
    Mode::new(
        "reactive-hold",
        "the previous router hears of the departure, and holds what comes",
        reactive::with_hold,
        reactive::held,
    ),
    Mode::new(
        "reactive-copy",
        "nobody hears of the departure; the previous router has copies of what came last",
        reactive::with_copy,
        reactive::copied,
    ),
    Mode::new(
        "assigned",
        "the new router assigns the address",
        addressing::with_pool,
        addressing::assigned,
    ),
    Mode::new(
        "ncoa-refused",
        "the new address is another node's: the new router refuses it",
        addressing::with_probe,
        addressing::refused,
    ),
    Mode::new(
        "pcoa-kept",
        "the mobile node keeps its address on the new router's link",
        addressing::with_kept_pcoa,
        addressing::kept,
    ),
    Mode::new(
        "dhcp",
        "the new router's network gives addresses by DHCP only",
        addressing::with_dhcp,
        addressing::dhcp,
    ),
    Mode::new(
        "naack-configure",
        "the mobile node arrives with another node's address: it is to configure one as on any link",
        naack::with_configure,
        naack::configure,
    ),
    Mode::new(
        "naack-supplied",
        "the mobile node arrives with another node's address: it is given one",
        naack::with_assign,
        naack::supplied,
    ),
    Mode::new(
        "naack-router-address",
        "the mobile node arrives with another node's address: it is to use the router's",
        naack::with_router_address,
        naack::router_address,
    ),
    Mode::new(
        "naack-late",
        "as before, but the mobile node finds that out by itself before the router answers",
        naack::with_late_router_address,
        naack::router_address_late,
    ),
    Mode::new(
        "naack-pcoa",
        "the mobile node arrives with a new address: it is to keep its previous one",
        addressing::with_kept_pcoa,
        naack::pcoa,
    ),
    Mode::new(
        "naack-unrecognized",
        "the mobile node arrives where its link-layer address is not known",
        naack::with_known_nodes,
        naack::unrecognized,
    ),
    Mode::new(
        "fna",
        "the mobile node announces itself as in RFC 4068, with the FBU inside",
        reactive::with_fna,
        reactive::legacy,
    ),
    Mode::new(
        "same-link",
        "the mobile node changes the access point, not the router",
        as_is,
        movement::same_link,
    )
    .with_third_router(),
    Mode::new(
        "stays",
        "the mobile node prepares a handover and stays",
        as_is,
        movement::stays,
    ),
    Mode::new(
        "broken-off",
        "the mobile node prepares a handover, stays, prepares the same again, and goes",
        as_is,
        movement::broken_off,
    ),
    Mode::new(
        "elsewhere",
        "the mobile node prepares a handover and appears at a third router",
        as_is,
        movement::elsewhere,
    )
    .with_third_router(),
    Mode::new(
        "superseded",
        "the mobile node prepares a handover, then another one, and goes there",
        as_is,
        movement::superseded,
    )
    .with_third_router(),
    Mode::new(
        "ping-pong",
        "the mobile node comes back from the new router before the tunnel ends",
        as_is,
        movement::ping_pong,
    ),
    Mode::new(
        "held-return",
        "the mobile node comes back while what was held for it is on its way after it",
        movement::with_slow_hold,
        movement::held_return,
    ),
    Mode::new(
        "held-again",
        "the mobile node comes back, and goes to a third router before it has what was held for it",
        movement::with_slow_hold,
        movement::held_again,
    )
    .with_third_router(),
    Mode::new(
        "chain",
        "the mobile node moves on to a third router before the first tunnel ends",
        as_is,
        movement::chain,
    )
    .with_third_router(),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_mode_has_a_name_of_its_own() {
        let names: BTreeSet<_> = MODES.iter().map(|mode| mode.name).collect();
        assert_eq!(names.len(), MODES.len());
    }

    #[test]
    fn an_unknown_mode_is_answered_with_those_that_there_are() {
        let error = Mode::named("by-magic").unwrap_err().to_string();
        assert!(
            error.contains("by-magic") && error.contains("predictive"),
            "{error}"
        );
    }

    #[test]
    fn the_controller_understands_the_files_of_every_mode() {
        for mode in MODES {
            let mut settings = Settings::new(PathBuf::from("fmip-ctl")).patient();
            (mode.configure)(&mut settings);
            for (name, text) in settings.files() {
                let file = PathBuf::from(format!("{name}.toml"));
                if let Err(error) = fmip_ctl::config::Config::parse(&file, &text) {
                    panic!("{}: {error}\n{text}", mode.name);
                }
            }
        }
    }
}
