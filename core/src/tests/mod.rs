//! Tables and properties of the decisions.

use std::collections::BTreeSet;
use std::time::Duration;

use auto_ext_policy::{Candidate, Conditions, Policy, Rule, Scheduler};
use auto_ext_signals::{Level, Signal, Signals};

use super::*;
use crate::KernelState;

mod faults;
mod people;
mod precedence;
mod properties;

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
                let Action::Switch { to, .. } = action else {
                    continue;
                };
                self.check_reluctance();
                self.check_identity(&to);
                let counts = self.state.switching.as_ref().unwrap().counts;
                let program = match &to {
                    Candidate::Kernel => None,
                    Candidate::Scheduler(to) => to.command.strip_prefix("scx_"),
                };
                let fails = program.is_some_and(|program| self.broken.contains(program));
                if counts {
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

    /// Whoever is to leave has run for its time, has failed, or is overruled from above.
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
                .is_some_and(|running| running.counts)
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

#[test]
fn a_load_brings_its_scheduler_and_its_end_brings_the_kernels_back() {
    let mut machine = Machine::new();
    machine.windows(4, 0.0, 0.0);
    assert_eq!(
        (machine.state.class(), machine.running()),
        ("idle", "kernel")
    );
    machine.windows(8, 1.0, 0.0);
    assert_eq!(
        (machine.state.class(), machine.running()),
        ("cpu", "bpfland")
    );
    machine.windows(80, 0.0, 0.0);
    assert_eq!(
        (machine.state.class(), machine.running()),
        ("idle", "kernel")
    );
    assert_eq!(machine.switches.len(), 2);
}

#[test]
fn a_scheduler_stays_for_its_minimum_and_says_so() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.windows(12, 0.0, 0.0);
    assert_eq!(
        (machine.state.class(), machine.running()),
        ("idle", "bpfland")
    );
    assert!(
        machine
            .state
            .reason()
            .contains("bpfland stays until it has run for 15s")
    );
    assert_eq!(*machine.state.desired(), Candidate::Kernel);
}

#[test]
fn a_spike_shorter_than_the_time_of_the_mean_changes_nothing() {
    let mut machine = Machine::new();
    machine.windows(8, 0.0, 0.0);
    for _ in 0..20 {
        machine.windows(1, 1.0, 0.0);
        machine.windows(4, 0.0, 0.0);
    }
    assert_eq!(machine.switches, []);
}

#[test]
fn a_rule_that_comes_first_takes_over_at_once_and_a_later_one_after_the_settle_time() {
    let mut machine = Machine::new();
    let mut classes = Vec::new();
    for (cpu, net) in [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 0.0)] {
        for window in 1..=12 {
            machine.windows(1, cpu, net);
            let class = machine.state.class();
            if classes.last().is_none_or(|(_, last)| last != class) {
                classes.push((window, class.to_owned()));
            }
        }
    }
    let expected = [
        // Nothing is known before the first window.
        (1, "idle"),
        // Half a second for each level to become high.
        (2, "cpu"),
        (1, "network"),
        // The level of `net` falls with the second window, and five are more than a second.
        (6, "cpu"),
        (5, "idle"),
    ];
    assert_eq!(
        classes,
        expected.map(|(window, class)| (window, class.to_owned()))
    );
}

#[test]
fn a_class_that_comes_back_within_the_settle_time_was_never_lost() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    for _ in 0..20 {
        machine.windows(4, 0.0, 0.0);
        assert_eq!(machine.state.class(), "cpu");
        machine.windows(4, 1.0, 0.0);
    }
}

#[test]
fn a_scheduler_that_dies_is_quarantined_and_the_next_candidate_runs() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.dies();
    assert_eq!(machine.running(), "flash");
    assert_eq!(machine.state.last_error(), "bpfland: crashed");
    assert!(
        machine
            .state
            .reason()
            .contains("bpfland is quarantined because it failed: crashed")
    );
    machine.dies();
    assert_eq!(machine.running(), "kernel");
    assert_eq!(machine.quarantined(), ["bpfland", "flash"]);
    machine.windows(200, 1.0, 0.0);
    assert_eq!(machine.running(), "bpfland");
}

#[test]
fn when_nothing_can_be_loaded_the_kernels_scheduler_runs_and_attempts_get_rare() {
    let mut machine = Machine::new();
    machine.broken = ["bpfland", "flash"].map(str::to_owned).into();
    machine.windows(4 * 3600, 1.0, 0.0);
    assert_eq!(machine.running(), "kernel");
    // Of an hour: after 0, 60, 180, 420, 900, 1860 s, for each of the two.
    assert_eq!(machine.switches.len(), 12);
}

#[test]
fn a_scheduler_that_is_not_installed_is_passed_over() {
    let mut machine = Machine::new();
    machine.happens(Event::Installed(["flash".to_owned()].into()));
    machine.windows(8, 1.0, 0.0);
    assert_eq!(machine.running(), "flash");
    assert!(machine.state.reason().contains("bpfland is not installed"));
}

#[test]
fn a_foreign_scheduler_is_left_alone_until_it_leaves() {
    let mut machine = Machine::new();
    machine.kernel(KernelState::Enabled {
        ops: "homemade".into(),
    });
    machine.windows(20, 1.0, 0.0);
    assert_eq!(
        (machine.state.mode(), machine.running()),
        (&Mode::Yielded, "kernel")
    );
    assert_eq!(machine.switches, []);
    machine.kernel(KernelState::Disabled);
    machine.windows(40, 1.0, 0.0);
    assert_eq!(machine.switches, [], "it may be about to come back");
    machine.windows(40, 1.0, 0.0);
    assert_eq!(
        (machine.state.mode(), machine.running()),
        (&Mode::Auto, "bpfland")
    );
}

#[test]
fn without_sched_ext_without_schedulers_or_when_asked_it_only_observes() {
    let observing = |change: fn(&mut Machine), cause: ObserveCause| {
        let mut machine = Machine::new();
        change(&mut machine);
        machine.windows(20, 1.0, 0.0);
        assert_eq!(machine.state.mode(), &Mode::Observe(cause));
        assert_eq!(machine.state.class(), "cpu");
        assert_eq!(machine.switches, []);
    };
    observing(
        |machine| machine.kernel(KernelState::Unsupported),
        ObserveCause::NoSchedExt,
    );
    observing(
        |machine| machine.kernel(KernelState::Unknown("odd".into())),
        ObserveCause::KernelUnknown("odd".into()),
    );
    observing(
        |machine| machine.happens(Event::Installed(BTreeSet::new())),
        ObserveCause::NoScheduler,
    );
    observing(
        |machine| machine.state.observe_asked = true,
        ObserveCause::Asked,
    );
}

#[test]
fn a_scheduler_that_cannot_be_ended_has_failed_and_is_not_asked_all_the_time() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.windows(8, 0.0, 0.0);
    let stuck = machine.state.running().cloned();
    machine.state.switching = Some(Switch {
        to: Candidate::Kernel,
        reason: String::new(),
        cancelled: false,
        precedence: Precedence::LOWEST,
        counts: true,
    });
    machine.now += Duration::from_secs(60);
    machine.happens(Event::SwitchFailed {
        to: Candidate::Kernel,
        error: "does not end".into(),
        fault: Fault::Old,
        left: stuck,
    });
    let before = machine.switches.len();
    machine.windows(20, 0.0, 0.0);
    assert_eq!(machine.switches.len(), before);
    assert!(
        machine
            .state
            .reason()
            .contains("bpfland cannot be ended: does not end")
    );
    assert_eq!(machine.quarantined(), ["bpfland"]);
    machine.windows(200, 0.0, 0.0);
    assert_eq!(machine.running(), "kernel");
}

#[test]
fn a_switch_that_failed_through_nobodys_fault_is_not_tried_again_at_once() {
    let mut machine = Machine::new();
    machine.state.switching = Some(Switch {
        to: Candidate::Kernel,
        reason: String::new(),
        cancelled: false,
        precedence: Precedence::LOWEST,
        counts: true,
    });
    machine.happens(Event::SwitchFailed {
        to: Candidate::Scheduler(scheduler("bpfland")),
        error: "somebody was faster".into(),
        fault: Fault::Nobody,
        left: None,
    });
    machine.windows(16, 1.0, 0.0);
    assert_eq!(machine.switches, []);
    assert!(
        machine
            .state
            .reason()
            .contains("waits a moment after a switch that failed")
    );
    machine.windows(8, 1.0, 0.0);
    assert_eq!(machine.running(), "bpfland");
}

#[test]
fn a_decision_that_changes_cancels_the_switch_once_and_pauses() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    let old = machine.state.running().cloned();
    machine.now += Duration::from_secs(60);
    let cosmos = Candidate::Scheduler(scheduler("cosmos"));
    machine.state.switching = Some(Switch {
        to: cosmos.clone(),
        reason: String::new(),
        cancelled: false,
        precedence: Precedence::LOWEST,
        counts: true,
    });
    let cancels = |machine: &mut Machine| {
        let event = Event::Window {
            dt: WINDOW,
            signals: Signals::default(),
        };
        machine.decides(event) == [Action::Cancel]
    };
    assert!(cancels(&mut machine));
    assert!(!cancels(&mut machine), "once is enough");
    machine.happens(Event::SwitchFailed {
        to: cosmos,
        error: "cancelled".into(),
        fault: Fault::Cancelled,
        left: old,
    });
    assert_eq!(machine.running(), "bpfland");
    assert_eq!(machine.state.last_error(), "");
    machine.windows(16, 0.0, 1.0);
    assert!(machine.state.reason().contains("waits a moment"));
}

#[test]
fn nothing_is_started_while_the_kernel_is_on_its_way_from_one_scheduler_to_another() {
    let mut machine = Machine::new();
    machine.kernel(KernelState::Disabling);
    machine.windows(8, 1.0, 0.0);
    assert_eq!(machine.switches, []);
    machine.kernel(KernelState::Disabled);
    assert_eq!(machine.running(), "bpfland");
    assert_eq!(machine.state.last_error(), "");
}

#[test]
fn a_scheduler_that_stays_detached_has_failed_and_one_that_loads_itself_again_has_not() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.kernel(KernelState::Disabled);
    machine.windows(50, 1.0, 0.0);
    machine.windows(50, 0.0, 1.0);
    assert_eq!(machine.running(), "bpfland");
    machine.windows(1, 1.0, 0.0);
    machine.happens(Event::Kernel {
        state: KernelState::Enabled {
            ops: "bpfland".into(),
        },
        ours: true,
    });
    machine.windows(300, 1.0, 0.0);
    assert_eq!(machine.running(), "bpfland");
    machine.kernel(KernelState::Disabled);
    machine.windows(250, 1.0, 0.0);
    assert_eq!(machine.running(), "flash");
    assert!(
        machine
            .state
            .last_error()
            .contains("bpfland: its process lives")
    );
}

#[test]
fn a_foreign_scheduler_in_the_place_of_ours_is_respected() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.kernel(KernelState::Enabled {
        ops: "homemade".into(),
    });
    assert_eq!(machine.state.mode(), &Mode::Yielded);
}

#[test]
fn a_running_scheduler_survives_the_replacement_of_its_file() {
    let mut machine = Machine::new();
    machine.windows(8, 1.0, 0.0);
    machine.happens(Event::Installed(BTreeSet::new()));
    machine.windows(100, 1.0, 0.0);
    assert_eq!(
        (machine.state.mode(), machine.running()),
        (&Mode::Auto, "bpfland")
    );
    machine.windows(100, 0.0, 0.0);
    assert_eq!(machine.running(), "kernel");
}

#[test]
fn without_rules_the_kernels_scheduler_runs_whatever_is_measured() {
    let mut machine = Machine::new();
    machine.policy = Policy::default();
    machine.windows(20, 1.0, 1.0);
    assert_eq!(
        (machine.state.class(), machine.running()),
        ("none", "kernel")
    );
    assert_eq!(machine.switches, []);
}
