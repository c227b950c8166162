//! Where cgroups let a guest's vCPUs run.

use auto_ext_service::cpu_list;

use crate::topology::Cpus;

use super::kept::Kept;
use super::process::Process;
use super::texts::{Kernel, MAX_TEXT};

/// How many parents of a cgroup are looked at.
const MAX_DEPTH: usize = 32;

/// The file of a cgroup that says where those in it may run.
#[derive(Debug)]
pub struct Cpuset {
    path: String,
    kept: Kept,
}

impl Kernel {
    /// What says where a guest in this process may run; `None` where no cgroup (of version 2) does.
    #[must_use]
    pub fn cpuset(&self, process: Process) -> Option<Cpuset> {
        let group = self.group(process)?;
        let mut group = group.as_str();
        // Where the controller is off, what the parent says holds.
        for _ in 0..MAX_DEPTH {
            let path = format!("sys/fs/cgroup/{group}/cpuset.cpus.effective");
            let mut kept = Kept::default();
            if self.text_again(&mut kept, || path.clone()).is_ok() {
                return Some(Cpuset { path, kept });
            }
            if group.is_empty() {
                break;
            }
            group = group.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
        None
    }

    /// Where those may run of whom that is said; `None` where it is not said any more.
    #[must_use]
    pub fn allowed(&self, cpuset: &mut Cpuset) -> Option<Cpus> {
        let text = self.text_again(&mut cpuset.kept, || cpuset.path.clone());
        let cpus = cpu_list::parse(&text.ok()?).ok();
        cpus.filter(|cpus| !cpus.is_empty())
    }

    /// The cgroup of a guest in this process.
    ///
    /// libvirt pins vCPUs and the emulator by groups below the guest's own, which say where they were pinned and not where they may be.
    fn group(&self, process: Process) -> Option<String> {
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
}

/// libvirt's groups below a guest's: `emulator`, `vcpu0`, `iothread1`.
fn is_of_a_part(name: &str) -> bool {
    let is_numbered = |prefix: &str| {
        let number = name.strip_prefix(prefix).unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    name == "emulator" || is_numbered("vcpu") || is_numbered("iothread")
}
