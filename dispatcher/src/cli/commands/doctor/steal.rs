//! Whether a host takes CPUs away from this machine.
//!
//! A host that tells says so in /proc/stat. One that does not is noticed all the same: to who computes without a pause, CPU time
//! passes between two looks at the clock in which nothing was computed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// How much CPU time is used to find out.
const PROBE: Duration = Duration::from_millis(200);
/// How far two looks at the clock are apart by themselves, at most: interrupts take less.
const APART: Duration = Duration::from_millis(1);

/// The share of a busy CPU's time that was taken away, 0 to 1, in a fifth of a second of computing. 0 where it cannot be
/// measured.
pub(super) fn share(root: &Path) -> f64 {
    let before = told(root);
    let missing = missing(cpu_time, PROBE);
    let told = before.zip(told(root)).map_or(0.0, |(before, after)| {
        let all = after.all.saturating_sub(before.all).max(1);
        after.stolen.saturating_sub(before.stolen) as f64 / all as f64
    });
    missing.max(told).min(1.0)
}

/// What /proc/stat says, in its ticks.
struct Told {
    stolen: u64,
    all: u64,
}

/// The first line, as in proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal.
fn told(root: &Path) -> Option<Told> {
    let text = fs::read_to_string(root.join("proc/stat")).ok()?;
    let times: Vec<u64> = text
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        .take(8)
        .map_while(|time| time.parse().ok())
        .collect();
    Some(Told {
        stolen: *times.get(7)?,
        all: times.iter().sum(),
    })
}

/// Looks at a clock until it has gone on for so long, and returns the share of that which passed unseen.
fn missing(mut clock: impl FnMut() -> Option<Duration>, until: Duration) -> f64 {
    let Some(begin) = clock() else { return 0.0 };
    let (mut last, mut unseen) = (begin, Duration::ZERO);
    while let Some(now) = clock() {
        let passed = now.saturating_sub(last);
        if passed > APART {
            unseen += passed;
        }
        last = now;
        if now.saturating_sub(begin) >= until {
            break;
        }
    }
    unseen.as_secs_f64()
        / last
            .saturating_sub(begin)
            .as_secs_f64()
            .max(f64::MIN_POSITIVE)
}

/// What this thread has used.
fn cpu_time() -> Option<Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok()?;
    Some(time.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_nothing_was_computed_was_taken_away() {
        let steps = |long: u64| {
            let mut now = 0;
            move || {
                now += if now % 1000 == 900 { long } else { 100 };
                Some(Duration::from_micros(now))
            }
        };
        let until = Duration::from_millis(100);
        assert_eq!(missing(steps(100), until), 0.0);
        let share = missing(steps(9100), until);
        assert!((0.85..0.95).contains(&share), "{share}");
        assert_eq!(missing(|| None, until), 0.0);
    }

    #[test]
    fn what_a_host_tells_is_read_as_the_kernel_writes_it() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir(root.path().join("proc")).expect("it is new");
        let stat = "cpu  10 20 30 40 0 0 0 25 7 0\ncpu0 1 2 3\n";
        fs::write(root.path().join("proc/stat"), stat).expect("it can be written");
        let told = told(root.path()).expect("it is there");
        assert_eq!((told.stolen, told.all), (25, 125));
    }
}
