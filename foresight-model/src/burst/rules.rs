//! What follows from a prediction: the virtual deadline and the slice. Whatever a model says, the deadline is between the virtual
//! runtime and that plus the longest slice.

use super::features::MAX_DEVIATION;
use crate::fixed::{ONE, clamp_q16, exp2_q16};

/// The shortest prediction.
pub const MIN_PREDICTION_NS: u64 = 10_000;
/// The shortest slice.
pub const SLICE_MIN_NS: u64 = 300_000;
/// The longest slice, unless another is asked for, and with it the longest prediction.
pub const SLICE_MAX_NS: u64 = 3_000_000;
/// How far behind a task may be, in virtual time: who slept long is not ahead of all for as long.
pub const LAG_NS: u64 = 20_000_000;
/// How far ahead a task may be, or its deadline: of a task of weight 1 one slice is 300 ms of virtual time.
pub const LEAD_NS: u64 = 100_000_000;
/// Virtual time is as slow as many tasks want a CPU, and they are heavy. It passes at this part of time at least, so that nobody
/// waits for longer than (`LAG_NS` + `LEAD_NS`) x `PACE` = 2.4 s for others to catch up, half of what the kernel suffers.
pub const PACE: u64 = 20;
/// By how much a deadline must come before that of whoever runs to take the CPU from it.
pub const PREEMPT_NS: u64 = SLICE_MIN_NS;

/// What a task asks for as it is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The CPU time after which its deadline is.
    pub want_ns: u64,
    /// How long it may run at once.
    pub slice_ns: u64,
}

/// The length of the next burst: the average, and what a line says of how far from it.
#[must_use]
pub fn predict_ns(average: i32, deviation: i32, slice_max_ns: u64) -> u64 {
    let deviation = clamp_q16(i64::from(deviation), MAX_DEVIATION * ONE);
    exp2_q16(i64::from(average) + i64::from(deviation))
        .min(slice_max_ns)
        .max(MIN_PREDICTION_NS)
}

/// Of a task that ran for so long since it was woken. Who outlives the prediction asks for the longest slice, so that a
/// prediction that is too short costs one preemption.
#[must_use]
pub fn request(predicted_ns: u64, ran_ns: u64, slice_max_ns: u64) -> Request {
    match predicted_ns.checked_sub(ran_ns) {
        Some(left) if left > 0 => {
            let want_ns = left.min(slice_max_ns);
            Request {
                want_ns,
                slice_ns: (want_ns * 2).min(slice_max_ns).max(SLICE_MIN_NS),
            }
        }
        _ => Request {
            want_ns: slice_max_ns,
            slice_ns: slice_max_ns,
        },
    }
}

/// When the task should have had what it asks for, in virtual time. Weights are sched_ext's, from 1 to 10000.
#[must_use]
pub fn deadline(vruntime: u64, want_ns: u64, weight: u32) -> u64 {
    charge(vruntime, want_ns, weight)
}

/// The virtual runtime after so much CPU time.
#[must_use]
pub fn charge(vruntime: u64, used_ns: u64, weight: u32) -> u64 {
    vruntime.wrapping_add(used_ns.wrapping_mul(100) / u64::from(weight.max(1)))
}

/// The virtual runtime, or the deadline, as far behind or ahead of the virtual time as it may be.
#[must_use]
pub fn bound(vruntime: u64, now: u64) -> u64 {
    let (least, most) = (now.wrapping_sub(LAG_NS), now.wrapping_add(LEAD_NS));
    if is_before(vruntime, least) {
        least
    } else if is_before(most, vruntime) {
        most
    } else {
        vruntime
    }
}

/// Whether who is woken takes the CPU from who runs.
#[must_use]
pub fn preempts(deadline: u64, running: u64) -> bool {
    is_before(deadline.wrapping_add(PREEMPT_NS), running)
}

/// As the kernel's `time_before64`, which holds when time wraps.
fn is_before(earlier: u64, later: u64) -> bool {
    earlier.wrapping_sub(later).cast_signed() < 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn who_outlives_its_prediction_asks_for_all() {
        let all = Request {
            want_ns: SLICE_MAX_NS,
            slice_ns: SLICE_MAX_NS,
        };
        assert_eq!(request(50_000, 50_000, SLICE_MAX_NS), all);
        assert_eq!(request(50_000, 60_000, SLICE_MAX_NS), all);
        let short = request(50_000, 40_000, SLICE_MAX_NS);
        assert_eq!((short.want_ns, short.slice_ns), (10_000, SLICE_MIN_NS));
        let long = request(1_000_000, 0, SLICE_MAX_NS);
        assert_eq!((long.want_ns, long.slice_ns), (1_000_000, 2_000_000));
    }

    #[test]
    fn time_may_wrap() {
        assert!(preempts(u64::MAX - 10, PREEMPT_NS));
        assert!(!preempts(10, u64::MAX - 10));
        assert_eq!(bound(u64::MAX - LAG_NS, 5), 5_u64.wrapping_sub(LAG_NS));
        assert_eq!(bound(u64::MAX, 5), u64::MAX);
        assert_eq!(bound(LEAD_NS, u64::MAX), LEAD_NS - 1);
    }

    proptest! {
        #[test]
        fn whatever_is_predicted_the_deadline_is_within_one_slice(
            average: i32, deviation: i32, ran_ns in 0..10_u64.pow(12), vruntime: u64, weight in 1..=10_000_u32,
            slice_max_ns in SLICE_MIN_NS..20_000_000,
        ) {
            let predicted = predict_ns(average, deviation, slice_max_ns);
            prop_assert!((MIN_PREDICTION_NS..=slice_max_ns).contains(&predicted));
            let request = request(predicted, ran_ns, slice_max_ns);
            prop_assert!((SLICE_MIN_NS..=slice_max_ns).contains(&request.slice_ns));
            let ahead = deadline(vruntime, request.want_ns, weight).wrapping_sub(vruntime);
            prop_assert!(ahead <= slice_max_ns * 100 / u64::from(weight));
        }

        #[test]
        fn nobody_is_further_behind_or_ahead_than_it_may(vruntime: u64, now: u64) {
            let ahead = bound(vruntime, now).wrapping_sub(now).cast_signed();
            prop_assert!((-LAG_NS.cast_signed()..=LEAD_NS.cast_signed()).contains(&ahead));
        }
    }
}
