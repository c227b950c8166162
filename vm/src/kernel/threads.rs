//! The threads that vCPUs are: QEMU names them, `CPU 0/KVM` or `CPU 0/TCG`.

use std::collections::BTreeMap;
use std::time::Duration;

use auto_ext_service::cpu_list;

use crate::topology::Cpus;

use super::process::Process;
use super::texts::{Kernel, MAX_TEXT};

/// How many threads of a process are looked at.
const MAX_THREADS: usize = 8192;

/// While there are as many threads as before they are looked for again after so many looks.
const KNOWN: u32 = 11;

/// The thread that a vCPU is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its number.
    pub tid: u32,
    /// The vCPU's.
    pub vcpu: u32,
    /// How long it ran; `None` where that cannot be read.
    pub run: Option<Duration>,
    /// How long it was ready to and did not.
    pub wait: Option<Duration>,
    /// Where the kernel lets it run now.
    pub mask: Cpus,
}

/// Which threads of a process are vCPUs, as far as that is known.
#[derive(Clone, Debug, Default)]
pub struct Threads {
    vcpus: BTreeMap<u32, u32>,
    /// How many threads there were when they were looked for, and how often that needs no look again.
    count: u32,
    known: u32,
}

impl Threads {
    /// The threads of a process that are vCPUs, in the order of the vCPUs. Who cannot be read any more is gone.
    ///
    /// `count` is how many threads the process has, 0 if nobody knows.
    pub fn read(&mut self, kernel: &Kernel, process: Process, count: u32) -> Vec<Thread> {
        let is_same = count > 0 && count == self.count;
        if is_same && self.known > 0 {
            self.known -= 1;
        } else {
            self.find(kernel, process);
            // One that has just begun has its name only a moment later.
            self.known = if is_same { KNOWN } else { 0 };
            self.count = count;
        }
        let each = self
            .vcpus
            .iter()
            .filter_map(|(tid, vcpu)| kernel.thread(process, *tid, *vcpu));
        let by_vcpu: BTreeMap<u32, Thread> = each.map(|thread| (thread.vcpu, thread)).collect();
        if by_vcpu.len() < self.vcpus.len() {
            self.known = 0;
        }
        by_vcpu.into_values().collect()
    }

    fn find(&mut self, kernel: &Kernel, process: Process) {
        let tasks = format!("proc/{}/task", process.pid);
        let tids = kernel.root.numbers(&tasks, MAX_THREADS).unwrap_or_default();
        self.vcpus.retain(|tid, _| tids.contains(tid));
        for tid in tids {
            if !self.vcpus.contains_key(&tid)
                && let Some(name) = kernel.root.text(&format!("{tasks}/{tid}/comm"), MAX_TEXT)
                && let Some(vcpu) = vcpu_of(&name)
            {
                self.vcpus.insert(tid, vcpu);
            }
        }
    }
}

impl Kernel {
    /// The thread of a process that a vCPU is, if there is one with this number.
    #[must_use]
    pub fn thread(&self, process: Process, tid: u32, vcpu: u32) -> Option<Thread> {
        let task = format!("proc/{}/task/{tid}", process.pid);
        let text = |file: &str| self.root.text(&format!("{task}/{file}"), MAX_TEXT);
        let status = text("status")?;
        let list = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        let mask = cpu_list::parse(list).ok()?;
        // In nanoseconds (Documentation/scheduler/sched-stats.rst).
        let times: Option<Vec<u64>> = text("schedstat").and_then(|text| {
            let words = text.split_ascii_whitespace().take(2);
            words.map(|word| word.parse().ok()).collect()
        });
        let time = |at: usize| {
            let nanoseconds = times.as_ref()?.get(at)?;
            Some(Duration::from_nanos(*nanoseconds))
        };
        Some(Thread {
            tid,
            vcpu,
            run: time(0),
            wait: time(1),
            mask,
        })
    }
}

/// The number of the vCPU whose thread has this name.
fn vcpu_of(name: &str) -> Option<u32> {
    let name = name.trim_ascii().strip_prefix("CPU ")?;
    let (number, kind) = name.split_once('/')?;
    // The name may be cut off (TASK_COMM_LEN in include/linux/sched.h).
    let is_vcpu = ["KVM", "TCG"].iter().any(|whole| whole.starts_with(kind));
    number.parse().ok().filter(|_| is_vcpu)
}
