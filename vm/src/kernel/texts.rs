//! The texts of /proc and /sys, and what of them is of the host as a whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auto_ext_service::bounded_file::Root;

use crate::host::HostError;
use crate::snapshot::Mib;
use crate::topology::Cpu;

use super::kept::{Kept, Room, Unread};

/// How large a text may be, in bytes: /proc/stat has a line for each interrupt, and lists of CPUs are long.
pub(super) const MAX_TEXT: usize = 1 << 20;

/// How many times a second the kernel counts for programs (USER_HZ in include/asm-generic/param.h), on all it runs on today.
const TICKS: u32 = 100;

/// What the kernel says.
#[derive(Debug)]
pub struct Kernel {
    pub(super) path: PathBuf,
    pub(super) root: Root,
    /// The CPUs, with what /sys said when they were read.
    pub(super) cpus: Option<(Vec<String>, Vec<Cpu>)>,
    /// How often they were read.
    pub(super) cpus_read: u64,
    /// The files that may be kept open.
    pub(super) room: Room,
}

impl Kernel {
    /// The one whose /proc and /sys are below `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            path: root.to_owned(),
            root: Root::new(root),
            cpus: None,
            cpus_read: 0,
            room: Room::below(root),
        }
    }

    /// Whether it is the kernel that this program runs on, which can be asked by other ways than its files.
    pub(super) fn is_of_this_machine(&self) -> bool {
        self.path == Path::new("/")
    }

    /// The text of a file that is kept open from now on, if there is room; else it is opened each time.
    pub(super) fn text_again(
        &self,
        kept: &mut Kept,
        path: impl FnOnce() -> String,
    ) -> Result<String, Unread> {
        if let Some(text) = kept.text() {
            return text;
        }
        let path = path();
        let text = self.room.keep(kept, &self.path.join(&path));
        text.or_else(|| self.root.text(&path, MAX_TEXT))
            .ok_or(Unread::Missing)
    }

    /// What the host could give without swapping.
    #[must_use]
    pub fn available(&self) -> Option<Mib> {
        let text = self.root.text("proc/meminfo", MAX_TEXT)?;
        kib_of(&text, "MemAvailable:")
    }

    /// How long each of these CPUs was busy, in their order, and how long of that with what is niced. What others took from a virtual
    /// machine that this is does not count.
    #[must_use]
    pub fn busy_and_niced(&self, cpus: &[Cpu]) -> [Vec<Option<Duration>>; 2] {
        let text = self.root.text("proc/stat", MAX_TEXT).unwrap_or_default();
        let each: BTreeMap<u32, [Duration; 2]> = text.lines().filter_map(busy_of_line).collect();
        [0, 1].map(|which| {
            let of = |cpu: &Cpu| Some(each.get(&cpu.id)?[which]);
            cpus.iter().map(of).collect()
        })
    }

    pub(super) fn unreadable(&self, path: &str) -> HostError {
        HostError::Garbled {
            from: self.path.join(path),
            why: "it cannot be read, or is no such text".to_owned(),
        }
    }
}

/// An amount of memory that is told in KiB behind this name.
pub(super) fn kib_of(text: &str, name: &str) -> Option<Mib> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib = value.trim_ascii().strip_suffix("kB")?;
    let kib: u64 = kib.trim_ascii().parse().ok()?;
    Some(kib as f64 / 1024.0)
}

/// A line of /proc/stat: user nice system idle iowait irq softirq steal (proc_stat(5)).
fn busy_of_line(line: &str) -> Option<(u32, [Duration; 2])> {
    let mut words = line.strip_prefix("cpu")?.split_ascii_whitespace();
    let cpu = words.next()?.parse().ok()?;
    let ticks: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
    let &[user, nice, system, _, _, irq, softirq, ..] = &ticks[..] else {
        return None;
    };
    let all = [nice, system, irq, softirq].into_iter();
    let busy = all.fold(user, u64::saturating_add);
    Some((cpu, [busy, nice].map(in_ticks)))
}

/// So much time in ticks.
pub(super) fn ticks_of(time: Duration) -> u64 {
    u64::try_from(time.as_millis() / u128::from(1000 / TICKS)).unwrap_or(u64::MAX)
}

/// So many ticks as a time.
pub(super) fn in_ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(u64::from(1000 / TICKS)))
}
