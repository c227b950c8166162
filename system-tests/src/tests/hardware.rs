//! What the hardware does below a scheduler: CPUs that come and go.

use std::fs;

use anyhow::{Context as _, ensure};

use crate::service::{self, Bus};
use crate::{kernel, policy, wait};

const CPU: &str = "/sys/devices/system/cpu/cpu3/online";

pub(super) fn a_scheduler_that_loads_itself_again_when_cpus_come_and_go_is_not_fought()
-> anyhow::Result<()> {
    policy::write("version: 1\nrules: [{class: idle, use: [scx_bpfland, kernel]}]\n")?;
    service::restart()?;
    let bus = Bus::connect()?;
    wait::until("scheduler", &"scx_bpfland".to_owned(), kernel::scheduler)?;
    wait::until("owner", &"auto-ext".to_owned(), || {
        bus.string("CurrentOwner")
    })?;
    let seat = || -> anyhow::Result<_> {
        let switches = (bus.number("Switches")?, service::history(1)?);
        Ok((bus.number("SchedulerPid")?, bus.string("Mode"), switches))
    };
    let before = seat()?;
    for (round, online) in (1..).zip(["0", "1", "0", "1"]) {
        let enabled = kernel::enable_seq();
        fs::write(CPU, online).with_context(|| format!("failed to write {CPU}"))?;
        wait::until("schedulers enabled", &(enabled + 1), kernel::enable_seq)?;
        wait::until("scheduler", &"scx_bpfland".to_owned(), || {
            bus.string("CurrentScheduler")
        })?;
        let after = seat()?;
        ensure!(
            after == before,
            "round {round}: {before:?} became {after:?}"
        );
    }
    let error = bus.string("LastError");
    ensure!(error.is_empty(), "{error}");
    Ok(())
}
