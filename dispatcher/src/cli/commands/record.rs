//! `auto-ext record`: records what the machine does in a file, for as long as a command runs or until a signal ends it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};

use anyhow::{Context as _, bail};
use auto_ext_service::exit_code;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{self, SignalKind, signal};

use super::new_file;
use crate::sources::load;
use crate::sources::processes::Processes;
use crate::trace::recorder::{Recorder, Sources};

pub(crate) struct Options {
    /// A file that does not exist or is empty, or [`STDOUT`](new_file::STDOUT).
    pub(crate) out: PathBuf,
    pub(crate) label: Option<String>,
    /// Empty: until SIGINT or SIGTERM.
    pub(crate) command: Vec<OsString>,
}

/// Why the recording ends.
enum End {
    /// The command did.
    Command(io::Result<ExitStatus>),
    /// SIGINT or SIGTERM.
    Asked,
}

/// Records, and passes the command's exit code through.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options {
        out,
        label,
        command,
    } = options;
    let profiler = load::attach()?;
    for (signal, reason) in profiler.missing() {
        writeln!(io::stderr(), "{signal} cannot be measured: {reason}")?;
    }
    let processes = match Processes::attach() {
        Ok(mut processes) => {
            // Whichever policy it is replayed with may ask for them.
            processes.tell_ancestors(true);
            Some(processes)
        }
        Err(error) => {
            writeln!(io::stderr(), "processes cannot be followed: {error}")?;
            None
        }
    };
    let sources = Sources::new(profiler, processes).await;
    let mut stop = Stop::new()?;
    let output = new_file::create(&out)?;
    let mut child = start(&command)?;

    let ends = async {
        tokio::select! {
            status = ended(&mut child) => End::Command(status),
            () = stop.asked() => End::Asked,
        }
    };
    let (written, end) = record(sources, output, label, ends).await;
    let written = written.with_context(|| format!("{}: cannot be written", out.display()));
    if let (Err(error), Some(_)) = (&written, &child) {
        // The command goes on; the error is reported again when it has ended.
        writeln!(io::stderr(), "the recording ends here: {error:#}")?;
    }
    let status = match (end, &mut child) {
        (Some(End::Command(status)), _) => Some(status?),
        (_, None) => None,
        (end, Some(child)) => {
            if let Some(End::Asked) = end {
                terminate(child);
            }
            tokio::select! {
                status = child.wait() => Some(status?),
                () = stop.asked() => bail!("the command still runs"),
            }
        }
    };
    written?;
    Ok(status.map_or(ExitCode::SUCCESS, exit_code::of_command))
}

/// Records until `ends` does, or the output takes no more.
async fn record(
    sources: Sources,
    output: File,
    label: Option<String>,
    ends: impl Future<Output = End>,
) -> (io::Result<()>, Option<End>) {
    let mut recorder = match Recorder::begin(sources, output, label) {
        Ok(recorder) => recorder,
        Err(error) => return (Err(error), None),
    };
    let end = tokio::select! {
        Err(error) = recorder.record() => return (Err(error), None),
        end = ends => end,
    };
    (recorder.window(), Some(end))
}

/// The signals that end a recording.
struct Stop {
    terminate: unix::Signal,
    interrupt: unix::Signal,
}

impl Stop {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?,
            interrupt: signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Starts the command, if there is one.
fn start(command: &[OsString]) -> anyhow::Result<Option<Child>> {
    let Some((program, args)) = command.split_first() else {
        return Ok(None);
    };
    let child = Command::new(program).args(args).spawn();
    let child = child.with_context(|| format!("`{}` cannot be run", program.to_string_lossy()))?;
    Ok(Some(child))
}

async fn ended(child: &mut Option<Child>) -> io::Result<ExitStatus> {
    match child {
        Some(child) => child.wait().await,
        None => std::future::pending().await,
    }
}

/// Asks the command to end. A terminal's Ctrl-C has reached it already, as another signal.
fn terminate(child: &Child) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // It may have ended a moment ago. It has not been waited for, so the PID is still its own.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
}
