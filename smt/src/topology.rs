//! Which CPUs are the hardware threads of which core, and which cores may be given to groups. All of it is what /sys says;
//! nothing is inferred from the numbers of CPUs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use crate::bounded_file::Root;
use crate::cpu_list::{self, Cpus, List, NoCpuList};

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

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::*;

    /// The machines whose facts are kept: their names and the facts.
    fn machines() -> Vec<(String, Value)> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/topology");
        let mut paths: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        let read = |path: &std::path::PathBuf| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (
                name,
                serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap(),
            )
        };
        paths.iter().map(read).collect()
    }

    fn siblings(cpu: &Value) -> Option<Cpus> {
        let siblings = cpu.get("siblings")?.as_array()?;
        let number = |value: &Value| u32::try_from(value.as_u64()?).ok();
        Some(siblings.iter().filter_map(number).collect())
    }

    /// The text that a file had on a machine. Of some, what is online was not kept: there it is what has siblings.
    fn text(machine: &Value, path: &str) -> Option<String> {
        let path = path.strip_prefix("sys/devices/system/cpu/")?;
        let kept = machine["files"].get(path).and_then(Value::as_str);
        if let Some(text) = kept.filter(|text| !text.is_empty()) {
            return Some(text.to_owned());
        }
        let cpus = machine["cpus"].as_object().unwrap();
        if path == "online" {
            let known = cpus.iter().filter(|(_, cpu)| siblings(cpu).is_some());
            let online: Cpus = known.map(|(cpu, _)| cpu.parse().unwrap()).collect();
            return Some(List(&online).to_string());
        }
        let (cpu, file) = path.strip_prefix("cpu")?.split_once("/topology/")?;
        match file {
            "thread_siblings_list" => Some(List(&siblings(&cpus[cpu])?).to_string()),
            "physical_package_id" => Some(cpus[cpu].get(file)?.to_string()),
            _ => None,
        }
    }

    #[test]
    fn cores_are_those_of_every_machine_whose_facts_are_kept() {
        let machines = machines();
        assert_eq!(machines.len(), 30);
        for (name, machine) in machines {
            let topology = Topology::from_texts(|path| text(&machine, path)).unwrap();
            let cpus = machine["cpus"].as_object().unwrap().values();
            let pairs: BTreeSet<Cpus> = cpus
                .filter_map(siblings)
                .filter(|siblings| siblings.len() > 1)
                .collect();
            let found = topology.domains.iter().flat_map(|domain| &domain.cores);
            let found: BTreeSet<Cpus> = found.map(|core| core.cpus.clone()).collect();
            assert_eq!(found, pairs, "{name}");
            assert_eq!(topology.cores(), pairs.len(), "{name}");
        }
    }

    #[test]
    fn machines_are_what_their_names_say() {
        let machines: BTreeMap<String, Value> = machines().into_iter().collect();
        let topology =
            |name: &str| Topology::from_texts(|path| text(&machines[name], path)).unwrap();
        let hybrid = topology("hwloc-20em64t-hybrid-1p6c2t+2ca4co1t");
        // Its eight E cores have no siblings.
        assert_eq!((hybrid.cores(), hybrid.online.len()), (6, 20));
        let smt4 = topology("hwloc-256ppc-8n8s4t");
        assert!(smt4.domains.iter().all(Domain::is_approximate));
        let epyc = topology("ul-x86_64-epyc_7451");
        assert_eq!((epyc.domains.len(), epyc.cores()), (2, 48));
        assert!(!epyc.domains.iter().any(Domain::is_approximate));
        let zero_is_offline = topology("hwloc-offline-cpu0-node0");
        assert_eq!(
            (zero_is_offline.cores(), zero_is_offline.online.len()),
            (0, 17)
        );
    }

    /// A machine with these lists of siblings and these other files.
    fn made(cores: &[&str], files: &[(&str, &str)]) -> Result<Topology, Unknown> {
        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        let mut online = Cpus::new();
        for list in cores {
            let cpus = cpu_list::parse(list).unwrap();
            for cpu in &cpus {
                let path = format!("{CPUS}/cpu{cpu}/topology/thread_siblings_list");
                texts.insert(path, format!("{list}\n"));
            }
            online.extend(cpus);
        }
        texts.insert(format!("{CPUS}/online"), List(&online).to_string());
        let files = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        texts.extend(files);
        Topology::from_texts(|path| texts.get(path).cloned())
    }

    #[test]
    fn a_core_with_eight_threads_is_one_core() {
        let topology = made(&["0-7", "8-15"], &[]).unwrap();
        let [domain] = &topology.domains[..] else {
            panic!("{topology:?}");
        };
        assert_eq!((domain.cores.len(), domain.cpus()), (2, 16));
        assert!(domain.is_approximate());
    }

    #[test]
    fn what_is_offline_or_isolated_leaves_no_core_to_share() {
        let online = ("sys/devices/system/cpu/online", "0-2");
        let offline = made(&["0-1", "2-3"], &[online]).unwrap();
        assert_eq!((offline.cores(), offline.online.len()), (1, 3));
        for path in [
            "sys/devices/system/cpu/isolated",
            "sys/devices/system/cpu/nohz_full",
            "sys/fs/cgroup/cpuset.cpus.isolated",
        ] {
            let isolated = made(&["0-1", "2-3"], &[(path, "3\n")]).unwrap();
            assert_eq!(isolated.cores(), 1, "{path}");
        }
        let none = made(
            &["0-1"],
            &[("sys/devices/system/cpu/nohz_full", "  (null)\n")],
        );
        assert_eq!(none.unwrap().cores(), 1);
    }

    #[test]
    fn domains_are_nodes_of_packages() {
        let topology = made(
            &["0,4", "1,5", "2,6", "3,7"],
            &[
                ("sys/devices/system/node/online", "0-1"),
                ("sys/devices/system/node/node0/cpulist", "0-1,4-5"),
                ("sys/devices/system/node/node1/cpulist", "2-3,6-7"),
            ],
        );
        let domains = topology.unwrap().domains;
        let nodes: Vec<_> = domains.iter().map(|domain| domain.place.node).collect();
        assert_eq!(nodes, [Some(0), Some(1)]);
        assert!(domains.iter().all(|domain| domain.cores.len() == 2));
    }

    #[test]
    fn what_sys_contradicts_is_not_guessed() {
        let path = "sys/devices/system/cpu/cpu1/topology/thread_siblings_list";
        let disagree = made(&["0-1", "2-3"], &[(path, "1-2")]);
        assert_eq!(disagree, Err(Unknown::Inconsistent(0)));
        let garbled = made(&["0-1"], &[(path, "zero")]).unwrap_err();
        assert!(
            garbled.to_string().contains("thread_siblings_list"),
            "{garbled}"
        );
        let nothing = Topology::from_texts(|_| None).unwrap_err();
        assert_eq!(
            nothing.to_string(),
            "/sys/devices/system/cpu/online cannot be read"
        );
    }

    #[test]
    fn files_are_read_below_the_root_and_no_further_than_the_limit() {
        let root = tempfile::tempdir().unwrap();
        let cpus = root.path().join(CPUS);
        for cpu in 0..2 {
            let topology = cpus.join(format!("cpu{cpu}/topology"));
            fs::create_dir_all(&topology).unwrap();
            fs::write(topology.join("thread_siblings_list"), "0-1\n").unwrap();
        }
        fs::write(cpus.join("online"), "0-1\n").unwrap();
        assert_eq!(Topology::read(root.path()).unwrap().cores(), 1);
        fs::write(cpus.join("online"), "0,".repeat(MAX_TEXT)).unwrap();
        assert!(matches!(
            Topology::read(root.path()),
            Err(Unknown::Unreadable(_))
        ));
    }
}
