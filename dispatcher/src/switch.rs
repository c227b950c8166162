//! Making the kernel run another scheduler.
//!
//! The one place that knows the order of the steps. What comes in is what runs and what is to run; what
//! goes out is what runs then, as the kernel says.
//!
//! - **Hot**: the new scheduler is loaded and verified while the old one runs, and held at the door of
//!   attaching by its gate. Only then the old one is stopped; whatever fails before leaves it untouched.
//!   If CPUs came or went meanwhile, it is loaded again before.
//! - **Cold**, where there can be no gate: the old one is stopped, then the new one is started.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use tokio::sync::watch;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{sleep, timeout};

use crate::cgroup::Cgroups;
use crate::children::{Children, is_of};
use crate::core::Fault;
use crate::foreign::Holder;
use crate::gate::{Event, Gate, GateError, Pending};
use crate::idle_latency::{IdleLatency, Marks};
use crate::kernel::{KernelState, SchedExt};
use crate::policy::{Candidate, Scheduler};
use crate::priority::Hurry;
use crate::scheduler_process::{SchedulerProcess, StartError};

/// How long a scheduler may take to load. scx_lavd needs 17 s in an emulated machine, and twice that
/// when the machine is loaded.
pub(crate) const LOAD_WITHIN: Duration = Duration::from_secs(90);
/// How long one that is loaded may take to be enabled; in an emulated machine it is a second.
const ATTACH_WITHIN: Duration = Duration::from_secs(15);
/// How long the kernel may take to let go of a scheduler that was asked to leave.
const DISABLE_WITHIN: Duration = Duration::from_secs(20);
/// How often a scheduler is loaded at most, when CPUs come or go meanwhile.
const LOADS: usize = 3;
const POLL: Duration = Duration::from_millis(5);

/// How a switch ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The scheduler of ours that runs now.
    pub(crate) running: Option<SchedulerProcess>,
    /// The old scheduler, and how it ended by itself instead of being stopped.
    pub(crate) crashed: Option<(Scheduler, String)>,
    /// What was to run.
    pub(crate) to: Candidate,
    /// What was done, or why `to` does not run.
    pub(crate) result: Result<Done, Failure>,
}

/// A switch that was made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Done {
    /// Microseconds in which the kernel said `disabled` between two schedulers of ours; 0 when one of
    /// the two is the kernel's own.
    pub(crate) gap_us: u64,
    /// Why it could not be a hot one.
    pub(crate) cold_because: Option<String>,
}

/// Why a switch came to nothing, and whose fault that is.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: String,
    pub(crate) fault: Fault,
}

impl Failure {
    fn of(fault: Fault, error: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            fault,
        }
    }
}

/// A switch to be made.
pub(crate) struct Switch {
    pub(crate) sched_ext: SchedExt,
    pub(crate) children: Children,
    pub(crate) cgroups: Cgroups,
    /// What is to run.
    pub(crate) to: Candidate,
    /// A scheduler that is not ours is asked to leave for it.
    pub(crate) replace_foreign: bool,
    /// How long it may take to load; [`LOAD_WITHIN`] but in tests.
    pub(crate) load_within: Duration,
}

impl Switch {
    /// Makes it, from `running`, the scheduler of ours that runs. When `cancel` becomes true before
    /// the old scheduler was asked to leave, what is being loaded is stopped and the old one stays.
    pub(crate) async fn make(
        self,
        running: Option<SchedulerProcess>,
        mut cancel: watch::Receiver<bool>,
    ) -> Outcome {
        let mut seat = Seat {
            sched_ext: self.sched_ext,
            old: running,
            replace_foreign: self.replace_foreign,
            cgroups: self.cgroups,
            load_within: self.load_within,
            leaving: None,
            died: None,
            idle_latency: IdleLatency::default(),
        };
        let to = self.to;
        let (new, result) = match &to {
            Candidate::Kernel => (None, seat.free().await.map(|_| Done::hot(0))),
            Candidate::Scheduler(scheduler) => {
                match seat.fill(&self.children, scheduler, &mut cancel).await {
                    Ok((new, done)) => (Some(new), Ok(done)),
                    Err((new, failure)) => (new, Err(failure)),
                }
            }
        };
        let crashed = seat.reap(new.as_ref()).await;
        Outcome {
            running: new.or(seat.old),
            crashed,
            to,
            result,
        }
    }
}

impl Done {
    fn hot(gap_us: u64) -> Self {
        Self {
            gap_us,
            cold_because: None,
        }
    }

    fn cold(gap_us: u64, why: String) -> Self {
        Self {
            gap_us,
            cold_because: Some(why),
        }
    }
}

/// What the kernel runs of ours: one scheduler, or none.
struct Seat {
    sched_ext: SchedExt,
    old: Option<SchedulerProcess>,
    replace_foreign: bool,
    cgroups: Cgroups,
    load_within: Duration,
    /// The old one when the kernel has let go of it and its process may still have to end.
    leaving: Option<JoinHandle<(SchedulerProcess, Stopped)>>,
    /// The old one when it ended by itself while the new one was loading.
    died: Option<Died>,
    idle_latency: IdleLatency,
}

/// A scheduler that ended by itself: which, how, and when that was noticed.
struct Died {
    scheduler: Scheduler,
    marks: Marks,
    how: String,
    at: Instant,
}

/// How a process ended when that was not our doing, or that it does not end.
type Stopped = Result<Option<String>, String>;

/// A new scheduler that does not run, with what is left of it.
type NotFilled = (Option<SchedulerProcess>, Failure);

impl Seat {
    /// Brings `scheduler` in, the hot way if that can be.
    async fn fill(
        &mut self,
        children: &Children,
        scheduler: &Scheduler,
        cancel: &mut watch::Receiver<bool>,
    ) -> Result<(SchedulerProcess, Done), NotFilled> {
        for _ in 0..LOADS {
            let why = match self.fill_hot(children, scheduler, cancel).await {
                Ok((new, gap_us)) => return Ok((new, Done::hot(gap_us))),
                Err(NotHot::Failed(not_filled)) => return Err(*not_filled),
                Err(NotHot::Outdated) => {
                    let scheduler = &scheduler.name;
                    tracing::info!(scheduler, "a CPU came or went; loading it again");
                    continue;
                }
                Err(NotHot::NoGate(why)) => why,
            };
            let (new, gap_us) = self.fill_cold(children, scheduler, cancel).await?;
            return Ok((new, Done::cold(gap_us, why)));
        }
        let error = "CPUs come and go faster than it loads";
        Err((None, Failure::of(Fault::Nobody, error)))
    }

    /// Loads `scheduler` behind a gate, and lets it in. Returns the gap in microseconds.
    async fn fill_hot(
        &mut self,
        children: &Children,
        scheduler: &Scheduler,
        cancel: &mut watch::Receiver<bool>,
    ) -> Result<(SchedulerProcess, u64), NotHot> {
        let marks = self.marks();
        let hotplugs = self.sched_ext.hotplug_seq();
        let (mut new, mut gate) =
            match SchedulerProcess::start_gated(scheduler, children, &self.cgroups) {
                Ok(started) => started,
                Err(StartError::Gate(error @ GateError::Unsupported { .. })) => {
                    return Err(NotHot::NoGate(error.to_string()));
                }
                Err(error) => {
                    let failure = Failure::of(Fault::New, error.to_string());
                    return Err(NotHot::failed(None, failure));
                }
            };
        new.marks = marks;
        let not_through = match self
            .fill_through(&mut new, &mut gate, scheduler, hotplugs, cancel)
            .await
        {
            Ok(gap_us) => {
                new.take_your_time();
                tokio::spawn(serve(gate, scheduler.name.clone()));
                return Ok((new, gap_us));
            }
            Err(not_through) => not_through,
        };
        let ended = end(&mut new, &mut gate).await;
        if ended.is_ok() {
            self.forget(new.marks.clone());
        }
        Err(match (not_through, ended) {
            (NotThrough::NoGate(why), Ok(())) => NotHot::NoGate(why),
            (NotThrough::Outdated, Ok(())) => NotHot::Outdated,
            (NotThrough::Failed(failure), Ok(())) => NotHot::failed(None, failure),
            (NotThrough::NoGate(_) | NotThrough::Outdated, Err(error)) => {
                NotHot::failed(None, Failure::of(Fault::New, error))
            }
            (NotThrough::Failed(failure), Err(error)) => {
                let error = format!("{}; then {error}", failure.error);
                // What ran before, if it still does, is what the kernel has.
                let left = self.old.is_none().then_some(new);
                NotHot::failed(left, Failure { error, ..failure })
            }
        })
    }

    /// Loads `new`, frees the seat, lets it in and asks the kernel. Returns the gap in microseconds.
    async fn fill_through(
        &mut self,
        new: &mut SchedulerProcess,
        gate: &mut Gate,
        scheduler: &Scheduler,
        hotplugs: Option<u64>,
        cancel: &mut watch::Receiver<bool>,
    ) -> Result<u64, NotThrough> {
        let pending = self
            .while_loading(loaded(new, gate, self.load_within, cancel))
            .await?;
        if self.sched_ext.hotplug_seq() != hotplugs {
            let _ = gate.refuse(pending, Errno::ECANCELED);
            return Err(NotThrough::Outdated);
        }
        self.idle_latency.loaded(&mut new.marks);
        new.hurry();
        let _hurry = Hurry::begin();
        let disabled_at = {
            let freed = self.free();
            tokio::pin!(freed);
            // Others of its threads may open files.
            tokio::select! {
                freed = &mut freed => freed,
                () = turn_away(gate) => freed.await,
            }
        };
        let enabled_before = self.sched_ext.enable_seq();
        let disabled_at = match disabled_at {
            Ok(at) if self.sched_ext.read() == KernelState::Disabled => at,
            not_free => {
                // Its thread hears no signal while it stands at the door.
                let _ = gate.refuse(pending, Errno::ECANCELED);
                let state = self.sched_ext.read().scheduler();
                let failure = not_free
                    .err()
                    .unwrap_or_else(|| Failure::of(Fault::Nobody, format!("`{state}` was faster")));
                return Err(failure.into());
            }
        };
        gate.open(pending)
            .map_err(|error| Failure::of(Fault::New, error.to_string()))?;
        let confirmed = confirmed(&self.sched_ext, scheduler, enabled_before, ATTACH_WITHIN);
        let seated = async {
            tokio::select! {
                seated = confirmed => seated,
                () = turn_away(gate) => Err(Failure::of(Fault::New, "its gate broke")),
            }
        };
        let left_disabled = tokio::select! {
            seated = seated => seated?,
            how = new.ended() => return Err(Failure::of(Fault::New, how).into()),
        };
        if let Some(how) = new.has_ended() {
            return Err(Failure::of(Fault::New, how).into());
        }
        Ok(disabled_at.map_or(0, |at| {
            microseconds(left_disabled.saturating_duration_since(at))
        }))
    }

    /// Stops the old scheduler, then starts `scheduler` without a gate.
    async fn fill_cold(
        &mut self,
        children: &Children,
        scheduler: &Scheduler,
        cancel: &mut watch::Receiver<bool>,
    ) -> Result<(SchedulerProcess, u64), NotFilled> {
        if *cancel.borrow() {
            return Err((None, Failure::of(Fault::Cancelled, "called off")));
        }
        let disabled_at = self.free().await.map_err(|failure| (None, failure))?;
        if self.sched_ext.read() != KernelState::Disabled {
            let state = self.sched_ext.read().scheduler();
            return Err((
                None,
                Failure::of(Fault::Nobody, format!("`{state}` was faster")),
            ));
        }
        let enabled_before = self.sched_ext.enable_seq();
        let marks = self.marks();
        let mut new = SchedulerProcess::start(scheduler, children, &self.cgroups)
            .map_err(|error| (None, Failure::of(Fault::New, error.to_string())))?;
        new.marks = marks;
        let result = tokio::select! {
            seated = confirmed(&self.sched_ext, scheduler, enabled_before, self.load_within) => seated,
            how = new.ended() => Err(Failure::of(Fault::New, how)),
            // The old one has left already, so this counts like any failure.
            () = cancelled(cancel) => Err(Failure::of(Fault::Nobody, "called off")),
        };
        match result {
            Ok(left) => {
                self.idle_latency.loaded(&mut new.marks);
                let gap =
                    disabled_at.map_or(Duration::ZERO, |at| left.saturating_duration_since(at));
                Ok((new, microseconds(gap)))
            }
            Err(failure) => match new.stop().await {
                Ok(_) => {
                    self.forget(new.marks.clone());
                    Err((None, failure))
                }
                Err(error) => {
                    let error = format!("{}; then {error}", failure.error);
                    Err((Some(new), Failure { error, ..failure }))
                }
            },
        }
    }

    /// Stops the old scheduler and waits until the kernel has let go of it. Returns the first moment
    /// in which the kernel said so; `None` when there was no old one.
    async fn free(&mut self) -> Result<Option<Instant>, Failure> {
        let Some(mut old) = self.old.take() else {
            settled(&self.sched_ext).await?;
            return match self.sched_ext.read() {
                KernelState::Enabled { ops } if self.replace_foreign => {
                    self.free_of_foreign(&ops).await.map(Some)
                }
                _ => Ok(self.died.as_ref().map(|died| died.at)),
            };
        };
        let scheduler = old.scheduler().clone();
        let listed = old.take_listing();
        old.hurry();
        let leaving = tokio::spawn(async move {
            let stopped = old.stop().await;
            (old, stopped)
        });
        // The seat is free when the kernel says so; what the process has still to do is its own
        // matter.
        let let_go = let_go(&self.sched_ext, &scheduler).await;
        match let_go {
            Ok(at) => {
                drop(listed);
                self.leaving = Some(leaving);
                Ok(Some(at))
            }
            Err(error) => {
                let (mut old, _) = joined(leaving).await;
                old.list_again(listed);
                self.old = Some(old);
                let name = &scheduler.name;
                Err(Failure::of(
                    Fault::Old,
                    format!("{name} could not be stopped: {error}"),
                ))
            }
        }
    }

    /// Has the scheduler called `ops`, which is not ours, leave.
    async fn free_of_foreign(&self, ops: &str) -> Result<Instant, Failure> {
        let asked = match Holder::find("/proc".as_ref()) {
            Ok(holder) => holder.ask_to_leave().await,
            Err(error) => Err(error),
        };
        let failed = |why: String| Failure::of(Fault::Nobody, format!("`{ops}` stays: {why}"));
        asked.map_err(|error| failed(error.to_string()))?;
        let begun = Instant::now();
        loop {
            match self.sched_ext.read() {
                KernelState::Disabled => return Ok(Instant::now()),
                state if begun.elapsed() >= DISABLE_WITHIN => {
                    return Err(failed(format!("the kernel still says {state:?}")));
                }
                KernelState::Disabling => give_way().await,
                _ => sleep(Duration::from_millis(1)).await,
            }
        }
    }

    /// Waits for `loaded`, and notices when the old scheduler ends by itself meanwhile.
    async fn while_loading<T>(&mut self, loaded: impl Future<Output = T>) -> T {
        tokio::pin!(loaded);
        if let Some(old) = &mut self.old {
            tokio::select! {
                loaded = &mut loaded => return loaded,
                how = old.ended() => {
                    self.died = Some(Died {
                        scheduler: old.scheduler().clone(),
                        marks: old.marks.clone(),
                        how,
                        at: Instant::now(),
                    });
                    self.old = None;
                }
            }
        }
        loaded.await
    }

    /// Waits for the end of the old scheduler's process, puts right what it left behind beside
    /// `new`, and returns how it ended if by itself.
    async fn reap(&mut self, new: Option<&SchedulerProcess>) -> Option<(Scheduler, String)> {
        let new = new.map(|new| &new.marks);
        if let Some(died) = self.died.take() {
            self.idle_latency.ended(&died.marks, new);
            return Some((died.scheduler, died.how));
        }
        let (old, stopped) = joined(self.leaving.take()?).await;
        self.idle_latency.ended(&old.marks, new);
        let scheduler = old.scheduler().clone();
        match stopped {
            Ok(how) => how.map(|how| (scheduler, how)),
            Err(error) => {
                // Its seat is free all the same, and an empty seat is worse than a stuck process.
                let name = &scheduler.name;
                tracing::error!(scheduler = name, "{name} is left behind: {error}");
                None
            }
        }
    }

    /// What `new` is to be remembered by when it is started now.
    fn marks(&self) -> Marks {
        let before = self.old.as_ref().map(|old| &old.marks);
        self.idle_latency.starts(before)
    }

    /// Puts right what `new`, which has failed and ended, left behind.
    fn forget(&self, mut marks: Marks) {
        self.idle_latency.loaded(&mut marks);
        let old = self.old.as_ref().map(|old| &old.marks);
        self.idle_latency.ended(&marks, old);
    }
}

async fn joined(leaving: JoinHandle<(SchedulerProcess, Stopped)>) -> (SchedulerProcess, Stopped) {
    leaving
        .await
        .expect("stopping neither panics nor is aborted")
}

/// Why a scheduler was not brought in the hot way.
enum NotHot {
    /// There can be no gate here.
    NoGate(String),
    /// CPUs are not what they were when it was started. The kernel would not take it, and it would load
    /// itself again in an empty seat.
    Outdated,
    /// It failed, or had to be turned away.
    Failed(Box<NotFilled>),
}

impl NotHot {
    fn failed(left: Option<SchedulerProcess>, failure: Failure) -> Self {
        Self::Failed(Box::new((left, failure)))
    }
}

/// The same, with its process still to be ended.
enum NotThrough {
    NoGate(String),
    Outdated,
    Failed(Failure),
}

impl From<Failure> for NotThrough {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Waits until `new` stands at the door, loaded and verified.
async fn loaded(
    new: &mut SchedulerProcess,
    gate: &mut Gate,
    within: Duration,
    cancel: &mut watch::Receiver<bool>,
) -> Result<Pending, NotThrough> {
    let limit = humantime::format_duration(within);
    tokio::select! {
        event = gate.next() => match event {
            Ok(Event::AtTheDoor(pending)) => Ok(pending),
            Ok(Event::Gone) => Err(Failure::of(Fault::New, new.ended().await).into()),
            Err(error @ GateError::Unsupported { .. }) => {
                Err(NotThrough::NoGate(error.to_string()))
            }
            Err(error) => Err(Failure::of(Fault::New, error.to_string()).into()),
        },
        how = new.ended() => Err(Failure::of(Fault::New, how).into()),
        () = sleep(within) => {
            Err(Failure::of(Fault::New, format!("not loaded {limit} after its start")).into())
        }
        () = cancelled(cancel) => Err(Failure::of(Fault::Cancelled, "called off").into()),
    }
}

/// Ends a scheduler that is not to get in, or not to stay.
async fn end(new: &mut SchedulerProcess, gate: &mut Gate) -> Result<(), String> {
    let loads = !gate.is_open();
    let stopped = async {
        if loads {
            new.stop_loading().await
        } else {
            new.stop().await.map(drop)
        }
    };
    tokio::pin!(stopped);
    tokio::select! {
        stopped = &mut stopped => stopped,
        // Its threads may hang in calls that nobody answers any more, until they are killed.
        () = turn_away(gate) => stopped.await,
    }
}

/// Serves a gate; who comes to its door while it is closed is turned away. Ends only if the gate breaks.
async fn turn_away(gate: &mut Gate) {
    loop {
        match gate.next().await {
            Ok(Event::AtTheDoor(pending)) => {
                let _ = gate.refuse(pending, Errno::ECANCELED);
            }
            // The process itself is watched elsewhere.
            Ok(Event::Gone) => std::future::pending().await,
            Err(error) => {
                tracing::warn!("a scheduler's gate: {error}");
                return;
            }
        }
    }
}

/// Serves the gate of a scheduler that went through for as long as its process lives: its filter
/// asks whenever it opens a file.
async fn serve(mut gate: Gate, scheduler: String) {
    loop {
        match gate.next().await {
            // Nobody is held up at an open gate.
            Ok(Event::AtTheDoor(_)) => {}
            Ok(Event::Gone) => return,
            Err(error) => {
                tracing::warn!(scheduler, "the gate of {scheduler}: {error}");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Lets our other tasks go on, and then whoever waits for this CPU: the scheduler that was let in is
/// mostly woken here.
async fn give_way() {
    yield_now().await;
    std::thread::yield_now();
}

/// Waits until the kernel has let go of `old`, which was asked to leave, and returns the first moment
/// in which it said so.
async fn let_go(sched_ext: &SchedExt, old: &Scheduler) -> Result<Instant, String> {
    let enabled = sched_ext.enable_seq();
    let begun = Instant::now();
    loop {
        match sched_ext.read() {
            KernelState::Disabled | KernelState::Unsupported => return Ok(Instant::now()),
            // Somebody else took the seat at once.
            KernelState::Enabled { ops }
                if !is_of(&ops, old) || sched_ext.enable_seq() != enabled =>
            {
                return Ok(Instant::now());
            }
            state if begun.elapsed() >= DISABLE_WITHIN => {
                return Err(format!("the kernel still says {state:?}"));
            }
            // The last milliseconds: every one of them is one without a scheduler.
            KernelState::Disabling if begun.elapsed() < Duration::from_secs(1) => give_way().await,
            _ => sleep(Duration::from_millis(1)).await,
        }
    }
}

/// Waits until the kernel has no scheduler, and is not about to have one or to lose one.
async fn settled(sched_ext: &SchedExt) -> Result<(), Failure> {
    let settled = async {
        while matches!(
            sched_ext.read(),
            KernelState::Enabling | KernelState::Disabling
        ) {
            sleep(POLL).await;
        }
    };
    timeout(DISABLE_WITHIN, settled)
        .await
        .map_err(|_| Failure::of(Fault::Nobody, "the kernel is busy with another scheduler"))
}

/// Waits until the kernel says that `scheduler` is enabled, as the first since `enabled_before`, and
/// returns the moment in which it first said something other than `disabled`.
async fn confirmed(
    sched_ext: &SchedExt,
    scheduler: &Scheduler,
    enabled_before: Option<u64>,
    within: Duration,
) -> Result<Instant, Failure> {
    let begun = Instant::now();
    let mut left_disabled = None;
    loop {
        let state = sched_ext.read();
        if state != KernelState::Disabled {
            left_disabled.get_or_insert_with(Instant::now);
        }
        match &state {
            KernelState::Enabled { ops } if is_of(ops, scheduler) => {
                // The kernel counts a moment after it says `enabled`.
                let more = sched_ext.enable_seq().zip(enabled_before);
                match more.map(|(now, before)| now.wrapping_sub(before)) {
                    Some(0) if begun.elapsed() < within => sleep(POLL).await,
                    Some(0 | 1) | None => return Ok(left_disabled.unwrap_or_else(Instant::now)),
                    Some(_) => {
                        let error = format!("`{ops}` is enabled, but it is not the first since");
                        return Err(Failure::of(Fault::Nobody, error));
                    }
                }
            }
            KernelState::Enabled { ops } => {
                let error = format!("another scheduler, `{ops}`, was faster");
                return Err(Failure::of(Fault::Nobody, error));
            }
            _ if begun.elapsed() >= within => {
                let limit = humantime::format_duration(within);
                let error = format!("not enabled {limit} after it could have been");
                return Err(Failure::of(Fault::New, error));
            }
            // Right after the door this is a matter of microseconds.
            _ if begun.elapsed() < Duration::from_millis(20) => give_way().await,
            _ => sleep(POLL).await,
        }
    }
}

/// Ends a scheduler of ours and waits until the kernel has let go of it.
pub(crate) async fn stop(
    sched_ext: &SchedExt,
    process: &mut SchedulerProcess,
) -> Result<(), String> {
    let scheduler = process.scheduler().clone();
    let (stopped, let_go) = tokio::join!(process.stop(), let_go(sched_ext, &scheduler));
    IdleLatency::default().ended(&process.marks, None);
    stopped?;
    let_go.map(drop)
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

async fn cancelled(cancel: &mut watch::Receiver<bool>) {
    if cancel.wait_for(|cancelled| *cancelled).await.is_err() {
        // Nobody is left who could cancel.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests;
