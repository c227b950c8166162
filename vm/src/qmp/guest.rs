//! One QEMU: what is asked of it, in which order.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::host::HostError;
use crate::kernel::{Kernel, Process, Thread};
use crate::moment::Moment;
use crate::snapshot::{Fixed, Guest, GuestId, Memory, Mib, Stats, Trouble, Vcpu, in_kib};
use crate::topology::Cpus;

use super::connection::Connection;
use super::line::{Child, Cpu, GuestStats, in_mib};

/// Where devices are: those with a name and those without.
const DEVICES: [&str; 2] = ["/machine/peripheral", "/machine/peripheral-anon"];
/// MigrationStatus: nothing, or something that is over.
const NO_MIGRATION: [&str; 4] = ["none", "completed", "failed", "cancelled"];
/// JobStatus: over.
const NO_JOB: [&str; 2] = ["concluded", "null"];
const STATS: &str = "guest-stats";
const PERIOD: &str = "guest-stats-polling-interval";
/// A page of a guest's.
const PAGE: u64 = 4096;

/// A QEMU.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) connection: Connection,
    pub(crate) id: GuestId,
    name: String,
    pub(crate) process: Process,
    /// Its balloon among its devices.
    balloon: Option<String>,
    threads: Vec<Cpu>,
    is_running: bool,
    job: bool,
    pub(crate) memory: Memory,
    of_second: i64,
}

/// What time it is since the boot, and since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) moment: Moment,
    pub(crate) wall: Duration,
}

impl Known {
    /// Connects to a QEMU and asks what does not change as long as it runs.
    pub(crate) fn open(path: &Path, kernel: &Kernel, until: Instant) -> Result<Self, HostError> {
        #[derive(Deserialize)]
        struct Uuid {
            #[serde(rename = "UUID")]
            uuid: String,
        }
        #[derive(Deserialize)]
        struct Name {
            name: Option<String>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Size {
            base_memory: u64,
        }
        let mut qemu = Connection::open(path, until)?;
        let gone = || HostError::Gone(format!("process behind {}", path.display()));
        let process = qemu
            .pid()
            .and_then(|pid| kernel.process(pid))
            .ok_or_else(gone)?;
        let uuid: Uuid = qemu.call("query-uuid", &Value::Null, until)?;
        let name: Name = qemu.call("query-name", &Value::Null, until)?;
        let size: Size = qemu.call("query-memory-size-summary", &Value::Null, until)?;
        let (balloon, fixed) = devices(&mut qemu, until)?;
        // A UUID of zeros is what those have that were given none.
        let is_given = uuid
            .uuid
            .bytes()
            .any(|byte| byte.is_ascii_hexdigit() && byte != b'0');
        let id = if is_given {
            uuid.uuid
        } else {
            path.display().to_string()
        };
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let mut known = Self {
            connection: qemu,
            id: GuestId::new(&id),
            name: name.name.unwrap_or_else(|| file.into_owned()),
            process,
            balloon,
            threads: Vec::new(),
            is_running: false,
            job: true,
            memory: Memory {
                max: in_mib(size.base_memory),
                actual: in_mib(size.base_memory),
                rss: 0.0,
                stats: None,
                period: None,
                fixed,
                deflates_on_oom: false,
            },
            of_second: 0,
        };
        let deflates: Option<bool> = known.property("deflate-on-oom", until)?;
        known.memory.deflates_on_oom = deflates == Some(true);
        Ok(known)
    }

    fn property<T: for<'d> Deserialize<'d>>(
        &mut self,
        property: &str,
        until: Instant,
    ) -> Result<Option<T>, HostError> {
        let Some(balloon) = &self.balloon else {
            return Ok(None);
        };
        let asked = json!({"path": balloon, "property": property});
        self.connection.call("qom-get", &asked, until).map(Some)
    }

    /// Asks what changes. After an error it is as it was, and its jobs are not known.
    pub(crate) fn ask(&mut self, now: Now, until: Instant) -> Result<(), HostError> {
        #[derive(Deserialize)]
        struct Status {
            running: bool,
        }
        #[derive(Deserialize)]
        struct Doing {
            status: Option<String>,
        }
        #[derive(Deserialize)]
        struct Balloon {
            actual: u64,
        }
        self.job = true;
        let nothing = &Value::Null;
        let status: Status = self.connection.call("query-status", nothing, until)?;
        self.is_running = status.running;
        self.threads = self.connection.call("query-cpus-fast", nothing, until)?;
        if self.balloon.is_some() {
            let balloon: Balloon = self.connection.call("query-balloon", nothing, until)?;
            self.memory.actual = in_mib(balloon.actual);
        }
        let seconds: Option<u64> = self.property(PERIOD, until)?;
        let seconds = seconds.filter(|seconds| *seconds > 0);
        self.memory.period = seconds.map(Duration::from_secs);
        // Who never spoke has none, and older ones say so by an error.
        match self.property(STATS, until) {
            Ok(stats) => self.note(&stats.unwrap_or_default(), now),
            Err(HostError::Refused { .. }) => self.memory.stats = None,
            Err(error) => return Err(error),
        }
        let migration: Doing = self.connection.call("query-migrate", nothing, until)?;
        let jobs: Vec<Doing> = self.connection.call("query-jobs", nothing, until)?;
        let is = |doing: &Doing, over: &[&str]| {
            let status = doing.status.as_deref();
            status.is_some_and(|status| !over.contains(&status))
        };
        self.job = is(&migration, &NO_MIGRATION) || jobs.iter().any(|job| is(job, &NO_JOB));
        Ok(())
    }

    fn note(&mut self, stats: &GuestStats, now: Now) {
        let numbers = stats
            .mib("stat-total-memory")
            .zip(stats.mib("stat-free-memory"));
        let second = u64::try_from(stats.last_update).unwrap_or(0);
        let Some((available, unused)) = numbers.filter(|_| second > 0) else {
            self.memory.stats = None;
            return;
        };
        // The same statistics have one moment, however the clocks differ.
        let at = match &self.memory.stats {
            Some(before) if self.of_second == stats.last_update => before.at,
            _ => {
                let age = now.wall.saturating_sub(Duration::from_secs(second));
                now.moment.saturating_sub(age)
            }
        };
        self.of_second = stats.last_update;
        let count = |name| stats.count(name).unwrap_or(0);
        self.memory.stats = Some(Stats {
            at,
            available,
            unused,
            usable: stats.mib("stat-available-memory"),
            trouble: Trouble {
                oom_kills: count("stat-oom-kill"),
                alloc_stalls: count("stat-alloc-stall"),
                swap_in: count("stat-swap-in") / PAGE,
                major_faults: count("stat-major-faults"),
            },
        });
    }

    /// What is seen of it. `all` is where it may run if cgroups do not say.
    pub(crate) fn guest(&mut self, kernel: &Kernel, all: &Cpus, now: Moment) -> Guest {
        let rss = kernel.rss(self.process);
        self.memory.rss = rss.unwrap_or(self.memory.actual);
        let mut cpuset = kernel.cpuset(self.process);
        let allowed = cpuset.as_mut().and_then(|cpuset| kernel.allowed(cpuset));
        let allowed = allowed.as_ref().unwrap_or(all);
        let threads = self.threads.iter();
        let vcpus = threads.filter_map(|cpu| {
            let Thread {
                vcpu,
                run,
                wait,
                mask,
                ..
            } = kernel.thread(self.process, cpu.thread_id, cpu.cpu_index)?;
            Some(Vcpu {
                index: vcpu,
                run,
                wait,
                mask,
                allowed: allowed.clone(),
                // Nobody has written down where it is to run.
                owners: false,
            })
        });
        Guest {
            id: self.id.clone(),
            name: self.name.as_str().into(),
            uptime: self.process.uptime(now),
            job: self.job,
            niced: kernel
                .stat(self.process.pid)
                .is_some_and(|stat| stat.is_niced),
            paused: !self.is_running,
            home: None,
            vcpus: vcpus.collect(),
            memory: self.memory.clone(),
        }
    }

    /// The thread that a vCPU is.
    pub(crate) fn thread(&self, vcpu: u32) -> Option<u32> {
        let cpu = self.threads.iter().find(|cpu| cpu.cpu_index == vcpu)?;
        Some(cpu.thread_id)
    }

    /// Has its balloon leave it so much.
    pub(crate) fn set_target(&mut self, target: Mib, until: Instant) -> Result<(), HostError> {
        let asked = json!({"value": in_kib(target).saturating_mul(1024)});
        let _: Value = self.connection.call("balloon", &asked, until)?;
        Ok(())
    }

    /// Has its balloon speak so often.
    pub(crate) fn set_period(
        &mut self,
        period: Option<Duration>,
        until: Instant,
    ) -> Result<(), HostError> {
        let Some(balloon) = &self.balloon else {
            return Err(HostError::Gone(format!("balloon of {}", self.id)));
        };
        let seconds = period.map_or(0, |period| period.as_secs().clamp(1, 3600));
        let asked = json!({"path": balloon, "property": PERIOD, "value": seconds});
        let _: Value = self.connection.call("qom-set", &asked, until)?;
        Ok(())
    }
}

/// The balloon of a QEMU, and what makes its memory nothing to be changed.
fn devices(
    qemu: &mut Connection,
    until: Instant,
) -> Result<(Option<String>, Option<Fixed>), HostError> {
    let mut balloon = None;
    let mut fixed = None;
    for place in DEVICES {
        let children: Vec<Child> = qemu.call("qom-list", &json!({"path": place}), until)?;
        for child in children {
            if child.kind.starts_with("child<virtio-balloon") {
                balloon = Some(format!("{place}/{}", child.name));
            } else if child.kind.starts_with("child<vfio") {
                fixed = Some(Fixed::Vfio);
            }
        }
    }
    if balloon.is_none() {
        fixed = Some(Fixed::NoBalloon);
    }
    Ok((balloon, fixed))
}
