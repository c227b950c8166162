//! What a page fault costs on this machine.
//!
//! Faults, file pages and network bytes are only counted; to make the counts shares of CPU time they
//! are multiplied with what one costs here. A fast laptop and an emulator differ by a factor of 30.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::time::Duration;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use nix::time::{ClockId, clock_gettime};

use auto_ext_signals::{HUGE_PAGE, Machine};

const PAGE: usize = 4096;
const PAGES: usize = HUGE_PAGE / PAGE;
const ROUNDS: usize = 5;
/// Assumed when memory for the measurement cannot be had: usual values of a recent machine.
const USUAL: Machine = Machine {
    fault_ns: 500.0,
    huge_fault_ns: 100_000.0,
};

/// Measures the machine; takes about 5 ms. The best of several rounds counts, as everything that
/// disturbs makes it longer.
pub(crate) fn measure() -> Machine {
    let mut best: Option<Machine> = None;
    for _ in 0..ROUNDS {
        let Some(round) = round() else { continue };
        best = Some(best.map_or(round, |best| Machine {
            fault_ns: best.fault_ns.min(round.fault_ns),
            huge_fault_ns: best.huge_fault_ns.min(round.huge_fault_ns),
        }));
    }
    best.unwrap_or(USUAL)
}

fn round() -> Option<Machine> {
    let small = in_fresh_memory(MmapAdvise::MADV_NOHUGEPAGE, |memory| {
        timed(|| {
            for page in 0..PAGES {
                // SAFETY: inside the huge page's worth of memory.
                unsafe { memory.add(page * PAGE).write_volatile(1) };
            }
        })
    })??;
    let fault_ns = nanoseconds(small) / PAGES as f64;
    // Where the kernel gives no huge pages this is a small fault and the clearing of the memory.
    let huge = in_fresh_memory(MmapAdvise::MADV_HUGEPAGE, |memory| {
        // SAFETY: inside the huge page's worth of memory.
        let first = timed(|| unsafe { memory.write_volatile(1) })?;
        // SAFETY: the whole huge page's worth of memory, which is then there in any case.
        timed(|| unsafe { memory.write_bytes(2, HUGE_PAGE) })?;
        let clear = timed(|| {
            // SAFETY: as above.
            unsafe { memory.write_bytes(3, HUGE_PAGE) };
            black_box(memory);
        })?;
        Some(nanoseconds(first).max(fault_ns + nanoseconds(clear)))
    })??;
    Some(Machine {
        fault_ns,
        huge_fault_ns: huge,
    })
}

/// Has `work` done with a huge page's worth of memory, aligned to it, that was never touched.
fn in_fresh_memory<T>(advice: MmapAdvise, work: impl FnOnce(NonNull<u8>) -> T) -> Option<T> {
    let length = NonZeroUsize::new(2 * HUGE_PAGE)?;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice; nothing else knows it.
    let mapping =
        unsafe { mmap_anonymous(None, length, protection, MapFlags::MAP_PRIVATE) }.ok()?;
    // SAFETY: the mapping made above. Fails where the kernel has no huge pages: nothing to ask for.
    let _ = unsafe { madvise(mapping, length.get(), advice) };
    let offset = mapping.as_ptr().align_offset(HUGE_PAGE);
    // SAFETY: twice the size holds an aligned half.
    let result = work(unsafe { mapping.cast::<u8>().add(offset) });
    // SAFETY: the mapping made above, not used after.
    unsafe { munmap(mapping, length.get()) }.ok()?;
    Some(result)
}

fn nanoseconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64
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
        let machine = measure();
        assert!(machine.fault_ns > 0.0);
        assert!(machine.huge_fault_ns > machine.fault_ns);
    }
}
