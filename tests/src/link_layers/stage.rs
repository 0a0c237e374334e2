//! The stage on which a scenario is played: that of the modes, and all that a ladder is made of.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use fmip_ctl::{io::monotonic_ns, wire::MacAddr};
use serde_json::json;

use crate::{
    controller::{Events, Settings},
    emulated::{
        ieee80211::{self, Air, Control, Delays},
        ieee80216e::{self, AirWatch},
    },
    ladder::{
        Clocks, Direction, Ladder, Member, Names, Place, Reading, Reporter, Sources, Step,
        place_of_router,
    },
    report::Run,
    scenario::stage::{Stage, knows},
    stream::Passage,
    topology::{AccessPoint, Lab, Network, Router},
    wait::elapse,
};

/// How strong an access point is that the mobile node is near to, and one that it is about to lose, in
/// dBm.
pub const NEAR: i32 = -45;
/// See [`NEAR`].
pub const FADING: i32 = -82;

/// No scan follows another sooner.
pub const SCAN_MIN_INTERVAL: Duration = Duration::from_millis(150);

/// What a scenario needs before it begins.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What the configuration files say.
    pub settings: Settings,
    /// The routers and access points.
    pub network: Network,
    /// What the ladder's columns are called.
    pub names: Names,
    /// Which access point stands in which column.
    pub access_points: Vec<Member>,
    /// The base stations, where the links are of 802.16e.
    pub base_stations: Option<ieee80216e::Settings>,
    /// The emulated 802.11, if the mobile node has such an interface.
    pub wifi: Option<Wifi>,
    /// What `tc` does to the queues in the air before traffic begins: a queue that is put in the place of
    /// another may lose what passes meanwhile.
    pub queues: &'static [&'static str],
}

/// How long 802.1X takes where a handover is to lose something: longer than a busy machine keeps a sender
/// from sending, which would lose nothing of a gap that it slept through.
pub const LOSSY_HANDSHAKE_MS: u64 = 1000;

/// The emulated 802.11.
#[derive(Clone, Debug)]
pub struct Wifi {
    /// How long its steps take.
    pub delays: Delays,
    /// Access points that are not on the air at first.
    pub absent: Vec<AccessPoint>,
    /// Access points that the mobile node is near to from the beginning, besides its own.
    pub near: Vec<AccessPoint>,
    /// Keys of the mobile node's `[mobile-node.ieee80211]`.
    pub station: toml::Table,
}

impl Wifi {
    /// A station of which the firmware decides where to go.
    pub fn firmware() -> Self {
        let mut wifi = Self::quick();
        wifi.delays.handshake_ms = LOSSY_HANDSHAKE_MS;
        wifi.station
            .insert("choose-target".to_owned(), false.into());
        wifi
    }

    /// A station that notices soon what changes: a scenario is short.
    pub fn quick() -> Self {
        let station = json!({
            "signal-interval-ms": 50,
            "scan-min-interval-ms": SCAN_MIN_INTERVAL.as_millis() as u64,
            // As long as a busy machine may take: no scenario is about this.
            "link-switch-wait-ms": 5000,
            // As many as an administrator knows: all channels take a quarter of a second.
            "frequencies": [2412, 2437, 2462],
        });
        Self {
            delays: Delays::default(),
            absent: Vec::new(),
            near: Vec::new(),
            station: toml::Table::try_from(station).expect("names and numbers have a form in TOML"),
        }
    }
}

impl Setup {
    /// Two routers with an access point each, and an interface that is told what it does.
    pub fn new(fmip_ctl: PathBuf) -> Self {
        Self {
            // Where a scenario is about such a time it says so.
            settings: Settings::new(fmip_ctl).patient(),
            network: Network::Two,
            names: Names::access_points(),
            access_points: vec![
                member(AccessPoint::Previous, Place::OldAp),
                member(AccessPoint::New, Place::NewAp),
            ],
            wifi: None,
            base_stations: None,
            queues: &[],
        }
    }

    /// The mobile node's interface is of 802.11, and the emulated air moves it.
    pub fn use_802_11(&mut self, wifi: Wifi) {
        self.wifi = Some(wifi);
    }

    /// The links are of 802.16e: base stations at the access points, and a mobile station that knows
    /// their network.
    pub fn use_802_16e(&mut self) -> &mut ieee80216e::Settings {
        self.use_802_16e_with(ieee80216e::Settings::default())
    }

    /// As [`Setup::use_802_16e`], with these settings.
    pub fn use_802_16e_with(
        &mut self,
        base_stations: ieee80216e::Settings,
    ) -> &mut ieee80216e::Settings {
        self.names = Names::base_stations();
        let station = base_stations.mobile_station();
        let table = &mut self.settings.mobile_node;
        table.insert("ieee80216e".to_owned(), station.into());
        self.base_stations.insert(base_stations)
    }

    /// The network, with the access points that stand in the columns of the old, the new and perhaps a
    /// third one.
    pub fn set_network(&mut self, network: Network, columns: &[AccessPoint]) {
        self.network = network;
        let places = [Place::OldAp, Place::NewAp, Place::ThirdAp];
        let columns = columns.iter().zip(places);
        self.access_points = columns
            .map(|(access_point, place)| member(*access_point, place))
            .collect();
    }

    /// What the configuration files say, with wpa_supplicant's socket there.
    pub(super) fn settings_with(&self, supplicant: &Path) -> Settings {
        let mut settings = self.settings.clone();
        if let Some(wifi) = &self.wifi {
            let mut station = wifi.station.clone();
            let supplicant = supplicant.to_string_lossy().into_owned();
            station.insert("control-interface".to_owned(), supplicant.into());
            settings
                .mobile_node
                .insert("ieee80211".to_owned(), station.into());
        }
        settings
    }
}

/// An access point in its column.
pub fn member(access_point: AccessPoint, place: Place) -> Member {
    Member {
        id: access_point.id().to_owned(),
        place,
        router: place_of_router(access_point.router()),
    }
}

/// What links of 802.16e have.
#[derive(Debug)]
struct Radio {
    network: ieee80216e::Network,
    air: AirWatch,
}

impl Radio {
    fn start(lab: &Lab, settings: &ieee80216e::Settings) -> Result<Self> {
        Ok(Self {
            air: AirWatch::start(lab)?,
            network: ieee80216e::Network::start(lab, settings)?,
        })
    }

    /// No data passes before.
    fn wait_for_entry(&self) -> Result<()> {
        let local = ieee80216e::Direction::Local;
        self.network
            .wait_for(AccessPoint::Previous, "carries", local)
            .map(drop)
            .map_err(|error| anyhow!("{error:#}\n{}", self.network.account()))
    }
}

/// A stage with all that is written down for the ladder.
#[derive(Debug)]
pub struct Scene {
    // Dropped in this order.
    air: Option<Air>,
    radio: Option<Radio>,
    /// Where the modes are played, too.
    pub stage: Stage,
    title: &'static str,
    names: Names,
    access_points: Vec<Member>,
    /// The processes that print the steps that they take.
    reporters: Vec<Reporter>,
    /// The steps of what the play itself moves.
    own: Vec<(Place, Step)>,
    /// When the controllers were started.
    started: Reading,
    /// When the play began.
    began: Duration,
    /// When the streams began.
    streams_began: Duration,
    /// The account of the streams, once they have ended.
    closed: Option<(Duration, Vec<Passage>)>,
}

impl Scene {
    /// Builds all, lets the traffic flow, and begins.
    ///
    /// # Errors
    /// If something cannot be built, or the traffic does not flow.
    pub fn set(title: &'static str, setup: Setup) -> Result<Self> {
        let lab = Lab::of(setup.network)?;
        for command in setup.queues {
            lab.air.tc(command)?;
        }
        let mut air = None;
        let mut settings = setup.settings.clone();
        if let Some(wifi) = &setup.wifi {
            let mut started = Air::start_with(&lab, wifi.delays.clone())?;
            for access_point in &wifi.absent {
                started.vanish(*access_point)?;
            }
            for access_point in &wifi.near {
                started.signal(*access_point, NEAR)?;
            }
            settings = setup.settings_with(started.wpa_supplicant());
            air = Some(started);
        }
        let base_stations = setup.base_stations.as_ref();
        let radio = base_stations
            .map(|settings| Radio::start(&lab, settings))
            .transpose()?;
        let mut reporters = Vec::new();
        for (access_point, log) in radio.iter().flat_map(|radio| radio.network.logs()) {
            let mut members = setup.access_points.iter();
            if let Some(member) = members.find(|member| member.id == access_point.id()) {
                let place = member.place;
                reporters.push(Reporter { place, log });
            }
        }
        let started = Reading::take();
        let ready = || radio.as_ref().map_or(Ok(()), Radio::wait_for_entry);
        let stage = Stage::in_lab_when(lab, settings, ready)?;
        let began = Reading::take().monotonic;
        Ok(Self {
            air,
            radio,
            streams_began: began.saturating_sub(stage.streams().elapsed()),
            stage,
            title,
            names: setup.names,
            access_points: setup.access_points,
            reporters,
            own: Vec::new(),
            started,
            began,
            closed: None,
        })
    }

    /// The base stations.
    ///
    /// # Errors
    /// If the links are not of 802.16e.
    pub fn network(&self) -> Result<&ieee80216e::Network> {
        Ok(&self.radio()?.network)
    }

    /// What crossed the radio.
    ///
    /// # Errors
    /// As [`Scene::network`].
    pub fn watch(&self) -> Result<&AirWatch> {
        Ok(&self.radio()?.air)
    }

    fn radio(&self) -> Result<&Radio> {
        let radio = self.radio.as_ref();
        radio.context("the links of this scene are not of 802.16e")
    }

    /// As [`Stage::while_frozen`].
    ///
    /// # Errors
    /// That of `meanwhile`.
    pub fn while_frozen<T>(
        &mut self,
        router: Router,
        meanwhile: impl FnOnce(&Self) -> Result<T>,
    ) -> Result<T> {
        self.stage.freeze(router)?;
        let result = meanwhile(self);
        self.stage.thaw(router)?;
        result
    }

    /// The ladder begins now.
    pub fn begin(&mut self) {
        self.began = Reading::take().monotonic;
    }

    /// The ladder begins with the controllers.
    pub fn begin_at_the_start(&mut self) {
        self.began = self.started.monotonic;
    }

    /// From now on the ladder has the steps that a process prints, too.
    pub fn add_reporter(&mut self, reporter: Reporter) {
        self.reporters.push(reporter);
    }

    /// From now on an access point, or a base station, has a column.
    pub fn add_member(&mut self, id: MacAddr, place: Place, router: Place) {
        self.access_points.push(Member {
            id: id.to_string(),
            place,
            router,
        });
    }

    /// Writes down a step that the play itself takes, in the place of somebody.
    pub fn note(&mut self, place: Place, step: &str) {
        let step = Step {
            time_ns: monotonic_ns(),
            step: step.to_owned(),
            direction: Direction::Local,
            peer: None,
            detail: None,
        };
        self.own.push((place, step));
    }

    // What the play moves by itself

    /// The radio leaves, and the mobile node knows it first.
    ///
    /// # Errors
    /// If it cannot be told, or the radio not be moved.
    pub fn leave(&mut self) -> Result<()> {
        self.stage.leave()?;
        self.note(Place::MnL2, "disconnect");
        Ok(())
    }

    /// After the link-layer gap it is there.
    ///
    /// # Errors
    /// If it cannot be told, or the radio not be moved.
    pub fn arrive(&mut self, access_point: AccessPoint) -> Result<()> {
        self.stage.go_to(access_point)?;
        self.note(Place::MnL2, "connect");
        self.stage.controllers.mn.trigger("link-up", access_point)
    }

    // What the emulated 802.11 moves

    /// The emulated 802.11.
    ///
    /// # Panics
    /// If the scenario has none.
    pub fn air(&mut self) -> &mut Air {
        self.air.as_mut().expect("the scenario has an air")
    }

    /// The mobile node walks: it comes near to one access point, and far from another. It may scan at
    /// once when it notices: its last scan is long enough ago.
    ///
    /// # Errors
    /// If the emulated 802.11 does not take it.
    pub fn walk(&mut self, from: AccessPoint, to: AccessPoint) -> Result<()> {
        // It has one when it starts.
        self.air().wait_for_step(ieee80211::Step::Scan, 1)?;
        let steps = self.air().steps()?.into_iter().rev();
        let mut scans = steps.filter(|step| step.step == ieee80211::Step::Scan);
        if let Some(last) = scans.next() {
            let ago = monotonic_ns().saturating_sub(last.time_ns);
            elapse((2 * SCAN_MIN_INTERVAL).saturating_sub(Duration::from_nanos(ago)))?;
        }
        self.appear(to)?;
        let air = self.air();
        air.signal(to, NEAR)?;
        air.signal(from, FADING)
    }

    /// An access point comes on the air.
    ///
    /// # Errors
    /// If the emulated 802.11 does not take it.
    pub fn appear(&mut self, access_point: AccessPoint) -> Result<()> {
        let access_point = access_point.id().parse()?;
        self.air().tell(&Control::Appear { access_point })
    }

    /// The firmware moves, and does not ask the host.
    ///
    /// # Errors
    /// If the emulated 802.11 does not take it.
    pub fn firmware_moves(&mut self, access_point: AccessPoint) -> Result<()> {
        self.appear(access_point)?;
        self.air().firmware_roam(access_point)
    }

    // What must come of it

    /// Waits until the mobile node's link is up at an access point, where it was not before.
    ///
    /// # Errors
    /// If it does not come there.
    pub fn comes_to(&self, access_point: AccessPoint) -> Result<()> {
        let what = format!("the mobile node's link to come up at {access_point}");
        crate::wait_until(&what, crate::wait::SOON, || {
            let events = self.stage.mn.all();
            let up = events.iter().any(|event| {
                event.fields["primitive"] == "LINK_UP"
                    && event.fields["access_point"] == access_point.id()
            });
            Ok(up.then_some(()))
        })
    }

    /// Waits until the mobile node knows that of an access point, by what its router said: `router`,
    /// `unknown` or the like.
    ///
    /// # Errors
    /// If it does not come to know it, or cannot be asked.
    pub fn knows(&self, access_point: AccessPoint, knowledge: &str) -> Result<()> {
        knows(&self.stage.controllers.mn, access_point, knowledge)
    }

    /// Begins the traffic anew, for an account that does not have what was before.
    ///
    /// # Errors
    /// If it does not flow.
    pub fn restart_streams(&mut self) -> Result<()> {
        self.stage.restart_streams()?;
        let now = Reading::take().monotonic;
        self.streams_began = now.saturating_sub(self.stage.streams().elapsed());
        Ok(())
    }

    /// Lets the traffic flow on, ends it, and returns its account.
    ///
    /// # Errors
    /// If it does not flow.
    pub fn close(&mut self) -> Result<Run> {
        self.stage.flows()?;
        let ended = Reading::take().monotonic;
        let (mut run, passages) = self.stage.close_with_passages()?;
        let (mn, nar) = (&self.stage.mn, &self.stage.nar);
        run.fbu_to_fback_us = between((mn, "fbu-sent"), (mn, "fback-received"));
        run.una_to_first_us = between((mn, "una-sent"), (nar, "first-released"));
        self.closed = Some((ended, passages));
        Ok(run)
    }

    /// When each packet to the mobile node was sent that never arrived, on the kernel's monotonic clock; of
    /// traffic that has ended.
    pub fn never_arrived(&self) -> impl Iterator<Item = Duration> {
        let passages = self.closed.iter().flat_map(|(_, passages)| passages);
        let lost = passages.filter(|passage| passage.arrived.is_none());
        lost.map(|passage| self.streams_began + passage.sent)
    }

    /// All that happened so far; if the traffic has ended, until its end.
    ///
    /// # Errors
    /// If somebody told a step in a form that it has not.
    pub fn ladder(&mut self) -> Result<Ladder> {
        let air = self.air.as_mut().map(Air::steps).transpose();
        let air = air.context("the emulated 802.11 tells nothing more")?;
        let now = Reading::take();
        let (ended, passages) = match &self.closed {
            Some((ended, passages)) => (*ended, passages.clone()),
            None => (now.monotonic, Vec::new()),
        };
        let own = self.own.iter();
        let mut steps: Vec<(Place, Vec<Step>)> = own
            .map(|(place, step)| (*place, vec![step.clone()]))
            .collect();
        for reporter in &self.reporters {
            steps.push((reporter.place, reporter.steps()?));
        }
        let stage = &self.stage;
        let mut events = vec![
            ("mn", stage.mn.all()),
            (Router::Previous.name(), stage.par.all()),
            (Router::New.name(), stage.nar.all()),
        ];
        if let Some(third) = &stage.third {
            events.push((Router::Third.name(), third.all()));
        }
        let sources = Sources {
            title: self.title.to_owned(),
            names: self.names.clone(),
            access_points: self.access_points.clone(),
            began: self.began,
            ended,
            clocks: Clocks::between(self.started, now),
            seen: stage.story.all(),
            delivered: stage.story.delivered(),
            events,
            steps,
            air,
            passages,
            streams_began: self.streams_began,
        };
        Ok(sources.ladder())
    }

    /// Everything that a person needs to find out why it went wrong.
    pub fn account(&self) -> String {
        let air = self.air.as_ref().map(Air::log).unwrap_or_default();
        let radio = self.radio.as_ref();
        let radio = radio.map(|radio| radio.network.account());
        format!(
            "{}\n{air}{}",
            self.stage.account(),
            radio.unwrap_or_default()
        )
    }
}

/// Microseconds from the first event to the second, if both happened in this order.
fn between(from: (&Events, &str), to: (&Events, &str)) -> Option<u64> {
    let time = |(events, name): (&Events, &str)| Some(events.first(name)?.time_ns);
    Some(time(to)?.checked_sub(time(from)?)? / 1000)
}
