//! The safe mode, in which the kernel's own scheduler runs because schedulers failed too often or a person ended them.

use std::collections::VecDeque;
use std::time::Duration;

use crate::moment::Moment;

/// So many failures that did harm within [`WITHIN`], of whichever schedulers, begin the safe mode.
const TROUBLES: usize = 5;
const WITHIN: Duration = Duration::from_hours(1);
/// How long the safe mode lasts when nobody ends it.
const LASTS: Duration = Duration::from_hours(24);

/// The safe mode, and the failures that count towards it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SafeMode {
    troubles: VecDeque<Moment>,
    /// The reason for it, and when it ends by itself; `None`: it is not in force.
    entered: Option<(String, Moment)>,
}

impl SafeMode {
    /// Records at `now` a failure that did harm.
    pub(crate) fn trouble(&mut self, now: Moment) {
        self.troubles.push_back(now);
        while self.troubles.len() > TROUBLES {
            self.troubles.pop_front();
        }
        let first = self.troubles.front().copied();
        let too_many =
            self.troubles.len() == TROUBLES && first.is_some_and(|first| now < first + WITHIN);
        if too_many {
            let within = humantime::format_duration(WITHIN);
            self.enter(
                &format!("schedulers failed {TROUBLES} times within {within}"),
                now,
            );
        }
    }

    /// Begins it at `now`, because of `why`.
    pub(crate) fn enter(&mut self, why: &str, now: Moment) {
        self.entered = Some((why.to_owned(), now + LASTS));
    }

    /// Ends it, and forgets the failures that count towards it.
    pub(crate) fn leave(&mut self) {
        *self = Self::default();
    }

    /// The reason for it, if it is in force at `now`.
    pub(crate) fn reason(&self, now: Moment) -> Option<&str> {
        let (why, until) = self.entered.as_ref()?;
        (now < *until).then_some(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_troubles_within_an_hour_are_too_many_for_a_day() {
        let mut safe_mode = SafeMode::default();
        let step = WITHIN / 5;
        for number in 0..4 {
            safe_mode.trouble(number * step);
            assert_eq!(safe_mode.reason(number * step), None);
        }
        safe_mode.trouble(4 * step);
        assert!(safe_mode.reason(4 * step + LASTS - step).is_some());
        assert_eq!(safe_mode.reason(4 * step + LASTS), None);
    }

    #[test]
    fn troubles_now_and_then_do_not_begin_it() {
        let mut safe_mode = SafeMode::default();
        for number in 0..50 {
            safe_mode.trouble(number * (WITHIN / 4));
            assert_eq!(safe_mode.reason(number * (WITHIN / 4)), None);
        }
    }

    #[test]
    fn a_person_ends_it() {
        let mut safe_mode = SafeMode::default();
        safe_mode.enter("SysRq-S", Duration::ZERO);
        assert_eq!(safe_mode.reason(Duration::ZERO), Some("SysRq-S"));
        safe_mode.leave();
        assert_eq!(safe_mode.reason(Duration::ZERO), None);
    }
}
