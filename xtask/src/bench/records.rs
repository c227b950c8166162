//! How a benchmark in the test machine reports: lines of JSON among what it says.

use anyhow::{Context as _, Result, ensure};
use serde::de::DeserializeOwned;

use crate::command::say;
use crate::machine::{Lines, Machine};

/// Runs `command` in the machine and returns its records, which are shown as they come, and how it ended:
/// what was measured is worth having even if it did not come to its end.
pub(super) fn records<T: DeserializeOwned>(
    machine: &Machine,
    command: &[String],
    show: impl Fn(&T) -> String,
) -> (Vec<T>, Result<()>) {
    let mut records = Vec::new();
    let mut lines = Lines::new(|line: &str| {
        if !line.starts_with('{') {
            say(line);
            return Ok(());
        }
        let record: T =
            serde_json::from_str(line).with_context(|| format!("the machine wrote `{line}`"))?;
        say(show(&record));
        records.push(record);
        Ok(())
    });
    let exit = machine.run(command, &mut |bytes| lines.feed(bytes));
    let ended = lines.finish().and(exit).and_then(|exit| {
        ensure!(exit.status == 0, "ended with status {}", exit.status);
        Ok(())
    });
    (records, ended)
}
