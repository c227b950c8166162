//! Finding the programs of schedulers.
//!
//! They are executed as root, so PATH is not asked: only the directories below are searched, and
//! only a regular file is taken that nobody but root can change, itself or the way to it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::known;
use crate::policy::Policy;

/// Where programs are searched, in this order.
pub const DIRECTORIES: [&str; 4] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];

/// How many schedulers that nobody knows are told of.
const MAX_UNKNOWN: usize = 100;

/// Why a program cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum ProgramError {
    /// It is in none of the directories.
    #[error("`{0}` is not installed (searched {dirs})", dirs = DIRECTORIES.join(", "))]
    NotFound(String),
    /// It is there, but running it as root would be unsafe or impossible.
    #[error("{path}: {why}", path = .path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// The name of the program's file, by which the kernel's word and the history know a scheduler.
pub(crate) fn file_name(command: &str) -> &str {
    command.rsplit('/').next().unwrap_or_default()
}

/// The path of the program that `command` names, a file name or an absolute path, behind all links.
///
/// # Errors
/// When it is not installed, or must not be run as root.
pub fn find(command: &str) -> Result<PathBuf, ProgramError> {
    find_in(command, &DIRECTORIES.map(Path::new), 0)
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

/// The file names of the schedulers that are installed where
/// programs are searched and that nobody knows.
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
        .filter(|command| find_in(command, directories, owner).is_ok())
        .take(MAX_UNKNOWN)
        .collect()
}

fn find_in(command: &str, directories: &[&Path], owner: u32) -> Result<PathBuf, ProgramError> {
    let candidates: Vec<PathBuf> = if command.starts_with('/') {
        vec![PathBuf::from(command)]
    } else {
        directories
            .iter()
            .map(|directory| directory.join(command))
            .collect()
    };
    let mut refused = None;
    for path in candidates.into_iter().filter(|path| path.exists()) {
        match fit(&path, owner) {
            Ok(program) => return Ok(program),
            Err(why) => refused = refused.or(Some(ProgramError::Refused { path, why })),
        }
    }
    Err(refused.unwrap_or_else(|| ProgramError::NotFound(command.to_owned())))
}

/// The file behind all links, if it may be run as root; if not, why.
fn fit(written: &Path, owner: u32) -> Result<PathBuf, &'static str> {
    let path = written.canonicalize().map_err(|_| "cannot be read")?;
    let metadata = fs::metadata(&path).map_err(|_| "cannot be read")?;
    if !metadata.is_file() {
        return Err("is not a regular file");
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err("is not executable");
    }
    // Who can replace a link on the way chooses the program as well.
    for on_the_way in path.ancestors().chain(written.ancestors()) {
        let metadata = fs::metadata(on_the_way).map_err(|_| "is on a way that cannot be read")?;
        let mode = metadata.permissions().mode();
        // In a sticky directory others cannot replace what is not theirs.
        let others_write = mode & 0o022 != 0 && !(metadata.is_dir() && mode & 0o1000 != 0);
        if others_write || ![0, owner].contains(&metadata.uid()) {
            return Err("can be changed or replaced by others than root, so it is not run as root");
        }
    }
    Ok(path)
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
        find_in(command, &[directory.path()], owner)
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
        let found = find_in("scx_a", &[bad.path(), good.path()], owner);
        assert_eq!(found, Ok(good.path().join("scx_a")));
    }

    #[test]
    fn of_what_is_installed_only_what_can_be_a_scheduler_and_is_not_known_is_told() {
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
}
