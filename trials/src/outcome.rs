//! What was measured of a time under one scheduler: two [`Reading`]s make [`Measured`], of a turn or of a second of it.

use std::time::Duration;

use auto_ext_signals::{Outcome, OutcomeTotals};
use serde::{Deserialize, Serialize};

/// Totals as of one reading, of which there is one a second while something is measured. `None`: not measured here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The waits of tasks that were woken, and when that was read.
    pub waits: OutcomeTotals,
    /// The waits of the canary, a thread of ours that does the same under every scheduler.
    pub canary: Option<OutcomeTotals>,
    /// What was completed: requests of disks, packets.
    pub completions: Option<u64>,
    /// CPU time of programs, ours left out, in nanoseconds.
    pub user_ns: Option<u64>,
    /// Instructions of programs.
    pub instructions: Option<u64>,
    /// Energy of the processors, in microjoules.
    pub energy_uj: Option<u64>,
    /// For how long the one that has waited longest for a CPU has waited by now, of tasks with a normal priority.
    pub longest_wait: Option<Duration>,
    /// The share of the last second in which somebody waited for memory.
    pub memory_pressure: Option<f64>,
    /// The share of the last second in which somebody waited for disks.
    pub io_pressure: Option<f64>,
}

/// What was measured in a time, by second of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Measured {
    /// How long it was, in seconds.
    pub seconds: f64,
    /// Wake-ups of tasks that sleep.
    pub demand: f64,
    /// The mean of their waits, in nanoseconds.
    pub wait_ns: Option<f64>,
    /// Which 95 % of them did not exceed.
    pub wait_p95_ns: Option<f64>,
    /// How many times as long as their work needs it took them to sleep again.
    pub stretch: Option<f64>,
    /// Which 95 % of the canary's waits did not exceed, in nanoseconds.
    pub canary_p95_ns: Option<f64>,
    /// As above, 99 %.
    pub canary_p99_ns: Option<f64>,
    /// What was completed.
    pub completions: Option<f64>,
    /// CPU time of programs, in seconds.
    pub user: Option<f64>,
    /// Instructions of programs.
    pub instructions: Option<f64>,
    /// Energy, in joules.
    pub watts: Option<f64>,
}

impl Measured {
    /// Between two readings; `None` when no time passed, or when they are not of one measurement.
    #[must_use]
    pub fn between(before: &Reading, after: &Reading) -> Option<Self> {
        let outcome = Outcome::between(&before.waits, &after.waits)?;
        let time = after.waits.at_ns.checked_sub(before.waits.at_ns)?;
        let seconds = Duration::from_nanos(time).as_secs_f64();
        let rate = |of: fn(&Reading) -> Option<u64>, unit: f64| {
            Some(of(after)?.saturating_sub(of(before)?) as f64 / unit / seconds)
        };
        let canary = match (&before.canary, &after.canary) {
            (Some(before), Some(after)) => Outcome::between(before, after),
            _ => None,
        };
        let canary = canary.and_then(|canary| canary.waits);
        Some(Self {
            seconds,
            demand: outcome.wakes_per_second,
            wait_ns: outcome.waits.map(|waits| waits.mean_ns),
            wait_p95_ns: outcome.waits.map(|waits| waits.p95_ns),
            stretch: outcome.stretch,
            canary_p95_ns: canary.map(|waits| waits.p95_ns),
            canary_p99_ns: canary.map(|waits| waits.p99_ns),
            completions: rate(|reading| reading.completions, 1.0),
            user: rate(|reading| reading.user_ns, 1e9),
            instructions: rate(|reading| reading.instructions, 1.0),
            watts: rate(|reading| reading.energy_uj, 1e6),
        })
    }
}

#[cfg(test)]
mod tests {
    use auto_ext_signals::WaitBucket;

    use super::*;

    fn totals(at: u64, waits: u64) -> OutcomeTotals {
        OutcomeTotals {
            at_ns: at * 1_000_000_000,
            waits: vec![WaitBucket {
                from_ns: 0,
                to_ns: 1000,
                count: waits,
            }],
            wait_ns: waits * 500,
            ..OutcomeTotals::default()
        }
    }

    #[test]
    fn rates_are_by_the_second() {
        let before = Reading {
            waits: totals(10, 0),
            completions: Some(100),
            user_ns: Some(0),
            energy_uj: Some(5),
            ..Reading::default()
        };
        let after = Reading {
            waits: totals(12, 40),
            completions: Some(700),
            user_ns: Some(1_000_000_000),
            instructions: Some(7),
            energy_uj: Some(20_000_005),
            ..Reading::default()
        };
        let measured = Measured::between(&before, &after).unwrap();
        assert!((measured.demand - 20.0).abs() < 1e-9);
        assert!((measured.wait_ns.unwrap() - 500.0).abs() < 1e-9);
        assert!((measured.completions.unwrap() - 300.0).abs() < 1e-9);
        assert!((measured.user.unwrap() - 0.5).abs() < 1e-9);
        assert!((measured.watts.unwrap() - 10.0).abs() < 1e-9);
        // What only one reading has is not known.
        assert_eq!(
            (measured.instructions, measured.canary_p95_ns),
            (None, None)
        );
        assert_eq!(Measured::between(&after, &before), None);
    }
}
