//! How long the kernel is without a scheduler while schedulers are switched, by auto-ext and by
//! scx_loader, in the test machine. This module owns what is switched to and on which kernels; what
//! happens in the machine is in `system-tests/src/swaps.rs`.

mod record;
mod table;

use std::io;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::command::say;
use crate::machine::{Kernel, Lines, Machine, Role, SYSTEM_TESTS};
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
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The kernel: newest, oldest or a version; newest and then oldest if it is not given
    #[arg(long)]
    kernel: Option<Kernel>,
    /// How many swaps by each tool under each load
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=1000))]
    swaps: u16,
    /// Where the random order of the schedulers begins; printed if it is not given
    #[arg(long)]
    seed: Option<u64>,
}

/// Measures and prints.
pub(crate) fn swap(arguments: &Arguments) -> Result<()> {
    debian::ensure_packages()?;
    tools::ensure_components()?;
    let kernels = match &arguments.kernel {
        Some(kernel) => vec![kernel.clone()],
        None => vec![Kernel::Role(Role::Newest), Kernel::Role(Role::Oldest)],
    };
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    let order = order(seed, usize::from(arguments.swaps));
    say(format!("--swaps {} --seed {seed}", arguments.swaps));
    for kernel in kernels {
        let machine = Machine::new(kernel)
            .timeout(SWAP_LIMIT * CONDITIONS * u32::from(arguments.swaps) + BOOT_LIMIT);
        let version = machine.prepare()?;
        let (records, ended) = measure(&machine, &order);
        let out = &mut io::stdout();
        table::print(out, &version, seed, &records)?;
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

/// Has the machine do all swaps. What it measured is worth showing even if it did not come to its
/// end.
fn measure(machine: &Machine, order: &[Vec<&str>]) -> (Vec<Record>, Result<()>) {
    let mut records: Vec<Record> = Vec::new();
    let mut lines = Lines::new(|line: &str| {
        if !line.starts_with('{') {
            say(line);
            return Ok(());
        }
        let record: Record =
            serde_json::from_str(line).with_context(|| format!("the machine wrote `{line}`"))?;
        say(record.to_string());
        records.push(record);
        Ok(())
    });
    let mut command = vec![SYSTEM_TESTS.to_owned(), "swaps".to_owned()];
    command.extend(order.iter().map(|round| round.join(",")));
    let exit = machine.run(&command, &mut |bytes| lines.feed(bytes));
    let ended = lines.finish().and(exit).and_then(|exit| {
        ensure!(
            exit.status == 0,
            "the swaps ended with status {}",
            exit.status
        );
        Ok(())
    });
    (records, ended)
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
