//! How a switch is made is said, and why it could not be made better.

use std::fs;

use anyhow::{Context as _, ensure};

use crate::drop_in::DropIn;
use crate::service::{self, Bus};
use crate::{kernel, pinning};

const PTRACE_SCOPE: &str = "/proc/sys/kernel/yama/ptrace_scope";

pub(super) fn where_there_can_be_no_attach_barrier_the_old_one_leaves_first_and_the_history_says_why()
-> anyhow::Result<()> {
    {
        let _forbidden = DropIn::install("SystemCallFilter=~seccomp")?;
        let why = "no hot swap here: seccomp notifications: EPERM";
        switches_are_cold_because(why, "cosmos")?;
    }
    {
        // One that decides in user space might wait for a thread that it would have to run.
        let _no_priority = DropIn::install("CapabilityBoundingSet=~CAP_SYS_NICE")?;
        let why = "no hot swap here: it may decide in user space";
        switches_are_cold_because(why, "rustland")?;
    }
    // As on a hardened machine: only those with CAP_SYS_PTRACE may look into other processes.
    let _hidden = PtraceScope::set("2")?;
    let _unprivileged = DropIn::install("CapabilityBoundingSet=~CAP_SYS_PTRACE")?;
    let why = "no hot swap here: reading a process's memory: EPERM";
    switches_are_cold_because(why, "cosmos")
}

fn switches_are_cold_because(why: &str, next: &str) -> anyhow::Result<()> {
    let bus: Bus = pinning::start_with("")?;
    let before = pinning::start_bpfland(&bus)?;
    service::say(&format!("auto-ext pin {next}"))?;
    let last = &service::history(1)?[0];
    let reason = last["error"].as_str().unwrap_or_default();
    ensure!(
        last["event"] == "switched"
            && last["from"] == "scx_bpfland"
            && last["to"] == format!("scx_{next}")
            && last["way"] == "cold"
            && last["gap_us"].as_u64() > Some(0)
            && reason.starts_with(why),
        "expected `{why}`, the history has {last}"
    );
    eprintln!("\n  {why}: {} us without a scheduler", last["gap_us"]);
    ensure!(kernel::enable_seq() == before.enabled + 1);
    Ok(())
}

/// Who may look into other processes, until this is dropped.
struct PtraceScope(String);

impl PtraceScope {
    fn set(scope: &str) -> anyhow::Result<Self> {
        let before = fs::read_to_string(PTRACE_SCOPE)
            .with_context(|| format!("failed to read {PTRACE_SCOPE}"))?;
        fs::write(PTRACE_SCOPE, scope)
            .with_context(|| format!("failed to write {PTRACE_SCOPE}"))?;
        Ok(Self(before))
    }
}

impl Drop for PtraceScope {
    fn drop(&mut self) {
        let _ = fs::write(PTRACE_SCOPE, &self.0);
    }
}
