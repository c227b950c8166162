//! `auto-ext record`: records what the machine does in a file, for as long as a command runs or until a signal ends it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};

use anyhow::{Context as _, bail};
use auto_ext_service::exit_code;
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{self, SignalKind, signal};

use crate::sources::load;
use crate::sources::processes::Processes;
use crate::trace::recorder::{Recorder, Sources};

/// The name that stands for standard output.
pub(crate) const STDOUT: &str = "-";

pub(crate) struct Options {
    /// A file that does not exist or is empty, or [`STDOUT`].
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
        Ok(processes) => Some(processes),
        Err(error) => {
            writeln!(io::stderr(), "processes cannot be followed: {error}")?;
            None
        }
    };
    let sources = Sources::new(profiler, processes).await;
    let mut stop = Stop::new()?;
    let output = output(&out)?;
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

/// The file for the trace. As this runs as root, nothing is overwritten and no link followed: what is there already must
/// be an empty file.
fn output(path: &Path) -> anyhow::Result<File> {
    if path.as_os_str() == STDOUT {
        return Ok(io::stdout().as_fd().try_clone_to_owned()?.into());
    }
    let created = OpenOptions::new().write(true).create_new(true).open(path);
    match created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        created => {
            return created.with_context(|| format!("{}: cannot be created", path.display()));
        }
    }
    // A FIFO without a reader is an error rather than something to wait for.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(flags.bits())
        .open(path);
    if let Ok(file) = file
        && let Ok(metadata) = file.metadata()
        && metadata.is_file()
        && metadata.len() == 0
    {
        return Ok(file);
    }
    bail!(
        "{}: is there already, and is not an empty file; nothing is overwritten",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_trace_goes_into_a_new_or_an_empty_file_and_replaces_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trace");
        for _ in ["new", "empty"] {
            drop(output(&path).unwrap());
        }
        output(&path).unwrap().write_all(b"a trace").unwrap();
        let error = output(&path).unwrap_err().to_string();
        assert!(error.ends_with("nothing is overwritten"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"a trace");
    }

    #[test]
    fn a_trace_goes_neither_through_a_link_nor_into_a_device_or_pipe() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("target");
        let link = directory.path().join("link");
        symlink(&target, &link).unwrap();
        assert!(output(&link).is_err());
        assert!(!target.exists());
        fs::write(&target, "").unwrap();
        assert!(output(&link).is_err());
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(output(&fifo).is_err());
        assert!(output(directory.path()).is_err());
        assert!(output("/dev/null".as_ref()).is_err());
        let nowhere = directory.path().join("missing/trace");
        assert!(output(&nowhere).is_err());
    }
}
