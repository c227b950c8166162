//! The threads that vCPUs are: QEMU names them, `CPU 0/KVM` or `CPU 0/TCG`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use auto_ext_service::cpu_list;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use crate::topology::Cpus;

use super::kept::{Kept, Unread};
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
#[derive(Debug, Default)]
pub struct Threads {
    vcpus: BTreeMap<u32, Box<Watched>>,
    /// How many threads there were when they were looked for, and how often that needs no look again.
    count: u32,
    known: u32,
}

/// A thread that is looked at again and again.
#[derive(Debug)]
struct Watched {
    vcpu: u32,
    schedstat: Kept,
    seen: Option<Seen>,
}

/// Where a thread may run, which takes long to read, and how it is told that this has not changed.
#[derive(Debug)]
struct Seen {
    mask: Cpus,
    /// What is told at once is less: those of its CPUs that are online. It is enough while the same ones are.
    affinity: CpuSet,
    cpus_read: u64,
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
            .iter_mut()
            .filter_map(|(tid, watched)| kernel.watched_thread(process, *tid, watched));
        let by_vcpu: BTreeMap<u32, Thread> = each.map(|thread| (thread.vcpu, thread)).collect();
        if by_vcpu.len() < self.vcpus.len() {
            self.known = 0;
        }
        by_vcpu.into_values().collect()
    }

    fn find(&mut self, kernel: &Kernel, process: Process) {
        let tasks = format!("proc/{}/task", process.pid);
        let tids = kernel.root.numbers(&tasks, MAX_THREADS).unwrap_or_default();
        let there: BTreeSet<u32> = tids.into_iter().collect();
        self.vcpus.retain(|tid, _| there.contains(tid));
        for tid in there {
            if !self.vcpus.contains_key(&tid)
                && let Some(name) = kernel.root.text(&format!("{tasks}/{tid}/comm"), MAX_TEXT)
                && let Some(vcpu) = vcpu_of(&name)
            {
                self.vcpus.insert(tid, Box::new(Watched::new(vcpu)));
            }
        }
    }
}

impl Watched {
    fn new(vcpu: u32) -> Self {
        Self {
            vcpu,
            schedstat: Kept::default(),
            seen: None,
        }
    }
}

impl Kernel {
    /// The thread of a process that a vCPU is, if there is one with this number.
    #[must_use]
    pub fn thread(&self, process: Process, tid: u32, vcpu: u32) -> Option<Thread> {
        self.watched_thread(process, tid, &mut Watched::new(vcpu))
    }

    fn watched_thread(&self, process: Process, tid: u32, watched: &mut Watched) -> Option<Thread> {
        let task = format!("proc/{}/task/{tid}", process.pid);
        // Before its times: when those can be read it has not ended, and nobody else has had its number.
        let affinity = self.affinity(tid);
        let times = self.text_again(&mut watched.schedstat, || format!("{task}/schedstat"));
        let [run, wait] = match &times {
            Ok(text) => times_of(text),
            Err(Unread::Missing) => [None, None],
            Err(Unread::Ended) => {
                watched.seen = None;
                return None;
            }
        };
        let is_seen = |seen: &&Seen| {
            times.is_ok() && affinity == Some(seen.affinity) && self.cpus_read == seen.cpus_read
        };
        let mask = match watched.seen.as_ref().filter(is_seen) {
            Some(seen) => seen.mask.clone(),
            None => {
                let mask = self.mask(&task)?;
                watched.seen = affinity.map(|affinity| Seen {
                    mask: mask.clone(),
                    affinity,
                    cpus_read: self.cpus_read,
                });
                mask
            }
        };
        Some(Thread {
            tid,
            vcpu: watched.vcpu,
            run,
            wait,
            mask,
        })
    }

    /// Those CPUs of a thread's mask that are online, if that is told at once.
    fn affinity(&self, tid: u32) -> Option<CpuSet> {
        // What is below another root is of no thread that runs here.
        let tid = i32::try_from(tid)
            .ok()
            .filter(|_| self.is_of_this_machine())?;
        sched_getaffinity(Pid::from_raw(tid)).ok()
    }

    fn mask(&self, task: &str) -> Option<Cpus> {
        let status = self.root.text(&format!("{task}/status"), MAX_TEXT)?;
        let list = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        cpu_list::parse(list).ok()
    }
}

/// How long a thread ran and waited, in nanoseconds (Documentation/scheduler/sched-stats.rst).
fn times_of(schedstat: &str) -> [Option<Duration>; 2] {
    let mut words = schedstat.split_ascii_whitespace();
    let mut time = || words.next()?.parse().ok().map(Duration::from_nanos);
    // Half of it says nothing.
    time()
        .zip(time())
        .map_or([None, None], |(run, wait)| [Some(run), Some(wait)])
}

/// The number of the vCPU whose thread has this name.
fn vcpu_of(name: &str) -> Option<u32> {
    let name = name.trim_ascii().strip_prefix("CPU ")?;
    let (number, kind) = name.split_once('/')?;
    // The name may be cut off (TASK_COMM_LEN in include/linux/sched.h).
    let is_vcpu = ["KVM", "TCG"].iter().any(|whole| whole.starts_with(kind));
    number.parse().ok().filter(|_| is_vcpu)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc;
    use std::thread;

    use nix::sched::sched_setaffinity;
    use nix::unistd::gettid;

    use super::super::kept::Room;
    use super::*;

    /// A vCPU of this very machine, with files that are kept open and with none.
    #[test]
    fn a_thread_that_is_watched_is_seen_to_work_to_be_pinned_and_to_end() {
        let roots = [Room::below(Path::new("/")), Room::of(0)];
        for room in roots {
            let kernel = Kernel {
                room,
                ..Kernel::new(Path::new("/"))
            };
            let (end, ends) = mpsc::channel::<()>();
            let (tell, told) = mpsc::channel();
            let vcpu = thread::Builder::new().name("CPU 7/TCG".to_owned());
            let vcpu = vcpu.spawn(move || {
                tell.send(gettid()).unwrap();
                ends.recv().unwrap_err();
            });
            let tid = told.recv().unwrap();
            let mut threads = Threads::default();
            let process = kernel.process(std::process::id()).unwrap();
            let mut seen = || {
                threads
                    .read(&kernel, process, 0)
                    .into_iter()
                    .find(|it| it.vcpu == 7)
            };
            let first = seen().unwrap();
            assert_eq!(i32::try_from(first.tid).unwrap(), tid.as_raw());
            assert!(first.run.is_some() && first.wait.is_some());
            assert_eq!(seen().unwrap().mask, first.mask);
            let cpu = *first.mask.last().unwrap();
            let mut set = CpuSet::new();
            set.set(cpu as usize).unwrap();
            sched_setaffinity(tid, &set).unwrap();
            assert_eq!(seen().unwrap().mask, Cpus::from([cpu]));
            drop(end);
            vcpu.unwrap().join().unwrap();
            // It ends a moment after it is waited for.
            while seen().is_some() {
                thread::yield_now();
            }
        }
    }

    #[test]
    fn half_of_a_time_says_nothing() {
        let time = Duration::from_nanos;
        assert_eq!(times_of("5 7 9\n"), [Some(time(5)), Some(time(7))]);
        for text in ["", "5", "5 x"] {
            assert_eq!(times_of(text), [None, None], "{text}");
        }
    }
}
