//! What events other than windows do, and what is told.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::action::{Action, Notice, Originals};
use crate::config::{Config, CpuConfig, MemoryConfig, Mode};
use crate::core::{Event, explain};
use crate::cpu::Standing;
use crate::simulation::{Balloon, CPU_CASES, Host, Run, SimGuest, SimVcpu, id, pinned, vcpus};
use crate::snapshot::VcpuId;
use crate::topology::Cpus;

fn acting() -> Config {
    Config {
        cpu: CpuConfig {
            mode: Mode::Act,
            ..CpuConfig::default()
        },
        memory: MemoryConfig {
            mode: Mode::Act,
            ..MemoryConfig::default()
        },
        ..Config::default()
    }
}

/// Eight guests that all want half of CPU 0.
fn crowded() -> Host {
    vcpus(4, &[50.0; 8], |_| Some(0))
}

fn with_balloon() -> Host {
    let guest = SimGuest {
        balloon: Balloon::plain(512.0),
        ..SimGuest::new(0, vec![SimVcpu::new(50.0, 4)])
    };
    Host::new(4, vec![guest])
}

fn first(guest: usize) -> VcpuId {
    VcpuId {
        guest: id(guest),
        index: 0,
    }
}

#[test]
fn who_only_observes_says_what_it_would_do_and_does_nothing() {
    let mut run = Run::new(crowded(), Config::default());
    run.steps(5, |_| {});
    assert_eq!(run.actions, []);
    let standing = run.state.cpu().standing();
    assert_eq!(*standing, Standing::Kept(6, "only observing".to_owned()));
    let text = explain(&run.state, ToString::to_string);
    assert!(
        text.starts_with("vCPUs: 6 would be pinned, but: only observing\n"),
        "{text}"
    );
    assert!(
        text.contains("000: its memory is left alone: no balloon"),
        "{text}"
    );
}

#[test]
fn a_pause_ends_by_itself_or_when_a_person_says_so() {
    let mut run = Run::new(crowded(), acting());
    run.event(Event::Paused(Some(Duration::from_secs(30))));
    run.steps(5, |_| {});
    assert_eq!(run.host.pins.len(), 0);
    run.steps(3, |_| {});
    assert_eq!(run.host.pins.len(), 6);
    let mut run = Run::new(crowded(), acting());
    run.event(Event::Paused(None));
    run.steps(20, |_| {});
    assert_eq!(run.host.pins.len(), 0);
    run.event(Event::Resumed);
    run.steps(3, |_| {});
    assert_eq!(run.host.pins.len(), 6);
}

#[test]
fn under_a_sched_ext_scheduler_vcpus_run_where_they_were_found() {
    let mut run = Run::new(crowded(), acting());
    run.steps(5, |_| {});
    run.event(Event::PlacedByOthers(Some(
        "a sched_ext scheduler runs".to_owned(),
    )));
    run.steps(10, |_| {});
    assert!((0..8).all(|number| pinned(&run.host, number) == [Cpus::from([0])]));
    assert_eq!(run.host.pins.len(), 12);
    run.event(Event::PlacedByOthers(None));
    run.steps(5, |_| {});
    assert!(run.host.sigma() < 5.0);
}

#[test]
fn what_was_found_is_kept_before_it_is_changed_and_until_it_is_put_back() {
    let mut run = Run::new(crowded(), acting());
    run.steps(3, |_| {});
    let at = |run: &Run, is_meant: fn(&Action) -> bool| {
        run.actions
            .iter()
            .position(|(_, action)| is_meant(action))
            .unwrap()
    };
    let kept = at(
        &run,
        |action| matches!(action, Action::Remember(kept) if kept.masks.len() == 6),
    );
    assert!(kept < at(&run, |action| matches!(action, Action::Pin(..))));
    run.actions.clear();
    run.event(Event::Exit);
    let forgotten = at(&run, |action| {
        *action == Action::Remember(Originals::default())
    });
    assert_eq!(forgotten, run.actions.len() - 1);
    assert_eq!(run.actions.len(), 7);
    run.steps(5, |_| {});
    assert_eq!(run.actions.len(), 7);
}

#[test]
fn a_guest_that_is_released_is_left_to_others() {
    let mut run = Run::new(crowded(), acting());
    run.steps(5, |_| {});
    let moved = (0..8).find(|number| pinned(&run.host, *number) != [Cpus::from([0])]);
    let moved = moved.unwrap();
    run.event(Event::Released(Some(id(moved))));
    run.steps(20, |_| {});
    assert_eq!(pinned(&run.host, moved), [Cpus::from([0])]);
    assert!(!run.state.originals().masks.contains_key(&first(moved)));
}

#[test]
fn what_an_earlier_life_left_behind_is_put_right() {
    let mut run = Run::new(Host::new(4, Vec::new()), acting());
    run.host = vcpus(4, &[20.0; 4], |number| u32::try_from(number).ok());
    let all = Cpus::from([0, 1, 2, 3]);
    let masks = BTreeMap::from([(first(1), all.clone()), (first(9), all.clone())]);
    run.event(Event::Remembered(Originals {
        masks,
        ..Originals::default()
    }));
    run.step();
    assert_eq!(pinned(&run.host, 1), [all]);
    assert_eq!(run.host.pins.len(), 1);
}

#[test]
fn a_period_is_set_once_and_put_back_at_the_end() {
    let mut host = with_balloon();
    if let Some(driver) = &mut host.guests[0].balloon.driver {
        driver.speaks_every = 4;
    }
    let mut run = Run::new(host, acting());
    run.steps(5, |_| {});
    run.event(Event::Exit);
    let periods = run.actions.iter().filter_map(|(_, action)| match action {
        Action::Period(_, period) => Some(period.unwrap().as_secs()),
        _ => None,
    });
    assert_eq!(periods.collect::<Vec<_>>(), [5, 20]);
}

#[test]
fn pins_that_are_put_back_again_and_again_end_pinning() {
    let case = CPU_CASES
        .iter()
        .find(|case| case.name.starts_with("C22"))
        .unwrap();
    let mut run = case.run();
    run.steps(2000, case.happens);
    let is_meant = |action: &Action| matches!(action, Action::Say(Notice::CpuObserves(_)));
    let told = run.actions.iter().filter(|(_, action)| is_meant(action));
    assert_eq!(told.count(), 1);
    let before = run.host.pins.len();
    run.steps(500, case.happens);
    assert_eq!(run.host.pins.len(), before);
}

#[test]
fn what_could_not_be_read_is_not_zero() {
    let mut run = Run::new(crowded(), acting());
    for _ in 0..5 {
        run.host.advance();
        let mut seen = run.host.snapshot();
        seen.busy[3] = None;
        seen.available = None;
        run.event(Event::Snapshot(seen.into()));
    }
    assert_eq!(run.host.pins.len(), 0);
    assert_eq!(*run.state.cpu().standing(), Standing::Unknown);
    assert_eq!(run.state.memory().budget(), None);
}

#[test]
fn who_wants_whole_nodes_has_each_vcpu_run_on_its_own_once() {
    let mut host = vcpus(4, &[50.0; 4], |_| None);
    for (number, cpu) in host.cpus.iter_mut().enumerate() {
        cpu.cpu.node = u32::from(number >= 2);
    }
    for (number, home) in [(0, Some(0)), (1, Some(1)), (2, None)] {
        host.guests[number].home = home;
    }
    host.guests[3].home = Some(1);
    host.guests[3].vcpus[0].owners = true;
    let mut config = acting();
    config.cpu.by_node = true;
    let mut run = Run::new(host.clone(), config.clone());
    run.steps(10, |_| {});
    let all = [Cpus::from([0, 1, 2, 3])];
    let nodes = [Cpus::from([0, 1]), Cpus::from([2, 3])];
    assert_eq!(pinned(&run.host, 0), nodes[..1]);
    assert_eq!(pinned(&run.host, 1), nodes[1..]);
    assert_eq!(pinned(&run.host, 2), all);
    assert_eq!(pinned(&run.host, 3), all);
    assert_eq!(run.host.pins.len(), 2);
    assert_eq!(*run.state.cpu().standing(), Standing::OnTheirNodes);
    run.event(Event::Exit);
    assert_eq!(run.host.pins.len(), 4);
    config.cpu.mode = Mode::Observe;
    let mut run = Run::new(host, config);
    run.steps(10, |_| {});
    let standing = run.state.cpu().standing();
    assert_eq!(*standing, Standing::Kept(2, "only observing".to_owned()));
}

#[test]
fn a_pin_of_somebody_else_is_replaced_where_the_owner_wants_that() {
    for replace_foreign in [false, true] {
        let mut config = acting();
        config.cpu.replace_foreign = replace_foreign;
        let mut run = Run::new(crowded(), config);
        run.steps(5, |_| {});
        for guest in &mut run.host.guests {
            guest.vcpus[0].mask = Cpus::from([0]);
        }
        run.steps(20, |_| {});
        assert_eq!(run.host.sigma() < 5.0, replace_foreign, "{replace_foreign}");
    }
}
