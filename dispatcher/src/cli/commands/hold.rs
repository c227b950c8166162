//! `auto-ext hold -- COMMAND`: keeps the scheduler that runs while a command runs. The command runs whether there is a hold
//! or not, and does not end when the hold does.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;
use std::pin::Pin;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::Context as _;
use auto_ext_service::exit_code;
use auto_ext_service::exit_code::{Code, WithCode};
use auto_ext_service::sanitize::sanitize;
use futures_util::{Stream, StreamExt as _};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::time::sleep;

use super::client::{Ask, Client};

/// How long to wait before a bus that cannot be reached is tried again, at first and at most.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_AT_MOST: Duration = Duration::from_secs(60);

/// Holds, runs the command and passes its exit code through.
pub(crate) async fn run(command: &[OsString]) -> anyhow::Result<ExitCode> {
    let (program, args) = command.split_first().context("no command to run")?;
    let mut signals = Signals::new()?;
    let mut hold = Hold::of(program);
    let taken = tokio::select! {
        taken = hold.take(Ask::Person) => taken,
        // The command, which it would be passed on to, does not run yet.
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
    Ok(exit_code::of_command(status))
}

/// Starts the command. It gets SIGTERM when this process is killed and can pass no signal on: whoever kills it means the
/// command.
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
                    // The terminal sent it to the command too, which may do something else for two.
                    continue;
                }
                if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
                    // It may have ended a moment ago. It has not been waited for, so the PID is still its own.
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
    connection: Option<Connection>,
    state: State,
    /// Its end was reported, which is done once.
    end_is_reported: bool,
}

/// The bus, and when the daemon comes to it (true) and leaves it.
struct Connection {
    client: Client,
    daemon: Pin<Box<dyn Stream<Item = bool>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Taken,
    /// It can be taken when there is a daemon.
    Missing,
    /// The daemon refused it, and is not asked again until it was restarted.
    Refused,
}

/// A value that there is not.
enum Never {}

impl Hold {
    fn of(program: &OsString) -> Self {
        let name = Path::new(program).file_name().unwrap_or(program);
        let name = name.to_string_lossy();
        let printable = name.chars().filter(|char| !char.is_control());
        Self {
            application: printable.take(60).collect(),
            connection: None,
            state: State::Missing,
            end_is_reported: false,
        }
    }

    /// Asks the daemon for the hold.
    async fn take(&mut self, ask: Ask) -> anyhow::Result<()> {
        self.state = State::Missing;
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open().await?,
        };
        let connection = self.connection.insert(connection);
        let body = (&self.application, "auto-ext hold");
        let taken: anyhow::Result<u32> = connection.client.call_as(ask, "Hold", &body).await;
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
            let Some(connection) = &mut self.connection else {
                sleep(retry).await;
                retry = (2 * retry).min(RETRY_AT_MOST);
                self.take_again().await;
                continue;
            };
            match connection.daemon.next().await {
                Some(true) => self.take_again().await,
                Some(false) => self.lost(),
                // The bus is gone, and with our connection the hold.
                None => {
                    self.lost();
                    self.connection = None;
                }
            }
            if self.state == State::Taken {
                retry = RETRY;
            }
        }
    }

    /// Takes the hold anew, without asking a person while the command runs. That it is refused is reported; that there is
    /// no daemon is known already.
    async fn take_again(&mut self) {
        if let Err(error) = self.take(Ask::Nobody).await
            && self.state == State::Refused
        {
            self.report_end(&format!("{error:#}"));
        }
    }

    fn lost(&mut self) {
        if self.state == State::Taken {
            self.report_end("the daemon or the bus is gone; it is held again when both are back");
        }
        self.state = State::Missing;
    }

    fn report_end(&mut self, why: &str) {
        if !std::mem::replace(&mut self.end_is_reported, true) {
            warn(&format!("the scheduler is not held any more: {why}"));
        }
    }
}

impl Connection {
    async fn open() -> anyhow::Result<Self> {
        let client = Client::connect().await?;
        // Before the hold is taken, so that its end cannot be missed.
        let daemon = Box::pin(client.comings_and_goings().await?);
        Ok(Self { client, daemon })
    }
}

fn warn(what: &str) {
    // Without standard error there is nowhere to write it, and the command runs on.
    let _ = writeln!(io::stderr(), "auto-ext: warning: {}", sanitize(what));
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
