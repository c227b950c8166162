//! Which CPUs are the hardware threads of which core, and which cores may be given to groups. All of it is what /sys says;
//! nothing is inferred from the numbers of CPUs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use auto_ext_service::bounded_file::Root;
use auto_ext_service::cpu_list::{self, Cpus, List, NoCpuList};

#[cfg(test)]
mod tests;

/// How large a text of /sys may be, in bytes: a page, as the kernel has it, and lists of CPUs more.
const MAX_TEXT: usize = 64 << 10;
/// How many NUMA nodes are looked at (MAX_NUMNODES in include/linux/numa.h).
const MAX_NODES: u32 = 1024;

const CPUS: &str = "sys/devices/system/cpu";
const NODES: &str = "sys/devices/system/node";

/// The cores of a machine, as far as they are online.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// All CPUs that are online.
    pub online: Cpus,
    /// CPUs that the kernel keeps free of ordinary tasks.
    pub isolated: Cpus,
    /// The cores that may be given to groups, by where they are. A core belongs to one alone.
    pub domains: Vec<Domain>,
}

/// Cores that are near each other. Groups stay in theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Where it is.
    pub place: Place,
    /// Its cores, each with at least two CPUs.
    pub cores: Vec<Core>,
}

/// A NUMA node of a package. Either may be unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The package; some machines have none (s390).
    pub package: Option<u32>,
    /// The NUMA node.
    pub node: Option<u32>,
}

/// The hardware threads of a core that are online, as CPUs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Core {
    /// Their numbers.
    pub cpus: Cpus,
}

/// Why the cores of a machine are not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// A file of /sys is missing or too large.
    #[error("/{0} cannot be read")]
    Unreadable(String),
    /// It says something else.
    #[error("/{path}: {why}")]
    Garbled {
        /// Which file.
        path: String,
        /// What is wrong with it.
        why: NoCpuList,
    },
    /// Two CPUs disagree on whether they are of one core: /sys was read while it changed.
    #[error("CPU {0} and its siblings disagree on their core")]
    Inconsistent(u32),
}

impl Topology {
    /// Of the machine whose /sys is below `root`.
    ///
    /// # Errors
    /// When /sys does not say it, or contradicts itself.
    pub fn read(root: &Path) -> Result<Self, Unknown> {
        let root = Root::new(root);
        Self::from_texts(|path| root.text(path, MAX_TEXT))
    }

    /// From the texts of files, by their paths from the root.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn from_texts(text: impl Fn(&str) -> Option<String>) -> Result<Self, Unknown> {
        let list = |path: String| -> Result<Option<Cpus>, Unknown> {
            let Some(text) = text(&path) else {
                return Ok(None);
            };
            let cpus = cpu_list::parse(&text);
            cpus.map(Some).map_err(|why| Unknown::Garbled { path, why })
        };
        let path = format!("{CPUS}/online");
        let online = list(path.clone())?.ok_or(Unknown::Unreadable(path))?;
        let mut isolated = Cpus::new();
        for path in [
            format!("{CPUS}/isolated"),
            format!("{CPUS}/nohz_full"),
            // Those of isolated cpuset partitions.
            "sys/fs/cgroup/cpuset.cpus.isolated".to_owned(),
        ] {
            // nohz_full says ` (null)` where there is none.
            if text(&path).is_some_and(|text| text.trim_ascii() == "(null)") {
                continue;
            }
            isolated.extend(list(path)?.unwrap_or_default());
        }
        let nodes = nodes(&list)?;
        let cores = cores(&online, &list)?;
        let mut domains: BTreeMap<Place, Vec<Core>> = BTreeMap::new();
        for core in cores {
            if core.cpus.len() < 2 || !core.cpus.is_disjoint(&isolated) {
                continue;
            }
            let Some(first) = core.cpus.first() else {
                continue;
            };
            let package = text(&format!("{CPUS}/cpu{first}/topology/physical_package_id"));
            let place = Place {
                // -1 where there is none.
                package: package.and_then(|text| text.trim_ascii().parse().ok()),
                node: nodes.get(first).copied(),
            };
            domains.entry(place).or_default().push(core);
        }
        let domains = domains.into_iter();
        Ok(Self {
            online,
            isolated,
            domains: domains
                .map(|(place, cores)| Domain { place, cores })
                .collect(),
        })
    }

    /// How many cores may be given to groups.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.domains.iter().map(|domain| domain.cores.len()).sum()
    }
}

impl Domain {
    /// How many CPUs its cores have.
    #[must_use]
    pub fn cpus(&self) -> usize {
        self.cores.iter().map(|core| core.cpus.len()).sum()
    }

    /// Whether some cores have more than two hardware threads, so that scores of pairs only approximate what a core is worth.
    #[must_use]
    pub fn is_approximate(&self) -> bool {
        self.cores.iter().any(|core| core.cpus.len() > 2)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.package, self.node) {
            (Some(package), Some(node)) => write!(f, "package {package}, node {node}"),
            (Some(package), None) => write!(f, "package {package}"),
            (None, Some(node)) => write!(f, "node {node}"),
            (None, None) => f.write_str("the machine"),
        }
    }
}

impl fmt::Display for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        List(&self.cpus).fmt(f)
    }
}

/// The NUMA node of each CPU.
fn nodes(
    list: &impl Fn(String) -> Result<Option<Cpus>, Unknown>,
) -> Result<BTreeMap<u32, u32>, Unknown> {
    let mut nodes = BTreeMap::new();
    let online = list(format!("{NODES}/online"))?.unwrap_or_default();
    for node in online.into_iter().filter(|node| *node < MAX_NODES) {
        let cpus = list(format!("{NODES}/node{node}/cpulist"))?;
        nodes.extend(cpus.into_iter().flatten().map(|cpu| (cpu, node)));
    }
    Ok(nodes)
}

/// The cores of the CPUs that are online. A CPU of which nothing is said is a core by itself.
fn cores(
    online: &Cpus,
    list: &impl Fn(String) -> Result<Option<Cpus>, Unknown>,
) -> Result<BTreeSet<Core>, Unknown> {
    let mut core_of: BTreeMap<u32, Cpus> = BTreeMap::new();
    for cpu in online {
        // Called core_cpus_list since Linux 5.3; this name stays (Documentation/ABI/stable/sysfs-devices-system-cpu).
        let siblings = list(format!("{CPUS}/cpu{cpu}/topology/thread_siblings_list"))?;
        let mut siblings: Cpus = siblings.iter().flatten().copied().collect();
        siblings.retain(|sibling| online.contains(sibling));
        siblings.insert(*cpu);
        core_of.insert(*cpu, siblings);
    }
    for (cpu, core) in &core_of {
        if core
            .iter()
            .any(|sibling| core_of.get(sibling) != Some(core))
        {
            return Err(Unknown::Inconsistent(*cpu));
        }
    }
    let cores = core_of.into_values();
    Ok(cores.map(|cpus| Core { cpus }).collect())
}
