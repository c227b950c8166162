//! What user space writes into memory that BPF programs read at any time. A slot has a version, which is odd while it is
//! written: a program that finds it odd, or changed after reading, takes the slot for empty.

use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering, fence};

use foresight_model::burst::FEATURES;
use foresight_model::line::Write;

use crate::bpf::types;

fn word(place: &mut u32) -> &AtomicU32 {
    // SAFETY: it is aligned and valid, and ours alone for as long as the result lives, but for BPF programs, which only read.
    unsafe { AtomicU32::from_ptr(place) }
}

fn weight(place: &mut i32) -> &AtomicI32 {
    // SAFETY: as above.
    unsafe { AtomicI32::from_ptr(place) }
}

fn long(place: &mut u64) -> &AtomicU64 {
    // SAFETY: as above.
    unsafe { AtomicU64::from_ptr(place) }
}

/// Puts a line into its slot, or takes away the one there.
pub(crate) fn write(slots: &mut [types::slot], change: &Write) {
    let Some(slot) = slots.get_mut(change.slot) else {
        return;
    };
    let version = slot.version;
    word(&mut slot.version).store(version | 1, Ordering::Relaxed);
    fence(Ordering::Release);
    let weights = change.weights.unwrap_or([0; FEATURES]);
    // 0 is the idle task, which no line is for.
    let pid = change.weights.map_or(0, |_| change.pid);
    word(&mut slot.pid).store(pid, Ordering::Relaxed);
    for (place, value) in slot.weights.iter_mut().zip(weights) {
        weight(place).store(value, Ordering::Relaxed);
    }
    // 0 is the version of what was never written.
    let next = (version | 1).checked_add(1).unwrap_or(2);
    word(&mut slot.version).store(next, Ordering::Release);
}

/// Says that we are alive at this moment of CLOCK_MONOTONIC, and whether lines count.
pub(crate) fn beat(bss: &mut types::bss, now_ns: u64, acting: bool) {
    word(&mut bss.acting).store(u32::from(acting), Ordering::Relaxed);
    long(&mut bss.heartbeat).store(now_ns, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(weights: Option<[i32; FEATURES]>) -> Write {
        Write {
            slot: 1,
            pid: 4097,
            weights,
        }
    }

    #[test]
    fn a_line_is_in_its_slot_until_it_is_taken_away() {
        let mut slots = [types::slot::default(), types::slot::default()];
        write(&mut slots, &change(Some([3; FEATURES])));
        assert_eq!((slots[1].version, slots[1].pid), (2, 4097));
        assert_eq!(slots[1].weights, [3; FEATURES]);
        write(&mut slots, &change(None));
        assert_eq!((slots[1].version, slots[1].pid), (4, 0));
        assert_eq!(slots[0].version, 0);
    }

    #[test]
    fn a_version_is_even_afterwards_and_never_0() {
        let mut slots = [types::slot::default(), types::slot::default()];
        slots[1].version = u32::MAX - 1;
        write(&mut slots, &change(None));
        assert_eq!(slots[1].version, 2);
        // As if somebody had been killed while it was written.
        slots[1].version = 7;
        write(&mut slots, &change(None));
        assert_eq!(slots[1].version, 8);
    }

    #[test]
    fn a_slot_that_is_not_there_is_not_written() {
        write(&mut [], &change(None));
    }
}
