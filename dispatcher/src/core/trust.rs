//! Whether schedulers are still trusted after what happened; if not, this is the safe mode, in which
//! the kernel's own scheduler runs.

use std::collections::VecDeque;
use std::time::Duration;

use super::Moment;

/// So many troubles within [`WITHIN`] are too many, whichever schedulers they were of.
const TROUBLES: usize = 5;
const WITHIN: Duration = Duration::from_hours(1);
/// How long the safe mode lasts when nobody ends it.
const LASTS: Duration = Duration::from_hours(24);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trust {
    troubles: VecDeque<Moment>,
    /// Why there is none, and until when.
    lost: Option<(String, Moment)>,
}

impl Trust {
    /// Takes note at `now` of a scheduler that did harm.
    pub(super) fn trouble(&mut self, now: Moment) {
        self.troubles.push_back(now);
        while self.troubles.len() > TROUBLES {
            self.troubles.pop_front();
        }
        let first = self.troubles.front().copied();
        let too_many =
            self.troubles.len() == TROUBLES && first.is_some_and(|first| now < first + WITHIN);
        if too_many {
            let within = humantime::format_duration(WITHIN);
            self.lose(
                &format!("schedulers failed {TROUBLES} times within {within}"),
                now,
            );
        }
    }

    /// From `now` on nothing is trusted, because of `why`.
    pub(super) fn lose(&mut self, why: &str, now: Moment) {
        self.lost = Some((why.to_owned(), now + LASTS));
    }

    /// A person says that all is well.
    pub(super) fn restore(&mut self) {
        *self = Self::default();
    }

    /// Why nothing is trusted at `now`.
    pub(crate) fn lost(&self, now: Moment) -> Option<&str> {
        let (why, until) = self.lost.as_ref()?;
        (now < *until).then_some(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_troubles_within_an_hour_are_too_many_for_a_day() {
        let mut trust = Trust::default();
        let step = WITHIN / 5;
        for number in 0..4 {
            trust.trouble(number * step);
            assert_eq!(trust.lost(number * step), None);
        }
        trust.trouble(4 * step);
        assert!(trust.lost(4 * step + LASTS - step).is_some());
        assert_eq!(trust.lost(4 * step + LASTS), None);
    }

    #[test]
    fn troubles_now_and_then_are_borne() {
        let mut trust = Trust::default();
        for number in 0..50 {
            trust.trouble(number * (WITHIN / 4));
            assert_eq!(trust.lost(number * (WITHIN / 4)), None);
        }
    }

    #[test]
    fn a_person_ends_it() {
        let mut trust = Trust::default();
        trust.lose("SysRq-S", Duration::ZERO);
        assert_eq!(trust.lost(Duration::ZERO), Some("SysRq-S"));
        trust.restore();
        assert_eq!(trust.lost(Duration::ZERO), None);
    }
}
