//! What holds whatever guests want and whatever happens to them.

use std::sync::Arc;

use proptest::prelude::*;

use crate::action::Action;
use crate::config::{Config, CpuConfig, MemoryConfig, Mode, Reclaim};
use crate::core::{Event, State, decide};
use crate::memory::budget;
use crate::simulation::{Balloon, Host, Ramp, Run, SimGuest, SimVcpu, id, vcpus};
use crate::snapshot::{Mib, Snapshot};
use crate::topology::Cpus;

/// Rounding.
const EPSILON: Mib = 1e-6;

fn acting(reclaim: Reclaim) -> Config {
    Config {
        cpu: CpuConfig {
            mode: Mode::Act,
            ..CpuConfig::default()
        },
        memory: MemoryConfig {
            mode: Mode::Act,
            reclaim,
            ..MemoryConfig::default()
        },
        ..Config::default()
    }
}

/// A guest's memory, by chance.
fn balloon() -> impl Strategy<Value = Balloon> {
    let ramp =
        (0u32..30, 1u32..40, 0f64..200.0, 0f64..1500.0).prop_map(|(begin, length, by, most)| {
            Ramp {
                begin,
                end: begin + length,
                by,
                most,
            }
        });
    let numbers = (
        200f64..2048.0,
        40f64..400.0,
        0f64..1024.0,
        5f64..400.0,
        0f64..80.0,
    );
    (numbers, prop::collection::vec(ramp, 0..3), 0u8..8).prop_map(|(numbers, ramps, kind)| {
        let (actual, base, swap, speed, cached_by) = numbers;
        let mut balloon = Balloon {
            base: base.min(actual),
            rss: base.min(actual),
            swap,
            speed,
            ramps,
            cached_by,
            ..Balloon::plain(actual)
        };
        if let Some(driver) = &mut balloon.driver {
            driver.is_late = kind & 1 > 0;
            driver.deflates_on_oom = kind & 2 > 0;
            driver.speaks_every = 1 + u32::from(kind & 4 > 0);
        }
        balloon
    })
}

/// What is wrong with what is to be done about memory.
fn wrong_about_memory(seen: &Snapshot, state: &State, actions: &[Action]) -> Option<String> {
    let mut gives = false;
    for action in actions {
        let Action::Target(guest, target) = action else {
            continue;
        };
        let memory = &seen.guests.iter().find(|of| of.id == *guest)?.memory;
        let change = target - memory.actual;
        let suffers = state.memory().known()[guest].suffers();
        let most = if suffers { 200.0 } else { 100.0 };
        gives |= change > EPSILON;
        let used = state.memory().known()[guest].used();
        let floor = memory.actual.min(200.0_f64.max(used + 100.0));
        if change < -100.0 - EPSILON || change > most + EPSILON {
            return Some(format!("a step of {change}"));
        }
        if *target > memory.max + EPSILON || *target < floor - EPSILON {
            return Some(format!("{target} is below {floor} or above {}", memory.max));
        }
    }
    let target = |guest: &_| Some(state.memory().known().get(guest)?.target());
    let left = budget(seen, 200.0, target).unwrap();
    (gives && left < -EPSILON).then(|| format!("{left} MiB are promised and not there"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_step_is_too_large_and_no_promise_empty(
        balloons in prop::collection::vec(balloon(), 1..5),
        left in -200f64..3000.0,
        always in any::<bool>(),
    ) {
        let promised: f64 = balloons.iter().map(|balloon| balloon.actual).sum();
        let guests = balloons.into_iter().enumerate().map(|(number, balloon)| SimGuest {
            balloon,
            ..SimGuest::new(number, vec![SimVcpu::new(1.0, 4)])
        });
        let mut host = Host::new(4, guests.collect());
        host.memory = promised + left;
        let config = acting(if always { Reclaim::Always } else { Reclaim::Needed });
        let mut state = State::default();
        for _ in 0..60 {
            host.advance();
            let seen = Arc::new(host.snapshot());
            let (next, actions) = decide(&config, &state, Event::Snapshot(seen.clone()), host.now());
            let wrong = wrong_about_memory(&seen, &next, &actions);
            prop_assert!(wrong.is_none(), "step {}: {wrong:?}", host.step);
            state = next;
            for action in &actions {
                host.apply(action);
            }
        }
    }

    #[test]
    fn no_window_and_no_hour_has_too_many_pins_and_who_was_pinned_stays_for_three_windows(
        wants in prop::collection::vec(prop::collection::vec(0f64..100.0, 6), 40),
        places in prop::collection::vec(0u32..3, 6),
    ) {
        let mut host = vcpus(3, &wants[0], |number| Some(places[number]));
        host.interval = std::time::Duration::from_secs(60);
        let mut run = Run::new(host, acting(Reclaim::Needed));
        for wants in &wants {
            for (guest, wants) in run.host.guests.iter_mut().zip(wants) {
                guest.vcpus[0].wants = *wants;
            }
            run.step();
        }
        let back = run.actions.iter().filter(|(_, action)| matches!(action, Action::Say(_)));
        let back: Vec<u32> = back.map(|(step, _)| *step).collect();
        let planned = run.host.pins.iter().filter(|(step, ..)| !back.contains(step));
        let planned: Vec<_> = planned.collect();
        for at in 1..=40 {
            prop_assert!(planned.iter().filter(|(step, ..)| *step == at).count() <= 8);
        }
        // All of it is less than an hour.
        prop_assert!(planned.len() <= 36);
        for number in 0..6 {
            let of = planned.iter().filter(|(_, vcpu, _)| vcpu.guest == id(number));
            let steps: Vec<u32> = of.map(|(step, ..)| *step).collect();
            prop_assert!(steps.windows(2).all(|pair| pair[1] >= pair[0] + 3), "{steps:?}");
        }
    }

    #[test]
    fn the_same_input_has_the_same_plan_in_whatever_order_it_is_seen(
        wants in prop::collection::vec(0f64..100.0, 6),
        places in prop::collection::vec(0u32..3, 6),
        order in Just((0..6).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let host = vcpus(3, &wants, |number| Some(places[number]));
        let mut other = host.clone();
        other.guests = order.iter().map(|number| host.guests[*number].clone()).collect();
        let pins = |host: Host| {
            let mut run = Run::new(host, acting(Reclaim::Needed));
            run.steps(4, |_| {});
            let mut pins: Vec<(u32, String, Cpus)> = run
                .host
                .pins
                .iter()
                .map(|(step, vcpu, cpus)| (*step, vcpu.to_string(), cpus.clone()))
                .collect();
            pins.sort();
            pins
        };
        prop_assert_eq!(pins(host.clone()), pins(host.clone()));
        prop_assert_eq!(pins(host), pins(other));
    }
}
