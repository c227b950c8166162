//! The benchmark of swaps, as far as it is done in the machine: has each tool switch through the
//! same schedulers, at rest and beside hogs, and prints a line of JSON about every swap. What the
//! lines mean is worked out on the host.
//!
//! The tools take turns, round by round: a host that gets busier must not be one tool's bad luck.

mod auto_ext;
mod sampler;

use std::io::Write as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};

use crate::scx_loader::Loader;
use crate::{kernel, load, service, wait};
use auto_ext::AutoExt;
use sampler::{Sampler, Watched};

/// Name of the load, and its command.
const LOADS: [(&str, Option<&str>); 2] = [
    ("idle", None),
    ("stress-ng --cpu 8", Some("stress-ng --quiet --cpu 8")),
];

/// How long a scheduler runs before the next swap.
const SETTLE: Duration = Duration::from_secs(1);

/// A service that switches schedulers, and runs until it is dropped.
trait Tool {
    /// Asks for a scheduler, or for `kernel`; returns when the service says that it was asked.
    fn switch_to(&mut self, scheduler: &str) -> anyhow::Result<()>;

    /// The gap of the switch to `scheduler` in microseconds, if the service announces such things.
    fn reported_gap(&mut self, scheduler: &str) -> anyhow::Result<Option<u64>>;
}

type Start = fn() -> anyhow::Result<Box<dyn Tool>>;

/// Only one of them runs at a time.
const TOOLS: [(&str, Start); 2] = [
    ("auto-ext", || Ok(Box::new(AutoExt::start()?))),
    ("scx_loader", || Ok(Box::new(Loader::start()?))),
];

/// Has every tool switch through the schedulers of every round, under every load. A round is a
/// list of names with commas between them, and begins with the kernel's own scheduler.
pub(crate) fn run(rounds: &[&str]) -> anyhow::Result<()> {
    ensure!(!rounds.is_empty(), "no schedulers to switch to");
    service::stop()?;
    for (load, command) in LOADS {
        for (number, schedulers) in rounds.iter().enumerate() {
            let mut tools = TOOLS;
            // Who is first, and who second, changes too.
            tools.rotate_left(number % TOOLS.len());
            for (name, start) in tools {
                wait::until("scheduler at rest", &"kernel".to_owned(), kernel::scheduler)?;
                let mut tool = start()?;
                let _running = command.map(load::start).transpose()?;
                let mut sampler = Sampler::start();
                sleep(SETTLE);
                for scheduler in schedulers.split(',') {
                    let mut line = swap(&mut *tool, &mut sampler, scheduler)?;
                    line["tool"] = json!(name);
                    line["load"] = json!(load);
                    writeln!(std::io::stdout(), "{line}")?;
                }
            }
        }
    }
    Ok(())
}

/// One swap: from the command until the scheduler has settled.
fn swap(tool: &mut dyn Tool, sampler: &mut Sampler, to: &str) -> anyhow::Result<Value> {
    let from = kernel::scheduler();
    // What came before is nobody's swap.
    sampler.take()?;
    let begin = Instant::now();
    let asked = tool.switch_to(to);
    let returned = begin.elapsed();
    let result = asked.and_then(|()| settled(to));
    let watched = sampler.take()?;
    let took = begin.elapsed();
    let reported = match result {
        Ok(()) => tool.reported_gap(to)?,
        Err(_) => None,
    };
    Ok(json!({
        "from": from,
        "to": to,
        "error": result.err().map(|error| format!("{error:#}")),
        "returned_us": microseconds(returned),
        "reported_us": reported,
        "watched": described(&watched, begin, took),
    }))
}

fn settled(to: &str) -> anyhow::Result<()> {
    wait::until("scheduler", &to.to_owned(), kernel::scheduler)?;
    sleep(SETTLE);
    let now = kernel::scheduler();
    ensure!(now == to, "{to} was there, but a second later {now}");
    Ok(())
}

fn described(watched: &Watched, begin: Instant, took: Duration) -> Value {
    let since = |at: Instant| microseconds(at.saturating_duration_since(begin));
    let changes = watched.changes.iter().map(|change| {
        json!({
            "state": change.state,
            "before_us": since(change.before),
            "at_us": since(change.at),
        })
    });
    json!({
        "changes": changes.collect::<Vec<_>>(),
        "took_us": microseconds(took),
        "readings": watched.readings,
        "blind_us": microseconds(watched.blind),
    })
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Tool for Loader {
    fn switch_to(&mut self, scheduler: &str) -> anyhow::Result<()> {
        Self::switch_to(self, scheduler)
    }

    fn reported_gap(&mut self, _scheduler: &str) -> anyhow::Result<Option<u64>> {
        Ok(None)
    }
}
