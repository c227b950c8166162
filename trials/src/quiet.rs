//! Why nothing may be tried now: the reasons of which none may hold before a trial and during it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One reason why nothing may be tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unquiet {
    /// Nobody has consented, or not for now.
    NoConsent,
    /// It is not known yet whether anything is in the way.
    NotKnown,
    /// The machine runs on a battery, or it is not known on what.
    NotOnMains,
    /// A person wants something to run.
    Pinned,
    /// An application wants what runs to stay.
    Held,
    /// An application wants something to run.
    Leased,
    /// A person asked for programs to have other arguments.
    ArgumentsAsked,
    /// Somebody else's scheduler runs, or nothing can be started; with why, for people.
    NotOurs(String),
    /// A rule about applications or power is in force, for this class.
    OverruledBy(String),
    /// The machine is about to sleep, or woke up a moment ago.
    Sleep,
    /// Sound is played or recorded.
    Sound,
    /// This wants the machine not to become idle.
    Inhibited(String),
    /// CPUs came or went a moment ago.
    Hotplug,
    /// Packages are installed, or were a moment ago.
    Upgrade,
    /// CPU limits or weights of this cgroup, which most schedulers do not follow.
    CgroupLimits(String),
    /// What made most of the load has ended.
    LoadEnded,
}

/// Why no trial begins though nothing is in its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// What may be spent of an hour or of a day on what is not proven is spent.
    Exposure,
    /// The switches of an hour are.
    Switches,
    /// Nothing of what is to be tried can be started.
    CannotRun,
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exposure => "the time for trials of this hour or day is spent",
            Self::Switches => "the switches for trials of this hour are spent",
            Self::CannotRun => {
                "nothing of what is to be tried can be started, see `auto-ext schedulers`"
            }
        })
    }
}

impl fmt::Display for Unquiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoConsent => f.write_str("nobody has consented"),
            Self::NotKnown => f.write_str("it is not known yet what is in the way"),
            Self::NotOnMains => f.write_str("the machine is not known to run on mains power"),
            Self::Pinned => f.write_str("a scheduler is pinned"),
            Self::Held => f.write_str("what runs is held"),
            Self::Leased => f.write_str("a scheduler is leased"),
            Self::ArgumentsAsked => f.write_str("other arguments were asked for"),
            Self::NotOurs(why) => f.write_str(why),
            Self::OverruledBy(class) => write!(f, "the class {class} is not about the load"),
            Self::Sleep => f.write_str("the machine sleeps or woke up a moment ago"),
            Self::Sound => f.write_str("sound is played or recorded"),
            Self::Inhibited(who) => write!(f, "{who} keeps the machine from becoming idle"),
            Self::Hotplug => f.write_str("CPUs came or went a moment ago"),
            Self::Upgrade => f.write_str("packages are being installed"),
            Self::CgroupLimits(cgroup) => write!(f, "{cgroup} has CPU limits or weights"),
            Self::LoadEnded => f.write_str("what made the load has ended"),
        }
    }
}
