//! Finding the programs of schedulers.
//!
//! They are executed as root, so PATH is not asked: only /usr/local/sbin, /usr/local/bin, /usr/sbin and /usr/bin are
//! searched, and only a regular file is taken that nobody but root can change, itself or the way to it. Commands that
//! predict what the daemon will do ask for the service ([`find_for`]), not for whoever runs them.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub use auto_ext_policy::file_name;
use auto_ext_policy::{Policy, known};
use auto_ext_service::file_access::{Obstacle, Reader};
use nix::sys::statvfs::{FsFlags, statvfs};

/// Where programs are searched, in this order.
pub(super) const DIRECTORIES: [&str; 4] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];

/// How many schedulers that are not known are listed.
const MAX_UNKNOWN: usize = 100;

/// Why a program cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum ProgramError {
    /// It is in none of the directories, or not where it should be.
    #[error("`{0}` is not installed ({where})", where = searched(.0))]
    NotFound(String),
    /// It is there, but running it as root would be unsafe or impossible.
    #[error("{path}: {why}", path = .path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
}

fn searched(command: &str) -> String {
    if command.starts_with('/') {
        "there is no such file".to_owned()
    } else {
        format!("searched {}", DIRECTORIES.join(", "))
    }
}

/// The path of the program that `command` names, a file name or an absolute path, behind all links.
///
/// # Errors
/// When it is not installed, or this process must not or cannot run it as root.
pub fn find(command: &str) -> Result<PathBuf, ProgramError> {
    find_for(Reader::ourselves(), command)
}

/// What [`find`] says to `reader`, such as the service while its administrator asks.
///
/// # Errors
/// When it is not installed, or `reader` must not or cannot run it as root.
pub fn find_for(reader: &Reader, command: &str) -> Result<PathBuf, ProgramError> {
    find_in(reader, command, &DIRECTORIES.map(Path::new), 0)
}

/// The policy's names of the schedulers that its rules use and that can be run.
#[must_use]
pub fn installed(policy: &Policy) -> BTreeSet<String> {
    policy
        .used_schedulers()
        .filter(|scheduler| find(&scheduler.command).is_ok())
        .map(|scheduler| scheduler.name.clone())
        .collect()
}

/// The file names of what is installed where programs are searched, looks like a scheduler and is not known; 100 at
/// most.
#[must_use]
pub fn installed_unknown() -> BTreeSet<String> {
    unknown_in(&DIRECTORIES.map(Path::new), 0)
}

fn unknown_in(directories: &[&Path], owner: u32) -> BTreeSet<String> {
    let entries = directories
        .iter()
        .flat_map(|directory| fs::read_dir(directory).into_iter().flatten());
    let commands = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.starts_with(known::PREFIX).then_some(())?;
        known::unknown_command(&name)
    });
    commands
        .filter(|command| find_in(Reader::ourselves(), command, directories, owner).is_ok())
        .take(MAX_UNKNOWN)
        .collect()
}

/// Whether the program at `path`, which [`find`] found, is that of a known scheduler itself and no
/// script around it: such a one can be asked for its version without starting anything.
#[must_use]
pub fn is_known_scheduler(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let is_known = known::ALL.iter().any(|known| Some(known.command) == name);
    let mut begin = [0; ELF.len()];
    let mut read = || File::open(path)?.read_exact(&mut begin);
    is_known && read().is_ok() && begin == ELF
}

/// How a program begins that the kernel runs without an interpreter; see elf(5).
const ELF: [u8; 4] = *b"\x7fELF";

fn find_in(
    reader: &Reader,
    command: &str,
    directories: &[&Path],
    owner: u32,
) -> Result<PathBuf, ProgramError> {
    let candidates: Vec<PathBuf> = if command.starts_with('/') {
        vec![PathBuf::from(command)]
    } else {
        directories
            .iter()
            .map(|directory| directory.join(command))
            .collect()
    };
    let mut refused = None;
    for path in candidates {
        match fit(reader, &path, owner) {
            Ok(program) => return Ok(program),
            Err(Obstacle::Missing(_)) => {}
            Err(why) => {
                let why = why.to_string();
                refused = refused.or(Some(ProgramError::Refused { path, why }));
            }
        }
    }
    Err(refused.unwrap_or_else(|| ProgramError::NotFound(command.to_owned())))
}

/// The file behind all links, if it may be run as root; if not, why.
fn fit(reader: &Reader, written: &Path, owner: u32) -> Result<PathBuf, Obstacle> {
    // Who can replace a link or a directory on the way chooses the program as well.
    let judge = |path: &Path, metadata: &Metadata| only_root_changes(path, metadata, owner);
    let path = reader.walk(written, judge)?;
    let other = |why: &str| Err(Obstacle::Other(why.to_owned()));
    let Ok(metadata) = fs::metadata(&path) else {
        return other("cannot be read");
    };
    if !metadata.is_file() {
        return other("is not a regular file");
    }
    let shown = path.display();
    if metadata.permissions().mode() & 0o111 == 0 {
        return other(&format!("is not executable: chmod 755 {shown}"));
    }
    reader.execute(&path, &metadata)?;
    if statvfs(&path).is_ok_and(|file_system| file_system.flags().contains(FsFlags::ST_NOEXEC)) {
        return other(
            "is on a file system that is mounted noexec, so it cannot be executed: put it into \
             /usr/local/bin",
        );
    }
    Ok(path)
}

/// Whether nobody but root, and `owner`, can write there. The mode of a link means nothing.
fn only_root_changes(path: &Path, metadata: &Metadata, owner: u32) -> Result<(), Obstacle> {
    let changeable = |why| {
        let path = path.to_owned();
        Err(Obstacle::Changeable { path, why })
    };
    let shown = path.display();
    let so = "so that the program can be changed or replaced by others than root and is not run";
    if ![0, owner].contains(&metadata.uid()) {
        let user = metadata.uid();
        return changeable(format!(
            "belongs to user {user}, {so}: chown root {shown}, or put the program into /usr/bin"
        ));
    }
    let mode = metadata.mode();
    // In a sticky directory others cannot replace what is not theirs.
    if metadata.is_symlink() || (metadata.is_dir() && mode & 0o1000 != 0) {
        return Ok(());
    }
    let (who, change) = match (mode & 0o020 != 0, mode & 0o002 != 0) {
        (false, false) => return Ok(()),
        (true, false) => (format!("its group ({})", metadata.gid()), "g-w"),
        (false, true) => ("everybody".to_owned(), "o-w"),
        (true, true) => ("everybody".to_owned(), "go-w"),
    };
    changeable(format!(
        "can be written by {who}, {so}: chmod {change} {shown}, or put the program into /usr/bin"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory_with(name: &str, mode: u32) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        directory
    }

    fn find_here(directory: &tempfile::TempDir, command: &str) -> Result<PathBuf, ProgramError> {
        let owner = fs::metadata(directory.path()).unwrap().uid();
        find_in(Reader::ourselves(), command, &[directory.path()], owner)
    }

    #[test]
    fn an_executable_of_root_is_found() {
        let directory = directory_with("scx_a", 0o755);
        assert_eq!(
            find_here(&directory, "scx_a"),
            Ok(directory.path().join("scx_a"))
        );
    }

    #[test]
    fn a_program_that_others_can_write_is_refused() {
        let directory = directory_with("scx_a", 0o775);
        let error = find_here(&directory, "scx_a").unwrap_err().to_string();
        assert!(error.contains("changed or replaced by others"), "{error}");
    }

    #[test]
    fn a_program_in_a_directory_that_others_can_write_is_refused() {
        let directory = directory_with("scx_a", 0o755);
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = find_here(&directory, "scx_a").unwrap_err().to_string();
        assert!(error.contains("changed or replaced by others"), "{error}");
    }

    #[test]
    fn a_link_is_followed_but_not_one_that_others_can_replace() {
        let (program, links) = (directory_with("scx_a", 0o755), tempfile::tempdir().unwrap());
        let link = links.path().join("scx_b");
        std::os::unix::fs::symlink(program.path().join("scx_a"), &link).unwrap();
        assert_eq!(find_here(&links, "scx_b"), Ok(program.path().join("scx_a")));
        fs::set_permissions(links.path(), fs::Permissions::from_mode(0o775)).unwrap();
        let error = find_here(&links, "scx_b").unwrap_err().to_string();
        assert!(error.contains("changed or replaced by others"), "{error}");
    }

    #[test]
    fn a_file_that_cannot_be_run_does_not_hide_one_that_can() {
        let (bad, good) = (
            directory_with("scx_a", 0o644),
            directory_with("scx_a", 0o755),
        );
        let owner = fs::metadata(good.path()).unwrap().uid();
        let directories = [bad.path(), good.path()];
        let found = find_in(Reader::ourselves(), "scx_a", &directories, owner);
        assert_eq!(found, Ok(good.path().join("scx_a")));
    }

    #[test]
    fn of_what_is_installed_only_what_can_be_a_scheduler_and_is_not_known_is_listed() {
        let directory = directory_with("scx_cake", 0o755);
        for (name, mode) in [
            ("scx_bpfland", 0o755),
            ("scx_loader", 0o755),
            ("scx_layer.py", 0o755),
            ("scx_broken", 0o644),
            ("sh", 0o755),
        ] {
            let path = directory.path().join(name);
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let owner = fs::metadata(directory.path()).unwrap().uid();
        let found = unknown_in(&[directory.path(), directory.path()], owner);
        assert_eq!(found, BTreeSet::from(["scx_cake".to_owned()]));
    }

    #[test]
    fn what_cannot_be_executed_is_refused_and_what_is_not_there_is_not_found() {
        let directory = directory_with("scx_a", 0o644);
        let error = find_here(&directory, "scx_a").unwrap_err().to_string();
        assert!(error.contains("not executable"), "{error}");
        let missing = find_here(&directory, "scx_b");
        assert_eq!(missing, Err(ProgramError::NotFound("scx_b".to_owned())));
    }

    #[test]
    fn who_can_change_a_program_is_named_with_the_place_and_the_remedy() {
        let directory = directory_with("scx_a", 0o755);
        let shown = directory.path().display().to_string();
        for (mode, who, remedy) in [
            (0o2775, "its group", "chmod g-w"),
            (0o757, "everybody", "chmod o-w"),
            (0o777, "everybody", "chmod go-w"),
        ] {
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
            let error = find_here(&directory, "scx_a").unwrap_err().to_string();
            assert!(
                error.contains(&format!("{shown} can be written by {who}")),
                "{error}"
            );
            assert!(error.contains(&format!("{remedy} {shown}")), "{error}");
        }
    }

    #[test]
    fn every_link_on_the_way_counts() {
        let (program, middle, links) = (
            directory_with("scx_a", 0o755),
            tempfile::tempdir().unwrap(),
            tempfile::tempdir().unwrap(),
        );
        std::os::unix::fs::symlink(program.path().join("scx_a"), middle.path().join("a")).unwrap();
        std::os::unix::fs::symlink(middle.path().join("a"), links.path().join("scx_b")).unwrap();
        assert_eq!(find_here(&links, "scx_b"), Ok(program.path().join("scx_a")));
        // Neither where the first link is nor where the program is.
        fs::set_permissions(middle.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = find_here(&links, "scx_b").unwrap_err().to_string();
        assert!(error.contains("changed or replaced by others"), "{error}");
    }

    #[test]
    fn an_absolute_path_is_not_said_to_be_searched_for() {
        let error = find("/opt/not there/scx_a").unwrap_err().to_string();
        assert_eq!(
            error,
            "`/opt/not there/scx_a` is not installed (there is no such file)"
        );
        let error = find("scx_not_there").unwrap_err().to_string();
        assert!(error.contains("searched /usr/local/sbin"), "{error}");
    }

    #[test]
    fn a_program_in_a_home_directory_is_refused_for_the_service_whoever_asks() {
        let error = find_for(&Reader::service(), "/root/.cargo/bin/scx_cosmos");
        let error = error.unwrap_err().to_string();
        assert!(error.contains("ProtectHome=yes"), "{error}");
        assert!(error.contains("/usr/local/bin"), "{error}");
    }

    #[test]
    fn only_the_program_of_a_known_scheduler_itself_is_asked_for_its_version() {
        let directory = directory_with("scx_cosmos", 0o755);
        let path = directory.path().join("scx_cosmos");
        assert!(!is_known_scheduler(&path), "an empty file");
        fs::write(&path, "#!/bin/sh\nexec /usr/bin/scx_cosmos\n").unwrap();
        assert!(!is_known_scheduler(&path), "a script");
        fs::write(&path, b"\x7fELF\x02\x01\x01").unwrap();
        assert!(is_known_scheduler(&path));
        for other in ["cosmos", "scx_cosmos-git", "scx_mine", "bash"] {
            let other = directory.path().join(other);
            fs::copy(&path, &other).unwrap();
            assert!(!is_known_scheduler(&other), "{}", other.display());
        }
        assert!(!is_known_scheduler(&directory.path().join("scx_lavd")));
    }
}
