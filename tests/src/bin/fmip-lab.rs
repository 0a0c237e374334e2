//! Plays a handover in a network of namespaces and reports what it did to the traffic.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use fmip_tests::{
    Lab,
    controller::{Controllers, Settings, find_fmip_ctl},
    handover::Move,
    link_layers::{SCENARIOS, Scenario},
    report::{Report, Run},
    scenario::{MODES, Mode},
    stream::StreamConfig,
    topology,
    wait::{Interrupted, catch_signals},
};

/// A network of namespaces in which a mobile node moves from one access router to another.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Moves the mobile node under traffic, with fast handover and without, and reports what was lost.
    Handover(Handover),
    /// Plays one mode of the protocol, and reports what the wires showed and what was lost.
    Mode(PlayMode),
    /// Lists the modes.
    Modes,
    /// Plays one scenario of the link layers, and shows who told whom what, and what was lost.
    Scenario(PlayScenario),
    /// Lists the scenarios.
    Scenarios(ListScenarios),
    /// Removes labs that were kept, or left behind by a runner that was killed.
    Clean {
        /// The labs to remove; without any, those whose runner is gone.
        tags: Vec<String>,
    },
}

#[derive(Args)]
struct Handover {
    /// The controller; default: $FMIP_CTL, or the one built beside this program.
    #[arg(long, value_name = "PATH")]
    fmip_ctl: Option<PathBuf>,
    /// Milliseconds between leaving one access point and being at the next.
    #[arg(long, default_value_t = 200)]
    gap_ms: u64,
    /// Packets per second in each direction.
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// Bytes of each IPv6 packet.
    #[arg(long, default_value_t = 200)]
    size: usize,
    /// How the new router releases what it held; default: the controller's.
    #[arg(long)]
    drain: Option<Drain>,
    /// How much faster than they came a paced drain releases packets (above 1); default: the controller's.
    #[arg(long, value_name = "FACTOR")]
    catch_up: Option<f64>,
    /// Only the move with fast handover.
    #[arg(long, conflicts_with = "plain_only")]
    fmip_only: bool,
    /// Only the move without; needs no controller.
    #[arg(long)]
    plain_only: bool,
    /// Prints one JSON object and nothing else on standard output.
    #[arg(long)]
    json: bool,
    /// Leaves the lab standing, and prints how to look into it.
    #[arg(long)]
    keep: bool,
    /// How much the controllers log; shown when something goes wrong.
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    log_level: String,
}

#[derive(Args)]
struct PlayMode {
    /// Its name, as `modes` lists it.
    name: String,
    /// The controller; default: $FMIP_CTL, or the one built beside this program.
    #[arg(long, value_name = "PATH")]
    fmip_ctl: Option<PathBuf>,
    /// How much the controllers log; shown when something goes wrong.
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    log_level: String,
}

#[derive(Args)]
struct PlayScenario {
    /// Its name, as `scenarios` lists it.
    name: String,
    /// The controller; default: $FMIP_CTL, or the one built beside this program.
    #[arg(long, value_name = "PATH")]
    fmip_ctl: Option<PathBuf>,
    /// Prints one JSON object and nothing else on standard output.
    #[arg(long)]
    json: bool,
    /// Draws the ladder into this file, as SVG.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Writes NAME.txt, NAME.svg and NAME.json into this directory, which is made if it is not there.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// How much the controllers log; shown when something goes wrong.
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    log_level: String,
}

#[derive(Args)]
struct ListScenarios {
    /// Prints one JSON array and nothing else on standard output.
    #[arg(long)]
    json: bool,
}

#[derive(Copy, Clone, ValueEnum)]
enum Drain {
    /// At the rate at which the packets came, times the catch-up factor (RFC 5568 section 5.4).
    Paced,
    /// As fast as possible.
    Burst,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("interrupted");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    let check = || {
        if let Some(reason) = topology::missing() {
            bail!("the lab cannot run here: {reason}");
        }
        catch_signals().context("cannot catch signals")
    };
    if !matches!(command, Command::Modes | Command::Scenarios(_)) {
        check()?;
    }
    match command {
        Command::Handover(options) => options.run(),
        Command::Mode(options) => options.run(),
        Command::Modes => list_modes(),
        Command::Scenario(options) => options.run(),
        Command::Scenarios(options) => options.run(),
        Command::Clean { tags } => clean(tags),
    }
}

fn list_modes() -> Result<ExitCode> {
    let lines = MODES
        .iter()
        .map(|mode| format!("{:<24}{}\n", mode.name, mode.title));
    Ok(print(&lines.collect::<String>()))
}

/// Not by println, which panics when whoever reads has had enough.
fn print(text: &str) -> ExitCode {
    let _ = io::stdout().lock().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

impl ListScenarios {
    fn run(&self) -> Result<ExitCode> {
        if self.json {
            let list: Vec<_> = SCENARIOS.iter().map(Scenario::json).collect();
            return Ok(print(&format!("{}\n", serde_json::to_string(&list)?)));
        }
        let lines = SCENARIOS.iter().map(|scenario| {
            let Scenario {
                name,
                title,
                source,
                ..
            } = scenario;
            format!("{name:<36}{title} ({source})\n")
        });
        Ok(print(&lines.collect::<String>()))
    }
}

impl PlayScenario {
    fn run(&self) -> Result<ExitCode> {
        let scenario = Scenario::named(&self.name)?;
        if let Some(directory) = &self.output {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make the directory {}", directory.display()))?;
        }
        let named = |directory: &PathBuf, extension: &str| {
            directory.join(format!("{}.{extension}", scenario.name))
        };
        let of_output = |extension| self.output.iter().map(move |of| named(of, extension));
        // What cannot be written is known before the play, and what an earlier one has left is not taken for
        // this one's.
        let all = ["txt", "svg", "json"].into_iter().flat_map(of_output);
        let all: Vec<PathBuf> = all.chain(self.svg.clone()).collect();
        for file in &all {
            fs::write(file, "").with_context(|| format!("cannot write {}", file.display()))?;
        }
        eprintln!("lab: {} ({})", scenario.title, scenario.source);
        let fmip_ctl = controller_or_found(&self.fmip_ctl)?;
        let performance = scenario.play(fmip_ctl, &self.log_level);
        let performance = performance.inspect_err(|_| {
            for file in &all {
                let _ = fs::remove_file(file);
            }
        })?;
        let json = format!("{}\n", performance.json(&scenario));
        let text = format!("{}{}", performance.ladder, performance.report());
        let svg = performance.ladder.svg();
        let mut files = Vec::new();
        for (extension, content) in [("txt", &text), ("svg", &svg), ("json", &json)] {
            files.extend(of_output(extension).map(|file| (file, content)));
        }
        files.extend(self.svg.clone().map(|file| (file, &svg)));
        for (file, content) in files {
            fs::write(&file, content)
                .with_context(|| format!("cannot write {}", file.display()))?;
            eprintln!("lab: wrote {}", file.display());
        }
        let code = print(if self.json { &json } else { &text });
        eprintln!("the steps were taken in the order of {}", scenario.source);
        Ok(code)
    }
}

impl PlayMode {
    fn run(&self) -> Result<ExitCode> {
        let mode = Mode::named(&self.name)?;
        eprintln!("lab: {}", mode.title);
        let performance = mode.play(controller_or_found(&self.fmip_ctl)?, &self.log_level)?;
        println!("signalling");
        for line in performance.story {
            println!("  {line}");
        }
        let report = Report {
            fmip: Some(performance.run),
            plain: None,
        };
        print!("{report}");
        Ok(ExitCode::SUCCESS)
    }
}

fn controller_or_found(named: &Option<PathBuf>) -> Result<PathBuf> {
    match named {
        Some(path) => Ok(path.clone()),
        None => find_fmip_ctl(),
    }
}

impl Handover {
    fn run(&self) -> Result<ExitCode> {
        let play = Move {
            gap: Duration::from_millis(self.gap_ms),
            stream: StreamConfig::new(self.rate, self.size)?,
        };
        let report = Report {
            fmip: if self.plain_only {
                None
            } else {
                Some(self.fast(&play)?)
            },
            plain: if self.fmip_only {
                None
            } else {
                Some(self.plain(&play)?)
            },
        };
        if self.json {
            println!("{}", report.json());
        } else {
            print!("{report}");
        }
        let faults = match (&report.fmip, &report.plain) {
            (Some(fmip), _) => fmip.faults(self.gap_ms > 0),
            // The plain move loses packets, but it must come through.
            (None, Some(plain)) if plain.downlink.received == 0 || plain.uplink.received == 0 => {
                vec!["no packets arrived".to_owned()]
            }
            (None, _) => Vec::new(),
        };
        for fault in &faults {
            eprintln!("FAULT {fault}");
        }
        Ok(if faults.is_empty() {
            if report.fmip.is_some() {
                eprintln!("the fast handover lost nothing and kept the order, both ways");
            }
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn build(&self) -> Result<Lab> {
        let mut lab = Lab::build().context("cannot build the lab")?;
        if self.keep {
            lab.keep();
        }
        Ok(lab)
    }

    fn fast(&self, play: &Move) -> Result<Run> {
        let mut settings = Settings::new(controller_or_found(&self.fmip_ctl)?);
        settings.log_level.clone_from(&self.log_level);
        settings.buffer.catch_up = self.catch_up;
        settings.buffer.drain = self.drain.map(|drain| {
            let value = drain.to_possible_value().expect("no drain is hidden");
            value.get_name().to_owned()
        });
        eprintln!("lab: six namespaces, two routers, one mobile node");
        let lab = self.build()?;
        eprintln!("lab: fmip-ctl in par, nar and mn");
        let mut controllers = Controllers::start(&lab, &settings)?;
        if self.keep {
            controllers.keep();
            how_to_look(&lab, &controllers, &settings);
        }
        eprintln!(
            "lab: {} packets/s each way, {} bytes; fast handover with a gap of {} ms",
            self.rate, self.size, self.gap_ms
        );
        let result = play.fast(&lab, &controllers);
        let faulty = match &result {
            Ok(run) => !run.faults(self.gap_ms > 0).is_empty(),
            Err(error) => !error.is::<Interrupted>(),
        };
        if faulty {
            eprintln!("{}", controllers.account());
        }
        result.context("the fast handover failed")
    }

    fn plain(&self, play: &Move) -> Result<Run> {
        eprintln!("lab: the same move without fast handover");
        // A kept lab is the one of the fast handover, if there is one.
        let lab = if self.plain_only {
            self.build()?
        } else {
            Lab::build().context("cannot build the lab")?
        };
        if self.keep && self.plain_only {
            how_to_enter(&lab);
        }
        play.plain(&lab).context("the plain move failed")
    }
}

fn how_to_look(lab: &Lab, controllers: &Controllers, settings: &Settings) {
    how_to_enter(lab);
    for controller in controllers.all() {
        eprintln!(
            "      {} --socket {} status",
            settings.fmip_ctl.display(),
            controller.socket().display()
        );
    }
    eprintln!("      less {}/*.log", lab.directory().display());
}

fn how_to_enter(lab: &Lab) {
    // Its own path: it is in the build directory, where no shell looks.
    let program = std::env::current_exe().unwrap_or_else(|_| "fmip-lab".into());
    eprintln!("kept: this lab stays until you run");
    eprintln!("      {} clean {}", program.display(), lab.tag());
    eprintln!("to look into it:");
    for namespace in [&lab.par, &lab.nar, &lab.mn] {
        eprintln!("      ip netns exec {} ip -6 route", namespace.name());
    }
}

fn clean(tags: Vec<String>) -> Result<ExitCode> {
    let named = !tags.is_empty();
    let tags = if named { tags } else { topology::abandoned()? };
    if tags.is_empty() {
        eprintln!("no lab was left behind");
    }
    for tag in tags {
        let removed = topology::clean(&tag)?;
        if removed == 0 && named {
            bail!("there is no lab {tag}");
        }
        eprintln!("removed lab {tag}: {removed} namespaces");
    }
    Ok(ExitCode::SUCCESS)
}
