//! The last decision with all that led to it: the conditions and signals behind it, the candidates that cannot run, and
//! what would change it. Decides nothing.

use std::time::Duration;

use auto_ext_policy::{Candidate, Conditions, Pattern, Policy, Rule, TrialMode};
use auto_ext_signals::{Level, Signal};
use auto_ext_trials::{ClassStatus, TrialStatus};
use serde::{Deserialize, Serialize};

use crate::choice::Precedence;
use crate::choose::lease;
use crate::limit::COMPARED_PER_HOUR;
use crate::moment::Moment;
use crate::state::State;

/// A decision with all that led to it. Its JSON is what `auto-ext why --json` prints, on which scripts rely.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Who decides, as D-Bus' `Mode`.
    pub mode: String,
    /// The class of the load.
    pub class: String,
    /// For how long the class has been that, in seconds.
    pub class_for: u64,
    /// The policy's name of what should run.
    pub desired: String,
    /// Why, in a few words.
    pub because: String,
    /// The candidates that come before it, and why each cannot run.
    pub rejected: Vec<Rejected>,
    /// Why it does not run yet; `None` when it does.
    pub waits: Option<String>,
    /// Whether a switch is on its way.
    #[serde(default)]
    pub switching: bool,
    /// Each rule, the first to be considered first.
    pub rules: Vec<RuleNow>,
    /// Each signal with its thresholds.
    #[serde(default)]
    pub signals: Vec<SignalNow>,
    /// What would have to happen for another decision.
    pub would_change: Vec<String>,
    /// Switches of the last hour that count, and how many there may be.
    pub switches: (usize, u32),
    /// The same of those for comparisons, which have a limit of their own.
    #[serde(default)]
    pub compared: (usize, u32),
    /// The trial that is on.
    #[serde(default)]
    pub trial: Option<TrialStatus>,
    /// Why none may be; empty where trials are off, or nothing is in the way.
    #[serde(default)]
    pub no_trial: Vec<String>,
    /// What trials found for the class.
    #[serde(default)]
    pub found: Vec<ClassStatus>,
}

/// A candidate that cannot run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Its name.
    pub candidate: String,
    /// Why.
    pub why: String,
}

/// How a rule stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleNow {
    /// The class it gives.
    pub class: String,
    /// `application`, `power` or `measured`; in JSON `layer`, as scripts read it.
    #[serde(rename = "layer")]
    pub precedence: String,
    /// Whether all its conditions hold.
    pub holds: bool,
    /// Its conditions.
    pub conditions: Vec<ConditionNow>,
    /// What it asks to run, best first.
    #[serde(default)]
    pub candidates: Vec<String>,
}

/// How a signal stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignalNow {
    /// Which.
    pub signal: Signal,
    /// Its value over the last window, in its unit; `None` when it is not measured.
    pub value: Option<f64>,
    /// Its level.
    pub level: Level,
    /// High when its mean is at least this, in its unit.
    pub high: f64,
    /// Low when its mean is at most this.
    pub low: f64,
    /// The time over which its mean is taken, in milliseconds: `settle` in policies.
    pub settle_ms: u64,
}

/// How a condition stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionNow {
    /// As in the policy, such as `net high`.
    pub condition: String,
    /// Whether it holds.
    pub holds: bool,
    /// What is the case, such as `0.02, high at 0.1`.
    pub now: String,
}

/// Explains the decision that stands at `now`.
#[must_use]
pub fn explain(policy: &Policy, state: &State, now: Moment) -> Explanation {
    let mut in_order: Vec<&Rule> = policy.rules.iter().collect();
    in_order.sort_by_key(|rule| std::cmp::Reverse(rule.precedence()));
    let rules: Vec<RuleNow> = in_order
        .iter()
        .map(|rule| RuleNow {
            class: rule.class.clone(),
            precedence: rule.precedence().to_string(),
            holds: rule.when.hold(&state.context()),
            conditions: conditions(&rule.when, state),
            candidates: rule
                .candidates
                .iter()
                .map(|candidate| candidate.name().to_owned())
                .collect(),
        })
        .collect();
    let choice = state.choice();
    Explanation {
        mode: state.mode().name().to_owned(),
        class: state.class().to_owned(),
        class_for: now.saturating_sub(state.class_since).as_secs(),
        desired: choice.desired.name().to_owned(),
        because: choice.because.clone(),
        rejected: choice
            .rejected
            .iter()
            .map(|(candidate, why)| Rejected {
                candidate: candidate.name().to_owned(),
                why: why.clone(),
            })
            .collect(),
        waits: choice.waits.clone(),
        switching: state.switching.is_some(),
        would_change: would_change(state, &rules, now),
        rules,
        signals: signals_now(state),
        switches: (
            state.limit.count(now),
            policy.stability.max_switches_per_hour,
        ),
        compared: (state.compared.count(now), COMPARED_PER_HOUR),
        trial: state.trials.status(now),
        no_trial: no_trial(policy, state),
        found: state
            .trials
            .found(now)
            .into_iter()
            .filter(|found| found.class == state.class)
            .collect(),
    }
}

/// Why nothing may be tried, as far as the policy has anything tried.
fn no_trial(policy: &Policy, state: &State) -> Vec<String> {
    if policy.trials.mode == TrialMode::Off {
        return Vec::new();
    }
    let unquiet = state.trials.unquiet();
    if unquiet.is_empty() {
        let waits = state.trials.waits().map(|waits| waits.to_string());
        return waits.into_iter().collect();
    }
    unquiet.iter().map(ToString::to_string).collect()
}

fn would_change(state: &State, rules: &[RuleNow], now: Moment) -> Vec<String> {
    let choice = state.choice();
    if state.is_safe() {
        return vec!["`auto-ext reload`, when all is well again".to_owned()];
    }
    match choice.precedence {
        Precedence::Danger => {
            return vec!["that no process uses core scheduling any more".to_owned()];
        }
        Precedence::Pin => {
            let end = state.pin().and_then(|pin| {
                let left = pin.lasts?.saturating_sub(now.saturating_sub(pin.since));
                Some(humantime::format_duration(Duration::from_secs(left.as_secs())).to_string())
            });
            return vec![match (end, state.pins.next()) {
                (Some(left), None) => format!("the end of the pin, in {left}, or `auto-ext unpin`"),
                (Some(left), Some(next)) => format!(
                    "the end of the pin, in {left}, when {} is pinned as before, or `auto-ext unpin`",
                    next.to
                ),
                (None, _) => "`auto-ext unpin`".to_owned(),
            }];
        }
        Precedence::Hold => {
            if let Some(lease) = lease(state, now) {
                return vec![format!("the end of the lease of {}", lease.application)];
            }
            let applications: Vec<&str> = state
                .holds()
                .values()
                .map(|hold| hold.application.as_str())
                .collect();
            return vec![format!(
                "the end of the hold of {}",
                applications.join(", ")
            )];
        }
        Precedence::Rule(_) => {}
    }
    let mut changes: Vec<String> = choice
        .rejected
        .iter()
        .filter_map(|(candidate, _)| match candidate {
            Candidate::Kernel => None,
            Candidate::Scheduler(scheduler) => Some(format!(
                "{} when it can be run and is not quarantined any more",
                scheduler.name
            )),
        })
        .collect();
    for rule in rules {
        if rule.class == state.class() {
            // What comes after it is considered only when it does not hold any more.
            changes.extend(rule.conditions.iter().map(|condition| {
                format!(
                    "another class when no longer {}: {}",
                    condition.condition, condition.now
                )
            }));
            break;
        }
        let missing: Vec<String> = rule
            .conditions
            .iter()
            .filter(|condition| !condition.holds)
            .map(|condition| format!("{} ({})", condition.condition, condition.now))
            .collect();
        if !missing.is_empty() {
            changes.push(format!(
                "class {} with {}",
                rule.class,
                missing.join(" and ")
            ));
        }
    }
    changes
}

fn conditions(when: &Conditions, state: &State) -> Vec<ConditionNow> {
    let mut conditions = Vec::new();
    let found = when.process(&state.processes);
    let cgroups: Vec<&str> = when.cgroups.iter().map(Pattern::as_str).collect();
    let except = if when.except.is_empty() {
        String::new()
    } else {
        format!(", but not {}", when.except)
    };
    let asked = [
        (!when.processes.is_empty()).then(|| format!("process {}{except}", when.processes)),
        (!cgroups.is_empty()).then(|| format!("cgroup {}", cgroups.join(" or "))),
    ];
    for condition in asked.into_iter().flatten() {
        conditions.push(ConditionNow {
            condition,
            holds: found.is_some(),
            now: match found {
                Some(process) => {
                    let ancestor = when.processes.ancestor_of(process);
                    let of = ancestor.map_or_else(String::new, |ancestor| {
                        format!(", of {}, process {}", ancestor.comm, ancestor.pid)
                    });
                    format!("{}, process {}{of}", process.comm, process.pid)
                }
                None => "none runs".to_owned(),
            },
        });
    }
    let known = |name: Option<&str>| name.unwrap_or("unknown").to_owned();
    if let Some(power) = when.power {
        conditions.push(ConditionNow {
            condition: format!("power {power}"),
            holds: state.power() == Some(power),
            now: known(state.power().map(auto_ext_policy::Power::name)),
        });
    }
    if let Some(profile) = when.profile {
        conditions.push(ConditionNow {
            condition: format!("profile {profile}"),
            holds: state.profile() == Some(profile),
            now: known(state.profile().map(auto_ext_policy::Profile::name)),
        });
    }
    conditions.extend(when.levels.iter().map(|&(signal, level)| ConditionNow {
        condition: format!("{signal} {level}"),
        holds: level != Level::Unknown && state.levels().get(signal) == level,
        now: level_now(state, signal),
    }));
    conditions
}

/// How each signal stands.
#[must_use]
pub fn signals_now(state: &State) -> Vec<SignalNow> {
    Signal::ALL.map(|signal| signal_now(state, signal)).into()
}

fn signal_now(state: &State, signal: Signal) -> SignalNow {
    let threshold = state.levels.thresholds().get(signal);
    SignalNow {
        signal,
        value: state.signals().and_then(|signals| signals.get(signal)),
        level: state.levels().get(signal),
        high: threshold.high,
        low: threshold.low,
        settle_ms: u64::try_from(threshold.mean_over.as_millis()).unwrap_or(u64::MAX),
    }
}

/// The signal's value, and where its level changes.
fn level_now(state: &State, signal: Signal) -> String {
    let threshold = state.levels.thresholds().get(signal);
    let value = state.signals().and_then(|signals| signals.get(signal));
    let Some(value) = value else {
        return "not measured".to_owned();
    };
    match state.levels().get(signal) {
        Level::High => format!("{value:.2}, low at {}", threshold.low),
        Level::Low => format!("{value:.2}, high at {}", threshold.high),
        Level::Unknown => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_scripts_read_are_in_the_json() {
        let rule = RuleNow {
            class: "game".into(),
            precedence: "application".into(),
            holds: true,
            conditions: Vec::new(),
            candidates: Vec::new(),
        };
        let json = serde_json::to_value(&rule).unwrap();
        assert_eq!(json["layer"], "application");
        assert_eq!(serde_json::from_value::<RuleNow>(json).unwrap(), rule);
    }
}
