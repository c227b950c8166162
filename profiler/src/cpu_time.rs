//! What all CPUs did since boot, as /proc/stat counts it.

use std::path::Path;

use nix::unistd::{SysconfVar, sysconf};
use procfs_core::{ExplicitSystemInfo, FromReadSI, KernelStats};

/// The time of all CPUs together, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CpuTime {
    /// In programs, niced ones among them.
    pub user: f64,
    /// In the kernel, interrupts among it.
    pub system: f64,
}

impl CpuTime {
    /// Until now. `proc` is /proc but in tests; `None` when it cannot be read.
    #[must_use]
    pub fn read(proc: &Path) -> Option<Self> {
        let per_second = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
        let info = ExplicitSystemInfo {
            ticks_per_second: per_second,
            // Of no use here.
            boot_time_secs: 0,
            page_size: 0,
            is_little_endian: cfg!(target_endian = "little"),
        };
        let total = KernelStats::from_file(proc.join("stat"), &info).ok()?.total;
        let seconds = |ticks: u64| ticks as f64 / per_second as f64;
        let interrupts = total.irq.unwrap_or_default() + total.softirq.unwrap_or_default();
        Some(Self {
            user: seconds(total.user + total.nice),
            system: seconds(total.system + interrupts),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_the_kernel_are_told_apart_and_what_cannot_be_read_is_not_zero() {
        let proc = tempfile::tempdir().unwrap();
        assert_eq!(CpuTime::read(proc.path()), None);
        let text = "cpu  1000 200 300 9000 50 20 30 7 0 0\ncpu0 1000 200 300 9000 50 20 30 7 0 0\n\
                    intr 5\nctxt 1\nbtime 1700000000\nprocesses 5\nprocs_running 1\nprocs_blocked 0\n";
        std::fs::write(proc.path().join("stat"), text).unwrap();
        let expected = CpuTime {
            user: 12.0,
            system: 3.5,
        };
        assert_eq!(CpuTime::read(proc.path()), Some(expected));
        std::fs::write(proc.path().join("stat"), "cpu  many\n").unwrap();
        assert_eq!(CpuTime::read(proc.path()), None);
    }
}
