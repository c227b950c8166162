//! `auto-ext import`: settings of other tools as a file for policies.d.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use auto_ext_service::sanitize::sanitize;

use crate::import::Tool;

/// Prints the file on standard output, and on standard error what is in it and what was left out.
pub(crate) fn run(tool: Tool, path: Option<&Path>) -> anyhow::Result<ExitCode> {
    let draft = tool.import(path).map_err(anyhow::Error::msg)?;
    io::stdout().lock().write_all(draft.yaml().as_bytes())?;
    let mut err = io::stderr().lock();
    for line in draft.report().lines() {
        writeln!(err, "{}", sanitize(line))?;
    }
    writeln!(
        err,
        "to use it: auto-ext import {0} | sudo install -D -m 644 /dev/stdin /etc/auto-ext/policies.d/50-{0}.yaml; auto-ext check",
        tool.name()
    )?;
    Ok(ExitCode::SUCCESS)
}
