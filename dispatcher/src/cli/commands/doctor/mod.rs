//! `auto-ext doctor`: what stops or weakens auto-ext on this machine, and the remedy.
//!
//! `facts` gathers facts into one structure, with `conflicts` about other tools and `kernel_build` about the kernel's
//! configuration and `steal` about a host that takes CPUs away; `findings` judges them.

mod conflicts;
mod facts;
mod findings;
mod kernel_build;
mod steal;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anstyle::Style;
use auto_ext_service::sanitize::sanitize;

use crate::cli::commands::style::{ERROR, Styled, WARNING};
use crate::cli::commands::{service_unit, status, style};
use facts::{DaemonFacts, gather};
use findings::{Weight, judge};

/// Prints a line for each finding; the exit code says whether schedulers can be switched.
pub(crate) async fn run(config: &Path) -> anyhow::Result<ExitCode> {
    let daemon = status::ask_daemon().await.map(DaemonFacts::of);
    let daemon = daemon.map_err(|error| error.to_string());
    let service = service_unit::reader().await;
    let findings = judge(&gather(Path::new("/"), config, &service, daemon));
    let out = &mut style::stdout();
    for finding in &findings {
        let mark = match finding.weight {
            Weight::Stops => Styled(ERROR, "STOPS"),
            Weight::Weakens => Styled(WARNING, "weakens"),
            Weight::Fine => Styled(Style::new(), "ok"),
        };
        writeln!(out, "{mark:<7}  {}", sanitize(&finding.text))?;
    }
    let stopped = findings
        .iter()
        .any(|finding| finding.weight == Weight::Stops);
    Ok(if stopped {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
