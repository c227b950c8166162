//! The kinds of failures of a scheduler, and how long each has it left alone.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Why a scheduler does not run although it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Its process ended by itself without saying that anything is wrong.
    Left,
    /// Somebody else ended its process.
    Killed,
    /// CPUs came or went, and it did not load itself again.
    Hotplug,
    /// A person told the kernel by SysRq-S to end every scheduler.
    Sysrq,
    /// Its process failed.
    Crashed,
    /// The kernel ended it: its BPF program did what it must not, or said so itself.
    BpfError,
    /// The kernel's watchdog ended it: a task that could have run did not.
    Stalled,
    /// Its process used a whole CPU all the time.
    Spinning,
    /// It wanted more memory than a scheduler may have.
    OutOfMemory,
    /// It did not get as far as being enabled: refused by the kernel, or for its arguments.
    NotLoaded,
    /// It did not load within the time for that.
    TooSlow,
    /// Its process lives, but the kernel does not run it.
    Unseated,
    /// It does not leave when it is asked to.
    Stuck,
}

impl Cause {
    /// For how long it is left alone after the first failure, and after many; each doubles the time.
    /// What is likely to come back (a stall, a program that this kernel refuses) is not tried again
    /// soon; what somebody else did says little about the scheduler.
    pub(super) fn back_off(self) -> (Duration, Duration) {
        match self {
            Self::Hotplug => (Duration::from_secs(2), HOUR),
            Self::Left | Self::Killed | Self::Sysrq => (MINUTE / 2, HOUR),
            // How long one that does not leave is left alone is also when it is asked again.
            Self::Crashed | Self::Stuck => (MINUTE / 2, DAY),
            Self::NotLoaded | Self::TooSlow => (MINUTE, DAY),
            Self::BpfError | Self::Spinning | Self::OutOfMemory | Self::Unseated => {
                (10 * MINUTE, DAY)
            }
            Self::Stalled => (HOUR, 7 * DAY),
        }
    }

    /// Whether the machine suffered from a scheduler that ran.
    pub(super) fn is_trouble(self) -> bool {
        match self {
            Self::Crashed
            | Self::BpfError
            | Self::Stalled
            | Self::Spinning
            | Self::OutOfMemory
            | Self::Unseated
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
            Self::Unseated => "lost its seat",
            Self::Stuck => "does not leave",
        })
    }
}

/// A failure: of which kind, and in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Of which kind.
    pub cause: Cause,
    /// In words.
    pub text: String,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
