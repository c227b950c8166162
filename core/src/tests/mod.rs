//! Tables and properties of the decisions, and the machine that they are about.

use std::collections::BTreeSet;
use std::time::Duration;

use auto_ext_policy::{Candidate, Conditions, Policy, Rule, Scheduler};
use auto_ext_signals::{Level, Signal, Signals};
use auto_ext_trials::{PairRecord, TrialEnd};

use super::*;
use crate::KernelState;

mod arguments;
mod candidates;
mod faults;
mod kernel;
mod leases;
mod loads;
mod people;
mod precedence;
mod properties;
mod switches;
mod trials;

const WINDOW: Duration = Duration::from_millis(250);
const SECOND: Duration = Duration::from_secs(1);

/// Another name of bpfland.
const ALIAS: &str = "fast";

fn scheduler(name: &str) -> Scheduler {
    let program = if name == ALIAS { "bpfland" } else { name };
    Scheduler {
        name: name.into(),
        command: format!("scx_{program}"),
        args: Vec::new(),
    }
}

fn candidates(names: &[&str]) -> Vec<Candidate> {
    names
        .iter()
        .map(|name| match *name {
            "kernel" => Candidate::Kernel,
            name => Candidate::Scheduler(scheduler(name)),
        })
        .collect()
}

/// `net` high: cosmos; `cpu` high: bpfland or flash; else the kernel's own.
fn policy() -> Policy {
    let rule = |class: &str, signal: Option<Signal>, names: &[&str]| Rule {
        class: class.into(),
        when: Conditions {
            levels: signal
                .map(|signal| (signal, Level::High))
                .into_iter()
                .collect(),
            ..Conditions::default()
        },
        candidates: candidates(names),
        challengers: Vec::new(),
        goal: None,
    };
    Policy {
        rules: vec![
            rule("network", Some(Signal::Net), &["cosmos", "kernel"]),
            rule("cpu", Some(Signal::Cpu), &["bpfland", "flash", "kernel"]),
            rule("idle", None, &["kernel"]),
        ],
        ..Policy::default()
    }
}

/// What is recorded in the place of a scheduler's name: that it died, that it could not be started.
const DEATH: &str = "death";
const FAILURE: &str = "failure";

/// The core with an executor that does at once what it is asked for, and a clock of its own.
struct Machine {
    policy: Policy,
    state: State,
    now: Moment,
    /// Switches that were made, by whomever.
    switches: Vec<(Moment, String)>,
    /// Switches to these fail.
    broken: BTreeSet<String>,
    /// The process that runs, which keeps the name that it was started with.
    process: Option<Scheduler>,
    /// Pairs of trials that were kept.
    pairs: Vec<PairRecord>,
    /// The trials that ended.
    ended: Vec<TrialEnd>,
    /// Whose fault that is.
    fault: Fault,
}

impl Machine {
    fn new() -> Self {
        let policy = policy();
        let state = State::new(&policy, false);
        let mut machine = Self {
            policy,
            state,
            now: SECOND,
            switches: Vec::new(),
            broken: BTreeSet::new(),
            process: None,
            pairs: Vec::new(),
            ended: Vec::new(),
            fault: Fault::New(Cause::NotLoaded),
        };
        machine.kernel(KernelState::Disabled);
        let all = ["bpfland", "cosmos", "flash"].map(str::to_owned);
        machine.happens(Event::Installed(all.into()));
        machine
    }

    /// The event is decided, and nothing is done about it.
    fn decides(&mut self, event: Event) -> Vec<Action> {
        let (state, actions) = decide(&self.policy, &self.state, event, self.now);
        self.state = state;
        actions
    }

    /// The switch to bpfland, by whichever name, is carried out.
    fn has_loaded_bpfland(&mut self, to: Candidate) {
        self.process = Some(scheduler("bpfland"));
        self.happens(Event::Kernel {
            state: KernelState::Enabled {
                ops: "bpfland".into(),
            },
            ours: true,
        });
        self.happens(Event::Switched { to });
    }

    /// This signal brings a switch, which is on its way from then on.
    fn begins_to_switch_for(&mut self, signal: Signal) -> Candidate {
        let mut signals = Signals::default();
        signals.set(signal, Some(1.0));
        let window = Event::Window {
            dt: SECOND,
            signals,
        };
        match &self.decides(window)[..] {
            [Action::Switch { to, .. }] => to.clone(),
            actions => panic!("{actions:?}"),
        }
    }

    fn happens(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for action in self.decides(event) {
                let to = match action {
                    Action::Switch { to, .. } => to,
                    Action::KeepPair(pair) => {
                        self.pairs.push(*pair);
                        continue;
                    }
                    Action::TrialEnded(end) => {
                        self.ended.push(*end);
                        continue;
                    }
                    Action::Cancel | Action::Measure(_) | Action::KeepLearned => continue,
                };
                self.check_reluctance();
                self.check_identity(&to);
                self.check_danger(&to);
                let counts = self.state.switching.as_ref().unwrap().counts;
                let program = match &to {
                    Candidate::Kernel => None,
                    Candidate::Scheduler(to) => to.command.strip_prefix("scx_"),
                };
                let fails = program.is_some_and(|program| self.broken.contains(program));
                if counts == Counts::Hourly {
                    let name = if fails { FAILURE } else { to.name() };
                    self.switches.push((self.now, name.to_owned()));
                }
                if fails {
                    events.push(Event::SwitchFailed {
                        to,
                        error: "refused".into(),
                        fault: self.fault,
                        left: self.process.clone(),
                    });
                    continue;
                }
                self.process = match &to {
                    Candidate::Kernel => None,
                    Candidate::Scheduler(to) => Some(to.clone()),
                };
                let kernel = Event::Kernel {
                    state: match &to {
                        Candidate::Kernel => KernelState::Disabled,
                        Candidate::Scheduler(scheduler) => KernelState::Enabled {
                            ops: scheduler.name.clone(),
                        },
                    },
                    ours: to != Candidate::Kernel,
                };
                // The kernel is asked first.
                events.extend([Event::Switched { to }, kernel]);
            }
        }
    }

    /// Whoever is to leave has run for its time, has failed, is overruled from above, or gives way to a lease or was one.
    fn check_reluctance(&self) {
        let (Some(running), Some(switch)) = (&self.state.running, &self.state.switching) else {
            return;
        };
        let ran = self.now - running.since;
        let failed = self.state.failures.quarantine(&running.scheduler, self.now);
        assert!(
            ran >= self.policy.stability.min_run
                || failed.is_some()
                || switch.precedence > running.precedence
                || running.may_leave
                || switch.reason.starts_with("leased")
                || switch.precedence == Precedence::Pin,
            "{running:?} has to leave after {ran:?} for {switch:?}"
        );
    }

    /// Nothing takes its own place under another name, nor the place of what it left because it failed.
    fn check_identity(&self, to: &Candidate) {
        let Candidate::Scheduler(to) = to else {
            return;
        };
        let runs = self.process.as_ref().filter(|_| self.state.ours);
        assert!(
            !runs.is_some_and(|process| process.is_same_as(to)),
            "{to:?}"
        );
        assert_eq!(self.state.failures.quarantine(to, self.now), None, "{to:?}");
    }

    /// No scheduler is loaded beside core scheduling.
    fn check_danger(&self, to: &Candidate) {
        let permits = self.state.core_scheduling.permits_schedulers();
        assert!(permits || *to == Candidate::Kernel, "{to:?}");
    }

    /// The kernel says something that is not of our doing.
    fn kernel(&mut self, state: KernelState) {
        self.happens(Event::Kernel { state, ours: false });
    }

    fn windows(&mut self, count: u32, cpu: f64, net: f64) {
        for _ in 0..count {
            self.now += WINDOW;
            let mut signals = Signals::default();
            signals.set(Signal::Cpu, Some(cpu));
            signals.set(Signal::Net, Some(net));
            self.happens(Event::Window {
                dt: WINDOW,
                signals,
            });
        }
    }

    fn dies(&mut self) {
        if let Some(scheduler) = self.process.take() {
            if self
                .state
                .running
                .as_ref()
                .is_some_and(|running| running.counts == Counts::Hourly)
            {
                self.switches.push((self.now, DEATH.into()));
            }
            self.state.kernel = KernelState::Disabled;
            self.happens(Event::SchedulerExited {
                scheduler: scheduler.clone(),
                end: End {
                    cause: Cause::Killed,
                    text: "crashed".into(),
                },
            });
            assert!(
                !self
                    .state
                    .running()
                    .is_some_and(|running| running.is_same_as(&scheduler))
            );
            let failures = self.state.failures();
            let failures = failures.filter(|failure| failure.scheduler.is_same_as(&scheduler));
            assert_eq!(failures.count(), 1, "{scheduler:?}");
        }
    }

    /// The policy calls bpfland this, first to last, and is in force at once.
    fn calls_bpfland(&mut self, names: &[&str]) {
        let aliases = ["bpfland", ALIAS];
        for rule in &mut self.policy.rules {
            let before = rule.candidates.len();
            rule.candidates.retain(|to| !aliases.contains(&to.name()));
            if rule.candidates.len() < before {
                rule.candidates.splice(0..0, candidates(names));
            }
        }
        let named = names.iter().map(|&name| (name.to_owned(), scheduler(name)));
        self.policy.schedulers = named.collect();
        let others = ["cosmos", "flash"].iter().chain(names);
        // As the daemon does it.
        self.happens(Event::Installed(
            others.map(|&name| name.to_owned()).collect(),
        ));
        self.happens(Event::PolicyChanged);
    }

    fn quarantined(&self) -> Vec<String> {
        let quarantined = self.state.quarantined(&self.policy, self.now);
        quarantined.into_keys().collect()
    }

    /// The machine sleeps.
    fn sleeps(&mut self, time: Duration) {
        self.now += time;
        self.happens(Event::Slept(time));
    }

    fn running(&self) -> &str {
        self.state
            .running()
            .map_or("kernel", |scheduler| &scheduler.name)
    }
}
