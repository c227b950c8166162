//! Which service decides on which CPUs a process runs, so that no two of them do: a link for each process in a directory in
//! /run, made exclusively and called by the process's number and the time when it began. It leads to nothing but the
//! name of the service; a link is made with what it says, in one step, where a file would be empty at first.
//!
//! Who was killed finds what it had under its own name. What was said of processes that have ended is swept away. Where it cannot be told
//! whose a process is, it is somebody else's.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};

/// Where it is said.
pub const DIRECTORY: &str = "/run/auto-ext/affinity";
const DIRECTORY_MODE: u32 = 0o755;
/// How many processes of the directory are looked at when it is swept.
const MAX_SWEPT: usize = 65_536;

/// A process, whose number is another's after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it began, in ticks since the boot: field 22 of /proc/PID/stat.
    pub began: u64,
}

/// What came of claiming a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is ours from now on, or was already.
    Ours,
    /// This service has it.
    Others(String),
}

/// What one service claims.
#[derive(Clone, Debug)]
pub struct AffinityOwner {
    directory: PathBuf,
    service: &'static str,
}

impl Process {
    /// The process that has this number now, of the machine whose files are below `root`; `None` if none has.
    #[must_use]
    pub fn read(root: &Path, pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(root.join(format!("proc/{pid}/stat"))).ok()?;
        // The program's name is between parentheses, and may have some of its own.
        let (_, rest) = stat.rsplit_once(')')?;
        let began = rest.split_ascii_whitespace().nth(19)?.parse().ok()?;
        Some(Self { pid, began })
    }

    fn link(self) -> String {
        format!("{}-{}", self.pid, self.began)
    }

    fn of_link(name: &str) -> Option<Self> {
        let (pid, began) = name.split_once('-')?;
        let (pid, began) = (pid.parse().ok()?, began.parse().ok()?);
        Some(Self { pid, began })
    }
}

impl AffinityOwner {
    /// What `service` claims in `directory`, which is [`DIRECTORY`] but in tests.
    #[must_use]
    pub fn new(directory: &Path, service: &'static str) -> Self {
        Self {
            directory: directory.to_owned(),
            service,
        }
    }

    /// Claims a process; before its affinity is changed.
    ///
    /// # Errors
    /// When it cannot be said; then the process is not ours.
    pub fn claim(&self, process: Process) -> io::Result<Claim> {
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(&self.directory)?;
        let link = self.directory.join(process.link());
        match symlink(self.service, &link) {
            Ok(()) => Ok(Claim::Ours),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(self.read(&link)),
            Err(error) => Err(error),
        }
    }

    /// Gives a process up, after its affinity was put back. One that is not ours stays whose it is.
    ///
    /// # Errors
    /// When that cannot be said.
    pub fn release(&self, process: Process) -> io::Result<()> {
        let link = self.directory.join(process.link());
        if self.read(&link) != Claim::Ours {
            return Ok(());
        }
        match fs::remove_file(link) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Gives up all processes that are ours, after the affinity of each was put back: whoever was killed may have claimed some of
    /// which nobody else knows.
    ///
    /// # Errors
    /// When the directory cannot be read or changed. One that is missing says nothing.
    pub fn release_all(&self) -> io::Result<()> {
        for (process, _) in self.links()? {
            self.release(process)?;
        }
        Ok(())
    }

    /// Whose a process is, if it is anybody's.
    #[must_use]
    pub fn of(&self, process: Process) -> Option<Claim> {
        let link = self.directory.join(process.link());
        link.symlink_metadata().ok().map(|_| self.read(&link))
    }

    /// Forgets what was said of processes that have ended, whoever said it; those of the machine whose files are below `root`.
    ///
    /// # Errors
    /// When the directory cannot be read. One that is missing says nothing.
    pub fn sweep(&self, root: &Path) -> io::Result<()> {
        for (process, link) in self.links()? {
            if Process::read(root, process.pid) != Some(process) {
                // Another service may sweep at the same moment.
                let _ = fs::remove_file(link);
            }
        }
        Ok(())
    }

    /// How many processes that still run are ours, of the machine whose files are below `root`.
    ///
    /// # Errors
    /// When the directory cannot be read. One that is missing says nothing.
    pub fn count(&self, root: &Path) -> io::Result<usize> {
        let links = self.links()?.into_iter();
        let ours = links.filter(|(process, link)| {
            self.read(link) == Claim::Ours && Process::read(root, process.pid) == Some(*process)
        });
        Ok(ours.count())
    }

    /// The processes of which something is said, whoever said it, and where.
    fn links(&self) -> io::Result<Vec<(Process, PathBuf)>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut links = Vec::new();
        for entry in entries.take(MAX_SWEPT) {
            let entry = entry?;
            let name = entry.file_name();
            let process = name.to_str().and_then(Process::of_link);
            links.extend(process.map(|process| (process, entry.path())));
        }
        Ok(links)
    }

    fn read(&self, link: &Path) -> Claim {
        let service = fs::read_link(link).unwrap_or_default();
        let service = service.to_string_lossy();
        if service == self.service {
            Claim::Ours
        } else {
            Claim::Others(service.into_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "/";

    fn this() -> Process {
        Process::read(ROOT.as_ref(), std::process::id()).unwrap()
    }

    #[test]
    fn those_that_run_are_counted_and_neither_others_nor_those_that_have_ended() {
        let run = tempfile::tempdir().unwrap();
        let root = Path::new(ROOT);
        let smt = AffinityOwner::new(run.path(), "auto-ext-smt");
        let vm = AffinityOwner::new(run.path(), "auto-ext-vm");
        assert_eq!(smt.count(root).unwrap(), 0);
        smt.claim(this()).unwrap();
        let ended = Process {
            began: this().began + 1,
            ..this()
        };
        smt.claim(ended).unwrap();
        assert_eq!(smt.count(root).unwrap(), 1);
        assert_eq!(vm.count(root).unwrap(), 0);
        let missing = AffinityOwner::new(&run.path().join("missing"), "auto-ext-smt");
        assert_eq!(missing.count(root).unwrap(), 0);
    }

    #[test]
    fn a_process_is_one_services_until_that_gives_it_up() {
        let run = tempfile::tempdir().unwrap();
        let directory = run.path().join("affinity");
        let vm = AffinityOwner::new(&directory, "auto-ext-vm");
        let smt = AffinityOwner::new(&directory, "auto-ext-smt");
        assert_eq!(vm.of(this()), None);
        assert_eq!(vm.claim(this()).unwrap(), Claim::Ours);
        assert_eq!(vm.claim(this()).unwrap(), Claim::Ours);
        let others = Claim::Others("auto-ext-vm".to_owned());
        assert_eq!(smt.claim(this()).unwrap(), others);
        smt.release(this()).unwrap();
        smt.release_all().unwrap();
        assert_eq!(smt.of(this()), Some(others));
        vm.release(this()).unwrap();
        vm.release(this()).unwrap();
        assert_eq!(smt.claim(this()).unwrap(), Claim::Ours);
        smt.release_all().unwrap();
        assert_eq!(smt.of(this()), None);
        let missing = AffinityOwner::new(&run.path().join("missing"), "auto-ext-smt");
        missing.release_all().unwrap();
    }

    #[test]
    fn of_all_who_claim_a_process_at_once_one_has_it() {
        let run = tempfile::tempdir().unwrap();
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let claimed = std::thread::scope(|scope| {
            let claims = names.map(|name| {
                let owner = AffinityOwner::new(run.path(), name);
                scope.spawn(move || owner.claim(this()).unwrap() == Claim::Ours)
            });
            claims.map(|claim| claim.join().unwrap())
        });
        assert_eq!(claimed.iter().filter(|is_ours| **is_ours).count(), 1);
    }

    #[test]
    fn what_was_said_of_a_process_that_has_ended_is_forgotten_and_no_more() {
        let run = tempfile::tempdir().unwrap();
        let vm = AffinityOwner::new(run.path(), "auto-ext-vm");
        let ended = Process { began: 1, ..this() };
        for process in [this(), ended] {
            vm.claim(process).unwrap();
        }
        fs::write(run.path().join("precious"), "").unwrap();
        AffinityOwner::new(run.path(), "auto-ext-smt")
            .sweep(ROOT.as_ref())
            .unwrap();
        assert_eq!(vm.of(ended), None);
        assert_eq!(vm.of(this()), Some(Claim::Ours));
        assert!(run.path().join("precious").exists());
        let missing = AffinityOwner::new(&run.path().join("missing"), "auto-ext-vm");
        missing.sweep(ROOT.as_ref()).unwrap();
    }

    #[test]
    fn a_program_may_be_called_what_it_likes() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("proc/7");
        fs::create_dir_all(&directory).unwrap();
        let fields: Vec<String> = (4..=52).map(|field| field.to_string()).collect();
        let stat = format!("7 (a) b (c)) S {}", fields.join(" "));
        fs::write(directory.join("stat"), stat).unwrap();
        let process = Process { pid: 7, began: 22 };
        assert_eq!(Process::read(root.path(), 7), Some(process));
        fs::write(directory.join("stat"), "7 (a").unwrap();
        assert_eq!(Process::read(root.path(), 7), None);
        assert_eq!(Process::read(root.path(), 8), None);
    }
}
