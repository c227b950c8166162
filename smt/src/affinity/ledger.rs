//! What was changed, in a file that is there for as long as not all of it is undone: a line of JSON for each change, written
//! before it is made. It is in a directory that ends with the boot, as masks do.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc::O_NOFOLLOW;
use serde::{Deserialize, Serialize};

use crate::groups::Key;
use auto_ext_service::cpu_list::{self, Cpus, List, NoCpuList};

/// Where it is.
pub const DIRECTORY: &str = "/run/auto-ext-smt";
/// What it is called there.
const NAME: &str = "affinity.jsonl";
/// How large it may be, in bytes: some hundred thousand changes.
const MAX_SIZE: u64 = 64 << 20;

/// A change of where a thread may run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The group that is given CPUs.
    pub group: Key,
    /// The process.
    pub pid: u32,
    /// When that began, in ticks since the boot.
    pub pid_began: u64,
    /// The thread.
    pub tid: u32,
    /// When that began.
    pub tid_began: u64,
    /// Where it may run from now on.
    pub cpus: Cpus,
}

/// As it is written.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Line {
    group: Key,
    pid: u32,
    pid_began: u64,
    tid: u32,
    tid_began: u64,
    cpus: String,
}

/// The file, which nobody else has meanwhile.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: Flock<File>,
    changes: BTreeSet<Change>,
}

/// Why it cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Another auto-ext-smt changes where threads run, or undoes it.
    #[error("{}: another auto-ext-smt is at work", .0.display())]
    InUse(PathBuf),
    /// It is larger than anything that was written here.
    #[error("{}: larger than {MAX_SIZE} bytes", .0.display())]
    TooLarge(PathBuf),
    /// A line is none of ours.
    #[error("{}:{line}: {error}", path.display())]
    Garbled {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// A line names CPUs that are none.
    #[error("{}:{line}: {error}", path.display())]
    Cpus {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        error: NoCpuList,
    },
}

impl Ledger {
    /// The one in this directory, which is made if it is missing; with what was written before.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn open(directory: &Path) -> Result<Self, LedgerError> {
        let mut made = DirBuilder::new();
        made.recursive(true).mode(0o755);
        let made = made.create(directory);
        made.map_err(|error| failed(directory, error))?;
        Self::at(directory.join(NAME), true).map(|ledger| ledger.expect("it was created"))
    }

    /// The one in this directory; `None` where nothing is to be undone.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn existing(directory: &Path) -> Result<Option<Self>, LedgerError> {
        Self::at(directory.join(NAME), false)
    }

    fn at(path: PathBuf, create: bool) -> Result<Option<Self>, LedgerError> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(create).mode(0o600);
        let file = match options.custom_flags(O_NOFOLLOW).open(&path) {
            Ok(file) => file,
            Err(error) if !create && error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&path, error)),
        };
        let mut file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => file,
            Err((_, Errno::EWOULDBLOCK)) => return Err(LedgerError::InUse(path)),
            Err((_, error)) => return Err(failed(&path, error.into())),
        };
        let mut text = String::new();
        let read = (&*file).take(MAX_SIZE + 1).read_to_string(&mut text);
        read.map_err(|error| failed(&path, error))?;
        if text.len() as u64 > MAX_SIZE {
            return Err(LedgerError::TooLarge(path));
        }
        // A line that was not written to its end is of a change that was not made.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            truncate(&mut file, whole as u64).map_err(|error| failed(&path, error))?;
        }
        let changes = parse(&path, &text[..whole])?;
        Ok(Some(Self {
            path,
            file,
            changes,
        }))
    }

    /// All that was written.
    #[must_use]
    pub fn changes(&self) -> &BTreeSet<Change> {
        &self.changes
    }

    /// Writes down changes that are about to be made. Those that are there already are not written again.
    ///
    /// # Errors
    /// When that cannot be done; then none of them may be made.
    pub fn record(&mut self, changes: impl IntoIterator<Item = Change>) -> Result<(), LedgerError> {
        let changes = changes.into_iter();
        let new: Vec<Change> = changes
            .filter(|change| !self.changes.contains(change))
            .collect();
        let mut text = String::new();
        for change in &new {
            let line = Line {
                group: change.group.clone(),
                pid: change.pid,
                pid_began: change.pid_began,
                tid: change.tid,
                tid_began: change.tid_began,
                cpus: List(&change.cpus).to_string(),
            };
            text.push_str(&serde_json::to_string(&line).expect("it is numbers and texts"));
            text.push('\n');
        }
        let failed = |error| failed(&self.path, error);
        let before = self.file.metadata().map_err(failed)?.len();
        if before + text.len() as u64 > MAX_SIZE {
            return Err(LedgerError::TooLarge(self.path.clone()));
        }
        if let Err(error) = self.file.write_all(text.as_bytes()) {
            // Else the next line would follow the beginning of this one. Whoever reads it next leaves that out too.
            let _ = truncate(&mut self.file, before);
            return Err(failed(error));
        }
        self.changes.extend(new);
        Ok(())
    }

    /// All is undone: the file is removed.
    ///
    /// # Errors
    /// When it cannot be; then all is undone once more by whoever comes next, which changes nothing.
    pub fn close(self) -> Result<(), LedgerError> {
        fs::remove_file(&self.path).map_err(|error| failed(&self.path, error))
    }
}

fn failed(path: &Path, error: io::Error) -> LedgerError {
    LedgerError::File {
        path: path.to_owned(),
        error,
    }
}

fn truncate(file: &mut File, length: u64) -> io::Result<()> {
    file.set_len(length)?;
    file.seek(SeekFrom::End(0)).map(drop)
}

fn parse(path: &Path, text: &str) -> Result<BTreeSet<Change>, LedgerError> {
    let lines = (1..).zip(text.lines());
    let changes = lines.map(|(line, text)| {
        let read = serde_json::from_str(text).map_err(|error| LedgerError::Garbled {
            path: path.to_owned(),
            line,
            error,
        });
        let read: Line = read?;
        let cpus = cpu_list::parse(&read.cpus).map_err(|error| LedgerError::Cpus {
            path: path.to_owned(),
            line,
            error,
        });
        Ok(Change {
            group: read.group,
            pid: read.pid,
            pid_began: read.pid_began,
            tid: read.tid,
            tid_began: read.tid_began,
            cpus: cpus?,
        })
    });
    changes.collect()
}
