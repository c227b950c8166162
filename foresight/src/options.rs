//! The command line: subcommands, options and their bounds.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::time::Duration;

use auto_ext_service::duration;
use clap::{Parser, Subcommand, ValueEnum};
use foresight_model::export::Format;
use serde::{Deserialize, Serialize};

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
    /// Schedule as without lines, and write to a file what bursts there are
    Collect(Collect),
    /// Learn from such files, and say how well that predicts
    Train(Train),
    /// Print the numbers that the kernel gets of a model
    Export {
        /// The model file
        file: PathBuf,
        /// c, json or csv
        #[arg(long, default_value = "json")]
        format: Format,
    },
    /// Say what the running one does, and how well it predicts
    Stats {
        /// As one JSON object
        #[arg(long)]
        json: bool,
        /// Again each time that this has passed, until it is ended
        #[arg(long, value_name = "TIME", value_parser = every)]
        every: Option<Duration>,
        #[command(flatten)]
        socket: Socket,
    },
    /// Say what the running one knows of a task, and what it predicted of late
    Why {
        /// The task: a thread's number
        pid: u32,
        /// As one JSON object
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        socket: Socket,
    },
}

/// The options of `collect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Collect {
    /// The file, which is replaced; it names programs
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// For how long, unless it is asked to leave or the command ends
    #[arg(long = "for", value_name = "TIME", value_parser = length)]
    pub(crate) length: Option<Duration>,
    /// How many bursts and moves a second are written at most
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,
    #[command(flatten)]
    pub(crate) moves: Moves,
    /// A command that is run meanwhile, and gets SIGTERM if it has not ended by itself
    #[arg(last = true)]
    pub(crate) command: Vec<String>,
}

/// The options of `train`.
#[derive(Debug, clap::Args)]
pub(crate) struct Train {
    /// What `collect` wrote
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The model file, which is replaced if what was learned does better
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Learn about moves from a rule, and not from what came of them
    #[arg(long)]
    pub(crate) imitate: bool,
    /// The same seed, the same model
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Write it all the same, not to be acted on before it wins
    #[arg(long)]
    pub(crate) force: bool,
}

/// Where the running one is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Socket {
    /// Where it listens; foresight/socket below $STATE_DIRECTORY, else below /var/lib/auto-ext
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
}

/// The options of `run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// What is made of predictions
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    pub(crate) mode: Mode,
    /// For how long a task may run while others wait
    #[arg(long, value_name = "TIME", default_value = "3ms", value_parser = slice)]
    pub(crate) slice_max: Duration,
    #[command(flatten)]
    pub(crate) moves: Moves,
    /// What was learned of programs, which is read at the start and kept at the end; foresight/model.json beside the socket's
    /// usual place. SIGUSR1 has the network for moves in it read again
    #[arg(long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
    /// How often lines are fitted anew
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = refit)]
    pub(crate) refit: Duration,
    #[command(flatten)]
    pub(crate) socket: Socket,
}

/// Between what tasks are moved, and what is tried of that.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Moves {
    /// As if each N CPUs shared a last-level cache of their own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) virt_llc: Option<u16>,
    /// In which share of moves from one last-level cache to another chance has the opposite done, to learn what comes of it
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub(crate) explore: f64,
}

/// What is made of predictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Every task is predicted to do as it did on average
    Baseline,
    /// The same, but lines are fitted, and it is watched how they do
    Shadow,
    /// Lines count for each task of which they do better, and what the model file says of moves if it has proven itself here
    Act,
    /// A shadow until lines do better over all, and again once they no longer do; the same of moves, by themselves
    Auto,
}

impl Default for Run {
    /// As without arguments.
    fn default() -> Self {
        Cli::parse_from(["scx_foresight"]).run
    }
}

impl Display for Mode {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Baseline => "baseline",
            Self::Shadow => "shadow",
            Self::Act => "act",
            Self::Auto => "auto",
        })
    }
}

/// What a person can read, and not so often that asking is a load.
fn every(text: &str) -> Result<Duration, String> {
    let bounds = Duration::from_millis(100)..=Duration::from_hours(1);
    let every = duration::parse(text).map_err(|error| error.to_string())?;
    let fits = bounds.contains(&every);
    fits.then_some(every)
        .ok_or("not between 100ms and 1h".to_owned())
}

/// As samples may have it: beyond a half chance would be the rule.
fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "no number".to_owned())?;
    let fits = (0.0..=0.5).contains(&share);
    fits.then_some(share)
        .ok_or("not between 0 and 0.5".to_owned())
}

/// No shorter than the shortest that is given, and far from what the kernel takes for a stall.
fn slice(text: &str) -> Result<Duration, String> {
    let bounds = Duration::from_micros(300)..=Duration::from_millis(20);
    let slice = duration::parse(text).map_err(|error| error.to_string())?;
    let fits = bounds.contains(&slice);
    fits.then_some(slice)
        .ok_or("not between 300us and 20ms".to_owned())
}

/// Any time.
fn length(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

/// More often costs more and brings nothing; more seldom, and what was learned is of the past.
fn refit(text: &str) -> Result<Duration, String> {
    let bounds = Duration::from_millis(100)..=Duration::from_secs(10);
    let refit = duration::parse(text).map_err(|error| error.to_string())?;
    let fits = bounds.contains(&refit);
    fits.then_some(refit)
        .ok_or("not between 100ms and 10s".to_owned())
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
    fn a_mode_is_called_the_same_everywhere() {
        for mode in Mode::value_variants() {
            let name = mode.to_string();
            assert_eq!(mode.to_possible_value().unwrap().get_name(), name);
            assert_eq!(serde_json::to_string(mode).unwrap(), format!("\"{name}\""));
        }
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
    fn what_cannot_be_collected_is_bad_usage() {
        let collect = |words: &str| {
            let words = format!("scx_foresight collect {words}");
            Cli::try_parse_from(words.split_whitespace()).is_ok()
        };
        assert!(collect(
            "--out a --for 5m --rate 100 --explore 0.02 -- make -j"
        ));
        for words in [
            "",
            "--out a --for 5",
            "--out a --rate 0",
            "--out a --rate 4294967296",
            "--out a make",
        ] {
            assert!(!collect(words), "{words}");
        }
    }

    #[test]
    fn chance_has_bounds() {
        assert_eq!(share("0.02"), Ok(0.02));
        for text in ["-0.1", "0.51", "NaN", "x"] {
            assert!(share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_have_bounds() {
        assert!(refit("99ms").is_err() && refit("11s").is_err());
        assert_eq!(refit("1s"), Ok(Duration::from_secs(1)));
        assert!(every("99ms").is_err() && every("61m").is_err());
        assert_eq!(every("1s"), Ok(Duration::from_secs(1)));
        assert!(slice("299us").is_err() && slice("21ms").is_err() && slice("3").is_err());
        assert_eq!(slice("300us"), Ok(Duration::from_micros(300)));
    }
}
