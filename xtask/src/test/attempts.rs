//! Owns running system tests in machines. A test under which the kernel panics, hangs or stalls has failed, and the others
//! go on in a new machine. What ran when the emulation failed runs a second time, and so does a test that failed, as an
//! emulated machine is at times slower than any real one; each is counted and named, and the third that failed is one too many.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use super::count::Count;
use super::shown;
use crate::command::{complain, say};
use crate::machine::{Attempt, Machine, SYSTEM_TESTS};

/// The variable by which the system tests are told what has run already: names with spaces between.
const DONE: &str = "AUTO_EXT_TESTS_DONE";

/// So many tests that failed and run a second time are too many.
const SECOND_ATTEMPTS: usize = 3;

/// How often the emulation may fail under one step's tests: dozens of them load schedulers, and each load has a chance of it.
const EMULATION_FAILURES: u32 = 5;

/// How many machines may be lost under their tests before the others are not tried any more.
const LOST_MACHINES: u32 = 3;

/// What the tests have come to.
#[derive(Debug, Default)]
struct Progress {
    /// The test that runs.
    current: Option<String>,
    passed: BTreeSet<String>,
    failed: BTreeSet<String>,
    /// Of these, what took its machine with it.
    lost: BTreeSet<String>,
    /// What runs again because it failed, and because it ran when the emulation did.
    second: BTreeSet<String>,
    interrupted: BTreeSet<String>,
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
        let done = self.passed.iter().chain(&self.failed);
        done.map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    /// Has what failed run again, if nothing of it has, and not too much of all.
    fn fail_once_more(&mut self) -> bool {
        let again = self.failed.difference(&self.lost).cloned();
        let again: BTreeSet<String> = again.collect();
        let may = !again.is_empty()
            && again.is_disjoint(&self.second)
            && again.len() + self.second.len() < SECOND_ATTEMPTS;
        if may {
            self.failed.retain(|test| !again.contains(test));
            self.second.extend(again);
        }
        may
    }

    fn count(&self) -> Count {
        let second: Vec<_> = self.second.union(&self.interrupted).collect();
        if !second.is_empty() {
            say(format!("at a second attempt: {second:?}"));
        }
        let number = |length| u64::try_from(length).unwrap_or(u64::MAX);
        Count {
            passed: number(self.passed.len()),
            failed: number(self.failed.len()),
            second: number(second.len()),
        }
    }
}

/// Runs the system tests' program with these words, and counts what it says. Its lines are shown behind
/// `prefix`, which is also the name of the machine.
pub(super) fn in_machine(prefix: &str, machine: &Machine, words: &[&str]) -> Result<Count> {
    let machine = machine.clone().called(prefix.replace(' ', "-"));
    let prefix = format!("[{prefix}] ");
    let command: Vec<String> = [SYSTEM_TESTS]
        .iter()
        .chain(words)
        .map(ToString::to_string)
        .collect();
    let mut progress = Progress::default();
    let (mut lost, mut emulation_failures) = (0, 0);
    loop {
        progress.current = None;
        let machine = machine.clone().env(DONE, progress.names());
        let mut lines = shown(&prefix, |line| progress.note(line));
        let attempt = machine.attempt(&command, &mut |bytes| lines.feed(bytes));
        lines.finish()?;
        match attempt {
            // In this machine or in one before it.
            Ok(Attempt::Exit(_)) if progress.fail_once_more() => {
                say("what failed runs once more, in a new machine");
            }
            Ok(Attempt::Exit(exit)) => return Ok(progress.count().ended(exit.status == 0)),
            Ok(Attempt::Emulation(why)) => {
                emulation_failures += 1;
                if emulation_failures == EMULATION_FAILURES {
                    bail!("the emulation failed {EMULATION_FAILURES} machines, the last: {why}");
                }
                progress.interrupted.extend(progress.current.take());
                say(format!(
                    "{why}; what ran and what is left run in a new machine"
                ));
            }
            Err(error) => {
                complain(format!("{error:#}"));
                lost += 1;
                let Some(current) = progress.current.take().filter(|_| lost < LOST_MACHINES) else {
                    return Ok(progress.count().ended(false));
                };
                complain(format!(
                    "FAILED: {current}; the tests that are left run in a new machine"
                ));
                progress.lost.insert(current.clone());
                progress.failed.insert(current);
            }
        }
    }
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
        assert_eq!(
            progress.names(),
            "truth::quick truth::talkative truth::long truth::wrong"
        );
        assert_eq!(
            Vec::from_iter(&progress.failed),
            ["truth::long", "truth::wrong"]
        );
        assert_eq!(progress.current.as_deref(), Some("truth::lost"));
        assert_eq!(progress.count().passed, 2);
        assert_eq!(progress.count().failed, 2);
    }

    #[test]
    fn what_failed_runs_once_more_but_not_twice_nor_after_it_took_its_machine_with_it() {
        let mut progress = noted(&["test a ... FAILED", "test b ... FAILED", "test c ... ok"]);
        progress.lost.insert("b".to_owned());
        assert!(progress.fail_once_more());
        assert_eq!(progress.names(), "c b");
        progress.note("test a ... FAILED");
        assert!(!progress.fail_once_more());
        assert_eq!((progress.count().failed, progress.count().second), (2, 1));
        let mut progress = noted(&[
            "test a ... FAILED",
            "test b ... FAILED",
            "test c ... FAILED",
        ]);
        assert!(!progress.fail_once_more(), "three are too many");
    }

    #[test]
    fn what_the_emulation_interrupted_runs_again_and_is_counted_apart() {
        let mut progress = noted(&["test a ... ok", "test b ... FAILED", "test c ... "]);
        progress.interrupted.extend(progress.current.take());
        assert_eq!(progress.names(), "a b");
        progress.note("test c ... ok");
        let count = Count {
            passed: 2,
            failed: 1,
            second: 1,
        };
        assert_eq!(progress.count(), count);
    }
}
