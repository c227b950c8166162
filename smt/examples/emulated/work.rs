//! Work of which it is known how many instructions it has, children that do it, and CPUs that do nothing.

use std::fs;

use anyhow::{Context as _, bail, ensure};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

/// How many the machine has.
pub(crate) const CPUS: u32 = 4;

/// Runs so many instructions, of which there must be an even number, and a handful besides.
pub(crate) fn run(instructions: u64) {
    let rounds = instructions / 2;
    assert!(rounds > 0, "a loop runs through once at least");
    // SAFETY: it changes one register, and the flags.
    unsafe {
        #[cfg(target_arch = "aarch64")]
        std::arch::asm!("2:", "subs {0}, {0}, #1", "b.ne 2b", inout(reg) rounds => _, options(nomem, nostack));
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!("2:", "dec {0}", "jnz 2b", inout(reg) rounds => _, options(nomem, nostack));
    }
}

/// Starts a child that does this; its status is 0 if it succeeds.
pub(crate) fn start(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Pid> {
    // SAFETY: there is no other thread that could hold a lock meanwhile.
    match unsafe { fork() }.context("fork")? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let result = work();
            if let Err(error) = &result {
                println!("in a child: {error:#}");
            }
            std::process::exit(i32::from(result.is_err()));
        }
    }
}

/// Waits until a child has succeeded.
pub(crate) fn succeeded(child: Pid) -> anyhow::Result<()> {
    match waitpid(child, None).context("waitpid")? {
        WaitStatus::Exited(_, status) => ensure!(status == 0, "status {status}"),
        other => bail!("{other:?}"),
    }
    Ok(())
}

/// CPUs that are offline until this is dropped.
pub(crate) struct Offline(Vec<u32>);

impl Offline {
    pub(crate) fn switch(cpus: Vec<u32>) -> anyhow::Result<Self> {
        let offline = Self(cpus);
        for cpu in &offline.0 {
            switch(*cpu, "0")?;
        }
        Ok(offline)
    }
}

impl Drop for Offline {
    fn drop(&mut self) {
        for cpu in &self.0 {
            // The next test will tell if one is missing.
            let _ = switch(*cpu, "1");
        }
    }
}

/// Has one CPU do all there is: QEMU counts for each what all of them run, and even one that is idle runs a thousand instructions at
/// every tick.
pub(crate) fn alone(cpu: u32) -> anyhow::Result<Offline> {
    Offline::switch((0..CPUS).filter(|other| *other != cpu).collect())
}

fn switch(cpu: u32, to: &str) -> anyhow::Result<()> {
    let file = format!("/sys/devices/system/cpu/cpu{cpu}/online");
    fs::write(&file, to).with_context(|| format!("{to} into {file}"))
}
