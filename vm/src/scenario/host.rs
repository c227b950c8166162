//! The host that a scenario describes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{Config, CpuConfig, MemoryConfig, Mode};
use crate::simulation::{Balloon, Host, Ramp, Run, SimGuest, SimVcpu, id};
use crate::snapshot::GuestId;
use crate::topology::{Cpus, FULL_CAPACITY};

use super::file::{GuestLine, MemoryLine, Scenario};

impl Scenario {
    /// The host with the decisions about it, at its beginning.
    #[must_use]
    pub fn run(&self) -> Run {
        Run::new(self.host(), self.config())
    }

    /// How many windows there are.
    #[must_use]
    pub fn windows(&self) -> u32 {
        self.windows
    }

    /// What the guests are called.
    #[must_use]
    pub fn names(&self) -> BTreeMap<GuestId, String> {
        let names = self.guests.iter().enumerate();
        names
            .map(|(number, guest)| (id(number), guest.name.clone()))
            .collect()
    }

    fn config(&self) -> Config {
        Config {
            cpu: CpuConfig {
                mode: Mode::Act,
                ..CpuConfig::default()
            },
            memory: MemoryConfig {
                mode: Mode::Act,
                reclaim: self.reclaim.into(),
                period: Duration::from_secs(u64::from(self.interval)),
                ..MemoryConfig::default()
            },
            ..Config::default()
        }
    }

    fn host(&self) -> Host {
        // There are 256 at most.
        let cpus = u32::try_from(self.cpus.len()).unwrap_or_default();
        let guests = self.guests.iter().enumerate();
        let guests: Vec<SimGuest> = guests
            .map(|(number, line)| guest(number, line, cpus))
            .collect();
        let promised: f64 = guests.iter().map(|guest| guest.balloon.max).sum();
        let mut host = Host::new(cpus, guests);
        host.interval = Duration::from_secs(u64::from(self.interval));
        host.memory = self.memory.map_or(promised + 1024.0, f64::from);
        for (cpu, line) in host.cpus.iter_mut().zip(&self.cpus) {
            cpu.task = f64::from(line.task);
            cpu.cpu.node = line.node;
            cpu.cpu.core = line.core.unwrap_or(cpu.cpu.core);
            cpu.cpu.capacity = line.capacity.unwrap_or(FULL_CAPACITY);
        }
        host
    }
}

fn guest(number: usize, line: &GuestLine, cpus: u32) -> SimGuest {
    let wants = line
        .vcpus
        .iter()
        .map(|wants| SimVcpu::new(f64::from(*wants), cpus));
    let mut guest = SimGuest::new(number, wants.collect());
    for (vcpu, cpu) in guest.vcpus.iter_mut().zip(line.at.iter().flatten()) {
        vcpu.mask = Cpus::from([*cpu]);
    }
    guest.home = line.home;
    if let Some(memory) = &line.memory {
        guest.balloon = balloon(memory);
    }
    guest
}

fn balloon(line: &MemoryLine) -> Balloon {
    let ramp = line.grows.as_ref().map(|ramp| Ramp {
        begin: ramp.from,
        end: ramp.until,
        by: f64::from(ramp.by),
        most: f64::from(ramp.most),
    });
    let mut balloon = Balloon::plain(f64::from(line.actual));
    balloon.max = f64::from(line.max);
    balloon.base = f64::from(line.used);
    balloon.rss = f64::from(line.used);
    balloon.swap = f64::from(line.swap);
    balloon.ramps = ramp.into_iter().collect();
    balloon
}
