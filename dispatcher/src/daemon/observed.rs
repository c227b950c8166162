//! What the kernel ran when it was last read, when a change was last announced, and when one was last counted. These
//! three differ: a switch of our own is announced only when it has ended, and a scheduler that is detached for a moment to
//! load itself again is announced but not counted.

use crate::api::status::Current;

/// The scheduler at these three times. It only serves to notice changes: what is shown as current is read from the kernel.
pub(super) struct Observed {
    /// The name and the enabling when the kernel was last read.
    last: (String, Option<u64>),
    /// When that had changed: CLOCK_REALTIME in microseconds.
    since: u64,
    announced: Current,
    /// The name after the last change that was counted.
    counted: String,
    switches: u64,
}

impl Observed {
    /// Begins with `current`, at `now_us` of CLOCK_REALTIME.
    pub(super) fn new(current: Current, now_us: u64) -> Self {
        Self {
            last: (current.current_scheduler.clone(), current.instance),
            since: now_us,
            counted: current.current_scheduler.clone(),
            announced: current,
            switches: 0,
        }
    }

    /// Records that the kernel was read at `now_us`, and said `current`.
    pub(super) fn read(&mut self, current: &Current, now_us: u64) {
        let (name, instance) = current.which();
        if (self.last.0.as_str(), self.last.1) != (name, instance) {
            self.last = (name.to_owned(), instance);
            self.since = now_us;
        }
    }

    /// What the kernel ran when it was last read, as D-Bus' `CurrentScheduler`.
    pub(super) fn scheduler(&self) -> &str {
        &self.last.0
    }

    /// Since when: CLOCK_REALTIME in microseconds.
    pub(super) fn since(&self) -> u64 {
        self.since
    }

    /// How many changes were counted.
    pub(super) fn switches(&self) -> u64 {
        self.switches
    }

    /// What was announced last.
    pub(super) fn announced(&self) -> &Current {
        &self.announced
    }

    /// Whether `current` was announced last.
    pub(super) fn is_announced(&self, current: &Current) -> bool {
        current.which() == self.announced.which()
    }

    /// Records that `current` is announced, and counts that if it `counts`. Returns the name of what was announced
    /// before.
    pub(super) fn announce(&mut self, current: Current, counts: bool) -> String {
        if counts {
            self.switches += 1;
            self.counted.clone_from(&current.current_scheduler);
        }
        std::mem::replace(&mut self.announced, current).current_scheduler
    }

    /// Counts the change to what was announced last, if it was not counted then and is there to stay after all.
    pub(super) fn count_announced(&mut self) {
        if self.announced.current_scheduler != self.counted {
            self.switches += 1;
            self.counted.clone_from(&self.announced.current_scheduler);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheduler(name: &str, instance: u64) -> Current {
        Current {
            current_scheduler: name.into(),
            instance: Some(instance),
            ..Current::nothing()
        }
    }

    #[test]
    fn the_time_of_a_change_is_that_at_which_it_was_read() {
        let mut observed = Observed::new(Current::nothing(), 1);
        observed.read(&Current::nothing(), 2);
        assert_eq!((observed.scheduler(), observed.since()), ("kernel", 1));
        observed.read(&scheduler("scx_a", 1), 3);
        observed.read(&scheduler("scx_a", 1), 4);
        assert_eq!((observed.scheduler(), observed.since()), ("scx_a", 3));
        observed.read(&scheduler("scx_a", 2), 5);
        assert_eq!(observed.since(), 5);
    }

    #[test]
    fn one_that_loads_itself_again_is_announced_and_not_counted() {
        let mut observed = Observed::new(scheduler("scx_a", 1), 0);
        assert_eq!(observed.announce(Current::nothing(), false), "scx_a");
        assert!(!observed.is_announced(&scheduler("scx_a", 2)));
        assert_eq!(observed.announce(scheduler("scx_a", 2), false), "kernel");
        observed.count_announced();
        assert_eq!(observed.switches(), 0);
        observed.announce(Current::nothing(), true);
        assert_eq!(observed.switches(), 1);
    }

    #[test]
    fn one_that_does_not_come_back_is_counted_once() {
        let mut observed = Observed::new(scheduler("scx_a", 1), 0);
        observed.announce(Current::nothing(), false);
        for _ in 0..2 {
            observed.count_announced();
            assert_eq!(observed.switches(), 1);
        }
    }
}
