//! Whether the processor's counters are to be believed: a loop of which it is known how many instructions it has must be
//! counted as that. Some virtual machines offer counters that count nothing, or something else.

use std::path::Path;
use std::thread;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::perf::Perf;
use super::reading::{Counters, NotCounted, Reading};

/// How often the loop is run through. Where nothing else runs it takes less than a tenth of a second.
const ROUNDS: u64 = 100_000_000;
/// How many instructions each time has.
const PER_ROUND: u64 = 2;
/// By how much the count may differ.
const TOLERANCE: f64 = 0.01;
/// No processor runs fewer instructions in a cycle of this loop, nor more.
const IPC: std::ops::RangeInclusive<f64> = 0.1..=8.0;

/// Why counters are not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum NotBelieved {
    /// They cannot be had.
    #[error(transparent)]
    NotCounted(#[from] NotCounted),
    /// Something else has them, such as a watchdog or somebody who profiles.
    #[error("the counters are in use: counted only {:.0} % of the time", 100.0 * .0)]
    Starved(f64),
    /// They count something else.
    #[error(
        "the counters are wrong: of {expected} instructions they counted {counted}, in {cycles} cycles"
    )]
    Implausible {
        /// What was run.
        expected: u64,
        /// What was counted.
        counted: u64,
        /// In how many cycles.
        cycles: u64,
    },
    /// Nobody knows here how many instructions are run.
    #[error("the counters cannot be checked on this kind of processor")]
    Unchecked,
}

impl NotBelieved {
    /// The one word for it, beside `ok`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotCounted(NotCounted::Denied) => "denied",
            Self::NotCounted(_) | Self::Unchecked => "absent",
            Self::Starved(_) => "starved",
            Self::Implausible { .. } => "implausible",
        }
    }
}

/// Has a thread of this process run a loop on this CPU, whose counters are those of the machine below `root`.
///
/// # Errors
/// When they cannot be believed.
pub fn check(root: &Path, cpu: u32) -> Result<(), NotBelieved> {
    let mut counters = Perf::hardware(root, 1);
    let counted = thread::scope(|scope| {
        let counted = scope.spawn(|| -> Result<_, NotBelieved> {
            // Without that it may run on a core that has other counters, and they would be found starved.
            let mut only = CpuSet::new();
            if only.set(cpu as usize).is_ok() {
                // It may be forbidden; then it runs where it runs.
                let _ = sched_setaffinity(Pid::from_raw(0), &only);
            }
            counters.open(0)?;
            let before = counters.read()?;
            let ran = run(ROUNDS).ok_or(NotBelieved::Unchecked)?;
            Ok((before, counters.read()?, ran))
        });
        counted.join().expect("who counts does not panic")
    });
    let (before, now, ran) = counted?;
    judge(&before, &now, ran)
}

/// Whether what was counted is what was run.
fn judge(before: &Reading, now: &Reading, expected: u64) -> Result<(), NotBelieved> {
    let since = |of: fn(&Reading) -> u64| of(now).saturating_sub(of(before));
    let (enabled, running) = (since(|read| read.enabled), since(|read| read.running));
    if running < enabled {
        return Err(NotBelieved::Starved(running as f64 / enabled as f64));
    }
    let (counted, cycles) = (since(|read| read.instructions), since(|read| read.cycles));
    let differs = counted.abs_diff(expected) as f64 / expected.max(1) as f64;
    // No count is too many cycles for a division by it to be sound.
    let ipc = counted as f64 / cycles.max(1) as f64;
    if differs > TOLERANCE || !IPC.contains(&ipc) {
        return Err(NotBelieved::Implausible {
            expected,
            counted,
            cycles,
        });
    }
    Ok(())
}

/// Runs through a loop so often, and returns how many instructions that was; `None` where it is not known.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn run(rounds: u64) -> Option<u64> {
    // SAFETY: it changes one register, and the flags.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!("2:", "dec {0}", "jnz 2b", inout(reg) rounds => _, options(nomem, nostack));
        #[cfg(target_arch = "aarch64")]
        std::arch::asm!("2:", "subs {0}, {0}, #1", "b.ne 2b", inout(reg) rounds => _, options(nomem, nostack));
    }
    rounds.checked_mul(PER_ROUND)
}

/// Runs through a loop so often, and returns how many instructions that was; `None` where it is not known.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn run(_rounds: u64) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(instructions: u64, cycles: u64, running: u64) -> Result<(), NotBelieved> {
        let before = Reading {
            cycles: 5,
            instructions: 7,
            enabled: 100,
            running: 100,
        };
        let now = Reading {
            cycles: 5 + cycles,
            instructions: 7 + instructions,
            enabled: 1100,
            running: 100 + running,
        };
        judge(&before, &now, 200_000_000)
    }

    #[test]
    fn counters_are_believed_that_count_what_was_run() {
        assert_eq!(counted(200_000_400, 100_000_000, 1000), Ok(()));
        assert_eq!(counted(199_000_000, 100_000_000, 1000), Ok(()));
    }

    #[test]
    fn those_that_count_something_else_or_not_always_are_not() {
        // What a virtual machine was seen to say.
        let word = |found: Result<(), NotBelieved>| found.unwrap_err().word();
        assert_eq!(word(counted(395, 100_000_000, 1000)), "implausible");
        assert_eq!(word(counted(0, 0, 1000)), "implausible");
        assert_eq!(word(counted(203_000_000, 100_000_000, 1000)), "implausible");
        assert_eq!(word(counted(200_000_000, 10_000_000, 1000)), "implausible");
        assert_eq!(
            word(counted(200_000_000, 9_000_000_000, 1000)),
            "implausible"
        );
        assert_eq!(
            counted(200_000_000, 100_000_000, 250),
            Err(NotBelieved::Starved(0.25))
        );
    }

    #[test]
    fn on_this_machine_they_are_right_or_it_is_said_why_they_are_not() {
        match check(Path::new("/"), 0) {
            Ok(()) => {}
            Err(why) => {
                assert!(
                    ["absent", "denied", "starved", "implausible"].contains(&why.word()),
                    "{why}"
                );
                assert!(!why.to_string().is_empty());
            }
        }
    }
}
