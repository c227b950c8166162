//! The resources of a core that its hardware threads share, by the names that models and measurements have for them.

use serde::{Deserialize, Serialize};

/// A resource that the hardware threads of a core share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// The ports of integer units.
    IntPort,
    /// The issue queue of integer instructions.
    IntIsq,
    /// The ports of floating-point units.
    FpPort,
    /// The issue queue of floating-point instructions.
    FpIsq,
    /// The issue queue of loads.
    LoadIsq,
    /// The cache of decoded instructions.
    UopCache,
    /// The first data cache.
    L1Dcache,
    /// The second cache.
    L2Cache,
    /// The first TLB of data.
    L1Dtlb,
    /// The last cache, which cores share too.
    L3Cache,
}

/// How a resource is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Entries that are taken in order, as of a queue: who needs more than what is left waits.
    Sequential,
    /// Entries that are evicted, as of a cache.
    Parallel,
    /// Units that are taken for one instruction.
    Port,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::IntPort,
        Self::IntIsq,
        Self::FpPort,
        Self::FpIsq,
        Self::LoadIsq,
        Self::UopCache,
        Self::L1Dcache,
        Self::L2Cache,
        Self::L1Dtlb,
        Self::L3Cache,
    ];

    /// How it is shared.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::IntIsq | Self::FpIsq | Self::LoadIsq | Self::UopCache => Kind::Sequential,
            Self::L1Dcache | Self::L2Cache | Self::L1Dtlb | Self::L3Cache => Kind::Parallel,
            Self::IntPort | Self::FpPort => Kind::Port,
        }
    }

    /// Its name in models and measurements.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::IntPort => "int_port",
            Self::IntIsq => "int_isq",
            Self::FpPort => "fp_port",
            Self::FpIsq => "fp_isq",
            Self::LoadIsq => "load_isq",
            Self::UopCache => "uop_cache",
            Self::L1Dcache => "l1_dcache",
            Self::L2Cache => "l2_cache",
            Self::L1Dtlb => "l1_dtlb",
            Self::L3Cache => "l3_cache",
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|resource| resource.name() == name)
    }
}
