//! `auto-ext hold -- COMMAND`: what runs stays while a command runs. The command comes first: it runs
//! whether there is a hold or not, and nothing that becomes of the hold ends it.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;
use std::pin::Pin;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::{Stream, StreamExt as _};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::time::sleep;

use super::client::{Ask, Client};
use crate::exit::{self, Code, WithCode};
use crate::plain::plain;

/// How long it is waited for a bus that cannot be reached, at first and at most.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_AT_MOST: Duration = Duration::from_secs(60);

/// Holds, runs the command and passes its exit code through.
pub(crate) async fn run(command: &[OsString]) -> anyhow::Result<ExitCode> {
    let (program, args) = command.split_first().context("no command to run")?;
    let mut signals = Signals::new()?;
    let mut hold = Hold::of(program);
    let taken = tokio::select! {
        taken = hold.take(Ask::Person) => taken,
        // Nothing runs yet that could be meant.
        signal = signals.next() => {
            let code = u8::try_from(128 + signal as i32).unwrap_or(1);
            return Ok(ExitCode::from(code));
        }
    };
    if let Err(error) = taken {
        warn(&format!(
            "the scheduler is not held, the command runs all the same: {error:#}"
        ));
    }
    let mut child = spawn(program, args)
        .with_context(|| format!("`{}` cannot be run", program.to_string_lossy()))?;
    let status = tokio::select! {
        status = attend(&mut child, &mut signals) => status?,
        never = hold.keep() => match never {},
    };
    Ok(exit::of_command(status))
}

/// Starts the command. It is asked to end when we are killed and can pass nothing on: who kills a
/// wrapper means the command.
fn spawn(program: &OsString, args: &[OsString]) -> io::Result<Child> {
    let ourselves = Pid::this();
    let mut command = Command::new(program);
    command.args(args);
    // SAFETY: between fork and exec, prctl and getppid are async-signal-safe and allocate nothing.
    unsafe {
        command.pre_exec(move || {
            set_pdeathsig(Signal::SIGTERM)?;
            // We may have been killed before that.
            if getppid() != ourselves {
                return Err(io::ErrorKind::Interrupted.into());
            }
            Ok(())
        });
    }
    command.spawn()
}

/// Waits for the command's end, and passes signals on to it.
async fn attend(child: &mut Child, signals: &mut Signals) -> io::Result<ExitStatus> {
    loop {
        tokio::select! {
            status = child.wait() => return status,
            signal = signals.next() => {
                let from_terminal = matches!(signal, Signal::SIGINT | Signal::SIGQUIT);
                if from_terminal && terminal_is_ours() {
                    // The terminal sent it to the command too, to which two may mean more than one.
                    continue;
                }
                if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
                    // It may have ended a moment ago; it has not been waited for, so that the number
                    // is its own.
                    let _ = kill(Pid::from_raw(pid), signal);
                }
            }
        }
    }
}

/// Whether keys such as Ctrl-C reach our process group, to which the command belongs.
fn terminal_is_ours() -> bool {
    let terminal = std::fs::File::open("/dev/tty");
    let group = terminal
        .ok()
        .and_then(|terminal| rustix::termios::tcgetpgrp(terminal).ok());
    group.is_some_and(|group| group == rustix::process::getpgrp())
}

/// The signals that are passed on. One that is ignored, as nohup(1) has it, stays so, for the command as
/// well.
struct Signals {
    terminate: Option<unix::Signal>,
    hangup: Option<unix::Signal>,
    interrupt: Option<unix::Signal>,
    quit: Option<unix::Signal>,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = ignored(&status);
        let listen = |to: Signal| {
            let bit = 1 << (to as i32 - 1);
            let wanted = (ignored & bit == 0).then(|| signal(SignalKind::from_raw(to as i32)));
            wanted.transpose()
        };
        Ok(Self {
            terminate: listen(Signal::SIGTERM)?,
            hangup: listen(Signal::SIGHUP)?,
            interrupt: listen(Signal::SIGINT)?,
            quit: listen(Signal::SIGQUIT)?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            () = received(&mut self.terminate) => Signal::SIGTERM,
            () = received(&mut self.hangup) => Signal::SIGHUP,
            () = received(&mut self.interrupt) => Signal::SIGINT,
            () = received(&mut self.quit) => Signal::SIGQUIT,
        }
    }
}

async fn received(signal: &mut Option<unix::Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// The signals that are ignored, a bit for each, in /proc/PID/status; see proc(5).
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.unwrap_or_default()
}

/// A hold, which ends with our connection to the bus, or with the daemon.
struct Hold {
    application: String,
    line: Option<Line>,
    state: State,
    /// That it ended is said once.
    end_is_said: bool,
}

/// The bus, and when the daemon comes to it (true) and goes.
struct Line {
    client: Client,
    daemon: Pin<Box<dyn Stream<Item = bool>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Taken,
    /// It can be had when there is a daemon.
    Missing,
    /// The daemon says no; it is not asked again and again.
    Refused,
}

/// What never comes.
enum Never {}

impl Hold {
    fn of(program: &OsString) -> Self {
        let name = Path::new(program).file_name().unwrap_or(program);
        let name = name.to_string_lossy();
        let printable = name.chars().filter(|char| !char.is_control());
        Self {
            application: printable.take(60).collect(),
            line: None,
            state: State::Missing,
            end_is_said: false,
        }
    }

    /// Asks the daemon for the hold.
    async fn take(&mut self, ask: Ask) -> anyhow::Result<()> {
        self.state = State::Missing;
        let line = match self.line.take() {
            Some(line) => line,
            None => Line::open().await?,
        };
        let line = self.line.insert(line);
        let body = (&self.application, "auto-ext hold");
        let taken: anyhow::Result<u32> = line.client.call_as(ask, "Hold", &body).await;
        self.state = match &taken {
            Ok(_cookie) => State::Taken,
            Err(error) => match error.downcast_ref::<WithCode>().map(|error| error.code) {
                Some(Code::NoDaemon) => State::Missing,
                _ => State::Refused,
            },
        };
        taken.map(drop)
    }

    /// Keeps the hold for as long as this is awaited, over restarts of the daemon and of the bus.
    async fn keep(&mut self) -> Never {
        let mut retry = RETRY;
        loop {
            let Some(line) = &mut self.line else {
                sleep(retry).await;
                retry = (2 * retry).min(RETRY_AT_MOST);
                self.take_again().await;
                continue;
            };
            match line.daemon.next().await {
                Some(true) => self.take_again().await,
                Some(false) => self.lost(),
                // The bus is gone, and the hold with our connection.
                None => {
                    self.lost();
                    self.line = None;
                }
            }
            if self.state == State::Taken {
                retry = RETRY;
            }
        }
    }

    /// A person is not asked in the middle of what runs. Why it cannot be had is of interest only where
    /// it was not known before.
    async fn take_again(&mut self) {
        if let Err(error) = self.take(Ask::Nobody).await
            && self.state == State::Refused
        {
            self.say_end(&format!("{error:#}"));
        }
    }

    fn lost(&mut self) {
        if self.state == State::Taken {
            self.say_end("the daemon or the bus is gone; it is held again when both are back");
        }
        self.state = State::Missing;
    }

    fn say_end(&mut self, why: &str) {
        if !std::mem::replace(&mut self.end_is_said, true) {
            warn(&format!("the scheduler is not held any more: {why}"));
        }
    }
}

impl Line {
    async fn open() -> anyhow::Result<Self> {
        let client = Client::connect().await?;
        // Before the hold is asked for, so that its end cannot be missed.
        let daemon = Box::pin(client.comings_and_goings().await?);
        Ok(Self { client, daemon })
    }
}

fn warn(what: &str) {
    // Without standard error there is nobody to tell, and the command runs on.
    let _ = writeln!(io::stderr(), "auto-ext: warning: {}", plain(what));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_is_ignored_stays_so() {
        let nohup = "Name:\tx\nSigIgn:\t0000000000000001\nSigCgt:\t0000000000000002\n";
        assert_eq!(ignored(nohup), 1 << (Signal::SIGHUP as i32 - 1));
        assert_eq!(ignored(""), 0);
    }
}
