//! A host on which a vCPU is pinned only after its process was claimed, so that no other service decides where it runs; and by whom the owner
//! wants it to be pinned.

use std::collections::{BTreeMap, BTreeSet};

use auto_ext_service::affinity_owner::{AffinityOwner, Claim, Process};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::processes::Find;
use crate::action::Action;
use crate::config::PinBy;
use crate::core::Event;
use crate::host::{Host, HostError};
use crate::moment::Moment;
use crate::snapshot::{GuestId, Snapshot, VcpuId};
use crate::topology::Cpus;

/// The name by which processes are claimed.
pub(super) const SERVICE: &str = "auto-ext-vm";

/// The host, with what is claimed of it.
pub(super) struct Guarded<H> {
    /// The host itself.
    pub(super) host: H,
    find: Box<dyn Find>,
    owner: AffinityOwner,
    pin_by: PinBy,
    /// The processes of those who were seen last, as far as they were found.
    processes: BTreeMap<GuestId, Process>,
    seen: BTreeSet<GuestId>,
    claimed: BTreeMap<GuestId, Process>,
}

impl<H: Host> Guarded<H> {
    /// A host of which nothing is claimed yet.
    pub(super) fn new(host: H, find: Box<dyn Find>, owner: AffinityOwner, pin_by: PinBy) -> Self {
        Self {
            host,
            find,
            owner,
            pin_by,
            processes: BTreeMap::new(),
            seen: BTreeSet::new(),
            claimed: BTreeMap::new(),
        }
    }

    /// Which other service decides where a guest runs, if one does.
    pub(super) fn service_of(&self, guest: &GuestId) -> Option<String> {
        match self.owner.of(*self.processes.get(guest)?)? {
            Claim::Ours => None,
            Claim::Others(service) => Some(service),
        }
    }

    /// Gives up all but these guests.
    pub(super) fn give_up_all_but(&mut self, kept: &BTreeSet<&GuestId>) {
        let owner = &self.owner;
        self.claimed.retain(|guest, process| {
            // Where it cannot be said it stays ours, and is said the next time.
            kept.contains(guest) || owner.release(*process).is_err()
        });
    }

    fn claim(&mut self, guest: &GuestId) -> Result<Process, HostError> {
        let refused = |message: String| HostError::Refused {
            asked: "the process of a guest",
            message,
        };
        let process = self.processes.get(guest).copied();
        let process = process.filter(|process| self.find.is_there(*process));
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

    /// Finds who is new. That looks at all processes of the machine.
    fn find_new(&mut self, snapshot: &Snapshot) {
        let seen: BTreeSet<GuestId> = snapshot
            .guests
            .iter()
            .map(|guest| guest.id.clone())
            .collect();
        self.processes.retain(|guest, _| seen.contains(guest));
        let ended = |process: &Process| !self.find.is_there(*process);
        self.processes.retain(|_, process| !ended(process));
        let is_new =
            |guest: &&GuestId| !self.processes.contains_key(*guest) || !self.seen.contains(*guest);
        let new: Vec<GuestId> = seen.iter().filter(is_new).cloned().collect();
        if new.iter().any(|guest| !self.seen.contains(guest)) {
            self.processes.extend(self.find.processes(&new));
        }
        self.seen = seen;
    }

    /// Has the kernel let a vCPU run on these CPUs alone.
    fn pin(&self, process: Process, id: &VcpuId, cpus: &Cpus) -> Result<(), HostError> {
        let refused = |message: String| HostError::Refused {
            asked: "sched_setaffinity",
            message,
        };
        let thread = self.find.thread(process, id.index);
        let thread = thread.and_then(|thread| i32::try_from(thread).ok());
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
        let snapshot = self.host.snapshot()?;
        self.find_new(&snapshot);
        Ok(snapshot)
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
