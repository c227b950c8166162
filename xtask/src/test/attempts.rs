//! Owns running system tests in a machine until each has had its chance: what has not passed is run
//! once more, in a new machine, and what passes only there is counted apart. When the emulation
//! fails the machine, the tests that are left go on in another.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use super::count::Count;
use super::shown;
use crate::command::say;
use crate::machine::{Attempt, BOOTS, Machine, SYSTEM_TESTS};

/// The variable by which the system tests are told what has passed already: names with spaces between.
const PASSED: &str = "AUTO_EXT_TESTS_PASSED";

/// What the tests have come to.
#[derive(Debug, Default)]
struct Progress {
    /// The test that runs.
    current: Option<String>,
    passed: BTreeSet<String>,
    /// What has failed, in whichever attempt; it may have passed since.
    failed: BTreeSet<String>,
}

impl Progress {
    /// Takes a line of what libtest-mimic prints: a test's name at its start, and how it ended behind
    /// the name or, if the test itself has said something, on a line of its own.
    fn note(&mut self, line: &str) {
        let mut end = line;
        if let Some((name, rest)) = line
            .strip_prefix("test ")
            .and_then(|line| line.split_once(" ... "))
        {
            self.current = Some(name.trim_end().to_owned());
            end = rest;
        }
        let set = match end.trim_end() {
            "ok" => &mut self.passed,
            "FAILED" => &mut self.failed,
            _ => return,
        };
        set.extend(self.current.take());
    }

    /// What the tests are told of those before.
    fn names(&self) -> String {
        let names: Vec<&str> = self.passed.iter().map(String::as_str).collect();
        names.join(" ")
    }

    /// What has failed and not passed.
    fn left(&self) -> BTreeSet<&String> {
        self.failed.difference(&self.passed).collect()
    }

    fn count(&self) -> Count {
        let second: BTreeSet<_> = self.failed.intersection(&self.passed).collect();
        if !second.is_empty() {
            say(format!("at the second attempt only: {second:?}"));
        }
        let number = |length| u64::try_from(length).unwrap_or(u64::MAX);
        Count {
            passed: number(self.passed.len()),
            failed: number(self.left().len()),
            second: number(second.len()),
        }
    }
}

/// Runs the system tests' program with these words, and counts what it says. Its lines are shown behind
/// `prefix`.
pub(super) fn in_machine(prefix: &str, machine: &Machine, words: &[&str]) -> Result<Count> {
    let prefix = format!("[{prefix}] ");
    let command: Vec<String> = [SYSTEM_TESTS]
        .iter()
        .chain(words)
        .map(ToString::to_string)
        .collect();
    let mut progress = Progress::default();
    let mut failures = 0;
    for _ in 0..=BOOTS {
        progress.current = None;
        let machine = machine.clone().env(PASSED, progress.names());
        let mut lines = shown(&prefix, |line| progress.note(line));
        let attempt = machine.attempt(&command, &mut |bytes| lines.feed(bytes));
        lines.finish()?;
        let why = match attempt {
            Ok(Attempt::Exit(exit)) if exit.status == 0 => return Ok(progress.count()),
            Ok(Attempt::Exit(_)) => format!("failed: {:?}", progress.left()),
            Ok(Attempt::Emulation(why)) => {
                say(format!("{why}; the other tests go on in a new machine"));
                continue;
            }
            Err(error) => {
                progress.failed.extend(progress.current.take());
                format!("{error:#}")
            }
        };
        failures += 1;
        if failures == 2 {
            say(why);
            return Ok(progress.count().ended(false));
        }
        say(format!(
            "{why}; what has not passed is run once more, in a new machine"
        ));
    }
    bail!("the emulation failed {BOOTS} machines");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(lines: &[&str]) -> Progress {
        let mut progress = Progress::default();
        for line in lines {
            progress.note(line);
        }
        progress
    }

    #[test]
    fn an_end_is_behind_the_name_or_on_a_line_of_its_own() {
        let progress = noted(&[
            "running 4 tests",
            "test truth::quick      ... ok",
            "test truth::talkative ... ",
            "  all is ok",
            "ok",
            "test truth::wrong ... FAILED",
            "test truth::long ... ",
            "  Error: no",
            "FAILED",
            "test truth::lost ... ",
        ]);
        assert_eq!(progress.names(), "truth::quick truth::talkative");
        assert_eq!(
            Vec::from_iter(&progress.failed),
            ["truth::long", "truth::wrong"]
        );
        assert_eq!(progress.current.as_deref(), Some("truth::lost"));
        assert_eq!(progress.count().passed, 2);
        assert_eq!(progress.count().failed, 2);
    }

    #[test]
    fn what_passes_at_the_second_attempt_only_is_counted_apart() {
        let mut progress = noted(&["test a ... ok", "test b ... FAILED", "test c ... FAILED"]);
        progress.note("test b ... ok");
        progress.note("test c ... FAILED");
        let count = Count {
            passed: 2,
            failed: 1,
            second: 1,
        };
        assert_eq!(progress.count(), count);
    }
}
