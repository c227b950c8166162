//! The command line: subcommands, options and their bounds.

use std::time::Duration;

use auto_ext_service::duration;
use clap::{Parser, Subcommand, ValueEnum};

/// Schedules tasks by the CPU time that each is predicted to want
#[derive(Debug, Parser)]
#[command(name = "scx_foresight", version)]
#[command(args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Exit codes: 0 asked to leave, 1 failed or put out by the kernel, 2 bad usage"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Those of `run`, which is what is done without a subcommand.
    #[command(flatten)]
    pub(crate) run: Run,
}

/// What is done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Schedule until asked to leave
    Run(Run),
}

/// The options of `run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// What is made of predictions
    #[arg(long, value_enum, default_value_t = Mode::Baseline)]
    pub(crate) mode: Mode,
    /// For how long a task may run while others wait
    #[arg(long, value_name = "TIME", default_value = "3ms", value_parser = slice)]
    pub(crate) slice_max: Duration,
    /// As if each N CPUs shared a last-level cache of their own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) virt_llc: Option<u16>,
}

/// What is made of predictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// A task is predicted to do as it did on average
    Baseline,
}

/// A time slice: no shorter than the shortest that is given, and far from what the kernel takes for a stall.
fn slice(text: &str) -> Result<Duration, String> {
    let slice = duration::parse(text).map_err(|error| error.to_string())?;
    let bounds = Duration::from_micros(300)..=Duration::from_millis(20);
    if bounds.contains(&slice) {
        return Ok(slice);
    }
    Err("not between 300us and 20ms".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_subcommand_it_runs_with_the_same_options() {
        let run = |words: &[&str]| Cli::try_parse_from(words).unwrap();
        let slice = run(&["scx_foresight", "--slice-max", "1ms"]).run.slice_max;
        assert_eq!(slice, Duration::from_millis(1));
        let Some(Command::Run(options)) = run(&["scx_foresight", "run"]).command else {
            panic!("`run` is a subcommand");
        };
        assert_eq!(options.slice_max, Duration::from_millis(3));
    }

    #[test]
    fn slices_have_bounds() {
        assert!(slice("299us").is_err() && slice("21ms").is_err() && slice("3").is_err());
        assert_eq!(slice("300us"), Ok(Duration::from_micros(300)));
    }
}
