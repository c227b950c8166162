//! A guest's memory: what its programs want, a balloon that takes its time, and a driver that says how it was some time ago.

use std::time::Duration;

use crate::moment::Moment;
use crate::snapshot::{Fixed, Memory, Mib, Stats, Trouble};

/// What a guest's kernel keeps from what it manages.
const HIDDEN: Mib = 24.0;

/// More memory, step by step.
#[derive(Clone, Copy, Debug)]
pub struct Ramp {
    /// The first step in which more is wanted.
    pub begin: u32,
    /// The step in which all of it is given back.
    pub end: u32,
    /// How much more is wanted in each step.
    pub by: Mib,
    /// How much more at most.
    pub most: Mib,
}

/// A guest's memory.
#[derive(Clone, Debug)]
pub struct Balloon {
    /// What it can have at most.
    pub max: Mib,
    /// What it has now.
    pub actual: Mib,
    /// What it is to have.
    pub target: Mib,
    /// What the host gave it.
    pub rss: Mib,
    /// What programs and kernel want without ramps.
    pub base: Mib,
    /// What they want beside.
    pub ramps: Vec<Ramp>,
    /// What files are read in each step, as long as there is room for them; none of it is needed.
    pub cached_by: Mib,
    /// What is in its swap at most.
    pub swap: Mib,
    /// How much the balloon takes or gives in a step.
    pub speed: Mib,
    /// What the balloon's driver can do; `None`: there is no driver.
    pub driver: Option<Driver>,
    /// Why its memory is not changed.
    pub fixed: Option<Fixed>,
    /// What went wrong.
    pub trouble: Trouble,
    pub(super) cache: Mib,
    pub(super) stats: Option<Stats>,
    /// Whether a guest was lost: it wanted what was not there.
    pub is_lost: bool,
}

/// What a balloon's driver does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Driver {
    /// It speaks, every so many steps.
    pub speaks_every: u32,
    /// It says how it was at the step's begin.
    pub is_late: bool,
    /// It has stopped speaking.
    pub is_frozen: bool,
    /// It gives memory back before the guest runs out of it.
    pub deflates_on_oom: bool,
}

impl Balloon {
    /// A guest that has `actual` of 2048 MiB and uses 120.
    #[must_use]
    pub fn plain(actual: Mib) -> Self {
        Self {
            max: 2048.0,
            actual,
            target: actual,
            rss: 120.0,
            base: 120.0,
            ramps: Vec::new(),
            cached_by: 0.0,
            swap: 0.0,
            speed: 400.0,
            driver: Some(Driver {
                speaks_every: 1,
                is_late: false,
                is_frozen: false,
                deflates_on_oom: false,
            }),
            fixed: None,
            trouble: Trouble::default(),
            cache: 0.0,
            stats: None,
            is_lost: false,
        }
    }

    /// What is wanted in a step.
    fn wanted(&self, step: u32) -> Mib {
        let ramps = self
            .ramps
            .iter()
            .filter(|ramp| (ramp.begin..ramp.end).contains(&step));
        let more = ramps.map(|ramp| (f64::from(step - ramp.begin + 1) * ramp.by).min(ramp.most));
        self.base + more.sum::<f64>()
    }

    /// What is unused.
    #[must_use]
    pub fn unused(&self, step: u32) -> Mib {
        let resident = self.wanted(step).min(self.actual);
        (self.actual - resident - self.cache).max(0.0)
    }

    /// One step: what is wanted changes, the balloon moves, and who finds no memory suffers. `noise` is wanted beside.
    pub(super) fn step(&mut self, step: u32, now: Moment, took: Duration, noise: Mib) {
        let driver = self.driver;
        if let Some(driver) = driver.filter(|driver| driver.is_late) {
            let at = now.saturating_sub(took * 9 / 10);
            self.speak(driver, step.saturating_sub(1), step, at);
        }
        let wanted = self.wanted(step) + noise;
        if driver.is_some() {
            // It takes all that is free, and lets what was cached go for it, but not what is used.
            let room = (self.actual - wanted).max(0.0);
            let down = (self.actual - self.target).clamp(0.0, self.speed).min(room);
            let up = (self.target - self.actual).clamp(0.0, self.speed);
            self.actual += up - down;
        }
        let mut missing = (wanted - self.actual).max(0.0);
        if missing > 0.0 {
            self.trouble.alloc_stalls += 1;
            if driver.is_some_and(|driver| driver.deflates_on_oom) {
                let back = missing.min(self.max - self.actual);
                self.actual += back;
                missing -= back;
            }
            if missing > self.swap {
                self.trouble.oom_kills += 1;
                self.is_lost = true;
            } else if missing > 0.0 {
                self.trouble.swap_in += 1;
            }
        }
        let resident = wanted.min(self.actual);
        self.cache = (self.cache + self.cached_by)
            .min(self.actual - resident)
            .max(0.0);
        self.rss = self.rss.max(resident + self.cache).min(self.actual);
        if let Some(driver) = driver.filter(|driver| !driver.is_late) {
            self.speak(driver, step, step, now);
        }
    }

    fn speak(&mut self, driver: Driver, of: u32, step: u32, at: Moment) {
        if driver.is_frozen || !step.is_multiple_of(driver.speaks_every) {
            return;
        }
        let unused = self.unused(of);
        let all = if driver.deflates_on_oom {
            self.max
        } else {
            self.actual
        };
        self.stats = Some(Stats {
            at,
            available: all - HIDDEN,
            unused,
            usable: Some(unused + self.cache),
            trouble: self.trouble,
        });
    }

    /// What the host sees of it.
    pub(super) fn memory(&self, interval: Duration) -> Memory {
        let period = self.driver.map(|driver| driver.speaks_every * interval);
        Memory {
            max: self.max,
            actual: self.actual,
            rss: self.rss,
            stats: self.stats.clone(),
            period,
            fixed: self.fixed,
            deflates_on_oom: self.driver.is_some_and(|driver| driver.deflates_on_oom),
        }
    }
}
