//! What a page fault costs on this machine.
//!
//! Faults, file pages and network bytes are only counted; to make the counts shares of CPU time they
//! are multiplied with what one costs here. A fast laptop and an emulator differ by a factor of 30.
//!
//! Small pieces are measured, so that most of them are not disturbed, and the middle one counts. It is measured again every
//! minute: a moment in which the CPU was slow, or taken away, lasts no longer.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Read as _;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::slice;
use std::time::Duration;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};

use auto_ext_signals::Machine;

/// How many pages are one piece.
const PIECE: usize = 16;
/// How many pieces are measured.
const PIECES: usize = 16;
/// How long a measurement stands.
const EVERY: Duration = Duration::from_secs(60);
/// How many of the last measurements count: the best of them.
const REMEMBERED: usize = 5;
/// What a page fault can cost, in nanoseconds: less is a fault of the clock, more one of the moment.
const FAULT_NS: (f64, f64) = (50.0, 50_000.0);
/// What the kernel fills with zeros whatever is read from it.
const ZEROS: &str = "/dev/zero";
/// The kernel's file with the size of a huge page; see Documentation/admin-guide/mm/transhuge.rst.
const HUGE_PAGE: &str = "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size";

/// The last measurements.
pub(crate) struct Calibration {
    machine: Machine,
    measured_ns: u64,
    last: VecDeque<Machine>,
}

impl Calibration {
    /// Measures for the first time, at `now_ns` of CLOCK_MONOTONIC; takes about 2 ms, longer on a slow machine.
    pub(crate) fn new(now_ns: u64) -> Self {
        let mut calibration = Self {
            machine: Machine {
                page: page(),
                huge_page: huge_page(),
                ..Machine::default()
            },
            measured_ns: 0,
            last: VecDeque::new(),
        };
        // The first one pays for what is in no cache yet.
        calibration.measure(now_ns);
        calibration.measure(now_ns);
        calibration
    }

    /// Measures again when that was long ago.
    pub(crate) fn renew(&mut self, now_ns: u64) {
        if u128::from(now_ns.saturating_sub(self.measured_ns)) >= EVERY.as_nanos() {
            self.measure(now_ns);
        }
    }

    /// What was measured.
    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    fn measure(&mut self, now_ns: u64) {
        self.measured_ns = now_ns;
        // Memory for the measurement may be missing: what is known stays.
        let Some(machine) = measure(self.machine) else {
            return;
        };
        self.last.push_back(machine);
        if self.last.len() > REMEMBERED {
            self.last.pop_front();
        }
        let best = |of: fn(&Machine) -> f64| self.last.iter().map(of).fold(f64::MAX, f64::min);
        self.machine.fault_ns = best(|machine| machine.fault_ns);
        self.machine.huge_fault_ns = best(|machine| machine.huge_fault_ns);
    }
}

fn page() -> usize {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    let size = size.and_then(|size| usize::try_from(size).ok());
    size.unwrap_or(Machine::default().page)
}

/// The size of a huge page; a usual one where the kernel gives none.
fn huge_page() -> usize {
    let size = fs::read_to_string(HUGE_PAGE).ok();
    let size = size.and_then(|size| size.trim().parse().ok());
    size.unwrap_or(Machine::default().huge_page)
}

/// The costs on `machine`, whose sizes are known.
fn measure(machine: Machine) -> Option<Machine> {
    let length = PIECE * machine.page;
    // What the kernel fills and copies it does in its own way, which an emulator is slow in.
    let mut zeros = File::open(ZEROS).ok()?;
    let mut faults = Vec::new();
    let mut clears = Vec::new();
    in_fresh_memory(PIECES * length, |memory| {
        for piece in 0..PIECES {
            // SAFETY: inside the memory, which has so many pieces.
            let memory = unsafe { memory.add(piece * length) };
            faults.extend(timed(|| {
                for page in 0..PIECE {
                    // SAFETY: inside the piece.
                    unsafe { memory.add(page * machine.page).write_volatile(1) };
                }
                true
            }));
            // SAFETY: the piece, which is there by now, and which nobody else knows.
            let piece = unsafe { slice::from_raw_parts_mut(memory.as_ptr(), length) };
            clears.extend(timed(|| zeros.read_exact(piece).is_ok()));
        }
    })?;
    let fault_ns = middle(faults)? / PIECE as f64;
    let clear_ns = middle(clears)? / length as f64;
    let fault_ns = fault_ns.clamp(FAULT_NS.0, FAULT_NS.1);
    Some(Machine {
        fault_ns,
        // A fault that clears more.
        huge_fault_ns: fault_ns + clear_ns * machine.huge_page as f64,
        ..machine
    })
}

/// The middle one of several durations, in nanoseconds.
fn middle(mut durations: Vec<Duration>) -> Option<f64> {
    durations.sort();
    let middle = durations.get(durations.len() / 2)?;
    Some(middle.as_nanos() as f64)
}

/// Has `work` done with memory of which no page was ever touched, and none is huge.
fn in_fresh_memory<T>(length: usize, work: impl FnOnce(NonNull<u8>) -> T) -> Option<T> {
    let length = NonZeroUsize::new(length)?;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice; nothing else knows it.
    let mapping =
        unsafe { mmap_anonymous(None, length, protection, MapFlags::MAP_PRIVATE) }.ok()?;
    // SAFETY: the mapping made above. Fails where the kernel has no huge pages: nothing to forbid.
    let _ = unsafe { madvise(mapping, length.get(), MmapAdvise::MADV_NOHUGEPAGE) };
    let result = work(mapping.cast());
    // SAFETY: the mapping made above, not used after.
    unsafe { munmap(mapping, length.get()) }.ok()?;
    Some(result)
}

/// The CPU time that `work` took, if it came to its end.
fn timed(work: impl FnOnce() -> bool) -> Option<Duration> {
    let now = || {
        clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
            .ok()
            .map(Duration::from)
    };
    let start = now()?;
    let done = work();
    let took = now()?.saturating_sub(start);
    done.then_some(took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_huge_fault_costs_more_than_a_small_one() {
        let calibration = Calibration::new(0);
        let machine = calibration.machine();
        assert!(machine.fault_ns >= FAULT_NS.0);
        assert!(machine.huge_fault_ns > machine.fault_ns);
    }

    #[test]
    fn a_bad_moment_does_not_last() {
        let minute = u64::try_from(EVERY.as_nanos()).unwrap();
        let mut calibration = Calibration::new(0);
        let bad = Machine {
            fault_ns: FAULT_NS.1,
            huge_fault_ns: 1e9,
            ..calibration.machine
        };
        calibration.last = VecDeque::from([bad; REMEMBERED]);
        calibration.machine = bad;
        calibration.renew(minute - 1);
        assert_eq!(calibration.machine, bad);
        calibration.renew(minute);
        assert!(calibration.machine.fault_ns < bad.fault_ns);
        assert_eq!(calibration.last.len(), REMEMBERED);
    }
}
