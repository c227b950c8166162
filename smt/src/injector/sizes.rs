//! How large the resources of a core are: caches as /sys says, queues by the kind of processor.

use std::collections::BTreeMap;
use std::path::Path;

use auto_ext_service::bounded_file::Root;
use auto_ext_service::cpu_list::{self, Cpus};

use crate::model::Machine;

/// How large a text of /sys, a list of CPUs there and /proc/cpuinfo may be, in bytes.
const MAX_TEXT: usize = 64;
const MAX_LIST: usize = 64 << 10;
const MAX_CPUINFO: usize = 16 << 20;
/// The level of the cache that cores share.
const LAST: u8 = 3;
/// How many caches a CPU has at most.
const MAX_CACHES: u32 = 16;
/// How many entries the first TLB of data has, where it is not known: most processors have this many or some more.
const TLB_ENTRIES: usize = 64;
/// No cache is larger, in bytes.
const MAX_CACHE: usize = 1 << 32;

/// The fields of /proc/cpuinfo that say what a processor is, on x86 and elsewhere.
const WHICH: [&str; 9] = [
    "vendor_id",
    "cpu family",
    "model",
    "stepping",
    "CPU implementer",
    "CPU architecture",
    "CPU variant",
    "CPU part",
    "cpu",
];

/// The sizes of one CPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// The data caches by their level, in bytes.
    caches: BTreeMap<u8, usize>,
    machine: Option<Machine>,
    cpu: String,
    /// The CPUs that share the last cache.
    near: Cpus,
}

impl Sizes {
    /// Of this CPU of the machine below `root`. What is not known is left out.
    #[must_use]
    pub fn read(root: &Path, cpu: u32) -> Self {
        let files = Root::new(root);
        let text = |index: u32, name: &str, limit: usize| {
            let path = format!("sys/devices/system/cpu/cpu{cpu}/cache/index{index}/{name}");
            files.text(&path, limit)
        };
        let level = |index| text(index, "level", MAX_TEXT)?.trim_ascii().parse().ok();
        let caches = (0..MAX_CACHES).filter_map(|index| {
            if text(index, "type", MAX_TEXT)?.trim_ascii() == "Instruction" {
                return None;
            }
            Some((level(index)?, bytes(&text(index, "size", MAX_TEXT)?)?))
        });
        let near = (0..MAX_CACHES).filter_map(|index| {
            let list = text(index, "shared_cpu_list", MAX_LIST)?;
            (level(index)? == LAST).then(|| cpu_list::parse(&list).ok())?
        });
        let cpuinfo = files.text("proc/cpuinfo", MAX_CPUINFO).unwrap_or_default();
        let fields = fields(&cpuinfo);
        let which = WHICH.iter().filter_map(|name| fields.get(name).copied());
        Self {
            caches: caches.collect(),
            machine: machine(&fields),
            near: near.flatten().collect(),
            cpu: which.collect::<Vec<_>>().join(" "),
        }
    }

    pub(super) fn cache(&self, level: u8) -> Option<usize> {
        self.caches.get(&level).copied()
    }

    /// The kind of processor, where the sizes of its queues are known.
    #[must_use]
    pub fn machine(&self) -> Option<Machine> {
        self.machine
    }

    /// The CPUs that share the last cache, as far as that is known.
    #[must_use]
    pub fn near(&self) -> &Cpus {
        &self.near
    }

    /// Which processor it is, to know it again.
    #[must_use]
    pub fn cpu(&self) -> &str {
        &self.cpu
    }

    pub(super) fn tlb_entries(&self) -> usize {
        self.machine.map_or(TLB_ENTRIES, Machine::tlb_entries)
    }
}

/// A size as the kernel writes it: `32K`.
fn bytes(text: &str) -> Option<usize> {
    let kilobytes: usize = text.trim_ascii().strip_suffix('K')?.parse().ok()?;
    let bytes = kilobytes.checked_mul(1024)?;
    (bytes <= MAX_CACHE).then_some(bytes)
}

/// What /proc/cpuinfo says of the first CPU.
fn fields(cpuinfo: &str) -> BTreeMap<&str, &str> {
    let first = cpuinfo.lines().take_while(|line| !line.trim().is_empty());
    first
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect()
}

fn machine(fields: &BTreeMap<&str, &str>) -> Option<Machine> {
    let number = |name: &str| fields.get(name)?.parse().ok();
    Machine::of(
        fields.get("vendor_id")?,
        number("cpu family")?,
        number("model")?,
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn data_caches_are_read_and_processors_known_by_their_numbers() {
        let root = tempfile::tempdir().unwrap();
        let caches = [
            ("1", "Data", "48K"),
            ("1", "Instruction", "32K"),
            ("2", "Unified", "1280K"),
            ("3", "Unified", "much"),
        ];
        for (index, (level, kind, size)) in caches.into_iter().enumerate() {
            let directory = format!("sys/devices/system/cpu/cpu3/cache/index{index}");
            write(root.path(), &format!("{directory}/level"), level);
            write(root.path(), &format!("{directory}/type"), kind);
            write(
                root.path(),
                &format!("{directory}/size"),
                &format!("{size}\n"),
            );
            write(
                root.path(),
                &format!("{directory}/shared_cpu_list"),
                "0-3\n",
            );
        }
        let cpuinfo = "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 143\n\nprocessor\t: 1\nmodel\t: 5\n";
        write(root.path(), "proc/cpuinfo", cpuinfo);
        let sizes = Sizes::read(root.path(), 3);
        assert_eq!(sizes.cache(1), Some(48 << 10));
        assert_eq!(sizes.cache(2), Some(1280 << 10));
        assert_eq!(sizes.cache(3), None);
        assert_eq!(sizes.machine(), Some(Machine::GoldenCove));
        assert_eq!(*sizes.near(), (0..4).collect());
        assert_eq!(sizes.tlb_entries(), 96);
        assert_eq!(sizes.cpu(), "GenuineIntel 6 143");
    }

    #[test]
    fn of_a_processor_that_is_not_known_nothing_is_made_up() {
        assert_eq!(machine(&fields("")), None);
        let amd = "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\n";
        assert_eq!(machine(&fields(amd)), None);
        assert_eq!(bytes("32M"), None);
        assert_eq!(bytes("99999999999999999K"), None);
    }
}
