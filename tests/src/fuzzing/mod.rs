//! What the fuzzers run: each target takes any octets, and panics if something is wrong with what
//! the project makes of them.
//!
//! The bodies are here and not with the fuzzers, so that every compiler can run them: the corpus
//! that the fuzzers found is replayed as an ordinary test. How to run a fuzzer says the README.
//!
//! Two kinds: decoders and parsers get the octets as they are ([`octets`], [`text`]); the machines
//! of the protocol and of the link layers get a sequence of inputs that is made of them ([`router`],
//! [`mobile_node`] on a [`stage`]; [`station`], [`supplicant`], [`hostapd`]).

pub mod hostapd;
pub mod mobile_node;
pub mod octets;
pub mod router;
pub mod script;
pub mod seeds;
pub mod stage;
pub mod station;
pub mod supplicant;
pub mod text;

/// One fuzzer.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which its corpus has, too.
    pub name: &'static str,
    /// Runs one input.
    ///
    /// # Panics
    /// Something is wrong: not with the input, but with what became of it.
    pub run: fn(&[u8]),
}

/// All fuzzers.
pub const TARGETS: [Target; 11] = [
    Target {
        name: "packet",
        run: octets::packet,
    },
    Target {
        name: "icmpv6",
        run: octets::icmpv6,
    },
    Target {
        name: "mobility",
        run: octets::mobility,
    },
    Target {
        name: "management",
        run: octets::management,
    },
    Target {
        name: "configuration",
        run: text::configuration,
    },
    Target {
        name: "control",
        run: text::control,
    },
    Target {
        name: "access_router",
        run: router::run,
    },
    Target {
        name: "mobile_node",
        run: mobile_node::run,
    },
    Target {
        name: "station",
        run: station::run,
    },
    Target {
        name: "supplicant",
        run: supplicant::run,
    },
    Target {
        name: "hostapd",
        run: hostapd::run,
    },
];

/// The target of this name.
///
/// # Panics
/// There is none.
pub fn target(name: &str) -> Target {
    *TARGETS
        .iter()
        .find(|target| target.name == name)
        .unwrap_or_else(|| panic!("no fuzz target is called {name:?}"))
}
