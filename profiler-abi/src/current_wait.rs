//! For how long a task has waited for a CPU by now, pure: the BPF program that looks at all tasks says what the kernel knows of
//! each, and what counts is decided here.
//!
//! Owns which tasks wait. Only those that a sched_ext scheduler would schedule count: what has a realtime or deadline policy waits for its
//! like alone, and who is in the background is meant to wait.

use crate::background::in_background;

/// `TASK_RUNNING` of include/linux/sched.h, and `TASK_ON_RQ_QUEUED` of kernel/sched/sched.h.
const RUNNING: u32 = 0;
const QUEUED: u32 = 1;
/// The normal policies of include/uapi/linux/sched.h, as bits: SCHED_NORMAL, SCHED_BATCH and SCHED_EXT.
const NORMAL: u32 = 1 | 1 << 3 | 1 << 7;

/// What the kernel knows of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// `__state`. A task that sleeps may still be on a queue, from which it is taken later.
    pub state: u32,
    /// `on_rq`.
    pub on_rq: u32,
    /// `on_cpu`: it runs.
    pub on_cpu: u32,
    /// `static_prio`.
    pub static_prio: i32,
    /// `policy`.
    pub policy: u32,
    /// `sched_info.last_queued`: since when it is on the queue that it is on, by the clock of run queues, in nanoseconds; 0 while it runs
    /// or sleeps.
    pub queued_at: u64,
}

impl Standing {
    /// For how long it has waited, by the same clock; 0 when it does not wait, or does not count.
    #[inline(always)]
    #[must_use]
    pub const fn waited(&self, now: u64) -> u64 {
        let waits = self.state == RUNNING && self.on_rq == QUEUED && self.on_cpu == 0;
        let is_normal = self.policy < u32::BITS && NORMAL >> self.policy & 1 == 1;
        if waits
            && is_normal
            && self.queued_at != 0
            && in_background(self.static_prio, self.policy) == 0
        {
            now.saturating_sub(self.queued_at)
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITS: Standing = Standing {
        state: 0,
        on_rq: 1,
        on_cpu: 0,
        static_prio: 120,
        policy: 0,
        queued_at: 1_000,
    };

    #[test]
    fn who_is_ready_and_does_not_run_waits() {
        assert_eq!(WAITS.waited(5_000), 4_000);
        for policy in [3, 7] {
            assert_eq!(Standing { policy, ..WAITS }.waited(5_000), 4_000);
        }
        // The clocks of two CPUs may differ a little.
        assert_eq!(WAITS.waited(900), 0);
    }

    #[test]
    fn who_runs_sleeps_or_is_not_the_schedulers_does_not() {
        for other in [
            Standing { state: 1, ..WAITS },
            Standing { on_rq: 0, ..WAITS },
            Standing { on_rq: 2, ..WAITS },
            Standing { on_cpu: 1, ..WAITS },
            Standing {
                queued_at: 0,
                ..WAITS
            },
            Standing {
                static_prio: 130,
                ..WAITS
            },
            Standing { policy: 1, ..WAITS },
            Standing { policy: 2, ..WAITS },
            Standing { policy: 5, ..WAITS },
            Standing { policy: 6, ..WAITS },
            Standing {
                policy: 77,
                ..WAITS
            },
        ] {
            assert_eq!(other.waited(5_000), 0, "{other:?}");
        }
    }
}
