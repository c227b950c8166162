//! How well programs are known that nothing was tuned on: each is judged by thresholds that were chosen by all other programs'
//! traces alone ("leave one program out"). The shipped thresholds were chosen by hand, on traces of all programs: what
//! these say of the same traces is in-sample.
//!
//! Of each signal the shipped thresholds are scaled by the factor that is best for the other programs, while the other signals
//! have their shipped ones.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::outcome::{self, Outcome};
use crate::command::say;
use crate::workspace;

/// The signals that rules of the shipped policy ask for.
const SIGNALS: [&str; 6] = ["cpu", "parallel", "io", "net", "mem", "interactive"];
/// Of two factors that are as good, the first.
const FACTORS: [f64; 5] = [1.0, 0.7, 1.4, 0.5, 2.0];

/// A factor of [`FACTORS`] for each of [`SIGNALS`].
type Choice = [usize; SIGNALS.len()];

/// The outcome of each trace in `directory`, by thresholds that its program had no part in.
pub(super) fn all(directory: &Path) -> Result<Vec<Outcome>> {
    let shipped = fs::read_to_string(workspace::root().join("policies.yaml"))?;
    let with = |choice: &Choice| -> Result<Vec<Outcome>> {
        let policy = tempfile::Builder::new().suffix(".yaml").tempfile()?;
        fs::write(&policy, scaled(&shipped, choice)?)?;
        outcome::with_policy(directory, policy.path())
    };
    let mut tried: BTreeMap<Choice, Vec<Outcome>> = BTreeMap::new();
    for signal in 0..SIGNALS.len() {
        for factor in 0..FACTORS.len() {
            let mut choice = Choice::default();
            choice[signal] = factor;
            if let Entry::Vacant(entry) = tried.entry(choice) {
                entry.insert(with(&choice)?);
            }
        }
    }
    let programs: Vec<String> = tried[&Choice::default()]
        .iter()
        .map(|outcome| outcome.program().to_owned())
        .collect();
    let chosen: Vec<Choice> = programs
        .iter()
        .map(|program| choose(program, |choice| share_right(&tried[choice], program)))
        .collect();
    for choice in &chosen {
        if let Entry::Vacant(entry) = tried.entry(*choice) {
            say(format!("judging with {}", words(choice)));
            entry.insert(with(choice)?);
        }
    }
    let mut outcomes = Vec::new();
    for (index, choice) in chosen.iter().enumerate() {
        // The traces are in the same order each time.
        let of = tried.get_mut(choice).context("it was tried")?;
        outcomes.push(of[index].clone());
    }
    Ok(outcomes)
}

/// The factors that are best by `right`, which judges one at a time.
fn choose(program: &str, right: impl Fn(&Choice) -> f64) -> Choice {
    let mut chosen = Choice::default();
    for (signal, factor) in chosen.iter_mut().enumerate() {
        let mut best = f64::MIN;
        for candidate in 0..FACTORS.len() {
            let mut choice = Choice::default();
            choice[signal] = candidate;
            let right = right(&choice);
            // Differences in the noise are none.
            if right > best + 1e-6 {
                best = right;
                *factor = candidate;
            }
        }
    }
    if chosen != Choice::default() {
        say(format!("without {program}: {}", words(&chosen)));
    }
    chosen
}

/// The mean share of its time in which each trace was what it is, but for those of `program`.
fn share_right(outcomes: &[Outcome], program: &str) -> f64 {
    let shares: Vec<f64> = outcomes
        .iter()
        .filter(|outcome| outcome.program() != program && !outcome.is_disturbed())
        .map(|outcome| outcome.right() / outcome.time())
        .collect();
    shares.iter().sum::<f64>() / shares.len().max(1) as f64
}

fn words(choice: &Choice) -> String {
    let scaled = SIGNALS
        .iter()
        .zip(choice)
        .filter(|(_, factor)| **factor != 0);
    let words: Vec<String> = scaled
        .map(|(signal, factor)| format!("{signal} x {}", FACTORS[*factor]))
        .collect();
    if words.is_empty() {
        "the shipped thresholds".to_owned()
    } else {
        words.join(", ")
    }
}

/// The shipped policy with these factors. Its defaults are in lines such as `  #cpu: {high: 0.75, low: 0.55, settle: 400ms}`.
fn scaled(shipped: &str, choice: &Choice) -> Result<String> {
    let mut policy = String::new();
    let mut found = 0;
    for line in shipped.lines() {
        let of_signal = SIGNALS.iter().zip(choice).find_map(|(signal, factor)| {
            let rest = line.strip_prefix(&format!("  #{signal}:"))?;
            Some((signal, FACTORS[*factor], rest))
        });
        if let Some((signal, factor, rest)) = of_signal {
            let number = |key: &str| -> Option<f64> {
                let (_, rest) = rest.split_once(key)?;
                rest.split(',').next()?.trim().parse().ok()
            };
            let both = number("high:").zip(number("low:"));
            let (high, low) = both.with_context(|| format!("no thresholds in `{line}`"))?;
            // No share is more than 1.
            let factor = if *signal == "parallel" {
                factor
            } else {
                factor.min(1.0 / high)
            };
            policy += &format!(
                "  {signal}: {{high: {}, low: {}}}\n",
                high * factor,
                low * factor
            );
            found += 1;
        } else {
            policy += line;
            policy.push('\n');
        }
    }
    anyhow::ensure!(
        found == SIGNALS.len(),
        "policies.yaml has the thresholds of {found} signals"
    );
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thresholds_of_the_shipped_policy_are_scaled() {
        let shipped = fs::read_to_string(workspace::root().join("policies.yaml")).unwrap();
        let mut choice = Choice::default();
        choice[1] = 4;
        choice[5] = 4;
        let policy = scaled(&shipped, &choice).unwrap();
        for line in [
            "  parallel: {high: 1.2, low: 0.6}",
            "  interactive: {high: 1,",
        ] {
            assert!(policy.contains(line), "{line}");
        }
    }

    #[test]
    fn the_factor_is_chosen_that_is_best_and_else_the_shipped_thresholds_stay() {
        let best_with_half_io = |choice: &Choice| if choice[2] == 3 { 0.9 } else { 0.8 };
        assert_eq!(choose("a", best_with_half_io), [0, 0, 3, 0, 0, 0]);
        assert_eq!(choose("a", |_| 0.8), Choice::default());
    }
}
