//! What the owner of a host wants, as the file has it: guests by their names, which they have only as long as they run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::values::{Config, CpuConfig, GuestConfig, MemoryConfig, Mode, Reclaim};
use crate::snapshot::{GuestId, Mib};
use crate::topology::Cpus;

/// What the owner of a host wants. By default nothing is changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How long a window is.
    pub interval: Duration,
    /// The QMP sockets of guests that libvirt does not run, and directories of such; with any, libvirt is not asked.
    pub qmp: Vec<PathBuf>,
    /// About vCPUs.
    pub cpu: CpuSettings,
    /// About memory.
    pub memory: MemorySettings,
    /// About single guests, by their names.
    pub guests: BTreeMap<String, GuestConfig>,
}

/// What is wanted of vCPUs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpuSettings {
    /// What is done.
    pub mode: CpuMode,
    /// Who is told.
    pub pin_by: PinBy,
    /// What becomes of vCPUs that somebody else pins.
    pub foreign: Foreign,
    /// The CPUs that vCPUs may be pinned to; `None`: all.
    pub cpus: Option<Cpus>,
    /// What is done while a sched_ext scheduler runs.
    pub under_scx: UnderScx,
}

/// What is wanted of memory.
#[derive(Clone, Debug, PartialEq)]
pub struct MemorySettings {
    /// What is done.
    pub mode: MemoryMode,
    /// How often balloons' drivers speak.
    pub interval: Duration,
    /// What each guest has unused at least.
    pub reserve: Mib,
    /// What the host keeps.
    pub host_floor: Mib,
    /// What is given or taken at once at most.
    pub step: Mib,
    /// When it is taken.
    pub reclaim: Reclaim,
    /// Caches are used memory, which is not taken.
    pub count_cache: bool,
}

/// Words of the file, the default first.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$what:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$what])* $variant,)+
        }

        impl $name {
            /// All of them, the default first.
            pub const ALL: [Self; words!(@count $($variant)+)] = [$(Self::$variant),+];

            /// As it is written.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::ALL[0]
            }
        }
    };
    (@count) => { 0 };
    (@count $first:ident $($rest:ident)*) => { 1 + words!(@count $($rest)*) };
}

words! {
    /// What is done about vCPUs.
    CpuMode {
        /// It is said what would be done.
        Observe = "observe",
        /// Each is pinned to one CPU.
        Pin = "pin",
        /// Each runs on all CPUs of its guest's node.
        Node = "node",
    }
}

words! {
    /// Who is told where a vCPU runs.
    PinBy {
        /// libvirt, which then shows it too.
        Libvirt = "libvirt",
        /// The kernel, of which libvirt hears nothing.
        Kernel = "kernel",
    }
}

words! {
    /// What becomes of vCPUs that somebody else pins.
    Foreign {
        /// They are left to them.
        Yield = "yield",
        /// They go on being pinned here.
        Replace = "replace",
    }
}

words! {
    /// What is done while a sched_ext scheduler runs.
    UnderScx {
        /// vCPUs run where they were found: it places them itself.
        Pause = "pause",
        /// They are pinned all the same.
        Pin = "pin",
    }
}

words! {
    /// What is done about memory.
    MemoryMode {
        /// It is said what would be done.
        Observe = "observe",
        /// It is given and taken.
        Balloon = "balloon",
    }
}

words! {
    /// Whether something is wanted.
    Switch {
        /// It is.
        On = "on",
        /// It is not.
        Off = "off",
    }
}

impl Reclaim {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Needed, Self::Always];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Needed => "needed",
            Self::Always => "always",
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        let MemoryConfig {
            reclaim,
            reserve,
            host_floor,
            step,
            period,
            count_cache,
            ..
        } = MemoryConfig::default();
        Self {
            interval: Duration::from_secs(5),
            qmp: Vec::new(),
            cpu: CpuSettings::default(),
            memory: MemorySettings {
                mode: MemoryMode::default(),
                interval: period,
                reserve,
                host_floor,
                step,
                reclaim,
                count_cache,
            },
            guests: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// What that is for these guests, by their names.
    #[must_use]
    pub fn config<'g>(&self, guests: impl Iterator<Item = (&'g GuestId, &'g str)>) -> Config {
        let memory = &self.memory;
        let known =
            guests.filter_map(|(id, name)| Some((id.clone(), self.guests.get(name)?.clone())));
        Config {
            cpu: CpuConfig {
                mode: match self.cpu.mode {
                    CpuMode::Observe => Mode::Observe,
                    CpuMode::Pin | CpuMode::Node => Mode::Act,
                },
                cpus: self.cpu.cpus.clone(),
                by_node: self.cpu.mode == CpuMode::Node,
                replace_foreign: self.cpu.foreign == Foreign::Replace,
            },
            memory: MemoryConfig {
                mode: match memory.mode {
                    MemoryMode::Observe => Mode::Observe,
                    MemoryMode::Balloon => Mode::Act,
                },
                reclaim: memory.reclaim,
                reserve: memory.reserve,
                host_floor: memory.host_floor,
                step: memory.step,
                period: memory.interval,
                count_cache: memory.count_cache,
            },
            guests: known.collect(),
            others: GuestConfig::default(),
        }
    }
}
