//! What is seen of the host and its guests at one moment. Times and events are counted from some beginning on; what is
//! made of two snapshots is left to [`cpu`](crate::cpu) and [`memory`](crate::memory). Unknown is `None`, never zero.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::moment::Moment;
use crate::topology::{Cpu, Cpus};

/// Memory in MiB.
pub type Mib = f64;

/// So much memory in KiB, in whole ones.
#[must_use]
pub fn in_kib(memory: Mib) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "what is negative becomes 0, and what is too much is more than any guest has"
    )]
    let kib = (memory * 1024.0).round() as u64;
    kib
}

/// What a guest is known by as long as it runs: its UUID, which a name is not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestId(Arc<str>);

impl GuestId {
    /// The guest with this UUID.
    #[must_use]
    pub fn new(uuid: &str) -> Self {
        Self(uuid.into())
    }
}

impl fmt::Display for GuestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One vCPU of one guest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VcpuId {
    /// Whose it is.
    pub guest: GuestId,
    /// Its number within it.
    pub index: u32,
}

impl fmt::Display for VcpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.guest, self.index)
    }
}

/// All that is seen at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The CPUs of the host.
    pub cpus: Vec<Cpu>,
    /// How long each of them was busy, in the same order; `None` where it was not read.
    pub busy: Vec<Option<Duration>>,
    /// How long of that with what has a nice value above 0, which yields to all that has none; in the same order.
    pub niced: Vec<Option<Duration>>,
    /// The guests that run.
    pub guests: Vec<Guest>,
    /// What the host could give without swapping (`MemAvailable`).
    pub available: Option<Mib>,
}

impl Snapshot {
    /// Each of its guests, by what it is known by.
    #[must_use]
    pub fn by_id(&self) -> BTreeMap<&GuestId, &Guest> {
        let guests = self.guests.iter();
        guests.map(|guest| (&guest.id, guest)).collect()
    }
}

/// One guest.
#[derive(Clone, Debug, PartialEq)]
pub struct Guest {
    /// What it is known by.
    pub id: GuestId,
    /// What people call it. Whoever made it chose that: it is to be sanitized where it is shown.
    pub name: Arc<str>,
    /// How long it has run.
    pub uptime: Duration,
    /// A migration, a backup or the like is under way.
    pub job: bool,
    /// Its process has a nice value above 0 itself.
    pub niced: bool,
    /// Its vCPUs do not run, by somebody's will.
    pub paused: bool,
    /// The node that holds at least 60 % of its pages, if one does.
    pub home: Option<u32>,
    /// Its vCPUs.
    pub vcpus: Vec<Vcpu>,
    /// Its memory.
    pub memory: Memory,
}

/// One vCPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Vcpu {
    /// Its number within the guest.
    pub index: u32,
    /// How long its thread ran; `None` where that was not read.
    pub run: Option<Duration>,
    /// How long it was ready to and did not.
    pub wait: Option<Duration>,
    /// Where the kernel lets it run now.
    pub mask: Cpus,
    /// Where cgroups and the guest's definition let it run at all.
    pub allowed: Cpus,
    /// The owner pinned it in the definition that the guest is started from.
    pub owners: bool,
}

/// The memory of a guest.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// What it can have at most.
    pub max: Mib,
    /// What it has now, live; the statistics may be older.
    pub actual: Mib,
    /// What of it the host has given so far.
    pub rss: Mib,
    /// What its balloon's driver said last.
    pub stats: Option<Stats>,
    /// How often it says so; `None`: never.
    pub period: Option<Duration>,
    /// What makes its memory nothing to be changed.
    pub fixed: Option<Fixed>,
    /// The balloon gives memory back by itself before the guest runs out of it, and counts as used in the guest.
    pub deflates_on_oom: bool,
}

/// Why the memory of a guest is not changed as long as it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixed {
    /// There is no balloon.
    NoBalloon,
    /// A device of the host reaches into it.
    Vfio,
    /// It is locked.
    Locked,
    /// It is made of huge pages.
    HugePages,
}

impl fmt::Display for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoBalloon => "no balloon",
            Self::Vfio => "a device of the host reaches into its memory",
            Self::Locked => "its memory is locked",
            Self::HugePages => "its memory is made of huge pages",
        })
    }
}

/// What a balloon's driver says of its guest, all of it of one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// When it said so.
    pub at: Moment,
    /// All memory that the guest's kernel manages.
    pub available: Mib,
    /// What of it is used for nothing, not for caches either.
    pub unused: Mib,
    /// What it could use without swapping, caches included.
    pub usable: Option<Mib>,
    /// What has gone wrong for want of memory since the guest's start.
    pub trouble: Trouble,
}

/// What went wrong in a guest for want of memory, counted since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Processes that were killed.
    pub oom_kills: u64,
    /// Allocations that had to wait for memory to be reclaimed.
    pub alloc_stalls: u64,
    /// Pages that came back from swap.
    pub swap_in: u64,
    /// Page faults that waited for a disk.
    pub major_faults: u64,
}
