//! The process of an injector: has one CPU, no privileges, and ends with whoever started it, or after half a minute.

use std::io::{self, Write};
use std::path::Path;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::{set_no_new_privs, set_pdeathsig};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Pid, Uid, alarm, geteuid, getppid, setgroups, setresgid, setresuid};

use super::kinds::{Injector, NoInjector};
use super::sizes::Sizes;

/// It ends after so long, in seconds, whatever becomes of everybody else.
pub const LONGEST: u32 = 30;
/// What it says once it loads its resource.
pub const READY: &str = "ready";
/// Who has no privileges: the user and the group that the kernel has for those that it cannot name
/// (fs.overflowuid in Documentation/admin-guide/sysctl/fs.rst).
const NOBODY: u32 = 65_534;

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
pub enum NotRun {
    /// There is no such injector here.
    #[error(transparent)]
    NoInjector(#[from] NoInjector),
    /// It may not run on this CPU.
    #[error("it cannot run on CPU {cpu}: {error}")]
    Cpu {
        /// Which.
        cpu: u32,
        /// What the kernel says.
        error: Errno,
    },
    /// It keeps what it has to give up.
    #[error("privileges cannot be given up: {0}")]
    Privileges(Errno),
    /// Whoever started it has ended.
    #[error("nobody waits for it any more")]
    Orphan,
    /// Nobody can be told that it is ready.
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

/// Loads a resource of the core of a CPU until it is killed. Returns only with an error.
///
/// # Errors
/// When it cannot.
pub fn run(injector: Injector, cpu: u32, root: &Path, out: &mut dyn Write) -> Result<(), NotRun> {
    let parent = getppid();
    alarm::set(LONGEST);
    let mut load = injector.load(&Sizes::read(root, cpu))?;
    confine(cpu, parent)?;
    load();
    writeln!(out, "{READY}")?;
    out.flush()?;
    loop {
        load();
    }
}

/// The kernel forgets what happens at the parent's end where the user changes, so that comes last.
fn confine(cpu: u32, parent: Pid) -> Result<(), NotRun> {
    let failed = |error| NotRun::Cpu { cpu, error };
    let mut only = CpuSet::new();
    only.set(cpu as usize).map_err(failed)?;
    sched_setaffinity(Pid::from_raw(0), &only).map_err(failed)?;
    drop_privileges().map_err(NotRun::Privileges)?;
    set_pdeathsig(Signal::SIGKILL).map_err(NotRun::Privileges)?;
    // It may have ended before that was said.
    if getppid() != parent {
        return Err(NotRun::Orphan);
    }
    Ok(())
}

fn drop_privileges() -> nix::Result<()> {
    set_no_new_privs()?;
    if !geteuid().is_root() {
        return Ok(());
    }
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setgroups(&[])?;
    setresgid(group, group, group)?;
    // With the last of the users root goes what root may.
    setresuid(user, user, user)
}
