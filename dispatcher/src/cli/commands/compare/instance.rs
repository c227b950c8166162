//! What the kernel runs at a moment, so that another of the same name is told from it. Pure.

/// Which scheduler it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instance {
    scheduler: String,
    pid: Option<u32>,
    /// How many schedulers were enabled: one that loads itself again keeps its process.
    enabled: Option<u64>,
    /// Who decides, where a daemon does.
    mode: String,
}

impl Instance {
    /// The one of this name and process, after so many were enabled.
    pub(super) fn new(scheduler: String, pid: Option<u32>, enabled: Option<u64>) -> Self {
        Self {
            scheduler,
            pid,
            enabled,
            mode: String::new(),
        }
    }

    /// The same in this mode of the daemon.
    pub(super) fn in_mode(self, mode: String) -> Self {
        Self { mode, ..self }
    }

    /// The scheduler's process; none of the kernel's own.
    pub(super) fn process(&self) -> Option<u32> {
        self.pid.filter(|pid| *pid > 0)
    }
}
