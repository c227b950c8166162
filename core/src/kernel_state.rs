//! What the kernel says of sched_ext. It is read elsewhere.

use auto_ext_policy::known;

/// What runs in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelState {
    /// This kernel has no sched_ext.
    Unsupported,
    /// No sched_ext scheduler is loaded: the kernel's own schedules.
    Disabled,
    /// One is being enabled; it does not schedule yet.
    Enabling,
    /// One schedules.
    Enabled {
        /// The contents of `root/ops`, such as `bpfland_1.1.4_x86_64_unknown_linux_gnu`.
        ops: String,
    },
    /// One is being disabled; it does not schedule any more.
    Disabling,
    /// sysfs could not be read or says something that is not known, for this reason. Not the same as disabled.
    Unknown(String),
}

impl KernelState {
    /// The name of what schedules now, as in D-Bus' `CurrentScheduler`: the program's name of a
    /// known scheduler, the kernel's name of another, `kernel` when none is enabled, `unknown` when
    /// the kernel cannot be asked.
    #[must_use]
    pub fn scheduler(&self) -> String {
        match self {
            Self::Enabled { ops } => {
                known::by_ops(ops).map_or_else(|| ops.clone(), |known| known.command.to_owned())
            }
            Self::Unknown(_) => "unknown".to_owned(),
            _ => auto_ext_policy::KERNEL.to_owned(),
        }
    }
}
