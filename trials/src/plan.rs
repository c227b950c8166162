//! Which challenger is tried next, and what is in force of what was found.

use std::time::Duration;

use auto_ext_policy::{Candidate, Goal, Power, Profile, Rule, Scheduler, TrialMode};

use crate::key::{Here, Key};
use crate::record::Closed;
use crate::table::Table;

/// Every so many trials one that was proven meets the kernel's own again.
pub(crate) const RECHECK_EVERY: u32 = 10;

/// What is known of the load and the machine, by which records are found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Knowledge<'a> {
    pub(crate) table: &'a Table,
    pub(crate) here: &'a Here,
    pub(crate) power: Option<Power>,
    pub(crate) profile: Option<Profile>,
    /// Since 1970.
    pub(crate) at: Duration,
}

/// The schedulers that a rule has tried: what it uses, then what else it names, each once.
#[must_use]
pub fn challengers(rule: &Rule) -> Vec<&Scheduler> {
    let mut challengers: Vec<&Scheduler> = Vec::new();
    for candidate in rule.candidates.iter().chain(&rule.challengers) {
        if let Candidate::Scheduler(scheduler) = candidate
            && !challengers.iter().any(|other| other.is_same_as(scheduler))
        {
            challengers.push(scheduler);
        }
    }
    challengers
}

/// What a rule may be about; empty where nothing is tried.
#[must_use]
pub fn goals(rule: &Rule) -> Vec<Goal> {
    let mut goals = vec![rule.goal(true), rule.goal(false)];
    goals.dedup();
    goals.retain(|goal| *goal != Goal::None);
    goals
}

impl<'a> Knowledge<'a> {
    pub(crate) fn key(
        &self,
        class: &str,
        goal: Goal,
        scheduler: Option<&Scheduler>,
    ) -> Option<Key> {
        Key::here(self.here, class, goal, scheduler, self.power, self.profile)
    }

    /// The challenger to be tried next under `rule`: the one that was best elsewhere, else the first that it names, until it is decided.
    pub(crate) fn next<'r>(
        &self,
        rule: &'r Rule,
        goal: Goal,
        can_run: impl Fn(&Scheduler) -> bool,
    ) -> Option<&'r Scheduler> {
        let is_open = |scheduler: &&Scheduler| {
            let Some(key) = self.key(&rule.class, goal, Some(scheduler)) else {
                return false;
            };
            let record = self.table.get(&key);
            can_run(scheduler)
                && record.is_none_or(|record| {
                    record.closed().is_none()
                        && record.proven().is_none()
                        && record.on_bench(self.at).is_none()
                })
        };
        let elsewhere = |scheduler: &Scheduler| {
            let effect = self.table.effect_elsewhere(&rule.class, scheduler);
            effect.unwrap_or_default()
        };
        let mut open: Vec<&Scheduler> = challengers(rule).into_iter().filter(is_open).collect();
        // Sorting is stable: among equals the rule's order stays.
        open.sort_by(|one, other| elsewhere(other).total_cmp(&elsewhere(one)));
        open.first().copied()
    }

    /// The challengers that are proven to be better under `rule`, the best first.
    pub(crate) fn proven<'r>(&self, rule: &'r Rule, goals: &[Goal]) -> Vec<&'r Scheduler> {
        let effect = |scheduler: &Scheduler| {
            let of_goal = |goal: &Goal| {
                let key = self.key(&rule.class, *goal, Some(scheduler))?;
                let record = self.table.get(&key)?;
                let proven = record.proven()?;
                record.on_bench(self.at).is_none().then_some(proven.effect)
            };
            goals.iter().find_map(of_goal)
        };
        let all = challengers(rule).into_iter();
        let mut proven: Vec<(f64, &Scheduler)> = all
            .filter(|scheduler| !self.is_worse(rule, goals, scheduler))
            .filter_map(|scheduler| Some((effect(scheduler)?, scheduler)))
            .collect();
        proven.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        proven.into_iter().map(|(_, scheduler)| scheduler).collect()
    }

    /// Whether it was found to be worse, or had to leave at once and is benched.
    fn is_worse(&self, rule: &Rule, goals: &[Goal], scheduler: &Scheduler) -> bool {
        goals.iter().any(|goal| {
            let key = self.key(&rule.class, *goal, Some(scheduler));
            let record = key.and_then(|key| self.table.get(&key));
            record.is_some_and(|record| {
                record.closed() == Some(Closed::Worse) || record.on_bench(self.at).is_some()
            })
        })
    }

    /// What is to run under `rule` by what was found; `None` where that is what the rule says.
    pub(crate) fn candidates(&self, rule: &Rule, mode: TrialMode) -> Option<Vec<Candidate>> {
        let goals = goals(rule);
        if goals.is_empty() {
            return None;
        }
        let proven = self.proven(rule, &goals);
        let mut candidates: Vec<Candidate> = proven
            .into_iter()
            .cloned()
            .map(Candidate::Scheduler)
            .collect();
        match mode {
            TrialMode::Off | TrialMode::Watch => return None,
            TrialMode::On => candidates.push(Candidate::Kernel),
            TrialMode::Ask => {
                let rest = rule.candidates.iter().filter(|candidate| match candidate {
                    Candidate::Kernel => true,
                    Candidate::Scheduler(scheduler) => !self.is_worse(rule, &goals, scheduler),
                });
                for candidate in rest {
                    if !candidates.iter().any(|other| other.is_same_as(candidate)) {
                        candidates.push(candidate.clone());
                    }
                }
            }
        }
        (candidates != rule.candidates).then_some(candidates)
    }
}

#[cfg(test)]
mod tests {
    use auto_ext_policy::Policy;

    use super::*;
    use crate::record::Proven;

    const AT: Duration = Duration::from_secs(1_800_000_000);

    fn rule() -> Rule {
        let text = "version: 1\nrules: [{class: a, when: {interactive: high}, use: [bpfland, kernel], try: [flash, bpfland, cosmos]}]";
        Policy::parse("F", text).unwrap().rules.remove(0)
    }

    fn here() -> Here {
        let builds = ["bpfland", "flash", "cosmos"].map(|name| (format!("scx_{name}"), "1".into()));
        Here {
            builds: builds.into(),
            ..Here::default()
        }
    }

    fn knowledge<'a>(table: &'a Table, here: &'a Here) -> Knowledge<'a> {
        Knowledge {
            table,
            here,
            power: None,
            profile: None,
            at: AT,
        }
    }

    /// What is known of the scheduler with this name is changed.
    fn change(table: &mut Table, name: &str, change: impl FnOnce(&mut crate::record::Record)) {
        let rule = rule();
        let scheduler = challengers(&rule).into_iter().find(|it| it.name == name);
        let key = Key::here(&here(), "a", Goal::Latency, scheduler, None, None).unwrap();
        change(table.record(&key, AT));
    }

    fn prove(table: &mut Table, name: &str, effect: f64) {
        let proven = Proven {
            e_better: 100.0,
            effect,
            pairs: 6,
            since: AT,
        };
        change(table, name, |record| record.proven = Some(proven));
    }

    fn names(candidates: Option<Vec<Candidate>>) -> Vec<String> {
        let candidates = candidates.unwrap_or_default();
        candidates.iter().map(|one| one.name().to_owned()).collect()
    }

    #[test]
    fn challengers_are_tried_one_after_the_other_until_they_are_decided() {
        let (rule, here, mut table) = (rule(), here(), Table::default());
        let next = |table: &Table| {
            let next = knowledge(table, &here).next(&rule, Goal::Latency, |_| true);
            next.map(|scheduler| scheduler.name.clone())
        };
        assert_eq!(next(&table).as_deref(), Some("bpfland"));
        prove(&mut table, "bpfland", 0.2);
        assert_eq!(next(&table).as_deref(), Some("flash"));
        change(&mut table, "flash", |record| {
            record.bench("", AT);
        });
        assert_eq!(next(&table).as_deref(), Some("cosmos"));
        change(&mut table, "cosmos", |record| {
            record.closed = Some(Closed::NoDifference);
        });
        assert_eq!(next(&table), None);
        let next = knowledge(&Table::default(), &here)
            .next(&rule, Goal::Latency, |scheduler| scheduler.name == "cosmos")
            .cloned();
        assert_eq!(next.unwrap().name, "cosmos");
    }

    #[test]
    fn what_was_best_before_another_kernel_is_tried_first_and_counts_for_nothing_else() {
        let (rule, mut table) = (rule(), Table::default());
        prove(&mut table, "cosmos", 0.3);
        let mut other = here();
        other.machine.kernel = "8.0".into();
        let knowledge = knowledge(&table, &other);
        assert_eq!(
            knowledge.next(&rule, Goal::Latency, |_| true).unwrap().name,
            "cosmos"
        );
        assert_eq!(
            names(knowledge.candidates(&rule, TrialMode::On)),
            ["kernel"]
        );
        assert_eq!(knowledge.candidates(&rule, TrialMode::Ask), None);
    }

    #[test]
    fn what_was_proven_comes_first_and_what_is_worse_not_at_all() {
        let (rule, here, mut table) = (rule(), here(), Table::default());
        let candidates =
            |table: &Table, mode| names(knowledge(table, &here).candidates(&rule, mode));
        assert_eq!(candidates(&table, TrialMode::On), ["kernel"]);
        assert_eq!(candidates(&table, TrialMode::Ask), [""; 0]);
        prove(&mut table, "flash", 0.1);
        prove(&mut table, "cosmos", 0.2);
        assert_eq!(
            candidates(&table, TrialMode::On),
            ["cosmos", "flash", "kernel"]
        );
        assert_eq!(
            candidates(&table, TrialMode::Ask),
            ["cosmos", "flash", "bpfland", "kernel"]
        );
        change(&mut table, "bpfland", |record| {
            record.closed = Some(Closed::Worse);
        });
        change(&mut table, "cosmos", |record| {
            record.bench("", AT);
        });
        assert_eq!(candidates(&table, TrialMode::Ask), ["flash", "kernel"]);
        for mode in [TrialMode::Off, TrialMode::Watch] {
            assert_eq!(candidates(&table, mode), [""; 0]);
        }
    }
}
