//! How hard a resource is loaded, in steps.

use std::fmt;

use crate::model::{Kind, Resource};

/// How hard a resource is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Hardly.
    Low,
    /// Four fifths of the most.
    Medium,
    /// As hard as one thread can.
    High,
}

impl Level {
    pub(super) const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// The levels that a resource has: a unit is busy or not, a cache is walked through by one stream or by four.
    #[must_use]
    pub fn of(resource: Resource) -> &'static [Self] {
        match resource.kind() {
            Kind::Port => &[Self::High],
            Kind::Parallel => &[Self::Low, Self::High],
            Kind::Sequential => &Self::ALL,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
