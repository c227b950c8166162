//! The scale on which waits are counted: buckets that grow with what is in them, sixteen to each doubling.
//!
//! Owns which wait belongs into which bucket. The BPF programs count by it, and user space reads by it.

/// Waits count for at most this many nanoseconds: a task that nobody needs soon must not outweigh all others.
pub const LONGEST_WAIT_NS: u64 = 100_000_000;

/// How many buckets there are: the last one has the longest wait.
pub const WAIT_BUCKETS: usize = bucket_of(LONGEST_WAIT_NS) + 1;

/// The finest step, as a power of two: 128 ns.
const STEP: u32 = 7;
/// The buckets of a doubling, as a power of two: 16.
const PARTS: u32 = 4;

/// The bucket of a wait.
#[inline(always)]
#[must_use]
pub const fn bucket_of(wait_ns: u64) -> usize {
    let wait_ns = if wait_ns > LONGEST_WAIT_NS {
        LONGEST_WAIT_NS
    } else {
        wait_ns
    };
    let steps = wait_ns >> STEP;
    // Below two whole doublings every step has a bucket of its own, so that there is nothing to shift.
    let shift = (u64::BITS - (steps | (1 << PARTS)).leading_zeros()) - 1 - PARTS;
    ((shift as usize) << PARTS) + (steps >> shift) as usize
}

/// The shortest wait of a bucket, in nanoseconds; that of the one behind the last is the end of the scale.
#[must_use]
pub const fn shortest_of(bucket: usize) -> u64 {
    let parts = 1 << PARTS;
    if bucket < 2 * parts {
        return (bucket as u64) << STEP;
    }
    let shift = bucket / parts - 1;
    ((parts + bucket % parts) as u64) << (shift + STEP as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_scale_has_no_gaps_and_ends_with_the_longest_wait() {
        assert_eq!(shortest_of(0), 0);
        for bucket in 0..WAIT_BUCKETS {
            let (from, to) = (shortest_of(bucket), shortest_of(bucket + 1));
            assert!(from < to, "{bucket}");
            assert_eq!(bucket_of(from), bucket);
            assert_eq!(bucket_of((to - 1).min(LONGEST_WAIT_NS)), bucket);
        }
        assert_eq!(bucket_of(LONGEST_WAIT_NS), WAIT_BUCKETS - 1);
        assert_eq!(bucket_of(u64::MAX), WAIT_BUCKETS - 1);
    }

    proptest! {
        #[test]
        fn a_bucket_is_as_wide_as_a_step_or_a_sixteenth_of_its_waits(wait in 0..LONGEST_WAIT_NS) {
            let bucket = bucket_of(wait);
            let (from, to) = (shortest_of(bucket), shortest_of(bucket + 1));
            prop_assert!(from <= wait && wait < to);
            prop_assert!(to - from <= (1 << STEP).max(from >> PARTS));
        }
    }
}
