//! What the scheduler of this repository costs while jobs are done: in the kernel by bpf_stats, which tells how often each
//! program ran and for how long, with some 20 ns of its own each time; in user space by /proc.

use std::io::{self, Write as _};
use std::time::Instant;

use anyhow::Context as _;
use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};
use serde_json::{Value, json};

use crate::{process, service};

/// The name of its program, without what all begin with.
pub(super) const NAME: &str = "foresight";
/// Where it is asked for what it counts.
pub(super) const SOCKET: &str = "/run/foresight-rounds/socket";

/// Has the jobs done beside the scheduler with this process, which listens at [`SOCKET`], and prints a line of JSON with what that
/// cost.
pub(super) fn print(
    mode: &str,
    pid: u32,
    jobs: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let considered = candidates()?;
    let counting = enable_stats(Stats::RunTime)?;
    let (began, before) = (Instant::now(), process::cpu_time(pid)?);
    jobs()?;
    let took = process::cpu_time(pid)? - before;
    let share = took / began.elapsed().as_secs_f64();
    let programs = programs()?;
    drop(counting);
    let considered = candidates()? - considered;
    let line = json!({ "cost": {
        "mode": mode, "cpu_share": share, "memory_kib": process::memory(pid)?, "programs": programs,
        "candidates": considered,
    } });
    Ok(writeln!(io::stdout(), "{line}")?)
}

/// Of how many moves to another last-level cache it was decided so far.
fn candidates() -> anyhow::Result<u64> {
    let said = service::say(&format!("scx_{NAME} stats --json --socket {SOCKET}"))?;
    let stats: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    let counted = stats["counted"]["candidates"].as_u64();
    counted.with_context(|| format!("candidates are not counted: {said}"))
}

/// Those of the scheduler that ran: their names as the kernel cuts them, how often they ran, for how long, and how many
/// instructions the verifier looked at.
fn programs() -> anyhow::Result<Vec<Value>> {
    let mut programs = Vec::new();
    for info in loaded_programs() {
        let info = info?;
        let name = info.name_as_str().unwrap_or_default();
        if !name.starts_with(NAME) || info.run_count() == 0 {
            continue;
        }
        programs.push(json!({
            "name": name,
            "runs": info.run_count(),
            "ns": u64::try_from(info.run_time().as_nanos())?,
            "verified": info.verified_instruction_count(),
        }));
    }
    Ok(programs)
}
