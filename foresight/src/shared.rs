//! What user space writes into memory that BPF programs read at any time. A slot and a network have a version, which is odd while
//! they are written: a program that finds it odd, or changed after reading, takes them for empty.

use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering, fence};

use foresight_model::burst::FEATURES;
use foresight_model::line::Write;
use foresight_model::quantise::Quantised;

use crate::bpf::{intf, types};

/// What counts of what is written here, and is not only watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acting {
    pub(crate) lines: bool,
    pub(crate) moves: bool,
}

fn word(place: &mut u32) -> &AtomicU32 {
    // SAFETY: it is aligned and valid, and ours alone for as long as the result lives, but for BPF programs, which only read.
    unsafe { AtomicU32::from_ptr(place) }
}

fn number(place: &mut i32) -> &AtomicI32 {
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
        number(place).store(value, Ordering::Relaxed);
    }
    // 0 is the version of what was never written.
    let next = (version | 1).checked_add(1).unwrap_or(2);
    word(&mut slot.version).store(next, Ordering::Release);
}

/// Writes a network under this version, which is even and not 0, into whichever of the two does not count; and has it count.
pub(crate) fn write_network(
    networks: &mut [types::network; 2],
    live: &mut u32,
    network: &Quantised,
    version: u32,
) {
    let next = (*live & 1) ^ 1;
    let place = &mut networks[next as usize];
    word(&mut place.version).store(version | 1, Ordering::Relaxed);
    fence(Ordering::Release);
    let places = place.w1.iter_mut().flatten();
    let places = places.chain(&mut place.b1).chain(&mut place.w2);
    let places = places.chain([&mut place.b2, &mut place.threshold]);
    let values = network.w1.iter().flatten();
    let values = values.chain(&network.b1).chain(&network.w2);
    let values = values.chain([&network.b2, &network.threshold]);
    for (place, value) in places.zip(values) {
        number(place).store(*value, Ordering::Relaxed);
    }
    word(&mut place.version).store(version, Ordering::Release);
    word(live).store(next, Ordering::Release);
}

/// Says that we are alive at this moment of CLOCK_MONOTONIC, and what counts.
pub(crate) fn beat(bss: &mut types::bss, now_ns: u64, acting: Acting) {
    let flag = |acts, flag: intf::acting| if acts { flag } else { 0 };
    let acting = flag(acting.lines, intf::acting_ACTS_ON_LINES)
        | flag(acting.moves, intf::acting_ACTS_ON_MOVES);
    word(&mut bss.acting).store(acting, Ordering::Relaxed);
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
    fn networks_take_turns_and_none_is_written_while_it_counts() {
        let mut networks = [types::network::default(), types::network::default()];
        let mut live = 0;
        for (turn, version) in [(1, 2), (0, 4), (1, 6)] {
            let network = Quantised {
                w1: [[turn; 16]; 10],
                b1: [2; 10],
                w2: [3; 10],
                b2: 4,
                threshold: 5,
            };
            let before = networks[live as usize].version;
            write_network(&mut networks, &mut live, &network, version);
            assert_eq!(i32::try_from(live), Ok(turn));
            assert_eq!(networks[1 - live as usize].version, before);
            let written = &networks[live as usize];
            assert_eq!((written.version, written.w1[9][15]), (version, turn));
            assert_eq!((written.b1[9], written.w2[0]), (2, 3));
            assert_eq!((written.b2, written.threshold), (4, 5));
        }
    }

    #[test]
    fn a_slot_that_is_not_there_is_not_written() {
        write(&mut [], &change(None));
    }
}
