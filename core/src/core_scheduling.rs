//! Whether core scheduling is in use, beside which no scheduler is loaded. It is read elsewhere.
//!
//! Tasks with a cookie share a core only with tasks of the same cookie. On a machine with SMT that can hang under any
//! sched_ext scheduler, all CPUs at once and for good (<https://github.com/sched-ext/scx/issues/3715>).

use std::fmt;

/// Whether some task has a core scheduling cookie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CoreScheduling {
    /// None has, or none can have, or it matters to nobody: the kernel knows no cookies, or no core has two hardware threads.
    #[default]
    Unused,
    /// Some process has one: which, for people.
    Used(String),
    /// It cannot be told, for this reason. Not the same as unused.
    Unknown(String),
}

impl CoreScheduling {
    /// Whether a scheduler may be loaded beside it.
    #[must_use]
    pub fn permits_schedulers(&self) -> bool {
        *self == Self::Unused
    }
}

impl fmt::Display for CoreScheduling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unused => f.write_str("no process uses core scheduling"),
            Self::Used(who) => write!(
                f,
                "{who} uses core scheduling (PR_SCHED_CORE), beside which any sched_ext scheduler can hang this machine"
            ),
            Self::Unknown(why) => write!(
                f,
                "it cannot be told whether core scheduling (PR_SCHED_CORE) is in use, beside which any sched_ext scheduler \
                 can hang this machine: {why}"
            ),
        }
    }
}
