//! The configuration files of the lab's controllers.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::json;

use super::Role;
use crate::{
    topology::{ACCESS_INTERFACE, CORE_INTERFACE, Network, PCOA, Router, WLAN},
    wait::is_emulated,
};

/// The handover key that the lab's mobile node and its access routers share.
const KEY: &str = "6c61622d68616e646f7665722d6b6579";
const SPI: u32 = 256;

/// How long patient routers wait for a mobile node, and how often a patient node or router asks again: far
/// beyond what the way or the answer takes on any machine.
const PATIENCE: [(&str, u64); 4] = [
    ("proxy-nd-lifetime-ms", 15_000),
    ("rtsolpr-retries", 7),
    ("fbu-retries", 7),
    ("hi-retries", 7),
];

/// What the lab's configuration files say beyond the topology.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `fmip-ctl` binary.
    pub fmip_ctl: PathBuf,
    /// `--log-level`.
    pub log_level: String,
    /// The `[buffer]` table.
    pub buffer: Buffer,
    /// The `[timers]` table; what is not in it has the RFC's value. Where the processor is emulated, a
    /// node has more time for its way, and a message until it is repeated.
    pub timers: BTreeMap<&'static str, u64>,
    /// Seconds the mobile node asks for in its FBU.
    pub lifetime_s: u32,
    /// The mobile node's key, hexadecimal; the access routers have [`Settings::new`]'s.
    pub mobile_node_key: String,
    /// Whether everything that the controllers are told and do is recorded.
    pub record: bool,
    /// What the files of single routers say beyond that.
    pub routers: BTreeMap<Router, RouterSettings>,
    /// Whether the mobile node is left to find out where it is.
    pub finds_its_place: bool,
    /// Whether the mobile node is told that the routers are access points themselves.
    pub tells_of_integrated_routers: bool,
    /// More keys of the mobile node's `[mobile-node]` table.
    pub mobile_node: toml::Table,
    /// Routers that run no controller, and that no other node has heard of.
    pub strangers: BTreeSet<Router>,
}

/// What the configuration file of one access router says beyond the topology.
#[derive(Clone, Debug, Default)]
pub struct RouterSettings {
    /// More keys of the `[access-router]` table.
    pub router: toml::Table,
    /// More keys of its access link.
    pub access: toml::Table,
    /// More keys of its neighbors.
    pub neighbors: BTreeMap<Router, toml::Table>,
}

impl RouterSettings {
    /// Says more about its access link.
    pub fn set_access(&mut self, key: &str, value: impl Into<toml::Value>) {
        self.access.insert(key.to_owned(), value.into());
    }

    /// Says more about a neighbor.
    pub fn set_neighbor(&mut self, neighbor: Router, key: &str, value: impl Into<toml::Value>) {
        let neighbor = self.neighbors.entry(neighbor).or_default();
        neighbor.insert(key.to_owned(), value.into());
    }
}

impl Settings {
    /// The defaults, with the binary at `fmip_ctl`.
    pub fn new(fmip_ctl: PathBuf) -> Self {
        Self {
            fmip_ctl,
            log_level: "info".to_owned(),
            buffer: Buffer::default(),
            timers: timers(),
            lifetime_s: 60,
            mobile_node_key: KEY.to_owned(),
            record: false,
            routers: BTreeMap::new(),
            finds_its_place: false,
            tells_of_integrated_routers: false,
            mobile_node: toml::Table::new(),
            strangers: BTreeSet::new(),
        }
    }

    /// All are patient: a mobile node may be on its way, and an answer too, for longer than the RFC's 1.5 s,
    /// which may pass on a busy machine. For all that is not about what happens when they have passed.
    #[must_use]
    pub fn patient(mut self) -> Self {
        self.timers.extend(PATIENCE);
        self
    }

    /// The settings of one access router.
    pub fn router(&mut self, router: Router) -> &mut RouterSettings {
        self.routers.entry(router).or_default()
    }

    /// The configuration files of a lab with three routers, by role.
    pub fn files(&self) -> Vec<(&'static str, String)> {
        self.files_in(Network::Three)
    }

    /// The configuration files of a lab, by role.
    pub fn files_in(&self, network: Network) -> Vec<(&'static str, String)> {
        let roles = network.routers().iter().copied().map(Role::Router);
        roles
            .chain([Role::MobileNode])
            .map(|role| {
                let socket = Path::new("/run/fmip/x.sock");
                (role.name(), configuration(role, self, network, socket))
            })
            .collect()
    }
}

fn timers() -> BTreeMap<&'static str, u64> {
    match is_emulated() {
        true => [
            ("initial-timeout-ms", 1_000),
            ("proxy-nd-lifetime-ms", 15_000),
        ]
        .into(),
        false => BTreeMap::new(),
    }
}

/// The `[buffer]` table; what is `None` is left to the default.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Buffer {
    /// Packets in the pool.
    pub packets: Option<u32>,
    /// Packets of one mobile node.
    pub packets_per_node: Option<u32>,
    /// `paced` or `burst`.
    pub drain: Option<String>,
    /// The factor by which a paced drain is faster than the packets came.
    pub catch_up: Option<f64>,
    /// Milliseconds after which held packets are dropped.
    pub max_hold_ms: Option<u64>,
}

/// The configuration file of one role, as TOML, in a lab with that network.
pub(super) fn configuration(
    role: Role,
    settings: &Settings,
    network: Network,
    socket: &Path,
) -> String {
    let mut file = toml::Table::new();
    let mut set = |name: &str, value: toml::Value| file.insert(name.to_owned(), value);
    set("control-socket", socket.to_string_lossy().as_ref().into());
    match role {
        Role::Router(router) => {
            set("role", "access-router".into());
            set(
                "access-router",
                access_router(router, settings, network, &state(socket)).into(),
            );
        }
        Role::MobileNode => {
            set("role", "mobile-node".into());
            set("mobile-node", mobile_node(settings, network).into());
        }
    }
    set("buffer", table(&settings.buffer).into());
    set("timers", table(&settings.timers).into());
    toml::to_string(&file).expect("names, numbers and lists have a form in TOML")
}

/// Where a controller with that control socket keeps what survives its restart.
fn state(socket: &Path) -> PathBuf {
    socket.with_extension("state")
}

fn access_router(
    router: Router,
    settings: &Settings,
    network: Network,
    state: &Path,
) -> toml::Table {
    let own = settings.routers.get(&router).cloned().unwrap_or_default();
    let access_points = |router: Router| -> Vec<&str> {
        let all = network.access_points(router).iter();
        all.map(|access_point| access_point.id()).collect()
    };
    let mut access = table(&json!({
        "interface": ACCESS_INTERFACE,
        "address": router.address(),
        "prefix": router.prefix(),
        "access-points": access_points(router),
    }));
    access.extend(own.access);
    let neighbors: Vec<toml::Table> = known(settings, network)
        .filter(|neighbor| *neighbor != router)
        .map(|neighbor| {
            let mut entry = table(&json!({
                "address": neighbor.address(),
                "link-address": neighbor.lla(),
                "prefix": neighbor.prefix(),
                "access-points": access_points(neighbor),
            }));
            entry.extend(own.neighbors.get(&neighbor).cloned().unwrap_or_default());
            entry
        })
        .collect();
    // The mobile node may come from any link, and then its address is of that link.
    let key = table(&json!({
        "pcoa": router.care_of_address(),
        "spi": SPI,
        "key": KEY,
    }));
    let mut table = toml::Table::from_iter([
        ("core-interfaces".to_owned(), vec![CORE_INTERFACE].into()),
        (
            "state-directory".to_owned(),
            state.to_string_lossy().as_ref().into(),
        ),
        ("access".to_owned(), vec![access].into()),
        ("neighbor".to_owned(), neighbors.into()),
        ("mobile-node".to_owned(), vec![key].into()),
    ]);
    table.extend(own.router);
    table
}

/// The routers that have heard of each other.
fn known(settings: &Settings, network: Network) -> impl Iterator<Item = Router> {
    let routers = network.routers().iter().copied();
    routers.filter(|router| !settings.strangers.contains(router))
}

fn mobile_node(settings: &Settings, network: Network) -> toml::Table {
    // Those that it may be handed over from later; or now, if it does not know which it is.
    let others: Vec<toml::Table> = known(settings, network)
        .filter(|router| settings.finds_its_place || *router != Router::Previous)
        .map(|router| {
            let mut entry = table(&json!({
                "address": router.address(),
                "prefix": router.prefix(),
                "spi": SPI,
                "key": KEY,
            }));
            if settings.tells_of_integrated_routers {
                entry.insert("access-point".to_owned(), router.lla().into());
            }
            entry
        })
        .collect();
    let mut table = match settings.finds_its_place {
        true => table(&json!({
            "interface": WLAN,
            "lifetime-s": settings.lifetime_s,
        })),
        false => table(&json!({
            "interface": WLAN,
            "access-router": Router::Previous.address(),
            "pcoa": PCOA,
            "access-point": network.start().id(),
            "spi": SPI,
            "key": settings.mobile_node_key,
            "lifetime-s": settings.lifetime_s,
        })),
    };
    table.insert("router".to_owned(), others.into());
    table.extend(settings.mobile_node.clone());
    table
}

fn table(of: &impl Serialize) -> toml::Table {
    toml::Table::try_from(of).expect("names, numbers and lists have a form in TOML")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::AccessPoint;

    fn parsed(role: Role, settings: &Settings) -> toml::Table {
        let text = configuration(role, settings, Network::Three, Path::new("/run/x.sock"));
        text.parse()
            .unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    fn settings() -> Settings {
        Settings::new(PathBuf::from("fmip-ctl"))
    }

    #[test]
    fn the_previous_router_knows_its_neighbour_and_the_key() {
        let file = parsed(Role::Router(Router::Previous), &settings());
        assert_eq!(file["role"].as_str(), Some("access-router"));
        assert_eq!(file["control-socket"].as_str(), Some("/run/x.sock"));
        let router = &file["access-router"];
        assert_eq!(
            router["access"][0]["address"].as_str(),
            Some("2001:db8:1::1")
        );
        assert_eq!(
            router["neighbor"][0]["prefix"].as_str(),
            Some("2001:db8:2::/64")
        );
        assert_eq!(
            router["neighbor"][0]["link-address"].as_str(),
            Some(Router::New.lla())
        );
        assert_eq!(
            router["mobile-node"][0]["pcoa"].as_str(),
            Some("2001:db8:1::ff:fe00:1")
        );
        assert!(file.get("mobile-node").is_none());
    }

    #[test]
    fn every_router_knows_the_others_and_the_key_of_the_address_on_its_link() {
        let file = parsed(Role::Router(Router::New), &settings());
        let router = &file["access-router"];
        assert_eq!(
            router["access"][0]["access-points"][0].as_str(),
            Some("02:00:00:00:0a:02")
        );
        assert_eq!(
            router["neighbor"][0]["address"].as_str(),
            Some("2001:db8:1::1")
        );
        assert_eq!(
            router["neighbor"][1]["address"].as_str(),
            Some("2001:db8:3::1")
        );
        assert_eq!(
            router["mobile-node"][0]["pcoa"].as_str(),
            Some("2001:db8:2::ff:fe00:1")
        );
    }

    #[test]
    fn without_a_third_router_nobody_speaks_of_it() {
        let text = configuration(
            Role::Router(Router::Previous),
            &settings(),
            Network::Two,
            Path::new("/run/x.sock"),
        );
        assert!(!text.contains(Router::Third.prefix()), "{text}");
        assert!(!text.contains(AccessPoint::Beside.id()), "{text}");
    }

    #[test]
    fn what_is_set_for_one_router_is_in_its_file_alone() {
        let mut settings = settings();
        let router = settings.router(Router::New);
        router.access.insert("a".to_owned(), 1.into());
        router.router.insert("b".to_owned(), 2.into());
        let neighbor = router.neighbors.entry(Router::Third).or_default();
        neighbor.insert("c".to_owned(), 3.into());
        let file = parsed(Role::Router(Router::New), &settings);
        let router = &file["access-router"];
        assert_eq!(router["access"][0]["a"].as_integer(), Some(1));
        assert_eq!(router["b"].as_integer(), Some(2));
        assert!(router["neighbor"][0].get("c").is_none());
        assert_eq!(router["neighbor"][1]["c"].as_integer(), Some(3));
        let file = parsed(Role::Router(Router::Third), &settings);
        assert!(file["access-router"]["access"][0].get("a").is_none());
    }

    #[test]
    fn the_mobile_node_has_the_key_the_lifetime_and_where_it_is() {
        let mut settings = settings();
        settings.lifetime_s = 3;
        settings.mobile_node_key = "ab".repeat(16);
        let file = parsed(Role::MobileNode, &settings);
        assert_eq!(file["role"].as_str(), Some("mobile-node"));
        let node = &file["mobile-node"];
        assert_eq!(node["interface"].as_str(), Some("wlan0"));
        assert_eq!(node["access-point"].as_str(), Some("02:00:00:00:0a:01"));
        assert_eq!(node["lifetime-s"].as_integer(), Some(3));
        assert_eq!(node["key"].as_str(), Some("ab".repeat(16).as_str()));
    }

    #[test]
    fn only_what_is_set_is_in_the_buffer_and_timer_tables() {
        let mut settings = settings();
        assert!(
            parsed(Role::Router(Router::Previous), &settings)["buffer"]
                .as_table()
                .unwrap()
                .is_empty()
        );
        settings.buffer.drain = Some("burst".to_owned());
        settings.buffer.catch_up = Some(1.5);
        settings.timers.insert("proxy-nd-lifetime-ms", 700);
        let file = parsed(Role::Router(Router::New), &settings);
        assert_eq!(file["buffer"]["drain"].as_str(), Some("burst"));
        assert_eq!(file["buffer"]["catch-up"].as_float(), Some(1.5));
        assert_eq!(file["buffer"].as_table().unwrap().len(), 2);
        assert_eq!(
            file["timers"]["proxy-nd-lifetime-ms"].as_integer(),
            Some(700)
        );
    }

    #[test]
    fn the_controller_understands_every_file() {
        let mut settings = settings();
        settings.buffer = Buffer {
            packets: Some(4096),
            packets_per_node: Some(1024),
            drain: Some("paced".to_owned()),
            catch_up: Some(3.0),
            max_hold_ms: Some(5000),
        };
        settings.timers.insert("una-interval-ms", 50);
        for (name, text) in settings.files() {
            if let Err(error) = fmip_ctl::config::Config::parse(Path::new("x.toml"), &text) {
                panic!("{name}: {error}\n{text}");
            }
        }
    }
}
