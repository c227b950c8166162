//! Where a group is placed for as long as a command lasts, however that ends: a process of its own waits for its end and undoes
//! what it then finds, as after a signal that nobody can handle.

use std::io::{self, BufRead as _, BufReader, Read as _, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use auto_ext_service::affinity_owner::{self, AffinityOwner, Claim, Process};
use auto_ext_service::cpu_list::Cpus;
use nix::sys::signal::{SigSet, Signal};

use crate::affinity::{Ledger, LedgerError, Restored, SERVICE, System, pin, restore};
use crate::groups::{Group, MAX_THREADS};
use crate::injector;

use super::look::ROOT;

/// How often the one that waits tries to undo what is still in use, and how long it waits in between: who was killed lets go of it
/// at once.
const TRIES: u32 = 50;
const BETWEEN: Duration = Duration::from_millis(100);

/// A group that is placed.
pub(super) struct Placed {
    ledger: Option<Ledger>,
    owner: AffinityOwner,
    waits: Child,
    /// Closed as this process ends.
    open: Option<ChildStdin>,
}

impl Placed {
    /// Places a group on these CPUs. It is written down in the first directory, and in the second whose its processes are.
    pub(super) fn begin(
        [directory, owners]: [&Path; 2],
        program: &Path,
        group: &Group,
        cpus: &Cpus,
    ) -> Result<Self> {
        let mut waits = Command::new(program)
            .arg("--run")
            .arg(std::path::absolute(directory)?)
            .args(["restore", "--when-closed"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .current_dir("/")
            .spawn()
            .context("nobody would undo it")?;
        let open = waits.stdin.take();
        let said = waits.stdout.take().map(BufReader::new);
        let line = said.map(|mut said| said.read_line(&mut String::new()));
        // It says a line once no signal ends it any more.
        ensure!(matches!(line, Some(Ok(1..))), "nobody would undo it");
        let ledger = Ledger::open(directory)?;
        ensure!(
            ledger.changes().is_empty(),
            "something is still placed: `auto-ext-smt restore` undoes it"
        );
        let mut placed = Self {
            ledger: Some(ledger),
            owner: AffinityOwner::new(owners, SERVICE),
            waits,
            open,
        };
        placed.place(group, cpus)?;
        Ok(placed)
    }

    fn place(&mut self, group: &Group, cpus: &Cpus) -> Result<()> {
        let root = Path::new(ROOT);
        let processes = group.pids.iter();
        for process in processes.filter_map(|pid| Process::read(root, *pid)) {
            if let Claim::Others(service) = self.owner.claim(process)? {
                bail!("{service} decides where process {} runs", process.pid);
            }
        }
        let ledger = self.ledger.as_mut().context("it was undone")?;
        let (key, pids) = (&group.key, &group.pids);
        pin(root, ledger, &mut System, key, pids, cpus, MAX_THREADS)?;
        Ok(())
    }

    /// Lets it run everywhere again.
    pub(super) fn undo(mut self) -> Result<()> {
        self.let_go()
    }

    fn let_go(&mut self) -> Result<()> {
        let Some(ledger) = self.ledger.take() else {
            return Ok(());
        };
        let undone = undo(ledger, &self.owner);
        // What could not be undone is tried once more.
        drop(self.open.take());
        let waited = self.waits.wait();
        undone?;
        waited.context("it may not have been undone").map(drop)
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        // What is wrong with it was said by what has failed before; the other process tries again.
        let _ = self.let_go();
    }
}

/// Waits until standard input is closed, and undoes what is placed then.
pub(super) fn when_closed(directory: &Path, out: &mut dyn Write) -> Result<()> {
    // Whoever ends the command is to end it alone.
    let ends = [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ];
    ends.into_iter().collect::<SigSet>().thread_block()?;
    writeln!(out, "{}", injector::READY)?;
    out.flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    for _ in 0..TRIES {
        match Ledger::existing(directory) {
            Ok(Some(ledger)) => {
                let owner = AffinityOwner::new(affinity_owner::DIRECTORY.as_ref(), SERVICE);
                return undo(ledger, &owner);
            }
            Ok(None) => return Ok(()),
            Err(LedgerError::InUse(_)) => thread::sleep(BETWEEN),
            Err(error) => return Err(error.into()),
        }
    }
    // Somebody else has it, who undoes it.
    Ok(())
}

fn undo(ledger: Ledger, owner: &AffinityOwner) -> Result<()> {
    let Restored { failed, .. } = restore(Path::new(ROOT), &ledger, &mut System);
    if let Some((tid, error)) = failed.first_key_value() {
        bail!(
            "thread {tid} stays where it was placed: {error}: `auto-ext-smt restore` tries again"
        );
    }
    owner.release_all()?;
    ledger.close()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use auto_ext_service::cpu_list;

    use super::*;
    use crate::affinity::Masks as _;
    use crate::groups::Key;

    fn cpus(pid: u32) -> Cpus {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let mut lines = status.lines();
        let list = lines.find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        cpu_list::parse(list.unwrap()).unwrap()
    }

    /// A process that sleeps, as a group, and where it may run.
    fn group() -> (Child, Group, Cpus) {
        let sleeper = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = sleeper.id();
        System.set(pid, None).unwrap();
        let group = Group {
            key: Key::ProcessGroup(pid),
            job: "sleep".to_owned(),
            pids: vec![pid],
            busy: 1.0,
            workers: 1,
            home: Some(0),
            eligible: Ok(()),
        };
        (sleeper, group, cpus(pid))
    }

    #[test]
    fn a_group_runs_everywhere_again_when_it_is_undone_given_up_or_claimed_by_somebody_else() {
        let (mut sleeper, group, all) = group();
        let pid = sleeper.id();
        let one: Cpus = all.iter().copied().take(1).collect();
        let made = tempfile::tempdir().unwrap();
        let (directory, owners) = (made.path().join("run"), made.path().join("owners"));
        // It says something and ends: nobody waits for the end but this process.
        let program = Path::new("/bin/echo");
        let begin = || Placed::begin([&directory, &owners], program, &group, &one);
        let left = || -> BTreeSet<_> {
            let both = [&directory, &owners].map(fs::read_dir);
            let files = both.into_iter().flatten().flatten();
            files.map(|file| file.unwrap().file_name()).collect()
        };
        let placed = begin().unwrap();
        assert_eq!(cpus(pid), one);
        assert_eq!(left().len(), 2);
        placed.undo().unwrap();
        assert_eq!((cpus(pid), left()), (all.clone(), [].into()));
        drop(begin().unwrap());
        assert_eq!((cpus(pid), left()), (all.clone(), [].into()));
        let silent = Placed::begin([&directory, &owners], "/bin/true".as_ref(), &group, &one);
        assert!(silent.is_err());
        assert_eq!((cpus(pid), left()), (all.clone(), [].into()));
        let vm = AffinityOwner::new(&owners, "auto-ext-vm");
        vm.claim(Process::read(Path::new(ROOT), pid).unwrap())
            .unwrap();
        let refused = begin().err().unwrap().to_string();
        assert!(refused.contains("auto-ext-vm decides"), "{refused}");
        assert_eq!((cpus(pid), left().len()), (all, 1));
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }
}
