//! The CPUs of the host, as /sys has them.

use std::collections::{BTreeMap, BTreeSet};

use auto_ext_service::cpu_list;

use crate::host::HostError;
use crate::topology::{Cpu, Cpus, FULL_CAPACITY};

use super::texts::{Kernel, MAX_TEXT};

const CPUS: &str = "sys/devices/system/cpu";
const NODES: &str = "sys/devices/system/node";
/// How many NUMA nodes are looked at (MAX_NUMNODES in include/linux/numa.h).
const MAX_NODES: usize = 1024;

/// Which CPUs there are and which of them tasks run on: when these change, everything is read again.
const CHANGES: [&str; 4] = [
    "sys/devices/system/cpu/present",
    "sys/devices/system/cpu/online",
    "sys/devices/system/cpu/isolated",
    // Those of isolated cpuset partitions.
    "sys/fs/cgroup/cpuset.cpus.isolated",
];

impl Kernel {
    /// The CPUs of the host.
    ///
    /// # Errors
    /// When /sys does not say which there are.
    pub fn cpus(&mut self) -> Result<Vec<Cpu>, HostError> {
        let texts: Vec<String> = CHANGES
            .iter()
            .map(|path| self.root.text(path, MAX_TEXT).unwrap_or_default())
            .collect();
        if let Some((before, cpus)) = &self.cpus
            && *before == texts
        {
            return Ok(cpus.clone());
        }
        let list = |at: usize| -> Result<Cpus, HostError> {
            cpu_list::parse(&texts[at]).map_err(|error| HostError::Garbled {
                from: self.path.join(CHANGES[at]),
                why: error.to_string(),
            })
        };
        let (present, online) = (list(0)?, list(1)?);
        let isolated = &list(2)? | &list(3)?;
        if online.is_empty() {
            return Err(self.unreadable(CHANGES[1]));
        }
        let nodes = self.nodes();
        let capacities = self.capacities(&online);
        let cpu = |id: u32| Cpu {
            id,
            capacity: capacities.get(&id).copied().unwrap_or(FULL_CAPACITY),
            core: self.core(id),
            node: nodes.get(&id).copied().unwrap_or(0),
            online: online.contains(&id),
            isolated: isolated.contains(&id),
        };
        let cpus: Vec<Cpu> = present.union(&online).copied().map(cpu).collect();
        self.cpus = Some((texts, cpus.clone()));
        self.cpus_read += 1;
        Ok(cpus)
    }

    /// A core is known by the first of its threads.
    fn core(&self, cpu: u32) -> u32 {
        let path = format!("{CPUS}/cpu{cpu}/topology/thread_siblings_list");
        let text = self.root.text(&path, MAX_TEXT);
        let siblings = text.and_then(|text| cpu_list::parse(&text).ok());
        siblings
            .and_then(|cpus| cpus.first().copied())
            .unwrap_or(cpu)
    }

    /// Which node each CPU is of.
    fn nodes(&self) -> BTreeMap<u32, u32> {
        let text = self.root.text(&format!("{NODES}/online"), MAX_TEXT);
        let nodes = text.and_then(|text| cpu_list::parse(&text).ok());
        let mut of = BTreeMap::new();
        for node in nodes.unwrap_or_default().into_iter().take(MAX_NODES) {
            let path = format!("{NODES}/node{node}/cpulist");
            let text = self.root.text(&path, MAX_TEXT);
            let cpus = text.and_then(|text| cpu_list::parse(&text).ok());
            of.extend(cpus.unwrap_or_default().into_iter().map(|cpu| (cpu, node)));
        }
        of
    }

    /// What each CPU can do: as the kernel says where it does, and else by how fast each can be.
    fn capacities(&self, online: &Cpus) -> BTreeMap<u32, u32> {
        let number = |cpu: u32, file: &str| -> Option<u64> {
            let path = format!("{CPUS}/cpu{cpu}/{file}");
            self.root.text(&path, MAX_TEXT)?.trim_ascii().parse().ok()
        };
        let each = |file: &str| -> Option<BTreeMap<u32, u64>> {
            online
                .iter()
                .map(|cpu| Some((*cpu, number(*cpu, file)?)))
                .collect()
        };
        let values = each("cpu_capacity").or_else(|| each("cpufreq/cpuinfo_max_freq"));
        let values = values.unwrap_or_default();
        let most: BTreeSet<u64> = values.values().copied().collect();
        let most = most.last().copied().unwrap_or(0).max(1);
        values
            .into_iter()
            .map(|(cpu, value)| {
                let part = u128::from(value) * u128::from(FULL_CAPACITY) / u128::from(most);
                (cpu, u32::try_from(part).unwrap_or(FULL_CAPACITY).max(1))
            })
            .collect()
    }
}
