//! The command line: what `fmip-ctl` can be asked to do, and how it says that it cannot.

mod check;
mod events;
mod mobile;
mod mobile_state;
mod primitive;
mod registered;
mod replay;
mod run;
mod show;
mod status;
mod table;
mod trigger;

use std::{
    io::{self, IsTerminal},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use fmip_ctl::{
    config::{Config, DEFAULT_CONTROL_SOCKET},
    observe::client::Client,
};
use tracing::warn;
use tracing_subscriber::{
    filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// Lossless handover for mobile IPv6 nodes (RFC 5568).
#[derive(Parser)]
#[command(name = "fmip-ctl", version, about)]
struct Cli {
    /// The control socket of the controller to talk to.
    #[arg(long, global = true, value_name = "PATH", default_value = DEFAULT_CONTROL_SOCKET)]
    socket: PathBuf,
    /// What to log: error, warn, info, debug, trace, or a list like `info,fmip_ctl::proto=debug`.
    /// Without it, the environment variable FMIP_LOG is asked; without that, it is `info`.
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Loads the data path onto the interfaces and runs the controller in the foreground.
    Run(run::Options),
    /// Runs a mobile node in the foreground: as `run`, but takes no other role.
    Mobile(run::Options),
    /// Checks a configuration file, and changes nothing.
    Check(ConfigFile),
    /// Shows what a running controller did so far and does now.
    Status(status::Options),
    /// Shows the data path of a running controller: its counters and memory, what is bound, what
    /// waits; or a mobile node.
    Show(show::Options),
    /// Tells a controller what its link layer does, or a router what to do with a mobile node.
    Trigger(trigger::Options),
    /// Tells a mobile node's controller a primitive of its link layer, by its name in RFC 5270 or in
    /// IEEE 802.21; or that the link layer could not do what the controller told it.
    Primitive(primitive::Options),
    /// Tells a mobile node that Mobile IPv6 has registered its care-of address: the tunnels from
    /// earlier addresses end.
    Registered(registered::Options),
    /// Has an access router read its configuration file again. If the file is wrong, or changes
    /// what only a restart can change, everything stays as it was.
    Reload,
    /// Drives the protocol by a recording of `run --record`, and compares what it does: the first
    /// difference is an error.
    Replay(replay::Options),
    /// Prints the events of a running controller as lines of JSON, until it ends.
    Events,
}

#[derive(Args)]
struct ConfigFile {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Runs the command that the arguments name; what goes wrong is one line on standard error.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fmip-ctl: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Cli {
    fn execute(self) -> anyhow::Result<()> {
        start_logging(self.log_level.as_deref())?;
        match self.command {
            Command::Run(options) => run::run(&options),
            Command::Mobile(options) => mobile::mobile(&options),
            Command::Check(file) => check::check(&file.config, &load(&file.config)?),
            Command::Status(options) => status::status(&self.socket, &options),
            Command::Show(options) => show::show(&self.socket, &options),
            Command::Trigger(options) => trigger::trigger(&self.socket, options),
            Command::Primitive(options) => primitive::primitive(&self.socket, options),
            Command::Registered(options) => registered::registered(&self.socket, &options),
            Command::Reload => Ok(Client::connect(&self.socket)?.reload()?),
            Command::Replay(options) => replay::replay(&options),
            Command::Events => events::events(&self.socket),
        }
    }
}

/// Whoever read our output has had enough, as `head` does.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn start_logging(level: Option<&str>) -> anyhow::Result<()> {
    let (directives, source) = match level {
        Some(level) => (level.to_owned(), "--log-level"),
        None => (std::env::var("FMIP_LOG").unwrap_or_default(), "FMIP_LOG"),
    };
    let directives = match directives.trim() {
        "" => "info",
        directives => directives,
    };
    let filter: Targets = directives
        .parse()
        // Its cause says the same again.
        .map_err(|error| anyhow::anyhow!("{source}: {directives:?} is no log level: {error}"))?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .init();
    Ok(())
}

fn load(file: &Path) -> anyhow::Result<Config> {
    let config = Config::load(file)?;
    // The file holds keys.
    if let Ok(metadata) = file.metadata()
        && metadata.permissions().mode() & 0o007 != 0
    {
        warn!(
            file = %file.display(),
            "everybody on this machine may read the keys in the configuration: chmod o= it"
        );
    }
    Ok(config)
}

/// `1 packet`, `2 packets`.
fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_router_is_told_about_its_nodes_by_name() {
        for (arguments, complete) in [
            (
                "attached --node 2001:db8::1 --link-address 02:00:00:00:00:01",
                true,
            ),
            ("attached --node 2001:db8::1", false),
            ("departed --node 2001:db8::1 --interface acc0", true),
            ("departed --node 192.0.2.1", false),
            ("station-departed --link-address 02:00:00:00:00:01", true),
            ("station-departed --interface acc0", false),
            (
                "station-attached --link-address 02:00:00:00:00:01 --interface acc0",
                true,
            ),
            (
                "handover --node 2001:db8::1 --access-point 02:00:00:00:0a:01",
                true,
            ),
            ("handover --node 2001:db8::1 --ncoa 2001:db8::2", false),
            ("advertise --node 2001:db8::1", true),
            ("advertise", false),
        ] {
            let words = ["fmip-ctl", "trigger"]
                .into_iter()
                .chain(arguments.split(' '));
            assert_eq!(Cli::try_parse_from(words).is_ok(), complete, "{arguments}");
        }
    }

    #[test]
    fn the_socket_may_stand_on_either_side_of_the_command() {
        for arguments in [
            ["fmip-ctl", "--socket", "/run/x", "status"],
            ["fmip-ctl", "status", "--socket", "/run/x"],
        ] {
            let cli = Cli::try_parse_from(arguments).unwrap();
            assert_eq!(cli.socket, Path::new("/run/x"));
        }
    }
}
