//! One scheduler's process: starting it, listening to it, ending it. What its end means is found out in
//! `ending`.
//!
//! Knows nothing of sched_ext; whether the process schedules is asked of the kernel (`switch`).

use std::io::{self, PipeReader, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::prctl::{set_pdeathsig, set_thp_disable};
use nix::sys::signal::{Signal, killpg};
use nix::time::ClockId;
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{timeout, timeout_at};

use crate::appetite::{self, Appetite};
use crate::cgroup::{Cgroup, Cgroups};
use crate::children::{Children, Listed};
use crate::core::{Cause, End};
use crate::ending;
use crate::file_capabilities;
use crate::gate::{Gate, GateError};
use crate::idle_latency::Marks;
use crate::policy::Scheduler;
use crate::priority;
use crate::program::{self, ProgramError};
use crate::scheduler_output::Output;

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
/// How long after its end its last words may still be on their way; mostly they are there at once.
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(200);

/// Why a scheduler's process could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error("cannot be started: {0}")]
    Gate(#[from] GateError),
    /// Its file asks for capabilities that the service may not have.
    #[error(
        "{path} cannot be executed: its file asks for capabilities (setcap) that the service may not have, {wanting}; \
         take them off the file with `setcap -r {path}` (root's schedulers need none), or allow them to the service \
         with `CapabilityBoundingSet={wanting}` in a drop-in (`systemctl edit auto-ext`)",
        path = .path.display()
    )]
    Capabilities { path: PathBuf, wanting: String },
}

impl StartError {
    /// Why the program at `path` could not be started.
    fn of(path: &Path, error: GateError) -> Self {
        if let GateError::Spawn(error) = &error
            && error.kind() == io::ErrorKind::PermissionDenied
            && let Some(wanting) = file_capabilities::wanting(path)
        {
            let path = path.to_owned();
            return Self::Capabilities { path, wanting };
        }
        Self::Gate(error)
    }
}

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct SchedulerProcess {
    scheduler: Scheduler,
    pid: u32,
    child: Child,
    output: Output,
    /// As one of ours; until the process was waited for, or does not count any more.
    listed: Option<Listed>,
    reaped: bool,
    /// Until when its last words may still come.
    last_words_until: Option<Instant>,
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
        let (command, output) = command(&path, scheduler, cgroup.as_ref())?;
        let started = Gate::spawn(command);
        let (child, gate) = started.map_err(|error| StartError::of(&path, error))?;
        Ok((Self::of(child, output, scheduler, cgroup)?, gate))
    }

    /// Starts the scheduler without a gate.
    pub(crate) fn start(
        scheduler: &Scheduler,
        children: &Children,
        cgroups: &Cgroups,
    ) -> Result<Self, StartError> {
        let path = program::find(&scheduler.command)?;
        let cgroup = cgroups.create();
        let (mut command, output) = command(&path, scheduler, cgroup.as_ref())?;
        let child = command
            .spawn()
            .map_err(|error| StartError::of(&path, GateError::Spawn(error)))?;
        // It holds the other end of the output as well.
        drop(command);
        let mut process = Self::of(child, output, scheduler, cgroup)?;
        process.list(children);
        Ok(process)
    }

    fn of(
        child: Child,
        output: PipeReader,
        scheduler: &Scheduler,
        cgroup: Option<Cgroup>,
    ) -> Result<Self, StartError> {
        let pid = child
            .id()
            .ok_or_else(|| GateError::Spawn(io::Error::other("it ended before it was seen")))?;
        Ok(Self {
            scheduler: scheduler.clone(),
            pid,
            child,
            output: Output::listen(output, scheduler.name.clone()).map_err(GateError::Spawn)?,
            listed: None,
            reaped: false,
            last_words_until: None,
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
        let Some(used) = self.cpu_time().filter(|_| has_seat) else {
            self.appetite = Appetite::default();
            return;
        };
        let proc = Path::new("/proc");
        let work = if self.decides_in_user_space(proc) {
            appetite::context_switches(proc)
        } else {
            None
        };
        if self.appetite.spins(now, used, work) && self.killed_because.is_none() {
            self.killed_because = Some(Appetite::verdict());
            self.signal(Signal::SIGKILL);
        }
    }

    /// How much CPU time it used with all that it started; only its own where it has no cgroup.
    fn cpu_time(&self) -> Option<Duration> {
        match &self.cgroup {
            Some(cgroup) => cgroup.cpu_time(),
            None => {
                let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok())?;
                let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).ok()?;
                clock.now().map(Duration::from).ok()
            }
        }
    }

    fn decides_in_user_space(&self, proc: &Path) -> bool {
        let processes = match &self.cgroup {
            Some(cgroup) => cgroup.processes(),
            None => self
                .child
                .id()
                .and_then(|pid| pid.try_into().ok())
                .into_iter()
                .collect(),
        };
        appetite::some_decide_in_user_space(proc, &processes)
    }

    /// Waits until the process has ended and says how. Can be dropped and called again.
    pub(crate) async fn ended(&mut self) -> End {
        match self.child.wait().await {
            Ok(status) => {
                self.reaped();
                // The same moment however often this is called again.
                let until = Instant::now() + LAST_WORDS_WITHIN;
                let until = *self.last_words_until.get_or_insert(until);
                let _ = timeout_at(until.into(), self.output.ended()).await;
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
        ending::end(status, &self.output.last_lines(), out_of_memory)
    }
}

impl Drop for SchedulerProcess {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// The scheduler's program with its arguments, and nothing else from our surroundings; and what it will say.
fn command(
    path: &Path,
    scheduler: &Scheduler,
    cgroup: Option<&Cgroup>,
) -> Result<(Command, PipeReader), StartError> {
    let (output, said) = Output::pipe().map_err(GateError::Spawn)?;
    let said_again = said.try_clone().map_err(GateError::Spawn)?;
    let entrance = cgroup.map(Cgroup::entrance).transpose();
    let entrance = entrance.map_err(GateError::Spawn)?;
    let mut command = Command::new(path);
    command
        .args(&scheduler.args)
        .env_clear()
        .env("PATH", program::DIRECTORIES.join(":"))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(said)
        .stderr(said_again)
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
    Ok((command, output))
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
        while process.output.last_lines().is_empty() {
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
