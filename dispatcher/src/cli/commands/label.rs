//! `auto-ext label`: a trace of what the daemon measured last, with the class that it should have had.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use auto_ext_service::clock::utc;
use auto_ext_service::duration;

use super::client::Client;
use super::labelled::{self, Programs, require_class};
use super::new_file;
use crate::sources::read_policy;
use crate::trace::Reader;

/// How much of the past the daemon keeps.
const MOST: Duration = Duration::from_mins(10);

/// The longest note, in bytes: far less than a line of a trace may have.
const MAX_NOTE: usize = 4096;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A class of the policy
    class: String,
    /// For how long it was that, until now; 10m at most
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time)]
    last: Duration,
    /// What ran, in your words
    #[arg(long, value_name = "TEXT", value_parser = note)]
    note: Option<String>,
    /// The trace to write: a new file, or `-` for standard output; by default CLASS-TIME.jsonl in this directory
    #[arg(long, value_name = "F")]
    out: Option<PathBuf>,
    /// The policy
    #[arg(long, value_name = "P", default_value = read_policy::INSTALLED)]
    policy: PathBuf,
}

/// Asks the daemon, writes the trace, and says what the policy makes of it.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options {
        class,
        last,
        note,
        out,
        policy: path,
    } = options;
    let policy = read_policy::load(&path)?;
    require_class(&policy, &path, &class)?;
    let seconds = u32::try_from(last.as_secs()).unwrap_or(u32::MAX);
    let client = Client::connect().await?;
    let text: String = client.call("Trace", &seconds).await?;
    let mut reader = Reader::new("what the daemon measured", text.as_bytes())?;
    let mut header = reader.header().clone();
    header.label = Some(note.map_or_else(|| class.clone(), |note| format!("{class}: {note}")));
    let out = out.unwrap_or_else(|| file_name(&class, header.started_us).into());
    let output = new_file::create(&out)?;
    let summary = labelled::copy(&mut reader, &header, output, Programs::AreLeftOut, &policy)
        .with_context(|| format!("{}: cannot be written", out.display()))?;
    let (out, words) = (out.display(), labelled::in_words(&summary));
    writeln!(io::stderr(), "{out}: {words}")?;
    writeln!(
        io::stderr(),
        "`auto-ext report-class {out}` packs it to be sent"
    )?;
    Ok(ExitCode::SUCCESS)
}

/// `parallel-2026-11-29T020401Z.jsonl`.
fn file_name(class: &str, started_us: u64) -> String {
    let time = utc(started_us).replace(':', "");
    let class: String = class
        .chars()
        .map(|char| match char {
            char if char.is_ascii_alphanumeric() => char,
            _ => '-',
        })
        .collect();
    format!("{class}-{time}.jsonl")
}

/// Parses a time of which the daemon still knows what it measured.
fn time(text: &str) -> Result<Duration, String> {
    let time = duration::parse(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(1)..=MOST).contains(&time) {
        Ok(time)
    } else {
        Err("must be from 1s to 10m, which is what the daemon keeps".to_owned())
    }
}

/// Parses what ran, which becomes a part of a trace's first line.
fn note(text: &str) -> Result<String, String> {
    if text.len() <= MAX_NOTE && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err("must be one line of 4096 bytes at most".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_called_by_class_and_time_whatever_the_class_is_called() {
        let name = file_name("a/b c", 1_764_381_841_000_000);
        assert_eq!(name, "a-b-c-2025-11-29T020401Z.jsonl");
    }

    #[test]
    fn a_time_is_one_that_the_daemon_keeps() {
        assert_eq!(time("5m"), Ok(Duration::from_mins(5)));
        assert!(time("11m").is_err() && time("0s").is_err() && time("soon").is_err());
    }

    #[test]
    fn a_note_is_one_line() {
        assert!(note("make -j16, in a container").is_ok());
        assert!(note("two\nlines").is_err() && note(&"x".repeat(5000)).is_err());
    }
}
