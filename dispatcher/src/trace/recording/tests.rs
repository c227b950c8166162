//! A run that is made up, with trials, is recorded and replayed to the same decisions.

use std::sync::Arc;
use std::time::Duration;

use auto_ext_core::{Action, KernelState, State, decide};
use auto_ext_policy::{Candidate, Policy, Power, Profile};
use auto_ext_signals::{OutcomeTotals, Signal, Signals, WaitBucket};
use auto_ext_trials::{Consent, Here, Reading, Table, Unquiet};

use super::*;
use crate::trace::replay::Replay;
use crate::trace::{Reader, VERSION};

const EPOCH: Duration = Duration::from_secs(1_800_000_000);
/// How long a scheduler takes to load here: less than a replay would have it take.
const LOADS_IN: Duration = Duration::from_millis(700);
const STEP: Duration = Duration::from_millis(250);

/// A machine under a load, whose tasks wait half as long under flash.
struct Run<'p> {
    policy: &'p Policy,
    state: State,
    now: Moment,
    runs: Candidate,
    loading: Option<(Candidate, Moment)>,
    reading: Reading,
    recording: Recording<Vec<u8>>,
    /// What was to run, whenever that became another, and what was kept of pairs.
    decided: Vec<(String, String)>,
    pairs: usize,
}

fn policy() -> Policy {
    let text = "version: 1\n\
        trials: {mode: ask, arm: 6s}\n\
        rules:\n\
        - {class: network, when: {net: high}, use: [kernel], try: [flash], goal: latency}\n\
        - {class: idle, use: [kernel]}\n";
    Policy::parse("F", text).unwrap()
}

fn header() -> Header {
    Header {
        trace: VERSION,
        version: "0.1.0".into(),
        kernel: "7.2".into(),
        cpus: 4,
        label: None,
        started_us: 0,
        window_ms: 250,
        machine: Machine::default(),
        missing: Default::default(),
    }
}

impl<'p> Run<'p> {
    fn new(policy: &'p Policy) -> Self {
        let buckets = (0..10).map(|n| WaitBucket {
            from_ns: n * 1_000_000,
            to_ns: (n + 1) * 1_000_000,
            count: 0,
        });
        let mut run = Self {
            policy,
            state: State::new(policy, false),
            now: Moment::ZERO,
            runs: Candidate::Kernel,
            loading: None,
            reading: Reading {
                waits: OutcomeTotals {
                    waits: buckets.collect(),
                    ..OutcomeTotals::default()
                },
                user_ns: Some(0),
                ..Reading::default()
            },
            recording: Recording::begin(Vec::new(), &header()).unwrap(),
            decided: Vec::new(),
            pairs: 0,
        };
        let builds = [("scx_flash".to_owned(), "1".to_owned())];
        let here = Here {
            builds: builds.into(),
            ..Here::default()
        };
        let consent = Consent {
            until: Duration::from_hours(5),
            lifted_until: Duration::from_hours(5),
        };
        for event in [
            Event::Installed(["flash".to_owned()].into()),
            run.kernel(),
            Event::Learned {
                table: Box::new(Table::default()),
                epoch: EPOCH,
            },
            Event::Seed(3),
            Event::Here(Box::new(here)),
            Event::Power(Some(Power::Ac)),
            Event::Consent(Some(consent)),
            Event::Quiet(vec![Unquiet::NotKnown]),
            Event::Profile(Some(Profile::Balanced)),
            Event::Quiet(Vec::new()),
        ] {
            run.happens(event);
        }
        run
    }

    fn happens(&mut self, event: Event) {
        let mut events = vec![event];
        while !events.is_empty() {
            let event = events.remove(0);
            self.recording.happens(&event, self.now).unwrap();
            let (state, actions) = decide(self.policy, &self.state, event, self.now);
            self.state = state;
            for action in actions {
                match action {
                    Action::Switch {
                        to: Candidate::Kernel,
                        ..
                    } => events.extend(self.switch(Candidate::Kernel)),
                    Action::Switch { to, .. } => self.loading = Some((to, self.now + LOADS_IN)),
                    Action::Cancel => panic!("there is nothing to cancel"),
                    Action::KeepPair(_) => self.pairs += 1,
                    Action::Measure(_) | Action::KeepLearned | Action::TrialEnded(_) => {}
                }
            }
        }
        self.note();
    }

    fn note(&mut self) {
        let what = (
            self.state.class().to_owned(),
            self.state.desired().to_string(),
        );
        if self.decided.last() != Some(&what) {
            self.decided.push(what);
        }
    }

    fn switch(&mut self, to: Candidate) -> Vec<Event> {
        self.runs = to.clone();
        vec![self.kernel(), Event::Switched { to }]
    }

    fn kernel(&self) -> Event {
        let (state, ours) = match &self.runs {
            Candidate::Kernel => (KernelState::Disabled, false),
            Candidate::Scheduler(scheduler) => (
                KernelState::Enabled {
                    ops: scheduler.name.clone(),
                },
                true,
            ),
        };
        Event::Kernel { state, ours }
    }

    /// Time passes under a load or without one.
    fn lasts(&mut self, time: Duration, loaded: bool) {
        let until = self.now + time;
        while self.now < until {
            self.now += STEP;
            if let Some((to, _)) = self.loading.take_if(|(_, at)| *at <= self.now) {
                for event in self.switch(to) {
                    self.happens(event);
                }
            }
            let mut signals = Signals::default();
            signals.set(Signal::Net, Some(if loaded { 1.0 } else { 0.0 }));
            self.happens(Event::Window { dt: STEP, signals });
            if self.state.trials().measures() && self.now.subsec_nanos() == 0 {
                self.read();
            }
        }
    }

    fn read(&mut self) {
        let wait = if self.runs == Candidate::Kernel { 4 } else { 2 };
        let totals = &mut self.reading.waits;
        totals.at_ns = u64::try_from(self.now.as_nanos()).unwrap();
        totals.waits[wait].count += 100;
        totals.wait_ns += 100 * wait as u64 * 1_000_000;
        self.reading.user_ns = self.reading.user_ns.map(|time| time + 1_000_000_000);
        self.happens(Event::Outcome(Arc::new(self.reading.clone())));
    }
}

#[test]
fn a_run_with_trials_is_replayed_to_the_same_decisions() {
    let policy = policy();
    let mut run = Run::new(&policy);
    run.lasts(Duration::from_mins(25), true);
    run.happens(Event::Quiet(vec![Unquiet::Sound]));
    run.lasts(Duration::from_mins(1), true);
    run.happens(Event::Quiet(Vec::new()));
    run.lasts(Duration::from_mins(1), false);
    // Something was tried, found out, and used.
    assert!(run.pairs >= 6, "{}", run.pairs);
    let proven = |state: &State| {
        let rows = state.trials().table().rows().iter();
        rows.filter(|row| row.record.proven().is_some()).count()
    };
    assert_eq!(proven(&run.state), 1);
    let used = ("network".to_owned(), "flash".to_owned());
    assert!(run.decided.contains(&used), "{:?}", run.decided);

    let text = run.recording.into_output();
    let mut reader = Reader::new("F", &text[..]).unwrap();
    let mut replay = Replay::new(&policy);
    let mut decided = vec![(replay.state().class().to_owned(), "kernel".to_owned())];
    for entry in &mut reader {
        for change in replay.apply(entry.unwrap()) {
            let what = (change.class, change.desired.to_string());
            if decided.last() != Some(&what) {
                decided.push(what);
            }
        }
    }
    assert_eq!(decided, run.decided);
    assert_eq!(replay.state().trials().table(), run.state.trials().table());
    assert_eq!(replay.state().trials(), run.state.trials());
}

#[test]
fn what_no_trials_can_have_been_told_is_refused_with_its_line() {
    let mut lines = Vec::new();
    Recording::begin(&mut lines, &header()).unwrap();
    let header = String::from_utf8(lines).unwrap();
    let far = u64::MAX;
    for (told, says) in [
        (
            format!(r#"{{"learned":{{"table":{{"version":1}},"since_1970_us":{far}}}}}"#),
            "a year that is far off",
        ),
        (
            r#"{"learned":{"table":{"version":9},"since_1970_us":1}}"#.to_owned(),
            "version 9 of the table",
        ),
        (
            format!(
                r#"{{"consent":{{"until":{{"secs":{far},"nanos":0}},"lifted_until":{{"secs":0,"nanos":0}}}}}}"#
            ),
            "lasts for too long",
        ),
        (r#"{"quiet":["fog"]}"#.to_owned(), "unknown variant `fog`"),
        (r#"{"forgotten":"a\u0007"}"#.to_owned(), "no text"),
    ] {
        let text = format!("{header}{{\"at_us\":1,\"trials\":{told}}}\n");
        let mut reader = Reader::new("F", text.as_bytes()).unwrap();
        let error = reader.next().unwrap().unwrap_err().to_string();
        assert!(
            error.starts_with("F:2: error: ") && error.contains(says),
            "{error}"
        );
    }
}
