//! When to go back at once: what is so much worse under a candidate that nobody waits for the end of its turn.

use std::time::Duration;

use auto_ext_evidence::Better;

use crate::outcome::{Measured, Reading};
use crate::yardstick::Metric;

/// How long a task may wait at least, and how many times as long as under the incumbent.
const LEAST_LONGEST_WAIT: Duration = Duration::from_secs(1);
const TIMES: u32 = 5;
/// From which wait of the canary on, in nanoseconds, and for how many seconds.
const LEAST_CANARY_NS: f64 = 10e6;
const CANARY_FOR: u32 = 2;
/// The part of what was reached under the incumbent that is too little, and for how many seconds.
const TOO_LITTLE: f64 = 0.5;
const TOO_LITTLE_FOR: u32 = 3;
/// From which share of time on that is waited for memory or disks.
const LEAST_PRESSURE: f64 = 0.10;

/// How things are under the incumbent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reference {
    measured: Measured,
    longest_wait: Duration,
    memory_pressure: f64,
    io_pressure: f64,
}

/// What makes a candidate leave at once.
#[derive(Clone, Debug, PartialEq)]
pub enum Alarm {
    /// It failed, in these words.
    Failed(String),
    /// A task waited for this long.
    Waited(Duration),
    /// The canary waits for too long.
    Canary,
    /// Half of this is not reached any more, or it takes twice as long.
    TooLittle(Metric),
    /// More time than before is spent waiting for this.
    Pressure(&'static str),
}

/// For how many seconds something has been too much by now.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Guard {
    canary: u32,
    too_little: u32,
}

impl Reference {
    /// Of a turn of the incumbent in which these were the `readings`' worst.
    #[must_use]
    pub(crate) fn new(measured: Measured, worst: &Worst) -> Self {
        Self {
            measured,
            longest_wait: worst.longest_wait,
            memory_pressure: worst.memory_pressure,
            io_pressure: worst.io_pressure,
        }
    }

    /// With what another turn of the incumbent showed: the newer numbers, and the worst of both.
    #[must_use]
    pub(crate) fn and(self, newer: Self) -> Self {
        Self {
            measured: newer.measured,
            longest_wait: self.longest_wait.max(newer.longest_wait),
            memory_pressure: self.memory_pressure.max(newer.memory_pressure),
            io_pressure: self.io_pressure.max(newer.io_pressure),
        }
    }
}

/// The worst that was seen in a turn.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Worst {
    longest_wait: Duration,
    memory_pressure: f64,
    io_pressure: f64,
}

impl Worst {
    /// Takes in another reading.
    pub(crate) fn see(&mut self, reading: &Reading) {
        let longest = reading.longest_wait.unwrap_or_default();
        self.longest_wait = self.longest_wait.max(longest);
        let share = |share: Option<f64>| share.unwrap_or_default();
        self.memory_pressure = self.memory_pressure.max(share(reading.memory_pressure));
        self.io_pressure = self.io_pressure.max(share(reading.io_pressure));
    }
}

impl Guard {
    /// Looks at a second of a candidate's turn, which ended with `reading`. `primary` is what it is to be better in.
    pub(crate) fn look(
        &mut self,
        reference: &Reference,
        primary: Metric,
        second: &Measured,
        reading: &Reading,
    ) -> Option<Alarm> {
        let longest = LEAST_LONGEST_WAIT.max(reference.longest_wait * TIMES);
        if let Some(waited) = reading.longest_wait.filter(|waited| *waited > longest) {
            return Some(Alarm::Waited(waited));
        }
        let before = reference.measured.canary_p99_ns.unwrap_or_default();
        let most = LEAST_CANARY_NS.max(before * f64::from(TIMES));
        let is_late = second.canary_p95_ns.is_some_and(|ns| ns > most);
        self.canary = if is_late { self.canary + 1 } else { 0 };
        if self.canary >= CANARY_FOR {
            return Some(Alarm::Canary);
        }
        let too_little = is_too_little(primary, second, &reference.measured);
        self.too_little = if too_little { self.too_little + 1 } else { 0 };
        if self.too_little >= TOO_LITTLE_FOR {
            return Some(Alarm::TooLittle(primary));
        }
        let rose = |now: Option<f64>, before: f64| {
            now.is_some_and(|now| now > LEAST_PRESSURE && now > before / TOO_LITTLE)
        };
        if rose(reading.memory_pressure, reference.memory_pressure) {
            return Some(Alarm::Pressure("memory"));
        }
        rose(reading.io_pressure, reference.io_pressure).then_some(Alarm::Pressure("disks"))
    }
}

/// Whether in this second less than half was reached. Where nobody was woken nobody waited, which says nothing; where nothing was
/// completed although something was before, that is too little.
fn is_too_little(primary: Metric, second: &Measured, before: &Measured) -> bool {
    let (Some(now), Some(before)) = (primary.of(second), primary.of(before)) else {
        return false;
    };
    match primary.better() {
        Better::Higher => now < before * TOO_LITTLE,
        Better::Lower => now > before / TOO_LITTLE,
    }
}

impl Alarm {
    /// The guard, in a word for those who count.
    #[must_use]
    pub fn guard(&self) -> &'static str {
        match self {
            Self::Failed(_) => "failure",
            Self::Waited(_) => "wait",
            Self::Canary => "canary",
            Self::TooLittle(_) => "primary",
            Self::Pressure(_) => "pressure",
        }
    }
}

impl std::fmt::Display for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(how) => write!(f, "failed: {how}"),
            Self::Waited(time) => write!(f, "a task waited {:.1} s", time.as_secs_f64()),
            Self::Canary => f.write_str("a thread of ours waited too long"),
            Self::TooLittle(Metric::Wait) => f.write_str("waits were twice as long"),
            Self::TooLittle(metric) => write!(f, "{}: half of what it was", metric.name()),
            Self::Pressure(what) => write!(f, "twice as much time waiting for {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measured {
        Measured {
            demand: 100.0,
            wait_ns: Some(1e5),
            canary_p95_ns: Some(1e6),
            canary_p99_ns: Some(3e6),
            completions: Some(500.0),
            ..Measured::default()
        }
    }

    fn reading() -> Reading {
        Reading {
            longest_wait: Some(Duration::from_millis(300)),
            memory_pressure: Some(0.04),
            io_pressure: Some(0.0),
            ..Reading::default()
        }
    }

    fn reference() -> Reference {
        let mut worst = Worst::default();
        worst.see(&reading());
        Reference::new(measured(), &worst)
    }

    /// What is said after each of these seconds.
    fn looks(seconds: &[(Measured, Reading)], primary: Metric) -> Vec<Option<Alarm>> {
        let mut guard = Guard::default();
        let look = |(second, reading): &(Measured, Reading)| {
            guard.look(&reference(), primary, second, reading)
        };
        seconds.iter().map(look).collect()
    }

    #[test]
    fn as_things_were_before_nothing_is_said() {
        let seconds = vec![(measured(), reading()); 10];
        assert_eq!(looks(&seconds, Metric::Wait), vec![None; 10]);
    }

    #[test]
    fn a_task_that_waits_for_five_times_as_long_is_too_much_at_once() {
        let waits = |ms| Reading {
            longest_wait: Some(Duration::from_millis(ms)),
            ..reading()
        };
        let seconds = [(measured(), waits(1500)), (measured(), waits(1501))];
        let alarm = Alarm::Waited(Duration::from_millis(1501));
        assert_eq!(looks(&seconds, Metric::Wait), [None, Some(alarm)]);
    }

    #[test]
    fn the_canary_may_be_late_for_a_second() {
        let late = Measured {
            canary_p95_ns: Some(16e6),
            ..measured()
        };
        let seconds = [late, measured(), late, late].map(|second| (second, reading()));
        let expected = [None, None, None, Some(Alarm::Canary)];
        assert_eq!(looks(&seconds, Metric::Wait), expected);
    }

    #[test]
    fn less_than_half_is_too_little_for_three_seconds() {
        let slow = Measured {
            wait_ns: Some(2.1e5),
            completions: Some(249.0),
            ..measured()
        };
        for primary in [Metric::Wait, Metric::Completions] {
            let seconds = [slow, slow, measured(), slow, slow, slow].map(|s| (s, reading()));
            let last = looks(&seconds, primary);
            assert_eq!(last[..5], vec![None; 5]);
            assert_eq!(last[5], Some(Alarm::TooLittle(primary)));
        }
        // Where nobody was woken nothing is known of waits.
        let nobody = Measured {
            wait_ns: None,
            ..measured()
        };
        let seconds = vec![(nobody, reading()); 9];
        assert_eq!(looks(&seconds, Metric::Wait), vec![None; 9]);
    }

    #[test]
    fn pressure_that_doubles_counts_from_a_tenth_on() {
        let pressure = |memory, io| Reading {
            memory_pressure: Some(memory),
            io_pressure: Some(io),
            ..reading()
        };
        let seconds = [(0.09, 0.09), (0.11, 0.0), (0.0, 0.11)];
        let seconds = seconds.map(|(memory, io)| (measured(), pressure(memory, io)));
        let expected = [
            None,
            Some(Alarm::Pressure("memory")),
            Some(Alarm::Pressure("disks")),
        ];
        assert_eq!(looks(&seconds, Metric::Wait), expected);
    }
}
