//! One run: events in, actions out, and what came of it by the truth that the decisions do not know.

use crate::core::{Act, Action, Config, Event, Moment, State, decide};
use crate::trial::WINDOW;

use super::world::{Counting, Scenario, World};

/// How often the machine is looked at while nothing is counted, in seconds.
const LOOK: u64 = 60;
/// How often something changes where things do, on average, in seconds.
const CHANGE: u64 = 5400;
/// What is under what was found by more than this is harm.
const HARM: f64 = -0.02;
/// And by more than this, clearly.
const MUCH_HARM: f64 = -0.15;
/// How long a run goes on once something was proven, in seconds, if nothing changes by itself.
const AFTERWARDS: u64 = 3900;

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// A trial adopted something.
    pub adopted: bool,
    /// That proved so.
    pub proven: bool,
    /// How many trials there were.
    pub trials: u32,
    /// Which part of the time they took, each being the only one in its hour.
    pub trial_share: f64,
    /// What was gained over all, in parts of what was found.
    pub gain: f64,
    /// The longest harm in one go while trying, in seconds.
    pub harm_trying: u64,
    /// The same of clear harm.
    pub much_harm_trying: u64,
    /// The same after something was adopted.
    pub harm_adopted: u64,
    /// How many groups were placed with workers that share a hardware thread.
    pub misplaced: u32,
    /// The most masks that were changed within a second while nothing was tried.
    pub masks_outside: usize,
}

/// For how long something goes on, and for how long it did at most.
#[derive(Default)]
struct Longest {
    now: u64,
    most: u64,
}

impl Longest {
    fn add(&mut self, goes_on: bool, seconds: u64) {
        self.now = if goes_on { self.now + seconds } else { 0 };
        self.most = self.most.max(self.now);
    }
}

/// A run.
struct Run {
    world: World,
    config: Config,
    state: State,
    now: Moment,
    report: Report,
    trying: u64,
    /// The second in which masks were changed last while nothing was tried, and how many.
    masks: (u64, usize),
}

impl Run {
    fn event(&mut self, event: Event) {
        let was_trying = self.state.is_trying();
        let (state, actions) = decide(&self.config, &self.state, event, self.now);
        self.state = state;
        for action in actions {
            match action {
                Action::Pin(candidate) => {
                    self.report.misplaced += u32::from(!self.world.fits(&candidate));
                    if !was_trying {
                        self.changed(candidate.masks.len());
                    }
                }
                Action::Count(true) => self.report.trials += 1,
                _ => {}
            }
        }
        self.report.adopted |= self.state.gain().is_some();
        self.report.proven |= self.state.is_proven();
    }

    /// So many masks are changed now while nothing is tried.
    fn changed(&mut self, masks: usize) {
        let second = self.now.as_secs();
        let before = if self.masks.0 == second {
            self.masks.1
        } else {
            0
        };
        self.masks = (second, before + masks);
        self.report.masks_outside = self.report.masks_outside.max(self.masks.1);
    }

    fn look(&mut self) {
        let situation = self.world.situation();
        self.event(Event::Situation(Ok(situation)));
    }

    /// What happens by itself in so many seconds.
    fn happen(&mut self, seconds: u64) {
        let Scenario {
            phases,
            comes_and_goes,
            ..
        } = self.world.scenario;
        let mut happens = || self.world.chance.u64(0..CHANGE) < seconds;
        let (changes, comes) = (phases && happens(), comes_and_goes && happens());
        if changes {
            self.world.change();
        }
        if comes {
            self.world.replace();
            self.look();
        }
    }
}

/// Runs a scenario; `None` where chance makes no machine of its kind.
#[must_use]
pub fn run(scenario: Scenario, seed: u64) -> Option<Report> {
    let mut run = Run {
        world: World::new(scenario, seed)?,
        config: Config {
            act: Act::Trial,
            ..Config::default()
        },
        state: State::default(),
        now: Moment::ZERO,
        report: Report::default(),
        trying: 0,
        masks: (0, 0),
    };
    let counters = match scenario.counting {
        Counting::Honest | Counting::Lying => Ok(()),
        Counting::Absent => Err("there are no counters".to_owned()),
    };
    run.event(Event::Counters(counters));
    run.look();
    let end = Moment::from_secs(scenario.hours * 3600);
    let changes = scenario.phases || scenario.comes_and_goes;
    let mut proven_at = None;
    let (mut trying, mut trying_much, mut adopted) =
        (Longest::default(), Longest::default(), Longest::default());
    while run.now < end {
        let is_busy = run.state.is_trying() || run.state.gain().is_some();
        let seconds = if is_busy { WINDOW } else { LOOK };
        let placed = run.state.placed().cloned();
        let gain = placed.as_ref().map_or(0.0, |placed| run.world.gain(placed));
        let is_trying = run.state.is_trying();
        trying.add(is_trying && gain < HARM, seconds);
        trying_much.add(is_trying && gain < MUCH_HARM, seconds);
        adopted.add(!is_trying && gain < HARM, seconds);
        run.trying += if is_trying { seconds } else { 0 };
        run.report.gain += gain * seconds as f64;
        run.now += Moment::from_secs(seconds);
        if is_busy && scenario.counting != Counting::Absent {
            let observed = run.world.count(placed.as_ref());
            run.event(Event::Window(observed));
        } else {
            run.event(Event::Tick);
        }
        run.happen(seconds);
        if run.report.proven && !changes {
            let since = *proven_at.get_or_insert(run.now);
            if run.now.saturating_sub(since) > Moment::from_secs(AFTERWARDS) {
                break;
            }
        }
    }
    let time = run.now.as_secs_f64();
    Some(Report {
        trial_share: run.trying as f64 / time.max(f64::from(run.report.trials) * 3600.0),
        gain: run.report.gain / time,
        harm_trying: trying.most,
        much_harm_trying: trying_much.most,
        harm_adopted: adopted.most,
        ..run.report
    })
}
