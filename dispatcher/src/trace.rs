//! What a machine did, window by window, as `auto-ext record` writes it and `auto-ext replay` reads it.
//!
//! A trace is lines of JSON: a [`Header`], then an [`Entry`] per window. Owned here are the format
//! and its limits; nothing here measures or decides. Whoever writes puts nothing into a line that
//! is not true at its time, so that a trace that was cut off is true up to its last full line.
//! Whoever reads trusts nothing, but ignores what a newer version may have added.

mod reader;
mod writer;

use std::collections::BTreeMap;

use auto_ext_profiler::{Machine, ProcessEvent, Sample, Signal, Signals};
use serde::{Deserialize, Deserializer, Serialize};

use crate::policy::{Power, Profile};
pub use reader::{Problem, Reader, TraceError};
pub use writer::Writer;

/// The version of the format. Another one is read by another auto-ext.
pub const VERSION: u64 = 1;
/// The longest line, in bytes.
pub const MAX_LINE: usize = 4 << 20;
/// The longest text about a process, in bytes: a path of the kernel's greatest length of which no
/// byte is UTF-8, so that each is replaced by three.
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
    /// What the trace shows, in the words of whoever recorded it.
    #[serde(default)]
    pub label: Option<String>,
    /// When it began: CLOCK_REALTIME, microseconds.
    pub started_us: u64,
    /// How long a window was to be, in milliseconds.
    pub window_ms: u64,
    /// What was measured of the machine, by which counters became signals.
    pub machine: Machine,
    /// The signals whose BPF program could not be attached, with the reason.
    #[serde(default)]
    pub missing: BTreeMap<Signal, String>,
}

/// Any other line: one window, or, without `dt_us` and `signals`, what happened at a moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Microseconds of CLOCK_MONOTONIC since the beginning, at the end of the window. Never less
    /// than in the line before.
    pub at_us: u64,
    /// The length of the window in microseconds, more than 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dt_us: Option<u64>,
    /// The signals of the window: the [shares](auto_ext_profiler::Signals) that decisions are made
    /// from, rounded to a millionth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signals: Option<Signals>,
    /// The counters at the end of the window, from which the signals were made; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<Sample>,
    /// What the kernel ran at the end of the window, as D-Bus' `CurrentScheduler`; whose it was is
    /// not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<String>,
    /// What happened to processes since the line before, in order; the first time, which are there.
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
    /// The machine is about to sleep, or no longer.
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

#[cfg(test)]
mod tests;
