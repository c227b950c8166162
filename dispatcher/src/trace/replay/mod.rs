//! What a policy would have done about a trace. Pure: the daemon's own decisions, and a simulated machine that carries
//! them out.
//!
//! In that machine every scheduler that the policy uses is installed, none fails, each takes
//! [`LOAD_TIME`] to load while the one before still runs, or less if the daemon that recorded the trace had it by then, and nobody
//! else starts one. What else the kernel ran when the trace was recorded makes no difference. There are trials only in what the
//! daemon has recorded, and they measure what that did.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use auto_ext_core::{Action, Event, Fault, KernelState, Moment, State, decide};
use auto_ext_policy::{Candidate, Policy};

use super::format::Entry;

/// How long a scheduler takes to load; the way back to the kernel's own takes no time. Between what
/// the small ones need on a fast machine and in an emulated one.
pub const LOAD_TIME: Duration = Duration::from_secs(2);

/// From a moment on, the class, what runs or what should run is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: Moment,
    /// The class of the load.
    pub class: String,
    /// What runs.
    pub runs: Candidate,
    /// What should run.
    pub desired: Candidate,
    /// Why, and why not yet.
    pub reason: String,
}

/// The sums of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// From the beginning to the last entry.
    pub time: Duration,
    /// How many windows there were.
    pub windows: u64,
    /// For how long each class held.
    pub classes: BTreeMap<String, Duration>,
    /// For how long each scheduler ran, by the policy's name for it.
    pub schedulers: BTreeMap<String, Duration>,
    /// How many switches were made, those back to the kernel's own included.
    pub switches: u64,
    /// How many switches were cancelled while the scheduler was loading.
    pub cancelled: u64,
}

/// A simulated machine, as of some entry of a trace.
#[derive(Clone, Debug)]
pub struct Replay<'p> {
    policy: &'p Policy,
    state: State,
    now: Moment,
    runs: Candidate,
    /// What is loading, and until when.
    loading: Option<(Candidate, Moment)>,
    /// The class, what runs and what should run as of the last change.
    noted: (String, Candidate, Candidate),
    changes: Vec<Change>,
    summary: Summary,
}

impl<'p> Replay<'p> {
    /// The beginning of a trace: nothing is measured yet, and the kernel's own scheduler runs.
    #[must_use]
    pub fn new(policy: &'p Policy) -> Self {
        let state = State::new(policy, false);
        let noted = (
            state.class().to_owned(),
            Candidate::Kernel,
            state.desired().clone(),
        );
        let mut replay = Self {
            policy,
            state,
            noted,
            now: Moment::ZERO,
            runs: Candidate::Kernel,
            loading: None,
            changes: Vec::new(),
            summary: Summary::default(),
        };
        let names = policy
            .used_schedulers()
            .map(|scheduler| scheduler.name.clone());
        replay.happens([Event::Installed(names.collect()), replay.kernel()]);
        replay
    }

    /// Applies the next entry, whose time is not before that of the last one. Returns what has changed.
    pub fn apply(&mut self, entry: Entry) -> Vec<Change> {
        let Entry {
            at_us,
            dt_us,
            signals,
            totals: _,
            machine: _,
            scheduler: _,
            processes,
            power,
            profile,
            asleep,
            switched,
            trials,
        } = entry;
        self.pass_time_until(Duration::from_micros(at_us));
        if let Some(name) = switched
            && let Some((to, _)) = self.loading.take_if(|(to, _)| to.name() == name)
        {
            let switched = self.switch(to);
            self.happens(switched);
        }
        if let Some(told) = trials {
            self.happens([told.event()]);
        }
        if let Some(power) = power {
            self.happens([Event::Power(power)]);
        }
        if let Some(profile) = profile {
            self.happens([Event::Profile(profile)]);
        }
        if !processes.is_empty() {
            self.happens([Event::Processes(processes)]);
        }
        match asleep {
            Some(true) => self.happens([Event::FallsAsleep]),
            Some(false) => self.happens([Event::WakesUp]),
            None => {}
        }
        if let (Some(dt_us), Some(signals)) = (dt_us, signals) {
            let dt = Duration::from_micros(dt_us);
            self.happens([Event::Window { dt, signals }]);
            self.summary.windows += 1;
        }
        std::mem::take(&mut self.changes)
    }

    /// What is decided by now.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The sums so far.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Lets time pass, and has what is loading run when it is loaded.
    fn pass_time_until(&mut self, moment: Moment) {
        while let Some((to, loaded_at)) = self.loading.take_if(|(_, at)| *at <= moment) {
            self.advance(loaded_at);
            let switched = self.switch(to);
            self.happens(switched);
        }
        self.advance(moment);
    }

    fn advance(&mut self, moment: Moment) {
        let passed = moment.saturating_sub(self.now);
        self.now += passed;
        let Summary {
            time,
            classes,
            schedulers,
            ..
        } = &mut self.summary;
        *time += passed;
        add(classes, self.state.class(), passed);
        add(schedulers, self.runs.name(), passed);
    }

    /// Has the core decide about events, and carries out the actions.
    fn happens(&mut self, events: impl IntoIterator<Item = Event>) {
        let mut events = VecDeque::from_iter(events);
        while let Some(event) = events.pop_front() {
            let (state, actions) = decide(self.policy, &self.state, event, self.now);
            self.state = state;
            for action in actions {
                match action {
                    Action::Switch {
                        to: Candidate::Kernel,
                        ..
                    } => events.extend(self.switch(Candidate::Kernel)),
                    Action::Switch { to, .. } => self.loading = Some((to, self.now + LOAD_TIME)),
                    Action::Cancel => events.extend(self.cancel()),
                    // What was measured is in the trace, if trials were recorded, and what is found nobody wants to keep.
                    Action::Measure(_)
                    | Action::KeepPair(_)
                    | Action::KeepLearned
                    | Action::TrialEnded(_) => {}
                }
            }
        }
        self.note_change();
    }

    fn switch(&mut self, to: Candidate) -> Vec<Event> {
        self.runs = to.clone();
        self.summary.switches += 1;
        // As in the daemon, the kernel is asked first.
        vec![self.kernel(), Event::Switched { to }]
    }

    fn cancel(&mut self) -> Vec<Event> {
        let Some((to, _)) = self.loading.take() else {
            return Vec::new();
        };
        self.summary.cancelled += 1;
        let left = match &self.runs {
            Candidate::Kernel => None,
            Candidate::Scheduler(scheduler) => Some(scheduler.clone()),
        };
        let failed = Event::SwitchFailed {
            to,
            error: "cancelled".to_owned(),
            fault: Fault::Cancelled,
            left,
        };
        vec![self.kernel(), failed]
    }

    /// What the simulated kernel runs, as an event.
    fn kernel(&self) -> Event {
        match &self.runs {
            Candidate::Kernel => Event::Kernel {
                state: KernelState::Disabled,
                ours: false,
            },
            Candidate::Scheduler(scheduler) => Event::Kernel {
                state: KernelState::Enabled {
                    ops: scheduler.name.clone(),
                },
                ours: true,
            },
        }
    }

    fn note_change(&mut self) {
        let (class, desired) = (self.state.class(), self.state.desired());
        let (noted_class, noted_runs, noted_desired) = &self.noted;
        if noted_class == class && *noted_runs == self.runs && noted_desired == desired {
            return;
        }
        self.noted = (class.to_owned(), self.runs.clone(), desired.clone());
        self.changes.push(Change {
            at: self.now,
            class: class.to_owned(),
            runs: self.runs.clone(),
            desired: desired.clone(),
            reason: self.state.reason(),
        });
    }
}

fn add(times: &mut BTreeMap<String, Duration>, name: &str, time: Duration) {
    if time.is_zero() {
        return;
    }
    match times.get_mut(name) {
        Some(sum) => *sum += time,
        None => drop(times.insert(name.to_owned(), time)),
    }
}

#[cfg(test)]
mod tests;
