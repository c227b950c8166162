//! How long `auto-ext replay` takes for an hour of trace. The hour is made of the traces that the tests
//! replay, one after the other, again and again.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::statistics::spread;
use crate::command::{command, output};
use crate::{ebpf, workspace};

/// How long the trace is, in microseconds.
const HOUR_US: u64 = 3_600_000_000;

/// How much is measured.
#[derive(clap::Args, Default)]
pub(super) struct Arguments {
    /// How often it is replayed; 10 times if it is not given
    #[arg(long)]
    times: Option<usize>,
}

/// Measures.
pub(super) fn replay(arguments: &Arguments, quick: bool, out: &mut dyn Write) -> Result<()> {
    let times = arguments.times.unwrap_or(if quick { 1 } else { 10 }).max(1);
    ebpf::build_release()?;
    let traces = traces()?;
    let hour = tempfile::NamedTempFile::new().context("no place for a trace")?;
    let mut writer = BufWriter::new(&hour);
    let (header, _) = traces.first().context("there are no traces")?;
    writeln!(writer, "{header}")?;
    let (mut now, mut windows) = (0, 0);
    for (_, entries) in traces.iter().cycle() {
        if now >= HOUR_US {
            break;
        }
        let begin = now;
        for entry in entries {
            let mut entry = entry.clone();
            let at = &mut entry["at_us"];
            now = begin + at.as_u64().context("an entry without its time")?;
            *at = now.into();
            windows += u64::from(entry.get("dt_us").is_some());
            writeln!(writer, "{entry}")?;
        }
    }
    writer.flush()?;
    drop(writer);

    let mut seconds = Vec::new();
    for _ in 0..times {
        let mut replay = command(workspace::release("auto-ext"));
        replay.arg("replay").arg(hour.path());
        replay
            .arg("--policy")
            .arg(workspace::root().join("policies.yaml"));
        let begin = Instant::now();
        output(&mut replay)?;
        seconds.push(begin.elapsed().as_secs_f64());
    }
    let (lowest, median, highest) = spread(&seconds);
    writeln!(
        out,
        "an hour of trace, {windows} windows: replayed in {median:.3} s ({lowest:.3} to {highest:.3} s, {times} times)"
    )?;
    Ok(())
}

/// Every recorded trace: its header, its entries.
fn traces() -> Result<Vec<(Value, Vec<Value>)>> {
    let directory = workspace::root().join("dispatcher/tests/traces");
    let found =
        fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut paths = found
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<PathBuf>>>()?;
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "jsonl"));
    paths.sort();
    let read = |path: &PathBuf| -> Result<(Value, Vec<Value>)> {
        let text = fs::read_to_string(path)?;
        let mut lines = text.lines().map(serde_json::from_str);
        let header = lines.next().context("it is empty")??;
        Ok((header, lines.collect::<Result<_, _>>()?))
    };
    let named =
        |path: &PathBuf| read(path).with_context(|| format!("cannot read {}", path.display()));
    paths.iter().map(named).collect()
}
