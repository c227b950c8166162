//! The command line: its subcommands and options, and which command is called for each.

mod import;
mod look;
mod missing;
mod observe;
mod plan;
mod restore;
mod score;
mod speeds;
mod status;
mod train;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use auto_ext_service::exit_code::Code;
use auto_ext_service::sanitize::sanitize;
use auto_ext_smt::affinity;
use auto_ext_smt::store::{DIRECTORY, Store};
use clap::{Parser, Subcommand};

use look::Look;

/// Says which groups of processes share a core, and which had better, and undoes where they were placed
#[derive(Debug, Parser)]
#[command(name = "auto-ext-smt", version, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 bad usage")]
struct Cli {
    /// Where what is known of jobs is kept
    #[arg(long, global = true, value_name = "D", default_value = DIRECTORY)]
    state: PathBuf,
    /// Where it is written down what was placed
    #[arg(long, global = true, value_name = "D", default_value = affinity::DIRECTORY)]
    run: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say in one line whether there is anything to choose on this machine
    Status {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show the groups that run, how busy and how fast each is and whether it may be placed
    Observe {
        #[command(flatten)]
        look: Look,
    },
    /// Show who had better share a core with whom, by what is known of the jobs
    Plan {
        #[command(flatten)]
        look: Look,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Let everything run everywhere again that was placed
    Restore {
        /// Say what would be done, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Say how fast two jobs are on one core, by the model
    Score {
        /// One job
        a: String,
        /// The other
        b: String,
    },
    /// Make a model of the jobs and pairs that are known
    Train {
        /// Say what it is like, and keep nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Take over what SMTcheck measured: its documents of jobs beside injectors and of jobs beside each other
    Import {
        /// The first
        measurement: PathBuf,
        /// The second
        combination: PathBuf,
        /// The CPU that they are of
        #[arg(long, value_name = "NAME", default_value = "intel-gen11")]
        cpu: String,
        /// Say what is in them, and keep nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// Runs what the command line says.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = io::stdout().lock();
    match run(&cli, &mut out).and_then(|()| out.flush().context("cannot write")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = sanitize(&format!("{error:#}"));
            // Where that cannot be said either there is nobody to say it to.
            let _ = writeln!(io::stderr(), "error: {text}");
            ExitCode::from(Code::Failed as u8)
        }
    }
}

fn run(cli: &Cli, out: &mut dyn Write) -> anyhow::Result<()> {
    let store = Store::new(&cli.state);
    match &cli.command {
        Command::Status { json } => status::status(*json, out),
        Command::Observe { look } => observe::observe(look, out),
        Command::Plan { look, json } => plan::plan(&store, look, *json, out),
        Command::Restore { dry_run } => restore::restore(&cli.run, *dry_run, out),
        Command::Score { a, b } => score::score(&store, a, b, out),
        Command::Train { dry_run } => train::train(&store, *dry_run, out),
        Command::Import {
            measurement,
            combination,
            cpu,
            dry_run,
        } => import::import(&store, measurement, combination, cpu, *dry_run, out),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
