//! A host on which a vCPU is pinned only after its process was claimed, so that no other service decides where it runs; and by whom the owner
//! wants it to be pinned.

use std::collections::{BTreeMap, BTreeSet};

use auto_ext_service::affinity_owner::{AffinityOwner, Claim, Process};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::action::Action;
use crate::config::PinBy;
use crate::core::Event;
use crate::host::{Host, HostError};
use crate::kernel::{self, Kernel, Threads};
use crate::moment::Moment;
use crate::snapshot::{GuestId, Snapshot, VcpuId};
use crate::topology::Cpus;

/// The name by which processes are claimed.
pub(super) const SERVICE: &str = "auto-ext-vm";

/// The host, with what is claimed of it.
pub(super) struct Guarded<H> {
    /// The host itself.
    pub(super) host: H,
    kernel: Kernel,
    owner: AffinityOwner,
    pin_by: PinBy,
    claimed: BTreeMap<GuestId, Process>,
}

impl<H: Host> Guarded<H> {
    /// A host of which nothing is claimed yet.
    pub(super) fn new(host: H, kernel: Kernel, owner: AffinityOwner, pin_by: PinBy) -> Self {
        Self {
            host,
            kernel,
            owner,
            pin_by,
            claimed: BTreeMap::new(),
        }
    }

    /// Which other service decides where a guest runs, if one does.
    pub(super) fn service_of(&self, guest: &GuestId) -> Option<String> {
        match self.owner.of(self.host.process(guest)?)? {
            Claim::Ours => None,
            Claim::Others(service) => Some(service),
        }
    }

    /// Gives up all but these guests.
    pub(super) fn give_up_all_but(&mut self, kept: &BTreeSet<GuestId>) {
        let owner = &self.owner;
        self.claimed.retain(|guest, process| {
            // Where it cannot be said it stays ours, and is said the next time.
            kept.contains(guest) || owner.release(*process).is_err()
        });
    }

    /// A process, if it is still that.
    fn there(&self, process: Process) -> Option<kernel::Process> {
        let there = self.kernel.process(process.pid)?;
        (there.to_be_owned() == process).then_some(there)
    }

    fn claim(&mut self, guest: &GuestId) -> Result<Process, HostError> {
        let refused = |message: String| HostError::Refused {
            asked: "the process of a guest",
            message,
        };
        let process = self.host.process(guest);
        let process = process.filter(|process| self.there(*process).is_some());
        let Some(process) = process else {
            return Err(refused(format!("that of {guest} was not found")));
        };
        match self.owner.claim(process) {
            Ok(Claim::Ours) => {
                self.claimed.insert(guest.clone(), process);
                Ok(process)
            }
            Ok(Claim::Others(service)) => Err(refused(format!("{service} decides where it runs"))),
            Err(error) => Err(refused(format!("it cannot be claimed: {error}"))),
        }
    }

    /// Has the kernel let a vCPU run on these CPUs alone.
    fn pin(&self, process: Process, id: &VcpuId, cpus: &Cpus) -> Result<(), HostError> {
        let refused = |message: String| HostError::Refused {
            asked: "sched_setaffinity",
            message,
        };
        let threads = self
            .there(process)
            .map(|process| Threads::default().read(&self.kernel, process, 0));
        let mut threads = threads
            .into_iter()
            .flatten()
            .filter(|thread| thread.vcpu == id.index);
        let thread = threads
            .next()
            .and_then(|thread| i32::try_from(thread.tid).ok());
        let thread = thread.ok_or_else(|| HostError::Gone(format!("thread of vCPU {id}")))?;
        let mut set = CpuSet::new();
        for cpu in cpus {
            set.set(*cpu as usize)
                .map_err(|_| refused(format!("CPU {cpu} is beyond what it takes")))?;
        }
        sched_setaffinity(Pid::from_raw(thread), &set).map_err(|error| refused(error.to_string()))
    }
}

impl<H: Host> Host for Guarded<H> {
    fn now(&self) -> Moment {
        self.host.now()
    }

    fn events(&mut self) -> Result<Vec<Event>, HostError> {
        self.host.events()
    }

    fn snapshot(&mut self) -> Result<Snapshot, HostError> {
        self.host.snapshot()
    }

    fn process(&self, guest: &GuestId) -> Option<Process> {
        self.host.process(guest)
    }

    fn apply(&mut self, action: &Action) -> Result<(), HostError> {
        let Action::Pin(id, cpus) = action else {
            return self.host.apply(action);
        };
        let process = self.claim(&id.guest)?;
        match self.pin_by {
            PinBy::Libvirt => self.host.apply(action),
            PinBy::Kernel => self.pin(process, id, cpus),
        }
    }
}
