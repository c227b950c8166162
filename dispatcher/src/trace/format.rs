//! The lines of a trace, and their limits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use auto_ext_core::Event;
use auto_ext_policy::{Power, Profile};
use auto_ext_service::clock::microseconds;
use auto_ext_signals::{Machine, ProcessEvent, Sample, Signal, Signals};
use auto_ext_trials::{Comparison, Consent, Export, Here, Key, Reading, Table, Unquiet};
use serde::{Deserialize, Deserializer, Serialize};

/// The version of the format that is written: since 3 there may be what trials are told.
pub const VERSION: u64 = 3;
/// The oldest version that is read.
pub const OLDEST_VERSION: u64 = 2;
/// The longest line, in bytes.
pub const MAX_LINE: usize = 4 << 20;
/// The longest text about a process, in bytes: that of a path of the greatest length of which no byte is UTF-8, so that
/// each is replaced by three.
pub const MAX_TEXT: usize = 3 * 4096;

/// The first line: what does not change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`].
    pub trace: u64,
    /// The version of auto-ext that recorded it.
    pub version: String,
    /// The kernel's release, as `uname -r` has it.
    pub kernel: String,
    /// CPUs online.
    pub cpus: u32,
    /// What the trace shows, as whoever recorded it called it.
    #[serde(default)]
    pub label: Option<String>,
    /// When it began: CLOCK_REALTIME, microseconds.
    pub started_us: u64,
    /// How long a window was to be, in milliseconds.
    pub window_ms: u64,
    /// What was measured of the machine itself, with which signals are made from counters.
    pub machine: Machine,
    /// The signals whose BPF program could not be attached, with the reason.
    #[serde(default)]
    pub missing: BTreeMap<Signal, String>,
}

/// Any other line: one window, or, without `dt_us` and `signals`, changes at a moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Microseconds of CLOCK_MONOTONIC since the beginning, at the end of the window. Never less
    /// than in the line before.
    pub at_us: u64,
    /// The length of the window in microseconds, more than 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dt_us: Option<u64>,
    /// The [signals](auto_ext_signals::Signals) of the window, from which decisions were made, rounded to a millionth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signals: Option<Signals>,
    /// The counters at the end of the window, from which the signals were made. Where those of its
    /// beginning are in the trace too, a replay makes the signals of them again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<Sample>,
    /// What was measured of the machine itself, when that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
    /// What the kernel ran at the end of the window, as D-Bus' `CurrentScheduler`. Whose it was is not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<String>,
    /// The changes of processes since the line before, in order; the first time all that there are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<ProcessEvent>,
    /// Where the power comes from, when that changed; `Some(None)`: unknown from now on.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "null_is_a_value"
    )]
    pub power: Option<Option<Power>>,
    /// The power profile, when that changed; `Some(None)`: unknown from now on.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "null_is_a_value"
    )]
    pub profile: Option<Option<Profile>>,
    /// Whether the machine is about to sleep, when that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asleep: Option<bool>,
    /// To what the daemon that recorded it had switched by then, by its policy's name. A replay that waits for the same is there too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switched: Option<String>,
    /// What trials were told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trials: Option<Told>,
}

/// Something that trials are told. Moments are times since the beginning of the trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// What was learned before, and the time since 1970 at the beginning of the trace.
    Learned {
        /// What was kept.
        table: Box<Table>,
        /// In microseconds.
        since_1970_us: u64,
    },
    /// By what the coin is tossed.
    Seed(u64),
    /// On which machine this is.
    Here(Box<Here>),
    /// What somebody consents to.
    Consent(Option<Consent>),
    /// What is in the way.
    Quiet(Vec<Unquiet>),
    /// What was measured until then.
    Outcome(Arc<Reading>),
    /// What a comparison found is kept.
    Compared {
        /// What it is about.
        key: Box<Key>,
        /// What it measured.
        comparison: Box<Comparison>,
    },
    /// What others found is taken in.
    Imported(Box<Export>),
    /// A person ends the trial that is on.
    Ended,
    /// A person has what was found for a class forgotten, or everything.
    Forgotten(Option<String>),
}

impl Told {
    /// What trials are told by this event; `None`: nothing.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        Some(match event.clone() {
            Event::Learned { table, epoch } => Self::Learned {
                table,
                since_1970_us: microseconds(epoch),
            },
            Event::Seed(seed) => Self::Seed(seed),
            Event::Here(here) => Self::Here(here),
            Event::Consent(consent) => Self::Consent(consent),
            Event::Quiet(unquiet) => Self::Quiet(unquiet),
            Event::Outcome(reading) => Self::Outcome(reading),
            Event::Compared { key, comparison } => Self::Compared { key, comparison },
            Event::Imported(export) => Self::Imported(export),
            Event::TrialEnded => Self::Ended,
            Event::LearnedForgotten { class } => Self::Forgotten(class),
            _ => return None,
        })
    }

    /// The event that tells them so.
    #[must_use]
    pub fn event(self) -> Event {
        match self {
            Self::Learned {
                table,
                since_1970_us,
            } => Event::Learned {
                table,
                epoch: Duration::from_micros(since_1970_us),
            },
            Self::Seed(seed) => Event::Seed(seed),
            Self::Here(here) => Event::Here(here),
            Self::Consent(consent) => Event::Consent(consent),
            Self::Quiet(unquiet) => Event::Quiet(unquiet),
            Self::Outcome(reading) => Event::Outcome(reading),
            Self::Compared { key, comparison } => Event::Compared { key, comparison },
            Self::Imported(export) => Event::Imported(export),
            Self::Ended => Event::TrialEnded,
            Self::Forgotten(class) => Event::LearnedForgotten { class },
        }
    }
}

fn null_is_a_value<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Rounded to a millionth; further digits are noise.
pub(super) fn rounded(signals: &Signals) -> Signals {
    let mut rounded = Signals::default();
    for (signal, value) in signals.iter() {
        rounded.set(signal, value.map(|value| (value * 1e6).round() / 1e6));
    }
    rounded
}

#[cfg(test)]
mod tests {
    use auto_ext_signals::Signal;

    use super::*;

    #[test]
    fn what_is_not_measured_stays_so_when_the_others_are_rounded() {
        let mut signals = Signals::default();
        signals.set(Signal::Cpu, Some(0.123_456_789));
        let rounded = rounded(&signals);
        assert_eq!(rounded.get(Signal::Cpu), Some(0.123_457));
        assert_eq!(rounded.get(Signal::Net), None);
    }
}
