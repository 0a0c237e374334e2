//! Running other programs: a progress line with elapsed seconds while they run, their output only
//! when they fail.

use std::{
    env,
    fmt::{self, Write as _},
    io::{self, BufRead as _, BufReader, IsTerminal as _, Read, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// How often a step that runs long says so where there is no terminal to redraw a line on.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// A program with its arguments, which can be run or shown: what setup prints for people without
/// the rights is what it would have run itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invocation {
    env: Vec<(String, String)>,
    program: String,
    args: Vec<String>,
    by_root: bool,
}

impl Invocation {
    pub(crate) fn new(program: &str) -> Self {
        Self {
            env: Vec::new(),
            program: program.to_owned(),
            args: Vec::new(),
            by_root: false,
        }
    }

    pub(crate) fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Marks a program that changes the system: shown with `sudo` before it to others than root.
    pub(crate) fn by_root(mut self) -> Self {
        self.by_root = true;
        self
    }

    pub(crate) fn needs_root(&self) -> bool {
        self.by_root
    }

    /// As a line for the shell of somebody who has to ask for the rights.
    pub(crate) fn with_sudo(&self) -> String {
        let sudo = if self.by_root { "sudo " } else { "" };
        format!("{sudo}{self}")
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args);
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        command
    }
}

/// As a line for the shell of somebody who has the rights.
impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in &self.env {
            write!(f, "{key}={} ", quoted(value))?;
        }
        f.write_str(&quoted(&self.program))?;
        for arg in &self.args {
            write!(f, " {}", quoted(arg))?;
        }
        Ok(())
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./:,@%~".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Where a line of a program's output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

/// Runs `command` behind a progress line that says `label` and returns its standard output.
///
/// With `verbose` its standard error is shown as it comes.
///
/// # Errors
/// If it cannot be started, or fails: its output has then been printed.
pub(crate) fn run(label: &str, command: &mut Command, verbose: bool) -> Result<Vec<String>> {
    let program = command.get_program().to_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(if verbose {
            Stdio::inherit()
        } else {
            Stdio::piped()
        })
        .spawn()
        .with_context(|| format!("{label}: cannot run {}", program.display()))?;

    let (sender, lines) = mpsc::channel();
    if let Some(pipe) = child.stdout.take() {
        forward_lines(pipe, Stream::Out, sender.clone());
    }
    if let Some(pipe) = child.stderr.take() {
        forward_lines(pipe, Stream::Err, sender.clone());
    }
    drop(sender);

    let mut progress = Progress::start(label);
    let mut all: Vec<(Stream, String)> = Vec::new();
    let mut status = None;
    loop {
        match lines.recv_timeout(Duration::from_secs(1)) {
            Ok((stream, line)) => {
                if !line.starts_with('{') {
                    progress.detail(&line);
                }
                all.push((stream, line));
            }
            // A daemon that the program left behind may hold the pipe open for ever.
            Err(mpsc::RecvTimeoutError::Timeout) if status.is_some() => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                progress.tick();
                status = child.try_wait()?;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = match status {
        Some(status) => status,
        None => child.wait()?,
    };
    if !status.success() {
        progress.end("failed");
        let mut output = String::new();
        for (_, line) in all.iter().filter(|(_, line)| !line.starts_with('{')) {
            let _ = writeln!(output, "  {line}");
        }
        eprint!("{output}");
        bail!("{label}: {} failed ({status})", program.display());
    }
    progress.end("done");
    Ok(all
        .into_iter()
        .filter(|(stream, _)| *stream == Stream::Out)
        .map(|(_, line)| line)
        .collect())
}

fn forward_lines(
    pipe: impl Read + Send + 'static,
    stream: Stream,
    sender: mpsc::Sender<(Stream, String)>,
) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send((stream, line)).is_err() {
                break;
            }
        }
    });
}

/// One line on standard error that grows older.
struct Progress<'a> {
    label: &'a str,
    start: Instant,
    detail: String,
    terminal: bool,
    next_heartbeat: Duration,
}

impl<'a> Progress<'a> {
    fn start(label: &'a str) -> Self {
        let progress = Self {
            label,
            start: Instant::now(),
            detail: String::new(),
            terminal: io::stderr().is_terminal(),
            next_heartbeat: HEARTBEAT,
        };
        if progress.terminal {
            progress.draw();
        } else {
            eprintln!("{label} ...");
        }
        progress
    }

    fn detail(&mut self, line: &str) {
        line.trim().clone_into(&mut self.detail);
        if self.terminal {
            self.draw();
        }
    }

    fn tick(&mut self) {
        if self.terminal {
            self.draw();
        } else if self.start.elapsed() >= self.next_heartbeat {
            self.next_heartbeat += HEARTBEAT;
            eprintln!(
                "{} ... {} s: {}",
                self.label,
                self.start.elapsed().as_secs(),
                self.detail
            );
        }
    }

    fn draw(&self) {
        let head = format!("{} ... {} s  ", self.label, self.start.elapsed().as_secs());
        // 79 columns: a line that wraps could not be redrawn.
        let room = 79_usize.saturating_sub(head.chars().count());
        let detail: String = self.detail.chars().take(room).collect();
        let _ = write!(io::stderr(), "\r\x1b[K{head}{detail}");
    }

    fn end(&self, word: &str) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
        eprintln!(
            "{}: {word} in {:.1} s",
            self.label,
            self.start.elapsed().as_secs_f64()
        );
    }
}

/// The cargo that runs us, in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(cargo_program());
    command.current_dir(workspace_root());
    command
}

pub(crate) fn cargo_program() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// The folder of the workspace's manifest.
pub(crate) fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is a folder of the workspace")
}

/// Runs `cargo build` with `args` and returns the programs that it made or found up to date.
pub(crate) fn build(label: &str, args: &[&str], verbose: bool) -> Result<Built> {
    let mut command = cargo();
    command.arg("build").args(args);
    // Cargo itself knows best where its results are, whatever the configuration says.
    command.arg("--message-format=json-render-diagnostics");
    let messages = run(label, &mut command, verbose)?;
    Ok(Built(
        messages
            .iter()
            .filter_map(|line| executable(line))
            .collect(),
    ))
}

/// The programs of one `cargo build`.
pub(crate) struct Built(Vec<PathBuf>);

impl Built {
    /// # Errors
    /// If the build made no program of this name.
    pub(crate) fn program(&self, name: &str) -> Result<&Path> {
        self.0
            .iter()
            .find(|path| path.file_name().is_some_and(|file| file == name))
            .map(PathBuf::as_path)
            .with_context(|| format!("cargo built no program named {name}"))
    }

    /// A benchmark, whose program cargo names after it with a hash behind.
    ///
    /// # Errors
    /// If the build made no such benchmark.
    pub(crate) fn bench(&self, name: &str) -> Result<&Path> {
        self.0
            .iter()
            .find(|path| {
                let file = path.file_name().map(|file| file.to_string_lossy());
                let stem = file.as_deref().and_then(|file| file.rsplit_once('-'));
                stem.is_some_and(|(stem, _)| stem == name)
            })
            .map(PathBuf::as_path)
            .with_context(|| format!("cargo built no benchmark named {name}"))
    }
}

/// The `executable` of one of cargo's JSON messages.
fn executable(message: &str) -> Option<PathBuf> {
    text_behind(message, "\"executable\":\"").map(PathBuf::from)
}

/// The text of a JSON message that begins behind `key`, up to its closing quote.
pub(crate) fn text_behind(message: &str, key: &str) -> Option<String> {
    let (_, rest) = message.split_once(key)?;
    let mut text = String::new();
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            // Of the escapes only these two can stand in a path that people use.
            '\\' => text.push(chars.next()?),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invocation_is_shown_as_a_shell_takes_it() {
        let invocation = Invocation::new("apt-get")
            .env("A", "b c")
            .args(["install", "x'y", "g++"])
            .by_root();
        assert_eq!(
            invocation.to_string(),
            r"A='b c' apt-get install 'x'\''y' g++"
        );
        assert_eq!(invocation.with_sudo(), format!("sudo {invocation}"));
        assert_eq!(Invocation::new("true").with_sudo(), "true");
    }

    #[test]
    fn a_failing_program_is_named_in_the_error() {
        let error = run("a step", Command::new("sh").args(["-c", "exit 3"]), false).unwrap_err();
        assert!(error.to_string().contains("a step"), "{error}");
        assert!(error.to_string().contains("exit status: 3"), "{error}");
        let error = run("a step", &mut Command::new("no-such-program"), false).unwrap_err();
        assert!(error.to_string().contains("no-such-program"), "{error}");
    }

    #[test]
    fn standard_output_is_returned_without_standard_error() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; printf three"]);
        assert_eq!(
            run("a step", &mut command, false).unwrap(),
            ["one", "three"]
        );
    }

    #[test]
    fn the_path_of_a_program_is_read_from_cargos_message() {
        let message = r#"{"reason":"compiler-artifact","executable":"/a \"b\"/c","fresh":true}"#;
        assert_eq!(executable(message), Some("/a \"b\"/c".into()));
        assert_eq!(executable(r#"{"executable":null}"#), None);
        let built = Built(vec!["/t/release/fmip-ctl".into()]);
        assert!(built.program("fmip-ctl").is_ok());
        assert!(built.program("ctl").is_err());
        let built = Built(vec!["/t/b-4f".into(), "/t/a-b-c0ffee".into()]);
        assert_eq!(built.bench("a-b").unwrap(), Path::new("/t/a-b-c0ffee"));
        assert!(built.bench("a").is_err());
    }
}
