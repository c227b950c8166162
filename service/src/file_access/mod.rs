//! What keeps a process from a file, in words with the remedy: above all the service, which is root without the
//! capability to ignore permissions, sees no home directories, and writes only where its unit lets it. The daemon and
//! the commands that predict it say the same.
//!
//! What this process itself may do, the kernel is asked. For others it is found out here: `permissions` judges
//! owner, group and mode, `unit` knows what the unit hides, `obstacle` says what is in the way.

mod obstacle;
mod permissions;
mod steps;
#[cfg(test)]
mod tests;
mod unit;

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::unistd::{self, AccessFlags};

pub use obstacle::Obstacle;
use obstacle::hidden_in;
use permissions::{Identity, Right, SHIPPED_CAPABILITIES, closed};
pub use steps::{MAX_LINKS, steps};
use unit::{HOMES, SHIPPED_WRITABLE, TEMPORARY};

/// A process that wants to read, execute or write files.
#[derive(Clone, Debug)]
pub struct Reader {
    /// It is this process.
    ourselves: bool,
    identity: Identity,
    /// It does not see the home directories, as with `ProtectHome=yes`.
    pub homes_are_hidden: bool,
    /// It does not see the temporary files of others, as with `PrivateTmp=yes`.
    pub temporary_is_hidden: bool,
    /// The directories in which it may write; `None`: everywhere.
    pub writable: Option<Vec<PathBuf>>,
}

impl Reader {
    /// The service with the unit as it is shipped.
    #[must_use]
    pub fn service() -> Self {
        Self {
            ourselves: false,
            identity: Identity {
                user: 0,
                groups: vec![0],
                capabilities: SHIPPED_CAPABILITIES,
            },
            homes_are_hidden: true,
            temporary_is_hidden: true,
            writable: Some(Self::writable_with(SHIPPED_WRITABLE)),
        }
    }

    /// The same with these capabilities instead, one bit for each by its number in linux/capability.h.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: u64) -> Self {
        self.identity.capabilities = capabilities;
        self
    }

    /// Where the service may write when its unit has `paths` as `ReadWritePaths=`.
    pub fn writable_with<'p>(paths: impl IntoIterator<Item = &'p str>) -> Vec<PathBuf> {
        // `-` and `+` say what becomes of those that are not there; see systemd.exec(5).
        let paths = paths
            .into_iter()
            .map(|path| path.trim_start_matches(['-', '+', ':']));
        let others: Vec<&'p str> = unit::always_writable().collect();
        paths.chain(others).map(PathBuf::from).collect()
    }

    /// This process, as it was when this was first called.
    pub fn ourselves() -> &'static Self {
        static OURSELVES: OnceLock<Reader> = OnceLock::new();
        OURSELVES.get_or_init(|| {
            let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
            let capabilities = line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok());
            Self {
                ourselves: true,
                identity: Identity {
                    user: unistd::geteuid().as_raw(),
                    groups: Vec::new(),
                    capabilities: capabilities.unwrap_or_default(),
                },
                homes_are_hidden: false,
                temporary_is_hidden: false,
                writable: None,
            }
        })
    }

    /// Follows `path`, which is absolute, through all links, and calls `judge` with each file, directory and link on
    /// the way. Returns where it leads.
    ///
    /// # Errors
    /// What is in the way, or what `judge` says is.
    pub fn walk(
        &self,
        path: &Path,
        mut judge: impl FnMut(&Path, &Metadata) -> Result<(), Obstacle>,
    ) -> Result<PathBuf, Obstacle> {
        let mut here = PathBuf::from("/");
        let root = fs::symlink_metadata(&here).map_err(|error| self.failed(&error, &here, path))?;
        judge(&here, &root)?;
        let mut rest = steps(path);
        let mut links = 0;
        while let Some(step) = rest.pop() {
            if step == Path::new("..") {
                here.pop();
                continue;
            }
            let next = here.join(&step);
            self.require_seen(&next, path)?;
            let metadata =
                fs::symlink_metadata(&next).map_err(|error| self.failed(&error, &next, path))?;
            judge(&next, &metadata)?;
            if metadata.is_symlink() {
                links += 1;
                if links > MAX_LINKS {
                    let why = format!("there are more than {MAX_LINKS} links on the way");
                    return Err(Obstacle::Other(why));
                }
                let target =
                    fs::read_link(&next).map_err(|error| self.failed(&error, &next, path))?;
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                rest.extend(steps(&target));
                continue;
            }
            if !rest.is_empty() {
                if !metadata.is_dir() {
                    return Err(Obstacle::Missing(path.to_owned()));
                }
                let passes = self.require(Right::Pass, &next, &metadata);
                passes.map_err(|why| self.hidden_from_us(&next, path).unwrap_or(why))?;
            }
            here = next;
        }
        Ok(here)
    }

    /// Whether the file at `path` can be read.
    ///
    /// # Errors
    /// What is in the way.
    pub fn read(&self, path: &Path) -> Result<(), Obstacle> {
        self.reach(path, Right::Read).map(drop)
    }

    /// Whether the program at `path`, which is no link, can be executed.
    ///
    /// # Errors
    /// What is in the way.
    pub fn execute(&self, path: &Path, metadata: &Metadata) -> Result<(), Obstacle> {
        self.require(Right::Pass, path, metadata)
    }

    /// Whether files can be made beside `path`.
    ///
    /// # Errors
    /// What is in the way.
    pub fn write_beside(&self, path: &Path) -> Result<(), Obstacle> {
        let directory = path.parent().unwrap_or(path);
        let directory = match self.reach(directory, Right::Fill) {
            Err(Obstacle::Missing(_)) if unit::is_made(directory) => return Ok(()),
            reached => reached?,
        };
        let within = |writable: &PathBuf| directory.starts_with(writable);
        match &self.writable {
            Some(writable) if !writable.iter().any(within) => Err(Obstacle::ReadOnly(directory)),
            _ => Ok(()),
        }
    }

    fn reach(&self, path: &Path, right: Right) -> Result<PathBuf, Obstacle> {
        let path = std::path::absolute(path).map_err(|error| Obstacle::Other(error.to_string()))?;
        let real = self.walk(&path, |_, _| Ok(()))?;
        let metadata = fs::metadata(&real).map_err(|error| self.failed(&error, &real, &path))?;
        self.require(right, &real, &metadata)?;
        Ok(real)
    }

    /// Refuses what the unit hides from this reader.
    fn require_seen(&self, path: &Path, asked: &Path) -> Result<(), Obstacle> {
        let hidden = [
            (self.homes_are_hidden, &HOMES[..]),
            (self.temporary_is_hidden, &TEMPORARY[..]),
        ];
        for (is_hidden, places) in hidden {
            if is_hidden && let Some(hidden) = hidden_in(places, path, asked) {
                return Err(hidden);
            }
        }
        Ok(())
    }

    fn require(&self, right: Right, path: &Path, metadata: &Metadata) -> Result<(), Obstacle> {
        if self.ourselves {
            let flags = match right {
                Right::Read => AccessFlags::R_OK,
                Right::Pass => AccessFlags::X_OK,
                Right::Fill => AccessFlags::W_OK | AccessFlags::X_OK,
            };
            return match unistd::access(path, flags) {
                Ok(()) => Ok(()),
                Err(Errno::EROFS) => Err(Obstacle::ReadOnly(path.to_owned())),
                Err(_) => Err(closed(right, path, metadata)),
            };
        }
        if self.identity.has(right, metadata) {
            return Ok(());
        }
        Err(closed(right, path, metadata))
    }

    /// What most probably keeps this process, when it is the service, from what it cannot pass or find.
    fn hidden_from_us(&self, path: &Path, asked: &Path) -> Option<Obstacle> {
        if !self.ourselves || !self.identity.is_limited_root() {
            return None;
        }
        hidden_in(&HOMES, path, asked).or_else(|| hidden_in(&TEMPORARY, path, asked))
    }

    /// Why the kernel does not show what is at `path`.
    fn failed(&self, error: &io::Error, path: &Path, asked: &Path) -> Obstacle {
        let kind = error.kind();
        let hides = matches!(
            kind,
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
        );
        if hides && let Some(hidden) = self.hidden_from_us(path, asked) {
            return hidden;
        }
        match kind {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                Obstacle::Missing(path.to_owned())
            }
            io::ErrorKind::PermissionDenied => {
                let directory = path.parent().unwrap_or(path);
                match fs::metadata(directory) {
                    Ok(metadata) if self.identity.is_limited_root() && self.ourselves => {
                        closed(Right::Pass, directory, &metadata)
                    }
                    _ => Obstacle::Unseen(directory.to_owned()),
                }
            }
            _ => Obstacle::Other(format!("{}: {error}", path.display())),
        }
    }
}

/// Why this process cannot read the file at `path`, when it is root without CAP_DAC_OVERRIDE and there is more to say
/// than that there is no such file; `None` otherwise.
#[must_use]
pub fn why_the_service_cannot_read(path: &Path) -> Option<String> {
    let ourselves = Reader::ourselves();
    if !ourselves.identity.is_limited_root() {
        return None;
    }
    match ourselves.read(path) {
        Ok(()) | Err(Obstacle::Missing(_)) => None,
        Err(obstacle) => Some(obstacle.to_string()),
    }
}
