//! CPUs go and come back under a scheduler.

use std::fs;
use std::time::Instant;

use anyhow::{Context as _, ensure};

use super::Ground;
use crate::service;
use crate::{kernel, pinning, stall};

const CPU: &str = "/sys/devices/system/cpu/cpu1/online";

const SCHEDULERS: [&str; 2] = ["bpfland", "cosmos"];

pub(in crate::tests) fn cpus_go_and_come_back_under_a_scheduler() -> anyhow::Result<()> {
    stall::begin_anew_after(cpus_go_and_come_back)
}

fn cpus_go_and_come_back() -> anyhow::Result<()> {
    // It may be gone since the last time.
    set(true)?;
    let ground = Ground::at_rest(pinning::start_with("")?)?;
    eprintln!();
    for name in SCHEDULERS {
        service::say(&format!("auto-ext pin {name}"))?;
        for online in [false, true] {
            let begun = Instant::now();
            let enabled = kernel::enable_seq();
            set(online)?;
            // It loads itself again, is loaded again, or does not mind.
            stall::wait_for(name, &ground.bus, || {
                kernel::scheduler() == format!("scx_{name}")
                    && (kernel::enable_seq() > enabled || begun.elapsed() > IGNORED)
            })?;
            eprintln!(
                "  scx_{name}, CPU {}: sane after {:.1?}, enabled {} times",
                if online { "back" } else { "gone" },
                begun.elapsed(),
                kernel::enable_seq() - enabled
            );
            ground.is_sane(name)?;
            ensure!(
                ground.bus.string("CurrentOwner") == "auto-ext",
                "{name}: {}",
                ground.bus.string("CurrentOwner")
            );
            let error = ground.bus.string("LastError");
            ensure!(error.is_empty(), "{name}: {error}");
        }
    }
    service::say("auto-ext pin kernel")?;
    ground.is_as_before("CPUs came and went")?;
    ground.works()
}

/// A scheduler that still runs after that time, as if nothing had happened, does not mind.
const IGNORED: std::time::Duration = std::time::Duration::from_secs(5);

fn set(online: bool) -> anyhow::Result<()> {
    fs::write(CPU, if online { "1" } else { "0" }).with_context(|| format!("failed to write {CPU}"))
}
