//! What is remembered between events.

use std::sync::Arc;
use std::time::Duration;

use crate::action::Originals;
use crate::cpu::CpuState;
use crate::memory::MemoryState;
use crate::moment::Moment;
use crate::snapshot::Snapshot;

/// Everything that is remembered between events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub(super) last: Option<(Moment, Arc<Snapshot>)>,
    pub(super) cpu: CpuState,
    pub(super) memory: MemoryState,
    pub(super) originals: Originals,
    /// What an earlier life did not put back.
    pub(super) to_put_right: Originals,
    /// Who else places vCPUs.
    pub(super) placed_by: Option<String>,
    pub(super) pause: Pause,
    pub(super) exits: bool,
}

/// Whether a person wants nothing to be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Pause {
    #[default]
    None,
    Until(Moment),
    Always,
}

impl Pause {
    pub(super) fn begin(lasts: Option<Duration>, now: Moment) -> Self {
        lasts.map_or(Self::Always, |lasts| Self::Until(now + lasts))
    }

    pub(super) fn is_over(self, now: Moment) -> bool {
        match self {
            Self::None => true,
            Self::Until(until) => now >= until,
            Self::Always => false,
        }
    }
}

impl State {
    /// What is remembered of vCPUs.
    #[must_use]
    pub fn cpu(&self) -> &CpuState {
        &self.cpu
    }

    /// What is remembered of memory.
    #[must_use]
    pub fn memory(&self) -> &MemoryState {
        &self.memory
    }

    /// What the host was like before anything was changed.
    #[must_use]
    pub fn originals(&self) -> &Originals {
        &self.originals
    }
}
