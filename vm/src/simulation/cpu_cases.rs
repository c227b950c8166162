//! Hosts with vCPUs, what happens on them, and how many pins that takes.

use std::ops::RangeInclusive;

use crate::config::{Config, CpuConfig, Mode};
use crate::core::Event;
use crate::topology::Cpus;

use super::host::{Host, SimGuest, SimVcpu, id};
use super::run::Run;

/// How many pins there are to be.
#[derive(Clone, Copy, Debug)]
pub enum Pins {
    /// So many.
    Are(usize),
    /// No more.
    AtMost(usize),
}

use Pins::{Are, AtMost};

/// A case.
pub struct CpuCase {
    /// What it is called.
    pub name: &'static str,
    /// The host at its beginning.
    pub host: fn() -> Host,
    /// What happens before each step.
    pub happens: fn(&mut Run),
    /// How many pins there are to be in which steps.
    pub pins: &'static [(RangeInclusive<u32>, Pins)],
    /// How evenly the CPUs are used in a step, at the most and in truth.
    pub sigma: Option<(u32, f64)>,
    /// What must hold after each step.
    pub holds: fn(&Run) -> bool,
}

/// Guests of one vCPU that want so much, each pinned to a CPU or to none.
#[must_use]
pub fn vcpus(cpus: u32, wants: &[f64], at: impl Fn(usize) -> Option<u32>) -> Host {
    let guest = |(number, wants): (usize, &f64)| {
        let mut vcpu = SimVcpu::new(*wants, cpus);
        if let Some(cpu) = at(number) {
            vcpu.mask = Cpus::from([cpu]);
        }
        SimGuest::new(number, vec![vcpu])
    };
    Host::new(cpus, wants.iter().enumerate().map(guest).collect())
}

/// Where the vCPUs of a guest may run.
#[must_use]
pub fn pinned(host: &Host, number: usize) -> Vec<Cpus> {
    let of = host.guests.iter().find(|guest| guest.id == id(number));
    let vcpus = of.into_iter().flat_map(|guest| &guest.vcpus);
    vcpus.map(|vcpu| vcpu.mask.clone()).collect()
}

impl CpuCase {
    /// The case at its beginning.
    #[must_use]
    pub fn run(&self) -> Run {
        let cpu = CpuConfig {
            mode: Mode::Act,
            ..CpuConfig::default()
        };
        let config = Config {
            cpu,
            ..Config::default()
        };
        Run::new((self.host)(), config)
    }
}

const PLAIN: CpuCase = CpuCase {
    name: "",
    host: || Host::new(4, Vec::new()),
    happens: |_| {},
    pins: &[],
    sigma: None,
    holds: |_| true,
};

const EIGHT: [f64; 8] = [50.0; 8];
const MIXED: [f64; 8] = [100.0, 100.0, 100.0, 100.0, 50.0, 50.0, 50.0, 50.0];
const SIXTEEN: [f64; 16] = [50.0; 16];

/// Heavy ones first, then as many light ones.
fn mixed(count: usize) -> Vec<f64> {
    let heavy = |number| if number < count / 2 { 100.0 } else { 50.0 };
    (0..count).map(heavy).collect()
}

/// So many guests one after the other on each CPU.
fn in_turn(each: usize) -> impl Fn(usize) -> Option<u32> {
    move |number| u32::try_from(number / each).ok()
}

/// The guests one after the other on so many CPUs, again and again.
fn around(cpus: usize) -> impl Fn(usize) -> Option<u32> {
    move |number| u32::try_from(number % cpus).ok()
}

fn nowhere(_: usize) -> Option<u32> {
    None
}

fn on_0(_: usize) -> Option<u32> {
    Some(0)
}

/// Before a step, has a guest want so much.
fn want(run: &mut Run, number: usize, wants: f64) {
    if let Some(guest) = run.host.guest(number) {
        guest.vcpus[0].wants = wants;
    }
}

/// Whether each CPU has one vCPU that wants 100 and one that wants 50, once there were pins.
fn is_mixed(run: &Run) -> bool {
    let each = |cpu: u32| {
        let guests = run.host.guests.iter().map(|guest| &guest.vcpus[0]);
        let on = guests.filter(|vcpu| vcpu.mask == Cpus::from([cpu]));
        let mut wants: Vec<f64> = on.map(|vcpu| vcpu.wants).collect();
        wants.sort_by(f64::total_cmp);
        wants == [50.0, 100.0]
    };
    run.host.step < 4 || (0..4).all(each)
}

/// Whether no vCPUs of one guest are pinned to one CPU, once there were pins.
fn are_siblings_apart(run: &Run) -> bool {
    run.host.guests.iter().all(|guest| {
        let mut cpus: Vec<&Cpus> = guest.vcpus.iter().map(|vcpu| &vcpu.mask).collect();
        cpus.sort();
        cpus.dedup();
        run.host.step < 4 || cpus.len() == guest.vcpus.len()
    })
}

fn with_siblings(at: impl Fn(usize) -> Option<u32>) -> Host {
    let mut host = vcpus(4, &[50.0; 5], &at);
    let vcpu = host.guests[0].vcpus[0].clone();
    host.guests[0].vcpus = vec![vcpu; 4];
    host
}

fn with_host_task() -> Host {
    let mut host = vcpus(4, &[60.0; 3], in_turn(1));
    host.cpus[0].task = 60.0;
    host
}

/// Niced work on half of the CPUs, which takes all that is left there.
fn with_niced_work(wants: &[f64], at: impl Fn(usize) -> Option<u32>) -> Host {
    let mut host = vcpus(4, wants, at);
    for cpu in &mut host.cpus[1..3] {
        cpu.niced = 100.0;
    }
    host
}

fn with_slow_cpus() -> Host {
    let mut host = vcpus(4, &[50.0; 6], nowhere);
    host.cpus[2].cpu.capacity = 512;
    host.cpus[3].cpu.capacity = 512;
    host
}

fn with_threads(at: impl Fn(usize) -> Option<u32>) -> Host {
    let mut host = vcpus(4, &[100.0; 2], at);
    for cpu in &mut host.cpus {
        cpu.cpu.core = cpu.cpu.id / 2;
    }
    host
}

fn with_nodes() -> Host {
    let mut host = vcpus(
        4,
        &[30.0, 30.0, 30.0, 30.0, 20.0, 20.0, 20.0, 20.0],
        nowhere,
    );
    for cpu in &mut host.cpus {
        cpu.cpu.node = cpu.cpu.id / 2;
    }
    for (number, guest) in host.guests.iter_mut().enumerate() {
        guest.home = Some(u32::from(number >= 4));
    }
    host
}

fn with_owners_pins() -> Host {
    let mut host = vcpus(4, &EIGHT, |number| (number < 2).then_some(0));
    for guest in &mut host.guests[..2] {
        guest.vcpus[0].owners = true;
    }
    host
}

fn with_cpuset() -> Host {
    let mut host = vcpus(4, &EIGHT, on_0);
    for guest in &mut host.guests[..4] {
        guest.vcpus[0].allowed = Cpus::from([0, 1]);
    }
    host
}

fn with_stolen_time() -> Host {
    let mut host = vcpus(4, &[60.0; 4], |number| [0, 0, 1, 2].get(number).copied());
    host.cpus[3].stolen = 100.0;
    host
}

/// All cases; where it is not said, of eight guests with one vCPU each on four CPUs.
pub const CPU_CASES: &[CpuCase] = &[
    CpuCase {
        name: "C1 two equal ones on each",
        host: || vcpus(4, &EIGHT, in_turn(2)),
        pins: &[(0..=60, Are(0))],
        ..PLAIN
    },
    CpuCase {
        name: "C2 equal ones, all on one",
        host: || vcpus(4, &EIGHT, on_0),
        pins: &[(0..=2, Are(6)), (3..=60, Are(0))],
        sigma: Some((3, 5.0)),
        ..PLAIN
    },
    CpuCase {
        name: "C3 heavy and light ones, not pinned",
        host: || vcpus(4, &MIXED, nowhere),
        pins: &[(0..=2, Are(8)), (3..=60, Are(0))],
        sigma: Some((3, 0.0)),
        holds: is_mixed,
        ..PLAIN
    },
    CpuCase {
        name: "C3 heavy on heavy, light on light",
        host: || vcpus(4, &MIXED, in_turn(2)),
        pins: &[(0..=2, Are(4)), (3..=60, Are(0))],
        sigma: Some((3, 0.0)),
        holds: is_mixed,
        ..PLAIN
    },
    CpuCase {
        name: "C4 heavy and light ones, all on one",
        host: || vcpus(4, &MIXED, on_0),
        pins: &[(0..=2, Are(6)), (3..=60, Are(0))],
        sigma: Some((3, 0.0)),
        holds: is_mixed,
        ..PLAIN
    },
    CpuCase {
        name: "C5 as many as CPUs, all on one",
        host: || vcpus(8, &EIGHT, on_0),
        pins: &[(0..=2, Are(7)), (3..=60, Are(0))],
        sigma: Some((3, 0.0)),
        ..PLAIN
    },
    CpuCase {
        name: "C5 as many as CPUs, on half of them",
        host: || vcpus(8, &EIGHT, in_turn(2)),
        pins: &[(0..=2, Are(4)), (3..=60, Are(0))],
        sigma: Some((3, 0.0)),
        ..PLAIN
    },
    CpuCase {
        name: "C6 fewer than CPUs, all on one",
        host: || vcpus(4, &[100.0; 3], on_0),
        pins: &[(0..=2, Are(2)), (3..=62, Are(0))],
        sigma: Some((3, 43.302)),
        ..PLAIN
    },
    CpuCase {
        name: "C7 a light one turns heavy, a heavy one light",
        host: || vcpus(4, &MIXED, around(4)),
        happens: |run| {
            if run.host.step == 10 {
                want(run, 1, 50.0);
                want(run, 4, 100.0);
            }
        },
        pins: &[(0..=10, Are(0)), (11..=60, Are(2))],
        sigma: Some((20, 0.0)),
        ..PLAIN
    },
    CpuCase {
        name: "C8 two change places in every interval",
        host: || vcpus(4, &MIXED, around(4)),
        happens: |run| {
            let is_odd = run.host.step % 2 == 1;
            want(run, 1, if is_odd { 50.0 } else { 100.0 });
            want(run, 4, if is_odd { 100.0 } else { 50.0 });
        },
        pins: &[(0..=200, AtMost(2))],
        ..PLAIN
    },
    CpuCase {
        name: "C8 all change in every interval",
        host: || vcpus(4, &MIXED, around(4)),
        happens: |run| {
            for number in 0..8 {
                let is_heavy = (run.host.step % 2 == 1) == (number >= 4);
                want(run, number, if is_heavy { 100.0 } else { 50.0 });
            }
        },
        pins: &[(0..=200, AtMost(2))],
        ..PLAIN
    },
    CpuCase {
        name: "C9 both of one CPU stop, then a new one begins",
        host: || vcpus(4, &EIGHT, in_turn(2)),
        happens: |run| match run.host.step {
            10 => run.host.guests.truncate(6),
            30 => run
                .host
                .guests
                .push(SimGuest::new(8, vec![SimVcpu::new(50.0, 4)])),
            _ => {}
        },
        pins: &[(0..=10, Are(0)), (11..=30, Are(1)), (31..=60, Are(1))],
        ..PLAIN
    },
    CpuCase {
        name: "C10 sixteen on eight, two equal ones on each",
        host: || vcpus(8, &SIXTEEN, in_turn(2)),
        pins: &[(0..=60, Are(0))],
        ..PLAIN
    },
    CpuCase {
        name: "C10 sixteen on eight, equal, all on one",
        host: || vcpus(8, &SIXTEEN, on_0),
        pins: &[(0..=3, Are(14)), (4..=60, Are(0))],
        sigma: Some((4, 5.0)),
        ..PLAIN
    },
    CpuCase {
        name: "C10 sixteen on eight, heavy and light, not pinned",
        host: || vcpus(8, &mixed(16), nowhere),
        pins: &[(0..=3, Are(16)), (4..=60, Are(0))],
        sigma: Some((4, 0.0)),
        ..PLAIN
    },
    CpuCase {
        name: "C10 sixteen on eight, heavy and light, all on one",
        host: || vcpus(8, &mixed(16), on_0),
        pins: &[(0..=3, Are(14)), (4..=60, Are(0))],
        sigma: Some((4, 0.0)),
        ..PLAIN
    },
    CpuCase {
        name: "C11 idle, with noise",
        host: || vcpus(4, &[3.0; 8], in_turn(2)).with_noise(1),
        pins: &[(0..=60, Are(0))],
        ..PLAIN
    },
    CpuCase {
        name: "C12 siblings, not pinned",
        host: || with_siblings(nowhere),
        pins: &[(0..=2, Are(8)), (3..=60, Are(0))],
        sigma: Some((3, 0.0)),
        holds: are_siblings_apart,
        ..PLAIN
    },
    CpuCase {
        name: "C12 siblings, all on one",
        host: || with_siblings(on_0),
        pins: &[(0..=2, Are(6)), (3..=60, Are(0))],
        sigma: Some((3, 0.0)),
        holds: are_siblings_apart,
        ..PLAIN
    },
    CpuCase {
        name: "C13 a task of the host",
        host: with_host_task,
        pins: &[(0..=2, Are(1)), (3..=60, Are(0))],
        sigma: Some((3, 0.0)),
        holds: |run| run.host.step < 4 || pinned(&run.host, 0) == [Cpus::from([3])],
        ..PLAIN
    },
    CpuCase {
        name: "C13 niced work of the host, beside vCPUs that are well placed",
        host: || with_niced_work(&[60.0; 3], around(4)),
        pins: &[(0..=60, Are(0))],
        ..PLAIN
    },
    CpuCase {
        name: "C13 niced work of the host, beside vCPUs that are all on 0",
        host: || with_niced_work(&EIGHT, on_0),
        pins: &[(0..=2, Are(6)), (3..=60, Are(0))],
        sigma: Some((3, 0.0)),
        ..PLAIN
    },
    CpuCase {
        name: "C14 CPUs of half the speed",
        host: with_slow_cpus,
        pins: &[(0..=2, Are(6)), (3..=60, Are(0))],
        sigma: Some((3, 0.0)),
        ..PLAIN
    },
    CpuCase {
        name: "C15 cores of two threads, not pinned",
        host: || with_threads(nowhere),
        pins: &[(0..=2, Are(2)), (3..=60, Are(0))],
        holds: |run| run.host.step < 4 || cores(run) == [0, 1],
        ..PLAIN
    },
    CpuCase {
        name: "C15 cores of two threads, both on one core",
        host: || with_threads(in_turn(1)),
        pins: &[(0..=2, Are(1)), (3..=60, Are(0))],
        holds: |run| run.host.step < 4 || cores(run) == [0, 1],
        ..PLAIN
    },
    CpuCase {
        name: "C16 two nodes",
        host: with_nodes,
        pins: &[(0..=2, Are(8)), (3..=60, Are(0))],
        holds: |run| {
            let is_home = |number: usize| {
                let home = if number < 4 { [0, 1] } else { [2, 3] };
                pinned(&run.host, number)
                    .iter()
                    .all(|mask| mask.is_subset(&Cpus::from(home)))
            };
            run.host.step < 4 || (0..8).all(is_home)
        },
        ..PLAIN
    },
    CpuCase {
        name: "C17 the owner's pins",
        host: with_owners_pins,
        pins: &[(0..=2, Are(6)), (3..=60, Are(0))],
        sigma: Some((3, 0.0)),
        holds: |run| (0..2).all(|number| pinned(&run.host, number) == [Cpus::from([0])]),
        ..PLAIN
    },
    CpuCase {
        name: "C18 a cpuset",
        host: with_cpuset,
        pins: &[(0..=2, Are(6)), (3..=60, Are(0))],
        sigma: Some((3, 0.0)),
        holds: |run| {
            let obeys = |number| pinned(&run.host, number)[0].is_subset(&Cpus::from([0, 1]));
            (0..4).all(obeys)
        },
        ..PLAIN
    },
    CpuCase {
        name: "C19 a CPU goes",
        host: || vcpus(4, &EIGHT, in_turn(2)),
        happens: |run| {
            if run.host.step == 10 {
                run.host.set_online(3, false);
            }
        },
        pins: &[(0..=10, Are(0)), (11..=60, Are(2))],
        holds: |run| {
            (0..6u32).all(|number| pinned(&run.host, number as usize) == [Cpus::from([number / 2])])
        },
        ..PLAIN
    },
    CpuCase {
        name: "C20 a guest hangs",
        host: || {
            let mut host = vcpus(4, &EIGHT, on_0);
            host.guests[0].hangs_until = 7;
            host
        },
        pins: &[(0..=2, AtMost(6)), (8..=60, Are(0))],
        sigma: Some((10, 0.0)),
        holds: |run| {
            let others = (1..8).filter(|number| pinned(&run.host, *number) == [Cpus::from([0])]);
            // One of those on the fullest CPU hangs: no more than two others are left there.
            run.host.step < 2 || others.count() <= 2
        },
        ..PLAIN
    },
    CpuCase {
        name: "C21 somebody else pins one",
        host: || vcpus(4, &EIGHT, in_turn(2)),
        happens: |run| {
            if run.host.step == 10
                && let Some(guest) = run.host.guest(0)
            {
                guest.vcpus[0].mask = Cpus::from([3]);
            }
        },
        pins: &[(0..=10, Are(0)), (11..=60, Are(1))],
        sigma: Some((20, 0.0)),
        holds: |run| run.host.step < 11 || pinned(&run.host, 0) == [Cpus::from([3])],
    },
    CpuCase {
        name: "C22 steal rises",
        host: with_stolen_time,
        pins: &[(0..=2, Are(1)), (3..=5, Are(1)), (6..=300, AtMost(8))],
        holds: |run| {
            run.host.step != 6
                || (0..2).all(|number| pinned(&run.host, number) == [Cpus::from([0])])
        },
        ..PLAIN
    },
    CpuCase {
        name: "C23 exit",
        host: || vcpus(4, &MIXED, nowhere),
        happens: |run| {
            if run.host.step == 10 {
                run.event(Event::Exit);
            }
        },
        pins: &[
            (0..=2, Are(8)),
            (3..=9, Are(0)),
            (10..=10, Are(8)),
            (11..=40, Are(0)),
        ],
        holds: |run| {
            let is_as_found = |number| pinned(&run.host, number) == [Cpus::from([0, 1, 2, 3])];
            run.host.step < 11 || (0..8).all(is_as_found)
        },
        ..PLAIN
    },
    CpuCase {
        name: "C24 CPUs that are wanted three times over",
        host: || vcpus(2, &[75.0; 8], nowhere).with_noise(2),
        pins: &[(0..=2, Are(8)), (3..=60, Are(0))],
        ..PLAIN
    },
];

/// The cores of the first two guests.
fn cores(run: &Run) -> Vec<u32> {
    let cpus = (0..2)
        .flat_map(|number| pinned(&run.host, number))
        .flatten();
    let mut cores: Vec<u32> = cpus.map(|cpu| cpu / 2).collect();
    cores.sort_unstable();
    cores
}
