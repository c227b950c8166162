//! Whose memory is left alone, and why.

use std::fmt;

use crate::config::Config;
use crate::snapshot::{Fixed, Guest};

/// Why the memory of a guest is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmanaged {
    /// The configuration says so.
    Excluded,
    /// It is not to be changed as long as the guest runs.
    Fixed(Fixed),
    /// The guest has no driver for its balloon, or the driver has not spoken yet.
    NoDriver,
    /// Nobody has told the driver to speak, if there is one.
    Silent,
    /// A migration, a backup or the like is under way.
    Job,
    /// The guest is paused.
    Paused,
}

impl Unmanaged {
    /// Why this guest's memory is left alone, if it is.
    #[must_use]
    pub fn why(config: &Config, guest: &Guest) -> Option<Self> {
        if !config.of(&guest.id).memory {
            Some(Self::Excluded)
        } else if let Some(fixed) = guest.memory.fixed {
            Some(Self::Fixed(fixed))
        } else if guest.memory.stats.is_none() {
            let is_told = guest.memory.period.is_some();
            Some(if is_told {
                Self::NoDriver
            } else {
                Self::Silent
            })
        } else if guest.job {
            Some(Self::Job)
        } else if guest.paused {
            Some(Self::Paused)
        } else {
            None
        }
    }
}

impl fmt::Display for Unmanaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Excluded => f.write_str("excluded"),
            Self::Fixed(fixed) => fixed.fmt(f),
            Self::NoDriver => f.write_str("its balloon has no driver"),
            Self::Silent => f.write_str("its balloon has not been told to speak"),
            Self::Job => f.write_str("a job is under way"),
            Self::Paused => f.write_str("paused"),
        }
    }
}
