//! What tasks that sleep get of the CPUs, pure: how long they wait once they are woken, and how long they are held up until they
//! sleep again. The BPF programs say what happens to whom; what is counted is decided here, so that it is tested without a kernel.
//!
//! Owns the arithmetic of [`OutcomeCounters`] and what is remembered of a [`Sleeper`]. All times are of CLOCK_MONOTONIC: the clocks
//! of run queues and the kernel's own figures of waits mean different things under different scheduling classes, and these
//! compare the classes. Leaves to others what the counters mean.

use crate::accounting::SHORT_BURST_NS;
use crate::wait_scale::{LONGEST_WAIT_NS, WAIT_BUCKETS, bucket_of};

/// Beyond this many nanoseconds a wait is long: a person may notice a few of them in a row.
pub const LONG_WAIT_NS: u64 = 2_000_000;

/// Of how many tasks something is remembered at once. A task's place is its number modulo this, and whoever sleeps there last has it: a table
/// that can neither grow nor be full, and takes neither a lock nor memory where the kernel switches tasks. Two that use one
/// place in turns are not counted, which has nothing to do with who schedules them. A kernel whose numbers end at its default,
/// which this is, gives each task a place of its own.
pub const SLEEPERS: u32 = 32_768;

/// The number of no process, for where none is meant. 0 is one: that of the kernel's first task, which has children.
pub const NOBODY: u32 = u32::MAX;

/// Filled by the programs of `outcomes.rs`, each CPU its own.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutcomeCounters {
    /// CLOCK_MONOTONIC of the last switch; 0 until the first one.
    pub switched_at: u64,
    /// Sum of the waits, each as long as [`LONGEST_WAIT_NS`] at most, in nanoseconds.
    pub wait_ns: u64,
    /// How many of them were longer than [`LONG_WAIT_NS`].
    pub long_waits: u64,
    /// Sum of the CPU time of short bursts whose wait was counted, in nanoseconds.
    pub burst_ns: u64,
    /// Sum of the nanoseconds between wake-up and sleep in which their tasks did not run, each as [`LONGEST_WAIT_NS`] at most.
    pub held_up_ns: u64,
    /// How many waits were as long as each bucket of the scale says.
    pub waits: [u64; WAIT_BUCKETS],
}

impl Default for OutcomeCounters {
    fn default() -> Self {
        Self {
            switched_at: 0,
            wait_ns: 0,
            long_waits: 0,
            burst_ns: 0,
            held_up_ns: 0,
            waits: [0; WAIT_BUCKETS],
        }
    }
}

/// What is remembered of a task between its events.
///
/// `woken_at` is written by the CPU that wakes, everything else by the one that the task runs on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sleeper {
    /// The number of the task; 0 for nobody's place.
    pub pid: u64,
    /// When somebody last woke it, asleep or not.
    pub woken_at: u64,
    /// When it went to sleep; 0 while it is awake.
    pub slept_at: u64,
    /// From when it could run in the burst that it is in, or was in last.
    pub ready_at: u64,
    /// The CPU time of that burst, without the stretch that it runs now.
    pub ran_ns: u64,
    /// Asleep: 1 when its next wait counts. Awake: 1 when its wait was counted.
    pub counts: u64,
}

impl OutcomeCounters {
    /// The CPU switches tasks. Returns for how many nanoseconds the one that leaves had it; 0 at the first switch, where nobody
    /// can be remembered who runs.
    #[inline(always)]
    pub fn switches(&mut self, now: u64) -> u64 {
        let since = self.switched_at;
        self.switched_at = now;
        if since == 0 {
            0
        } else {
            now.saturating_sub(since)
        }
    }

    /// Somebody whose waits count waited.
    #[inline(always)]
    pub fn waited(&mut self, wait_ns: u64) {
        self.wait_ns += at_most_longest(wait_ns);
        if wait_ns > LONG_WAIT_NS {
            self.long_waits += 1;
        }
        if let Some(count) = self.waits.get_mut(bucket_of(wait_ns)) {
            *count += 1;
        }
    }

    /// Whose wait was counted sleeps again, after so much CPU time in so much time since the wake-up.
    #[inline(always)]
    pub fn slept(&mut self, burst_ns: u64, awake_ns: u64) {
        self.burst_ns += burst_ns;
        self.held_up_ns += at_most_longest(awake_ns.saturating_sub(burst_ns));
    }
}

impl Sleeper {
    /// Somebody wakes the task, which need not sleep yet: its CPU may still be about to say that it does.
    #[inline(always)]
    pub fn is_woken(&mut self, pid: u64, now: u64) {
        if self.pid == pid {
            self.woken_at = now;
        }
    }

    /// The task gets a CPU, that of these counters.
    #[inline(always)]
    pub fn runs(&mut self, counters: &mut OutcomeCounters, pid: u64, now: u64) {
        // Not asleep, it was preempted or moved.
        if self.pid != pid || self.slept_at == 0 {
            return;
        }
        let slept_at = self.slept_at;
        self.slept_at = 0;
        self.ran_ns = 0;
        // The last wake-up belongs to a burst before: that of this one was not seen.
        if self.woken_at <= self.ready_at {
            self.ready_at = now;
            self.counts = 0;
            return;
        }
        self.ready_at = if self.woken_at < slept_at {
            slept_at
        } else {
            self.woken_at
        };
        if self.counts != 0 {
            counters.waited(now.saturating_sub(self.ready_at));
        }
    }

    /// The task leaves its CPU after so many nanoseconds, and wants to go on.
    #[inline(always)]
    pub fn is_preempted(&mut self, pid: u64, ran_ns: u64) {
        if self.pid == pid {
            self.ran_ns += ran_ns;
        }
    }

    /// The task leaves its CPU after so many nanoseconds, and sleeps. `may_count` says whether it is one of those that
    /// outcomes are about.
    #[inline(always)]
    pub fn sleeps(
        &mut self,
        counters: &mut OutcomeCounters,
        pid: u64,
        now: u64,
        ran_ns: u64,
        may_count: bool,
    ) {
        if self.pid != pid {
            // Of the burst that ends the beginning is not known.
            *self = Self {
                pid,
                slept_at: now,
                ..Self::default()
            };
            return;
        }
        let burst_ns = self.ran_ns + ran_ns;
        let is_short = burst_ns < SHORT_BURST_NS && self.slept_at == 0;
        if is_short && self.counts != 0 {
            counters.slept(burst_ns, now.saturating_sub(self.ready_at));
        }
        self.counts = u64::from(is_short && may_count);
        self.slept_at = now;
    }

    /// The task ends.
    #[inline(always)]
    pub fn ends(&mut self, pid: u64) {
        if self.pid == pid {
            self.pid = 0;
        }
    }
}

#[inline(always)]
fn at_most_longest(ns: u64) -> u64 {
    if ns < LONGEST_WAIT_NS {
        ns
    } else {
        LONGEST_WAIT_NS
    }
}

#[cfg(test)]
mod tests;
