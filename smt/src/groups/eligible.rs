//! Whether a group may be given cores, and the reason why not. What somebody else placed, or what steers itself, is not
//! touched.

use std::collections::BTreeMap;
use std::path::Path;

use crate::topology::Topology;
use auto_ext_service::bounded_file::Root;
use auto_ext_service::cpu_list::{self, Cpus};

use super::process::{Process, Thread};

/// A task whose mask must not be changed (include/linux/sched.h).
const PF_NO_SETAFFINITY: u32 = 0x0400_0000;
/// SCHED_NORMAL, SCHED_BATCH and SCHED_IDLE (include/uapi/linux/sched.h).
const ORDINARY: [u32; 3] = [0, 3, 5];
/// Programs that run virtual machines, which another service places; what ends with `-` is the beginning of a name.
const HYPERVISORS: [&str; 4] = ["qemu-", "cloud-hypervisor", "firecracker", "crosvm"];
/// Where systemd puts virtual machines.
const MACHINES: &str = "/machine.slice/";
/// What belongs to auto-ext begins so.
const OWN: &str = "auto-ext";
/// How large a list of CPUs may be, in bytes.
const MAX_LIST: usize = 64 << 10;
/// How deep cgroups are looked into.
const MAX_DEPTH: usize = 64;

/// Why a group is not given cores.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NotEligible {
    /// It has not run for long.
    #[error("it runs only since {0} s")]
    Young(u64),
    /// It hardly runs.
    #[error("it uses {0:.2} CPUs on average")]
    Idle(f64),
    /// The configuration leaves it out.
    #[error("excluded")]
    Excluded,
    /// It runs a virtual machine.
    #[error("a virtual machine")]
    Hypervisor,
    /// It is ours.
    #[error("part of auto-ext")]
    Own,
    /// There are more threads than are looked at.
    #[error("too many threads")]
    TooManyThreads,
    /// A thread is scheduled as it asked to be, such as with a realtime priority.
    #[error("thread {tid} has scheduling policy {policy}")]
    Policy {
        /// Which.
        tid: u32,
        /// By its number in the kernel.
        policy: u32,
    },
    /// The kernel keeps a thread where it is.
    #[error("thread {0} may not be moved")]
    Fixed(u32),
    /// Somebody has said where a thread is to run.
    #[error("somebody else pinned thread {0}")]
    Pinned(u32),
    /// Its cgroup may not use the whole machine.
    #[error("its cgroup may not use all CPUs")]
    Confined,
    /// All of its processes have ended.
    #[error("it has ended")]
    Ended,
}

/// What of the program and the cgroup of a group's oldest process keeps it where it is.
pub(super) fn by_name(process: &Process) -> Result<(), NotEligible> {
    let program = process.program.rsplit('/').next().unwrap_or_default();
    let is_hypervisor = HYPERVISORS
        .iter()
        .any(|name| program == *name || name.ends_with('-') && program.starts_with(name));
    if is_hypervisor || process.cgroup.starts_with(MACHINES) {
        return Err(NotEligible::Hypervisor);
    }
    let unit = process.cgroup.rsplit('/').next().unwrap_or_default();
    if program.starts_with(OWN) || unit.starts_with(OWN) {
        return Err(NotEligible::Own);
    }
    Ok(())
}

/// What of its threads keeps a group where it is. `effective` is where its cgroup lets it run.
pub(super) fn by_threads(
    threads: &BTreeMap<u32, Thread>,
    topology: &Topology,
    effective: &Cpus,
) -> Result<(), NotEligible> {
    if threads.is_empty() {
        return Err(NotEligible::Ended);
    }
    let reachable: Cpus = &topology.online - &topology.isolated;
    if !reachable.is_subset(effective) {
        return Err(NotEligible::Confined);
    }
    for (tid, thread) in threads {
        let (tid, stat) = (*tid, thread.stat);
        if !ORDINARY.contains(&stat.policy) {
            return Err(NotEligible::Policy {
                tid,
                policy: stat.policy,
            });
        }
        if stat.flags & PF_NO_SETAFFINITY != 0 {
            return Err(NotEligible::Fixed(tid));
        }
        // A mask may name CPUs that are offline, or that the cgroup has not.
        let allowed = thread.allowed.as_ref();
        if allowed.is_none_or(|allowed| !effective.is_subset(allowed)) {
            return Err(NotEligible::Pinned(tid));
        }
    }
    Ok(())
}

/// The CPUs that are online and on which a cgroup lets its processes run: what the nearest one says that says anything, as
/// those below have no cpuset then. All that are online where none does.
pub(super) fn effective(root: &Root, cgroup: &str, online: &Cpus) -> Cpus {
    let mut path = cgroup;
    // No cgroup has such a name; a mount namespace may show one that is outside.
    let is_inside = !path.split('/').any(|name| name == "..");
    for _ in 0..MAX_DEPTH {
        let file = format!("sys/fs/cgroup{path}/cpuset.cpus.effective");
        let text = if is_inside {
            root.text(&file, MAX_LIST)
        } else {
            None
        };
        if let Some(Ok(cpus)) = text.map(|text| cpu_list::parse(&text)) {
            return &cpus & online;
        }
        let Some((parent, _)) = path.rsplit_once('/') else {
            break;
        };
        path = parent;
    }
    online.clone()
}

/// Where cgroups let processes run, whatever the cores are.
#[derive(Clone, Debug)]
pub struct Confines {
    root: Root,
    online: Option<Cpus>,
}

impl Confines {
    /// Of the machine whose /sys is below `root`.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let root = Root::new(root);
        let online = root.text("sys/devices/system/cpu/online", MAX_LIST);
        let online = online.and_then(|text| cpu_list::parse(&text).ok());
        Self { root, online }
    }

    /// The CPUs that are online and that a cgroup has; `None` where that cannot be read.
    #[must_use]
    pub fn of(&self, cgroup: &str) -> Option<Cpus> {
        let effective = effective(&self.root, cgroup, self.online.as_ref()?);
        (!effective.is_empty()).then_some(effective)
    }
}
