//! Which CPUs share a last-level cache, numbered from 0 as the BPF programs want it, and on which node each cache is.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use scx_utils::Topology;

use crate::bpf::intf;

/// The LLC of each CPU.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Llcs {
    /// CPU and number of its LLC.
    pub(crate) of_cpus: Vec<(usize, u32)>,
    /// How many there are.
    pub(crate) count: u32,
    /// The node of each LLC: that of its first CPU.
    pub(crate) nodes: Vec<u32>,
}

impl Llcs {
    /// As the machine has them or, with `virtual_size`, as if each so many CPUs had one.
    ///
    /// # Errors
    /// When /sys does not tell, or there are more CPUs than the BPF programs have room for.
    pub(crate) fn read(virtual_size: Option<usize>) -> Result<Self> {
        let topology = Topology::new().context("which CPUs share a cache is not known")?;
        let cpus = topology.all_cpus.values().map(|cpu| {
            let llc = virtual_size.map_or(cpu.llc_id, |size| cpu.id / size);
            (cpu.id, llc, cpu.node_id)
        });
        Self::numbered(cpus)
    }

    /// From CPUs, any numbers of their LLCs and their nodes. Beyond [`intf::limits_MAX_LLCS`] several LLCs share a queue.
    fn numbered(cpus: impl IntoIterator<Item = (usize, usize, usize)>) -> Result<Self> {
        let mut numbers = BTreeMap::new();
        let mut of_cpus = Vec::new();
        let mut nodes = Vec::new();
        for (cpu, llc, node) in cpus {
            ensure!(
                cpu < intf::limits_MAX_CPUS as usize,
                "CPU {cpu} is beyond the {} that this scheduler has room for",
                intf::limits_MAX_CPUS
            );
            let next = u32::try_from(numbers.len()).context("too many LLCs")?;
            let number = *numbers.entry(llc).or_insert(next);
            let number = number % intf::limits_MAX_LLCS;
            of_cpus.push((cpu, number));
            if nodes.len() <= number as usize {
                nodes.push(u32::try_from(node).context("too many nodes")?);
            }
        }
        let count = of_cpus.iter().map(|(_, llc)| llc + 1).max();
        Ok(Self {
            of_cpus,
            count: count.context("no CPUs")?,
            nodes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llcs_are_numbered_from_0_in_the_order_in_which_their_cpus_come() {
        let llcs = Llcs::numbered([(0, 7, 0), (1, 3, 1), (2, 7, 0), (5, 3, 1)]).unwrap();
        assert_eq!(llcs.of_cpus, [(0, 0), (1, 1), (2, 0), (5, 1)]);
        assert_eq!((llcs.count, llcs.nodes), (2, vec![0, 1]));
    }

    #[test]
    fn more_llcs_than_there_is_room_for_share_queues() {
        let llcs = Llcs::numbered((0..70).map(|cpu| (cpu, cpu, 0))).unwrap();
        assert_eq!((llcs.count, llcs.nodes.len()), (64, 64));
        assert_eq!(llcs.of_cpus[65], (65, 1));
    }

    #[test]
    fn a_cpu_that_there_is_no_room_for_and_no_cpu_at_all_are_errors() {
        assert!(Llcs::numbered([(1024, 0, 0)]).is_err());
        assert!(Llcs::numbered([]).is_err());
    }
}
