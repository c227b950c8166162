//! How a benchmark in the test machine reports: lines of JSON among what it says.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::de::DeserializeOwned;

use crate::command::say;
use crate::debian;
use crate::machine::{Kernel, Lines, Machine, Role, SYSTEM_TESTS};

/// What is done several times with each of several things of which the truth is known.
pub(super) struct Plants<'a> {
    /// A subcommand of the system tests.
    pub(super) job: &'a str,
    pub(super) times: u32,
    /// Only those with this in their name.
    pub(super) only: Option<&'a str>,
    /// For how long the machine may run.
    pub(super) longest: Duration,
}

impl Plants<'_> {
    /// Returns the kernel's version, and what [`records`] does.
    pub(super) fn records<T: DeserializeOwned>(
        &self,
        show: impl Fn(&T) -> String,
    ) -> Result<(String, Vec<T>, Result<()>)> {
        debian::ensure_packages()?;
        let machine = Machine::new(Kernel::Role(Role::Newest))
            .memory("3G")
            .with_programs()
            .timeout(self.longest);
        let version = machine.prepare()?;
        let times = self.times.to_string();
        let command = [
            SYSTEM_TESTS,
            self.job,
            &times,
            self.only.unwrap_or_default(),
        ];
        let (all, ended) = records(&machine, &command.map(str::to_owned), show);
        Ok((version, all, ended))
    }
}

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
