//! What keeps somebody from a file, in words: above all the service, which is root without the right
//! to pass over permissions, sees no home directories, and writes only where its unit lets it. The
//! daemon and the commands that foretell it say the same.
//!
//! Others' rights are judged by owner, group and mode; access control lists are not looked at. What
//! this process itself may do, the kernel is asked.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::unistd::{self, AccessFlags};

/// Links that are followed; as many as the kernel does (MAXSYMLINKS).
const MAX_LINKS: usize = 40;

/// What `ProtectHome=yes` hides; see systemd.exec(5).
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
/// What `PrivateTmp=yes` replaces.
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

/// What the unit makes for the service.
const OWN: [&str; 3] = ["/var/lib/auto-ext", "/run/auto-ext", "/run/scx"];

/// Capabilities by their numbers in capability.h; see capabilities(7).
const DAC_OVERRIDE: u64 = 1 << 1;
const DAC_READ_SEARCH: u64 = 1 << 2;
const SYS_PTRACE: u64 = 1 << 19;
const SYS_NICE: u64 = 1 << 23;
const SYSLOG: u64 = 1 << 34;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

/// Who wants to reach something.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    /// It is this process.
    ourselves: bool,
    user: u32,
    groups: Vec<u32>,
    capabilities: u64,
    pub(crate) homes_are_hidden: bool,
    pub(crate) temporary_is_hidden: bool,
    /// The directories in which it may write; `None`: everywhere.
    pub(crate) writable: Option<Vec<PathBuf>>,
}

/// What may be done to a file or directory: the bits of a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    Read = 4,
    /// To go through a directory, or to execute a program.
    Pass = 1,
    /// To make files in a directory.
    Fill = 3,
}

/// What is in the way, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// There is nothing.
    Missing(PathBuf),
    /// The service's unit hides it.
    Hidden {
        path: PathBuf,
        place: &'static str,
        asked: PathBuf,
    },
    /// Its permissions.
    Closed {
        path: PathBuf,
        user: u32,
        group: u32,
        mode: u32,
        right: &'static str,
        remedy: String,
    },
    /// The unit keeps the service from writing there.
    ReadOnly(PathBuf),
    /// Whoever runs this command cannot look.
    Unseen(PathBuf),
    /// Others than root can change it.
    Changeable { path: PathBuf, why: String },
    /// Anything else.
    Other(String),
}

impl Reader {
    /// The service as its unit is shipped.
    pub(crate) fn service() -> Self {
        let capabilities = BPF | PERFMON | SYS_PTRACE | SYS_NICE | SYSLOG;
        Self {
            ourselves: false,
            user: 0,
            groups: vec![0],
            capabilities,
            homes_are_hidden: true,
            temporary_is_hidden: true,
            writable: Some(Self::writable_with([
                "/var/lib/prometheus/node-exporter",
                "/var/lib/node_exporter/textfile_collector",
            ])),
        }
    }

    /// The service with the capabilities that its unit really gives.
    pub(crate) fn with_capabilities(mut self, capabilities: u64) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Where the service may write when its unit names `paths` besides its own directories.
    pub(crate) fn writable_with<'p>(paths: impl IntoIterator<Item = &'p str>) -> Vec<PathBuf> {
        let paths = paths.into_iter();
        // `-` and `+` say what becomes of those that are not there; see systemd.exec(5).
        let paths = paths.map(|path| path.trim_start_matches(['-', '+', ':']));
        let others = ["/dev/shm"].into_iter().chain(OWN);
        paths.chain(others).map(PathBuf::from).collect()
    }

    /// This process.
    pub(crate) fn ourselves() -> &'static Self {
        static OURSELVES: OnceLock<Reader> = OnceLock::new();
        OURSELVES.get_or_init(|| {
            let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
            let capabilities = line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok());
            Self {
                ourselves: true,
                user: unistd::geteuid().as_raw(),
                groups: Vec::new(),
                capabilities: capabilities.unwrap_or_default(),
                homes_are_hidden: false,
                temporary_is_hidden: false,
                writable: None,
            }
        })
    }

    /// Whether this is the service, or somebody as limited: root without the rights of root.
    fn is_limited_root(&self) -> bool {
        self.user == 0 && self.capabilities & DAC_OVERRIDE == 0
    }

    /// Goes the way to `path`, which is absolute, through all links, and has `judge` look at all that
    /// is on it. Returns where it leads.
    pub(crate) fn walk(
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
    pub(crate) fn read(&self, path: &Path) -> Result<(), Obstacle> {
        self.reach(path, Right::Read).map(drop)
    }

    /// Whether the program at `path`, which is no link, can be executed.
    ///
    /// # Errors
    /// What is in the way.
    pub(crate) fn execute(&self, path: &Path, metadata: &Metadata) -> Result<(), Obstacle> {
        self.require(Right::Pass, path, metadata)
    }

    /// Whether files can be made beside `path`.
    ///
    /// # Errors
    /// What is in the way.
    pub(crate) fn write_beside(&self, path: &Path) -> Result<(), Obstacle> {
        let directory = path.parent().unwrap_or(path);
        let directory = match self.reach(directory, Right::Fill) {
            // It is made with the start of the service.
            Err(Obstacle::Missing(_)) if OWN.iter().any(|own| directory.starts_with(own)) => {
                return Ok(());
            }
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

    /// Refuses what the unit hides from the service.
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
        let passes_over = match right {
            Right::Read => DAC_OVERRIDE | DAC_READ_SEARCH,
            Right::Pass if metadata.is_dir() => DAC_OVERRIDE | DAC_READ_SEARCH,
            // A program must be one for somebody.
            Right::Pass if metadata.mode() & 0o111 == 0 => 0,
            Right::Pass | Right::Fill => DAC_OVERRIDE,
        };
        let bits = if metadata.uid() == self.user {
            metadata.mode() >> 6
        } else if self.groups.contains(&metadata.gid()) {
            metadata.mode() >> 3
        } else {
            metadata.mode()
        };
        let wanted = right as u32;
        if bits & wanted == wanted || self.capabilities & passes_over != 0 {
            return Ok(());
        }
        Err(closed(right, path, metadata))
    }

    /// What most probably keeps this process, when it is the service, from what it cannot pass or find.
    fn hidden_from_us(&self, path: &Path, asked: &Path) -> Option<Obstacle> {
        if !self.ourselves || !self.is_limited_root() {
            return None;
        }
        hidden_in(&HOMES, path, asked).or_else(|| hidden_in(&TEMPORARY, path, asked))
    }

    /// Why something at `path` could not be looked at.
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
                    Ok(metadata) if self.is_limited_root() && self.ourselves => {
                        closed(Right::Pass, directory, &metadata)
                    }
                    _ => Obstacle::Unseen(directory.to_owned()),
                }
            }
            _ => Obstacle::Other(format!("{}: {error}", path.display())),
        }
    }
}

/// Why this process cannot read the file at `path`, where it is the service, or as limited, and more
/// is to be said than that there is no such file.
pub(crate) fn why_the_service_cannot_read(path: &Path) -> Option<String> {
    let ourselves = Reader::ourselves();
    if !ourselves.is_limited_root() {
        return None;
    }
    match ourselves.read(path) {
        Ok(()) | Err(Obstacle::Missing(_)) => None,
        Err(obstacle) => Some(obstacle.to_string()),
    }
}

/// Which of `places` hides `path`, that is on the way to what was asked for.
fn hidden_in(places: &[&'static str], path: &Path, asked: &Path) -> Option<Obstacle> {
    let place = places.iter().find(|place| path.starts_with(place))?;
    Some(Obstacle::Hidden {
        path: path.to_owned(),
        place,
        asked: asked.to_owned(),
    })
}

fn closed(right: Right, path: &Path, metadata: &Metadata) -> Obstacle {
    let shown = path.display();
    let (right, remedy) = match right {
        Right::Read => ("read it", format!("chown root {shown}")),
        Right::Pass if metadata.is_dir() => ("look into it", format!("chmod o+x {shown}")),
        Right::Pass => ("execute it", format!("chmod 755 {shown}")),
        Right::Fill => (
            "write into it",
            format!("chgrp root {shown} && chmod g+w {shown}"),
        ),
    };
    Obstacle::Closed {
        path: path.to_owned(),
        user: metadata.uid(),
        group: metadata.gid(),
        mode: metadata.mode() & 0o7777,
        right,
        remedy,
    }
}

/// The steps of a path, the first at the end.
pub(crate) fn steps(path: &Path) -> Vec<PathBuf> {
    let steps = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut steps: Vec<PathBuf> = steps.collect();
    steps.reverse();
    steps
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => write!(f, "there is no {}", path.display()),
            Self::Hidden { path, place, asked } => {
                if !asked.starts_with(place) {
                    write!(f, "a link on the way leads to {}; ", path.display())?;
                }
                let (what, setting, remedy) = if HOMES.contains(place) {
                    (
                        "home directories",
                        "ProtectHome=yes",
                        "ProtectHome=read-only",
                    )
                } else {
                    ("others' temporary files", "PrivateTmp=yes", "PrivateTmp=no")
                };
                write!(
                    f,
                    "the service does not see {place}, as its unit hides {what} ({setting}): put \
                     it elsewhere, a program into /usr/local/bin, or write `{remedy}` into a \
                     drop-in (systemctl edit auto-ext)"
                )
            }
            Self::Closed {
                path,
                user,
                group,
                mode,
                right,
                remedy,
            } => write!(
                f,
                "{} belongs to user {user} and group {group} and has the mode {mode:04o}, so that \
                 the service, which is root without CAP_DAC_OVERRIDE, may not {right}: {remedy}",
                path.display()
            ),
            Self::ReadOnly(path) => {
                let path = path.display();
                write!(
                    f,
                    "the service may not write into {path} (ProtectSystem=strict): write \
                     `ReadWritePaths={path}` into a drop-in (systemctl edit auto-ext)"
                )
            }
            Self::Unseen(path) => write!(
                f,
                "only root can look into {}: ask again as root",
                path.display()
            ),
            Self::Changeable { path, why } => {
                let path = path.display();
                write!(f, "{path} {why}")
            }
            Self::Other(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// Somebody with the user's number but one, who is in no group and has no rights beyond that.
    fn stranger(file: &Path) -> Reader {
        let owner = fs::metadata(file).unwrap().uid();
        Reader {
            user: owner + 1,
            groups: Vec::new(),
            temporary_is_hidden: false,
            writable: None,
            ..Reader::service().with_capabilities(0)
        }
    }

    fn file_with(mode: u32) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (directory, path)
    }

    #[test]
    fn a_file_of_somebody_else_is_closed_to_root_without_the_rights_of_root() {
        let (_directory, path) = file_with(0o640);
        let reader = stranger(&path);
        let error = reader.read(&path).unwrap_err().to_string();
        let owner = fs::metadata(&path).unwrap().uid();
        assert!(
            error.contains(&format!("belongs to user {owner}")),
            "{error}"
        );
        assert!(
            error.contains("0640") && error.contains("CAP_DAC_OVERRIDE"),
            "{error}"
        );
        assert!(
            error.ends_with(&format!("chown root {}", path.display())),
            "{error}"
        );
        for capability in [DAC_OVERRIDE, DAC_READ_SEARCH] {
            assert_eq!(
                reader.clone().with_capabilities(capability).read(&path),
                Ok(())
            );
        }
        let mut owner_itself = reader.clone();
        owner_itself.user = owner;
        assert_eq!(owner_itself.read(&path), Ok(()));
    }

    #[test]
    fn a_directory_on_the_way_is_named() {
        let (directory, path) = file_with(0o644);
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o750)).unwrap();
        let error = stranger(&path).read(&path).unwrap_err().to_string();
        let directory = directory.path().display();
        assert!(
            error.starts_with(&format!("{directory} belongs to")),
            "{error}"
        );
        assert!(
            error.ends_with(&format!("chmod o+x {directory}")),
            "{error}"
        );
    }

    #[test]
    fn nothing_is_written_into_a_directory_of_somebody_else() {
        let (directory, path) = file_with(0o644);
        let reader = stranger(&path);
        let error = reader.write_beside(&path).unwrap_err().to_string();
        let directory = directory.path();
        assert!(error.contains("may not write into it"), "{error}");
        assert!(
            error.contains(&format!("chgrp root {}", directory.display())),
            "{error}"
        );
        fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(reader.write_beside(&path), Ok(()));
        let strict = Reader {
            writable: Some(vec![directory.join("other")]),
            ..reader
        };
        let error = strict.write_beside(&path).unwrap_err().to_string();
        assert!(error.contains("ReadWritePaths="), "{error}");
    }

    #[test]
    fn homes_are_not_seen_by_the_service_nor_what_a_link_finds_there() {
        let service = Reader::service();
        let paths = [
            "/home/me/policies.yaml",
            "/root/.cargo/bin/scx_a",
            "/run/user/1000/a",
            "/usr/../root/a",
        ];
        for path in paths {
            let error = service.read(Path::new(path)).unwrap_err().to_string();
            assert!(error.contains("ProtectHome=yes"), "{path}: {error}");
        }
        let error = service.read(Path::new("/tmp/a")).unwrap_err().to_string();
        assert!(error.contains("PrivateTmp=yes"), "{error}");

        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let link = directory.path().join("policies.yaml");
        symlink("/root/policies.yaml", &link).unwrap();
        let error = stranger(directory.path())
            .read(&link)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("a link on the way leads to /root"),
            "{error}"
        );

        let open = Reader {
            homes_are_hidden: false,
            ..Reader::service()
        };
        let missing = open.read(Path::new("/home/nobody at all/a"));
        assert!(!missing.unwrap_err().to_string().contains("ProtectHome"));
    }

    #[test]
    fn a_circle_of_links_has_an_end() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("a");
        symlink("a", &link).unwrap();
        let error = Reader::ourselves().read(&link).unwrap_err().to_string();
        assert!(error.contains("more than 40 links"), "{error}");
    }

    #[test]
    fn what_this_process_may_do_the_kernel_is_asked() {
        let (_directory, path) = file_with(0o600);
        assert_eq!(Reader::ourselves().read(&path), Ok(()));
        assert_eq!(Reader::ourselves().write_beside(&path), Ok(()));
        let missing = path.with_file_name("missing");
        assert_eq!(
            Reader::ourselves().read(&missing),
            Err(Obstacle::Missing(missing))
        );
    }
}
