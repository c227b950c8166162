//! Where cgroups let a guest's vCPUs run.

use auto_ext_service::cpu_list;

use crate::topology::Cpus;

use super::process::Process;
use super::texts::{Kernel, MAX_TEXT};

/// How many parents of a cgroup are looked at.
const MAX_DEPTH: usize = 32;

impl Kernel {
    /// The cgroup of a guest in this process (of version 2 alone).
    ///
    /// libvirt pins vCPUs and the emulator by groups below the guest's own, which say where they were pinned and not where they may be.
    #[must_use]
    pub fn group(&self, process: Process) -> Option<String> {
        let path = format!("proc/{}/cgroup", process.pid);
        let text = self.root.text(&path, MAX_TEXT)?;
        let group = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
        if group.split('/').any(|part| part == "..") {
            return None;
        }
        let group = match group.rsplit_once('/') {
            Some((guest, last)) if is_of_a_part(last) => guest,
            _ => group,
        };
        Some(group.to_owned())
    }

    /// Where a cgroup lets those in it run; `None` where it does not say.
    #[must_use]
    pub fn allowed(&self, mut group: &str) -> Option<Cpus> {
        // Where the controller is off, what the parent says holds.
        for _ in 0..MAX_DEPTH {
            let path = format!("sys/fs/cgroup/{group}/cpuset.cpus.effective");
            if let Some(text) = self.root.text(&path, MAX_TEXT) {
                return cpu_list::parse(&text).ok().filter(|cpus| !cpus.is_empty());
            }
            group = group.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
        None
    }
}

/// libvirt's groups below a guest's: `emulator`, `vcpu0`, `iothread1`.
fn is_of_a_part(name: &str) -> bool {
    let is_numbered = |prefix: &str| {
        let number = name.strip_prefix(prefix).unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    name == "emulator" || is_numbered("vcpu") || is_numbered("iothread")
}
