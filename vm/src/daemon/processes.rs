//! Which process a guest is, and which of its threads each vCPU.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use auto_ext_service::affinity_owner::Process;
use auto_ext_service::bounded_file::Root;

use crate::snapshot::GuestId;

/// How large a command line may be, in bytes, and how many processes and threads are looked at.
const MAX_COMMAND: usize = 1 << 20;
const MAX_NUMBERS: usize = 1 << 16;
const MAX_COMM: usize = 64;

/// Who knows which process a guest is.
pub trait Find: Send {
    /// The processes of these guests; of those that are found.
    fn processes(&self, guests: &[GuestId]) -> BTreeMap<GuestId, Process>;

    /// Whether this is still a process.
    fn is_there(&self, process: Process) -> bool;

    /// The thread of a vCPU.
    fn thread(&self, process: Process, index: u32) -> Option<u32>;
}

/// By what /proc says below a root that tests replace: QEMU is given the guest's UUID, and calls its threads `CPU 0/KVM`.
#[derive(Debug)]
pub struct InProc {
    path: PathBuf,
    root: Root,
}

impl InProc {
    /// That of the machine whose files are below `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            path: root.to_owned(),
            root: Root::new(root),
        }
    }

    fn uuid(&self, pid: u32) -> Option<String> {
        // A zombie's or a kernel thread's is empty.
        let path = format!("proc/{pid}/cmdline");
        let command = self.root.text(&path, MAX_COMMAND)?;
        let mut words = command.split('\0');
        words.find(|word| *word == "-uuid")?;
        Some(words.next()?.to_owned())
    }
}

impl Find for InProc {
    fn processes(&self, guests: &[GuestId]) -> BTreeMap<GuestId, Process> {
        let wanted: BTreeMap<String, &GuestId> =
            guests.iter().map(|id| (id.to_string(), id)).collect();
        let pids = self.root.numbers("proc", MAX_NUMBERS).unwrap_or_default();
        let found = pids.into_iter().filter_map(|pid| {
            let id = *wanted.get(&self.uuid(pid)?)?;
            Some((id.clone(), Process::read(&self.path, pid)?))
        });
        found.collect()
    }

    fn is_there(&self, process: Process) -> bool {
        Process::read(&self.path, process.pid) == Some(process)
    }

    fn thread(&self, process: Process, index: u32) -> Option<u32> {
        let tasks = format!("proc/{}/task", process.pid);
        let name = format!("CPU {index}/");
        let mut threads = self.root.numbers(&tasks, MAX_NUMBERS)?.into_iter();
        threads.find(|thread| {
            let comm = self.root.text(&format!("{tasks}/{thread}/comm"), MAX_COMM);
            comm.is_some_and(|comm| comm.starts_with(&name))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_guest_is_the_process_that_was_given_its_uuid_and_its_threads_have_names() {
        let root = tempfile::tempdir().unwrap();
        let stat = |pid: u32| format!("{pid} (qemu) S{} 4711 0", " 0".repeat(18));
        for (pid, command) in [
            (7, "qemu\0-name\0guest=-uuid\0-uuid\0aaa\0-S\0"),
            (8, "vi\0-uuid\0"),
            (9, ""),
        ] {
            let process = root.path().join(format!("proc/{pid}"));
            fs::create_dir_all(process.join("task")).unwrap();
            fs::write(process.join("cmdline"), command).unwrap();
            fs::write(process.join("stat"), stat(pid)).unwrap();
        }
        for (thread, comm) in [(7, "qemu"), (11, "CPU 1/KVM"), (12, "CPU 10/KVM")] {
            let task = root.path().join(format!("proc/7/task/{thread}"));
            fs::create_dir_all(&task).unwrap();
            fs::write(task.join("comm"), format!("{comm}\n")).unwrap();
        }
        let find = InProc::new(root.path());
        let [here, missing] = ["aaa", "bbb"].map(GuestId::new);
        let found = find.processes(&[here.clone(), missing]);
        let process = Process {
            pid: 7,
            began: 4711,
        };
        assert_eq!(found, BTreeMap::from([(here, process)]));
        assert!(find.is_there(process));
        assert!(!find.is_there(Process {
            began: 1,
            ..process
        }));
        assert_eq!(find.thread(process, 1), Some(11));
        assert_eq!(find.thread(process, 10), Some(12));
        assert_eq!(find.thread(process, 0), None);
    }
}
