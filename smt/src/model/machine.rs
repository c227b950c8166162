//! The sizes of queues that measurements beside injectors are read by, for the CPUs of which they are known.

use super::resource::Resource;

/// A resource whose entries are taken in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// How many entries there are.
    pub size: u16,
    /// How many a hardware thread keeps, whatever its sibling wants.
    pub watermark: u16,
}

/// A kind of CPU, by the name that measurements have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// Intel's eleventh generation, as Ice Lake.
    IntelGen11,
    /// Intel's Golden Cove, the P core of Alder Lake and Sapphire Rapids.
    GoldenCove,
}

impl Queue {
    /// How much of it an injector takes at its low, its medium and its high pressure.
    #[must_use]
    pub fn pressures(self) -> [u16; 3] {
        let most = self.size - self.watermark;
        // Four fifths, rounded down.
        let medium = u32::from(most) * 4 / 5;
        [1, u16::try_from(medium).unwrap_or(most), most]
    }
}

impl Machine {
    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "intel-gen11" => Some(Self::IntelGen11),
            "golden-cove" => Some(Self::GoldenCove),
            _ => None,
        }
    }

    /// The one with these numbers, as /proc/cpuinfo has them (arch/x86/include/asm/intel-family.h in Linux).
    #[must_use]
    pub fn of(vendor: &str, family: u32, model: u32) -> Option<Self> {
        match (vendor, family, model) {
            // Ice Lake, Tiger Lake, Rocket Lake.
            ("GenuineIntel", 6, 0x6a | 0x6c | 0x7d | 0x7e | 0x8c | 0x8d | 0xa7) => {
                Some(Self::IntelGen11)
            }
            // Alder Lake, Raptor Lake, Sapphire Rapids, Emerald Rapids.
            ("GenuineIntel", 6, 0x97 | 0x9a | 0xb7 | 0xba | 0xbf | 0x8f | 0xcf) => {
                Some(Self::GoldenCove)
            }
            _ => None,
        }
    }

    /// How many pages its first TLB of data knows for reading.
    #[must_use]
    pub fn tlb_entries(self) -> usize {
        match self {
            Self::IntelGen11 => 64,
            Self::GoldenCove => 96,
        }
    }

    /// Its queue of this kind; `None` for what is none.
    #[must_use]
    pub fn queue(self, resource: Resource) -> Option<Queue> {
        let (size, watermark) = match (self, resource) {
            (Self::IntelGen11, Resource::IntIsq | Resource::FpIsq) => (75, 6),
            (Self::IntelGen11, Resource::LoadIsq) => (46, 8),
            (Self::GoldenCove, Resource::IntIsq | Resource::FpIsq) => (97, 7),
            (Self::GoldenCove, Resource::LoadIsq) => (70, 17),
            // Its eight ways are split in half.
            (_, Resource::UopCache) => (8, 4),
            _ => return None,
        };
        Some(Queue { size, watermark })
    }
}
