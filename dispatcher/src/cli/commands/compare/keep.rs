//! `--keep`: what was found is kept with what trials find, for the class that the load had or one that is named.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use auto_ext_policy::KERNEL;
use auto_ext_trials::Comparison;

use super::comparison::{self, Challenger};
use super::guards::{Conclusion, conclusion};
use super::measures::WAKES;
use super::runner::Runner;

/// From how many wake-ups a second on waits say something, as trials have it.
const SLEEPERS: f64 = 20.0;

/// The classes that the load had, each in how many turns.
#[derive(Debug, Default)]
pub(super) struct Classes(BTreeMap<String, usize>);

impl Classes {
    /// In one more turn it had this one.
    pub(super) fn add(&mut self, class: String) {
        *self.0.entry(class).or_default() += 1;
    }

    /// The one that it had in most turns; `None` where it had none so often.
    pub(super) fn usual(&self) -> Option<&str> {
        let turns: usize = self.0.values().sum();
        let mut usual = self.0.iter().filter(|(_, of)| 2 * **of > turns);
        usual.next().map(|(class, _)| class.as_str())
    }
}

/// Says before anything is compared what could not be kept afterwards.
///
/// # Errors
/// When nothing could be.
pub(super) async fn check(
    runner: &mut Runner,
    class: &str,
    comparison: &comparison::Comparison,
) -> anyhow::Result<()> {
    if comparison.incumbent != KERNEL {
        bail!(
            "what is kept is found against `{KERNEL}`, which has to be what the others are compared with"
        );
    }
    if class.is_empty() && !runner.knows_class() {
        bail!("without the daemon nobody knows which class a load has: `--keep CLASS` says it");
    }
    runner.begin_to_keep().await?;
    if class.is_empty() {
        return Ok(());
    }
    for challenger in &comparison.challengers {
        let nothing = kept(comparison, challenger, Duration::ZERO);
        runner.keep(class, &nothing).await?;
    }
    Ok(())
}

/// Has what is decided kept, and returns what is said of it.
///
/// # Errors
/// When it cannot be kept.
pub(super) async fn keep(
    runner: &mut Runner,
    class: &str,
    classes: &Classes,
    comparison: &comparison::Comparison,
    took: Duration,
) -> anyhow::Result<Vec<String>> {
    let class = match class {
        "" => classes
            .usual()
            .context("nothing is kept: the load had no class in most of the turns, `--keep CLASS` says which it is")?,
        class => class,
    };
    let mut said = Vec::new();
    for challenger in &comparison.challengers {
        let name = &challenger.name;
        said.push(match conclusion(&comparison.primary, challenger) {
            Conclusion::Open => format!("{name} is not decided, and so nothing is kept of it"),
            Conclusion::AtACost => {
                format!("{name} is better at a cost, and so nothing is kept of it")
            }
            Conclusion::Better | Conclusion::Worse | Conclusion::NoDifference => {
                let found = kept(comparison, challenger, took);
                let kept = runner.keep(class, &found).await;
                format!(
                    "kept: {}",
                    kept.with_context(|| format!("{name} is not kept"))?
                )
            }
        });
    }
    Ok(said)
}

fn kept(
    comparison: &comparison::Comparison,
    challenger: &Challenger,
    took: Duration,
) -> Comparison {
    let wakes = challenger.measured(&WAKES);
    let ratios = challenger.evidence.ratios().iter();
    Comparison {
        scheduler: challenger.name.clone(),
        by: comparison.primary.judged_by(),
        ratios: ratios.map(|ratio| ratio.get()).collect(),
        challengers: comparison.challengers.len(),
        // Where that is not known, it has some: nearly every load does.
        with_sleepers: wakes.is_none_or(|wakes| wakes.medians.incumbent >= SLEEPERS),
        // Of a part of a second, all.
        took_s: took.as_secs() + 1,
    }
}

#[cfg(test)]
mod tests {
    use auto_ext_trials::JudgedBy;

    use super::*;
    use crate::cli::commands::compare::comparison::tests::with;

    #[test]
    fn the_class_is_that_of_most_turns() {
        let mut classes = Classes::default();
        assert_eq!(classes.usual(), None);
        for class in ["cpu", "parallel", "parallel"] {
            classes.add(class.to_owned());
        }
        assert_eq!(classes.usual(), Some("parallel"));
        classes.add("cpu".to_owned());
        assert_eq!(classes.usual(), None);
    }

    #[test]
    fn what_is_kept_is_what_was_compared() {
        let comparison = with(&["bpfland", "cosmos"], &[(10.0, 5.0); 7]);
        let kept = kept(
            &comparison,
            &comparison.challengers[0],
            Duration::from_secs(9),
        );
        assert_eq!(
            (kept.scheduler.as_str(), kept.by),
            ("bpfland", JudgedBy::Time)
        );
        assert_eq!(
            (kept.challengers, kept.took_s, kept.ratios.len()),
            (2, 10, 7)
        );
        assert!(kept.with_sleepers);
        let (_, found) = kept.judge(Duration::ZERO).unwrap();
        assert!((found.effect - 2f64.ln()).abs() < 1e-12);
    }
}
