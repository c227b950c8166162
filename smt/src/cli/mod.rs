//! The command line: its subcommands and options, and which command is called for each.

mod ask;
mod check;
mod client;
mod doctor;
mod history;
mod idle;
mod import;
mod injector;
mod look;
mod missing;
mod observe;
mod placed;
mod plan;
mod profile;
mod restore;
mod run;
mod score;
mod speeds;
mod status;
mod train;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use auto_ext_bus::join::BusKind;
use auto_ext_service::exit_code::{Code, WithCode};
use auto_ext_service::sanitize::sanitize;
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::affinity;
use crate::config;
use crate::daemon::{Hardware, Options};
use crate::store::{DIRECTORY, Store};
use look::{Look, ROOT, time};

/// Which long-running groups of processes share a core, and which had better
#[derive(Debug, Parser)]
#[command(name = "auto-ext-smt", version, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 bad usage, 3 the service does not run, 4 not permitted"
)]
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
    /// Run the service: observe, try what promises to be better, keep what proves so
    Run {
        /// The configuration
        #[arg(long, value_name = "FILE", default_value = config::FILE)]
        config: PathBuf,
        /// Place nothing, whatever the configuration says
        #[arg(long)]
        observe: bool,
        /// The bus on which callers ask
        #[arg(long, value_enum, default_value_t = BusKind::System)]
        bus: BusKind,
    },
    /// Say in one line what is under way, or whether there is anything to choose on this machine
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
    /// Say what the service does and why, and what it knows of each group
    Why,
    /// Show what came of trials and placements
    History {
        /// As a list in JSON
        #[arg(long)]
        json: bool,
        /// So many at most, the last ones
        #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
        count: usize,
    },
    /// Try what there is to try as soon as that may be, though these jobs were tried in vain
    Trial {
        /// Say what would be tried, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Undo what is placed, and place nothing
    Pause {
        /// For how long; without it until it is resumed
        #[arg(value_name = "T", value_parser = time)]
        lasts: Option<Duration>,
        /// Say what would be done, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// End a pause
    Resume {
        /// Say what would be done, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Print metrics of the service, as OpenMetrics text
    Metrics,
    /// Say what keeps groups from being observed or placed on this machine
    Doctor {
        /// The configuration
        #[arg(long, value_name = "FILE", default_value = config::FILE)]
        config: PathBuf,
    },
    /// Check a configuration
    Check {
        /// Which
        #[arg(value_name = "FILE", default_value = config::FILE)]
        file: PathBuf,
        /// Print the JSON Schema of configurations instead, for editors
        #[arg(long)]
        schema: bool,
    },
    /// Let everything run everywhere again that was placed
    Restore {
        /// Say what would be done, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Wait until standard input is closed, and undo what is placed then
        #[arg(long, hide = true, conflicts_with = "dry_run")]
        when_closed: bool,
    },
    /// Say what is known of a job, or measure what it makes of each resource of a core
    Profile {
        #[command(flatten)]
        arguments: profile::Arguments,
    },
    /// Load one resource of a core, for half a minute at most: `profile` runs it
    Injector {
        /// The resource, such as int_port, fp_port, l1_dcache, l2_cache, l1_dtlb or l3_cache
        kind: String,
        /// How hard: low, medium or high
        level: String,
        /// The CPU on which it runs
        #[arg(long, value_name = "N")]
        cpu: u32,
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

/// The definition of the command line.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = io::stdout().lock();
    match perform(&cli, &mut out).and_then(|()| out.flush().context("cannot write")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = sanitize(&format!("{error:#}"));
            // Where that cannot be said either there is nobody to say it to.
            let _ = writeln!(io::stderr(), "error: {text}");
            let code = error.downcast_ref::<WithCode>();
            ExitCode::from(code.map_or(Code::Failed, |error| error.code) as u8)
        }
    }
}

fn perform(cli: &Cli, out: &mut dyn Write) -> anyhow::Result<()> {
    let store = Store::new(&cli.state);
    match &cli.command {
        Command::Run {
            config,
            observe,
            bus,
        } => run::run(Options {
            config: config.clone(),
            observe: *observe,
            bus: *bus,
            state: cli.state.clone(),
            run: cli.run.clone(),
            source: Box::new(Hardware::new(Path::new(ROOT))),
            enough: run::ENOUGH,
        }),
        Command::Why => ask::why(out),
        Command::History { json, count } => history::history(&cli.state, *count, *json, out),
        Command::Trial { dry_run } => ask::trial(*dry_run, out),
        Command::Pause { lasts, dry_run } => ask::pause(*lasts, *dry_run, out),
        Command::Resume { dry_run } => ask::resume(*dry_run, out),
        Command::Metrics => ask::metrics(out),
        Command::Doctor { config } => doctor::doctor(config, out),
        Command::Check { schema: true, .. } => check::schema(out),
        Command::Check { file, .. } => check::check(file, out),
        Command::Status { json } => status::status(*json, out),
        Command::Observe { look } => observe::observe(look, out),
        Command::Plan { look, json } => plan::plan(&store, look, *json, out),
        Command::Restore {
            when_closed: true, ..
        } => placed::when_closed(&cli.run, out),
        Command::Restore { dry_run, .. } => restore::restore(&cli.run, *dry_run, out),
        Command::Profile { arguments } => profile::profile(&store, &cli.run, arguments, out),
        Command::Injector { kind, level, cpu } => injector::injector(kind, level, *cpu, out),
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
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
