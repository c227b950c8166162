//! What was seen of jobs as they ran: how fast each is alone on its cores and beside each other one, as the median of the last
//! windows in which that was so. Pure; nothing is slowed down for it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// So many windows have to say it.
const LEAST_WINDOWS: usize = 3;
/// Of so many, the last ones, it is the median.
const MAX_WINDOWS: usize = 9;
/// How many jobs and pairs are remembered, those that were seen last.
pub const MAX_SERIES: usize = 512;
/// Nothing is remembered of a job with a longer name, in bytes.
pub const MAX_NAME: usize = 256;
/// For how long it is believed, in seconds: of pairs, and of who runs alone, which is seldom where cores are to be shared.
const PAIR_BELIEVED: u64 = 24 * 3600;
const SOLO_BELIEVED: u64 = 7 * 24 * 3600;

/// A job alone, or beside another or itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Which {
    job: String,
    beside: Option<String>,
}

/// A window: when it ended, in seconds since 1970, and how many instructions per cycle there were.
type Window = (u64, f64);

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Passive {
    series: BTreeMap<Which, Vec<Window>>,
}

/// The windows of a job alone, or beside another, as they are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// The job.
    pub job: String,
    /// Beside whom; nothing: alone.
    pub beside: Option<String>,
    /// When each window ended, in seconds since 1970, and its instructions per cycle.
    pub windows: Vec<(u64, f64)>,
}

impl Passive {
    /// What was kept, as far as that may be so.
    #[must_use]
    pub fn new(kept: Vec<Series>) -> Self {
        let mut passive = Self::default();
        for series in kept {
            for (at, ipc) in series.windows {
                passive.add(&series.job, series.beside.as_deref(), ipc, at);
            }
        }
        passive
    }

    /// What is to be kept.
    #[must_use]
    pub fn series(&self) -> Vec<Series> {
        let all = self.series.iter().map(|(which, windows)| Series {
            job: which.job.clone(),
            beside: which.beside.clone(),
            windows: windows.clone(),
        });
        all.collect()
    }

    /// A window ended in which a job ran alone, or beside another all the time.
    pub fn add(&mut self, job: &str, beside: Option<&str>, ipc: f64, at: u64) {
        let is_short = |name: &str| name.len() <= MAX_NAME;
        if !is_short(job) || !beside.is_none_or(is_short) || !ipc.is_finite() || ipc <= 0.0 {
            return;
        }
        let windows = self.series.entry(which(job, beside)).or_default();
        // Where the clock was set back what came later was never seen.
        windows.retain(|(before, _)| *before <= at);
        windows.push((at, ipc));
        let surplus = windows.len().saturating_sub(MAX_WINDOWS);
        windows.drain(..surplus);
        if self.series.len() > MAX_SERIES {
            let last = |windows: &Vec<Window>| windows.last().map(|(at, _)| *at);
            let oldest = self.series.iter().min_by_key(|(_, windows)| last(windows));
            if let Some(which) = oldest.map(|(which, _)| which.clone()) {
                self.series.remove(&which);
            }
        }
    }

    /// The instructions per cycle of a job alone, as far as that is known.
    #[must_use]
    pub fn solo(&self, job: &str, now: u64) -> Option<f64> {
        self.median(job, None, now, SOLO_BELIEVED)
    }

    /// Those of a job beside another.
    #[must_use]
    pub fn beside(&self, job: &str, beside: &str, now: u64) -> Option<f64> {
        self.median(job, Some(beside), now, PAIR_BELIEVED)
    }

    fn median(&self, job: &str, beside: Option<&str>, now: u64, believed: u64) -> Option<f64> {
        let windows = self.series.get(&which(job, beside))?.iter();
        let is_believed =
            |(at, _): &&Window| now.checked_sub(*at).is_some_and(|age| age < believed);
        let mut speeds: Vec<f64> = windows.filter(is_believed).map(|(_, ipc)| *ipc).collect();
        if speeds.len() < LEAST_WINDOWS {
            return None;
        }
        speeds.sort_by(f64::total_cmp);
        let middle = speeds.len() / 2;
        Some(if speeds.len().is_multiple_of(2) {
            f64::midpoint(speeds[middle - 1], speeds[middle])
        } else {
            speeds[middle]
        })
    }
}

fn which(job: &str, beside: Option<&str>) -> Which {
    Which {
        job: job.to_owned(),
        beside: beside.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some day.
    const DAY: u64 = 20_000 * 86_400;

    #[test]
    fn three_windows_say_it_and_the_median_is_what_counts() {
        let mut passive = Passive::default();
        for (minute, ipc) in [1.0, 5.0].into_iter().enumerate() {
            passive.add("a", None, ipc, DAY + 60 * minute as u64);
        }
        assert_eq!(passive.solo("a", DAY + 120), None);
        passive.add("a", None, 1.25, DAY + 120);
        assert_eq!(passive.solo("a", DAY + 120), Some(1.25));
        passive.add("a", None, 1.5, DAY + 180);
        assert_eq!(passive.solo("a", DAY + 180), Some(1.375));
        assert_eq!(passive.beside("a", "b", DAY + 180), None);
        // Of many the last ones count.
        for minute in 4..20 {
            passive.add("a", None, 2.0, DAY + 60 * minute);
        }
        assert_eq!(passive.solo("a", DAY + 1200), Some(2.0));
        assert_eq!(passive.series()[0].windows.len(), MAX_WINDOWS);
    }

    #[test]
    fn pairs_are_believed_for_a_day_and_who_is_alone_for_a_week() {
        let mut passive = Passive::default();
        for minute in 0..3 {
            passive.add("a", None, 1.0, DAY + 60 * minute);
            passive.add("a", Some("b"), 0.7, DAY + 60 * minute);
        }
        let later = |hours: u64| DAY + hours * 3600;
        assert_eq!(passive.beside("a", "b", later(23)), Some(0.7));
        assert_eq!(passive.beside("a", "b", later(25)), None);
        assert_eq!(passive.beside("b", "a", later(1)), None);
        assert_eq!(passive.solo("a", later(25)), Some(1.0));
        assert_eq!(passive.solo("a", later(8 * 24)), None);
        assert_eq!(passive.solo("a", DAY - 5), None, "the clock was set back");
    }

    #[test]
    fn it_is_bounded_and_what_is_no_speed_is_left_out() {
        let mut passive = Passive::default();
        for ipc in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            passive.add("a", None, ipc, DAY);
        }
        passive.add(&"x".repeat(MAX_NAME + 1), None, 1.0, DAY);
        passive.add("a", Some(&"x".repeat(MAX_NAME + 1)), 1.0, DAY);
        assert_eq!(passive.series(), []);
        for job in 0..MAX_SERIES as u64 + 10 {
            passive.add(&job.to_string(), None, 1.0, DAY + job);
        }
        assert_eq!(passive.series().len(), MAX_SERIES);
        assert!(passive.series().iter().all(|series| series.job != "3"));
    }

    #[test]
    fn what_is_kept_is_what_was_seen() {
        let mut passive = Passive::default();
        for minute in 0..5 {
            passive.add("a", Some("b"), 0.7, DAY + minute);
            passive.add("b", None, 0.9, DAY + minute);
        }
        assert_eq!(Passive::new(passive.series()), passive);
    }
}
