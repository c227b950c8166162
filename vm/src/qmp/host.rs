//! The host as several QEMUs and the kernel show it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use auto_ext_service::affinity_owner::Process;
use auto_ext_service::clock;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::action::Action;
use crate::core::{End, Event};
use crate::host::{Host, HostError};
use crate::kernel::Kernel;
use crate::moment::Moment;
use crate::snapshot::{GuestId, Snapshot, VcpuId};
use crate::topology::Cpus;

use super::guest::{Known, Now};
use super::sockets::sockets;

/// QEMU says that it ends before it does, but not when it is killed.
const ENDS: &str = "SHUTDOWN";
/// A QEMU serves one at a time: one that serves somebody else is tried again so often.
const AGAIN: Duration = Duration::from_secs(60);

/// A host whose guests are QEMUs with these sockets.
#[derive(Debug)]
pub struct Qmp {
    interval: Duration,
    kernel: Kernel,
    places: Vec<PathBuf>,
    sockets: BTreeMap<PathBuf, Socket>,
}

#[derive(Debug, Default)]
struct Socket {
    guest: Option<Known>,
    ends: bool,
    /// Who did not answer is asked nothing until then.
    again: Option<Instant>,
}

impl Qmp {
    /// The host whose QEMUs listen on these sockets, or on those in these directories, and whose /proc and /sys are below `root`. It is looked at once in an interval, of
    /// which who hangs takes half at most. A socket without a QEMU is a guest that is not there yet.
    #[must_use]
    pub fn new(places: &[PathBuf], root: &Path, interval: Duration) -> Self {
        Self {
            interval,
            kernel: Kernel::new(root),
            places: places.to_vec(),
            sockets: BTreeMap::new(),
        }
    }

    /// Takes note of sockets that come, and of those that are gone with their guests.
    fn find_sockets(&mut self) {
        let there = sockets(&self.places);
        self.sockets
            .retain(|path, socket| socket.guest.is_some() || there.contains(path));
        for path in there {
            self.sockets.entry(path).or_default();
        }
    }

    /// How long a single guest may take.
    fn patience(&self) -> Duration {
        self.interval / 4
    }

    fn guest(&mut self, id: &GuestId) -> Result<&mut Known, HostError> {
        let guests = self
            .sockets
            .values_mut()
            .filter_map(|socket| socket.guest.as_mut());
        let mut guests = guests.filter(|guest| guest.id == *id);
        let guest = guests
            .next()
            .ok_or_else(|| HostError::Gone(format!("guest {id}")))?;
        if guest.connection.hangs()? {
            return Err(HostError::Hangs(id.clone()));
        }
        Ok(guest)
    }

    fn pin(&mut self, vcpu: &VcpuId, cpus: &Cpus) -> Result<(), HostError> {
        let thread = self.guest(&vcpu.guest)?.thread(vcpu.index);
        let gone = || HostError::Gone(format!("vCPU {vcpu}"));
        let thread = thread
            .and_then(|thread| i32::try_from(thread).ok())
            .ok_or_else(gone)?;
        let refused = |error: nix::Error| HostError::Refused {
            asked: "pin a vCPU",
            message: error.to_string(),
        };
        let mut set = CpuSet::new();
        for cpu in cpus {
            set.set(*cpu as usize).map_err(refused)?;
        }
        sched_setaffinity(Pid::from_raw(thread), &set).map_err(refused)
    }
}

impl Socket {
    /// Asks its QEMU, or connects to it if there is one now.
    fn ask(&mut self, path: &Path, kernel: &Kernel, now: Now, until: Instant) {
        if self.guest.is_none() {
            if self.again.is_some_and(|again| Instant::now() < again) {
                return;
            }
            // Who is not there, or is not served, may be later.
            let opened = Known::open(path, kernel, until);
            let is_late = matches!(opened, Err(HostError::Late { .. }));
            self.again = is_late.then(|| Instant::now() + AGAIN);
            self.guest = opened.ok();
            self.ends = false;
        }
        if let Some(guest) = &mut self.guest
            && guest.connection.hangs().is_ok_and(|hangs| !hangs)
        {
            // What it does not say is unknown in it.
            let _ = guest.ask(now, until);
        }
    }
}

impl Host for Qmp {
    fn now(&self) -> Moment {
        clock::since_boot()
    }

    fn events(&mut self) -> Result<Vec<Event>, HostError> {
        let mut ended = Vec::new();
        for socket in self.sockets.values_mut() {
            let Some(guest) = &mut socket.guest else {
                continue;
            };
            // What is wrong with a connection shows in that it is over.
            let events = guest.connection.events().unwrap_or_default();
            socket.ends |= events.iter().any(|event| event == ENDS);
            if guest.connection.is_over {
                let end = if socket.ends { End::InOrder } else { End::Lost };
                ended.push(Event::Ended(guest.id.clone(), end));
                socket.guest = None;
            }
        }
        Ok(ended)
    }

    fn snapshot(&mut self) -> Result<Snapshot, HostError> {
        let until = Instant::now() + self.interval / 2;
        let patience = self.patience();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = Now {
            moment: self.now(),
            wall: wall.unwrap_or_default(),
        };
        self.find_sockets();
        for (path, socket) in &mut self.sockets {
            let until = until.min(Instant::now() + patience);
            if Instant::now() < until {
                socket.ask(path, &self.kernel, now, until);
            }
        }
        let cpus = self.kernel.cpus()?;
        let online = cpus.iter().filter(|cpu| cpu.online);
        let all: Cpus = online.map(|cpu| cpu.id).collect();
        // Times are read last, all at one moment.
        let now = self.now();
        let known = self
            .sockets
            .values_mut()
            .filter_map(|socket| socket.guest.as_mut());
        let guests = known.filter(|guest| !guest.connection.is_over);
        let [busy, niced] = self.kernel.busy_and_niced(&cpus);
        Ok(Snapshot {
            guests: guests
                .map(|guest| guest.guest(&self.kernel, &all, now))
                .collect(),
            busy,
            niced,
            available: self.kernel.available(),
            cpus,
        })
    }

    fn process(&self, guest: &GuestId) -> Option<Process> {
        let mut guests = self
            .sockets
            .values()
            .filter_map(|socket| socket.guest.as_ref());
        let known = guests.find(|known| known.id == *guest)?;
        Some(known.process.to_be_owned())
    }

    fn apply(&mut self, action: &Action) -> Result<(), HostError> {
        let until = Instant::now() + self.patience();
        match action {
            Action::Pin(vcpu, cpus) => self.pin(vcpu, cpus),
            Action::Target(guest, target) => self.guest(guest)?.set_target(*target, until),
            Action::Period(guest, period) => self.guest(guest)?.set_period(*period, until),
            Action::Remember(_) | Action::Say(_) => Ok(()),
        }
    }
}
