//! The cgroup that systemd delegates to the service: whether there is one, what it gives to the cgroups below it,
//! and making it ready for schedulers.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::scheduler_cgroup::{Cgroup, Left};

/// Where the daemon itself goes: a cgroup with controllers for its children has no processes.
const DAEMON: &str = "daemon";
/// What the daemon may take: at its start, while it reads the kernel's types, it is 70 MB. Callers on the bus
/// can have it hold large messages.
const DAEMON_MEMORY: u64 = 512 << 20;
/// Which controllers the children of a cgroup have.
const GIVEN: &str = "cgroup.subtree_control";
/// What the names of the schedulers' cgroups begin with.
pub(super) const SCHEDULER: &str = "scheduler-";

/// The controllers that limits need, what they limit, and how one may be missing.
const CONTROLLERS: [(&str, &str, &str); 2] = [
    (
        "memory",
        "memory",
        "cgroup_disable=memory on the kernel's command line, or Delegate= in the unit without memory",
    ),
    (
        "pids",
        "number of tasks",
        "cgroup_disable=pids on the kernel's command line, or Delegate= in the unit without pids",
    ),
];

/// Why schedulers have no cgroups of their own.
#[derive(Debug, thiserror::Error)]
pub(super) enum CgroupError {
    #[error("the service's cgroup is not delegated to it (Delegate=yes in its unit)")]
    NotDelegated,
    #[error("{path}: {error}", path = .path.display())]
    File { path: PathBuf, error: io::Error },
}

/// The cgroup of the service that `own`, the contents of /proc/self/cgroup, is about.
pub(super) fn delegated(root: &Path, own: &str) -> Result<PathBuf, CgroupError> {
    let path = own
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .ok_or(CgroupError::NotDelegated)?;
    let path = root.join(path.strip_suffix(&format!("/{DAEMON}")).unwrap_or(path));
    // systemd marks what it delegates.
    let marked = ["user.delegate", "trusted.delegate"]
        .iter()
        .any(|name| has_attribute(&path, name));
    let is_service = path
        .extension()
        .is_some_and(|extension| extension == "service");
    if marked && is_service {
        Ok(path)
    } else {
        Err(CgroupError::NotDelegated)
    }
}

fn has_attribute(path: &Path, name: &str) -> bool {
    let mut value = [0; 1];
    rustix::fs::getxattr(path, name, &mut value).is_ok()
}

/// Moves the daemon aside, clears what a daemon before left, and has limits for what comes.
pub(super) fn prepare(service: &Path, left: &Left) -> Result<(), CgroupError> {
    let daemon = service.join(DAEMON);
    if !daemon.exists() {
        fs::create_dir(&daemon).map_err(in_file(&daemon))?;
    }
    write(&daemon.join("cgroup.procs"), "0")?;
    for entry in fs::read_dir(service).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(SCHEDULER) {
            drop(Cgroup::at(entry.path(), left));
        }
    }
    for (controller, ..) in CONTROLLERS {
        // All in one write would be refused if one of them is missing.
        if let Err(error) = write(&service.join(GIVEN), &format!("+{controller}")) {
            tracing::debug!("no limits by {controller}: {error}");
        }
    }
    let memory = daemon.join("memory.max");
    if memory.exists() {
        write(&memory, &DAEMON_MEMORY.to_string())?;
    }
    Ok(())
}

/// Which limits the schedulers of `auto-ext.service` are without, and why, a sentence each; before the service was
/// started, which they would be without. `root` is / but in tests.
#[must_use]
pub fn missing_limits(root: &Path) -> Vec<String> {
    let cgroups = root.join("sys/fs/cgroup");
    let service = cgroups.join("system.slice/auto-ext.service");
    let there = cgroups.join("cgroup.controllers");
    if !there.exists() {
        return vec!["schedulers have no limits: there are no cgroups of version 2".to_owned()];
    }
    if service.join(DAEMON).exists() {
        missing_controllers(&service).collect()
    } else if service.exists() {
        let error = CgroupError::NotDelegated;
        vec![format!("schedulers have no limits: {error}")]
    } else {
        missing_controllers_in(&there).collect()
    }
}

/// Which limits the schedulers of this service are without, a sentence each.
pub(super) fn missing_controllers(service: &Path) -> impl Iterator<Item = String> {
    missing_controllers_in(&service.join(GIVEN))
}

/// The same, by the file that lists the controllers that they have.
fn missing_controllers_in(list: &Path) -> impl Iterator<Item = String> + use<> {
    let there = fs::read_to_string(list).unwrap_or_default();
    let missing = move |controller: &str| !there.split_whitespace().any(|one| one == controller);
    CONTROLLERS
        .into_iter()
        .filter(move |(controller, ..)| missing(controller))
        .map(|(controller, what, why)| {
            format!(
                "schedulers have no limit for their {what}: the cgroup controller {controller} is missing ({why})"
            )
        })
}

pub(super) fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    fs::write(path, value).map_err(in_file(path))
}

pub(super) fn in_file(path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    let path = path.to_owned();
    move |error| CgroupError::File { path, error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::cgroup::Cgroups;

    #[test]
    fn only_a_delegated_service_is_taken_over() {
        for own in [
            "",
            "1:name=systemd:/\n",
            "0::/\n",
            "0::/user.slice/user-0.slice/session-1.scope\n",
            "0::/system.slice/auto-ext.service\n",
        ] {
            assert!(delegated(Path::new("/nonexistent"), own).is_err(), "{own}");
        }
    }

    #[test]
    fn the_limits_that_are_missing_are_named_with_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let cgroups = root.join("sys/fs/cgroup");
        let service = cgroups.join("system.slice/auto-ext.service");
        fs::create_dir_all(service.join(DAEMON)).unwrap();
        fs::write(cgroups.join("cgroup.controllers"), "cpu memory").unwrap();
        let list = service.join(GIVEN);
        for (given, missing) in [
            ("memory pids\n", &[][..]),
            ("pids\n", &["memory"]),
            ("cpu memory\n", &["number of tasks"]),
            ("", &["memory", "number of tasks"]),
        ] {
            fs::write(&list, given).unwrap();
            let said = missing_limits(root);
            assert_eq!(said.len(), missing.len(), "{said:?}");
            for (said, missing) in said.iter().zip(missing) {
                assert!(said.contains(&format!("their {missing}:")), "{said}");
            }
        }
        fs::remove_dir(service.join(DAEMON)).unwrap();
        let said = missing_limits(root);
        assert!(
            said[0].contains("Delegate=yes") && said.len() == 1,
            "{said:?}"
        );
        // Before its start, it is the kernel that has it or not.
        fs::remove_dir_all(&service).unwrap();
        let said = missing_limits(root);
        assert!(
            said[0].contains("number of tasks") && said.len() == 1,
            "{said:?}"
        );
        fs::remove_dir_all(&cgroups).unwrap();
        let said = missing_limits(root);
        assert!(said[0].contains("version 2") && said.len() == 1, "{said:?}");
    }

    #[test]
    fn a_service_is_prepared_though_controllers_are_missing() {
        let directory = tempfile::tempdir().unwrap();
        let service = directory.path();
        // Nothing can be written there, as to a controller that the kernel does not have.
        fs::create_dir(service.join(GIVEN)).unwrap();
        prepare(service, &Left::default()).unwrap();
        assert!(!service.join(DAEMON).join("memory.max").exists());
        let cgroups = Cgroups::of(Some(service.to_owned()));
        assert!(cgroups.create().is_some());
    }
}
