//! However many swaps there were, they leave nothing behind but the history.

use anyhow::{Context as _, bail, ensure};

use crate::leftovers::Leftovers;
use crate::{kernel, pinning, process, service, wait};

const NAMES: [&str; 5] = ["bpfland", "cosmos", "flash", "beerland", "kernel"];

/// By how much the daemon may grow, in KiB. The history is part of it: half a KiB each switch, up to
/// a thousand.
const GROWTH: u64 = 512;

pub(super) fn swaps_leave_nothing_behind() -> anyhow::Result<()> {
    // Every scheduler once, so that what is made only once is there, and as many swaps again.
    swap_about(0, 7, fastrand::u64(..))
}

/// `leaks COUNT [SEED]`: the same with as many swaps as one likes to wait for. Looks at the daemon's
/// memory from the fiftieth on.
pub(crate) fn look_for_them(numbers: &[&str]) -> anyhow::Result<()> {
    let (count, seed) = match numbers {
        [count] => (count, fastrand::u64(..)),
        [count, seed] => (count, seed.parse().context("a seed is a number")?),
        _ => bail!("how many swaps?"),
    };
    let count: u32 = count.parse().context("how many is a number")?;
    let warm_up = 50.min(count / 2);
    swap_about(warm_up, count - warm_up, seed)
}

fn swap_about(warm_up: u32, count: u32, seed: u64) -> anyhow::Result<()> {
    eprintln!("\n  seed {seed}");
    pinning::start_with("")?;
    let daemon = pinning::daemon()?;
    let threads = process::threads(daemon);
    let mut walk = Walk::begin(seed);
    NAMES.into_iter().try_for_each(|name| walk.to(name))?;
    (0..warm_up).try_for_each(|_| walk.anywhere())?;
    walk.to("kernel")?;
    let (before, memory) = (Leftovers::at_rest()?, process::memory(daemon)?);
    let (enabled, schedulers) = (kernel::enable_seq(), walk.schedulers);
    eprintln!("  before: {memory} KiB, {}", before.summary());
    for swap in 1..=count {
        walk.anywhere()?;
        if swap % 50 == 0 {
            eprintln!("  after {swap}: {} KiB", process::memory(daemon)?);
        }
    }
    walk.to("kernel")?;
    before.wait_until_nothing_else_is_left()?;
    // Those that only wait for more work end by themselves.
    wait::until("more threads than at first", &0, || {
        process::threads(daemon).saturating_sub(threads)
    })?;
    let after = process::memory(daemon)?;
    eprintln!("  at the end: {after} KiB, {}", Leftovers::now()?.summary());
    ensure!(pinning::daemon()? == daemon, "the daemon was restarted");
    let (enabled, schedulers) = (kernel::enable_seq() - enabled, walk.schedulers - schedulers);
    ensure!(
        enabled == schedulers,
        "{enabled} schedulers were enabled for {schedulers} swaps"
    );
    ensure!(
        after <= memory + GROWTH,
        "the daemon grew from {memory} to {after} KiB"
    );
    Ok(())
}

/// Swaps from one to the next.
struct Walk {
    random: fastrand::Rng,
    /// What was pinned last.
    now: &'static str,
    /// How often something else than the kernel's own was.
    schedulers: u64,
}

impl Walk {
    fn begin(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            now: "kernel",
            schedulers: 0,
        }
    }

    fn anywhere(&mut self) -> anyhow::Result<()> {
        let others: Vec<_> = NAMES.into_iter().filter(|name| *name != self.now).collect();
        let next = self.random.choice(others).context("there are others")?;
        self.to(next)
    }

    fn to(&mut self, name: &'static str) -> anyhow::Result<()> {
        if name == self.now {
            return Ok(());
        }
        service::say(&format!("auto-ext pin {name}"))?;
        let last = &service::history(1)?[0];
        let (runs, way) = match name {
            "kernel" => ("kernel".to_owned(), None),
            name => (format!("scx_{name}"), Some("hot")),
        };
        ensure!(
            last["event"] == "switched" && last["to"] == runs && last["way"].as_str() == way,
            "pinned {name}, and the history has {last}"
        );
        self.schedulers += u64::from(name != "kernel");
        self.now = name;
        Ok(())
    }
}
