//! Owns the step that boots machines unlike the one of all other tests. What holds on them is said by
//! the system tests.

use std::time::Duration;

use anyhow::Result;

use super::attempts::in_machine;
use super::count::Count;
use crate::machine::{Kernel, Machine, Role};

/// The step's name.
pub(super) const SIZES: &str = "machines of other sizes";

/// The kernel that they run.
const ROLE: Role = Role::Newest;

/// How long each may take, under emulation.
const TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// A machine.
struct Size {
    cpus: u32,
    /// How many of them are a core.
    threads: u32,
    /// Which of the system tests must hold.
    tests: &'static str,
    memory: &'static str,
    append: &'static str,
}

const MACHINES: [Size; 3] = [
    Size {
        cpus: 1,
        threads: 1,
        tests: "sizes",
        memory: "1G",
        append: "psi=0",
    },
    Size {
        cpus: 16,
        threads: 1,
        tests: "sizes",
        memory: "4G",
        append: "cgroup_disable=memory",
    },
    Size {
        cpus: 4,
        threads: 2,
        tests: "smt",
        memory: "2G",
        append: "",
    },
];

/// Runs what must hold on each.
pub(super) fn sizes() -> Result<Count> {
    let mut all = Count::default();
    for size in &MACHINES {
        all += on(size)?;
    }
    Ok(all)
}

fn on(size: &Size) -> Result<Count> {
    let machine = Machine::new(Kernel::Role(ROLE))
        .cpus(size.cpus)
        .threads(size.threads)
        .memory(size.memory)
        .append(size.append)
        .timeout(TIMEOUT);
    let name = format!("{} CPUs, {} a core", size.cpus, size.threads);
    in_machine(&name, &machine, &[size.tests])
}
