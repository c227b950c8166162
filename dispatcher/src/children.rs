//! The scheduler processes of ours that have not been waited for, so that anyone can tell whether what the kernel runs
//! is ours.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::known;
use crate::lock::lock;
use crate::policy::Scheduler;
use crate::program::file_name;

/// The list, shared by all who hold a copy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Children(Arc<Mutex<Vec<(u32, Scheduler)>>>);

/// Keeps one process in the list.
#[derive(Debug)]
pub(crate) struct Listed {
    children: Children,
    pid: u32,
}

impl Children {
    /// Lists a process until the returned guard is dropped.
    pub(crate) fn list(&self, pid: u32, scheduler: &Scheduler) -> Listed {
        self.lock().push((pid, scheduler.clone()));
        Listed {
            children: self.clone(),
            pid,
        }
    }

    /// The process of ours to which the operations `ops` in the kernel can belong.
    pub(crate) fn owner_of(&self, ops: &str) -> Option<u32> {
        self.lock()
            .iter()
            .find(|(_, scheduler)| is_of(ops, scheduler))
            .map(|(pid, _)| *pid)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u32, Scheduler)>> {
        lock(&self.0)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.children.lock().retain(|(pid, _)| *pid != self.pid);
    }
}

/// Whether the operations called `ops` can be those of `scheduler`. A program that is not known may
/// call its operations what it likes, but for the name of a known one.
pub(crate) fn is_of(ops: &str, scheduler: &Scheduler) -> bool {
    match known::by_name(file_name(&scheduler.command)) {
        Some(expected) => known::by_ops(ops) == Some(expected),
        None => known::by_ops(ops).is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheduler(command: &str) -> Scheduler {
        Scheduler {
            name: "mine".into(),
            command: command.into(),
            args: Vec::new(),
        }
    }

    #[test]
    fn a_scheduler_in_the_kernel_is_ours_while_its_process_is_listed() {
        let children = Children::default();
        let listed = children.list(7, &scheduler("scx_bpfland"));
        assert_eq!(children.owner_of("bpfland_1.1.4"), Some(7));
        assert_eq!(children.owner_of("cosmos_1.1.7"), None);
        drop(listed);
        assert_eq!(children.owner_of("bpfland_1.1.4"), None);
    }

    #[test]
    fn an_unknown_program_may_name_its_operations_as_it_likes() {
        assert!(is_of("homemade", &scheduler("/opt/scx_mine")));
        assert!(!is_of("lavd_1.1.4", &scheduler("/opt/scx_mine")));
        assert!(!is_of("homemade", &scheduler("/opt/scx_lavd")));
    }
}
