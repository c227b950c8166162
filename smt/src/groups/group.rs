//! From two looks at all processes to groups: which belong together, what they are called, how busy they were in between.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use glob::Pattern;
use serde::{Deserialize, Serialize};

use crate::topology::{Domain, Topology};
use auto_ext_service::bounded_file::Root;
use auto_ext_service::cpu_list::MAX_CPUS;

use super::eligible::{NotEligible, by_name, by_threads, effective};
use super::process::{MAX_THREADS, Process, Processes, threads};

/// A group that uses less than this of a CPU says nothing sound about its speed.
const BUSY: f64 = 0.25;

/// By what processes belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// Their process group.
    ProcessGroup,
    /// Their cgroup: a service, a scope, a container.
    Cgroup,
}

/// Which group.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// By the number of a process group.
    ProcessGroup(u32),
    /// By a cgroup.
    Cgroup(String),
}

/// What makes a group, and which are left alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// What belongs together.
    pub group_by: GroupBy,
    /// How long a group has to run before it is looked at, in seconds.
    pub long_running: u64,
    /// What is left alone, by job, program or cgroup.
    pub exclude: Vec<Pattern>,
    /// How many ticks a second has (_SC_CLK_TCK).
    pub ticks: u64,
}

/// Processes that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Which.
    pub key: Key,
    /// What is learnt of it is kept under this: its unit or its program.
    pub job: String,
    /// Its processes.
    pub pids: Vec<u32>,
    /// How many CPUs it used on average.
    pub busy: f64,
    /// How many CPUs it keeps busy, at least one.
    pub workers: u32,
    /// In which of the topology's domains its threads are, for most of their time; `None` where that cannot be told.
    pub home: Option<usize>,
    /// Whether it may be given cores.
    pub eligible: Result<(), NotEligible>,
}

/// The groups of `now`, with how busy they were since `before`. Of the threads of those that may be given cores, it is read
/// below `root` where they run and may run.
#[must_use]
pub fn groups(
    root: &Path,
    topology: &Topology,
    rules: &Rules,
    before: &Processes,
    now: &Processes,
) -> Vec<Group> {
    let mut look = Look {
        root: Root::new(root),
        topology,
        rules,
        before,
        now,
        threads_left: MAX_THREADS,
    };
    let mut members: BTreeMap<Key, Vec<u32>> = BTreeMap::new();
    for (pid, process) in &now.all {
        let key = match rules.group_by {
            GroupBy::ProcessGroup => Key::ProcessGroup(process.stat.group),
            GroupBy::Cgroup => Key::Cgroup(process.cgroup.clone()),
        };
        members.entry(key).or_default().push(*pid);
    }
    let members = members.into_iter();
    let groups = members.filter_map(|(key, pids)| look.group(key, pids));
    groups.collect()
}

/// What is looked at for each group.
struct Look<'a> {
    root: Root,
    topology: &'a Topology,
    rules: &'a Rules,
    before: &'a Processes,
    now: &'a Processes,
    /// How many threads may be looked at yet.
    threads_left: usize,
}

impl Look<'_> {
    fn group(&mut self, key: Key, pids: Vec<u32>) -> Option<Group> {
        let processes = || {
            pids.iter()
                .filter_map(|pid| Some((*pid, self.now.all.get(pid)?)))
        };
        let (_, oldest) = processes().min_by_key(|(pid, process)| (process.stat.began, *pid))?;
        let busy = self.busy(processes());
        let job = job(oldest);
        let (eligible, home) = match self.judge(&job, oldest, busy, &pids) {
            Ok(home) => (Ok(()), home),
            Err(why) => (Err(why), None),
        };
        Some(Group {
            key,
            job,
            pids,
            busy,
            workers: workers(busy),
            home,
            eligible,
        })
    }

    /// How many CPUs these processes used on average. Of what began meanwhile all of it counts; of what ended, nothing.
    fn busy<'p>(&self, processes: impl Iterator<Item = (u32, &'p Process)>) -> f64 {
        let used: u64 = processes
            .map(|(pid, process)| {
                let before = self.before.all.get(&pid);
                let before = before.filter(|before| before.stat.began == process.stat.began);
                let before = before.map_or(0, |before| before.stat.used);
                process.stat.used.saturating_sub(before)
            })
            .fold(0, u64::saturating_add);
        let over = self.now.at.saturating_sub(self.before.at);
        if over == 0 {
            return 0.0;
        }
        // Ticks of a machine's life are far fewer than 2^52.
        used as f64 / over as f64
    }

    /// Where a group is at home that may be given cores, or why it may not. The cheap reasons first: threads are looked at
    /// only where nothing else speaks against it.
    fn judge(
        &mut self,
        job: &str,
        oldest: &Process,
        busy: f64,
        pids: &[u32],
    ) -> Result<Option<usize>, NotEligible> {
        by_name(oldest)?;
        let excluded = |pattern: &Pattern| {
            let names = [job, &oldest.program, &oldest.cgroup];
            names.into_iter().any(|name| pattern.matches(name))
        };
        if self.rules.exclude.iter().any(excluded) {
            return Err(NotEligible::Excluded);
        }
        let age = self.now.at.saturating_sub(oldest.stat.began) / self.rules.ticks.max(1);
        if age < self.rules.long_running {
            return Err(NotEligible::Young(age));
        }
        if busy < BUSY {
            return Err(NotEligible::Idle(busy));
        }
        let threads = threads(&self.root, pids, self.threads_left);
        let threads = threads.map_err(|_| NotEligible::TooManyThreads)?;
        self.threads_left -= threads.len();
        let effective = effective(&self.root, &oldest.cgroup, &self.topology.online);
        by_threads(&threads, self.topology, &effective)?;
        let weights = threads
            .values()
            .map(|thread| (thread.stat.cpu, thread.stat.used));
        Ok(home(self.topology, weights))
    }
}

/// What a group is called after its oldest process: the service, the scope or the container, else the program.
fn job(oldest: &Process) -> String {
    let units = oldest.cgroup.rsplit('/');
    let is_unit = |name: &&str| name.ends_with(".service") || name.ends_with(".scope");
    let mut units = units.filter(is_unit);
    match units.next() {
        // A session has programs of all kinds.
        Some(unit) if !unit.starts_with("session-") => unit.to_owned(),
        _ => oldest.program.clone(),
    }
}

/// How many CPUs are kept busy, rounded, and at least one.
fn workers(busy: f64) -> u32 {
    // Nothing is busy on more CPUs than there can be.
    let most = f64::from(MAX_CPUS);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and MAX_CPUS"
    )]
    let workers = busy.round().clamp(1.0, most) as u32;
    workers
}

/// The domain in which threads that were on these CPUs last spent most of their time.
fn home(topology: &Topology, threads: impl Iterator<Item = (u32, u64)>) -> Option<usize> {
    let mut time = vec![0_u64; topology.domains.len()];
    for (cpu, used) in threads {
        let has = |domain: &Domain| domain.cores.iter().any(|core| core.cpus.contains(&cpu));
        if let Some(at) = topology.domains.iter().position(has) {
            time[at] = time[at].saturating_add(used.max(1));
        }
    }
    let (most, at) = time.iter().zip(0..).max()?;
    (*most > 0).then_some(at)
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProcessGroup(group) => write!(f, "process group {group}"),
            Self::Cgroup(cgroup) => f.write_str(cgroup),
        }
    }
}
