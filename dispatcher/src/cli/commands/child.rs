//! A command that runs while something is granted to us: our signals are passed on to it, and its end is ours.

use std::ffi::OsString;
use std::io;
use std::process::{ExitCode, ExitStatus};

use anyhow::Context as _;
use auto_ext_service::exit_code;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{self, SignalKind, signal};

use super::grant::Grant;

/// Runs the command while what was granted is kept, and passes its exit code through.
pub(super) async fn run(
    program: &OsString,
    args: &[OsString],
    signals: &mut Signals,
    grant: &mut Grant,
) -> anyhow::Result<ExitCode> {
    let mut child = spawn(program, args)
        .with_context(|| format!("`{}` cannot be run", program.to_string_lossy()))?;
    let status = tokio::select! {
        status = attend(&mut child, signals) => status?,
        never = grant.keep() => match never {},
    };
    Ok(exit_code::of_command(status))
}

/// The exit code where a signal came before there was a command to pass it on to.
pub(super) fn ended_by(signal: Signal) -> ExitCode {
    let code = u8::try_from(128 + signal as i32).unwrap_or(1);
    ExitCode::from(code)
}

fn spawn(program: &OsString, args: &[OsString]) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.args(args);
    end_with_us(&mut command);
    command.spawn()
}

/// Has the command get SIGTERM when this process is killed and can pass no signal on: whoever kills it means the command.
pub(super) fn end_with_us(command: &mut Command) {
    let ourselves = Pid::this();
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
pub(super) struct Signals {
    terminate: Option<unix::Signal>,
    hangup: Option<unix::Signal>,
    interrupt: Option<unix::Signal>,
    quit: Option<unix::Signal>,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
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

    pub(super) async fn next(&mut self) -> Signal {
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
