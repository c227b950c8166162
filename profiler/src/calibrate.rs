//! What a page fault costs on this machine.
//!
//! Faults are only counted (see profiler-ebpf/src/fault.rs); to make the count a share of CPU time it
//! is multiplied with what a fault costs here. A fast laptop and an emulator differ by a factor of 30.

use std::num::NonZeroUsize;
use std::time::Duration;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use nix::time::{ClockId, clock_gettime};

use crate::sample::Machine;

const PAGE: usize = 4096;
const HUGE_PAGE: usize = 2 << 20;
const PAGES: usize = HUGE_PAGE / PAGE;
const ROUNDS: usize = 5;
/// Assumed when memory for the measurement cannot be had: a usual value of a recent machine.
const USUAL: Machine = Machine {
    fault_ns: 500.0,
    huge_fault_ns: 100_000.0,
};

/// Measures the CPU time of page faults; takes about 5 ms. The best of several rounds counts, as
/// everything that disturbs makes it longer.
pub(crate) fn page_faults() -> Machine {
    let mut best: Option<Machine> = None;
    for _ in 0..ROUNDS {
        let Some(round) = round() else { return USUAL };
        best = Some(best.map_or(round, |best| Machine {
            fault_ns: best.fault_ns.min(round.fault_ns),
            huge_fault_ns: best.huge_fault_ns.min(round.huge_fault_ns),
        }));
    }
    best.unwrap_or(USUAL)
}

fn round() -> Option<Machine> {
    let length = NonZeroUsize::new(HUGE_PAGE)?;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice; nothing else knows it.
    let memory = unsafe {
        mmap_anonymous(
            None,
            length,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_PRIVATE,
        )
    }
    .ok()?;
    // SAFETY: the mapping made above. Fails where the kernel has no huge pages: nothing to avoid then.
    let _ = unsafe { madvise(memory, HUGE_PAGE, MmapAdvise::MADV_NOHUGEPAGE) };
    let touch = timed(|| {
        for page in 0..PAGES {
            // SAFETY: inside the mapping made above.
            unsafe { memory.cast::<u8>().add(page * PAGE).write_volatile(1) };
        }
    });
    // A huge page's fault is one fault, and the clearing of its memory.
    let clear = timed(|| {
        // SAFETY: the whole of the mapping made above.
        unsafe { memory.cast::<u8>().write_bytes(2, HUGE_PAGE) };
        std::hint::black_box(memory);
    });
    // SAFETY: the mapping made above, not used after.
    unsafe { munmap(memory, HUGE_PAGE) }.ok()?;
    let fault_ns = touch?.as_nanos() as f64 / PAGES as f64;
    Some(Machine {
        fault_ns,
        huge_fault_ns: fault_ns + clear?.as_nanos() as f64,
    })
}

/// The CPU time that `work` took.
fn timed(work: impl FnOnce()) -> Option<Duration> {
    let now = || {
        clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
            .ok()
            .map(Duration::from)
    };
    let start = now()?;
    work();
    Some(now()?.saturating_sub(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_huge_fault_costs_more_than_a_small_one() {
        let machine = page_faults();
        assert!(machine.fault_ns > 0.0);
        assert!(machine.huge_fault_ns > machine.fault_ns);
    }
}
