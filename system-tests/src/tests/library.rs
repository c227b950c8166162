//! What runs schedulers, used without the daemon: as by somebody who writes another loader.

use anyhow::ensure;

use crate::{kernel, service};

/// Where the machine has the example of `scx/`.
const SWAP: &str = "/usr/libexec/auto-ext/swap";

pub(super) fn the_example_swaps_two_schedulers_without_the_daemon() -> anyhow::Result<()> {
    service::stop()?;
    let enabled = kernel::enable_seq();
    let said = service::say(&format!("{SWAP} scx_bpfland scx_cosmos"))?;
    eprintln!("\n  {}", said.trim().replace('\n', "\n  "));
    let steps = [
        "started scx_bpfland",
        "swapped to scx_cosmos",
        "stopped scx_cosmos",
    ];
    ensure!(
        said.lines()
            .zip(steps)
            .all(|(line, step)| line.starts_with(step)),
        "{said}"
    );
    ensure!(kernel::enable_seq() == enabled + 2 && kernel::state() == "disabled");
    Ok(())
}
