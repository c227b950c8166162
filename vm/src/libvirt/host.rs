//! The host as libvirt and the kernel show it. Owns what is asked when, and how long it is waited for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use auto_ext_service::affinity_owner;
use auto_ext_service::bounded_file::Root;
use auto_ext_service::clock;

use crate::action::Action;
use crate::core::Event;
use crate::host::{Host, HostError};
use crate::kernel::{Kernel, Process, Stat};
use crate::moment::Moment;
use crate::snapshot::{Guest, GuestId, Mib, Snapshot, VcpuId, in_kib};
use crate::topology::{Cpu, Cpus};

use super::connection::Connection;
use super::definition::Definition;
use super::guest::{Known, Now};
use super::lifecycle::{Happened, meaning};
use super::procedures::{
    self, ALL_STATS, Answer, Domain, IS_PERSISTENT, JOB_INFO, Lifecycle, PIN_VCPU, Procedure,
    SET_MEMORY, SET_PERIOD, XML,
};

/// Where the daemon for everything listens, and where the one for QEMU alone does, below the root.
const SOCKETS: [&str; 2] = ["run/libvirt/libvirt-sock", "run/libvirt/virtqemud-sock"];
/// Where libvirt notes in which process a domain runs.
const PID_FILES: &str = "run/libvirt/qemu";
const MAX_PID_FILE: usize = 64;
/// A definition is read again so often: not every change of what runs is an event that we are told.
const DEFINITION: Duration = Duration::from_secs(60);
/// And the node of most pages so often: it takes the kernel a while to count them.
const HOME: Duration = Duration::from_secs(600);
/// In which cgroup a guest is, which is for libvirt to say at its start, and which of its parents says where it may run, is looked for again so often.
const CPUSET: Duration = Duration::from_secs(60);
/// Processes are searched for those of guests again so often.
const SEARCH: Duration = Duration::from_secs(60);
/// So long libvirt waits itself for a domain that hangs (QEMU_JOB_WAIT_TIME in src/qemu/qemu_domain.h).
const HANGS: Duration = Duration::from_secs(30);
/// How long libvirt may take to let us in.
const OPENS: Duration = Duration::from_secs(10);
/// virDomainJobType: nothing, or something that is over.
const NO_JOB: [i32; 4] = [0, 3, 4, 5];

/// A host whose guests libvirt runs.
#[derive(Debug)]
pub struct Libvirt {
    socket: PathBuf,
    interval: Duration,
    connection: Option<Connection>,
    root: Root,
    kernel: Kernel,
    guests: BTreeMap<GuestId, Known>,
    /// Whom nothing is asked, and until when.
    hanging: BTreeMap<GuestId, Instant>,
}

/// Where libvirt's daemon listens below this root.
#[must_use]
pub fn socket(root: &Path) -> PathBuf {
    let paths = SOCKETS.map(|path| root.join(path));
    let found = paths.iter().find(|path| path.exists());
    found.unwrap_or(&paths[0]).clone()
}

impl Libvirt {
    /// The host whose libvirt listens on this socket and whose /proc, /sys and /run are below `root`. It is looked at once in an
    /// interval, of which who hangs takes half at most.
    #[must_use]
    pub fn new(socket: &Path, root: &Path, interval: Duration) -> Self {
        Self {
            socket: socket.to_owned(),
            interval,
            connection: None,
            root: Root::new(root),
            kernel: Kernel::new(root),
            guests: BTreeMap::new(),
            hanging: BTreeMap::new(),
        }
    }

    /// The connection, a new one where there is none.
    fn connection(&mut self) -> Result<&mut Connection, HostError> {
        let full = self.connection.as_ref().and_then(Connection::is_full);
        if let Some(guests) = full {
            // Their calls hold up all others. On another connection there is room again.
            let until = Instant::now() + HANGS;
            self.hanging
                .extend(guests.into_iter().map(|guest| (guest, until)));
            self.connection = None;
        }
        if self.connection.is_none() {
            let connection = Connection::open(&self.socket, Instant::now() + OPENS)?;
            self.connection = Some(connection);
        }
        self.connection
            .as_mut()
            .ok_or(HostError::Late { asked: "connect" })
    }

    /// Asks something; a connection that is of no use any more is given up.
    fn ask<T>(
        &mut self,
        procedure: Procedure,
        body: &[u8],
        guest: Option<&GuestId>,
        until: Instant,
        read: Answer<T>,
    ) -> Result<T, HostError> {
        if let Some(guest) = guest
            && self.hangs(guest)
        {
            return Err(HostError::Hangs(guest.clone()));
        }
        let result = self.connection()?.call(procedure, body, guest, until, read);
        self.give_up_if_broken(result)
    }

    fn give_up_if_broken<T>(&mut self, result: Result<T, HostError>) -> Result<T, HostError> {
        if let Err(HostError::File { .. } | HostError::Garbled { .. }) = &result {
            self.connection = None;
        }
        result
    }

    fn hangs(&mut self, guest: &GuestId) -> bool {
        let now = Instant::now();
        self.hanging.retain(|_, until| now < *until);
        let waits = |connection: &Connection| connection.waits_for(guest);
        self.hanging.contains_key(guest) || self.connection.as_ref().is_some_and(waits)
    }

    /// How long a single guest may take.
    fn patience(&self) -> Duration {
        self.interval / 4
    }

    /// Takes note of the numbers of all guests, and of who is there.
    fn measure(&mut self, until: Instant) -> Result<(), HostError> {
        let asked = procedures::all_stats();
        let records = self.ask(ALL_STATS, &asked, None, until, procedures::records)?;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = Now {
            moment: self.now(),
            wall: wall.unwrap_or_default(),
        };
        let mut before = std::mem::take(&mut self.guests);
        for record in records {
            let new = Known::new(record.domain.clone());
            // Who was started anew is another, though it has the same UUID.
            let known = before
                .remove(&new.id)
                .filter(|known| known.domain.id == record.domain.id);
            let mut known = known.unwrap_or(new);
            known.measure(&record, now);
            self.guests.insert(known.id.clone(), known);
        }
        Ok(())
    }

    /// Reads definitions that are not known or old, and asks each guest whether it is busy, as long as there is time.
    fn ask_each(&mut self, until: Instant) -> Result<(), HostError> {
        let ids: Vec<GuestId> = self.guests.keys().cloned().collect();
        for id in ids {
            let until = until.min(Instant::now() + self.patience());
            let busy = self.is_busy(&id, until);
            if let Some(known) = self.guests.get_mut(&id) {
                // Of who does not say it, it is not known that there is nothing.
                known.job = busy.as_ref().map_or(true, |busy| *busy);
            }
            if let Err(error @ (HostError::File { .. } | HostError::Garbled { .. })) = busy {
                return Err(error);
            }
        }
        Ok(())
    }

    fn is_busy(&mut self, id: &GuestId, until: Instant) -> Result<bool, HostError> {
        if Instant::now() >= until {
            return Err(HostError::Late {
                asked: JOB_INFO.name,
            });
        }
        let domain = self.domain(id)?;
        let now = self.now();
        let known = self
            .guests
            .get(id)
            .and_then(|known| known.definition.as_ref());
        if known.is_none_or(|(_, read)| now.saturating_sub(*read) >= DEFINITION) {
            self.read_definition(id, &domain, until)?;
        }
        let asked = procedures::only(&domain);
        let job = self.ask(JOB_INFO, &asked, Some(id), until, procedures::job)?;
        Ok(!NO_JOB.contains(&job))
    }

    fn read_definition(
        &mut self,
        id: &GuestId,
        domain: &Domain,
        until: Instant,
    ) -> Result<(), HostError> {
        let read = |host: &mut Self, inactive: bool| -> Result<Definition, HostError> {
            let asked = procedures::xml(domain, inactive);
            let xml = host.ask(XML, &asked, Some(id), until, procedures::text)?;
            // It is the domain's fault, and not the connection's.
            Definition::read(&xml).map_err(|error| HostError::Refused {
                asked: XML.name,
                message: error.to_string(),
            })
        };
        let live = read(self, false)?;
        let inactive = read(self, true)?;
        let asked = procedures::only(domain);
        let persistent = self.ask(IS_PERSISTENT, &asked, Some(id), until, procedures::number)?;
        let now = self.now();
        if let Some(known) = self.guests.get_mut(id) {
            known.transient = persistent == 0;
            known.define(&live, inactive, now);
        }
        Ok(())
    }

    /// The process that a domain runs in, as it was or as libvirt has noted it.
    fn stat(&self, known: &mut Known) -> Option<Stat> {
        if let Some(process) = known.process
            && let Some(stat) = self.kernel.stat_again(&mut known.stat, process.pid)
            && stat.process == process
        {
            return Some(stat);
        }
        let name = &known.domain.name;
        if name.contains('/') {
            return None;
        }
        let path = format!("{PID_FILES}/{name}.pid");
        let pid = self.root.text(&path, MAX_PID_FILE)?;
        let stat = self.kernel.stat(pid.trim_ascii().parse().ok()?)?;
        // The note may be old, and another may have the number.
        let is_its = self
            .kernel
            .started_for(stat.process.pid)
            .is(&known.domain.uuid_text(), name);
        is_its.then_some(stat)
    }

    /// Looks at all processes for those of guests of which libvirt has noted none.
    fn search(&self, guests: &mut BTreeMap<GuestId, Known>, now: Moment) {
        let is_due = |known: &Known| {
            let is_time = |at| now.saturating_sub(at) >= SEARCH;
            known.process.is_none() && known.searched.is_none_or(is_time)
        };
        let mut missing: Vec<&mut Known> =
            guests.values_mut().filter(|known| is_due(known)).collect();
        if missing.is_empty() {
            return;
        }
        for known in &mut missing {
            known.searched = Some(now);
        }
        let numbered = || missing.iter().map(|known| &known.domain).zip(0..);
        let by_uuid: BTreeMap<String, usize> = numbered()
            .map(|(domain, at)| (domain.uuid_text(), at))
            .collect();
        let by_name: BTreeMap<String, usize> = numbered()
            .map(|(domain, at)| (domain.name.clone(), at))
            .collect();
        for pid in self.kernel.pids() {
            let of = self.kernel.started_for(pid);
            if let Some(at) = of.find(&by_uuid, &by_name) {
                missing[*at].process = self.kernel.process(pid);
            }
        }
    }

    /// What the kernel says of the guests.
    fn look(&mut self, cpus: &[Cpu]) -> Vec<Guest> {
        let now = self.now();
        let all: Cpus = cpus
            .iter()
            .filter(|cpu| cpu.online)
            .map(|cpu| cpu.id)
            .collect();
        let has_nodes = cpus.iter().any(|cpu| cpu.node != cpus[0].node);
        let mut known = std::mem::take(&mut self.guests);
        let mut guests = Vec::new();
        for guest in known.values_mut() {
            let stat = self.stat(guest);
            let process = stat.map(|stat| stat.process);
            if process != guest.process {
                guest.stat = Default::default();
                guest.threads = Default::default();
                guest.home = None;
                guest.cpuset = None;
            }
            guest.process = process;
            guest.niced = stat.is_some_and(|stat| stat.is_niced);
            guest.thread_count = stat.map_or(0, |stat| stat.threads);
        }
        self.search(&mut known, now);
        for guest in known.values_mut() {
            let mut threads = Vec::new();
            let mut allowed = None;
            if let Some(process) = guest.process {
                threads = guest
                    .threads
                    .read(&self.kernel, process, guest.thread_count);
                allowed = self.allowed(guest, process, now);
                let is_due = |(_, at): (_, Moment)| now.saturating_sub(at) >= HOME;
                if has_nodes && guest.home.is_none_or(is_due) {
                    guest.home = Some((self.kernel.home(process), now));
                }
            }
            let allowed = allowed.as_ref().unwrap_or(&all);
            guests.extend(guest.guest(threads, allowed, now));
        }
        self.guests = known;
        guests
    }

    /// Where cgroups let a guest run; `None` where they do not say.
    fn allowed(&self, guest: &mut Known, process: Process, now: Moment) -> Option<Cpus> {
        let is_old = |at: Moment| now.saturating_sub(at) >= CPUSET;
        if let Some((cpuset, at)) = &mut guest.cpuset
            && !is_old(*at)
        {
            let allowed = cpuset.as_mut().map(|cpuset| self.kernel.allowed(cpuset));
            match allowed {
                None => return None,
                Some(Some(allowed)) => return Some(allowed),
                // It is somewhere else now, or in a cgroup that says it no more.
                Some(None) => {}
            }
        }
        let mut cpuset = self.kernel.cpuset(process);
        let allowed = cpuset
            .as_mut()
            .and_then(|cpuset| self.kernel.allowed(cpuset));
        guest.cpuset = Some((cpuset, now));
        allowed
    }

    fn pin(&mut self, vcpu: &VcpuId, cpus: &Cpus, until: Instant) -> Result<(), HostError> {
        let domain = self.domain(&vcpu.guest)?;
        let asked = procedures::pin_vcpu(&domain, vcpu.index, &cpu_map(cpus));
        self.ask(
            PIN_VCPU,
            &asked,
            Some(&vcpu.guest),
            until,
            procedures::nothing,
        )
    }

    fn set_target(
        &mut self,
        guest: &GuestId,
        target: Mib,
        until: Instant,
    ) -> Result<(), HostError> {
        let domain = self.domain(guest)?;
        let asked = procedures::set_memory(&domain, in_kib(target));
        self.ask(SET_MEMORY, &asked, Some(guest), until, procedures::nothing)
    }

    fn set_period(
        &mut self,
        guest: &GuestId,
        period: Option<Duration>,
        until: Instant,
    ) -> Result<(), HostError> {
        let domain = self.domain(guest)?;
        // In whole seconds, of which 0 would be never.
        let seconds = period.map_or(0, |period| period.as_secs().clamp(1, 3600));
        let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
        let asked = procedures::set_period(&domain, seconds);
        self.ask(SET_PERIOD, &asked, Some(guest), until, procedures::nothing)?;
        if let Some(known) = self.guests.get_mut(guest) {
            known.set_period(period);
        }
        Ok(())
    }

    fn domain(&self, guest: &GuestId) -> Result<Domain, HostError> {
        let known = self.guests.get(guest);
        let gone = || HostError::Gone(format!("guest {guest}"));
        known.map(|known| known.domain.clone()).ok_or_else(gone)
    }

    /// What an event means.
    fn event(&mut self, event: &Lifecycle) -> Option<Event> {
        let id = GuestId::new(&event.domain.uuid_text());
        match meaning(event)? {
            Happened::Defined => {
                // It is read again with the next look.
                if let Some(known) = self.guests.get_mut(&id)
                    && let Some((_, read)) = &mut known.definition
                {
                    *read = Moment::ZERO;
                }
                None
            }
            Happened::Ended(end) => Some(Event::Ended(id, end)),
        }
    }
}

/// A bit for each CPU, the first one lowest.
fn cpu_map(cpus: &Cpus) -> Vec<u8> {
    let bytes = cpus.last().map_or(0, |last| *last as usize / 8 + 1);
    let mut map = vec![0; bytes];
    for cpu in cpus {
        map[*cpu as usize / 8] |= 1 << (cpu % 8);
    }
    map
}

impl Host for Libvirt {
    fn now(&self) -> Moment {
        clock::since_boot()
    }

    fn events(&mut self) -> Result<Vec<Event>, HostError> {
        let events = self.connection()?.events();
        let events = self.give_up_if_broken(events)?;
        Ok(events
            .iter()
            .filter_map(|event| self.event(event))
            .collect())
    }

    fn snapshot(&mut self) -> Result<Snapshot, HostError> {
        let until = Instant::now() + self.interval / 2;
        self.measure(until)?;
        self.ask_each(until)?;
        // Times are read last, all at one moment.
        let cpus = self.kernel.cpus()?;
        let guests = self.look(&cpus);
        let [busy, niced] = self.kernel.busy_and_niced(&cpus);
        Ok(Snapshot {
            busy,
            niced,
            available: self.kernel.available(),
            cpus,
            guests,
        })
    }

    fn process(&self, guest: &GuestId) -> Option<affinity_owner::Process> {
        self.guests.get(guest)?.process.map(Process::to_be_owned)
    }

    fn apply(&mut self, action: &Action) -> Result<(), HostError> {
        let until = Instant::now() + self.patience();
        match action {
            Action::Pin(vcpu, cpus) => self.pin(vcpu, cpus, until),
            Action::Target(guest, target) => self.set_target(guest, *target, until),
            Action::Period(guest, period) => self.set_period(guest, *period, until),
            Action::Remember(_) | Action::Say(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_of_cpus_has_a_bit_for_each() {
        assert_eq!(cpu_map(&Cpus::from([0, 3, 9])), [0b1001, 0b10]);
        assert_eq!(cpu_map(&Cpus::from([7])), [0x80]);
        assert_eq!(cpu_map(&Cpus::new()), [0; 0]);
    }

    #[test]
    fn the_socket_is_the_one_that_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let all = directory.path().join(SOCKETS[0]);
        assert_eq!(socket(directory.path()), all);
        let own = directory.path().join(SOCKETS[1]);
        std::fs::create_dir_all(own.parent().unwrap()).unwrap();
        std::fs::write(&own, "").unwrap();
        assert_eq!(socket(directory.path()), own);
        std::fs::write(&all, "").unwrap();
        assert_eq!(socket(directory.path()), all);
    }
}
