//! The command line: its subcommands and options, and which command is called for each.

mod look;
mod monitor;
mod plan;
mod run;
mod ticks;
mod words;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use auto_ext_service::exit_code::Code;
use auto_ext_service::sanitize::sanitize;
use clap::{Parser, Subcommand};

/// Has the vCPUs of virtual machines run on CPUs that are evenly used, and gives each machine the memory that it needs
#[derive(Debug, Parser)]
#[command(name = "auto-ext-vm", version, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 bad usage")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what would be done on a host that is made up, window by window, and why
    Plan {
        /// A description of the host, in YAML
        #[arg(long, value_name = "FILE")]
        scenario: PathBuf,
    },
    /// Place vCPUs and give and take memory until it is told to end, and put back what was found
    Run(run::Run),
    /// Show on which CPU which guest runs and what memory it has. It changes nothing
    Monitor(look::Look),
}

/// Runs what the command line says.
pub(crate) fn main() -> ExitCode {
    let mut out = io::stdout().lock();
    let result = match Cli::parse().command {
        Command::Plan { scenario } => plan::plan(&scenario, &mut out),
        Command::Run(options) => run::run(&options, &mut out),
        Command::Monitor(look) => monitor::monitor(&look, &mut out),
    };
    match result.and_then(|()| out.flush().context("cannot write")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = sanitize(&format!("{error:#}"));
            // Where that cannot be said either there is nobody to say it to.
            let _ = writeln!(io::stderr(), "error: {text}");
            ExitCode::from(Code::Failed as u8)
        }
    }
}
