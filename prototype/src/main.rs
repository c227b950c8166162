//! Attaches counters on hot paths, says so in one line, and runs until its standard input ends. Only the
//! benchmarks use it.

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::programs::TracePoint;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("AUTO_EXT_BPF_OBJECT"));

/// Each program and its tracepoint.
const PROGRAMS: [(&str, &str, &str); 6] = [
    ("switch", "sched", "sched_switch"),
    ("switch_of_cpu", "sched", "sched_switch"),
    ("wakeup", "sched", "sched_wakeup"),
    ("page_alloc", "kmem", "mm_page_alloc"),
    ("net_queue", "net", "net_dev_queue"),
    ("block_issue", "block", "block_rq_issue"),
];

/// Where the tracepoints' numbers are. Auto-ext's own programs do without.
const TRACEFS: &str = "/sys/kernel/tracing";

fn main() -> Result<()> {
    mount_tracefs().context("tracefs cannot be mounted")?;
    let mut ebpf = Ebpf::load(OBJECT).context("the BPF object cannot be loaded")?;
    for (name, category, tracepoint) in PROGRAMS {
        let program = ebpf.program_mut(name).context(name)?;
        let program: &mut TracePoint = program.try_into()?;
        program.load()?;
        program
            .attach(category, tracepoint)
            .with_context(|| format!("{category}:{tracepoint}"))?;
    }
    writeln!(std::io::stdout(), "attached")?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// For this process only.
fn mount_tracefs() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(
        Some("tracefs"),
        TRACEFS,
        Some("tracefs"),
        MsFlags::empty(),
        none,
    )?;
    Ok(())
}
