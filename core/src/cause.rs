//! The kinds of failures of a scheduler, and how long it is quarantined for each.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Why a scheduler does not run although it should. The names in files are those of the variants in kebab case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Its process ended by itself without saying that anything is wrong.
    Left,
    /// Somebody else ended its process.
    Killed,
    /// CPUs came or went, and it did not load itself again.
    Hotplug,
    /// A person had the kernel end every scheduler by SysRq-S.
    Sysrq,
    /// Its process failed.
    Crashed,
    /// The kernel disabled it: its BPF program did what it must not, or reported an error itself.
    BpfError,
    /// The kernel's watchdog disabled it: a task that could have run did not.
    Stalled,
    /// Its process used a whole CPU all the time.
    Spinning,
    /// It wanted more memory than a scheduler may have.
    OutOfMemory,
    /// It did not get as far as being enabled: refused by the kernel, or for its arguments.
    NotLoaded,
    /// It did not load within the time for that.
    TooSlow,
    /// Its process lives, but the kernel does not run it. Files of earlier versions call it `unseated`.
    #[serde(alias = "unseated")]
    Detached,
    /// It does not leave when it is asked to.
    Stuck,
}

impl Cause {
    /// How long a scheduler is quarantined after the first failure, and at most: each further one doubles the time.
    /// After what is likely to happen again (a stall, a program that this kernel refuses) it is not tried soon; what
    /// somebody else did says little about it.
    pub(crate) fn back_off(self) -> (Duration, Duration) {
        match self {
            Self::Hotplug => (Duration::from_secs(2), HOUR),
            Self::Left | Self::Killed | Self::Sysrq => (MINUTE / 2, HOUR),
            // After that time, one that does not leave is asked again.
            Self::Crashed | Self::Stuck => (MINUTE / 2, DAY),
            Self::NotLoaded | Self::TooSlow => (MINUTE, DAY),
            Self::BpfError | Self::Spinning | Self::OutOfMemory | Self::Detached => {
                (10 * MINUTE, DAY)
            }
            Self::Stalled => (HOUR, 7 * DAY),
        }
    }

    /// Whether the scheduler ran and did harm, which counts towards the safe mode.
    pub(crate) fn is_trouble(self) -> bool {
        match self {
            Self::Crashed
            | Self::BpfError
            | Self::Stalled
            | Self::Spinning
            | Self::OutOfMemory
            | Self::Detached
            | Self::Stuck => true,
            Self::Left
            | Self::Killed
            | Self::Hotplug
            | Self::Sysrq
            | Self::NotLoaded
            | Self::TooSlow => false,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Left => "left by itself",
            Self::Killed => "killed by somebody else",
            Self::Hotplug => "CPUs came or went",
            Self::Sysrq => "SysRq-S",
            Self::Crashed => "crashed",
            Self::BpfError => "error of its BPF program",
            Self::Stalled => "stalled",
            Self::Spinning => "spinning",
            Self::OutOfMemory => "out of memory",
            Self::NotLoaded => "not loaded",
            Self::TooSlow => "too slow to load",
            Self::Detached => "not run by the kernel any more",
            Self::Stuck => "does not leave",
        })
    }
}

/// How a scheduler failed. Displays as the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The kind of failure.
    pub cause: Cause,
    /// The failure in words, for people.
    pub text: String,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_earlier_versions_are_read() {
        let read = |name: &str| serde_json::from_str::<Cause>(name).unwrap();
        assert_eq!(read(r#""unseated""#), Cause::Detached);
        assert_eq!(read(r#""detached""#), Cause::Detached);
        assert_eq!(
            serde_json::to_string(&Cause::Detached).unwrap(),
            r#""detached""#
        );
        assert_eq!(
            serde_json::to_string(&Cause::BpfError).unwrap(),
            r#""bpf-error""#
        );
    }
}
