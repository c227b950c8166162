//! How a switch is made is said, and why it could not be made better.

use std::fs;

use anyhow::{Context as _, ensure};

use crate::service::{self, Bus};
use crate::{kernel, pinning};

const DROP_IN: &str = "/run/systemd/system/auto-ext.service.d/test.conf";
const PTRACE_SCOPE: &str = "/proc/sys/kernel/yama/ptrace_scope";

pub(super) fn where_there_can_be_no_gate_the_old_one_leaves_first_and_the_history_says_why()
-> anyhow::Result<()> {
    {
        let _forbidden = DropIn::install("SystemCallFilter=~seccomp")?;
        switches_are_cold_because("no hot swap here: seccomp notifications: EPERM")?;
    }
    // As on a hardened machine: only those with CAP_SYS_PTRACE may look into other processes.
    let _hidden = PtraceScope::set("2")?;
    let _unprivileged = DropIn::install("CapabilityBoundingSet=~CAP_SYS_PTRACE")?;
    switches_are_cold_because("no hot swap here: reading a process's memory: EPERM")
}

fn switches_are_cold_because(why: &str) -> anyhow::Result<()> {
    let bus: Bus = pinning::start_with("")?;
    let before = pinning::seat_bpfland(&bus)?;
    service::say("auto-ext pin cosmos")?;
    let last = &service::history(1)?[0];
    let reason = last["error"].as_str().unwrap_or_default();
    ensure!(
        last["event"] == "switched"
            && last["from"] == "scx_bpfland"
            && last["to"] == "scx_cosmos"
            && last["way"] == "cold"
            && last["gap_us"].as_u64() > Some(0)
            && reason.starts_with(why),
        "expected `{why}`, the history has {last}"
    );
    eprintln!("\n  {why}: {} us without a scheduler", last["gap_us"]);
    ensure!(kernel::enable_seq() == before.enabled + 1);
    Ok(())
}

/// More settings for the service, until this is dropped.
struct DropIn;

impl DropIn {
    fn install(setting: &str) -> anyhow::Result<Self> {
        let directory = DROP_IN.rsplit_once('/').context("a file in a directory")?.0;
        fs::create_dir_all(directory)?;
        fs::write(DROP_IN, format!("[Service]\n{setting}\n"))
            .with_context(|| format!("failed to write {DROP_IN}"))?;
        let installed = Self;
        service::say("systemctl daemon-reload")?;
        Ok(installed)
    }
}

impl Drop for DropIn {
    fn drop(&mut self) {
        // The next test will tell if this fails.
        let _ = fs::remove_file(DROP_IN);
        let _ = service::say("systemctl daemon-reload");
    }
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
