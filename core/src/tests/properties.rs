//! What holds whatever happens, in whatever order.

use auto_ext_policy::{Power, Stability};
use auto_ext_signals::ProcessEvent;
use proptest::prelude::*;

use super::*;
use crate::Lease;

#[derive(Clone, Debug)]
enum Step {
    Windows { count: u32, cpu: f64, net: f64 },
    Death,
    Break(bool),
    Foreign,
    Away(u64),
    Hold(bool),
    Lease { name: &'static str, is_turn: bool },
    Release,
    Game(bool),
    Battery(bool),
    Asleep(bool),
    Reload,
    Names(&'static [&'static str]),
    Sleep(u64),
    CoreScheduling(bool),
    Pin(&'static str, Option<u64>),
    Unpin,
}

/// What a policy may call bpfland: also by two names at once.
const NAMES: [&[&str]; 4] = [
    &["bpfland"],
    &[ALIAS],
    &[ALIAS, "bpfland"],
    &["bpfland", ALIAS],
];

/// What can happen while loads alone decide what runs.
fn measured_step() -> impl Strategy<Value = Step> {
    let share = prop_oneof![Just(0.0), Just(1.0), 0.0f64..1.0];
    prop_oneof![
        8 => (1u32..60, share.clone(), share)
            .prop_map(|(count, cpu, net)| Step::Windows { count, cpu, net }),
        1 => Just(Step::Death),
        1 => any::<bool>().prop_map(Step::Break),
        1 => Just(Step::Foreign),
        1 => (1u64..7200).prop_map(Step::Away),
        1 => any::<bool>().prop_map(Step::Hold),
    ]
}

/// As [`measured_step`], with what overrules a load.
fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        9 => measured_step(),
        1 => any::<bool>().prop_map(Step::Game),
        1 => any::<bool>().prop_map(Step::Battery),
        1 => any::<bool>().prop_map(Step::Asleep),
        1 => Just(Step::Reload),
        1 => (prop::sample::select(&["flash", "bpfland", "kernel"][..]), any::<bool>())
            .prop_map(|(name, is_turn)| Step::Lease { name, is_turn }),
        1 => Just(Step::Release),
        2 => prop::sample::select(&NAMES[..]).prop_map(Step::Names),
        1 => (1u64..100_000).prop_map(Step::Sleep),
        1 => any::<bool>().prop_map(Step::CoreScheduling),
    ]
}

/// As [`step`], with a person.
fn step_or_pin() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => step(),
        1 => (
            prop::sample::select(&["flash", "bpfland", ALIAS, "kernel"][..]),
            prop::option::of(1u64..3600),
        )
            .prop_map(|(name, lasts)| Step::Pin(name, lasts)),
        1 => Just(Step::Unpin),
    ]
}

fn stability() -> impl Strategy<Value = Stability> {
    (0u64..30, 0u64..2000, 2u32..40).prop_map(|(min_run, settle, max_switches_per_hour)| {
        Stability {
            min_run: Duration::from_secs(min_run),
            settle: Duration::from_millis(settle),
            max_switches_per_hour,
        }
    })
}

fn run(stability: Stability, steps: &[Step]) -> Machine {
    let mut machine = precedence::machine();
    machine.policy.stability = stability;
    for step in steps {
        perform(&mut machine, step);
    }
    machine
}

fn perform(machine: &mut Machine, step: &Step) {
    match step {
        Step::Windows { count, cpu, net } => machine.windows(*count, *cpu, *net),
        Step::Death => machine.dies(),
        Step::Break(broken) => {
            machine.broken = broken.then(|| "bpfland".to_owned()).into_iter().collect();
        }
        Step::Foreign if machine.state.running().is_none() => {
            machine.kernel(KernelState::Enabled {
                ops: "homemade".into(),
            });
            machine.windows(2, 1.0, 0.0);
            // A pin may have taken its place.
            if machine.state.running().is_none() {
                machine.kernel(KernelState::Disabled);
            }
        }
        Step::Foreign => {}
        Step::Away(seconds) => machine.now += Duration::from_secs(*seconds),
        Step::Hold(true) => machine.happens(Event::Held {
            cookie: 1,
            application: "game".into(),
            reason: String::new(),
        }),
        Step::Hold(false) => machine.happens(Event::Released { cookie: 1 }),
        Step::Lease { name, is_turn } => {
            let to = candidates(&[name]).swap_remove(0);
            // A number is in use once.
            machine.happens(Event::Released { cookie: 2 });
            let lease = Lease::new(2, to, "game".into(), String::new());
            let lease = if *is_turn { lease.for_a_turn() } else { lease };
            machine.happens(Event::Leased(lease));
        }
        Step::Release => machine.happens(Event::Released { cookie: 2 }),
        Step::Game(true) => machine.happens(Event::Processes(vec![precedence::process(7, "game")])),
        Step::Game(false) => {
            machine.happens(Event::Processes(vec![ProcessEvent::Ended { pid: 7 }]));
        }
        Step::CoreScheduling(used) => machine.happens(Event::CoreScheduling(match used {
            true => CoreScheduling::Used("cloud-hypervisor".into()),
            false => CoreScheduling::Unused,
        })),
        Step::Battery(true) => machine.happens(Event::Power(Some(Power::Battery))),
        Step::Battery(false) => machine.happens(Event::Power(None)),
        Step::Asleep(true) => machine.happens(Event::FallsAsleep),
        Step::Asleep(false) => machine.happens(Event::WakesUp),
        Step::Reload => machine.happens(Event::PolicyChanged),
        Step::Names(names) => machine.calls_bpfland(names),
        Step::Sleep(seconds) => machine.sleeps(Duration::from_secs(*seconds)),
        Step::Pin(name, lasts) => machine.happens(Event::Pinned {
            to: candidates(&[name]).swap_remove(0),
            lasts: lasts.map(Duration::from_secs),
            by: None,
        }),
        Step::Unpin => machine.happens(Event::Unpinned),
    }
}

proptest! {
    #[test]
    fn there_are_never_more_switches_in_an_hour_than_the_policy_allows(
        stability in stability(), steps in prop::collection::vec(step_or_pin(), 1..120),
    ) {
        let machine = run(stability, &steps);
        let limit = stability.max_switches_per_hour as usize;
        for (index, (start, _)) in machine.switches.iter().enumerate() {
            let hour = machine.switches[index..]
                .iter()
                .filter(|(at, _)| *at < *start + Duration::from_hours(1))
                .count();
            prop_assert!(hour <= limit, "{hour} switches from {start:?}");
        }
    }

    /// That higher precedences may overrule it is checked at every switch by the machine itself.
    #[test]
    fn a_scheduler_is_not_replaced_before_its_minimum_unless_it_died(
        stability in stability(), steps in prop::collection::vec(measured_step(), 1..120),
    ) {
        let machine = run(stability, &steps);
        for pair in machine.switches.windows(2) {
            let [(start, from), (end, to)] = pair else { unreachable!() };
            if !["kernel", DEATH, FAILURE].contains(&from.as_str()) && to != DEATH {
                prop_assert!(*end - *start >= stability.min_run, "{from} {start:?}, {to} {end:?}");
            }
        }
    }

    #[test]
    fn a_signal_that_hovers_at_a_threshold_changes_what_runs_once_at_most(
        stability in stability(), at_high: bool, start in 0.0f64..1.0,
        around in prop::collection::vec(-1.0f64..1.0, 1..600),
    ) {
        let mut machine = precedence::machine();
        machine.policy.stability = stability;
        machine.windows(80, start, 0.0);
        let before = machine.switches.len();
        let mut classes = vec![machine.state.class().to_owned()];
        let threshold = machine.policy.signals.get(Signal::Cpu);
        let middle = if at_high { threshold.high } else { threshold.low };
        // Not so far that the other threshold would be reached.
        let amplitude = 0.9 * (threshold.high - threshold.low);
        for value in around {
            machine.windows(1, middle + amplitude * value, 0.0);
            if classes.last().is_none_or(|last| last != machine.state.class()) {
                classes.push(machine.state.class().to_owned());
            }
        }
        machine.now += Duration::from_secs(30);
        machine.windows(1, middle, 0.0);
        prop_assert!(classes.len() <= 2, "{classes:?}");
        prop_assert!(machine.switches.len() <= before + 1);
    }

    #[test]
    fn a_pin_is_never_overridden(
        stability in stability(),
        before in prop::collection::vec(step_or_pin(), 0..60),
        after in prop::collection::vec(step(), 1..60),
    ) {
        let mut machine = run(stability, &before);
        machine.broken.clear();
        machine.happens(Event::WakesUp);
        machine.happens(Event::CoreScheduling(CoreScheduling::Unused));
        machine.now += SECOND * 10;
        machine.happens(Event::Pinned { to: candidates(&["cosmos"]).swap_remove(0), lasts: None, by: None });
        prop_assert_eq!(machine.running(), "cosmos");
        for step in &after {
            perform(&mut machine, step);
            let running = machine.running();
            // It may have died; then nothing else takes its place.
            prop_assert!(["cosmos", "kernel"].contains(&running), "{running}: {}", machine.state.reason());
            let expected = match machine.state.core_scheduling() {
                CoreScheduling::Unused => Mode::Pinned,
                found => Mode::Observe(ObserveCause::CoreScheduling(found.clone())),
            };
            prop_assert_eq!(machine.state.mode(), &expected);
        }
    }

    #[test]
    fn the_same_events_give_the_same_decisions(
        stability in stability(), steps in prop::collection::vec(step_or_pin(), 1..60),
    ) {
        let (one, other) = (run(stability, &steps), run(stability, &steps));
        prop_assert_eq!(one.switches, other.switches);
        prop_assert_eq!(one.state, other.state);
    }

    #[test]
    fn the_kernels_scheduler_is_always_reachable(
        stability in stability(), steps in prop::collection::vec(step_or_pin(), 1..120), pinned: bool,
    ) {
        let mut machine = run(stability, &steps);
        machine.happens(Event::WakesUp);
        if pinned {
            perform(&mut machine, &Step::Pin("kernel", None));
            machine.windows(4 * 6, 1.0, 0.0);
        } else {
            for step in [Step::Unpin, Step::Hold(false), Step::Release, Step::Game(false), Step::Battery(false)] {
                perform(&mut machine, &step);
            }
            machine.windows(4 * 60, 0.0, 0.0);
        }
        prop_assert_eq!(machine.running(), "kernel", "{}", machine.state.reason());
    }
}
