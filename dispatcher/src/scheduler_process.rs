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
const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// The same for one that still loads: most do not look up before they have loaded, and there is nothing
/// in the kernel yet that they could take back.
const LEAVE_LOADING_WITHIN: Duration = Duration::from_secs(1);
/// How long a killed process may take to be gone. One that the kernel holds on to cannot be waited for.
const GONE_WITHIN: Duration = Duration::from_secs(10);
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

    /// Puts the process on the list of ours: from now on what the kernel runs can be its.
    pub(crate) fn list(&mut self, children: &Children) {
        self.listed = Some(children.list(self.pid, &self.scheduler));
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
            None => self.child.id().into_iter().collect(),
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
    /// ended where that was not our doing: all known schedulers leave with status 0 when asked.
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
        self.signal(Signal::SIGINT);
        if let Ok(ended) = timeout(patience, self.child.wait()).await {
            self.reaped();
            let asked = |status: &ExitStatus| {
                // Without a handler the signal itself is the end; a shell passes it on as 130.
                status.signal() == Some(Signal::SIGINT as i32) || status.code() == Some(130)
            };
            let crashed = ended
                .ok()
                .filter(|status| !status.success() && !asked(status));
            return Ok(crashed.map(|status| self.end(status)));
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
        }
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
