//! What people see who only look: on which CPU which guest is pinned and how busy guests keep it, and what memory each has. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use auto_ext_service::sanitize::sanitize;

use crate::snapshot::{Mib, Snapshot, VcpuId};

/// What is seen at the end of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Iteration {
    number: u64,
    cpus: Vec<OnCpu>,
    memory: Vec<OfGuest>,
}

/// A CPU.
#[derive(Clone, Debug, PartialEq)]
struct OnCpu {
    cpu: u32,
    /// How long vCPUs ran on it, in percent. Those that are not pinned count evenly for all CPUs that they may run on.
    usage: f64,
    /// The guests that have a vCPU that is pinned to it.
    pinned: BTreeSet<String>,
}

/// The memory of a guest.
#[derive(Clone, Debug, PartialEq)]
struct OfGuest {
    name: String,
    actual: Mib,
    unused: Option<Mib>,
}

impl Iteration {
    /// What is seen between two snapshots that are so far apart.
    #[must_use]
    pub fn new(number: u64, before: &Snapshot, after: &Snapshot, took: Duration) -> Self {
        let mut ran: BTreeMap<VcpuId, Duration> = BTreeMap::new();
        for guest in &before.guests {
            for vcpu in &guest.vcpus {
                let guest = guest.id.clone();
                let id = VcpuId {
                    guest,
                    index: vcpu.index,
                };
                ran.extend(vcpu.run.map(|run| (id, run)));
            }
        }
        let mut usage: BTreeMap<u32, f64> = BTreeMap::new();
        let mut pinned: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
        for guest in &after.guests {
            for vcpu in &guest.vcpus {
                let id = VcpuId {
                    guest: guest.id.clone(),
                    index: vcpu.index,
                };
                let grown = vcpu.run.zip(ran.get(&id));
                let grown = grown.and_then(|(run, before)| run.checked_sub(*before));
                let percent = grown.map_or(0.0, |grown| grown.as_secs_f64()) * 100.0
                    / took.as_secs_f64().max(f64::MIN_POSITIVE);
                for cpu in &vcpu.mask {
                    *usage.entry(*cpu).or_default() += percent / vcpu.mask.len() as f64;
                }
                if let (1, Some(cpu)) = (vcpu.mask.len(), vcpu.mask.first()) {
                    pinned
                        .entry(*cpu)
                        .or_default()
                        .insert(sanitize(&guest.name));
                }
            }
        }
        let online = after.cpus.iter().filter(|cpu| cpu.online);
        let mut memory: Vec<OfGuest> = after
            .guests
            .iter()
            .map(|guest| OfGuest {
                name: sanitize(&guest.name),
                actual: guest.memory.actual,
                unused: guest.memory.stats.as_ref().map(|stats| stats.unused),
            })
            .collect();
        memory.sort_by(|one, other| one.name.cmp(&other.name));
        Self {
            number,
            cpus: online
                .map(|cpu| OnCpu {
                    cpu: cpu.id,
                    usage: usage.get(&cpu.id).copied().unwrap_or(0.0),
                    pinned: pinned.remove(&cpu.id).unwrap_or_default(),
                })
                .collect(),
            memory,
        }
    }
}

impl fmt::Display for Iteration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Iteration number :  {}", self.number)?;
        for OnCpu { cpu, usage, pinned } in &self.cpus {
            let names: Vec<String> = pinned.iter().map(|name| format!("'{name}'")).collect();
            let names = names.join(", ");
            writeln!(f, "{cpu} - usage: {usage:.1} | mapping [{names}]")?;
        }
        for OfGuest {
            name,
            actual,
            unused,
        } in &self.memory
        {
            write!(f, "Memory (VM: {name})  Actual [{actual:.1}], Unused: ")?;
            match unused {
                Some(unused) => writeln!(f, "[{unused:.1}]")?,
                None => writeln!(f, "[unknown]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::{Balloon, Host, SimGuest, SimVcpu};
    use crate::topology::Cpus;

    #[test]
    fn it_is_shown_as_it_was_ordered() {
        let on = |wants, cpus: &[u32]| {
            let mut vcpu = SimVcpu::new(wants, 2);
            vcpu.mask = cpus.iter().copied().collect::<Cpus>();
            vcpu
        };
        let mut balloon = Balloon::plain(512.0);
        balloon.base = 318.1;
        let first = SimGuest {
            balloon,
            ..SimGuest::new(1, vec![on(24.0, &[0])])
        };
        let second = SimGuest::new(2, vec![on(60.0, &[1]), on(30.0, &[0, 1])]);
        let mut host = Host::new(2, vec![second, first]);
        let took = host.interval;
        let before = host.snapshot();
        host.advance();
        let mut after = host.snapshot();
        after.guests[0].name = "b\u{1b}".into();
        let shown = Iteration::new(3, &before, &after, took).to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "Iteration number :  3");
        assert_eq!(lines[1], "0 - usage: 39.0 | mapping ['001']");
        assert!(
            lines[2].starts_with("1 - usage: 75.0 | mapping ['b"),
            "{shown}"
        );
        let memory = "Memory (VM: 001)  Actual [512.0], Unused: [193.9]";
        assert_eq!(lines[3], memory);
        assert!(!shown.contains('\u{1b}'), "{shown}");
        after.guests[1].memory.stats = None;
        let shown = Iteration::new(3, &before, &after, took).to_string();
        assert!(
            shown.contains("Actual [512.0], Unused: [unknown]\n"),
            "{shown}"
        );
    }
}
