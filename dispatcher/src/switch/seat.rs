//! The seat in the kernel: freeing it of the old scheduler and bringing the new one in, the hot way or the
//! cold, step by step.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::door::{NotThrough, cancelled, end, loaded, serve, turn_away};
use super::handover::{Handover, hand_over};
use super::wait::{DISABLE_WITHIN, confirmed, settled};
use super::{Done, Failure};
use crate::cgroup::Cgroups;
use crate::children::{Children, Listed};
use crate::clock::microseconds;
use crate::core::{Cause, End, Fault};
use crate::foreign::Holder;
use crate::gate::{Gate, GateError, Opener};
use crate::idle_latency::{IdleLatency, Marks};
use crate::kernel::{KernelState, SchedExt};
use crate::policy::Scheduler;
use crate::priority::First;
use crate::scheduler_process::{SchedulerProcess, StartError};
use crate::struct_ops;

/// How long one that is loaded may take to be enabled; in an emulated machine it is a second.
pub(super) const ATTACH_WITHIN: Duration = Duration::from_secs(15);
/// How often a scheduler is loaded at most, when CPUs come or go meanwhile.
const LOADS: usize = 3;

/// What the kernel runs of ours: one scheduler, or none.
pub(super) struct Seat {
    sched_ext: SchedExt,
    children: Children,
    old: Option<SchedulerProcess>,
    replace_foreign: bool,
    cgroups: Cgroups,
    load_within: Duration,
    disable_within: Duration,
    /// The old one when the kernel has let go of it and its process may still have to end.
    leaving: Option<JoinHandle<(SchedulerProcess, Stopped)>>,
    /// The old one when it ended by itself while the new one was loading.
    died: Option<Died>,
    idle_latency: IdleLatency,
}

/// The seat, which was freed.
pub(super) struct Freed {
    /// Since when the kernel has no scheduler; `None` when there was none before.
    at: Option<Instant>,
    /// When the kernel was seen to take the one that was let in.
    taken: Option<Instant>,
    /// One was let in.
    let_in: bool,
}

/// A scheduler that ended by itself: which, how, and when that was noticed.
struct Died {
    scheduler: Scheduler,
    marks: Marks,
    end: End,
    at: Instant,
    /// The kernel had let go of it.
    seat_is_free: bool,
}

/// How a process ended when that was not our doing, or that it does not end.
type Stopped = Result<Option<End>, String>;

/// A new scheduler that does not run, with what is left of it.
pub(super) type NotFilled = (Option<SchedulerProcess>, Failure);

impl Seat {
    pub(super) fn new(
        sched_ext: SchedExt,
        children: Children,
        old: Option<SchedulerProcess>,
        cgroups: Cgroups,
        replace_foreign: bool,
        [load_within, disable_within]: [Duration; 2],
    ) -> Self {
        Self {
            sched_ext,
            children,
            old,
            replace_foreign,
            cgroups,
            load_within,
            disable_within,
            leaving: None,
            died: None,
            idle_latency: IdleLatency::default(),
        }
    }

    /// The old scheduler, if it still runs.
    pub(super) fn into_old(self) -> Option<SchedulerProcess> {
        self.old
    }

    /// Whether the old scheduler ended by itself, and the kernel had none for a while.
    pub(super) fn old_has_died(&self) -> bool {
        self.died.as_ref().is_some_and(|died| died.seat_is_free)
    }

    /// Brings `scheduler` in, the hot way if that can be.
    pub(super) async fn fill(
        &mut self,
        scheduler: &Scheduler,
        cancel: &mut watch::Receiver<bool>,
    ) -> Result<(SchedulerProcess, Done), NotFilled> {
        for _ in 0..LOADS {
            let why = match self.fill_hot(scheduler, cancel).await {
                Ok((new, gap_us)) => return Ok((new, Done::hot(gap_us))),
                Err(NotHot::Failed(not_filled)) => return Err(*not_filled),
                Err(NotHot::Outdated) => {
                    let scheduler = &scheduler.name;
                    tracing::info!(scheduler, "a CPU came or went; loading it again");
                    continue;
                }
                Err(NotHot::NoGate(why)) => why,
            };
            let (new, gap_us) = self.fill_cold(scheduler, cancel).await?;
            return Ok((new, Done::cold(gap_us, why)));
        }
        let error = "CPUs come and go faster than it loads";
        Err((None, Failure::of(Fault::Nobody, error)))
    }

    /// Loads `scheduler` behind a gate, and lets it in. Returns the gap in microseconds.
    async fn fill_hot(
        &mut self,
        scheduler: &Scheduler,
        cancel: &mut watch::Receiver<bool>,
    ) -> Result<(SchedulerProcess, u64), NotHot> {
        let marks = self.marks();
        let hotplugs = self.sched_ext.hotplug_seq();
        let (mut new, mut gate) = match SchedulerProcess::start_gated(scheduler, &self.cgroups) {
            Ok(started) => started,
            Err(StartError::Gate(error @ GateError::Unsupported { .. })) => {
                return Err(NotHot::NoGate(error.to_string()));
            }
            Err(error) => {
                let failure = Failure::of(Fault::New(Cause::NotLoaded), error.to_string());
                return Err(NotHot::failed(None, failure));
            }
        };
        new.marks = marks;
        let not_through = match self
            .fill_through(&mut new, &mut gate, hotplugs, cancel)
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
                NotHot::failed(None, Failure::of(Fault::New(Cause::Stuck), error))
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
        let _first = First::of(pending.thread());
        new.list(&self.children);
        let opener = gate
            .opener(&pending)
            .map_err(|error| Failure::of(Fault::Nobody, error.to_string()))?;
        let enabled_before = self.sched_ext.enable_seq();
        let freed = {
            let freed = self.free(Some(opener));
            tokio::pin!(freed);
            // Others of its threads may open files.
            tokio::select! {
                freed = &mut freed => freed,
                () = turn_away(gate) => freed.await,
            }
        };
        let freed = match freed {
            Ok(freed) if freed.let_in => freed,
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
        let child = new.pid();
        let confirmed = confirmed(
            &self.sched_ext,
            &self.children,
            child,
            enabled_before,
            ATTACH_WITHIN,
        );
        let seated = async {
            tokio::select! {
                seated = confirmed => seated,
                () = turn_away(gate) => Err(Failure::of(Fault::New(Cause::NotLoaded), "its gate broke")),
            }
        };
        let left_disabled = tokio::select! {
            seated = seated => seated?,
            end = new.ended() => return Err(Failure::ended(end).into()),
        };
        if let Some(end) = new.has_ended() {
            return Err(Failure::ended(end).into());
        }
        let taken = freed.taken.unwrap_or(left_disabled);
        Ok(freed
            .at
            .map_or(0, |at| microseconds(taken.saturating_duration_since(at))))
    }

    /// Stops the old scheduler, then starts `scheduler` without a gate.
    async fn fill_cold(
        &mut self,
        scheduler: &Scheduler,
        cancel: &mut watch::Receiver<bool>,
    ) -> Result<(SchedulerProcess, u64), NotFilled> {
        if *cancel.borrow() {
            return Err((None, Failure::of(Fault::Cancelled, "called off")));
        }
        let freed = self.free(None).await.map_err(|failure| (None, failure))?;
        if self.sched_ext.read() != KernelState::Disabled {
            let state = self.sched_ext.read().scheduler();
            return Err((
                None,
                Failure::of(Fault::Nobody, format!("`{state}` was faster")),
            ));
        }
        let enabled_before = self.sched_ext.enable_seq();
        let marks = self.marks();
        let mut new =
            SchedulerProcess::start(scheduler, &self.children, &self.cgroups).map_err(|error| {
                let fault = Fault::New(Cause::NotLoaded);
                (None, Failure::of(fault, error.to_string()))
            })?;
        new.marks = marks;
        let child = new.pid();
        let result = tokio::select! {
            seated = confirmed(&self.sched_ext, &self.children, child, enabled_before, self.load_within) => seated,
            end = new.ended() => Err(Failure::not_loaded(end)),
            // The old one has left already, so this counts like any failure.
            () = cancelled(cancel) => Err(Failure::of(Fault::Nobody, "called off")),
        };
        match result {
            Ok(left) => {
                self.idle_latency.loaded(&mut new.marks);
                let gap = freed
                    .at
                    .map_or(Duration::ZERO, |at| left.saturating_duration_since(at));
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

    /// Stops the old scheduler, waits until the kernel has let go of it, and then lets in whoever stands
    /// at the door.
    pub(super) async fn free(&mut self, opener: Option<Opener>) -> Result<Freed, Failure> {
        let Some(mut old) = self.old.take() else {
            return self.take_free_seat(opener).await;
        };
        let child = old.pid();
        let listed = old.take_listing();
        old.hurry();
        let leaving = tokio::spawn(async move {
            let stopped = old.stop().await;
            (old, stopped)
        });
        // The seat is free when the kernel says so; what the process has still to do is its own
        // matter.
        let let_in = opener.is_some();
        let children = self.children.clone();
        let handover = hand_over(
            self.sched_ext.clone(),
            children,
            child,
            opener,
            self.disable_within,
        )
        .await;
        let freed = match handover {
            Handover::Freed { at, taken } => Ok(Freed {
                at: Some(at),
                taken,
                let_in,
            }),
            Handover::Lost { at } => Ok(Freed {
                at: Some(at),
                taken: None,
                let_in: false,
            }),
            Handover::Shut(error) => Err(Failure::of(Fault::Nobody, error.to_string())),
            Handover::Kept(state) => {
                let (old, stopped) = joined(leaving).await;
                return Err(self.kept(old, &stopped, listed, &state));
            }
        };
        drop(listed);
        self.leaving = Some(leaving);
        freed
    }

    /// Takes note that the kernel has not let go of `old` although that was asked to leave, and killed.
    fn kept(
        &mut self,
        mut old: SchedulerProcess,
        stopped: &Stopped,
        listed: Option<Listed>,
        state: &KernelState,
    ) -> Failure {
        let name = old.scheduler().name.clone();
        let error = format!("{name} could not be stopped: the kernel still says {state:?}");
        if stopped.is_err() {
            old.list_again(listed);
            old.take_your_time();
            self.old = Some(old);
        } else {
            // What has no process runs no more: the kernel is only not done with it.
            let within = humantime::format_duration(self.disable_within);
            self.died = Some(Died {
                scheduler: old.scheduler().clone(),
                marks: old.marks.clone(),
                end: End {
                    cause: Cause::Stuck,
                    text: format!("it left, but the kernel did not let go of it within {within}"),
                },
                at: Instant::now(),
                seat_is_free: false,
            });
        }
        Failure::of(Fault::Old, error)
    }

    /// The same where no scheduler of ours runs.
    async fn take_free_seat(&self, opener: Option<Opener>) -> Result<Freed, Failure> {
        settled(&self.sched_ext).await?;
        let at = match self.sched_ext.read() {
            KernelState::Enabled { ops } if self.replace_foreign => {
                Some(self.free_of_foreign(&ops).await?)
            }
            _ => self.died.as_ref().map(|died| died.at),
        };
        let mut let_in = false;
        if let Some(opener) = opener
            && self.sched_ext.read() == KernelState::Disabled
        {
            opener
                .open()
                .map_err(|error| Failure::of(Fault::Nobody, error.to_string()))?;
            let_in = true;
        }
        Ok(Freed {
            at,
            taken: None,
            let_in,
        })
    }

    /// Has the scheduler called `ops`, which is not ours, leave.
    async fn free_of_foreign(&self, ops: &str) -> Result<Instant, Failure> {
        let asked = match Holder::find("/proc".as_ref(), ops, struct_ops::ask) {
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
                end = old.ended() => {
                    self.died = Some(Died {
                        scheduler: old.scheduler().clone(),
                        marks: old.marks.clone(),
                        end,
                        at: Instant::now(),
                        seat_is_free: true,
                    });
                    self.old = None;
                }
            }
        }
        loaded.await
    }

    /// Waits for the end of the old scheduler's process, puts right what it left behind beside
    /// `new`, and returns how it ended if by itself.
    pub(super) async fn reap(
        &mut self,
        new: Option<&SchedulerProcess>,
    ) -> Option<(Scheduler, End)> {
        let new = new.map(|new| &new.marks);
        if let Some(died) = self.died.take() {
            self.idle_latency.ended(&died.marks, new);
            return Some((died.scheduler, died.end));
        }
        let (old, stopped) = joined(self.leaving.take()?).await;
        self.idle_latency.ended(&old.marks, new);
        let scheduler = old.scheduler().clone();
        match stopped {
            Ok(end) => end.map(|end| (scheduler, end)),
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
