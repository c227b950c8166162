//! What the kernel tells anyway: counters from /proc, each of which may be missing, and the CPUs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::sample::KernelTotals;

/// Reads below a root, which tests replace.
pub(crate) struct ProcReader {
    root: PathBuf,
    /// The cgroup of auto-ext.
    own: Option<PathBuf>,
}

impl ProcReader {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            own: None,
        }
    }

    /// From now on what is in this cgroup counts as auto-ext's own.
    pub(crate) fn own(&mut self, cgroup: &Path) {
        self.own = Some(cgroup.to_owned());
    }

    pub(crate) fn read(&self) -> KernelTotals {
        let vmstat = self.text("proc/vmstat");
        let vmstat = |name| field(vmstat.as_deref()?, name);
        let net = self.text("proc/net/dev").as_deref().and_then(net_totals);
        KernelTotals {
            psi_io_us: self
                .text("proc/pressure/io")
                .as_deref()
                .and_then(some_total),
            psi_memory_us: self
                .text("proc/pressure/memory")
                .as_deref()
                .and_then(some_total),
            faults: vmstat("pgfault"),
            huge_faults: vmstat("thp_fault_alloc"),
            dirtied_pages: vmstat("nr_dirtied"),
            net_bytes: net.map(|(bytes, _)| bytes),
            net_packets: net.map(|(_, packets)| packets),
            own_us: self.own.as_deref().and_then(used),
        }
    }

    /// The numbers of the CPUs that are online.
    pub(crate) fn online_cpus(&self) -> BTreeSet<u32> {
        let list = self.text("sys/devices/system/cpu/online");
        list.as_deref().map(cpu_list).unwrap_or_default()
    }

    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }
}

/// The microseconds of CPU time that all that was in a cgroup has used
/// (Documentation/admin-guide/cgroup-v2.rst).
fn used(cgroup: &Path) -> Option<u64> {
    field(
        &fs::read_to_string(cgroup.join("cpu.stat")).ok()?,
        "usage_usec",
    )
}

/// The `total` of the `some` line of a pressure file, in microseconds
/// (Documentation/accounting/psi.rst).
fn some_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    line.split_whitespace()
        .find_map(|word| word.strip_prefix("total="))?
        .parse()
        .ok()
}

/// The numbers in a list such as `0-3,8`; see Documentation/admin-guide/cputopology.rst.
fn cpu_list(text: &str) -> BTreeSet<u32> {
    let range = |part: &str| -> Option<_> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    })
}

/// Bytes and packets, received plus sent, of all interfaces in /proc/net/dev.
fn net_totals(text: &str) -> Option<(u64, u64)> {
    let mut totals = (0, 0);
    for line in text.lines().skip(2) {
        let (_, counters) = line.split_once(':')?;
        let counters: Vec<u64> = counters
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        let [received, received_packets] = counters.get(..2)? else {
            return None;
        };
        let [sent, sent_packets] = counters.get(8..10)? else {
            return None;
        };
        totals.0 += received + sent;
        totals.1 += received_packets + sent_packets;
    }
    Some(totals)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proc_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn counters_are_read_from_the_kernels_formats() {
        let root = proc_with(&[
            (
                "proc/pressure/io",
                "some avg10=0.22 avg60=0.17 avg300=1.11 total=58761459\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n",
            ),
            (
                "proc/pressure/memory",
                "some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n",
            ),
            (
                "proc/vmstat",
                "nr_free_pages 1\nnr_dirtied 3\npgfault 9\nthp_fault_alloc 42\nthp_fault_alloc_x 9\n",
            ),
            (
                "proc/net/dev",
                "Inter-|   Receive  |  Transmit\n face |bytes packets\n    lo: 100 2 0 0 0 0 0 0 100 2 0 0 0 0 0 0\n  eth0: 5 1 0 0 0 0 0 0 7 3 0 0 0 0 0 0\n",
            ),
        ]);
        let cgroup = proc_with(&[("cpu.stat", "usage_usec 11\nuser_usec 5\n")]);
        let mut reader = ProcReader::new(root.path());
        reader.own(cgroup.path());
        assert_eq!(
            reader.read(),
            KernelTotals {
                psi_io_us: Some(58_761_459),
                psi_memory_us: Some(7),
                faults: Some(9),
                huge_faults: Some(42),
                dirtied_pages: Some(3),
                net_bytes: Some(212),
                net_packets: Some(8),
                own_us: Some(11),
            }
        );
    }

    #[test]
    fn the_list_of_cpus_may_have_holes() {
        assert_eq!(cpu_list("0-2,5\n"), BTreeSet::from([0, 1, 2, 5]));
        assert_eq!(cpu_list("7\n"), BTreeSet::from([7]));
        assert_eq!(cpu_list("\n"), BTreeSet::new());
    }

    #[test]
    fn missing_and_garbled_files_are_not_zero() {
        let root = proc_with(&[
            ("proc/pressure/io", "some nonsense"),
            ("proc/net/dev", "a\nb\nlo 1 2"),
        ]);
        let mut reader = ProcReader::new(root.path());
        reader.own(root.path());
        assert_eq!(reader.read(), KernelTotals::default());
    }
}
