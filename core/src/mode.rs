//! Who decides what runs, and why nobody here does.

use std::fmt;

use crate::core_scheduling::CoreScheduling;

/// Who decides what runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The policy.
    Auto,
    /// A person, who named what is to run.
    Pinned,
    /// An application, which wants what runs to stay, or named what is to run for as long as it does.
    Held,
    /// Nobody: auto-ext watches and starts nothing.
    Observe(ObserveCause),
    /// Somebody else: a scheduler that auto-ext did not start is loaded, or was a moment ago.
    Yielded,
}

/// Why nothing is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObserveCause {
    /// The administrator asked for it.
    Asked,
    /// The kernel cannot load schedulers.
    NoSchedExt,
    /// None of the policy's schedulers is installed.
    NoScheduler,
    /// sched_ext cannot be read.
    KernelUnknown(String),
    /// Core scheduling is in use, or that cannot be told.
    CoreScheduling(CoreScheduling),
    /// The safe mode, for this reason: schedulers failed too often, or a person ended them by SysRq-S.
    Safe(String),
}

impl ObserveCause {
    /// Whether a person can still pin a scheduler: one that is not in the policy may be installed, and in the safe mode
    /// it is the person's decision.
    #[must_use]
    pub fn leaves_room_for_a_pin(&self) -> bool {
        matches!(self, Self::NoScheduler | Self::Safe(_))
    }
}

impl Mode {
    /// The name on D-Bus.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Pinned => "pinned",
            Self::Held => "held",
            Self::Observe(_) => "observe",
            Self::Yielded => "yielded",
        }
    }
}

impl fmt::Display for ObserveCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("started with --observe"),
            Self::NoSchedExt => f.write_str("this kernel has no sched_ext"),
            Self::NoScheduler => f.write_str("none of the policy's schedulers is installed"),
            Self::KernelUnknown(why) => write!(f, "sched_ext cannot be read: {why}"),
            Self::CoreScheduling(found) => {
                write!(f, "the kernel's own scheduler runs because {found}")
            }
            Self::Safe(why) => write!(
                f,
                "safe mode, the kernel's own scheduler runs because {why}; `auto-ext reload` ends it"
            ),
        }
    }
}
