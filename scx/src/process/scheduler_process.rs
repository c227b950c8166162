//! One scheduler's process from its start to its end: its limits, its priority, its output, and ending it. Why it ended
//! is found out in `exit_reason`.
//!
//! Knows nothing of sched_ext; whether the process schedules is asked of the kernel (`switch`).

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use auto_ext_core::{Cause, End};
use auto_ext_policy::Scheduler;
use nix::sys::signal::{Signal, killpg};
use nix::time::ClockId;
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::time::{timeout, timeout_at};

use crate::process::cgroup::Cgroup;
use crate::process::output::Output;
use crate::process::pm_qos::PmQosSnapshot;
use crate::process::registry::{ProcessGuard, ProcessRegistry};
use crate::process::spin_detector::SpinDetector;
use crate::process::{exit_reason, spin_detector};
use crate::realtime;

/// How long a scheduler may take to leave by itself before it is killed. All known ones leave within
/// a second, on a slow machine too.
pub const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// The same for one that still loads: most do not handle signals before they have loaded, and there is nothing
/// in the kernel yet that they could take back.
const LEAVE_LOADING_WITHIN: Duration = Duration::from_secs(1);
/// How often it is checked whether what the process started has left too.
const CHECK_OTHERS_EVERY: Duration = Duration::from_millis(10);
/// How long a killed process may take to be gone. One that the kernel holds on to cannot be waited for.
pub const GONE_WITHIN: Duration = Duration::from_secs(10);
/// How long after the end of the process its last output may still be on its way; mostly it is there at once.
const LAST_OUTPUT_WITHIN: Duration = Duration::from_millis(200);

/// A scheduler's process, which is killed when this is dropped.
#[derive(Debug)]
pub struct SchedulerProcess {
    scheduler: Scheduler,
    pid: u32,
    child: Child,
    output: Output,
    /// Keeps it registered as one of ours, until it was waited for or does not count any more.
    guard: Option<ProcessGuard>,
    /// The process was waited for.
    reaped: bool,
    /// Until when its last output may still come.
    last_output_until: Option<Instant>,
    cgroup: Option<Cgroup>,
    spin_detector: SpinDetector,
    /// Why it was killed while it ran.
    killed_because: Option<String>,
    /// What it found and changed of the CPUs' limits for idle states; restored by
    /// [`PmQos::ended`](crate::process::pm_qos::PmQos::ended).
    pub pm_qos: PmQosSnapshot,
}

impl SchedulerProcess {
    pub(super) fn of(
        child: Child,
        output: Output,
        scheduler: &Scheduler,
        cgroup: Option<Cgroup>,
    ) -> io::Result<Self> {
        let pid = child
            .id()
            .ok_or_else(|| io::Error::other("it ended before it was seen"))?;
        Ok(Self {
            scheduler: scheduler.clone(),
            pid,
            child,
            output,
            guard: None,
            reaped: false,
            last_output_until: None,
            cgroup,
            spin_detector: SpinDetector::default(),
            killed_because: None,
            pm_qos: PmQosSnapshot::default(),
        })
    }

    /// Which scheduler it is.
    #[must_use]
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// The number (PID) of the process that was started; the scheduler may be one that it started in turn.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Registers the process as one of ours, until it has ended: from now on what the kernel runs can be its.
    pub fn register(&mut self, registry: &ProcessRegistry) {
        let cgroup = self.cgroup.as_ref().map(Cgroup::path);
        self.guard = Some(registry.register(self.pid, cgroup));
    }

    /// Takes what keeps the process registered.
    pub(crate) fn take_guard(&mut self) -> Option<ProcessGuard> {
        self.guard.take()
    }

    /// Has the process registered again.
    pub(crate) fn restore_guard(&mut self, guard: Option<ProcessGuard>) {
        self.guard = guard.filter(|_| !self.reaped);
    }

    /// Lets the process run before others that want the CPU, until [`Self::restore`].
    pub(crate) fn boost(&self) {
        if let Some(group) = self.group() {
            realtime::boost(group);
        }
    }

    /// Gives the process the weight of any other.
    pub(crate) fn restore(&self) {
        if let Some(group) = self.group() {
            realtime::restore(group);
        }
    }

    /// Its process group; `None` once it was waited for, so that no other with its number can be meant.
    fn group(&self) -> Option<Pid> {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok())?;
        Some(Pid::from_raw(pid))
    }

    /// Kills the process if it has used a whole CPU for 15 seconds without work for it; to be called every few
    /// seconds. It then has ended by itself. One that `is_active` not (the kernel does not run it) may be loading
    /// again, which is work.
    pub fn kill_if_it_spins(&mut self, is_active: bool, now: Instant) {
        let Some(used) = self.cpu_time().filter(|_| is_active) else {
            self.spin_detector = SpinDetector::default();
            return;
        };
        let proc = Path::new("/proc");
        let work = if self.decides_in_user_space(proc) {
            spin_detector::context_switches(proc)
        } else {
            None
        };
        if self.spin_detector.spins(now, used, work) && self.killed_because.is_none() {
            self.killed_because = Some(SpinDetector::verdict());
            self.signal(Signal::SIGKILL);
        }
    }

    /// How much CPU time it used with all that it started; only its own where it has no cgroup.
    fn cpu_time(&self) -> Option<Duration> {
        match &self.cgroup {
            Some(cgroup) => cgroup.cpu_time(),
            None => {
                let clock = ClockId::pid_cpu_clock_id(self.group()?).ok()?;
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
        spin_detector::some_decide_in_user_space(proc, &processes)
    }

    /// Waits until the process has ended and says how. Can be dropped and called again.
    pub async fn ended(&mut self) -> End {
        match self.child.wait().await {
            Ok(status) => {
                self.reaped();
                // The same moment however often this is called again.
                let until = Instant::now() + LAST_OUTPUT_WITHIN;
                let until = *self.last_output_until.get_or_insert(until);
                let _ = timeout_at(until.into(), self.output.ended()).await;
                self.end(status)
            }
            Err(error) => End {
                cause: Cause::Crashed,
                text: format!("cannot be waited for: {error}"),
            },
        }
    }

    /// How the process ended, if it has; does not wait, not for the last of its output either.
    pub fn has_ended(&mut self) -> Option<End> {
        let status = self.child.try_wait().ok().flatten()?;
        self.reaped();
        Some(self.end(status))
    }

    /// Asks the process to leave (SIGINT), kills it if it does not within [`LEAVE_WITHIN`], and waits until it is
    /// gone. Returns how it ended where that was not our doing. One that was asked has left as asked, with whatever
    /// status. The kernel may need a moment more to detach the scheduler, for which `switch::stop` waits.
    ///
    /// # Errors
    /// When even killing it does not end it within [`GONE_WITHIN`].
    pub async fn stop(&mut self) -> Result<Option<End>, String> {
        self.stop_within(LEAVE_WITHIN).await
    }

    /// The same for a scheduler that still loads.
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

    /// Waits until what the process started has left as well: a shell may not wait for the scheduler that it runs,
    /// which has still to put back what it changed.
    async fn others_leave(&self, until: tokio::time::Instant) {
        let others_are_there = || match (&self.cgroup, i32::try_from(self.pid)) {
            (Some(cgroup), _) => !cgroup.processes().is_empty(),
            (None, Ok(group)) => killpg(Pid::from_raw(group), None).is_ok(),
            (None, Err(_)) => false,
        };
        while others_are_there() && tokio::time::Instant::now() < until {
            tokio::time::sleep(CHECK_OTHERS_EVERY).await;
        }
    }

    /// Called when the process was waited for: it is not registered any more, and what it started is killed.
    fn reaped(&mut self) {
        self.guard = None;
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
        if let Some(group) = self.group() {
            // It may have ended by itself a moment ago.
            let _ = killpg(group, signal);
            if let Some(cgroup) = &self.cgroup {
                cgroup.signal_outside_group(group.as_raw(), signal);
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
        exit_reason::end(status, &self.output.last_lines(), out_of_memory)
    }
}

impl Drop for SchedulerProcess {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::cgroup::Cgroups;

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
            SchedulerProcess::start(&scheduler, &ProcessRegistry::default(), &Cgroups::of(None))
                .unwrap();
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
