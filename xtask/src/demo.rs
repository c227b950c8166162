//! The subcommand `demo`: the product at work in the test machine, for a person to watch.

use std::process::ExitCode;

use anyhow::Result;

use crate::machine::{Kernel, Machine, SYSTEM_TESTS};
use crate::{debian, schedulers, tools};

/// What `demo` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The kernel: newest, oldest or a version
    #[arg(long, default_value = "newest")]
    kernel: Kernel,
    /// How many CPUs the machine has
    #[arg(long, default_value_t = 4)]
    cpus: u32,
}

/// Has real loads come and go, and shows the timeline.
pub(crate) fn demo(arguments: &Arguments) -> Result<ExitCode> {
    debian::ensure_packages()?;
    tools::ensure_components()?;
    let machine = Machine::new(arguments.kernel.clone())
        .cpus(arguments.cpus)
        .only_schedulers(schedulers::OF_SHIPPED_POLICY);
    let command = [SYSTEM_TESTS.to_owned(), "demo".to_owned()];
    let exit = machine.run_on_stdout(&command)?;
    Ok(ExitCode::from(exit.status))
}
