//! The subcommand `picture`: the picture of `auto-ext watch` in the README, from a real run in the
//! test machine. `terminal` reads what the machine's terminal shows, `svg` draws it.

mod svg;
mod terminal;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};

use crate::command::say;
use crate::machine::{Kernel, Machine, SYSTEM_TESTS};
use crate::{debian, tools, workspace};

/// Where the README has it.
const PICTURE: &str = "docs/watch.svg";

/// What `picture` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The kernel: newest, oldest or a version
    #[arg(long, default_value = "newest")]
    kernel: Kernel,
}

/// Has loads come and go before `auto-ext watch`, and draws its screen.
pub(crate) fn picture(arguments: &Arguments) -> Result<ExitCode> {
    debian::ensure_packages()?;
    tools::ensure_components()?;
    let command = [SYSTEM_TESTS.to_owned(), "picture".to_owned()];
    let mut bytes = Vec::new();
    let machine = Machine::new(arguments.kernel.clone());
    let exit = machine.run(&command, &mut |more| {
        bytes.extend_from_slice(more);
        Ok(())
    })?;
    let text = String::from_utf8_lossy(&bytes);
    ensure!(exit.status == 0, "the machine shows nothing: {text}");
    let place = workspace::root().join(PICTURE);
    fs::write(&place, svg::draw(&terminal::read(&text)))
        .with_context(|| format!("cannot write {}", place.display()))?;
    say(format!("{} is new", place.display()));
    Ok(ExitCode::SUCCESS)
}
