//! The lines of a trace, and their limits.

use std::collections::BTreeMap;

use auto_ext_policy::{Power, Profile};
use auto_ext_signals::{Machine, ProcessEvent, Sample, Signal, Signals};
use serde::{Deserialize, Deserializer, Serialize};

/// The version of the format. Traces of other versions are not read.
pub const VERSION: u64 = 2;
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
