//! What is told of the outcomes: for each corner, this machine or the test machine, under the kernel's own scheduler or
//! others, what is called what, the share that is right, and what is not.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::Result;

use super::outcome::{Outcome, SETTLED, STABLE};
use super::{DURING, KERNEL};

/// How often the class of a load may change in a minute without being named.
const FLIPS: f64 = 1.0;

/// A corner of what is measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Corner {
    bare: bool,
    schedulers: bool,
}

impl Corner {
    fn of(outcome: &Outcome) -> Self {
        Self {
            bare: outcome.setting.bare,
            schedulers: outcome.setting.scheduler != KERNEL,
        }
    }

    fn name(self) -> &'static str {
        match (self.bare, self.schedulers) {
            (false, false) => "the test machine, under the kernel's own scheduler",
            (false, true) => "the test machine, under other schedulers",
            (true, false) => "real CPUs, under the kernel's own scheduler",
            (true, true) => "real CPUs, under other schedulers",
        }
    }
}

/// The report: a part for each corner, and every load with the reason for its label.
pub(super) fn report(
    out: &mut dyn Write,
    outcomes: &[Outcome],
    notes: &BTreeSet<String>,
) -> Result<()> {
    for corner in outcomes.iter().map(Corner::of).collect::<BTreeSet<_>>() {
        let all = outcomes
            .iter()
            .filter(|outcome| Corner::of(outcome) == corner);
        let (disturbed, of): (Vec<&Outcome>, _) = all.partition(|outcome| outcome.is_disturbed());
        writeln!(out, "{}:", corner.name())?;
        if !of.is_empty() {
            matrix(out, &of)?;
            shares(out, &of)?;
            flips(out, &of)?;
            wrong(out, &of)?;
        }
        if !disturbed.is_empty() {
            writeln!(
                out,
                "\nnot counted, as something else worked on the machine:"
            )?;
            disturbed
                .iter()
                .try_for_each(|outcome| line(out, outcome))?;
        }
        writeln!(out)?;
    }
    writeln!(out, "the loads, and why each is what it is:")?;
    for note in notes {
        writeln!(out, "  {note}")?;
    }
    Ok(())
}

/// The confusion matrix, with what is right of each class.
fn matrix(out: &mut dyn Write, outcomes: &[&Outcome]) -> Result<()> {
    let is: BTreeSet<&str> = outcomes.iter().map(|outcome| outcome.class()).collect();
    let called = outcomes
        .iter()
        .flat_map(|outcome| outcome.judged.classes.keys().map(String::as_str));
    let classes = is.iter().copied().filter(|class| *class != STABLE);
    let called: BTreeSet<&str> = called.chain(classes).collect();
    writeln!(
        out,
        "percent of the time from {SETTLED} s after a load's start to its end, by what it is and was called"
    )?;
    write!(out, "{:<12} {:>6} {:>6}", "is", "loads", "right")?;
    for name in &called {
        write!(out, " {name:>11}")?;
    }
    writeln!(out)?;
    for class in &is {
        let of: Vec<&Outcome> = outcomes
            .iter()
            .copied()
            .filter(|outcome| outcome.class() == *class)
            .collect();
        let time: f64 = of.iter().map(|outcome| outcome.time()).sum();
        write!(out, "{class:<12} {:>6} {:>6.1}", of.len(), right(&of))?;
        for name in &called {
            let named: f64 = of
                .iter()
                .filter_map(|outcome| outcome.judged.classes.get(*name))
                .sum();
            // Nothing summed up is -0.
            write!(out, " {:>11.1}", 100.0 * named.abs() / time)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// The percentage of their time in which they were what they are.
fn right(outcomes: &[&Outcome]) -> f64 {
    let time: f64 = outcomes.iter().map(|outcome| outcome.time()).sum();
    let right: f64 = outcomes.iter().map(|outcome| outcome.right()).sum();
    100.0 * right / time
}

/// What is right for each number of CPUs, under each scheduler.
fn shares(out: &mut dyn Write, outcomes: &[&Outcome]) -> Result<()> {
    let mut places: Vec<String> = outcomes.iter().map(|outcome| outcome.place()).collect();
    // They are sorted by that.
    places.dedup();
    for place in places {
        let of: Vec<&Outcome> = outcomes
            .iter()
            .copied()
            .filter(|outcome| outcome.place() == place)
            .collect();
        writeln!(
            out,
            "{place}: {:.1} % right, {} loads",
            right(&of),
            of.len()
        )?;
    }
    let loads = outcomes.len();
    writeln!(out, "all: {:.1} % right, {loads} loads", right(outcomes))?;
    Ok(())
}

/// How often classes changed; nothing of loads that were too short for that.
fn flips(out: &mut dyn Write, outcomes: &[&Outcome]) -> Result<()> {
    let long: Vec<&Outcome> = outcomes
        .iter()
        .copied()
        .filter(|outcome| outcome.setting.seconds > DURING)
        .collect();
    if long.is_empty() {
        return Ok(());
    }
    let changes: u32 = long.iter().map(|outcome| outcome.judged.changes).sum();
    let time: f64 = long.iter().map(|outcome| outcome.time()).sum();
    let mean = 60.0 * f64::from(changes) / time;
    writeln!(
        out,
        "\nthe class changed {mean:.2} times a minute; more than {FLIPS} time a minute:"
    )?;
    for outcome in long.iter().filter(|outcome| outcome.flips() > FLIPS) {
        let (place, label) = (outcome.place(), &outcome.label);
        writeln!(out, "  {place}, {label}: {:.1}", outcome.flips())?;
    }
    Ok(())
}

/// Every load that is not right.
fn wrong(out: &mut dyn Write, outcomes: &[&Outcome]) -> Result<()> {
    writeln!(
        out,
        "\nnot right for more than a twentieth of the time, or not one class for nine tenths where that is wanted:"
    )?;
    for outcome in outcomes
        .iter()
        .filter(|outcome| outcome.right() < outcome.wanted() * outcome.time())
    {
        line(out, outcome)?;
    }
    Ok(())
}

/// What a load was called.
fn line(out: &mut dyn Write, outcome: &Outcome) -> Result<()> {
    let time = outcome.time();
    let classes: Vec<String> = outcome
        .judged
        .classes
        .iter()
        .map(|(class, of)| format!("{class} {:.0} %", 100.0 * of / time))
        .collect();
    let (place, label, classes) = (outcome.place(), &outcome.label, classes.join(", "));
    writeln!(out, "  {place}, {label}: {classes}")?;
    Ok(())
}
