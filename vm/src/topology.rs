//! The CPUs of the host: how fast each is, which core and node it belongs to, and whether it may be used.

use std::collections::BTreeSet;

/// The numbers of some CPUs.
pub type Cpus = BTreeSet<u32>;

/// What a CPU of full speed can do (`cpu_capacity` in Documentation/ABI/testing/sysfs-devices-system-cpu).
pub const FULL_CAPACITY: u32 = 1024;

/// One CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Its number.
    pub id: u32,
    /// What it can do, of [`FULL_CAPACITY`].
    pub capacity: u32,
    /// The core that it is a thread of; cores of all nodes are counted together.
    pub core: u32,
    /// The node whose memory is near to it.
    pub node: u32,
    /// The kernel runs tasks on it.
    pub online: bool,
    /// The owner keeps it free of what is not pinned to it (`isolcpus`).
    pub isolated: bool,
}

impl Cpu {
    /// A CPU of full speed that is a core of its own, on the first node.
    #[must_use]
    pub fn plain(id: u32) -> Self {
        Self {
            id,
            capacity: FULL_CAPACITY,
            core: id,
            node: 0,
            online: true,
            isolated: false,
        }
    }

    /// Whether vCPUs may be put on it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.online && !self.isolated && self.capacity > 0
    }
}
