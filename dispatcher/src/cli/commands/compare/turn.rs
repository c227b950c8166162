//! A turn: the command once, its output discarded or searched, its times taken.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::signal::{Signal, killpg};
use nix::sys::time::TimeVal;
use nix::unistd::Pid;
use regex::Regex;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::measure::Search;
use super::meter::{Machine, Measuring};
use crate::cli::commands::child::{Signals, end_with_us};

/// How long the command has to end after SIGTERM.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// How long what it left behind may go on writing.
const DRAINED_WITHIN: Duration = Duration::from_secs(1);

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Turn {
    /// From its start to its end, in seconds.
    pub(super) wall: f64,
    /// CPU time in user space, in seconds, of it and its children that it waited for.
    pub(super) user: Option<f64>,
    /// CPU time in the kernel, the same.
    pub(super) system: Option<f64>,
    /// The number from its output, if one was wanted.
    pub(super) value: Option<f64>,
    /// What the machine did meanwhile.
    pub(super) machine: Machine,
    /// What is judged in each half of it, under the load that runs.
    pub(super) halves: Option<[f64; 2]>,
}

/// How a turn ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Well.
    Done(Box<Turn>),
    /// The command failed, or said no number: why.
    Failed(String),
    /// A signal for us came, and the command was ended.
    Interrupted(Signal),
}

/// Runs the command, and measures the machine meanwhile.
///
/// # Errors
/// When it cannot be run at all.
pub(super) async fn run(
    command: &[OsString],
    expression: Option<&Regex>,
    measuring: Measuring,
    signals: &mut Signals,
) -> anyhow::Result<Ended> {
    let (program, args) = command.split_first().context("no command to run")?;
    let before = children()?;
    let began = Instant::now();
    let (mut child, mut output) = spawn(program, args, expression.is_some())
        .with_context(|| format!("`{}` cannot be run", program.to_string_lossy()))?;
    let mut search = expression.map(Search::new);
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            part = read(&mut output) => look(&mut output, &mut search, &part),
            signal = signals.next() => {
                end(&mut child).await?;
                return Ok(Ended::Interrupted(signal));
            }
        }
    };
    let wall = began.elapsed().as_secs_f64();
    let machine = measuring.end();
    let after = children()?;
    // Children that it left behind may hold the pipe open.
    let drained = async {
        while output.is_some() {
            let part = read(&mut output).await;
            look(&mut output, &mut search, &part);
        }
    };
    // What is not written by then is not of this turn.
    let _ = timeout(DRAINED_WITHIN, drained).await;
    if !status.success() {
        return Ok(Ended::Failed(format!(
            "the command failed: {}",
            how(status)
        )));
    }
    let value = match search.map(Search::number).transpose() {
        Ok(value) => value,
        Err(why) => return Ok(Ended::Failed(why)),
    };
    let spent = |of: fn(&Usage) -> TimeVal| Some(seconds(of(&after)) - seconds(of(&before)));
    Ok(Ended::Done(Box::new(Turn {
        wall,
        user: spent(Usage::user_time),
        system: spent(Usage::system_time),
        value,
        machine,
        halves: None,
    })))
}

/// What the children of this process have used that were waited for: the commands, as there are no others.
fn children() -> nix::Result<Usage> {
    getrusage(UsageWho::RUSAGE_CHILDREN)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "microseconds since the command's start"
)]
fn seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}

/// Starts the command in a process group of its own, which keys at the terminal do not reach.
fn spawn(
    program: &OsString,
    args: &[OsString],
    wants_output: bool,
) -> io::Result<(Child, Option<Receiver>)> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).process_group(0);
    end_with_us(&mut command);
    if !wants_output {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        return Ok((command.spawn()?, None));
    }
    let (reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let reader = Receiver::from_owned_fd(OwnedFd::from(reader))?;
    // The writing ends that are ours go with the command.
    Ok((command.spawn()?, Some(reader)))
}

/// The next part of the output, an empty one at its end; waits for ever where there is none.
async fn read(output: &mut Option<Receiver>) -> Vec<u8> {
    let Some(receiver) = output else {
        return std::future::pending().await;
    };
    let mut part = vec![0; 16 * 1024];
    let length = receiver.read(&mut part).await.unwrap_or(0);
    part.truncate(length);
    part
}

fn look(output: &mut Option<Receiver>, search: &mut Option<Search<'_>>, part: &[u8]) {
    if part.is_empty() {
        *output = None;
    }
    if let Some(search) = search {
        search.read(part);
    }
}

/// Ends the command with its process group.
async fn end(child: &mut Child) -> io::Result<()> {
    signal_group(child, Signal::SIGTERM);
    if timeout(ENDS_WITHIN, child.wait()).await.is_err() {
        signal_group(child, Signal::SIGKILL);
        child.wait().await?;
    }
    Ok(())
}

fn signal_group(child: &Child, signal: Signal) {
    // It has no number any more once it was waited for.
    if let Some(group) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // It may have ended a moment ago; the number is still its own.
        let _ = killpg(Pid::from_raw(group), signal);
    }
}

fn how(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::compare::meter::Meter;

    async fn turn(script: &str, expression: Option<&str>) -> Ended {
        let command = ["sh", "-c", script].map(OsString::from);
        let expression = expression.map(|expression| Regex::new(expression).unwrap());
        let mut signals = Signals::new().unwrap();
        let measuring = Meter::default().begin(None);
        run(&command, expression.as_ref(), measuring, &mut signals)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn times_and_a_number_are_taken() {
        let Ended::Done(turn) = turn("echo 12.5 fps >&2; sleep 0.1", Some("(.*) fps")).await else {
            panic!("it failed");
        };
        let is_time = |time: Option<f64>| time.is_some_and(|time| time >= 0.0);
        assert!(
            turn.wall >= 0.1 && is_time(turn.user) && is_time(turn.system),
            "{turn:?}"
        );
        assert!(turn.machine.user.is_some(), "{turn:?}");
        assert_eq!(turn.value, Some(12.5));
    }

    #[tokio::test]
    async fn the_time_in_user_space_is_that_of_its_children_too() {
        let busy = "i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done";
        let Ended::Done(turn) = turn(&format!("sh -c '{busy}'"), None).await else {
            panic!("it failed");
        };
        assert!(turn.user.unwrap() + turn.system.unwrap() > 0.0, "{turn:?}");
    }

    #[tokio::test]
    async fn a_command_that_fails_is_no_turn() {
        for (script, expression, says) in [
            ("exit 3", None, "exit code 3"),
            ("kill -9 $$", None, "signal: 9"),
            ("true", Some("fps"), "`fps` is not in its output"),
        ] {
            let Ended::Failed(why) = turn(script, expression).await else {
                panic!("`{script}` did not fail");
            };
            assert!(why.contains(says), "{why}");
        }
        let command = [OsString::from("/nonexistent")];
        let measuring = Meter::default().begin(None);
        let error = run(&command, None, measuring, &mut Signals::new().unwrap())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("`/nonexistent` cannot be run"));
    }

    #[tokio::test]
    async fn what_it_leaves_behind_is_not_waited_for() {
        let ended = turn("sleep 1000 & echo $! is one", Some("([0-9]+) is one")).await;
        let Ended::Done(turn) = ended else {
            panic!("{ended:?}");
        };
        #[expect(clippy::cast_possible_truncation, reason = "a process's number")]
        let left = Pid::from_raw(turn.value.unwrap() as i32);
        nix::sys::signal::kill(left, Signal::SIGKILL).unwrap();
    }

    #[tokio::test]
    async fn all_of_the_group_is_ended() {
        let script = "trap '' TERM; sleep 1000 & echo begins; sleep 1000; sleep 1000";
        let (mut child, mut output) =
            spawn(&"sh".into(), &["-c".into(), script.into()], true).unwrap();
        assert_eq!(read(&mut output).await, b"begins\n");
        end(&mut child).await.unwrap();
        // Nobody is left who could write.
        assert_eq!(read(&mut output).await, b"");
    }
}
