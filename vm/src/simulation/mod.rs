//! A host that is made up, on which the real decisions are tried: CPUs, guests with loads, balloons whose statistics are old, and
//! what fails. The same numbers lead to the same run.

mod balloon;
mod chance;
mod cpu_cases;
mod cpu_peers;
mod host;
mod memory_cases;
mod memory_peers;
mod optimum;
mod run;

pub use balloon::{Balloon, Ramp};
pub use chance::{large_problem, small_problem};
pub use cpu_cases::{CPU_CASES, CpuCase, Pins, pinned, vcpus};
pub use cpu_peers::{CPU_PEERS, hottest_to_coolest};
pub use host::{Host, SimCpu, SimGuest, SimVcpu, id};
pub use memory_cases::{MEMORY_CASES, MemoryCase};
pub use memory_peers::{MEMORY_PEERS, Peer};
pub use optimum::fewest_pins;
pub use run::{Run, run_peer};

#[cfg(test)]
mod tests;
