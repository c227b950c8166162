//! One scheduler's process: starting it, listening to it, ending it. What its end means is found out in
//! `ending`.
//!
//! Knows nothing of sched_ext; whether the process schedules is asked of the kernel (`switch`).

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::prctl::{set_pdeathsig, set_thp_disable};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::appetite::Appetite;
use crate::cgroup::{Cgroup, Cgroups};
use crate::children::{Children, Listed};
use crate::core::{Cause, End};
use crate::ending;
use crate::gate::{Gate, GateError};
use crate::idle_latency::Marks;
use crate::policy::Scheduler;
use crate::priority;
use crate::program::{self, ProgramError};

/// How long a scheduler may take to leave by itself before it is killed. All known ones leave within
/// a second, on a slow machine too.
pub(crate) const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// The same for one that still loads: most do not look up before they have loaded, and there is nothing
/// in the kernel yet that they could take back.
const LEAVE_LOADING_WITHIN: Duration = Duration::from_secs(1);
/// How often it is looked whether what the process started has left too.
const LOOK_FOR_OTHERS_EVERY: Duration = Duration::from_millis(10);
/// How long a killed process may take to be gone. One that the kernel holds on to cannot be waited for.
pub(crate) const GONE_WITHIN: Duration = Duration::from_secs(10);
/// What is kept of a scheduler's output to explain its end: lines, and bytes per line.
const LAST_LINES: usize = 20;
const LINE_LIMIT: u64 = 1024;
/// How long after its end they may still be on their way.
const LAST_LINES_WITHIN: Duration = Duration::from_millis(20);

/// Why a scheduler's process could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error("cannot be started: {0}")]
    Gate(#[from] GateError),
}

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct SchedulerProcess {
    scheduler: Scheduler,
    pid: u32,
    child: Child,
    last_lines: Arc<Mutex<VecDeque<String>>>,
    /// As one of ours; until the process was waited for, or does not count any more.
    listed: Option<Listed>,
    reaped: bool,
    /// Until when its last lines may still come.
    last_lines_until: Option<Instant>,
    cgroup: Option<Cgroup>,
    appetite: Appetite,
    /// Why it was killed while it ran.
    killed_because: Option<String>,
    /// What it changed of the machine.
    pub(crate) marks: Marks,
}

impl SchedulerProcess {
    /// Starts the scheduler behind a closed gate, which is to be served as long as the process lives. It is
    /// not on the list of ours before it is let in: see [`Self::list`].
    pub(crate) fn start_gated(
        scheduler: &Scheduler,
        cgroups: &Cgroups,
    ) -> Result<(Self, Gate), StartError> {
        let path = program::find(&scheduler.command)?;
        let cgroup = cgroups.create();
        let (child, gate) = Gate::spawn(command(&path, scheduler, cgroup.as_ref())?)?;
        Ok((Self::of(child, scheduler, cgroup)?, gate))
    }

    /// Starts the scheduler without a gate.
    pub(crate) fn start(
        scheduler: &Scheduler,
        children: &Children,
        cgroups: &Cgroups,
    ) -> Result<Self, StartError> {
        let path = program::find(&scheduler.command)?;
        let cgroup = cgroups.create();
        let child = command(&path, scheduler, cgroup.as_ref())?
            .spawn()
            .map_err(GateError::Spawn)?;
        let mut process = Self::of(child, scheduler, cgroup)?;
        process.list(children);
        Ok(process)
    }

    fn of(
        mut child: Child,
        scheduler: &Scheduler,
        cgroup: Option<Cgroup>,
    ) -> Result<Self, StartError> {
        let pid = child
            .id()
            .ok_or_else(|| GateError::Spawn(io::Error::other("it ended before it was seen")))?;
        let last_lines = Arc::default();
        if let Some(output) = child.stdout.take() {
            tokio::spawn(listen(
                output,
                scheduler.name.clone(),
                Arc::clone(&last_lines),
            ));
        }
        if let Some(output) = child.stderr.take() {
            tokio::spawn(listen(
                output,
                scheduler.name.clone(),
                Arc::clone(&last_lines),
            ));
        }
        Ok(Self {
            scheduler: scheduler.clone(),
            pid,
            child,
            last_lines,
            listed: None,
            reaped: false,
            last_lines_until: None,
            cgroup,
            appetite: Appetite::default(),
            killed_because: None,
            marks: Marks::default(),
        })
    }

    pub(crate) fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// The process that was started; the scheduler may be one that it started in turn.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Puts the process on the list of ours: from now on what the kernel runs can be its.
    pub(crate) fn list(&mut self, children: &Children) {
        let cgroup = self.cgroup.as_ref().map(Cgroup::path);
        self.listed = Some(children.list(self.pid, cgroup));
    }

    /// Takes what keeps the process on the list of ours.
    pub(crate) fn take_listing(&mut self) -> Option<Listed> {
        self.listed.take()
    }

    /// Puts the process on the list again.
    pub(crate) fn list_again(&mut self, listed: Option<Listed>) {
        self.listed = listed.filter(|_| !self.reaped);
    }

    /// Lets the process go before others that want the CPU, until [`Self::take_your_time`].
    pub(crate) fn hurry(&self) {
        if let Some(group) = self.group() {
            priority::hurry(group);
        }
    }

    /// Gives the process the weight of any other.
    pub(crate) fn take_your_time(&self) {
        if let Some(group) = self.group() {
            priority::take_your_time(group);
        }
    }

    fn group(&self) -> Option<rustix::process::Pid> {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok())?;
        rustix::process::Pid::from_raw(pid)
    }

    /// Kills a process that spins, to be called every few seconds; it then has ended by itself. One
    /// that has no seat may be loading again, which is work.
    pub(crate) fn kill_if_it_spins(&mut self, has_seat: bool, now: Instant) {
        let used = self.cgroup.as_ref().and_then(Cgroup::cpu_time);
        let Some(used) = used.filter(|_| has_seat) else {
            self.appetite = Appetite::default();
            return;
        };
        if self.appetite.spins(now, used) && self.killed_because.is_none() {
            self.killed_because = Some(Appetite::verdict());
            self.signal(Signal::SIGKILL);
        }
    }

    /// Waits until the process has ended and says how. Can be dropped and called again.
    pub(crate) async fn ended(&mut self) -> End {
        match self.child.wait().await {
            Ok(status) => {
                self.reaped();
                // The same moment however often this is called again.
                let until = Instant::now() + LAST_LINES_WITHIN;
                let until = *self.last_lines_until.get_or_insert(until);
                tokio::time::sleep_until(until.into()).await;
                self.end(status)
            }
            Err(error) => End {
                cause: Cause::Crashed,
                text: format!("cannot be waited for: {error}"),
            },
        }
    }

    /// How the process ended, if it has.
    pub(crate) fn has_ended(&mut self) -> Option<End> {
        let status = self.child.try_wait().ok().flatten()?;
        self.reaped();
        Some(self.end(status))
    }

    /// Asks the process to leave, kills it if it does not, and waits until it is gone. Returns how it
    /// ended where that was not our doing. One that was asked has left as asked, with whatever status.
    ///
    /// # Errors
    /// When even killing it does not end it.
    pub(crate) async fn stop(&mut self) -> Result<Option<End>, String> {
        self.stop_within(LEAVE_WITHIN).await
    }

    /// The same for a scheduler that still loads.
    ///
    /// # Errors
    /// When even killing it does not end it.
    pub(crate) async fn stop_loading(&mut self) -> Result<(), String> {
        self.stop_within(LEAVE_LOADING_WITHIN).await.map(drop)
    }

    async fn stop_within(&mut self, patience: Duration) -> Result<Option<End>, String> {
        if let Some(end) = self.has_ended() {
            return Ok(Some(end));
        }
        let until = tokio::time::Instant::now() + patience;
        self.signal(Signal::SIGINT);
        if let Ok(ended) = timeout(patience, self.child.wait()).await {
            self.others_leave(until).await;
            self.reaped();
            return Ok(ended.ok().and_then(|status| self.own_end(status)));
        }
        tracing::warn!(
            scheduler = self.scheduler.name,
            "{} does not leave within {} of SIGINT; killing it",
            self.scheduler.name,
            humantime::format_duration(patience)
        );
        self.signal(Signal::SIGKILL);
        match timeout(GONE_WITHIN, self.child.wait()).await {
            Ok(_) => {
                self.reaped();
                Ok(None)
            }
            Err(_) => Err(format!(
                "process {} does not end even when killed",
                self.pid
            )),
        }
    }

    /// Waits until what the process started has left as well: a shell may not wait for the scheduler that it runs, which has
    /// still to put back what it changed.
    async fn others_leave(&self, until: tokio::time::Instant) {
        let others_are_there = || match (&self.cgroup, i32::try_from(self.pid)) {
            (Some(cgroup), _) => !cgroup.processes().is_empty(),
            (None, Ok(group)) => killpg(Pid::from_raw(group), None).is_ok(),
            (None, Err(_)) => false,
        };
        while others_are_there() && tokio::time::Instant::now() < until {
            tokio::time::sleep(LOOK_FOR_OTHERS_EVERY).await;
        }
    }

    /// Called when the process was waited for: it is off the list, and what it started goes with it.
    fn reaped(&mut self) {
        self.listed = None;
        if !std::mem::replace(&mut self.reaped, true)
            && let Ok(group) = i32::try_from(self.pid)
        {
            // The number stays the group's for as long as it has members; mostly it has none left.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            if let Some(cgroup) = &self.cgroup {
                cgroup.kill();
            }
        }
    }

    /// Signals the process and what it started: a scheduler may be wrapped in a script.
    fn signal(&self, signal: Signal) {
        // `id` is none once the process was waited for, so that no other process with its number
        // can be hit.
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // It may have ended by itself a moment ago.
            let _ = killpg(Pid::from_raw(pid), signal);
            if let Some(cgroup) = &self.cgroup {
                cgroup.signal_outside_group(pid, signal);
            }
        }
    }

    /// How the process, which was asked to leave, ended by something else, as far as that is certain. What
    /// the kernel had against its scheduler is asked elsewhere.
    fn own_end(&self, status: ExitStatus) -> Option<End> {
        let end = self.end(status);
        if matches!(end.cause, Cause::Spinning | Cause::OutOfMemory) {
            return Some(end);
        }
        // Without a handler the signal itself is the end; a shell passes it on as 130.
        let by_signal = status.signal() == Some(Signal::SIGINT as i32);
        if !status.success() && !by_signal && status.code() != Some(130) {
            let scheduler = &self.scheduler.name;
            tracing::info!(scheduler, "{scheduler} left when it was asked to: {end}");
        }
        None
    }

    fn end(&self, status: ExitStatus) -> End {
        if let Some(why) = &self.killed_because {
            return End {
                cause: Cause::Spinning,
                text: why.clone(),
            };
        }
        let out_of_memory = self.cgroup.as_ref().is_some_and(Cgroup::ran_out_of_memory);
        match self.last_lines.lock() {
            Ok(lines) => ending::end(status, &lines, out_of_memory),
            Err(_) => ending::end(status, &VecDeque::new(), out_of_memory),
        }
    }
}

impl Drop for SchedulerProcess {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// The scheduler's program with its arguments, and nothing else from our surroundings.
fn command(
    path: &Path,
    scheduler: &Scheduler,
    cgroup: Option<&Cgroup>,
) -> Result<Command, StartError> {
    let entrance = cgroup.map(Cgroup::entrance).transpose();
    let entrance = entrance.map_err(GateError::Spawn)?;
    let mut command = Command::new(path);
    command
        .args(&scheduler.args)
        .env_clear()
        .env("PATH", program::DIRECTORIES.join(":"))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Signals from a terminal are for the daemon, which then ends its scheduler.
        .process_group(0)
        .kill_on_drop(true);
    // SAFETY: between fork and exec, write and prctl are async-signal-safe and allocate nothing.
    unsafe {
        command.pre_exec(move || {
            if let Some(entrance) = &entrance {
                (&*entrance).write_all(b"0")?;
            }
            // What the daemon does without is not for its schedulers to miss.
            set_thp_disable(false)?;
            // A daemon that is killed takes its scheduler along.
            set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from)
        });
    }
    Ok(command)
}

/// Logs what a scheduler says, and keeps the last of it.
async fn listen(
    output: impl AsyncRead + Unpin,
    scheduler: String,
    last_lines: Arc<Mutex<VecDeque<String>>>,
) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line without end must not fill the memory; its rest comes as further lines.
        match (&mut output)
            .take(LINE_LIMIT)
            .read_until(b'\n', &mut line)
            .await
        {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text: String = String::from_utf8_lossy(&line)
            .chars()
            .filter(|char| !char.is_control())
            .collect();
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        tracing::debug!(scheduler, "{text}");
        if let Ok(mut lines) = last_lines.lock() {
            if lines.len() == LAST_LINES {
                lines.pop_front();
            }
            lines.push_back(text.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell that runs `script` and has said that it is ready.
    async fn shell(script: &str) -> SchedulerProcess {
        let scheduler = Scheduler {
            name: "shell".into(),
            command: "/usr/bin/env".into(),
            // A shell cannot trap what was ignored when it was started, as SIGINT is in the background.
            args: ["--default-signal=INT", "sh", "-c", script]
                .map(str::to_owned)
                .into(),
        };
        let process =
            SchedulerProcess::start(&scheduler, &Children::default(), &Cgroups::of(None)).unwrap();
        while process.last_lines.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        process
    }

    const FOR_EVER: &str = "while :; do sleep 0.01; done";

    #[tokio::test]
    async fn one_that_was_asked_to_leave_has_not_failed_whatever_its_status() {
        for (at_sigint, code, signal) in [
            ("exit 3", Some(3), None),
            (
                "echo Error: EXIT: runnable task stall; exit 1",
                Some(1),
                None,
            ),
            ("kill -SEGV $$", None, Some(Signal::SIGSEGV as i32)),
            ("kill -KILL $$", None, Some(Signal::SIGKILL as i32)),
        ] {
            let mut process =
                shell(&format!("trap '{at_sigint}' INT; echo ready; {FOR_EVER}")).await;
            assert_eq!(process.stop().await, Ok(None), "{at_sigint}");
            let status = process.child.try_wait().unwrap().unwrap();
            assert_eq!((status.code(), status.signal()), (code, signal));
        }
    }

    #[tokio::test]
    async fn one_that_had_ended_before_it_was_asked_has_failed() {
        let mut process = shell("echo ready; exit 3").await;
        // Not waited for by anybody yet.
        let pid = Pid::from_raw(process.pid.try_into().unwrap());
        let flags = nix::sys::wait::WaitPidFlag::WEXITED | nix::sys::wait::WaitPidFlag::WNOWAIT;
        nix::sys::wait::waitid(nix::sys::wait::Id::Pid(pid), flags).unwrap();
        let end = process.stop().await.unwrap().unwrap();
        assert_eq!(end.cause, Cause::Crashed);
        assert!(end.text.starts_with("exited with status 3"), "{end}");
    }
}
