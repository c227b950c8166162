//! What is configured, as the decisions have it: guests by what they are known by.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::snapshot::{GuestId, Mib};
use crate::topology::Cpus;

/// Whether a half acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It says what it would do.
    #[default]
    Observe,
    /// It does it.
    Act,
}

/// When memory is taken from guests that have some to spare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reclaim {
    /// When another guest needs it, or the host.
    #[default]
    Needed,
    /// Always.
    Always,
}

/// All that is configured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Of vCPUs.
    pub cpu: CpuConfig,
    /// Of memory.
    pub memory: MemoryConfig,
    /// Of single guests.
    pub guests: BTreeMap<GuestId, GuestConfig>,
    /// Of all others.
    pub others: GuestConfig,
}

/// What is configured of vCPUs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpuConfig {
    /// Whether vCPUs are pinned.
    pub mode: Mode,
    /// The CPUs that they may be pinned to; `None`: all.
    pub cpus: Option<Cpus>,
    /// They are not pinned to one CPU each, but to all CPUs of their guest's node.
    pub by_node: bool,
    /// Those that somebody else pins are not left to them.
    pub replace_foreign: bool,
}

/// What is configured of memory.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryConfig {
    /// Whether memory is given and taken.
    pub mode: Mode,
    /// When it is taken.
    pub reclaim: Reclaim,
    /// What each guest has unused at least.
    pub reserve: Mib,
    /// What the host keeps.
    pub host_floor: Mib,
    /// What is given or taken at once at most; twice that is given in distress.
    pub step: Mib,
    /// How often balloons' drivers speak.
    pub period: Duration,
    /// Caches are used memory, which is not taken.
    pub count_cache: bool,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            reclaim: Reclaim::default(),
            reserve: 100.0,
            host_floor: 200.0,
            step: 100.0,
            period: Duration::from_secs(5),
            count_cache: true,
        }
    }
}

/// What is configured of one guest.
#[derive(Clone, Debug, PartialEq)]
pub struct GuestConfig {
    /// Its vCPUs may be pinned.
    pub cpu: bool,
    /// Its memory may be changed.
    pub memory: bool,
    /// What it has at least.
    pub min: Mib,
    /// How much it counts where memory is short.
    pub weight: f64,
}

impl Default for GuestConfig {
    fn default() -> Self {
        Self {
            cpu: true,
            memory: true,
            min: 0.0,
            weight: 1.0,
        }
    }
}

impl Config {
    /// What is configured of this guest.
    #[must_use]
    pub fn of(&self, guest: &GuestId) -> GuestConfig {
        self.guests.get(guest).unwrap_or(&self.others).clone()
    }
}
