//! Whether a scheduler spins: its process eats a whole CPU, and goes on doing so.
//!
//! Decides from what it is told; has no clock and reads nothing.

use std::time::{Duration, Instant};

/// The share of one CPU from which on a process seems to do nothing but turn around. Those of the known
/// schedulers take a few percent: they tune and count, the BPF programs schedule.
const SHARE: f64 = 0.95;
/// For how long it must look like that.
const FOR: Duration = Duration::from_secs(15);

/// What one process was seen to eat.
#[derive(Debug, Default)]
pub(crate) struct Appetite {
    /// When it was looked at last, and the CPU time it had used by then.
    last: Option<(Instant, Duration)>,
    /// Since when it was never seen to eat less.
    since: Option<Instant>,
}

impl Appetite {
    /// Takes in the CPU time used until `now`; says whether the process spins.
    pub(crate) fn spins(&mut self, now: Instant, used: Duration) -> bool {
        let Some((before, used_before)) = self.last.replace((now, used)) else {
            return false;
        };
        let eaten = used.saturating_sub(used_before);
        if eaten < now.saturating_duration_since(before).mul_f64(SHARE) {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(before);
        now.saturating_duration_since(since) >= FOR
    }

    /// Why a process that spins is ended, for people.
    pub(crate) fn verdict() -> String {
        let time = humantime::format_duration(FOR);
        format!("was ended because it used a whole CPU for {time}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The looks at a process that uses these shares of a CPU, one of 5 s after the other.
    fn looks(shares: &[f64]) -> Vec<bool> {
        let (mut appetite, mut now, mut used) =
            (Appetite::default(), Instant::now(), Duration::ZERO);
        let mut looks = vec![appetite.spins(now, used)];
        for share in shares {
            now += Duration::from_secs(5);
            used += Duration::from_secs(5).mul_f64(*share);
            looks.push(appetite.spins(now, used));
        }
        looks
    }

    #[test]
    fn a_whole_cpu_all_the_time_is_spinning_and_one_pause_is_none() {
        assert_eq!(looks(&[1.0; 5]), [false, false, false, true, true, true]);
        assert_eq!(looks(&[1.0, 1.0, 0.9, 1.0, 1.0, 0.9]), [false; 7]);
        assert_eq!(looks(&[0.05; 8]), [false; 9]);
        // Several threads of it.
        assert_eq!(looks(&[3.0; 3]), [false, false, false, true]);
    }
}
