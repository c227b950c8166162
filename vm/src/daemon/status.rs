//! What is shown of the service.

use serde::{Deserialize, Serialize};

/// What the service does as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Nothing can be seen.
    #[default]
    Unavailable,
    /// It says what it would do.
    Observe,
    /// It does something.
    Act,
    /// A person wants nothing to be changed.
    Paused,
}

impl Mode {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Observe => "observe",
            Self::Act => "act",
            Self::Paused => "paused",
        }
    }
}

/// What is so now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the service.
    pub version: String,
    /// What it does.
    pub mode: Mode,
    /// Why, in a line.
    pub reason: String,
    /// About vCPUs.
    pub cpu: Half,
    /// About memory.
    pub memory: Half,
    /// What the host can promise, in MiB; `None` where it is not known.
    pub host_can_promise: Option<f64>,
    /// Until when nothing is changed: CLOCK_REALTIME in microseconds; 0: until a person says otherwise.
    pub paused_until: Option<u64>,
    /// The guests that run.
    pub guests: Vec<Guest>,
    /// Names of guests that are left alone by a person's word.
    pub excluded: Vec<String>,
    /// What could not be done last, and why; empty if nothing.
    pub last_error: String,
}

/// What is done about one half.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Half {
    /// Something is changed.
    pub acts: bool,
    /// Why nothing is, where it would be by the configuration; empty otherwise.
    pub kept: String,
    /// What came of the last window.
    pub standing: String,
}

/// A guest that runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Guest {
    /// What people call it.
    pub name: String,
    /// What it is known by.
    pub uuid: String,
    /// Where its vCPUs run now, as the kernel says.
    pub cpus: Vec<String>,
    /// What it has, in MiB.
    pub memory: f64,
    /// What it can have at most.
    pub memory_max: f64,
    /// What was done about its memory, and why.
    pub standing: String,
    /// Who else decides about it, or that a person had it excluded; empty otherwise.
    pub left_alone: String,
}

impl Status {
    /// For people: a line each, the first of which says all if nothing can be seen.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{}: {}", self.mode.name(), self.reason)];
        if self.mode == Mode::Unavailable {
            return lines;
        }
        lines.push(self.cpu.standing.clone());
        for (what, half) in [("vCPUs", &self.cpu), ("memory", &self.memory)] {
            if !half.kept.is_empty() {
                lines.push(format!("{what}: nothing is changed: {}", half.kept));
            }
        }
        if let Some(can) = self.host_can_promise {
            lines.push(format!("the host can promise {can:.0} MiB"));
        }
        for guest in &self.guests {
            lines.push(format!(
                "{}: vCPUs on {}; {:.0} of {:.0} MiB, {}",
                guest.name,
                guest.cpus.join(" "),
                guest.memory,
                guest.memory_max,
                guest.standing
            ));
            if !guest.left_alone.is_empty() {
                lines.push(format!("{}: left alone: {}", guest.name, guest.left_alone));
            }
        }
        if !self.last_error.is_empty() {
            lines.push(format!("last error: {}", self.last_error));
        }
        lines
    }
}
