//! The command line: its subcommands and options, and which command is called for each.

mod check;
mod doctor;
mod dry_run;
mod look;
mod monitor;
mod plan;
mod run;
mod service;
mod ticks;
mod words;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config;
use anyhow::Context as _;
use auto_ext_service::exit_code::{Code, WithCode};
use auto_ext_service::sanitize::sanitize;
use clap::{CommandFactory as _, Parser, Subcommand};

/// Has the vCPUs of virtual machines run on CPUs that are evenly used, and gives each machine the memory that it needs
#[derive(Debug, Parser)]
#[command(name = "auto-ext-vm", version, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 bad usage, 3 no daemon, 4 not permitted")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what would be done, and why: to the guests of this host, after two windows, or on a host that is made up. It changes
    /// nothing
    Plan {
        /// Look at the guests of this host, as if the configuration had both halves act
        #[arg(long, required_unless_present = "scenario")]
        dry_run: bool,
        /// The description of a host, in YAML, in place of this one
        #[arg(long, value_name = "FILE")]
        scenario: Option<PathBuf>,
        /// The configuration
        #[arg(long, value_name = "F", default_value = config::PATH)]
        config: PathBuf,
        #[command(flatten)]
        look: look::Look,
    },
    /// Place vCPUs and give and take memory until it is told to end, and put back what was found
    Run(run::Run),
    /// Show on which CPU which guest runs and what memory it has. It changes nothing
    Monitor(look::Look),
    #[command(flatten)]
    Service(service::Command),
    /// Validate a configuration
    Check {
        /// The configuration
        #[arg(value_name = "F", default_value = config::PATH)]
        file: PathBuf,
        /// Print the JSON Schema of configurations instead, for editors
        #[arg(long, conflicts_with = "file")]
        schema: bool,
    },
    /// Say what stops or weakens the service on this machine; exit code 1 when it cannot do anything
    Doctor {
        /// The configuration
        #[arg(long, value_name = "F", default_value = config::PATH)]
        config: PathBuf,
    },
}

/// The definition of the command line, from which its manual page and completions are made.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let mut out = io::stdout().lock();
    let result = match Cli::parse().command {
        Command::Plan {
            scenario: Some(scenario),
            ..
        } => plan::plan(&scenario, &mut out),
        Command::Plan { config, look, .. } => dry_run::dry_run(&look, &config, &mut out),
        Command::Run(options) => run::run(&options, &mut out),
        Command::Monitor(look) => monitor::monitor(&look, &mut out),
        Command::Service(command) => service::perform(&command, &mut out),
        Command::Check { schema: true, .. } => check::schema(&mut out),
        Command::Check { file, .. } => check::check(&file, &mut out),
        Command::Doctor { config } => doctor::doctor(Path::new("/"), &config, &mut out),
    };
    match result.and_then(|()| out.flush().context("cannot write")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.downcast_ref::<WithCode>();
            let code = code.map_or(Code::Failed, |error| error.code);
            let text = format!("{error:#}");
            let lines: Vec<String> = text.lines().map(sanitize).collect();
            // Where that cannot be said either there is nobody to say it to.
            let _ = writeln!(io::stderr(), "error: {}", lines.join("\n"));
            ExitCode::from(code as u8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
