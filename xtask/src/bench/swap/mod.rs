//! How long the kernel is without a scheduler while schedulers are switched, by auto-ext and by
//! scx_loader, in the test machine. This module owns what is switched to and on which kernels; what
//! happens in the machine is in `system-tests/src/swaps.rs`.

mod record;
mod table;

use std::io::Write;
use std::time::Duration;

use anyhow::Result;

use super::records::records;
use crate::command::say;
use crate::machine::{Kernel, Machine, Role, SYSTEM_TESTS};
use crate::{debian, tools};
use record::Record;

/// What is switched to. They load quickly, and scx_loader knows them all; `kernel` is none of them.
const TARGETS: [&str; 5] = [
    "scx_bpfland",
    "scx_cosmos",
    "scx_rusty",
    "scx_flash",
    "kernel",
];

/// The tools take turns after so many swaps.
const ROUND: usize = 10;

/// The machine's own limit for a swap that fails, and what goes with it.
const SWAP_LIMIT: Duration = Duration::from_secs(130);
/// Two tools under two loads.
const CONDITIONS: u32 = 4;
const BOOT_LIMIT: Duration = Duration::from_secs(5 * 60);

/// How much is measured, and where.
#[derive(clap::Args, Default)]
pub(super) struct Arguments {
    /// The kernel: newest, oldest or a version; newest and then oldest if it is not given
    #[arg(long)]
    kernel: Option<Kernel>,
    /// How many swaps by each tool under each load; 40 if it is not given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    swaps: Option<u16>,
    /// Where the random order of the schedulers begins; printed if it is not given
    #[arg(long)]
    seed: Option<u64>,
}

/// Measures and prints.
pub(super) fn swap(arguments: &Arguments, quick: bool, out: &mut dyn Write) -> Result<()> {
    let swaps = arguments.swaps.unwrap_or(if quick { 2 } else { 40 });
    debian::ensure_packages()?;
    tools::ensure_components()?;
    let kernels = match &arguments.kernel {
        Some(kernel) => vec![kernel.clone()],
        None if quick => vec![Kernel::Role(Role::Newest)],
        None => vec![Kernel::Role(Role::Newest), Kernel::Role(Role::Oldest)],
    };
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    let order = order(seed, usize::from(swaps));
    say(format!("--swaps {swaps} --seed {seed}"));
    for kernel in kernels {
        let machine =
            Machine::new(kernel).timeout(SWAP_LIMIT * CONDITIONS * u32::from(swaps) + BOOT_LIMIT);
        let version = machine.prepare()?;
        let mut command = vec![SYSTEM_TESTS.to_owned(), "swaps".to_owned()];
        command.extend(order.iter().map(|round| round.join(",")));
        let (records, ended) = records(&machine, &command, Record::to_string);
        table::print(&mut *out, &version, seed, &records)?;
        ended?;
    }
    Ok(())
}

/// What is switched to, round by round; the same for the same seed.
fn order(seed: u64, swaps: usize) -> Vec<Vec<&'static str>> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut rounds = Vec::new();
    let mut left = swaps;
    while left > 0 {
        let round = round(&mut random, left.min(ROUND));
        left -= round.len();
        rounds.push(round);
    }
    rounds
}

/// Never twice the same in a row, beginning with the kernel's own scheduler.
fn round(random: &mut fastrand::Rng, swaps: usize) -> Vec<&'static str> {
    let mut last = "kernel";
    let next = |_| {
        let others: Vec<_> = TARGETS.iter().filter(|name| **name != last).collect();
        last = others[random.usize(..others.len())];
        last
    };
    (0..swaps).map(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_order_and_another_another() {
        assert_eq!(order(7, 40), order(7, 40));
        assert_ne!(order(7, 40), order(8, 40));
    }

    #[test]
    fn nothing_is_switched_to_what_runs_already() {
        let order = order(1, 1004);
        assert_eq!(order.iter().map(Vec::len).sum::<usize>(), 1004);
        for round in &order {
            assert_ne!(round[0], "kernel");
            assert!(round.windows(2).all(|pair| pair[0] != pair[1]));
        }
        let all = order.concat();
        assert!(TARGETS.iter().all(|target| all.contains(target)));
    }
}
