//! The command line: its subcommands and options, and which command is called for each.

mod commands;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anstream::{AutoStream, ColorChoice};
use anyhow::Context as _;
use auto_ext_service::duration;
use auto_ext_service::exit_code::{Code, WithCode};
use auto_ext_service::sanitize::sanitize;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};
use nix::sys::stat::fstat;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::api::dbus::BusKind;
use crate::cli::commands::grant::Wanted;
use crate::cli::commands::{
    check, compare, doctor, gamemode, history, hold, import, label, learn, levels, metrics,
    new_file, notify, pin, record, reload, replay, report_class, run, schedulers, status, trials,
    watch, why,
};
use crate::daemon;
use crate::import::Tool;
use crate::sources::read_policy;

/// Where the policy is installed.
pub const POLICY: &str = read_policy::INSTALLED;

/// Runs the sched_ext scheduler that suits what the machine is doing
#[derive(Debug, Parser)]
#[command(name = "auto-ext", version, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 bad usage, 3 no daemon, 4 not permitted")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Daemon {
        /// The policy
        #[arg(long, value_name = "F", default_value = POLICY)]
        config: PathBuf,
        /// Watch and decide, but start nothing
        #[arg(long)]
        observe: bool,
        /// The D-Bus bus on which to be reached
        #[arg(long, value_enum, default_value = "system")]
        bus: BusKind,
        /// Record all that is decided on, trials included, in this file, a new one, for `replay`
        #[arg(long, value_name = "FILE")]
        record: Option<PathBuf>,
    },
    /// Show what the kernel runs, and why; exit code 3 when the daemon does not run
    Status {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show live what runs, what is measured and what is done about it; `?` shows the keys. Without
    /// the daemon it measures by itself, for which it needs root
    Watch,
    /// Explain the last decision: the rules, the numbers behind them, what would change it
    Why {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show what was switched, what failed and what was refused, the newest last; on a terminal with
    /// a chart of which scheduler ran when
    History {
        /// As JSON, one object per line
        #[arg(long)]
        json: bool,
        /// How many entries
        #[arg(short = 'n', value_name = "N", default_value_t = 20)]
        count: u32,
        /// How far back the chart goes, such as 24h
        #[arg(long, value_name = "TIME", default_value = "6h", value_parser = chart_time)]
        last: std::time::Duration,
    },
    /// Print what is counted and measured, for Prometheus
    Metrics {
        /// The text format
        #[arg(long, value_enum, default_value = "openmetrics")]
        format: metrics::Format,
    },
    /// Tell the desktop when a scheduler failed or was quarantined and when the safe mode began, and nothing
    /// else, until it is ended. `systemctl --user enable --now auto-ext-notify` does that in every session
    Notify,
    /// Run this scheduler, whatever is measured, until `unpin`
    Pin {
        /// `kernel`, a scheduler of the policy, or one that is installed, such as bpfland or scx_bpfland
        name: String,
        /// For how long, such as 30m; an earlier pin that lasts longer is then in force again
        #[arg(long = "for", value_name = "TIME", value_parser = pin_time)]
        lasts: Option<std::time::Duration>,
        /// Arguments for the scheduler, in place of the policy's
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// End all pins: leave the choice to the policy again
    Unpin,
    /// Keep the scheduler that runs while a command runs, whose exit code is passed on. Without the
    /// daemon, or where it says no, the command runs all the same, after a warning; when the daemon or
    /// the bus is restarted, the hold is taken anew. SIGTERM, SIGHUP, SIGINT and SIGQUIT are passed on to
    /// the command, and if this is killed, the command gets SIGTERM
    Hold {
        /// The command with its arguments
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<std::ffi::OsString>,
    },
    /// Run this scheduler while a command runs, whose exit code is passed on: a lease. It takes no password
    /// in a session at this machine if the policy names the scheduler. The command starts when the
    /// scheduler runs; where it cannot be had now, or without the daemon, the command runs all the same,
    /// after a warning. Signals and restarts are as with `hold`
    Run {
        /// `kernel`, a scheduler of the policy, or one that is installed
        #[arg(required_unless_present = "class")]
        scheduler: Option<String>,
        /// What this class of the policy would use, in place of a scheduler
        #[arg(long, conflicts_with = "scheduler")]
        class: Option<String>,
        /// The command with its arguments
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<std::ffi::OsString>,
    },
    /// Say whether a scheduler is better here, for this command: it runs once in each turn, under the first scheduler
    /// and under each other one, in the order of a coin, until the evidence suffices, in 30 pairs at most. Ctrl-C
    /// ends it with what is known by then. Each change of the scheduler takes a switch: of 240 an hour for who may
    /// change what runs, else of `max_switches_per_hour`. What the command says is discarded
    Compare(compare::Options),
    /// Show what trials found on this machine for each class of the load
    Trials(trials::Options),
    /// Consent to trials where the policy says `mode: ask`, or take that back: schedulers that the policy names are then tried beside the load,
    /// in short turns, on mains power, while nothing else asks for anything
    Learn(learn::Options),
    /// Lease what a class would use while GameMode has a game registered; run in a user's session by
    /// auto-ext-gamemode.service
    Gamemode {
        /// The class of the policy
        #[arg(long, default_value = "game", conflicts_with = "scheduler")]
        class: String,
        /// A scheduler in place of a class, as with `run`
        #[arg(long)]
        scheduler: Option<String>,
    },
    /// Read the policy again, and end the safe mode
    Reload,
    /// List the schedulers: known, installed, version, last end, quarantined until
    Schedulers {
        /// As one JSON list
        #[arg(long)]
        json: bool,
        /// The policy
        #[arg(long, value_name = "F", default_value = POLICY)]
        config: PathBuf,
        /// Forget the failures of this scheduler's program, so that it is not quarantined any more
        #[arg(long, alias = "forgive", value_name = "NAME", conflicts_with_all = ["json", "config"])]
        reset_failed: Option<String>,
    },
    /// Validate a policy with the files in the directory beside it, and say which of its files and programs the service cannot read, run or write
    Check {
        /// The policy
        #[arg(value_name = "F", default_value = POLICY)]
        file: PathBuf,
        /// Print the JSON Schema of policies instead, for editors
        #[arg(long, conflicts_with = "file")]
        schema: bool,
    },
    /// Print what another tool is set up to do as a file for /etc/auto-ext/policies.d, and on standard error
    /// what was left out and why. Changes nothing
    Import {
        /// The tool
        tool: Tool,
        /// Its settings: a file, or a directory [default: where the tool has them]
        path: Option<PathBuf>,
    },
    /// Say what stops or weakens auto-ext on this machine; exit code 1 when it cannot switch
    Doctor {
        /// The policy
        #[arg(long, value_name = "F", default_value = POLICY)]
        config: PathBuf,
    },
    /// Record what the machine does while a command runs, whose exit code is passed through, or until
    /// Ctrl-C; the names of all programs that run are in it
    Record {
        /// The trace to write: a new file, or `-` for standard output
        #[arg(long, value_name = "F")]
        out: PathBuf,
        /// What the trace shows
        #[arg(long, value_name = "L")]
        label: Option<String>,
        /// The command with its arguments
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<std::ffi::OsString>,
    },
    /// Show what a policy would have done about what was recorded: a line per change. In a replay each
    /// scheduler of the policy is installed, takes 2s to load and never fails. Needs no root
    Replay {
        /// The trace
        #[arg(value_name = "F")]
        trace: PathBuf,
        /// The policy
        #[arg(long, value_name = "P", default_value = POLICY)]
        policy: PathBuf,
    },
    /// Make a trace of what the daemon measured last, with the class that it should have had; nothing of
    /// processes is in it
    Label(label::Options),
    /// Pack a trace with a label to be sent: without the names of programs, compressed. Needs no root
    ReportClass(report_class::Options),
    /// Measure without the daemon: a line of signals and levels per window
    Levels(levels::Options),
}

/// The definition of the command line, from which its manual page and completions are made.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command of the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match perform(cli.command) {
        Ok(code) => code,
        Err(error) => {
            if is_broken_pipe(&error) {
                // Whoever read our output has closed it.
                return ExitCode::SUCCESS;
            }
            let code = error
                .downcast_ref::<WithCode>()
                .map_or(Code::Failed, |error| error.code);
            // Without standard error there is nowhere to write it.
            let text = format!("{error:#}");
            let lines: Vec<String> = text.lines().map(sanitize).collect();
            let _ = writeln!(io::stderr(), "auto-ext: {}", lines.join("\n"));
            ExitCode::from(code as u8)
        }
    }
}

/// Runs the service.
fn serve(options: daemon::Options) -> anyhow::Result<ExitCode> {
    log();
    runtime()?.block_on(daemon::run(options))?;
    Ok(ExitCode::SUCCESS)
}

fn perform(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Daemon {
            config,
            observe,
            bus,
            record,
        } => {
            let record = record.as_deref().map(new_file::create).transpose()?;
            serve(daemon::Options {
                config,
                observe,
                bus,
                record,
            })
        }
        Command::Status { json } => runtime()?.block_on(status::run(json)),
        Command::Watch => runtime()?.block_on(watch::run()),
        Command::Why { json } => runtime()?.block_on(why::run(json)),
        Command::History { json, count, last } => {
            runtime()?.block_on(history::run(json, count, last))
        }
        Command::Metrics { format } => runtime()?.block_on(metrics::run(format)),
        Command::Notify => runtime()?.block_on(notify::run()),
        Command::Pin { name, lasts, args } => runtime()?.block_on(pin::pin(&name, lasts, &args)),
        Command::Unpin => runtime()?.block_on(pin::unpin()),
        Command::Hold { command } => runtime()?.block_on(hold::run(&command)),
        Command::Run {
            scheduler,
            class,
            command,
        } => {
            // clap has seen to it that there is one of them.
            let wanted = class.map(Wanted::Class);
            let wanted = wanted.or(scheduler.map(Wanted::Scheduler));
            let wanted = wanted.context("neither a scheduler nor a class")?;
            runtime()?.block_on(run::run(wanted, &command))
        }
        Command::Compare(options) => runtime()?.block_on(compare::run(options)),
        Command::Trials(options) => runtime()?.block_on(trials::run(options)),
        Command::Learn(options) => runtime()?.block_on(learn::run(options)),
        Command::Gamemode { class, scheduler } => {
            let wanted = scheduler.map_or(Wanted::Class(class), Wanted::Scheduler);
            runtime()?.block_on(gamemode::run(wanted))
        }
        Command::Reload => runtime()?.block_on(reload::run()),
        Command::Schedulers {
            reset_failed: Some(name),
            ..
        } => runtime()?.block_on(schedulers::reset_failed(&name)),
        Command::Schedulers { json, config, .. } => {
            runtime()?.block_on(schedulers::run(json, &config))
        }
        Command::Check { schema: true, .. } => check::schema(),
        Command::Check { file, .. } => runtime()?.block_on(check::run(&file)),
        Command::Import { tool, path } => import::run(tool, path.as_deref()),
        Command::Doctor { config } => runtime()?.block_on(doctor::run(&config)),
        Command::Record {
            out,
            label,
            command,
        } => {
            if out.as_os_str() == new_file::STDOUT && !command.is_empty() {
                let why = "standard output is the command's; `--out` needs a file";
                let error = Cli::command().error(ErrorKind::ArgumentConflict, why);
                error.exit();
            }
            let options = record::Options {
                out,
                label,
                command,
            };
            runtime()?.block_on(record::run(options))
        }
        Command::Label(options) => runtime()?.block_on(label::run(options)),
        Command::ReportClass(options) => report_class::run(&options),
        Command::Replay { trace, policy } => replay::run(&trace, &policy),
        Command::Levels(options) => {
            levels::run(&options)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Parses a time of which a chart can be drawn.
fn chart_time(text: &str) -> Result<std::time::Duration, String> {
    let time = duration::parse(text).map_err(|error| error.to_string())?;
    if (60..=366 * 86400).contains(&time.as_secs()) {
        Ok(time)
    } else {
        Err("must be from 1m to a year".to_owned())
    }
}

/// Parses a time of at least a second whose number of seconds fits into 32 bits, as on D-Bus.
pub(crate) fn pin_time(text: &str) -> Result<std::time::Duration, String> {
    let time = duration::parse(text).map_err(|error| error.to_string())?;
    if (1..=u64::from(u32::MAX)).contains(&time.as_secs()) {
        Ok(time)
    } else {
        Err("must be from 1s to 136 years".to_owned())
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

/// Logs to the journal with fields (`AUTO_EXT_SCHEDULER`, `AUTO_EXT_CLASS`, `AUTO_EXT_REASON`) when systemd connected
/// standard error to it, else to standard error. The messages have all that matters in words.
fn log() {
    let filter = EnvFilter::try_from_env("AUTO_EXT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::registry().with(filter);
    if stderr_is_the_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        log.with(journal.with_field_prefix(Some("AUTO_EXT".to_owned())))
            .init();
        return;
    }
    let message_only = debug_fn(|writer, field, value| match field.name() {
        "message" => write!(writer, "{value:?}"),
        _ => Ok(()),
    });
    log.with(
        tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_target(false)
            .with_ansi(AutoStream::choice(&io::stderr()) != ColorChoice::Never)
            .fmt_fields(message_only),
    )
    .init();
}

/// Whether standard error is what systemd connected to the journal. It may have been redirected since; see
/// JOURNAL_STREAM in systemd.exec(5).
fn stderr_is_the_journal() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    fstat(io::stderr()).is_ok_and(|stderr| stream == format!("{}:{}", stderr.st_dev, stderr.st_ino))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn the_earlier_name_of_an_option_works_and_is_not_shown() {
        for option in ["--reset-failed", "--forgive"] {
            let cli = Cli::try_parse_from(["auto-ext", "schedulers", option, "lavd"]).unwrap();
            let Command::Schedulers { reset_failed, .. } = cli.command else {
                panic!("{cli:?}");
            };
            assert_eq!(reset_failed.as_deref(), Some("lavd"));
        }
        let mut command = command();
        let schedulers = command.find_subcommand_mut("schedulers").unwrap();
        let help = schedulers.render_long_help().to_string();
        assert!(
            help.contains("--reset-failed") && !help.contains("forgive"),
            "{help}"
        );
    }
}
