//! What the kernel tells anyway: counters from /proc, each of which may be missing, and the CPUs.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use auto_ext_signals::KernelTotals;
use procfs_core::net::InterfaceDeviceStatus;
use procfs_core::{FromRead, IoPressure, MemoryPressure, VmStat};

/// Reads below a root, which tests replace.
pub(crate) struct ProcReader {
    root: PathBuf,
    /// The cgroup of auto-ext.
    own: Option<PathBuf>,
    /// The CPUs of each core, for the CPUs that were online then.
    cores: (BTreeSet<u32>, Vec<BTreeSet<u32>>),
    /// Which network interfaces are backed by a device, as far as they were seen.
    devices: RefCell<BTreeMap<String, bool>>,
}

/// How many interfaces are remembered.
const MAX_INTERFACES: usize = 256;
impl ProcReader {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            own: None,
            cores: Default::default(),
            devices: RefCell::default(),
        }
    }

    /// From now on what is in this cgroup counts as auto-ext's own.
    pub(crate) fn own(&mut self, cgroup: &Path) {
        self.own = Some(cgroup.to_owned());
    }

    pub(crate) fn read(&self) -> KernelTotals {
        let vmstat: Option<VmStat> = self.parsed("proc/vmstat");
        let vmstat = |name| u64::try_from(*vmstat.as_ref()?.0.get(name)?).ok();
        let net = self.parsed("proc/net/dev");
        let net = net.map(|interfaces| self.net_totals(interfaces));
        let io: Option<IoPressure> = self.parsed("proc/pressure/io");
        let memory: Option<MemoryPressure> = self.parsed("proc/pressure/memory");
        KernelTotals {
            psi_io_us: io.map(|pressure| pressure.some.total),
            psi_memory_us: memory.map(|pressure| pressure.some.total),
            faults: vmstat("pgfault"),
            start_faults: None,
            start_huge_faults: None,
            reclaimed_pages: vmstat("pgsteal_kswapd")
                .zip(vmstat("pgsteal_direct"))
                .map(|(kswapd, direct)| kswapd + direct),
            huge_faults: vmstat("thp_fault_alloc"),
            dirtied_pages: vmstat("nr_dirtied"),
            net_bytes: net.map(|(bytes, _)| bytes),
            net_packets: net.map(|(_, packets)| packets),
            own_us: self.own.as_deref().and_then(used),
        }
    }

    /// The numbers of the CPUs that are online; `None` when that cannot be read.
    pub(crate) fn online_cpus(&self) -> Option<BTreeSet<u32>> {
        let online = cpu_list(&self.text("sys/devices/system/cpu/online")?);
        (!online.is_empty()).then_some(online)
    }

    /// The CPUs of each core, of those that are online; nothing of a CPU whose core is not known.
    pub(crate) fn cores(&mut self, online: &BTreeSet<u32>) -> &[BTreeSet<u32>] {
        if self.cores.0 != *online {
            let cores: BTreeSet<_> = online
                .iter()
                .filter_map(|cpu| {
                    // Called core_cpus_list since Linux 5.3; this name stays (Documentation/ABI/stable/sysfs-devices-system-cpu).
                    let list =
                        format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
                    Some(cpu_list(&self.text(&list)?))
                })
                .collect();
            self.cores = (online.clone(), cores.into_iter().collect());
        }
        &self.cores.1
    }

    /// Bytes and packets, received plus sent. What goes through a bridge or a tunnel is counted where it
    /// leaves the machine; if that is less, as between containers, at the busiest of the others.
    fn net_totals(&self, interfaces: InterfaceDeviceStatus) -> (u64, u64) {
        let mut through = (0, 0);
        let mut virtually = (0, 0);
        for (name, one) in interfaces.0 {
            let (bytes, packets) = (
                one.recv_bytes + one.sent_bytes,
                one.recv_packets + one.sent_packets,
            );
            if self.is_backed(&name) {
                through = (through.0 + bytes, through.1 + packets);
            } else if bytes > virtually.0 {
                virtually = (bytes, packets);
            }
        }
        if through.0 >= virtually.0 {
            through
        } else {
            virtually
        }
    }

    /// Whether a network interface is the loopback one, or a device is behind it.
    fn is_backed(&self, name: &str) -> bool {
        let mut devices = self.devices.borrow_mut();
        // Names come and go with containers.
        if devices.len() > MAX_INTERFACES {
            devices.clear();
        }
        *devices.entry(name.to_owned()).or_insert_with(|| {
            let device = self.root.join("sys/class/net").join(name).join("device");
            name == "lo" || device.exists()
        })
    }

    /// What a file says, unless it is missing or garbled.
    fn parsed<T: FromRead>(&self, path: &str) -> Option<T> {
        T::from_file(self.root.join(path)).ok()
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
                "some avg10=0.00 avg60=0.00 avg300=0.00 total=7\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
            ),
            (
                "proc/vmstat",
                "nr_free_pages 1\npgsteal_kswapd 7\npgsteal_direct 5\nnr_dirtied 3\npgfault 9\nthp_fault_alloc 42\nthp_fault_alloc_x 9\n",
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
                start_faults: None,
                start_huge_faults: None,
                reclaimed_pages: Some(12),
                huge_faults: Some(42),
                dirtied_pages: Some(3),
                // Nothing is behind eth0 here, so that its bytes could be those of lo.
                net_bytes: Some(200),
                net_packets: Some(4),
                own_us: Some(11),
            }
        );
    }

    #[test]
    fn a_byte_that_passes_several_interfaces_is_counted_once() {
        let interfaces = |lines: &str| {
            let text = format!("Inter-|   Receive  |  Transmit\n face |bytes packets\n{lines}");
            let root = proc_with(&[
                ("proc/net/dev", &text),
                ("sys/class/net/eth0/device/vendor", ""),
            ]);
            ProcReader::new(root.path()).read().net_bytes
        };
        let line =
            |name: &str, bytes: u64| format!("{name}: {bytes} 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n");
        let out = [
            line("eth0", 900),
            line("br0", 900),
            line("veth1", 900),
            line("lo", 50),
        ];
        assert_eq!(interfaces(&out.concat()), Some(950));
        let between_containers = [
            line("eth0", 10),
            line("br0", 0),
            line("veth1", 700),
            line("veth2", 700),
        ];
        assert_eq!(interfaces(&between_containers.concat()), Some(700));
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
