//! Hosts with guests that want memory, and what happens on them.

use crate::config::{Config, MemoryConfig, Mode, Reclaim};
use crate::snapshot::Mib;

use super::balloon::{Balloon, Driver, Ramp};
use super::host::{Host, SimGuest, SimVcpu};

/// A case.
pub struct MemoryCase {
    /// What it is called.
    pub name: &'static str,
    /// The host at its beginning.
    pub host: fn() -> Host,
    /// What happens before each step.
    pub happens: fn(&mut Host),
    /// For how many steps.
    pub steps: u32,
    /// When memory is taken.
    pub reclaim: Reclaim,
    /// Whether caches count as used.
    pub count_cache: bool,
}

impl MemoryCase {
    /// What is configured.
    #[must_use]
    pub fn config(&self) -> Config {
        let memory = MemoryConfig {
            mode: Mode::Act,
            reclaim: self.reclaim,
            count_cache: self.count_cache,
            ..MemoryConfig::default()
        };
        Config {
            memory,
            ..Config::default()
        }
    }

    /// The host at its beginning, for each seed but 0 a little different.
    #[must_use]
    pub fn with_seed(&self, seed: u64) -> Host {
        let host = (self.host)();
        if seed == 0 {
            return host;
        }
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut host = host.with_noise(seed);
        for guest in &mut host.guests {
            let balloon = &mut guest.balloon;
            balloon.speed = balloon.speed.min(100.0 + 300.0 * chance.f64());
            if let Some(driver) = &mut balloon.driver {
                driver.is_late = chance.bool();
            }
            for ramp in &mut balloon.ramps {
                ramp.begin += chance.u32(0..8);
                ramp.by *= 0.8 + 0.2 * chance.f64();
            }
        }
        host
    }
}

/// A host with guests of one idle vCPU, all of whose memory but so much is promised to them.
fn host(balloons: Vec<Balloon>, left: Mib) -> Host {
    let promised: f64 = balloons.iter().map(|balloon| balloon.actual).sum();
    let guest = |(number, balloon): (usize, Balloon)| SimGuest {
        balloon,
        ..SimGuest::new(number, vec![SimVcpu::new(1.0, 4)])
    };
    let mut host = Host::new(4, balloons.into_iter().enumerate().map(guest).collect());
    host.memory = promised + left;
    host
}

fn idle() -> Balloon {
    Balloon::plain(512.0)
}

fn growing(begin: u32, end: u32, by: Mib, most: Mib) -> Balloon {
    let ramp = Ramp {
        begin,
        end,
        by,
        most,
    };
    Balloon {
        ramps: vec![ramp],
        ..idle()
    }
}

/// All of it is the guest's already.
fn touched(balloon: Balloon) -> Balloon {
    Balloon {
        rss: balloon.actual,
        ..balloon
    }
}

fn with_driver(balloon: Balloon, change: fn(&mut Driver)) -> Balloon {
    let mut balloon = balloon;
    if let Some(driver) = &mut balloon.driver {
        change(driver);
    }
    balloon
}

const PLAIN: MemoryCase = MemoryCase {
    name: "",
    host: || host(Vec::new(), 0.0),
    happens: |_| {},
    steps: 60,
    reclaim: Reclaim::Always,
    count_cache: true,
};

/// All cases.
pub const MEMORY_CASES: &[MemoryCase] = &[
    MemoryCase {
        name: "M1 one grows, three idle",
        host: || {
            host(
                vec![growing(20, 110, 56.0, 1840.0), idle(), idle(), idle()],
                1200.0,
            )
        },
        steps: 250,
        ..PLAIN
    },
    MemoryCase {
        name: "M2 all grow",
        host: || host(vec![growing(20, 90, 56.0, 650.0); 4], 1800.0),
        steps: 200,
        ..PLAIN
    },
    MemoryCase {
        name: "M3 two grow, one of them stops",
        host: || {
            let mut second = growing(20, 200, 30.0, 500.0);
            second.ramps.push(Ramp {
                begin: 70,
                end: 200,
                by: 30.0,
                most: 900.0,
            });
            host(
                vec![growing(20, 50, 56.0, 700.0), second, idle(), idle()],
                800.0,
            )
        },
        steps: 180,
        ..PLAIN
    },
    MemoryCase {
        name: "M4 the host has nothing to give, one grows",
        host: || {
            let grows = touched(growing(30, 200, 20.0, 500.0));
            host(
                vec![grows, touched(idle()), touched(idle()), touched(idle())],
                200.0,
            )
        },
        steps: 120,
        reclaim: Reclaim::Needed,
        ..PLAIN
    },
    MemoryCase {
        name: "M5 nobody can give",
        host: || {
            let full = touched(Balloon {
                base: 420.0,
                ..idle()
            });
            host(vec![full; 4], 200.0)
        },
        reclaim: Reclaim::Needed,
        ..PLAIN
    },
    MemoryCase {
        name: "M6 no guest has less than 200",
        host: || {
            let small = Balloon {
                base: 40.0,
                rss: 40.0,
                ..idle()
            };
            host(vec![small], 500.0)
        },
        steps: 120,
        ..PLAIN
    },
    MemoryCase {
        name: "M7 no driver",
        host: || {
            let mute = Balloon {
                driver: None,
                ..idle()
            };
            host(vec![mute, idle()], 500.0)
        },
        ..PLAIN
    },
    MemoryCase {
        name: "M8 one dies half-way",
        host: || host(vec![Balloon::plain(1024.0), Balloon::plain(1024.0)], 500.0),
        happens: |host| {
            if host.step == 17 {
                host.guests.remove(0);
            }
        },
        ..PLAIN
    },
    MemoryCase {
        name: "M9 the numbers freeze while memory is taken",
        host: || {
            let slow = Balloon {
                speed: 5.0,
                ..idle()
            };
            host(vec![slow, idle()], 500.0)
        },
        happens: |host| {
            if host.step == 13
                && let Some(guest) = host.guest(0)
                && let Some(driver) = &mut guest.balloon.driver
            {
                driver.is_frozen = true;
            }
        },
        ..PLAIN
    },
    MemoryCase {
        name: "M10 the balloon gives memory back by itself",
        host: || {
            let balloon = with_driver(growing(40, 60, 600.0, 600.0), |driver| {
                driver.deflates_on_oom = true;
            });
            host(vec![balloon, idle()], 1500.0)
        },
        steps: 80,
        ..PLAIN
    },
    MemoryCase {
        name: "M11 caches fill",
        host: || {
            let reads = Balloon {
                cached_by: 60.0,
                ..idle()
            };
            host(vec![reads, idle()], 1000.0)
        },
        steps: 100,
        ..PLAIN
    },
    MemoryCase {
        name: "M11 caches fill and do not count",
        host: || {
            let reads = Balloon {
                cached_by: 60.0,
                ..idle()
            };
            host(vec![reads, idle()], 1000.0)
        },
        steps: 100,
        count_cache: false,
        ..PLAIN
    },
    MemoryCase {
        name: "M12 promised and not touched",
        host: || {
            let wide = Balloon {
                actual: 1500.0,
                target: 1500.0,
                ..idle()
            };
            let full = Balloon {
                base: 1420.0,
                rss: 1420.0,
                ..wide.clone()
            };
            host(vec![full, wide.clone(), wide.clone(), wide], 400.0)
        },
        happens: |host| {
            if host.step == 30 {
                for guest in &mut host.guests {
                    guest.balloon.base = 1400.0;
                }
            }
        },
        reclaim: Reclaim::Needed,
        ..PLAIN
    },
    MemoryCase {
        name: "M13 a burst of 300 a step",
        host: || {
            let bursts = Balloon {
                swap: 1024.0,
                ..growing(40, 100, 300.0, 900.0)
            };
            host(vec![bursts, idle(), idle()], 1800.0)
        },
        steps: 100,
        ..PLAIN
    },
    MemoryCase {
        name: "M14 a guest waits for memory",
        host: || host(vec![idle(), idle()], 1000.0),
        happens: |host| {
            if host.step == 20
                && let Some(guest) = host.guest(0)
            {
                guest.balloon.trouble.alloc_stalls += 1000;
            }
        },
        steps: 120,
        ..PLAIN
    },
    MemoryCase {
        name: "M15 a migration",
        host: || host(vec![Balloon::plain(1024.0), idle()], 1000.0),
        happens: |host| {
            let is_moving = (20..60).contains(&host.step);
            if let Some(guest) = host.guest(0) {
                guest.job = is_moving;
            }
        },
        steps: 100,
        ..PLAIN
    },
];
