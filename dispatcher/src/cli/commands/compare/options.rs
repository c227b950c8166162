//! The options of `auto-ext compare`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use auto_ext_evidence::{Better, MAX_PAIRS};
use auto_ext_policy::KERNEL;
use auto_ext_service::duration;
use regex::{Regex, RegexBuilder};

use super::comparison::Primary;

/// The longest expression, in bytes, and the most memory that it may take when it is compiled.
const MAX_EXPRESSION: usize = 1024;
const MAX_COMPILED: usize = 1 << 20;

/// How long is measured in a turn under the load that runs.
const ARM: Duration = Duration::from_secs(15);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What the others are compared with: `kernel`, a scheduler of the policy, or one that is installed
    #[arg(required_unless_present = "tune", value_name = "INCUMBENT")]
    incumbent: Option<String>,
    /// What is compared with it, eight at most
    #[arg(required_unless_present = "tune", num_args = 1..=8, value_name = "CHALLENGER")]
    pub(super) challengers: Vec<String>,
    /// In place of names, find which arguments suit a scheduler best: this YAML file has `scheduler`, and either `sets`, a
    /// list of lists of arguments, or `ranges`, a list of `{option, from, to, steps}`; `always` are arguments of each. In
    /// each round every set has a turn, the worse half is out after ever more rounds, and the last one is compared
    /// with the kernel's own scheduler in pairs of its own
    #[arg(long, value_name = "FILE", conflicts_with_all = ["incumbent", "challengers", "live"])]
    pub(super) tune: Option<PathBuf>,
    /// Begin no pair that would end later than this
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    lasts: Option<Duration>,
    /// In place of a command, compare under the load that runs, for this long in all: judged by how long tasks wait
    /// for a CPU that are woken, which takes root (CAP_BPF and CAP_PERFMON), or by `--goal`
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with_all = ["command", "measure", "lasts"])]
    pub(super) live: Option<Duration>,
    /// How long is measured in each turn of `--live`, from 1s to 10m; by default 15s. The scheduler has run for 3 s
    /// by then, or for 5 or 8 where the one before still shows
    #[arg(long, value_name = "TIME", value_parser = arm, requires = "live", conflicts_with = "command")]
    arm: Option<Duration>,
    /// What is to be better: `latency`, waits for a CPU, is what `--live` judges by; `requests`, the requests of disks and packets that are
    /// completed, `throughput`, the instructions of programs, and `energy` for each instruction can be in its place. With a command, `energy` is what the processors take while it runs
    #[arg(long, value_enum, conflicts_with_all = ["measure", "tune"])]
    goal: Option<Goal>,
    /// How many pairs at most of each challenger, 30 at most
    #[arg(long, value_name = "N", value_parser = pairs)]
    pub(super) runs: Option<usize>,
    /// Judge by a number in the command's output in place of the time it takes: the first group of this
    /// expression, or all of it, where it matches last
    #[arg(long, value_name = "REGEX", value_parser = expression, requires = "direction")]
    pub(super) measure: Option<Regex>,
    #[command(flatten)]
    direction: Direction,
    /// Keep what is found with what trials find, as evidence for this class, or without CLASS for the one that the load has in most
    /// turns: what is better then goes first for it, where trials are not off, and what is not is not tried any more. Takes `kernel`
    /// as INCUMBENT and, without the daemon, CLASS
    #[arg(long, value_name = "CLASS", num_args = 0..=1, default_missing_value = "", conflicts_with = "tune")]
    pub(super) keep: Option<String>,
    /// As one JSON object
    #[arg(long)]
    pub(super) json: bool,
    /// Write every turn to this file, a new one
    #[arg(long, value_name = "F")]
    pub(super) csv: Option<PathBuf>,
    /// Toss the coin that orders the turns as a comparison with this number did
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// The command with its arguments, which runs once in each turn
    #[arg(last = true, required_unless_present = "live", value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

/// What a better scheduler is better at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Goal {
    Latency,
    Requests,
    Throughput,
    Energy,
}

#[derive(Debug, clap::Args)]
#[group(id = "direction", multiple = false, requires = "measure")]
struct Direction {
    /// A lower number is better
    #[arg(long)]
    lower: bool,
    /// A higher number is better
    #[arg(long)]
    higher: bool,
}

impl Options {
    /// Which of two numbers is better: times are the lower, the better.
    pub(super) fn better(&self) -> Better {
        if self.direction.higher {
            Better::Higher
        } else {
            Better::Lower
        }
    }

    /// By what is judged.
    ///
    /// # Errors
    /// When a command has a goal that only the load that runs can have.
    pub(super) fn primary(&self) -> anyhow::Result<Primary> {
        if let Some(expression) = &self.measure {
            return Ok(Primary::Number {
                expression: expression.to_string(),
                better: self.better(),
            });
        }
        Ok(match (self.goal, self.live) {
            (None | Some(Goal::Latency), Some(_)) => Primary::Waits,
            (Some(Goal::Requests), Some(_)) => Primary::Completions,
            (Some(Goal::Throughput), Some(_)) => Primary::Instructions,
            (Some(Goal::Energy), Some(_)) => Primary::EnergyPerInstruction,
            (Some(Goal::Energy), None) => Primary::Energy,
            (None, None) => Primary::Wall,
            (Some(Goal::Latency | Goal::Requests | Goal::Throughput), None) => {
                bail!("of a command `--goal` can be `energy` alone; others take `--live`")
            }
        })
    }

    /// What the others are compared with.
    pub(super) fn incumbent(&self) -> &str {
        self.incumbent.as_deref().unwrap_or(KERNEL)
    }

    /// How long the whole may take.
    pub(super) fn lasts(&self) -> Option<Duration> {
        self.live.or(self.lasts)
    }

    /// How long is measured in a turn under the load that runs.
    pub(super) fn arm(&self) -> Duration {
        self.arm.unwrap_or(ARM)
    }

    /// How many pairs there are of each challenger at most.
    pub(super) fn pairs(&self) -> usize {
        self.runs.unwrap_or(MAX_PAIRS)
    }
}

/// Parses how long the whole may take.
fn time(text: &str) -> Result<Duration, String> {
    let time = duration::parse(text).map_err(|error| error.to_string())?;
    if (1..=7 * 86400).contains(&time.as_secs()) {
        Ok(time)
    } else {
        Err("must be from 1s to a week".to_owned())
    }
}

/// Parses how long is measured in a turn.
fn arm(text: &str) -> Result<Duration, String> {
    let time = duration::parse(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(1)..=Duration::from_mins(10)).contains(&time) {
        Ok(time)
    } else {
        Err("must be from 1s to 10m".to_owned())
    }
}

/// Parses a number of pairs.
fn pairs(text: &str) -> Result<usize, String> {
    let pairs = text.parse().ok();
    let pairs = pairs.filter(|pairs| (1..=MAX_PAIRS).contains(pairs));
    pairs.ok_or_else(|| format!("must be from 1 to {MAX_PAIRS}"))
}

/// Parses an expression.
fn expression(text: &str) -> Result<Regex, String> {
    if text.is_empty() || text.len() > MAX_EXPRESSION {
        return Err(format!("must be of 1 to {MAX_EXPRESSION} bytes"));
    }
    let mut builder = RegexBuilder::new(text);
    builder
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_COMPILED);
    builder.build().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn parse(line: &str) -> Result<Options, String> {
        let words = std::iter::once("compare").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        Ok(line.options)
    }

    #[test]
    fn the_first_name_is_the_incumbent_and_what_follows_the_dashes_the_command() {
        let options = parse("kernel bpfland cosmos --runs 3 -- make -j8").unwrap();
        assert_eq!(options.incumbent(), "kernel");
        assert_eq!(options.challengers, ["bpfland", "cosmos"]);
        assert_eq!(options.command, ["make", "-j8"]);
        assert_eq!((options.pairs(), options.better()), (3, Better::Lower));
        assert_eq!(parse("kernel bpfland -- true").unwrap().pairs(), MAX_PAIRS);
    }

    #[test]
    fn what_is_missing_or_out_of_bounds_is_refused() {
        let nine = "a ".repeat(10);
        for line in [
            "kernel -- true",
            "kernel bpfland",
            "kernel bpfland --runs 0 -- true",
            "kernel bpfland --runs 31 -- true",
            "kernel bpfland --for 8d -- true",
            "kernel bpfland --measure fps -- true",
            "kernel bpfland --higher -- true",
            "kernel bpfland --measure fps --lower --higher -- true",
            "kernel bpfland --measure ( --lower -- true",
            "kernel --tune f -- true",
            "--tune f",
            "--tune f --live 10m",
            "-- true",
            "kernel bpfland --live 10m -- true",
            "kernel bpfland --live 10m --for 5m",
            "kernel bpfland --live 10m --measure fps --lower",
            "kernel bpfland --live 10m --arm 0s",
            "kernel bpfland --arm 5s -- true",
            "kernel bpfland --goal speed --live 10m",
            "kernel bpfland --goal energy --measure fps --lower -- true",
            "--tune f --goal energy -- true",
            "--tune f --keep -- true",
            &format!("{nine} -- true"),
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        let options = parse("kernel bpfland --measure fps --higher -- true").unwrap();
        assert_eq!(options.better(), Better::Higher);
        for (keep, class) in [("--keep", ""), ("--keep parallel", "parallel")] {
            let options = parse(&format!("kernel bpfland {keep} -- true")).unwrap();
            assert_eq!(options.keep.as_deref(), Some(class));
            assert_eq!(options.command, ["true"]);
        }
        let options = parse("--tune f -- true").unwrap();
        assert_eq!(
            (options.incumbent(), options.challengers.len()),
            ("kernel", 0)
        );
        let options = parse("kernel bpfland --live 10m").unwrap();
        assert_eq!(
            (options.lasts(), options.arm()),
            (Some(Duration::from_mins(10)), ARM)
        );
    }

    #[test]
    fn a_goal_says_by_what_is_judged() {
        for (line, primary) in [
            ("-- true", Primary::Wall),
            ("--goal energy -- true", Primary::Energy),
            ("--live 10m", Primary::Waits),
            ("--live 10m --goal latency", Primary::Waits),
            ("--live 10m --goal requests", Primary::Completions),
            ("--live 10m --goal throughput", Primary::Instructions),
            ("--live 10m --goal energy", Primary::EnergyPerInstruction),
        ] {
            let options = parse(&format!("kernel bpfland {line}")).unwrap();
            assert_eq!(options.primary().unwrap(), primary, "{line}");
        }
        for goal in ["latency", "requests", "throughput"] {
            let options = parse(&format!("kernel bpfland --goal {goal} -- true")).unwrap();
            let error = options.primary().unwrap_err().to_string();
            assert!(error.contains("others take `--live`"), "{error}");
        }
    }
}
