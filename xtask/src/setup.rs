//! Owns the order in which everything the project needs is installed; each part is installed by
//! the module that owns it, and only where it is missing.

use anyhow::Result;

use crate::command::say;
use crate::{debian, prometheus, schedulers, tools};

/// Installs everything that the other subcommands need.
pub(crate) fn setup() -> Result<()> {
    debian::ensure_packages()?;
    tools::ensure_components()?;
    tools::bpf_linker()?;
    tools::cargo_deny()?;
    tools::cargo_deb()?;
    tools::cargo_generate_rpm()?;
    schedulers::ensure()?;
    schedulers::ensure_scx_loader()?;
    prometheus::ensure()?;
    say("everything that building and testing needs is there");
    Ok(())
}
