//! The stage on which a scenario is played: that of the modes, and all that a ladder is made of.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use fmip_ctl::io::monotonic_ns;

use crate::{
    controller::Settings,
    ladder::{
        Clocks, Direction, Ladder, Member, Names, Place, Reading, Reporter, Sources, Step,
        place_of_router,
    },
    report::Run,
    scenario::stage::Stage,
    stream::Passage,
    topology::{AccessPoint, Router},
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
        }
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

/// A stage with all that is written down for the ladder.
#[derive(Debug)]
pub struct Scene {
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
        let stage = Stage::set(setup.settings, setup.with_third_router)?;
        let began = Reading::take();
        Ok(Self {
            streams_began: began.monotonic.saturating_sub(stage.streams().elapsed()),
            stage,
            title,
            names: setup.names,
            access_points: setup.access_points,
            reporters: Vec::new(),
            own: Vec::new(),
            began,
            closed: None,
        })
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
