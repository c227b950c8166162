//! Decisions, event by event.

use std::sync::Arc;

use super::*;
use crate::groups::Key;
use crate::topology::Core;
use crate::trial::WINDOW;

/// Four groups on two cores, of which the first and the second are worth more beside the third and the fourth.
fn situation() -> Situation {
    let member = |number: u32| Member {
        key: Key::ProcessGroup(number),
        job: format!("job {number}"),
        workers: 1,
        weight: 1.0,
    };
    let speed = |one: usize, other: usize| if (one < 2) == (other < 2) { 0.6 } else { 0.85 };
    let members = (0..4).map(member).collect();
    let cores = vec![
        Core {
            cpus: [0, 2].into(),
        },
        Core {
            cpus: [1, 3].into(),
        },
    ];
    Situation::new(members, cores, speed)
}

struct Daemon {
    config: Config,
    state: State,
    now: Moment,
    /// By how many times as fast the groups are while they are placed.
    placed_gain: f64,
    actions: Vec<Action>,
}

impl Daemon {
    fn new() -> Self {
        let config = Config {
            act: Act::Trial,
            ..Config::default()
        };
        Self {
            config,
            state: State::default(),
            now: Moment::ZERO,
            placed_gain: 1.1,
            actions: Vec::new(),
        }
    }

    /// One that has begun a trial.
    fn trying() -> Self {
        let mut daemon = Self::new();
        daemon.event(Event::Counters(Ok(())));
        daemon.event(Event::Situation(Ok(Arc::new(situation()))));
        assert_eq!(daemon.mode(), Mode::Trial);
        daemon
    }

    fn event(&mut self, event: Event) {
        let (state, actions) = decide(&self.config, &self.state, event, self.now);
        self.state = state;
        self.actions = actions;
    }

    /// Lets windows pass for so many seconds.
    fn pass(&mut self, seconds: u64) {
        for at in 0..seconds / WINDOW {
            self.now += Moment::from_secs(WINDOW);
            let noise = if at.is_multiple_of(2) { 1.002 } else { 0.998 };
            let speed = if self.state.placed().is_some() {
                self.placed_gain
            } else {
                1.0
            };
            self.event(Event::Window(Observed {
                speeds: vec![Some(speed * noise); 4],
                delays: vec![Some(0.05); 4],
            }));
        }
    }

    fn mode(&self) -> Mode {
        explain(&self.config, &self.state, self.now).mode
    }

    fn reason(&self) -> String {
        explain(&self.config, &self.state, self.now).reason
    }

    fn restores(&self) -> bool {
        self.actions.contains(&Action::Restore)
    }

    fn outcome(&self) -> Option<Outcome> {
        self.actions.iter().find_map(|action| match action {
            Action::Record(entry) => Some(entry.outcome.clone()),
            _ => None,
        })
    }

    /// Until the trial that is under way is over.
    fn end_trial(&mut self) {
        while self.mode() == Mode::Trial {
            self.pass(WINDOW);
        }
    }
}

#[test]
fn a_trial_goes_from_found_to_candidate_to_found_and_keeps_what_is_better() {
    let mut daemon = Daemon::trying();
    assert_eq!(daemon.state.placed(), None);
    daemon.pass(20);
    let Some(Action::Pin(candidate)) = daemon.actions.first().cloned() else {
        panic!("{:?}", daemon.actions);
    };
    // Whole cores, unlike groups together.
    for (_, mask) in &candidate.masks {
        assert_eq!(mask.len(), 2);
    }
    assert_eq!(daemon.reason(), "tries candidate 1 of 1");
    daemon.pass(20);
    assert!(daemon.restores());
    daemon.end_trial();
    assert_eq!(daemon.mode(), Mode::Active);
    assert!(matches!(daemon.outcome(), Some(Outcome::Adopted { .. })));
    assert!(!daemon.state.is_proven());
    daemon.pass(60);
    assert!(daemon.state.is_proven());
}

#[test]
fn an_only_candidate_is_tried_again_while_it_is_not_clear() {
    // Two percent are wanted.
    for (gain, turns) in [(1.1, 3), (1.019, 3), (1.0205, 7)] {
        let mut daemon = Daemon::trying();
        daemon.placed_gain = gain;
        let begun = daemon.now;
        while daemon.mode() == Mode::Trial {
            daemon.pass(2 * WINDOW);
        }
        let took = daemon.now.saturating_sub(begun);
        assert_eq!(took, Moment::from_secs(20 * turns), "{gain}");
    }
}

#[test]
fn what_is_no_better_is_not_kept_and_tried_again_ever_later() {
    let mut daemon = Daemon::trying();
    daemon.placed_gain = 1.01;
    daemon.end_trial();
    assert!(daemon.restores());
    assert!(matches!(daemon.outcome(), Some(Outcome::Fruitless { .. })));
    assert_eq!(daemon.mode(), Mode::Idle);
    daemon.now += Moment::from_secs(3600);
    daemon.event(Event::Tick);
    assert_eq!(daemon.mode(), Mode::Trial);
    daemon.end_trial();
    daemon.now += Moment::from_secs(3600);
    daemon.event(Event::Tick);
    assert_eq!(daemon.reason(), "these jobs were tried in vain");
    // Who asks does not wait, but by now every pair is known to be worth nothing.
    daemon.event(Event::TrialAsked);
    let nothing = "no placement promises to be better than what the kernel does";
    assert_eq!(daemon.reason(), nothing);
}

#[test]
fn what_does_not_prove_what_the_trial_said_is_taken_back() {
    let mut daemon = Daemon::trying();
    daemon.end_trial();
    daemon.placed_gain = 1.04;
    daemon.pass(60);
    assert_eq!(daemon.mode(), Mode::Idle);
    assert!(daemon.restores());
    assert!(matches!(daemon.outcome(), Some(Outcome::Restored { .. })));
}

#[test]
fn what_was_proven_is_taken_back_when_it_loses_or_changes() {
    for gain in [0.97, 1.3] {
        let mut daemon = Daemon::trying();
        daemon.end_trial();
        daemon.pass(60);
        daemon.placed_gain = gain;
        for _ in 0..45 {
            if daemon.mode() == Mode::Active {
                daemon.pass(WINDOW);
            }
        }
        assert_eq!(daemon.mode(), Mode::Idle, "{gain}");
    }
}

#[test]
fn a_candidate_that_is_far_worse_is_cut_soon() {
    let mut daemon = Daemon::trying();
    daemon.placed_gain = 0.8;
    daemon.pass(20);
    assert!(daemon.state.placed().is_some());
    daemon.pass(6);
    assert_eq!(daemon.state.placed(), None);
    assert!(daemon.restores());
}

#[test]
fn whatever_is_odd_leads_back_to_what_was_found() {
    let mut changed = situation();
    changed.members[0].workers = 2;
    changed.cores.push(Core {
        cpus: [4, 5].into(),
    });
    let odd = [
        Event::Situation(Ok(Arc::new(changed))),
        Event::Situation(Err("a CPU went offline".to_owned())),
        Event::Counters(Err("395 instructions a second".to_owned())),
        Event::OtherScheduler(true),
        Event::Foreign(Key::ProcessGroup(1)),
        Event::Paused(None),
        Event::RestoreAsked,
    ];
    for event in odd {
        for seconds in [20, 180] {
            let mut daemon = Daemon::trying();
            daemon.pass(seconds);
            assert!(daemon.state.placed().is_some());
            daemon.event(event.clone());
            assert!(daemon.restores(), "{event:?}");
            assert_eq!(daemon.state.placed(), None, "{event:?}");
        }
    }
}

#[test]
fn after_another_scheduler_the_kernels_own_has_to_run_for_a_minute() {
    let mut daemon = Daemon::new();
    daemon.event(Event::OtherScheduler(true));
    daemon.event(Event::Counters(Ok(())));
    daemon.event(Event::Situation(Ok(Arc::new(situation()))));
    assert_eq!(daemon.mode(), Mode::Yielded);
    daemon.event(Event::OtherScheduler(false));
    assert_eq!(daemon.mode(), Mode::Yielded);
    daemon.now += Moment::from_secs(60);
    daemon.event(Event::Tick);
    assert_eq!(daemon.mode(), Mode::Trial);
}

#[test]
fn three_trials_that_are_given_up_are_enough_for_a_day() {
    let mut daemon = Daemon::trying();
    for _ in 0..3 {
        assert_eq!(daemon.mode(), Mode::Trial);
        daemon.event(Event::Foreign(Key::ProcessGroup(1)));
        daemon.now += Moment::from_secs(3600);
        daemon.event(Event::Tick);
    }
    assert_eq!(daemon.reason(), "three trials in a row were given up");
    daemon.now += Moment::from_secs(24 * 3600);
    daemon.event(Event::Tick);
    assert_eq!(daemon.mode(), Mode::Trial);
}

#[test]
fn nothing_is_tried_where_it_is_not_wanted_or_not_known() {
    let mut daemon = Daemon::new();
    assert_eq!(daemon.mode(), Mode::Unavailable);
    daemon.event(Event::Situation(Ok(Arc::new(situation()))));
    assert_eq!(daemon.reason(), "the counters were not checked yet");
    daemon.config.act = Act::Observe;
    daemon.event(Event::Counters(Ok(())));
    assert_eq!(daemon.mode(), Mode::Observe);
    daemon.config.act = Act::Trial;
    daemon.event(Event::Paused(Some(Moment::from_secs(5))));
    assert_eq!(daemon.mode(), Mode::Paused);
    daemon.now += Moment::from_secs(5);
    let core = |cpus: [u32; 2]| Core { cpus: cpus.into() };
    let mut few = situation();
    few.cores = (0..4).map(|at| core([at, at + 4])).collect();
    daemon.event(Event::Situation(Ok(Arc::new(few))));
    assert_eq!(daemon.reason(), "each worker can have a core for itself");
    let mut many = situation();
    many.cores = vec![core([0, 1])];
    daemon.event(Event::Situation(Ok(Arc::new(many))));
    assert_eq!(daemon.reason(), "there are more workers than CPUs");
}

#[test]
fn windows_without_counters_prove_nothing() {
    let mut daemon = Daemon::trying();
    for _ in 0..200 {
        daemon.now += Moment::from_secs(WINDOW);
        daemon.event(Event::Window(Observed {
            speeds: vec![None; 4],
            delays: vec![None; 4],
        }));
    }
    assert_eq!(daemon.mode(), Mode::Idle);
    assert_eq!(daemon.state.gain(), None);
}
