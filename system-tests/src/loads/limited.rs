//! Programs that a cgroup holds back: what waits there waits for its limit, not for the machine.
//!
//! Held back by `cpu.max` the hogs use 0.2 CPUs; the other two hardly any.
//!
//! A program that is killed cannot remove its cgroup. [`remove`] does.

use std::fs;
use std::hint::black_box;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::stat::{major, minor};

use super::NotPossible;
use super::files::{self, Direct};
use super::work::start;

/// Where cgroup v2 is if it has all controllers; beside version 1 it is elsewhere and has none.
const ROOT: &str = "/sys/fs/cgroup";
/// The cgroup that holds the one with the limit: as this one needs the controller, systemd does not take it from
/// the root's.
const OUTER: &str = "/sys/fs/cgroup/auto-ext-load";
const LIMITED: &str = "/sys/fs/cgroup/auto-ext-load/limited";
/// How often the kernel is asked to remove a cgroup whose processes have been killed, and the time in between.
const ATTEMPTS: u32 = 100;
const AGAIN: Duration = Duration::from_millis(20);

/// Makes ready what [`hogs`] needs: a fifth of a CPU.
pub(super) fn prepare_cpu() -> anyhow::Result<()> {
    limit("cpu", "cpu.max", "20000 100000")
}

/// Makes ready what [`memory`] needs: 64 MB.
pub(super) fn prepare_memory() -> anyhow::Result<()> {
    limit("memory", "memory.high", "64M")
}

/// Makes ready what [`reader`] needs: 2 MB/s.
pub(super) fn prepare_io() -> anyhow::Result<()> {
    files::prepare()?;
    let disk = disk(&files::directory_on_disk())?;
    limit("io", "io.max", &format!("{disk} rbps=2097152"))
}

/// Two hogs per CPU that share a fifth of one.
pub(super) fn hogs() -> anyhow::Result<()> {
    enter()?;
    super::computing::two_hogs_per_cpu()
}

/// A thread that wants 128 MB and is slowed down at 64.
pub(super) fn memory() -> anyhow::Result<()> {
    enter()?;
    start("touch", || {
        loop {
            // Fresh each time: pages that are there already are not charged again.
            black_box(vec![1_u8; 128 << 20]);
        }
    })
}

/// A reader that gets 2 MB/s of a disk that could do more.
pub(super) fn reader() -> anyhow::Result<()> {
    enter()?;
    let mut file = Direct::open()?;
    start("read", move || {
        loop {
            file.read_next(256 << 10)?;
        }
    })
}

/// Removes the cgroup of a load that was killed, if there is one. Its controllers stay enabled in the root.
pub(super) fn remove() -> anyhow::Result<()> {
    for group in [LIMITED, OUTER] {
        let mut attempts = 0;
        while let Err(error) = fs::remove_dir(group) {
            if error.kind() == ErrorKind::NotFound {
                break;
            }
            // What was killed is still ending.
            attempts += 1;
            if attempts == ATTEMPTS {
                return Err(error).with_context(|| group.to_owned());
            }
            sleep(AGAIN);
        }
    }
    Ok(())
}

/// Makes a cgroup with that limit.
fn limit(controller: &str, file: &str, value: &str) -> anyhow::Result<()> {
    let root = Path::new(ROOT);
    let Ok(controllers) = fs::read_to_string(root.join("cgroup.controllers")) else {
        return Err(NotPossible::because(format!(
            "cgroup v2 is not at {ROOT} (or version 1 is there)"
        )));
    };
    if !controllers.split_whitespace().any(|has| has == controller) {
        return Err(NotPossible::because(format!(
            "cgroup v2 has no {controller} controller here"
        )));
    }
    remove()?;
    let enable = format!("+{controller}");
    possible(&root.join("cgroup.subtree_control"), &enable)?;
    for group in [OUTER, LIMITED] {
        fs::create_dir(group).map_err(|error| {
            NotPossible::because(format!("{group} cannot be made (it wants root): {error}"))
        })?;
        if group == OUTER {
            possible(&Path::new(group).join("cgroup.subtree_control"), &enable)?;
        }
    }
    possible(&Path::new(LIMITED).join(file), value)
}

/// Writes what only some machines let us write.
fn possible(path: &Path, value: &str) -> anyhow::Result<()> {
    fs::write(path, value).map_err(|error| {
        NotPossible::because(format!(
            "`{value}` to {} (it wants root): {error}",
            path.display()
        ))
    })
}

/// Moves this process, which has one thread yet, into the cgroup.
fn enter() -> anyhow::Result<()> {
    let processes = PathBuf::from(LIMITED).join("cgroup.procs");
    fs::write(&processes, "0").with_context(|| processes.display().to_string())
}

/// The numbers of the disk on which a directory is: the whole one, as limits are not for partitions.
fn disk(directory: &Path) -> anyhow::Result<String> {
    let device = fs::metadata(directory)
        .with_context(|| directory.display().to_string())?
        .dev();
    let numbers = format!("{}:{}", major(device), minor(device));
    let Ok(path) = fs::canonicalize(format!("/sys/dev/block/{numbers}")) else {
        return Err(NotPossible::because(format!(
            "{} is on no block device",
            directory.display()
        )));
    };
    let is_partition = path.join("partition").exists();
    let whole = path.parent().filter(|_| is_partition).unwrap_or(&path);
    let numbers = fs::read_to_string(whole.join("dev"))?;
    Ok(numbers.trim().to_owned())
}
