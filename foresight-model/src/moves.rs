//! A move of a task from one LLC to another: what is known as it is decided, and what came of it.

use crate::fixed::ONE;

/// How many features there are, each within [`crate::fixed::MAX_FEATURE`] of zero. `src` is the LLC where the task waits, `dst`
/// the one that would have it; what is counted is per CPU of the LLC.
pub const INPUTS: usize = 16;
/// How many wait at src whose home is another LLC.
pub const FOREIGN: usize = 0;
/// log2 of how long ago it last ran, minus [`AWAY_LEVEL`].
pub const AWAY: usize = 1;
/// Whether the CPU of dst was idle as the task was woken.
pub const IDLE: usize = 2;
/// Whether somebody at dst still wants the CPU.
pub const NOT_IDLE: usize = 3;
/// Whether it has just become idle.
pub const NEWLY_IDLE: usize = 4;
/// Whether both are on one node.
pub const SAME_NODE: usize = 5;
/// Whether src is where it mostly ran.
pub const PREFERS_SRC: usize = 6;
/// The same of dst.
pub const PREFERS_DST: usize = 7;
/// How many wait at src.
pub const SRC_LENGTH: usize = 8;
/// log2 of what those are predicted to run, in nanoseconds, minus [`crate::burst::LEVEL`].
pub const SRC_LOAD: usize = 9;
/// The same at dst.
pub const DST_LOAD: usize = 10;
/// How many wait at dst.
pub const DST_LENGTH: usize = 11;
/// log2 of one more than the page faults of its last burst.
pub const FAULTS: usize = 12;
/// How many vetoes it had since it woke.
pub const VETOES: usize = 13;
/// Whether who woke it ran in src, and is of its process or waits for it.
pub const WAKER: usize = 14;
/// log2 of what it is predicted to run, minus [`crate::burst::LEVEL`].
pub const PREDICTED: usize = 15;

/// What is subtracted from how long ago it ran: 2^20 ns, a millisecond.
pub const AWAY_LEVEL: i32 = 20;

/// Their names, as files have them.
pub const NAMES: [&str; INPUTS] = [
    "src_foreign",
    "away",
    "dst_idle",
    "dst_not_idle",
    "dst_newly_idle",
    "same_node",
    "prefers_src",
    "prefers_dst",
    "src_length",
    "src_load",
    "dst_load",
    "dst_length",
    "faults",
    "vetoes",
    "waker",
    "predicted",
];

/// The worst that can come of a decision, in milliseconds.
pub const WORST_MS: f64 = 20.0;

/// What came of a decision, in milliseconds, from minus [`WORST_MS`] to 0: how long the task waited after it, and how much
/// longer it ran than predicted, as where its memory is far.
#[must_use]
pub fn reward_ms(waited_ns: u64, ran_ns: u64, predicted_ns: u64) -> f64 {
    let lost = waited_ns.saturating_add(ran_ns.saturating_sub(predicted_ns));
    #[expect(clippy::cast_precision_loss, reason = "of what stops at 20 ms")]
    let lost_ms = lost as f64 / 1e6;
    0.0 - lost_ms.min(WORST_MS)
}

/// What BPF programs have instead of whether.
#[must_use]
pub fn flag(whether: bool) -> i32 {
    if whether { ONE } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_and_running_longer_than_predicted_are_losses() {
        assert!((reward_ms(2_000_000, 500_000, 1_000_000) + 2.0).abs() < 1e-9);
        assert!((reward_ms(0, 1_500_000, 1_000_000) + 0.5).abs() < 1e-9);
        assert!(reward_ms(0, 0, 0) == 0.0 && reward_ms(0, 0, 0).is_sign_positive());
        assert!((reward_ms(u64::MAX, u64::MAX, 0) + WORST_MS).abs() < 1e-9);
    }
}
