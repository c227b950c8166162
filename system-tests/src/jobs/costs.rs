//! What the scheduler of this repository costs while jobs are done: in the kernel by bpf_stats, which tells how often each
//! program ran and for how long, with some 20 ns of its own each time; in user space by /proc.

use std::io::{self, Write as _};
use std::time::Instant;

use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};
use serde_json::{Value, json};

use crate::process;

/// The name of its program, without what all begin with.
pub(super) const NAME: &str = "foresight";

/// Has the jobs done beside the scheduler with this process, and prints a line of JSON with what that cost.
pub(super) fn print(
    mode: &str,
    pid: u32,
    jobs: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let counting = enable_stats(Stats::RunTime)?;
    let (began, before) = (Instant::now(), process::cpu_time(pid)?);
    jobs()?;
    let took = process::cpu_time(pid)? - before;
    let share = took / began.elapsed().as_secs_f64();
    let programs = programs()?;
    drop(counting);
    let line = json!({ "cost": {
        "mode": mode, "cpu_share": share, "memory_kib": process::memory(pid)?, "programs": programs,
    } });
    Ok(writeln!(io::stdout(), "{line}")?)
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
