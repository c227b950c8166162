//! The section `trials`, and of rules what trials ask about: which schedulers to try, and what a better one is better at.

use std::time::Duration;

use auto_ext_signals::{Level, Signal};
use serde::{Deserialize, Serialize};

use crate::conditions::{Conditions, Precedence};
use auto_ext_service::config_file::error::{Location, Problems, quote};
use auto_ext_service::config_file::fields::MAX_WORD;
use auto_ext_service::config_file::yaml::Node;

/// The keys of the section.
pub(super) const KEYS: [&str; 3] = ["mode", "exposure", "arm"];

/// In percent.
pub(super) const MIN_EXPOSURE: f64 = 0.1;
/// In percent: no more than may be in one hour anyway.
pub(super) const MAX_EXPOSURE: f64 = 5.0;
pub(super) const MIN_ARM: Duration = Duration::from_secs(5);
pub(super) const MAX_ARM: Duration = Duration::from_secs(60);

/// Whether schedulers are tried where a rule applies, and how much of the time that may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trials {
    /// Whether.
    pub mode: TrialMode,
    /// Which share of a day may run on candidates of which nothing is proven, 0.001 to 0.05.
    pub exposure: f64,
    /// For how long each of two schedulers that are compared is measured in its turn, 5 s to 1 min.
    pub arm: Duration,
}

/// Whether schedulers are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrialMode {
    /// Never, whoever consents, and nothing that was learned counts.
    #[default]
    Off,
    /// It is measured how far two turns of the same scheduler differ, and nothing is switched for it.
    Watch,
    /// While a person consents. What was found to be better goes first, what was found to be worse is not used.
    Ask,
    /// Always. Where there is something to try, nothing but what was found to be better takes the place of the kernel's own.
    On,
}

/// What a better scheduler is better at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// Short waits for a CPU.
    Latency,
    /// Requests of disks and network.
    Requests,
    /// Instructions that programs get done.
    Throughput,
    /// Energy for what gets done.
    Energy,
    /// Nothing: schedulers are not tried.
    None,
}

impl TrialMode {
    /// All there are, in the order in which they are listed for people.
    pub const ALL: [Self; 4] = [Self::Off, Self::Watch, Self::Ask, Self::On];

    /// The name in policies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Watch => "watch",
            Self::Ask => "ask",
            Self::On => "on",
        }
    }
}

impl Goal {
    /// All there are.
    pub const ALL: [Self; 5] = [
        Self::Latency,
        Self::Requests,
        Self::Throughput,
        Self::Energy,
        Self::None,
    ];

    /// The name in policies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Requests => "requests",
            Self::Throughput => "throughput",
            Self::Energy => "energy",
            Self::None => "none",
        }
    }

    /// The goal of a rule that names none. `with_sleepers`: enough tasks sleep and are woken that their waits say something.
    pub(super) fn of(when: &Conditions, with_sleepers: bool) -> Self {
        let high = |signal| when.levels.contains(&(signal, Level::High));
        if when.precedence() != Precedence::Measured {
            return Self::None;
        }
        if high(Signal::Interactive) {
            Self::Latency
        } else if high(Signal::Net) || high(Signal::Io) {
            Self::Requests
        } else if high(Signal::Parallel) || high(Signal::Contended) {
            if with_sleepers {
                Self::Latency
            } else {
                Self::Throughput
            }
        } else if high(Signal::Mem) {
            Self::Throughput
        } else {
            // Nothing waits, so nothing can be gained.
            Self::None
        }
    }
}

impl Default for Trials {
    fn default() -> Self {
        Self {
            mode: TrialMode::default(),
            exposure: 0.02,
            arm: Duration::from_secs(15),
        }
    }
}

pub(super) fn trials(problems: &mut Problems, node: &Node, trials: &mut Trials) {
    let Some(fields) = problems.fields(node, "`trials`", "mode: ask", &KEYS) else {
        return;
    };
    if let Some(node) = fields.get("mode")
        && let Some(mode) = problems.choice(node, "`mode`", &TrialMode::ALL, TrialMode::name)
    {
        trials.mode = mode;
    }
    if let Some(node) = fields.get("exposure")
        && let Some(exposure) = exposure(problems, node)
    {
        trials.exposure = exposure;
    }
    if let Some(node) = fields.get("arm")
        && let Some(arm) = problems.duration(node, "`arm`", MIN_ARM, MAX_ARM)
    {
        trials.arm = arm;
    }
}

/// A share of a day, written in percent.
fn exposure(problems: &mut Problems, node: &Node) -> Option<f64> {
    let range = format!("from {MIN_EXPOSURE}% to {MAX_EXPOSURE}%");
    let text = problems.text(
        node,
        "`exposure`",
        "a share in percent such as `2%`",
        MAX_WORD,
    )?;
    match percent(text) {
        Some(percent) if (MIN_EXPOSURE..=MAX_EXPOSURE).contains(&percent) => Some(percent / 100.0),
        Some(_) => {
            let message = format!("`exposure` is {}; it must be {range}", quote(text));
            problems.add(node.at, message);
            None
        }
        None => {
            let message = format!(
                "`exposure` must be a share in percent, not {}; write it like `2%`, {range}",
                quote(text)
            );
            problems.add(node.at, message);
            None
        }
    }
}

/// A number such as `2` or `0.5` before its `%`.
fn percent(text: &str) -> Option<f64> {
    let number = text.strip_suffix('%')?.trim_end_matches(' ');
    let is_plain = number
        .split('.')
        .all(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
    number.parse().ok().filter(|_| is_plain)
}

/// Warns of what a rule says of trials that will never be, and reports what contradicts itself.
pub(super) fn check_rule(
    problems: &mut Problems,
    at: Location,
    when: &Conditions,
    has_challengers: bool,
    goal: Option<Goal>,
) {
    if !has_challengers && goal.is_none() {
        return;
    }
    let about = match when.precedence() {
        Precedence::Measured => {
            let nothing = has_challengers && goal.is_none() && Goal::of(when, true) == Goal::None;
            if nothing {
                let message = "`try` does nothing here: nobody waits for anything under these \
                               conditions; say with `goal` what to be better at, or remove it";
                problems.warn(at, message);
            } else if has_challengers && goal == Some(Goal::None) {
                problems.warn(at, "`try` does nothing beside `goal: none`; remove one");
            }
            return;
        }
        Precedence::Power => "power",
        Precedence::Application => "applications",
    };
    let keys = match (has_challengers, goal) {
        (true, Some(_)) => "`try` and `goal` do",
        (true, None) => "`try` does",
        (false, _) => "`goal` does",
    };
    let message = format!(
        "{keys} nothing in a rule about {about}, which is never overruled by a trial; remove it"
    );
    problems.warn(at, message);
}
