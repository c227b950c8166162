//! What is known of a guest's memory: what it has to spare, how fast it takes more, whether it suffers, and whether the numbers
//! are fresh enough to say so.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::MemoryConfig;
use crate::moment::Moment;
use crate::snapshot::{Memory, Mib, Stats, Trouble};

/// So many samples have to agree before memory is taken.
const SAMPLES: usize = 4;
/// After so many periods a sample is old.
const PERIODS: u32 = 3;
/// What a guest keeps unused, in parts of what it can have and as so many times what it took in the last interval.
const PART: f64 = 0.05;
const TIMES: f64 = 3.0;
/// What is less than this part of what a guest has to have unused is no growth.
const NOTICEABLE: f64 = 10.0;
/// So many samples in a row with more memory used are growth that goes on.
const RISING: u32 = 2;
/// So many times as many major faults as usual are distress, if they are this many at least.
const FAULTS: f64 = 5.0;
const LEAST_FAULTS: f64 = 100.0;
/// For how long nothing is taken from a guest that was in distress.
const SPARED: Duration = Duration::from_secs(300);
/// What is less, in parts of what a guest has or in MiB, is no change.
const LEAST_PART: f64 = 0.0025;
const LEAST: Mib = 4.0;

/// What is no change for a guest that has so much.
#[must_use]
pub(super) fn least_change(actual: Mib) -> Mib {
    LEAST.max(LEAST_PART * actual)
}

/// What one sample says.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sample {
    at: Moment,
    free: Mib,
    used: Mib,
    /// What the guest had at most when it was taken.
    had: Mib,
}

/// What is known of a guest's memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    last: Option<Sample>,
    /// What was to spare in the last samples, less what was taken since.
    spare: VecDeque<Mib>,
    /// There was a sample since the last change was done.
    is_fresh: bool,
    growth: Mib,
    rising: u32,
    /// What it had when it was last seen, and what it is to have by our word.
    actual: Option<Mib>,
    target: Option<Mib>,
    trouble: Option<Trouble>,
    faults: Option<f64>,
    /// It suffered in the last window.
    suffers: bool,
    /// It has taken back what was taken from it.
    takes_back: bool,
    spared_until: Option<Moment>,
    /// How many windows ago memory was taken.
    pub(super) taken: Option<u32>,
}

impl Known {
    /// What a sample says is free for the guest to use at once.
    fn free(config: &MemoryConfig, stats: &Stats) -> Mib {
        let usable = stats.usable.filter(|_| !config.count_cache);
        usable.unwrap_or(stats.unused)
    }

    /// Takes note of how it is now.
    pub(super) fn see(&mut self, config: &MemoryConfig, memory: &Memory, now: Moment) {
        self.suffers = false;
        self.taken = self.taken.map(|windows| windows.saturating_add(1));
        let before = self.actual.unwrap_or(memory.actual);
        self.actual = Some(memory.actual);
        self.follow(before, memory.actual, now);
        let Some(stats) = memory.stats.as_ref() else {
            return;
        };
        if self.last.is_some_and(|last| last.at == stats.at) {
            return;
        }
        let free = Self::free(config, stats);
        // Such a balloon is a part of what the guest says it uses.
        let balloon = if memory.deflates_on_oom {
            memory.max - memory.actual
        } else {
            0.0
        };
        let sample = Sample {
            at: stats.at,
            free,
            used: (stats.available - free - balloon).max(0.0),
            had: before.max(memory.actual),
        };
        self.grow(sample, config.reserve / NOTICEABLE);
        self.suffer(stats.trouble, now);
        self.last = Some(sample);
        if self.has_reached_target() {
            self.is_fresh = true;
            self.spare.push_back(self.spare());
            if self.spare.len() > SAMPLES {
                self.spare.pop_front();
            }
        }
    }

    /// Notices who goes elsewhere than it was told: it took memory back in need, or somebody else said something else.
    fn follow(&mut self, before: Mib, actual: Mib, now: Moment) {
        self.takes_back = false;
        let Some(target) = self.target else {
            return;
        };
        let is_further = (actual - target).abs() > (before - target).abs() + least_change(actual);
        if is_further && actual > before {
            self.takes_back = target < actual;
            self.spared_until = Some(now + SPARED);
        }
        if is_further && !self.takes_back {
            self.target = Some(actual);
        }
    }

    fn grow(&mut self, sample: Sample, noticeable: Mib) {
        let Some(last) = self.last else {
            return;
        };
        let more = sample.used - last.used;
        self.growth = more.max(self.growth / 2.0).max(0.0);
        let is_more = more >= noticeable;
        self.rising = if is_more { self.rising + 1 } else { 0 };
    }

    fn suffer(&mut self, trouble: Trouble, now: Moment) {
        let Some(old) = self.trouble.replace(trouble) else {
            return;
        };
        let faults = trouble.major_faults.saturating_sub(old.major_faults) as f64;
        let usual = self.faults.unwrap_or(faults);
        self.faults = Some(usual.midpoint(faults));
        let is_worse = trouble.oom_kills > old.oom_kills
            || trouble.alloc_stalls > old.alloc_stalls
            || trouble.swap_in > old.swap_in
            || faults > LEAST_FAULTS.max(FAULTS * usual);
        if is_worse {
            self.suffers = true;
            self.spared_until = Some(now + SPARED);
            self.spare.clear();
        }
    }

    /// Whether the last sample is too old to say anything; also where there is none.
    #[must_use]
    pub fn is_stale(&self, memory: &Memory, config: &MemoryConfig, now: Moment) -> bool {
        let period = memory.period.unwrap_or_default().max(config.period);
        self.last
            .is_none_or(|last| now.saturating_sub(last.at) > PERIODS * period)
    }

    /// What it is to have.
    #[must_use]
    pub fn target(&self) -> Mib {
        self.target.or(self.actual).unwrap_or_default()
    }

    /// Whether it has what it is to have.
    #[must_use]
    pub fn has_reached_target(&self) -> bool {
        let actual = self.actual.unwrap_or_default();
        (actual - self.target()).abs() <= least_change(actual)
    }

    /// What is unused, less what is still being taken, plus what is still being given: by the last sample, which did not
    /// see that.
    #[must_use]
    pub fn spare(&self) -> Mib {
        self.last
            .map_or(0.0, |last| last.free + self.target() - last.had)
    }

    /// What it uses, by the last sample.
    #[must_use]
    pub fn used(&self) -> Mib {
        self.last.map_or(0.0, |last| last.used)
    }

    /// What it has to have unused.
    #[must_use]
    pub fn reserve(&self, config: &MemoryConfig, memory: &Memory) -> Mib {
        config
            .reserve
            .max(PART * memory.max)
            .max(TIMES * self.growth)
    }

    /// Whether it needs more memory.
    #[must_use]
    pub fn is_needy(&self, config: &MemoryConfig, memory: &Memory) -> bool {
        let ahead = if self.rising >= RISING {
            config.step
        } else {
            0.0
        };
        self.suffers || self.spare() < self.reserve(config, memory) + ahead
    }

    /// Whether it has suffered for want of memory in the last window.
    #[must_use]
    pub fn suffers(&self) -> bool {
        self.suffers
    }

    /// Whether it needs what is still being taken.
    pub(super) fn needs_it_back(&self) -> bool {
        self.suffers || self.takes_back
    }

    /// Whether it has suffered so lately that nothing is taken from it.
    #[must_use]
    pub fn is_spared(&self, now: Moment) -> bool {
        self.spared_until.is_some_and(|until| now < until)
    }

    /// The least that was to spare in the last samples, less what was taken since; `None` if they are too few or tell of growth, or
    /// there was none since the last change.
    #[must_use]
    pub fn surely_spare(&self) -> Option<Mib> {
        let is_known = self.spare.len() == SAMPLES && self.is_fresh && self.has_reached_target();
        let least = self.spare.iter().copied().reduce(f64::min);
        least
            .filter(|_| is_known && self.rising == 0)
            .map(|least| least.min(self.spare()))
    }

    /// Takes note of what it is to have from now on.
    pub(super) fn set_target(&mut self, target: Mib) {
        let is_less = target < self.actual.unwrap_or_default();
        self.taken = if is_less { Some(0) } else { self.taken };
        let less = (self.target() - target).max(0.0);
        for spare in &mut self.spare {
            *spare -= less;
        }
        self.target = Some(target);
        self.is_fresh = false;
    }
}
