//! What a switch could leave behind: processes, BPF objects in the kernel, open files of the daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Context as _;
use aya::maps::loaded_maps;
use aya::programs::{loaded_links, loaded_programs};

use crate::{pinning, wait};

const PINNED: &str = "/sys/fs/bpf";

/// All that there is at one moment.
#[derive(Debug, PartialEq)]
pub(crate) struct Leftovers {
    /// Every scheduler, and whatever else the daemon started: number and name; zombies too.
    processes: BTreeMap<u32, String>,
    /// The numbers that the kernel gives to BPF objects, each only once.
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
    links: BTreeSet<u32>,
    pinned: BTreeSet<PathBuf>,
    /// The daemon's open files: how many of each kind.
    files: BTreeMap<String, usize>,
}

impl Leftovers {
    /// Looks.
    pub(crate) fn now() -> anyhow::Result<Self> {
        let daemon = pinning::daemon()?;
        Ok(Self {
            processes: processes_below(daemon),
            programs: programs()?,
            maps: loaded_maps()
                .map(|info| Ok(info?.id()))
                .collect::<anyhow::Result<_>>()?,
            links: loaded_links()
                .map(|info| Ok(info?.id()))
                .collect::<anyhow::Result<_>>()?,
            pinned: files_below(Path::new(PINNED)),
            files: open_files(daemon)?,
        })
    }

    /// Looks once nothing changes any more: the kernel takes its time to free BPF objects.
    pub(crate) fn at_rest() -> anyhow::Result<Self> {
        let mut last = Self::now()?;
        wait::until("everything at rest", &true, || {
            sleep(Duration::from_millis(500));
            // Something may go while it is looked at.
            Self::now().is_ok_and(|now| std::mem::replace(&mut last, now) == last)
        })?;
        Ok(last)
    }

    /// Waits until there is nothing any more that was not there then.
    pub(crate) fn wait_until_nothing_else_is_left(&self) -> anyhow::Result<()> {
        wait::until("left behind", &Vec::new(), || {
            Self::now().map_or_else(
                // Something went while it was looked at.
                |error| vec![format!("{error:#}")],
                |now| now.beyond(self),
            )
        })
        .map(drop)
    }

    /// How many BPF objects there are: programs, maps, links, and files that keep some.
    pub(crate) fn bpf_objects(&self) -> [usize; 4] {
        [
            self.programs.len(),
            self.maps.len(),
            self.links.len(),
            self.pinned.len(),
        ]
    }

    /// How much there is, for people.
    pub(crate) fn summary(&self) -> String {
        format!(
            "{} BPF programs, {} maps, {} links, {} pinned, {} open files, {} processes",
            self.programs.len(),
            self.maps.len(),
            self.links.len(),
            self.pinned.len(),
            self.files.values().sum::<usize>(),
            self.processes.len()
        )
    }

    /// What there is now but was not in `before`.
    fn beyond(&self, before: &Self) -> Vec<String> {
        let numbers = |what: &str, now: &BTreeSet<u32>, before: &BTreeSet<u32>| {
            now.difference(before)
                .map(|id| format!("{what} {id}"))
                .collect::<Vec<_>>()
        };
        let mut left = numbers("program", &self.programs, &before.programs);
        left.extend(numbers("map", &self.maps, &before.maps));
        left.extend(numbers("link", &self.links, &before.links));
        let processes = self.processes.iter();
        left.extend(
            processes
                .filter(|(pid, _)| !before.processes.contains_key(pid))
                .map(|(pid, name)| format!("process {pid} ({name})")),
        );
        let pinned = self.pinned.difference(&before.pinned);
        left.extend(pinned.map(|path| path.display().to_string()));
        left.extend(self.files.iter().filter_map(|(kind, count)| {
            let more = count.saturating_sub(before.files.get(kind).copied().unwrap_or(0));
            (more > 0).then(|| format!("{more} x {kind}"))
        }));
        left
    }
}

/// All BPF programs but those by which systemd confines its services, which come with any of them.
fn programs() -> anyhow::Result<BTreeSet<u32>> {
    let mut programs = BTreeSet::new();
    for info in loaded_programs() {
        let info = info?;
        if !info
            .name_as_str()
            .is_some_and(|name| name.starts_with("sd_"))
        {
            programs.insert(info.id());
        }
    }
    Ok(programs)
}

/// Whether the kernel has the program by which the daemon hears of processes that come: it is attached
/// some time after the daemon's start.
pub(crate) fn processes_are_watched() -> bool {
    loaded_programs().flatten().any(|program| {
        let name = program.name_as_str();
        name.is_some_and(|name| name.starts_with("sched_process_e"))
    })
}

/// The names of all schedulers' processes, whoever started them; zombies too.
pub(crate) fn schedulers() -> Vec<String> {
    let named = |(_, name): (u32, String)| name.starts_with("scx_").then_some(name);
    processes().into_values().filter_map(named).collect()
}

/// Every process that is called as schedulers are or descends from `ancestor`.
fn processes_below(ancestor: u32) -> BTreeMap<u32, String> {
    let all = processes();
    let descends = |mut pid: u32| {
        while let Some((parent, _)) = all.get(&pid) {
            if *parent == ancestor {
                return true;
            }
            pid = *parent;
        }
        false
    };
    all.iter()
        .filter(|(pid, (_, name))| name.starts_with("scx_") || descends(**pid))
        .map(|(pid, (_, name))| (*pid, name.clone()))
        .collect()
}

/// All processes: parent and name by number.
pub(crate) fn processes() -> BTreeMap<u32, (u32, String)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
            let parent = rest.split(' ').nth(1)?.parse().ok()?;
            Some((pid, (parent, name.to_owned())))
        })
        // The kernel's own threads are children of 2, sched_ext's helper among them.
        .filter(|(_, (parent, _))| *parent != 2)
        .collect()
}

fn files_below(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files_below(&entry.path()));
        }
        found.insert(entry.path());
    }
    found
}

fn open_files(pid: u32) -> anyhow::Result<BTreeMap<String, usize>> {
    let directory = format!("/proc/{pid}/fd");
    let mut files = BTreeMap::new();
    let entries = fs::read_dir(&directory).with_context(|| directory.clone())?;
    for link in entries
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
    {
        let kind = link.display().to_string();
        // Sockets and pipes have a number of their own each.
        let kind = kind.split(":[").next().unwrap_or_default().to_owned();
        *files.entry(kind).or_default() += 1;
    }
    Ok(files)
}
