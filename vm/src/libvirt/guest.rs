//! What is known of one guest, from what libvirt and the kernel say of it. Pure.

use std::time::Duration;

use crate::kernel::{Cpuset, Kept, Process, Thread, Threads};
use crate::moment::Moment;
use crate::snapshot::{Guest, GuestId, Memory, Mib, Stats, Trouble, Vcpu};
use crate::topology::Cpus;

use super::definition::Definition;
use super::procedures::{Domain, Record};

/// virDomainState: it runs, or waits for something.
const RUNNING: [u64; 2] = [1, 2];
const KIB: f64 = 1024.0;
/// Swap is told in KiB, and counted in pages.
const PAGE_KIB: u64 = 4;

/// What time it is, by two clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// Since the boot.
    pub(crate) moment: Moment,
    /// Since 1970.
    pub(crate) wall: Duration,
}

/// What is known of a guest.
#[derive(Debug)]
pub(crate) struct Known {
    /// How libvirt knows it.
    pub(crate) domain: Domain,
    /// How people and we do.
    pub(crate) id: GuestId,
    /// What it is, and since when that is known; `None` until it was read.
    pub(crate) definition: Option<(Definition, Moment)>,
    /// It has no definition to be started from again: what runs is all there is.
    pub(crate) transient: bool,
    /// In which process it runs.
    pub(crate) process: Option<Process>,
    /// What the kernel says of that process.
    pub(crate) stat: Kept,
    /// When that was searched for among all processes.
    pub(crate) searched: Option<Moment>,
    /// That has a nice value above 0.
    pub(crate) niced: bool,
    /// How many threads it has; 0: nobody knows.
    pub(crate) thread_count: u32,
    /// What says where its cgroup lets it run, and when that was looked for.
    pub(crate) cpuset: Option<(Option<Cpuset>, Moment)>,
    /// Which of its threads are vCPUs.
    pub(crate) threads: Threads,
    /// The node of most of its pages, and when that was looked at.
    pub(crate) home: Option<(Option<u32>, Moment)>,
    /// A migration, a backup or the like is under way, or nobody knows.
    pub(crate) job: bool,
    paused: bool,
    memory: Memory,
    /// Which second of the clock on the wall its statistics are of.
    of_second: u64,
}

impl Known {
    /// A guest that is seen for the first time.
    pub(crate) fn new(domain: Domain) -> Self {
        Self {
            id: GuestId::new(&domain.uuid_text()),
            domain,
            definition: None,
            transient: false,
            process: None,
            stat: Kept::default(),
            searched: None,
            niced: false,
            thread_count: 0,
            cpuset: None,
            threads: Threads::default(),
            home: None,
            job: true,
            paused: false,
            memory: Memory {
                max: 0.0,
                actual: 0.0,
                rss: 0.0,
                stats: None,
                period: None,
                fixed: None,
                deflates_on_oom: false,
            },
            of_second: 0,
        }
    }

    /// Takes note of its definition: of what runs, and of what it would be started from.
    pub(crate) fn define(&mut self, live: &Definition, inactive: Definition, now: Moment) {
        let mut pinned = inactive.pinned.clone();
        if self.transient
            && let Some((before, _)) = &self.definition
        {
            // We pin what runs ourselves: only what was pinned when it was first seen is somebody else's.
            pinned.retain(|vcpu, _| before.pinned.contains_key(vcpu));
        }
        self.memory.period = live.period;
        self.memory.fixed = live.fixed;
        self.memory.deflates_on_oom = live.deflates_on_oom;
        self.definition = Some((Definition { pinned, ..inactive }, now));
    }

    /// Its balloon speaks so often from now on.
    pub(crate) fn set_period(&mut self, period: Option<Duration>) {
        self.memory.period = period;
    }

    /// Takes note of its numbers. What is missing was not known without waiting, and is as it was.
    pub(crate) fn measure(&mut self, record: &Record, now: Now) {
        self.domain.clone_from(&record.domain);
        let state = record.number("state.state");
        self.paused = state.is_none_or(|state| !RUNNING.contains(&state));
        let mib = |name: &str| -> Option<Mib> { Some(record.number(name)? as f64 / KIB) };
        let set = |value: &mut Mib, name: &str| *value = mib(name).unwrap_or(*value);
        set(&mut self.memory.max, "balloon.maximum");
        set(&mut self.memory.actual, "balloon.current");
        set(&mut self.memory.rss, "balloon.rss");
        let Some(second) = record.number("balloon.last-update") else {
            return;
        };
        let numbers = mib("balloon.available").zip(mib("balloon.unused"));
        // 0: its driver has never spoken.
        let Some((available, unused)) = numbers.filter(|_| second > 0) else {
            self.memory.stats = None;
            return;
        };
        // The same statistics have one moment, however the clocks differ.
        let at = match &self.memory.stats {
            Some(before) if self.of_second == second => before.at,
            _ => {
                let age = now.wall.saturating_sub(Duration::from_secs(second));
                now.moment.saturating_sub(age)
            }
        };
        self.of_second = second;
        self.memory.stats = Some(Stats {
            at,
            available,
            unused,
            usable: mib("balloon.usable"),
            trouble: Trouble {
                swap_in: record.number("balloon.swap_in").unwrap_or(0) / PAGE_KIB,
                major_faults: record.number("balloon.major_fault").unwrap_or(0),
                // libvirt does not pass them on.
                oom_kills: 0,
                alloc_stalls: 0,
            },
        });
    }

    /// What is seen of it; `None` until it is known what it is. `allowed` is where cgroups let it run.
    pub(crate) fn guest(&self, threads: Vec<Thread>, allowed: &Cpus, now: Moment) -> Option<Guest> {
        let (definition, _) = self.definition.as_ref()?;
        let cpuset = definition.cpuset.as_ref();
        let allowed = cpuset.map_or_else(|| allowed.clone(), |cpuset| allowed & cpuset);
        let vcpus = threads.into_iter().map(|thread| Vcpu {
            index: thread.vcpu,
            run: thread.run,
            wait: thread.wait,
            mask: thread.mask,
            // A pin that leaves it everything is none.
            owners: definition
                .pinned
                .get(&thread.vcpu)
                .is_some_and(|cpus| !allowed.is_subset(cpus)),
            allowed: allowed.clone(),
        });
        Some(Guest {
            id: self.id.clone(),
            name: self.domain.name.as_str().into(),
            uptime: self
                .process
                .map_or(Duration::ZERO, |process| process.uptime(now)),
            job: self.job,
            niced: self.niced,
            paused: self.paused,
            home: self.home.and_then(|(home, _)| home),
            vcpus: vcpus.collect(),
            memory: self.memory.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::procedures::Value;
    use super::*;

    fn record(values: &[(&str, u64)]) -> Record {
        let values = values.iter();
        Record {
            domain: Domain {
                name: "vm".to_owned(),
                uuid: [7; 16],
                id: 1,
            },
            values: values
                .map(|(name, value)| ((*name).to_owned(), Value::Number((*value).into())))
                .collect(),
        }
    }

    fn now(seconds: u64) -> Now {
        Now {
            moment: Duration::from_secs(seconds),
            // It was booted at this time.
            wall: Duration::from_secs(1_000_000 + seconds),
        }
    }

    fn thread(vcpu: u32) -> Thread {
        Thread {
            tid: 100 + vcpu,
            vcpu,
            run: None,
            wait: None,
            mask: Cpus::from([0, 1]),
        }
    }

    const SPOKEN: [(&str, u64); 7] = [
        ("state.state", 1),
        ("balloon.current", 262_144),
        ("balloon.maximum", 524_288),
        ("balloon.rss", 102_400),
        ("balloon.available", 245_760),
        ("balloon.unused", 51_200),
        ("balloon.last-update", 1_000_050),
    ];

    fn known() -> Known {
        Known::new(record(&[]).domain)
    }

    #[test]
    fn statistics_are_of_the_moment_when_the_guest_spoke() {
        let mut known = known();
        known.measure(&record(&SPOKEN), now(53));
        let stats = known.memory.stats.clone().unwrap();
        assert_eq!(stats.at, Duration::from_secs(50));
        assert_eq!((stats.available, stats.unused), (240.0, 50.0));
        assert_eq!(
            (known.memory.actual, known.memory.max, known.memory.rss),
            (256.0, 512.0, 100.0)
        );
        // The clock on the wall is set back: they are no other statistics for that.
        let later = Now {
            wall: Duration::from_secs(999_990),
            ..now(55)
        };
        known.measure(&record(&SPOKEN), later);
        assert_eq!(known.memory.stats.unwrap().at, Duration::from_secs(50));
    }

    #[test]
    fn who_hangs_keeps_what_was_last_known_and_who_never_spoke_has_nothing() {
        let mut known = known();
        known.measure(&record(&SPOKEN), now(53));
        let before = known.memory.clone();
        known.measure(&record(&SPOKEN[..2]), now(58));
        assert_eq!(known.memory, before);
        let mut silent = SPOKEN;
        silent[6].1 = 0;
        known.measure(&record(&silent), now(60));
        assert_eq!(known.memory.stats, None);
    }

    #[test]
    fn pins_are_the_owners_as_the_definition_says_it() {
        let mut known = known();
        let all = Cpus::from([0, 1, 2, 3]);
        let seen = |known: &Known| known.guest(vec![thread(0), thread(1)], &all, Moment::ZERO);
        assert_eq!(seen(&known), None);
        let guest = |known: &Known| seen(known).unwrap();
        let pinned = |pins: &[(u32, &[u32])]| Definition {
            cpuset: Some(Cpus::from([0, 1, 2])),
            pinned: pins
                .iter()
                .map(|(vcpu, cpus)| (*vcpu, cpus.iter().copied().collect()))
                .collect::<BTreeMap<_, _>>(),
            ..Definition::default()
        };
        let owners = |known: &Known| {
            let vcpus = guest(known).vcpus;
            vcpus.iter().map(|vcpu| vcpu.owners).collect::<Vec<_>>()
        };
        known.define(
            &Definition::default(),
            pinned(&[(0, &[0]), (1, &[0, 1, 2])]),
            Moment::ZERO,
        );
        assert_eq!(owners(&known), [true, false]);
        assert_eq!(guest(&known).vcpus[0].allowed, Cpus::from([0, 1, 2]));
        // Of one without a definition of its own, what we pin later shows in it.
        known.transient = true;
        known.define(&pinned(&[]), pinned(&[(0, &[1]), (1, &[2])]), Moment::ZERO);
        assert_eq!(owners(&known), [true, true]);
        let mut other = Known::new(record(&[]).domain);
        other.transient = true;
        other.define(&pinned(&[]), pinned(&[(1, &[1])]), Moment::ZERO);
        other.define(&pinned(&[]), pinned(&[(0, &[1]), (1, &[1])]), Moment::ZERO);
        assert_eq!(owners(&other), [false, true]);
    }

    #[test]
    fn who_is_not_running_is_paused() {
        let mut known = known();
        known.define(&Definition::default(), Definition::default(), Moment::ZERO);
        let paused_now = |known: &Known| {
            known
                .guest(Vec::new(), &Cpus::new(), Moment::ZERO)
                .unwrap()
                .paused
        };
        for (state, paused) in [(1, false), (2, false), (3, true), (7, true)] {
            known.measure(&record(&[("state.state", state)]), now(1));
            assert_eq!(paused_now(&known), paused);
        }
        known.measure(&record(&[]), now(1));
        assert!(paused_now(&known));
    }
}
