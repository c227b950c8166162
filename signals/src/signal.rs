//! The signals: their names, what each is of, and the values of all over one window.
//!
//! Every signal but `parallel` is a share between 0 and 1, so that one threshold fits a laptop and a 128-CPU
//! server. `net` and `mem` are shares of the CPU time that was *used*: one saturated stream is as much a network load on 128
//! CPUs as on two. Where little CPU time is used they fade to zero, so that a quiet download does not count. `interactive` is a
//! share of a fixed amount: what a person does grows neither with the machine nor with what else it does.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One measured property of what the machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// Share of the time of all cores in which they were busy, 0 to 1. A core with several threads in hardware is busy
    /// when one of them is.
    Cpu,
    /// Tasks waiting for a CPU, per CPU in use, from 0 up: hogs that crowd on a few of many CPUs wait as much as on all.
    Parallel,
    /// Share of the time of the CPUs in use in which some task waited for them, 0 to 1.
    Contended,
    /// Share of the window in which somebody waited for block requests in flight, or of the
    /// used CPU time that writing files took, 0 to 1.
    Io,
    /// Share of the used CPU time that the network took: its softirqs, and the copying of what was
    /// sent and received, 0 to 1.
    Net,
    /// Share of the used CPU time that page faults took, or of the window in which a task was freeing
    /// memory or stalled on it, 0 to 1. What programs fault in as they start is left out.
    Mem,
    /// CPU time for work with a rhythm: of tasks that timers wake at least four times a second, for little each time, as frames
    /// and sound do. For a part also of tasks that others wake for short bursts, as far as these are brief or CPUs are idle, but
    /// for those that the network or disks wake. 0 to 1, which is a tenth of a CPU and more.
    Interactive,
}

impl Signal {
    /// Every signal, in the order in which they are shown.
    pub const ALL: [Self; 7] = [
        Self::Cpu,
        Self::Parallel,
        Self::Contended,
        Self::Io,
        Self::Net,
        Self::Mem,
        Self::Interactive,
    ];

    /// Whether its values are shares from 0 to 1. Those of `parallel` are not: it counts tasks.
    #[must_use]
    pub fn is_share(self) -> bool {
        self != Self::Parallel
    }

    /// The value at which a bar of it is full when it is high from `high` on, such that its thresholds are well apart.
    #[must_use]
    pub fn full_scale(self, high: f64) -> f64 {
        let full = 2.5 * high;
        let full = if self.is_share() { full.min(1.0) } else { full };
        full.max(f64::MIN_POSITIVE)
    }

    /// The name in policies, on D-Bus and in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Parallel => "parallel",
            Self::Contended => "contended",
            Self::Io => "io",
            Self::Net => "net",
            Self::Mem => "mem",
            Self::Interactive => "interactive",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Signal {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|signal| signal.name() == name)
            .ok_or_else(|| format!("`{name}` is not a signal"))
    }
}

/// The value of each signal over one window; `None` where it could not be measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Signals([Option<f64>; Signal::ALL.len()]);

impl Signals {
    /// The value of `signal`.
    #[must_use]
    pub fn get(&self, signal: Signal) -> Option<f64> {
        self.0[signal as usize]
    }

    /// Sets the value of `signal`.
    pub fn set(&mut self, signal: Signal, value: Option<f64>) {
        self.0[signal as usize] = value;
    }

    /// Each signal with its value.
    pub fn iter(&self) -> impl Iterator<Item = (Signal, Option<f64>)> + '_ {
        Signal::ALL
            .into_iter()
            .map(|signal| (signal, self.get(signal)))
    }
}

/// As a map from each signal's name to its value or null.
impl Serialize for Signals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// From such a map. What it leaves out was not measured, names that are no signals are ignored, and
/// values are taken as they are.
impl<'de> Deserialize<'de> for Signals {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = BTreeMap::<String, Option<f64>>::deserialize(deserializer)?;
        Ok(Self(Signal::ALL.map(|signal| {
            values.get(signal.name()).copied().flatten()
        })))
    }
}
