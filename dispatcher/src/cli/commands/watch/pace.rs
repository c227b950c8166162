//! How often the daemon is asked and frames are drawn: so rarely that the program uses no more than a small share of a CPU,
//! however slow the machine is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use auto_ext_service::clock::microseconds;

/// The time from one frame to the next is at least this many times the CPU time of the last one, with all that was done
/// for it: a share of 0.5 %.
const TIMES_THE_COST: u32 = 200;
/// The least time between two frames: more often nobody sees anything.
const LEAST: Duration = Duration::from_millis(200);
/// The least while somebody presses keys.
const LEAST_WITH_KEYS: Duration = Duration::from_millis(50);
/// The longest time between two frames. Only attaching the profiler costs so much that it is reached.
const MOST: Duration = Duration::from_secs(4);

/// The pace of frames, from the CPU time of the last one.
#[derive(Debug)]
pub(super) struct Pace {
    cpu_at_last: Duration,
    rest: Rest,
}

/// The time from one frame to the next, for those who gather what is drawn.
#[derive(Clone, Debug)]
pub(super) struct Rest(Arc<AtomicU64>);

impl Rest {
    pub(super) fn get(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }

    fn set(&self, rest: Duration) {
        // It is a few seconds at most.
        let us = microseconds(rest);
        self.0.store(us, Ordering::Relaxed);
    }
}

impl Pace {
    /// Begins when the program has used `cpu` in all; the cost of starting delays no frame.
    pub(super) fn new(cpu: Duration) -> Self {
        let rest = Rest(Arc::default());
        rest.set(LEAST);
        Self {
            cpu_at_last: cpu,
            rest,
        }
    }

    pub(super) fn rest(&self) -> &Rest {
        &self.rest
    }

    /// A frame was drawn, when the program had used `cpu` in all.
    pub(super) fn drawn(&mut self, cpu: Duration) {
        let cost = cpu.saturating_sub(self.cpu_at_last);
        self.cpu_at_last = cpu;
        self.rest.set((cost * TIMES_THE_COST).clamp(LEAST, MOST));
    }

    /// The time from the last frame to the next.
    pub(super) fn next(&self, key_pressed: bool) -> Duration {
        if key_pressed {
            return LEAST_WITH_KEYS;
        }
        self.rest.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_a_frame_costs_the_later_the_next_comes() {
        let mut pace = Pace::new(Duration::from_millis(50));
        assert_eq!(pace.next(false), LEAST);
        pace.drawn(Duration::from_millis(150));
        assert_eq!(pace.next(false), MOST);
        pace.drawn(Duration::from_millis(155));
        assert_eq!(pace.next(false), Duration::from_secs(1));
        pace.drawn(Duration::from_millis(155));
        assert_eq!(pace.next(false), LEAST);
        assert_eq!(pace.next(true), LEAST_WITH_KEYS);
    }
}
