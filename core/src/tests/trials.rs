//! Trials: what begins one, what it is left for, and what comes of it for what runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use auto_ext_policy::{Goal, Power, Profile, TrialMode};
use auto_ext_signals::WaitBucket;
use auto_ext_trials::{Consent, Here, PairEnd, Reading, SWITCHES_PER_HOUR, Table, Unquiet, Waits};
use proptest::prelude::*;

use super::*;
use crate::Lease;

const EPOCH: Duration = Duration::from_secs(1_800_000_000);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// A machine under a load of tasks that sleep and are woken, and how long they wait under which scheduler.
struct Lab {
    machine: Machine,
    /// In milliseconds; where a scheduler is not named, one.
    waits: BTreeMap<&'static str, u64>,
    /// As above, the longest wait of any task.
    longest: BTreeMap<&'static str, u64>,
    reading: Reading,
    /// Which seconds each candidate of a trial ran.
    tried: Vec<Moment>,
    /// The load is there.
    loaded: bool,
}

impl Lab {
    /// A load whose rule has flash tried, where everything is as a trial wants it.
    fn new(mode: TrialMode) -> Self {
        let mut machine = precedence::machine();
        machine.policy.trials.mode = mode;
        let rule = &mut machine.policy.rules[0];
        assert_eq!(rule.class, "network");
        rule.candidates = candidates(&["kernel"]);
        rule.challengers = candidates(&["flash"]);
        rule.goal = Some(Goal::Latency);
        let builds = ["bpfland", "flash", "cosmos"].map(|name| (format!("scx_{name}"), "1".into()));
        let here = Here {
            builds: builds.into(),
            ..Here::default()
        };
        let mut lab = Self {
            machine,
            waits: BTreeMap::new(),
            longest: BTreeMap::new(),
            reading: Reading::default(),
            tried: Vec::new(),
            loaded: true,
        };
        lab.learned(Table::default());
        for event in [
            Event::Here(Box::new(here)),
            Event::Seed(7),
            Event::Quiet(Vec::new()),
            Event::Power(Some(Power::Ac)),
        ] {
            lab.machine.happens(event);
        }
        lab
    }

    fn learned(&mut self, table: Table) {
        let table = Box::new(table);
        self.machine.happens(Event::Learned {
            table,
            epoch: EPOCH,
        });
    }

    fn consents(&mut self, lasts: Duration) {
        let consent = Consent {
            until: self.machine.now + lasts,
            lifted_until: Duration::ZERO,
        };
        self.machine.happens(Event::Consent(Some(consent)));
    }

    /// What is measured in a second under what runs.
    fn read(&mut self) {
        let running = self.machine.running();
        let of = |times: &BTreeMap<&str, u64>| times.get(running).copied().unwrap_or(1);
        let (wait, longest) = (of(&self.waits), of(&self.longest));
        let totals = &mut self.reading.waits;
        totals.at_ns = u64::try_from(self.machine.now.as_nanos()).unwrap();
        totals.wait_ns += 100 * wait * 1_000_000;
        if totals.waits.is_empty() {
            totals.waits = vec![WaitBucket {
                from_ns: 0,
                to_ns: 100_000_000,
                count: 0,
            }];
        }
        totals.waits[0].count += 100;
        self.reading.longest_wait = Some(Duration::from_millis(longest));
    }

    /// Seconds pass, until `done` if that comes before.
    fn seconds(&mut self, count: u32, done: impl Fn(&Self) -> bool) {
        let mut left = count;
        while left > 0 && !done(self) {
            // Where nothing is measured nobody looks so closely.
            let measures = self.machine.state.trials().measures();
            let step = if measures { 1 } else { left.min(10) };
            left -= step;
            let dt = SECOND * step;
            self.machine.now += dt;
            let mut signals = Signals::default();
            let net = if self.loaded { 1.0 } else { 0.0 };
            signals.set(Signal::Net, Some(net));
            self.machine.happens(Event::Window { dt, signals });
            self.read();
            if self.machine.state.trials().measures() {
                let reading = Arc::new(self.reading.clone());
                self.machine.happens(Event::Outcome(reading));
            }
            if self.is_tried() {
                self.tried.push(self.machine.now);
            }
        }
    }

    /// A candidate runs because a trial wants it.
    fn is_tried(&self) -> bool {
        self.machine.state.choice().trial && self.machine.running() != "kernel"
    }

    /// Until a candidate is tried.
    fn until_tried(&mut self) {
        self.seconds(1800, Self::is_tried);
        assert!(self.is_tried(), "{}", self.machine.state.reason());
    }

    fn is_over(&self) {
        let state = &self.machine.state;
        assert_eq!(state.trials().trial(), None);
        assert!(!state.trials().measures() && !self.is_tried());
    }

    fn ends(&self) -> Vec<&PairEnd> {
        self.machine.pairs.iter().map(|pair| &pair.end).collect()
    }
}

#[test]
fn a_power_profile_that_becomes_known_late_delays_a_trial_and_ends_none() {
    let mut lab = Lab::new(TrialMode::On);
    let is_on = |lab: &Lab| lab.machine.state.trials().trial().is_some();
    lab.seconds(20, is_on);
    lab.machine.happens(Event::Profile(Some(Profile::Balanced)));
    let known = lab.machine.now;
    lab.seconds(300, is_on);
    assert!(is_on(&lab));
    assert!(lab.machine.now >= known + 30 * SECOND);
    assert_eq!(lab.machine.state.trials().alike_since(), Some(known));
}

#[test]
fn what_is_better_is_found_and_runs_and_when_it_is_so_no_more_it_is_left() {
    let mut lab = Lab::new(TrialMode::On);
    lab.waits = [("kernel", 10), ("flash", 5)].into();
    lab.seconds(4 * 3600, |lab| {
        lab.machine.state.reason().contains("trials found")
    });
    assert_eq!(
        lab.machine.running(),
        "flash",
        "{}",
        lab.machine.state.reason()
    );
    assert_eq!(lab.machine.state.desired().name(), "flash");
    assert!(lab.ends().iter().all(|end| **end == PairEnd::Kept));
    assert!(lab.machine.pairs.len() >= 6);
    let last = lab.machine.pairs.last().unwrap();
    assert!((last.ratio.unwrap() - 2f64.ln()).abs() < 1e-9 && last.e_better >= 20.0);
    let pairs = lab.machine.pairs.len();
    lab.waits = [("kernel", 5), ("flash", 5)].into();
    lab.seconds(5 * 24 * 3600, |lab| {
        lab.machine.state.desired() == &Candidate::Kernel
            && lab.machine.state.trials().trial().is_none()
    });
    assert_eq!(lab.machine.running(), "kernel");
    assert!(lab.machine.pairs.len() - pairs <= 31);
}

#[test]
fn without_consent_nothing_is_tried() {
    for mode in [TrialMode::Off, TrialMode::Watch, TrialMode::Ask] {
        let mut lab = Lab::new(mode);
        if mode == TrialMode::Off {
            lab.consents(HOUR);
        }
        lab.seconds(3600, |_| false);
        assert_eq!(lab.tried, [], "{mode:?}");
        assert_eq!(lab.machine.switches, [], "{mode:?}");
        // To watch is to measure without a switch, and not for ever.
        let measured = !lab.machine.state.trials().table().rows().is_empty();
        assert_eq!(measured, mode == TrialMode::Watch);
        lab.is_over();
    }
    let mut lab = Lab::new(TrialMode::Ask);
    lab.consents(10 * MINUTE);
    lab.seconds(3600, |_| false);
    let last = *lab.tried.last().unwrap();
    assert!(last <= 11 * MINUTE, "{last:?}");
    let mut lab = Lab::new(TrialMode::On);
    lab.machine.happens(Event::Quiet(vec![Unquiet::Sound]));
    lab.seconds(3600, |_| false);
    assert_eq!(lab.tried, []);
    assert_eq!(lab.machine.state.trials().unquiet(), [Unquiet::Sound]);
}

#[test]
fn a_task_that_waits_too_long_ends_it_at_once_and_for_a_day() {
    let mut lab = Lab::new(TrialMode::On);
    lab.longest = [("flash", 1400)].into();
    lab.until_tried();
    lab.seconds(2, |_| false);
    assert_eq!(lab.machine.running(), "kernel");
    lab.is_over();
    let [PairEnd::Lost(why)] = lab.ends()[..] else {
        panic!("{:?}", lab.ends())
    };
    assert_eq!(why, "a task waited 1.4 s");
    let [end] = &lab.machine.ended[..] else {
        panic!("{:?}", lab.machine.ended)
    };
    assert_eq!((&end.outcome, end.guard), (why, Some("wait")));
    assert_eq!(end.candidate.as_deref(), Some("flash"));
    lab.tried.clear();
    lab.seconds(23 * 3600, |_| false);
    assert_eq!(lab.tried, []);
    lab.longest.clear();
    lab.seconds(2 * 3600, |_| false);
    assert_ne!(lab.tried, []);
}

#[test]
fn a_candidate_that_fails_is_benched() {
    let mut lab = Lab::new(TrialMode::On);
    lab.until_tried();
    lab.machine.dies();
    lab.is_over();
    assert_eq!(lab.ends(), [&PairEnd::Lost("failed: crashed".into())]);
    let mut lab = Lab::new(TrialMode::On);
    lab.machine.broken = ["flash".to_owned()].into();
    lab.seconds(3600, |lab| !lab.machine.pairs.is_empty());
    assert_eq!(lab.ends(), [&PairEnd::Lost("failed: refused".into())]);
    lab.seconds(12 * 3600, |_| false);
    let failures = lab
        .machine
        .switches
        .iter()
        .filter(|(_, what)| what == FAILURE);
    assert_eq!(failures.count(), 1);
}

#[test]
fn whatever_overrules_a_load_ends_a_trial_at_once() {
    let pin = |name: &str| Event::Pinned {
        to: candidates(&[name]).swap_remove(0),
        lasts: None,
        by: None,
    };
    let lease = Lease::new(
        9,
        candidates(&["cosmos"]).swap_remove(0),
        "game".into(),
        String::new(),
    );
    let hold = Event::Held {
        cookie: 8,
        application: "game".into(),
        reason: String::new(),
    };
    for (event, runs) in [
        (pin("cosmos"), "cosmos"),
        (pin("kernel"), "kernel"),
        (Event::Leased(lease), "cosmos"),
        // What ran before the trial is held, and not what is tried.
        (hold, "kernel"),
        (
            Event::Processes(vec![precedence::process(7, "solitaire")]),
            "flash",
        ),
        (
            Event::Processes(vec![precedence::process(7, "game")]),
            "flash",
        ),
        (Event::Power(Some(Power::Battery)), "kernel"),
        (Event::Power(None), "kernel"),
        (Event::SafeModeEntered { why: "so".into() }, "kernel"),
        (Event::Consent(None), "flash"),
        (Event::TrialEnded, "kernel"),
        (Event::PolicyChanged, "kernel"),
        (Event::Slept(HOUR), "kernel"),
        (
            Event::Quiet(vec![Unquiet::Inhibited("vlc".into())]),
            "kernel",
        ),
        (
            Event::ArgumentsAsked([("scx_flash".to_owned(), vec!["-x".to_owned()])].into()),
            "kernel",
        ),
        (Event::Here(Box::default()), "kernel"),
    ] {
        let mut lab = Lab::new(TrialMode::On);
        lab.until_tried();
        let shown = format!("{event:?}");
        let ends = !matches!(event, Event::Consent(None)) && !shown.contains("solitaire");
        lab.machine.happens(event);
        assert_eq!(
            lab.machine.state.trials().trial().is_none(),
            ends,
            "{shown}"
        );
        if !shown.starts_with("Slept") {
            assert_eq!(lab.machine.running(), runs, "{shown}");
        }
        if ends {
            lab.is_over();
        }
        // It is told once.
        assert_eq!(lab.machine.ended.len(), usize::from(ends), "{shown}");
        assert!(lab.machine.ended.iter().all(|end| end.guard.is_none()));
    }
}

#[test]
fn a_trial_goes_on_while_its_class_flickers_and_ends_with_its_pair() {
    let mut lab = Lab::new(TrialMode::On);
    lab.until_tried();
    lab.loaded = false;
    lab.seconds(10, |_| false);
    assert_eq!(lab.machine.state.class(), "idle");
    assert_eq!(lab.machine.running(), "flash");
    lab.seconds(60, |_| false);
    assert_eq!(lab.machine.running(), "kernel");
    lab.is_over();
    assert!(lab.ends().len() <= 1, "{:?}", lab.ends());
}

#[test]
fn what_uses_names_has_to_win_too_where_trials_are_on() {
    for (mode, before) in [
        (TrialMode::On, "kernel"),
        (TrialMode::Ask, "bpfland"),
        (TrialMode::Off, "bpfland"),
    ] {
        let mut lab = Lab::new(mode);
        lab.machine.policy.rules[0].candidates = candidates(&["bpfland", "kernel"]);
        lab.consents(100 * HOUR);
        lab.seconds(20, |_| false);
        assert_eq!(lab.machine.running(), before, "{mode:?}");
        if mode == TrialMode::Off {
            continue;
        }
        lab.waits = [("kernel", 10), ("bpfland", 15), ("flash", 5)].into();
        lab.seconds(12 * 3600, |_| false);
        assert_eq!(lab.machine.state.desired().name(), "flash", "{mode:?}");
        let tried: BTreeSet<_> = lab
            .machine
            .pairs
            .iter()
            .map(|pair| pair.key.scheduler.as_ref().unwrap().command.clone())
            .collect();
        assert_eq!(tried.len(), 2, "both meet the kernel's own");
    }
}

#[test]
fn a_restart_loses_one_pair_at_most_and_no_budget() {
    let mut lab = Lab::new(TrialMode::On);
    lab.seconds(1800, |lab| lab.machine.pairs.len() == 2);
    lab.until_tried();
    let json = serde_json::to_string(lab.machine.state.trials().table()).unwrap();
    let table: Table = serde_json::from_str(&json).unwrap();
    let pairs: u32 = table
        .rows()
        .iter()
        .filter(|row| row.key.scheduler.is_some())
        .map(|row| row.record.pairs())
        .sum();
    assert_eq!(pairs, 2);
    let mut after = Lab::new(TrialMode::On);
    after.machine.now = lab.machine.now;
    after.learned(table);
    after.seconds(3600, |_| false);
    let since = (lab.machine.now + MINUTE).saturating_sub(HOUR);
    let exposed = lab.tried.iter().filter(|at| **at >= since).count() + after.tried.len();
    assert!(exposed <= 180 + 18, "{exposed}");
}

/// Checks the switches and the time on candidates in every hour and day.
fn check_budget(lab: &Lab, switches: &[Moment]) {
    for (index, begin) in switches.iter().enumerate() {
        let hour = switches[index..]
            .iter()
            .take_while(|at| **at < *begin + HOUR);
        assert!(hour.count() <= SWITCHES_PER_HOUR, "from {begin:?}");
    }
    for (span, most) in [(HOUR, 180), (24 * HOUR, 1728)] {
        for (index, begin) in lab.tried.iter().enumerate() {
            let within = lab.tried[index..]
                .iter()
                .take_while(|at| **at < *begin + span);
            // It is looked at each second.
            let seconds = within.count();
            assert!(seconds <= most, "{seconds} s from {begin:?} in {span:?}");
        }
    }
}

#[test]
fn of_an_endless_load_no_more_is_taken_than_the_budget_has() {
    let mut lab = Lab::new(TrialMode::On);
    // Too little of a difference to be found soon, so that pairs go on.
    lab.machine.policy.rules[0].challengers = candidates(&["flash", "bpfland", "cosmos"]);
    lab.seconds(30 * 3600, |_| false);
    let switches: Vec<Moment> = lab.machine.switches.iter().map(|(at, _)| *at).collect();
    check_budget(&lab, &switches);
    assert!(lab.tried.len() > 600, "{}", lab.tried.len());
}

#[test]
fn why_no_trial_begins_though_nothing_is_in_its_way_is_told() {
    let told =
        |lab: &Lab| explain(&lab.machine.policy, &lab.machine.state, lab.machine.now).no_trial;
    let mut lab = Lab::new(TrialMode::On);
    lab.machine
        .happens(Event::Installed(["cosmos".to_owned()].into()));
    lab.seconds(3600, |lab| !told(lab).is_empty());
    assert_eq!(told(&lab), [Waits::CannotRun.to_string()]);
    lab.machine
        .happens(Event::Installed(["flash".to_owned()].into()));
    lab.until_tried();
    assert_eq!(told(&lab), [""; 0]);
    lab.seconds(2 * 3600, |lab| !told(lab).is_empty());
    assert!(
        [Waits::Switches, Waits::Exposure]
            .map(|why| vec![why.to_string()])
            .contains(&told(&lab)),
        "{:?}",
        told(&lab)
    );
}

#[derive(Clone, Debug)]
enum Step {
    Seconds(u32),
    Load(bool),
    Waits(&'static str, u64),
    Longest(u64),
    Quiet(bool),
    Mains(bool),
    Consent(u64),
    Pin(Option<&'static str>),
    Hold(bool),
    Game(bool),
    Death,
    Break(bool),
    Mode(TrialMode),
    Reload,
    End,
    Away(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let name = || prop::sample::select(&["kernel", "flash", "cosmos"][..]);
    prop_oneof![
        12 => (1u32..900).prop_map(Step::Seconds),
        2 => any::<bool>().prop_map(Step::Load),
        2 => (name(), 1u64..30).prop_map(|(name, ms)| Step::Waits(name, ms)),
        1 => prop::sample::select(&[1u64, 1500][..]).prop_map(Step::Longest),
        1 => any::<bool>().prop_map(Step::Quiet),
        1 => any::<bool>().prop_map(Step::Mains),
        2 => (0u64..4000).prop_map(Step::Consent),
        1 => prop::option::of(name()).prop_map(Step::Pin),
        1 => any::<bool>().prop_map(Step::Hold),
        1 => any::<bool>().prop_map(Step::Game),
        1 => Just(Step::Death),
        1 => any::<bool>().prop_map(Step::Break),
        1 => prop::sample::select(TrialMode::ALL.to_vec()).prop_map(Step::Mode),
        1 => Just(Step::Reload),
        1 => Just(Step::End),
        1 => (1u64..5000).prop_map(Step::Away),
    ]
}

fn perform(lab: &mut Lab, step: &Step) {
    let machine = &mut lab.machine;
    match step {
        Step::Seconds(count) => lab.seconds(*count, |_| false),
        Step::Load(loaded) => lab.loaded = *loaded,
        Step::Waits(name, ms) => drop(lab.waits.insert(name, *ms)),
        Step::Longest(ms) => drop(lab.longest.insert("flash", *ms)),
        Step::Quiet(quiet) => {
            let unquiet = if *quiet { vec![] } else { vec![Unquiet::Sound] };
            machine.happens(Event::Quiet(unquiet));
        }
        Step::Mains(mains) => machine.happens(Event::Power(mains.then_some(Power::Ac))),
        Step::Consent(seconds) => lab.consents(Duration::from_secs(*seconds)),
        Step::Pin(None) => machine.happens(Event::Unpinned),
        Step::Pin(Some(name)) => machine.happens(Event::Pinned {
            to: candidates(&[name]).swap_remove(0),
            lasts: Some(HOUR),
            by: None,
        }),
        Step::Hold(true) => machine.happens(Event::Held {
            cookie: 1,
            application: "game".into(),
            reason: String::new(),
        }),
        Step::Hold(false) => machine.happens(Event::Released { cookie: 1 }),
        Step::Game(true) => machine.happens(Event::Processes(vec![precedence::process(7, "game")])),
        Step::Game(false) => {
            let ended = auto_ext_signals::ProcessEvent::Ended { pid: 7 };
            machine.happens(Event::Processes(vec![ended]));
        }
        Step::Death => machine.dies(),
        Step::Break(broken) => {
            machine.broken = broken.then(|| "flash".to_owned()).into_iter().collect();
        }
        Step::Mode(mode) => {
            machine.policy.trials.mode = *mode;
            machine.happens(Event::PolicyChanged);
        }
        Step::Reload => machine.happens(Event::PolicyChanged),
        Step::End => machine.happens(Event::TrialEnded),
        Step::Away(seconds) => machine.sleeps(Duration::from_secs(*seconds)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_trial_never_outlives_quiet_nor_its_budget(steps in prop::collection::vec(step(), 1..60), ask: bool) {
        let mut lab = Lab::new(if ask { TrialMode::Ask } else { TrialMode::On });
        for step in &steps {
            perform(&mut lab, step);
            let state = &lab.machine.state;
            let trial = state.trials().trial();
            prop_assert!(trial.is_none() || state.trials().unquiet().is_empty());
            prop_assert_eq!(state.trials().measures(), trial.is_some());
            prop_assert_eq!(state.choice().trial, trial.is_some());
            if trial.is_some() {
                prop_assert!(state.pin().is_none() && state.holds().is_empty());
                prop_assert_eq!(state.power(), Some(Power::Ac));
                prop_assert_eq!(state.mode(), &Mode::Auto);
                prop_assert!(state.class() != "game");
                prop_assert!(lab.machine.policy.trials.mode != TrialMode::Off);
            }
        }
        check_budget(&lab, &[]);
        let limit = lab.machine.policy.stability.max_switches_per_hour as usize;
        for (index, (start, _)) in lab.machine.switches.iter().enumerate() {
            let hour = lab.machine.switches[index..].iter().filter(|(at, _)| *at < *start + HOUR);
            prop_assert!(hour.count() <= limit);
        }
    }
}
