//! One window after the other: the sample at which the current one began.

use std::time::Duration;

use crate::sample::{Machine, Sample};
use crate::signal::Signals;

/// Windows, each of which begins with the sample at which the one before ended.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    begin: Sample,
}

impl Windows {
    /// The first window begins with this sample.
    #[must_use]
    pub fn begin(sample: Sample) -> Self {
        Self { begin: sample }
    }

    /// The window ends with this sample, and the next one begins. Returns how long it was, and its signals as
    /// [`Signals::between`] says: none when no time passed, or when the counters cannot be.
    pub fn end(&mut self, sample: Sample, machine: &Machine) -> (Duration, Option<Signals>) {
        let begin = std::mem::replace(&mut self.begin, sample);
        let length = Duration::from_nanos(sample.at_ns.saturating_sub(begin.at_ns));
        (length, Signals::between(&begin, &sample, machine))
    }

    /// The window begins anew with this sample: what was counted until now, while the machine slept, belongs to none.
    pub fn begin_again(&mut self, sample: Sample) {
        self.begin = sample;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::SchedTotals;
    use crate::signal::Signal;

    const SECOND: u64 = 1_000_000_000;

    /// A machine with one CPU that has been busy for so many seconds.
    fn after(seconds: u64, busy: u64) -> Sample {
        Sample {
            at_ns: seconds * SECOND,
            cpus: 1,
            sched: Some(SchedTotals {
                busy_ns: busy * SECOND,
                core_ns: busy * SECOND,
                cores: 1,
                ..SchedTotals::default()
            }),
            ..Sample::default()
        }
    }

    fn cpu(windows: &mut Windows, sample: Sample) -> (u64, Option<f64>) {
        let (length, signals) = windows.end(sample, &Machine::default());
        let signals = signals.and_then(|signals| signals.get(Signal::Cpu));
        (length.as_secs(), signals)
    }

    #[test]
    fn a_window_begins_where_the_one_before_ended_even_if_that_was_none() {
        let mut windows = Windows::begin(after(1, 0));
        assert_eq!(cpu(&mut windows, after(2, 1)), (1, Some(1.0)));
        assert_eq!(cpu(&mut windows, after(4, 1)), (2, Some(0.0)));
        assert_eq!(cpu(&mut windows, after(4, 1)), (0, None), "no time");
        assert_eq!(cpu(&mut windows, after(5, 9)), (1, None), "cannot be");
        assert_eq!(cpu(&mut windows, after(7, 10)), (2, Some(0.5)));
    }

    #[test]
    fn what_was_counted_while_the_machine_slept_belongs_to_no_window() {
        let mut windows = Windows::begin(after(1, 0));
        windows.begin_again(after(11, 10));
        assert_eq!(cpu(&mut windows, after(12, 10)), (1, Some(0.0)));
    }
}
