//! What processes descend from: the programs that led to each, kept from fork to fork. Owns what is remembered of them when
//! they end: everything that a process which lives descends from, and nothing else.
//!
//! The kernel's own word, /proc's parent, is forgotten when a parent ends: its children go to whoever takes care of orphans,
//! which is how wine starts each of its programs. It is asked only for what began unseen. A fork that runs no program of its
//! own is no further ancestor, so that chains grow with programs and not with forks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use auto_ext_signals::{MAX_ANCESTORS, MAX_PROCESSES, Process};

use crate::process::text;

/// Of all processes that live, as far as it is known.
#[derive(Default)]
pub(crate) struct Lineage {
    lines: HashMap<u32, Line>,
}

/// Of one process.
struct Line {
    /// The program that it runs; `None` while that is still the one of the process that forked it.
    own: Option<Arc<Link>>,
    /// What led to it.
    before: Option<Arc<Link>>,
    /// Something about it may have been missed.
    doubtful: bool,
}

/// A program that a process runs or ran.
struct Link {
    /// As it was seen last. Its descendants share it.
    program: Mutex<Arc<Process>>,
    before: Option<Arc<Link>>,
    /// How many are before it.
    depth: usize,
}

impl Lineage {
    /// Whether nothing is known of `pid` and there is room for it.
    pub(crate) fn lacks(&self, pid: u32) -> bool {
        self.lines.len() < MAX_PROCESSES && !self.lines.contains_key(&pid)
    }

    /// `parent` forked `pid`.
    pub(crate) fn forked(&mut self, pid: u32, parent: u32) {
        let line = self.lines.get(&parent).map(Line::of_child);
        self.insert(pid, line);
    }

    /// `pid` runs a program that the kernel calls `comm`.
    pub(crate) fn executed(&mut self, pid: u32, comm: &[u8]) {
        // What it was before is not known either, if it is not there.
        let Some(line) = self.lines.get_mut(&pid) else {
            return;
        };
        let comm = text(comm);
        // One that runs itself anew, as often as it likes.
        let again = line
            .own
            .as_ref()
            .is_some_and(|own| own.program().comm == comm);
        if !again {
            line.before = line.last().cloned();
        }
        let program = Process {
            pid,
            argv0: comm.clone(),
            comm,
            ..Process::default()
        };
        line.own = Some(Link::new(program, line.before.clone()));
    }

    /// `pid` ended.
    pub(crate) fn ended(&mut self, pid: u32) {
        self.lines.remove(&pid);
    }

    /// Something was missed about some processes.
    pub(crate) fn doubt(&mut self) {
        for line in self.lines.values_mut() {
            line.doubtful = true;
        }
    }

    /// This is what `process` is now. Whether nothing says what it descends from: it is to be adopted.
    pub(crate) fn see(&mut self, process: &Process) -> bool {
        let Some(line) = self.lines.get_mut(&process.pid) else {
            return true;
        };
        let runs_the_same = |link: &Arc<Link>| {
            let program = link.program();
            let same_file =
                program.executable.is_empty() || program.executable == process.executable;
            same_file && program.comm == process.comm
        };
        if std::mem::take(&mut line.doubtful) && !line.last().is_some_and(runs_the_same) {
            self.lines.remove(&process.pid);
            return true;
        }
        match &line.own {
            Some(own) => own.set_program(process),
            None if line.before.as_ref().is_some_and(runs_the_same) => {}
            None => line.own = Some(Link::new(alone(process), line.before.clone())),
        }
        false
    }

    /// `process` descends from `parent`, or from nothing that is known.
    pub(crate) fn adopt(&mut self, process: &Process, parent: u32) {
        let line = self.lines.get(&parent).map(Line::of_child);
        let line = line.unwrap_or(Line {
            own: None,
            before: None,
            doubtful: false,
        });
        self.insert(process.pid, Some(line));
        self.see(process);
    }

    /// These are all processes there are; those that nothing else is known of have these parents.
    pub(crate) fn settle(&mut self, found: &HashMap<u32, Process>, mut parents: HashMap<u32, u32>) {
        self.lines
            .retain(|pid, line| !line.doubtful || found.contains_key(pid));
        let mut path = Vec::new();
        for process in found.values() {
            let mut pid = process.pid;
            // Parents come before their children.
            while let Some(parent) = parents.remove(&pid) {
                path.push((pid, parent));
                pid = parent;
            }
            if let Some(first) = found.get(&pid).filter(|_| !self.lines.contains_key(&pid)) {
                self.adopt(first, 0);
            }
            while let Some((pid, parent)) = path.pop() {
                if let Some(process) = found.get(&pid) {
                    self.adopt(process, parent);
                }
            }
        }
    }

    /// What `pid` descends from, the nearest first.
    pub(crate) fn ancestors(&self, pid: u32) -> Vec<Arc<Process>> {
        let line = self.lines.get(&pid);
        let first = line.and_then(|line| line.before.as_ref());
        links(first).map(|link| link.program()).collect()
    }

    /// What is not known, or what there is no room for, is forgotten.
    fn insert(&mut self, pid: u32, line: Option<Line>) {
        match line {
            Some(line) if self.lines.len() < MAX_PROCESSES || self.lines.contains_key(&pid) => {
                self.lines.insert(pid, line);
            }
            _ => drop(self.lines.remove(&pid)),
        }
    }
}

impl Line {
    /// That of a child which runs no program yet.
    fn of_child(&self) -> Self {
        Self {
            own: None,
            before: self.last().cloned(),
            doubtful: self.doubtful,
        }
    }

    /// The program that the process runs.
    fn last(&self) -> Option<&Arc<Link>> {
        self.own.as_ref().or(self.before.as_ref())
    }
}

impl Link {
    fn new(program: Process, before: Option<Arc<Self>>) -> Arc<Self> {
        let before = before.map(|before| {
            if before.depth + 1 < 2 * MAX_ANCESTORS {
                return before;
            }
            shortened(&before)
        });
        Self::after(Arc::new(program), before)
    }

    fn after(program: Arc<Process>, before: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self {
            depth: before.as_ref().map_or(0, |before| before.depth + 1),
            program: Mutex::new(program),
            before,
        })
    }

    fn program(&self) -> Arc<Process> {
        let program = self.program.lock();
        Arc::clone(&program.unwrap_or_else(PoisonError::into_inner))
    }

    fn set_program(&self, process: &Process) {
        let mut program = self.program.lock().unwrap_or_else(PoisonError::into_inner);
        let is_as_before = program.comm == process.comm
            && program.executable == process.executable
            && program.argv0 == process.argv0;
        if !is_as_before {
            *program = Arc::new(alone(process));
        }
    }
}

/// The nearest of a chain.
fn links(first: Option<&Arc<Link>>) -> impl Iterator<Item = &Arc<Link>> {
    std::iter::successors(first, |link| link.before.as_ref()).take(MAX_ANCESTORS)
}

/// The same chain without what nobody is told of.
fn shortened(chain: &Arc<Link>) -> Arc<Link> {
    let programs: Vec<_> = links(Some(chain)).map(|link| link.program()).collect();
    let nearest = Arc::clone(chain);
    let chain = programs
        .into_iter()
        .rev()
        .fold(None, |before, program| Some(Link::after(program, before)));
    chain.unwrap_or(nearest)
}

/// What descendants of `process` are told of it.
fn alone(process: &Process) -> Process {
    Process {
        pid: process.pid,
        comm: process.comm.clone(),
        executable: process.executable.clone(),
        argv0: process.argv0.clone(),
        ..Process::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn process(pid: u32, name: &str) -> Process {
        Process {
            pid,
            comm: name.to_owned(),
            executable: format!("/usr/bin/{name}"),
            argv0: name.to_owned(),
            ..Process::default()
        }
    }

    /// One in which process 1 is `init`.
    fn with_init() -> Lineage {
        let mut lineage = Lineage::default();
        lineage.adopt(&process(1, "init"), 0);
        lineage
    }

    impl Lineage {
        /// `pid` is forked by `parent` and runs `name`, which is seen.
        fn starts(&mut self, pid: u32, parent: u32, name: &str) {
            self.forked(pid, parent);
            self.executed(pid, name.as_bytes());
            assert!(!self.see(&process(pid, name)));
        }

        fn names(&self, pid: u32) -> Vec<String> {
            let ancestors = self.ancestors(pid);
            ancestors
                .iter()
                .map(|process| process.comm.clone())
                .collect()
        }
    }

    #[test]
    fn a_process_descends_from_those_that_led_to_it_also_when_they_are_gone() {
        let mut lineage = with_init();
        lineage.starts(2, 1, "steam");
        lineage.starts(3, 2, "reaper");
        // These end before anybody looks.
        lineage.forked(4, 3);
        lineage.executed(4, b"proton");
        lineage.forked(5, 4);
        lineage.executed(5, b"game.exe");
        for pid in [4, 3, 2] {
            lineage.ended(pid);
        }
        assert_eq!(lineage.names(5), ["proton", "reaper", "steam", "init"]);
        assert_eq!(lineage.ancestors(5)[1].executable, "/usr/bin/reaper");
        let unread = &lineage.ancestors(5)[0];
        assert_eq!((&*unread.argv0, &*unread.executable), ("proton", ""));
        lineage.ended(5);
        assert_eq!(lineage.lines.len(), 1);
    }

    #[test]
    fn what_a_process_ran_before_is_an_ancestor_of_what_it_runs() {
        let mut lineage = with_init();
        lineage.starts(2, 1, "gamemoderun");
        lineage.starts(3, 2, "worker");
        lineage.executed(2, b"game");
        assert_eq!(lineage.names(2), ["gamemoderun", "init"]);
        assert_eq!(lineage.names(3), ["gamemoderun", "init"]);
        // The same program again is none.
        lineage.executed(2, b"game");
        assert_eq!(lineage.names(2), ["gamemoderun", "init"]);
    }

    #[test]
    fn forks_that_run_nothing_are_no_further_ancestors() {
        let mut lineage = with_init();
        lineage.starts(2, 1, "sh");
        for pid in 3..100 {
            lineage.forked(pid, pid - 1);
            assert!(!lineage.see(&process(pid, "sh")));
            lineage.ended(pid - 1);
        }
        lineage.starts(100, 99, "game");
        assert_eq!(lineage.names(100), ["sh", "init"]);
        // One that calls itself something else is a program of its own.
        lineage.forked(101, 99);
        assert!(!lineage.see(&Process {
            executable: "/usr/bin/sh".to_owned(),
            ..process(101, "worker")
        }));
        lineage.forked(102, 101);
        assert_eq!(lineage.names(101), ["sh", "init"]);
        assert_eq!(lineage.names(102), ["worker", "sh", "init"]);
    }

    #[test]
    fn an_ancestor_is_told_as_it_was_seen_last() {
        let mut lineage = with_init();
        lineage.forked(2, 1);
        lineage.executed(2, b"wine64-preloade");
        lineage.forked(3, 2);
        assert_eq!(lineage.names(3), ["wine64-preloade", "init"]);
        assert!(!lineage.see(&process(2, "Launcher.exe")));
        assert_eq!(lineage.names(3), ["Launcher.exe", "init"]);
        lineage.ended(2);
        assert_eq!(lineage.names(3), ["Launcher.exe", "init"]);
    }

    #[test]
    fn of_what_began_unseen_proc_says_the_parent() {
        let mut lineage = Lineage::default();
        let tree = [
            (1, 0, "init"),
            (30, 1, "desktop"),
            (20, 30, "steam"),
            (40, 20, "game"),
            (7, 99, "lost"),
        ];
        let mut parents = HashMap::new();
        let mut found = HashMap::new();
        for (pid, parent, name) in tree {
            assert!(lineage.see(&process(pid, name)));
            found.insert(pid, process(pid, name));
            // Of the first, /proc says none.
            if parent != 0 {
                parents.insert(pid, parent);
            }
        }
        lineage.settle(&found, parents);
        assert_eq!(lineage.names(40), ["steam", "desktop", "init"]);
        assert_eq!(lineage.names(7), [""; 0]);
        lineage.starts(41, 40, "helper");
        assert_eq!(lineage.names(41), ["game", "steam", "desktop", "init"]);
    }

    #[test]
    fn what_is_doubtful_stays_if_it_still_runs_the_same() {
        let mut lineage = with_init();
        lineage.starts(2, 1, "steam");
        for (pid, name) in [(3, "game"), (4, "tool"), (5, "gone")] {
            lineage.starts(pid, 2, name);
        }
        lineage.ended(2);
        lineage.doubt();
        // Since then its number was used again.
        assert!(!lineage.see(&process(1, "init")));
        assert!(!lineage.see(&process(3, "game")));
        assert!(lineage.see(&process(4, "other")));
        let found = [(1, "init"), (3, "game"), (4, "other")];
        let found = found.map(|(pid, name)| (pid, process(pid, name))).into();
        lineage.settle(&found, [(4, 1)].into());
        assert_eq!(lineage.names(3), ["steam", "init"]);
        assert_eq!(lineage.names(4), ["init"]);
        assert_eq!(lineage.lines.len(), 3);
    }

    #[test]
    fn parents_in_a_circle_end() {
        let mut lineage = Lineage::default();
        let found = [(2, process(2, "a")), (3, process(3, "b"))].into();
        lineage.settle(&found, [(2, 3), (3, 2)].into());
        assert!(lineage.names(2).len() <= 2 && lineage.names(3).len() <= 2);
    }

    #[test]
    fn no_process_is_followed_without_bound() {
        let mut lineage = with_init();
        for pid in 2..=u32::try_from(MAX_PROCESSES).unwrap() + 5 {
            lineage.forked(pid, 1);
        }
        assert_eq!(lineage.lines.len(), MAX_PROCESSES);
    }

    proptest! {
        /// However programs follow each other, a chain stays short and has the nearest.
        #[test]
        fn chains_are_bounded(programs in prop::collection::vec(0..3_u8, 0..300)) {
            let mut lineage = with_init();
            lineage.starts(2, 1, "first");
            let mut expected = vec!["init".to_owned()];
            let mut last = "first".to_owned();
            for program in programs {
                let name = format!("program{program}");
                lineage.executed(2, name.as_bytes());
                if name != last {
                    expected.insert(0, std::mem::replace(&mut last, name));
                }
                expected.truncate(MAX_ANCESTORS);
                prop_assert_eq!(lineage.names(2), expected.clone());
                let own = lineage.lines[&2].own.as_ref().unwrap();
                prop_assert!(own.depth <= 2 * MAX_ANCESTORS);
            }
        }
    }
}
