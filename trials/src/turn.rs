//! A turn: wait until its scheduler runs, let the machine settle, measure. What was measured is of whole readings, and of one scheduler.

use std::sync::Arc;
use std::time::Duration;

use crate::guard::Worst;
use crate::moment::Moment;
use crate::outcome::{Measured, Reading};

/// How long a switch may take until the turn is given up: the slowest schedulers load for a minute in emulated machines.
const SWITCH_WITHIN: Duration = Duration::from_secs(90);
/// How long readings may be late until nothing is measured any more.
const READING_WITHIN: Duration = Duration::from_secs(5);

/// One turn on its way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Turn {
    settle: Duration,
    arm: Duration,
    began: Moment,
    part: Part,
    /// The reading before the last.
    before: Option<Arc<Reading>>,
    last: Option<(Moment, Arc<Reading>)>,
    worst: Worst,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Switching,
    Settling {
        since: Moment,
    },
    Measuring {
        since: Moment,
        first: Arc<Reading>,
        half: Option<Arc<Reading>>,
    },
}

/// What is known after a turn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Done {
    /// What was measured in all of it.
    pub measured: Measured,
    /// In its halves, where both are known.
    pub halves: Option<[Measured; 2]>,
    /// The worst that was seen.
    pub worst: Worst,
}

/// Why a turn cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoilt {
    /// Its scheduler does not run in time.
    NotSwitched,
    /// Its scheduler does not run any more.
    Gone,
    /// There were no readings.
    NotMeasured,
}

impl Turn {
    /// A turn that begins now.
    #[must_use]
    pub(crate) fn new(settle: Duration, arm: Duration, now: Moment) -> Self {
        Self {
            settle,
            arm,
            began: now,
            part: Part::Switching,
            before: None,
            last: None,
            worst: Worst::default(),
        }
    }

    /// How long it takes from when its scheduler runs, at most, until it is done or spoilt.
    #[must_use]
    pub(crate) fn at_most(settle: Duration, arm: Duration) -> Duration {
        settle + arm + 2 * READING_WITHIN
    }

    /// When it will end, as far as is known now.
    #[must_use]
    pub(crate) fn ends(&self, now: Moment) -> Moment {
        self.end().unwrap_or(now + self.settle + self.arm)
    }

    /// When it will end; `None` while its scheduler does not run yet.
    #[must_use]
    pub(crate) fn end(&self) -> Option<Moment> {
        match &self.part {
            Part::Switching => None,
            Part::Settling { since } => Some(*since + self.settle + self.arm),
            Part::Measuring { since, .. } => Some(*since + self.arm),
        }
    }

    /// Looks at what runs at `now`.
    ///
    /// # Errors
    /// When the turn cannot go on.
    pub(crate) fn look(&mut self, runs: bool, now: Moment) -> Result<(), Spoilt> {
        match &self.part {
            Part::Switching if runs => {
                self.part = Part::Settling { since: now };
                self.last = None;
                Ok(())
            }
            Part::Switching if now.saturating_sub(self.began) > SWITCH_WITHIN => {
                Err(Spoilt::NotSwitched)
            }
            Part::Switching => Ok(()),
            _ if !runs => Err(Spoilt::Gone),
            Part::Settling { since } => {
                let due = *since + self.settle + READING_WITHIN;
                if now > due {
                    Err(Spoilt::NotMeasured)
                } else {
                    Ok(())
                }
            }
            Part::Measuring { .. } => {
                let late = self.last.as_ref();
                let late = late.is_some_and(|(at, _)| now.saturating_sub(*at) > READING_WITHIN);
                if late {
                    Err(Spoilt::NotMeasured)
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Takes in a reading. Returns what the turn measured, if that was its last.
    pub(crate) fn read(&mut self, reading: &Arc<Reading>, now: Moment) -> Option<Done> {
        if matches!(self.part, Part::Switching) {
            return None;
        }
        self.before = self.last.take().map(|(_, before)| before);
        self.last = Some((now, reading.clone()));
        self.worst.see(reading);
        match &mut self.part {
            Part::Switching => None,
            Part::Settling { since } => {
                if now.saturating_sub(*since) >= self.settle {
                    self.part = Part::Measuring {
                        since: now,
                        first: reading.clone(),
                        half: None,
                    };
                }
                None
            }
            Part::Measuring { since, first, half } => {
                let measured = now.saturating_sub(*since);
                if half.is_none() && measured >= self.arm / 2 {
                    *half = Some(reading.clone());
                }
                if measured < self.arm {
                    return None;
                }
                let half = half.as_ref()?;
                let first_half = Measured::between(first, half);
                let halves = first_half.zip(Measured::between(half, reading));
                Some(Done {
                    measured: Measured::between(first, reading)?,
                    halves: halves.map(|(one, other)| [one, other]),
                    worst: self.worst.clone(),
                })
            }
        }
    }

    /// The last second: what was measured in it, and the reading at its end.
    #[must_use]
    pub(crate) fn second(&self) -> Option<(Measured, &Reading)> {
        let (_, last) = self.last.as_ref()?;
        Some((Measured::between(self.before.as_ref()?, last)?, last))
    }
}

#[cfg(test)]
mod tests {
    use auto_ext_evidence::SETTLE;
    use auto_ext_signals::{OutcomeTotals, WaitBucket};

    use super::*;

    const ARM: Duration = Duration::from_secs(6);

    fn seconds(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    /// At this second, when in each until then so many were woken.
    fn reading(at: u64, woken: u64) -> Arc<Reading> {
        Arc::new(Reading {
            waits: OutcomeTotals {
                at_ns: at * 1_000_000_000,
                waits: vec![WaitBucket {
                    from_ns: 0,
                    to_ns: 10,
                    count: woken,
                }],
                ..OutcomeTotals::default()
            },
            ..Reading::default()
        })
    }

    #[test]
    fn a_turn_measures_after_the_machine_has_settled() {
        let mut turn = Turn::new(SETTLE[0], ARM, seconds(0));
        assert_eq!(turn.look(false, seconds(5)), Ok(()));
        // What is read under the scheduler before does not count.
        assert_eq!(turn.read(&reading(5, 999), seconds(5)), None);
        assert_eq!(turn.look(true, seconds(10)), Ok(()));
        assert_eq!(turn.ends(seconds(10)), seconds(19));
        for second in 11..19 {
            let woken = 1000 + 10 * (second - 10);
            assert_eq!(turn.read(&reading(second, woken), seconds(second)), None);
            assert_eq!(turn.look(true, seconds(second)), Ok(()));
        }
        let (second, _) = turn.second().unwrap();
        assert!((second.demand - 10.0).abs() < 1e-9);
        let done = turn.read(&reading(19, 1090), seconds(19)).unwrap();
        assert!((done.measured.seconds - 6.0).abs() < 1e-9);
        assert!((done.measured.demand - 10.0).abs() < 1e-9);
        let [one, other] = done.halves.unwrap();
        assert!((one.seconds - 3.0).abs() < 1e-9 && (other.seconds - 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_turn_that_nothing_comes_of_is_given_up() {
        let begun = Turn::new(SETTLE[0], ARM, seconds(0));
        let mut turn = begun.clone();
        assert_eq!(turn.look(false, seconds(91)), Err(Spoilt::NotSwitched));
        let mut turn = begun.clone();
        assert_eq!(turn.look(true, seconds(1)), Ok(()));
        assert_eq!(turn.look(false, seconds(2)), Err(Spoilt::Gone));
        let mut turn = begun;
        assert_eq!(turn.look(true, seconds(1)), Ok(()));
        assert_eq!(turn.look(true, seconds(9)), Ok(()));
        let mut late = turn.clone();
        assert_eq!(late.look(true, seconds(10)), Err(Spoilt::NotMeasured));
        assert_eq!(turn.read(&reading(9, 0), seconds(9)), None);
        assert_eq!(turn.look(true, seconds(14)), Ok(()));
        assert_eq!(turn.look(true, seconds(15)), Err(Spoilt::NotMeasured));
    }
}
