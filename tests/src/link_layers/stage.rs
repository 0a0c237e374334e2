//! The stage on which a scenario is played: that of the modes, and all that a ladder is made of.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use fmip_ctl::io::monotonic_ns;

use crate::{
    controller::Settings,
    emulated::ieee80216e::{self, AirWatch, Network},
    ladder::{
        Clocks, Direction, Ladder, Member, Names, Place, Reading, Reporter, Sources, Step,
        place_of_router,
    },
    report::Run,
    scenario::stage::Stage,
    stream::Passage,
    topology::{AccessPoint, Lab, Router},
};

/// What a scenario needs before it begins.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What the configuration files say.
    pub settings: Settings,
    /// Whether there is a third router.
    pub with_third_router: bool,
    /// What the ladder's columns are called.
    pub names: Names,
    /// Which access point stands in which column.
    pub access_points: Vec<Member>,
    /// The base stations, where the links are of 802.16e.
    pub base_stations: Option<ieee80216e::Settings>,
}

impl Setup {
    /// Two routers with an access point each.
    pub fn new(fmip_ctl: PathBuf) -> Self {
        Self {
            settings: Settings::new(fmip_ctl),
            with_third_router: false,
            names: Names::access_points(),
            access_points: vec![
                member(AccessPoint::Previous, Place::OldAp),
                member(AccessPoint::New, Place::NewAp),
            ],
            base_stations: None,
        }
    }

    /// The links are of 802.16e: base stations at the access points, and a mobile station that knows
    /// their network.
    pub fn use_802_16e(&mut self) -> &mut ieee80216e::Settings {
        self.names = Names::base_stations();
        let base_stations = ieee80216e::Settings::default();
        let station = base_stations.mobile_station();
        let table = &mut self.settings.mobile_node;
        table.insert("ieee80216e".to_owned(), station.into());
        self.base_stations.insert(base_stations)
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
    network: Network,
    air: AirWatch,
}

impl Radio {
    fn start(lab: &Lab, settings: &ieee80216e::Settings) -> Result<Self> {
        Ok(Self {
            air: AirWatch::start(lab)?,
            network: Network::start(lab, settings)?,
        })
    }

    /// No data passes before.
    fn wait_for_entry(&self) -> Result<()> {
        let local = ieee80216e::Direction::Local;
        self.network
            .wait_for(AccessPoint::Previous, "carries", local)
            .map(drop)
            .with_context(|| self.network.account())
    }
}

/// A stage with all that is written down for the ladder.
#[derive(Debug)]
pub struct Scene {
    // Dropped in this order.
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
    /// When the play began.
    began: Reading,
    /// When the streams began.
    streams_began: Duration,
    /// Their account, once they have ended.
    closed: Option<(Duration, Vec<Passage>)>,
}

impl Scene {
    /// Builds all, lets the traffic flow, and begins.
    ///
    /// # Errors
    /// As [`Stage::set`].
    pub fn set(title: &'static str, setup: Setup) -> Result<Self> {
        let base_stations = setup.base_stations;
        let (stage, radio) = Stage::set_with(
            setup.settings,
            setup.with_third_router,
            |lab| {
                let start = |settings| Radio::start(lab, settings);
                base_stations.as_ref().map(start).transpose()
            },
            |radio| radio.as_ref().map_or(Ok(()), Radio::wait_for_entry),
        )?;
        let mut reporters = Vec::new();
        for (access_point, log) in radio.iter().flat_map(|radio| radio.network.logs()) {
            let mut members = setup.access_points.iter();
            if let Some(member) = members.find(|member| member.id == access_point.id()) {
                let place = member.place;
                reporters.push(Reporter { place, log });
            }
        }
        let began = Reading::take();
        Ok(Self {
            streams_began: began.monotonic.saturating_sub(stage.streams().elapsed()),
            radio,
            stage,
            title,
            names: setup.names,
            access_points: setup.access_points,
            reporters,
            own: Vec::new(),
            began,
            closed: None,
        })
    }

    /// The base stations.
    ///
    /// # Errors
    /// If the links are not of 802.16e.
    pub fn network(&self) -> Result<&Network> {
        Ok(&self.radio()?.network)
    }

    /// What crossed the radio.
    ///
    /// # Errors
    /// As [`Scene::network`].
    pub fn air(&self) -> Result<&AirWatch> {
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

    /// Everything that a person needs to find out why it went wrong.
    pub fn account(&self) -> String {
        let mut text = self.stage.account();
        if let Some(radio) = &self.radio {
            text += &radio.network.account();
        }
        text
    }

    /// The ladder begins here, and not when the scene was set.
    pub fn begin(&mut self) {
        self.began = Reading::take();
    }

    /// From now on the ladder has the steps that a process prints, too.
    pub fn add_reporter(&mut self, reporter: Reporter) {
        self.reporters.push(reporter);
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

    /// Lets the traffic flow on, ends it, and returns its account.
    ///
    /// # Errors
    /// If it does not flow.
    pub fn close(&mut self) -> Result<Run> {
        self.stage.flows()?;
        let ended = Reading::take().monotonic;
        let (mut run, passages) = self.stage.close_with_passages()?;
        let stage = &self.stage;
        let since = |from: Option<u64>, to: Option<u64>| Some(to?.checked_sub(from?)? / 1000);
        let first = |events: &crate::controller::Events, name: &str| {
            events.first(name).map(|event| event.time_ns)
        };
        run.fbu_to_fback_us = since(
            first(&stage.mn, "fbu-sent"),
            first(&stage.mn, "fback-received"),
        );
        run.una_to_first_us = since(
            first(&stage.mn, "una-sent"),
            first(&stage.nar, "first-released"),
        );
        self.closed = Some((ended, passages));
        Ok(run)
    }

    /// All that happened so far; if the traffic has ended, until its end.
    ///
    /// # Errors
    /// If somebody told a step in a form that it has not.
    pub fn ladder(&self) -> Result<Ladder> {
        let now = Reading::take();
        let (ended, passages) = match &self.closed {
            Some((ended, passages)) => (*ended, passages.clone()),
            None => (now.monotonic, Vec::new()),
        };
        let mut steps: Vec<(Place, Vec<Step>)> = Vec::new();
        for reporter in &self.reporters {
            steps.push((reporter.place, reporter.steps()?));
        }
        let mut own = Vec::new();
        for (place, step) in &self.own {
            own.push((*place, vec![step.clone()]));
        }
        steps.extend(own);
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
            began: self.began.monotonic,
            ended,
            clocks: Clocks::between(self.began, now),
            seen: stage.story.all(),
            delivered: stage.story.delivered(),
            events,
            steps,
            passages,
            streams_began: self.streams_began,
        };
        Ok(sources.ladder())
    }
}
