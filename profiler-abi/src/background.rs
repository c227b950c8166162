//! Which tasks are in the background, pure: batch work that runs only where nobody else wants to is no load.

/// `DEFAULT_PRIO` of include/linux/sched/prio.h: nice 0. Greater values are niced.
const DEFAULT_PRIO: i32 = 120;
/// Of include/uapi/linux/sched.h.
const SCHED_IDLE: u32 = 5;

/// 1 for a task with this priority (`static_prio`) and policy that is niced or of the idle class, else 0.
///
/// Without a branch, so that the verifier has one way through a loop.
#[inline(always)]
#[must_use]
pub const fn in_background(static_prio: i32, policy: u32) -> u32 {
    let is_niced = DEFAULT_PRIO.wrapping_sub(static_prio).cast_unsigned() >> 31;
    let is_idle_class = (policy ^ SCHED_IDLE).wrapping_sub(1) >> 31;
    is_niced | is_idle_class
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_niced_or_of_the_idle_class_is_in_the_background() {
        const OTHER: u32 = 0;
        const BATCH: u32 = 3;
        const EXT: u32 = 7;
        for policy in [OTHER, BATCH, EXT] {
            assert_eq!(in_background(100, policy), 0, "nice -20");
            assert_eq!(in_background(120, policy), 0, "nice 0");
            assert_eq!(in_background(121, policy), 1, "nice 1");
            assert_eq!(in_background(139, policy), 1, "nice 19");
        }
        assert_eq!(in_background(120, SCHED_IDLE), 1);
    }
}
