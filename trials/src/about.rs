//! Whether the policy has a use for what a comparison found.

use auto_ext_policy::{Candidate, Goal, Policy, Rule, Scheduler};

use crate::compared::JudgedBy;
use crate::comparison::{Comparison, NotKept};
use crate::plan::{challengers, goals};
use crate::yardstick::Yardstick;

impl Comparison {
    /// The goal and the scheduler that it is about under the rule of `class`.
    ///
    /// # Errors
    /// When the policy has no use for it there.
    pub fn about<'p>(
        &self,
        policy: &'p Policy,
        class: &str,
    ) -> Result<(Goal, &'p Scheduler), NotKept> {
        self.check()?;
        let class = class.to_owned();
        let Some(rule) = policy.rule(&class) else {
            return Err(NotKept::NoClass(class));
        };
        if goals(rule).is_empty() {
            return Err(NotKept::NothingTried(class));
        }
        let named = match policy.candidate(&self.scheduler) {
            Some(Candidate::Scheduler(scheduler)) => challengers(rule)
                .into_iter()
                .find(|challenger| challenger.is_same_as(&scheduler)),
            Some(Candidate::Kernel) | None => None,
        };
        let Some(scheduler) = named else {
            return Err(NotKept::NotNamed {
                class,
                scheduler: self.scheduler.clone(),
            });
        };
        let by = self.by.name();
        let goal = goal(self.by, rule, self.with_sleepers);
        let goal = goal.ok_or(NotKept::OtherGoal { class, by })?;
        Ok((goal, scheduler))
    }
}

/// What it is better at under `rule`; `None` where that is something else.
fn goal(by: JudgedBy, rule: &Rule, with_sleepers: bool) -> Option<Goal> {
    let goals = goals(rule);
    match by.metric() {
        // What a command is for is known best to who compares with it.
        None => Some(rule.goal(with_sleepers)).filter(|goal| *goal != Goal::None),
        Some(metric) => {
            let judges =
                |goal: &Goal| Yardstick::all(*goal).any(|yardstick| yardstick.primary == metric);
            goals.into_iter().find(judges)
        }
    }
}

#[cfg(test)]
mod tests {
    use auto_ext_evidence::MAX_PAIRS;

    use super::*;
    use crate::comparison::tests::comparison;
    use crate::yardstick::Metric;

    fn policy() -> Policy {
        let text = "version: 1\nrules:\n\
            - {class: latent, when: {interactive: high}, use: [bpfland, kernel], try: [flash]}\n\
            - {class: online, when: {net: high}, use: [kernel], try: [bpfland]}\n\
            - {class: game, when: {process: [game]}, use: [bpfland]}\n";
        Policy::parse("F", text).unwrap()
    }

    #[test]
    fn a_class_takes_what_its_rule_can_use() {
        let policy = policy();
        let about = |class: &str, comparison: &Comparison| {
            let (goal, scheduler) = comparison.about(&policy, class)?;
            Ok::<_, NotKept>((goal, scheduler.name.clone()))
        };
        let of = |by| Comparison { by, ..comparison() };
        assert_eq!(
            about("latent", &of(JudgedBy::Time)),
            Ok((Goal::Latency, "bpfland".into()))
        );
        let waits = JudgedBy::Metric(Metric::Wait);
        assert_eq!(about("latent", &of(waits)).unwrap().0, Goal::Latency);
        let done = JudgedBy::Metric(Metric::Completions);
        assert_eq!(about("online", &of(done)).unwrap().0, Goal::Requests);
        for (class, comparison, says) in [
            ("nowhere", of(JudgedBy::Time), "no class `nowhere`"),
            ("game", of(JudgedBy::Time), "nothing is tried"),
            ("latent", of(done), "not judged by completions"),
            (
                "online",
                Comparison {
                    scheduler: "flash".into(),
                    ..comparison()
                },
                "neither in `use`",
            ),
            (
                "latent",
                Comparison {
                    ratios: vec![f64::NAN],
                    ..comparison()
                },
                "no number",
            ),
            (
                "latent",
                Comparison {
                    ratios: vec![0.0; MAX_PAIRS + 1],
                    ..comparison()
                },
                "more pairs",
            ),
        ] {
            let error = about(class, &comparison).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
