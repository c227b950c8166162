//! What is shown of trials: whether there may be any, the one that is on, what was found for each class. The one set of facts behind
//! D-Bus, the command line and metrics; pure.

use auto_ext_core::{Moment, State, explain};
use auto_ext_policy::{Candidate, Policy, Precedence, TrialMode};
use auto_ext_service::clock::microseconds;
use auto_ext_trials::{ClassStatus, Consent, TrialStatus, goals};
use serde::{Deserialize, Serialize};

/// The trial that is on, as it is published with each decision. It does not change while time passes alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct TrialNow {
    /// The class of the load.
    pub(crate) class: String,
    /// The policy's name of what is tried; empty while the incumbent alone is measured.
    pub(crate) candidate: String,
    /// What is to run in this turn.
    pub(crate) runs: String,
    /// What ran before, and runs after it.
    pub(crate) champion: String,
    /// Which turn it is, from 1.
    pub(crate) turn: u32,
    /// How many there are at most.
    pub(crate) of_turns: u32,
    /// How many pairs are finished.
    pub(crate) pairs: u32,
    /// When this turn ends: CLOCK_REALTIME in microseconds, of whole seconds; 0 while its scheduler does not run yet.
    pub(crate) turn_end: u64,
}

/// All that is known of trials. Its JSON is what `auto-ext trials --json` prints, on which scripts rely.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Learned {
    /// As D-Bus' `Learning`.
    pub(crate) learning: String,
    /// Until when somebody consents: CLOCK_REALTIME in microseconds; `None`: nobody does.
    pub(crate) consent_until: Option<u64>,
    /// Until when the shares of the budget do not count, likewise.
    pub(crate) lifted_until: Option<u64>,
    /// The trial that is on.
    pub(crate) trial: Option<TrialStatus>,
    /// Why none may be; empty where trials are off, or nothing is in the way.
    pub(crate) no_trial: Vec<String>,
    /// The classes in which something may be tried, or was.
    pub(crate) classes: Vec<ClassLearned>,
}

/// What is known of a class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClassLearned {
    /// Its name.
    pub(crate) class: String,
    /// The policy's name of what would run under it by now, as far as that depends on what is installed and was found.
    pub(crate) now: String,
    /// What was found, of each scheduler that was tried.
    pub(crate) found: Vec<ClassStatus>,
}

/// Whether anything is tried: `off`, `watch`, `ask` (nobody consents) or `on`.
pub(crate) fn learning(policy: &Policy, state: &State, now: Moment) -> &'static str {
    let consents = |consent: Consent| now < consent.until;
    match policy.trials.mode {
        TrialMode::Ask if state.trials().consented().is_some_and(consents) => TrialMode::On.name(),
        mode => mode.name(),
    }
}

impl TrialNow {
    /// That of `state` at `now`, which on CLOCK_REALTIME is `now_us`.
    pub(crate) fn of(state: &State, now: Moment, now_us: u64) -> Option<Self> {
        let TrialStatus {
            class,
            candidate,
            runs,
            turn,
            of_turns,
            pairs,
            champion,
            ..
        } = state.trials().status(now)?;
        let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
        let end = state.trials().turn_end();
        Some(Self {
            class,
            candidate: candidate.unwrap_or_default(),
            runs,
            champion,
            turn: number(turn),
            of_turns: number(of_turns),
            pairs: number(pairs),
            turn_end: end.map_or(0, |end| wall(end, now, now_us)),
        })
    }

    /// The trial in words, at `now`: CLOCK_REALTIME in microseconds.
    pub(crate) fn sentence(&self, now: u64) -> String {
        let Self {
            candidate,
            runs,
            turn,
            of_turns,
            turn_end,
            ..
        } = self;
        let what = if candidate.is_empty() {
            format!("{runs} alone, to know the load")
        } else {
            format!("{candidate} against kernel")
        };
        let left = turn_end.saturating_sub(now).div_ceil(1_000_000);
        let end = if *turn_end == 0 {
            format!("{runs} is being brought in")
        } else if candidate == runs {
            format!("back in {left} s")
        } else {
            format!("this turn ends in {left} s")
        };
        format!("{what}, turn {turn} of {of_turns}, {end}")
    }
}

impl Learned {
    /// What is known in `state` under `policy` at `now`, which on CLOCK_REALTIME is `now_us`.
    pub(crate) fn of(policy: &Policy, state: &State, now: Moment, now_us: u64) -> Self {
        let trials = state.trials();
        let lasts = |until: Moment| (now < until).then(|| wall(until, now, now_us));
        let consent = trials.consented();
        let mut found = trials.found(now);
        let mut classes = Vec::new();
        for rule in &policy.rules {
            let (of_class, others) = found
                .into_iter()
                .partition(|found| found.class == rule.class);
            found = others;
            let is_tried = rule.precedence() == Precedence::Measured && !goals(rule).is_empty();
            if !is_tried && of_class.is_empty() {
                continue;
            }
            let (power, profile) = (state.power(), state.profile());
            let learned = trials.candidates(policy, rule, power, profile, now);
            let candidates = learned.as_ref().unwrap_or(&rule.candidates);
            let runs = candidates.iter().find(|candidate| match candidate {
                Candidate::Kernel => true,
                Candidate::Scheduler(scheduler) => state.installed().contains(&scheduler.name),
            });
            classes.push(ClassLearned {
                class: rule.class.clone(),
                now: runs.unwrap_or(&Candidate::Kernel).name().to_owned(),
                found: of_class,
            });
        }
        Self {
            learning: learning(policy, state, now).to_owned(),
            consent_until: consent.and_then(|consent| lasts(consent.until)),
            lifted_until: consent.and_then(|consent| lasts(consent.lifted_until)),
            trial: trials.status(now),
            no_trial: explain(policy, state, now).no_trial,
            classes,
        }
    }
}

/// A moment on CLOCK_REALTIME, in microseconds of whole seconds, so that it does not seem to change with every reading.
fn wall(at: Moment, now: Moment, now_us: u64) -> u64 {
    let left = microseconds(at.saturating_sub(now));
    now_us.saturating_add(left).saturating_add(500_000) / 1_000_000 * 1_000_000
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use auto_ext_core::{Event, decide};

    use super::*;

    const NOW: u64 = 1_800_000_000_000_000;

    fn policy(mode: &str) -> Policy {
        let text = format!(
            "version: 1\ntrials: {{mode: {mode}}}\nrules:\n- {{class: a, when: {{interactive: high}}, use: [bpfland, kernel], try: [flash]}}\n\
             - {{class: game, when: {{process: [game]}}, use: [lavd]}}\n"
        );
        Policy::parse("p", &text).unwrap()
    }

    fn consent(until: u64) -> Event {
        Event::Consent(Some(Consent {
            until: Duration::from_secs(until),
            lifted_until: Duration::from_secs(5),
        }))
    }

    #[test]
    fn the_policy_overrules_who_consents_and_a_consent_ends() {
        for (mode, before, during) in [
            ("off", "off", "off"),
            ("watch", "watch", "watch"),
            ("ask", "ask", "on"),
            ("on", "on", "on"),
        ] {
            let policy = policy(mode);
            let state = State::new(&policy, false);
            assert_eq!(learning(&policy, &state, Moment::ZERO), before);
            let (state, _) = decide(&policy, &state, consent(60), Moment::ZERO);
            let second = Duration::from_secs(1);
            assert_eq!(learning(&policy, &state, second), during);
            assert_eq!(learning(&policy, &state, 60 * second), before);
            let learned = Learned::of(&policy, &state, 10 * second, NOW);
            assert_eq!(learned.consent_until, Some(NOW + 50_000_000));
            assert_eq!(learned.lifted_until, None);
            let classes: Vec<_> = learned.classes.iter().map(|class| &class.class).collect();
            assert_eq!(classes, ["a"]);
            let json = serde_json::to_string(&learned).unwrap();
            assert_eq!(serde_json::from_str::<Learned>(&json).unwrap(), learned);
        }
    }

    #[test]
    fn a_trial_in_words_says_whose_turn_it_is_and_when_it_is_over() {
        let mut trial = TrialNow {
            class: "a".into(),
            candidate: "flash".into(),
            runs: "flash".into(),
            champion: "kernel".into(),
            turn: 3,
            of_turns: 12,
            pairs: 0,
            turn_end: NOW + 9_000_000,
        };
        let expected = "flash against kernel, turn 3 of 12, back in 9 s";
        assert_eq!(trial.sentence(NOW), expected);
        trial.runs = "kernel".into();
        let expected = "flash against kernel, turn 3 of 12, this turn ends in 1 s";
        assert_eq!(trial.sentence(NOW + 8_100_000), expected);
        trial.turn_end = 0;
        trial.candidate = String::new();
        let expected = "kernel alone, to know the load, turn 3 of 12, kernel is being brought in";
        assert_eq!(trial.sentence(NOW), expected);
    }
}
