//! What tasks that sleep get of the CPUs: two [`OutcomeTotals`] make the [`Outcome`] of the time between them. Pure.
//!
//! Unlike a level, which says what the machine is doing, it says how well the scheduler does that.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// So many waits were at least as long as `from_ns`, and shorter than `to_ns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64, u64)", into = "(u64, u64, u64)")]
pub struct WaitBucket {
    /// The shortest wait that belongs here, in nanoseconds.
    pub from_ns: u64,
    /// The shortest one that does not any more, in nanoseconds.
    pub to_ns: u64,
    /// How many there were.
    pub count: u64,
}

/// Totals of all CPUs since measuring began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeTotals {
    /// CLOCK_MONOTONIC at the reading, in nanoseconds.
    pub at_ns: u64,
    /// The waits of woken sleepers, from the shortest to the longest; the same buckets in each reading.
    pub waits: Vec<WaitBucket>,
    /// Sum of the waits, each for 100 ms at most, in nanoseconds.
    pub wait_ns: u64,
    /// How many of them were longer than 2 ms.
    pub long_waits: u64,
    /// Sum of the CPU time of the bursts that followed and were short, in nanoseconds.
    pub burst_ns: u64,
    /// Sum of the time between wake-up and sleep in which their tasks did not run, each for 100 ms at most, in nanoseconds.
    pub held_up_ns: u64,
}

/// What a scheduler made of the tasks that slept and were woken: those that had worked for less than 4 ms before, and are not in
/// the background.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// How many of them were woken and got a CPU, a second.
    pub wakes_per_second: f64,
    /// How long they waited; `None` when nobody did.
    pub waits: Option<Waits>,
    /// How many times as long as their work needs it took them from the wake-up to the next sleep, on average by work:
    /// 1 when nobody is in their way. `None` when none of them slept again.
    pub stretch: Option<f64>,
}

/// The time from the wake-up to a CPU, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Waits {
    /// The mean, of waits of 100 ms at most.
    pub mean_ns: f64,
    /// The median.
    pub p50_ns: f64,
    /// Which 95 % did not wait longer.
    pub p95_ns: f64,
    /// As above, 99 %.
    pub p99_ns: f64,
    /// The share of waits that were longer than 2 ms.
    pub long_share: f64,
}

/// Each is three numbers in files, as there are hundreds of them.
impl From<(u64, u64, u64)> for WaitBucket {
    fn from((from_ns, to_ns, count): (u64, u64, u64)) -> Self {
        Self {
            from_ns,
            to_ns,
            count,
        }
    }
}

impl From<WaitBucket> for (u64, u64, u64) {
    fn from(bucket: WaitBucket) -> Self {
        (bucket.from_ns, bucket.to_ns, bucket.count)
    }
}

impl Outcome {
    /// That of the time from `before` to `after`; `None` when no time passed, or when they are not of one measurement.
    ///
    /// Counters are read while they are written, so that the parts may be a wait apart; none counts as less than zero.
    #[must_use]
    pub fn between(before: &OutcomeTotals, after: &OutcomeTotals) -> Option<Self> {
        let time = after.at_ns.checked_sub(before.at_ns).filter(|ns| *ns > 0)?;
        let grown = |of: fn(&OutcomeTotals) -> u64| of(after).saturating_sub(of(before)) as f64;
        let waits = difference(&before.waits, &after.waits)?;
        let count: u64 = waits.iter().map(|bucket| bucket.count).sum();
        let burst_ns = grown(|totals| totals.burst_ns);
        Some(Self {
            wakes_per_second: count as f64 / Duration::from_nanos(time).as_secs_f64(),
            waits: (count > 0).then(|| Waits {
                mean_ns: grown(|totals| totals.wait_ns) / count as f64,
                p50_ns: quantile(&waits, count, 0.5),
                p95_ns: quantile(&waits, count, 0.95),
                p99_ns: quantile(&waits, count, 0.99),
                long_share: (grown(|totals| totals.long_waits) / count as f64).min(1.0),
            }),
            stretch: (burst_ns > 0.0).then(|| 1.0 + grown(|totals| totals.held_up_ns) / burst_ns),
        })
    }
}

/// What came into each bucket; `None` when they are not the same ones.
fn difference(before: &[WaitBucket], after: &[WaitBucket]) -> Option<Vec<WaitBucket>> {
    let same = before.len() == after.len()
        && before
            .iter()
            .zip(after)
            .all(|(before, after)| (before.from_ns, before.to_ns) == (after.from_ns, after.to_ns));
    same.then(|| {
        before
            .iter()
            .zip(after)
            .map(|(before, after)| WaitBucket {
                count: after.count.saturating_sub(before.count),
                ..*after
            })
            .collect()
    })
}

/// The wait that this share of all of them do not exceed. Within a bucket they are taken to be spread evenly.
fn quantile(waits: &[WaitBucket], count: u64, share: f64) -> f64 {
    let rank = share * count as f64;
    let mut below = 0.0;
    for bucket in waits.iter().filter(|bucket| bucket.count > 0) {
        let within = bucket.count as f64;
        if below + within >= rank {
            let width = bucket.to_ns.saturating_sub(bucket.from_ns) as f64;
            return bucket.from_ns as f64 + width * (rank - below) / within;
        }
        below += within;
    }
    waits.last().map_or(0.0, |bucket| bucket.to_ns as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Ten buckets of a microsecond each.
    fn totals(at_ns: u64, waits_ns: &[u64]) -> OutcomeTotals {
        let bucket = |n: u64| WaitBucket {
            from_ns: n * 1000,
            to_ns: (n + 1) * 1000,
            count: waits_ns.iter().filter(|ns| **ns / 1000 == n).count() as u64,
        };
        OutcomeTotals {
            at_ns,
            waits: (0..10).map(bucket).collect(),
            wait_ns: waits_ns.iter().sum(),
            ..OutcomeTotals::default()
        }
    }

    #[test]
    fn an_outcome_is_of_the_time_between_two_readings() {
        let before = totals(SECOND, &[9_500; 100]);
        let mut waits = vec![9_500; 100];
        waits.extend([1_500, 1_500, 1_500, 3_500]);
        let after = OutcomeTotals {
            long_waits: 1,
            burst_ns: 10_000,
            held_up_ns: 5_000,
            ..totals(3 * SECOND, &waits)
        };
        let outcome = Outcome::between(&before, &after).expect("time passed");
        assert!((outcome.wakes_per_second - 2.0).abs() < 1e-9);
        assert_eq!(outcome.stretch, Some(1.5));
        let waits = outcome.waits.expect("there are some");
        assert!((waits.mean_ns - 2_000.0).abs() < 1e-9);
        assert!((1_000.0..2_000.0).contains(&waits.p50_ns), "{waits:?}");
        assert!((3_000.0..=4_000.0).contains(&waits.p99_ns), "{waits:?}");
        assert!((waits.long_share - 0.25).abs() < 1e-9);
    }

    #[test]
    fn where_nobody_was_woken_nothing_is_said_of_waits() {
        let before = totals(SECOND, &[500]);
        let after = totals(2 * SECOND, &[500]);
        let outcome = Outcome::between(&before, &after).expect("time passed");
        assert_eq!((outcome.waits, outcome.stretch), (None, None));
        assert!(outcome.wakes_per_second.abs() < 1e-9);
    }

    #[test]
    fn readings_that_do_not_belong_together_have_no_outcome() {
        let before = totals(SECOND, &[]);
        assert_eq!(Outcome::between(&before, &before), None);
        assert_eq!(Outcome::between(&totals(2 * SECOND, &[]), &before), None);
        let other = OutcomeTotals {
            at_ns: 2 * SECOND,
            ..OutcomeTotals::default()
        };
        assert_eq!(Outcome::between(&before, &other), None);
    }

    proptest! {
        #[test]
        fn quantiles_are_as_exact_as_the_buckets(
            waits in prop::collection::vec(0..10_000u64, 1..300),
        ) {
            let after = totals(SECOND, &waits);
            let outcome = Outcome::between(&totals(0, &[]), &after).expect("time passed");
            let found = outcome.waits.expect("there are some");
            let mut sorted = waits;
            sorted.sort_unstable();
            for (percent, found) in [(50, found.p50_ns), (95, found.p95_ns), (99, found.p99_ns)] {
                let rank = (percent * sorted.len()).div_ceil(100);
                let true_one = sorted[rank - 1] as f64;
                prop_assert!((found - true_one).abs() <= 1_000.0, "{found} for {true_one}");
            }
            prop_assert!(found.p50_ns <= found.p95_ns && found.p95_ns <= found.p99_ns);
        }

        #[test]
        fn whatever_is_read_makes_numbers(
            numbers in prop::collection::vec(any::<u64>(), 8..9), counts in prop::collection::vec(any::<u32>(), 4..5),
        ) {
            let reading = |n: usize| OutcomeTotals {
                at_ns: numbers[n],
                waits: vec![
                    WaitBucket { from_ns: 0, to_ns: 8, count: u64::from(counts[n]) },
                    WaitBucket { from_ns: 8, to_ns: 16, count: u64::from(counts[n + 2]) },
                ],
                wait_ns: numbers[n + 2],
                long_waits: numbers[n + 2],
                burst_ns: numbers[n + 4],
                held_up_ns: numbers[n + 6],
            };
            if let Some(outcome) = Outcome::between(&reading(0), &reading(1)) {
                prop_assert!(outcome.wakes_per_second.is_finite());
                prop_assert!(outcome.stretch.is_none_or(|stretch| stretch.is_finite() && stretch >= 1.0));
                if let Some(waits) = outcome.waits {
                    prop_assert!(waits.p99_ns <= 16.0 && waits.mean_ns.is_finite());
                    prop_assert!((0.0..=1.0).contains(&waits.long_share));
                }
            }
        }
    }
}
