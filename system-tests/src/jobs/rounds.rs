//! The benchmark of the scheduler of this repository, as far as it is done in the machine: in each round every contender runs
//! once, in an order by chance, and does each job; a line of JSON for each number. Schedulers are started here, without the
//! daemon, so that nothing but them differs. Times are in microseconds. What the lines mean is worked out on the host.

use std::fs;
use std::io::{self, Write as _};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use auto_ext_profiler::{Counted, EventCounter};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::json;

use super::costs;
use super::table::{ALL, Job, Judged};
use super::{done, number};
use crate::classify::start_scheduler;
use crate::load::Running;
use crate::{kernel, loads, pinning, service, wait};

/// Where what the one that acts learned is kept from round to round, as it is on a machine.
const KEPT: &str = "/run/foresight-rounds";

/// The arguments of the one that acts; the others learn nothing that outlives them.
const ACT: &[&str] = &["--mode", "act", "--model", "/run/foresight-rounds/model"];
const SHADOW: &[&str] = &["--mode", "shadow", "--model", "/no/such/model"];
const BASELINE: &[&str] = &["--mode", "baseline"];

/// Who is compared: its name, and the scheduler that it is with its arguments, if it is not the kernel's own.
type Contender = (
    &'static str,
    Option<(&'static str, &'static [&'static str])>,
);

/// The baseline twice: what is found between the two is what chance is.
const CONTENDERS: [Contender; 7] = [
    ("kernel", None),
    ("rusty", Some(("rusty", &[]))),
    ("bpfland", Some(("bpfland", &[]))),
    ("baseline", Some((costs::NAME, BASELINE))),
    ("baseline again", Some((costs::NAME, BASELINE))),
    ("shadow", Some((costs::NAME, SHADOW))),
    ("act", Some((costs::NAME, ACT))),
];

/// What else a job prints than what it is judged by, and how that is found.
type Also = &'static [(&'static str, &'static str)];

const OF_BURSTS: Also = &[
    ("long burst", r"long: ([0-9.]+) us"),
    ("probe", r"probe: ([0-9.]+) us"),
];
const OF_WAITS: Also = &[("wait, 99th", r"99th: ([0-9.]+) us")];

/// The jobs by their names, and what else they tell.
const JOBS: [(&str, Also); 6] = [
    ("pipe", &[]),
    ("hackbench", &[]),
    ("wake-ups beside a hog per CPU", OF_WAITS),
    ("build, make -j 2N", &[]),
    ("alternating bursts", OF_BURSTS),
    ("bursts that follow their sleep", OF_BURSTS),
];

/// Does so many rounds of the jobs whose name contains the word, in an order that follows from the seed; then has the costs
/// counted.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let (rounds, seed, part) = match words {
        [rounds, seed] => (rounds, seed, ""),
        [rounds, seed, part] => (rounds, seed, *part),
        _ => anyhow::bail!("how many rounds, by which seed?"),
    };
    let rounds: u32 = rounds.parse().context("how many rounds?")?;
    let mut chance = fastrand::Rng::with_seed(seed.parse().context("which seed?")?);
    service::stop()?;
    fs::create_dir_all(KEPT)?;
    let jobs = jobs(part)?;
    for (job, _) in &jobs {
        loads::prepare_for(job.programs, job.prepare)?;
    }
    let of = rounds as usize * CONTENDERS.len();
    let begun = Instant::now();
    for round in 1..=rounds {
        let mut contenders = CONTENDERS;
        chance.shuffle(&mut contenders);
        for (turn, contender) in contenders.iter().enumerate() {
            if let Err(error) = take_turn(round, contender, &jobs) {
                let line = json!({ "failed": {
                    "round": round, "contender": contender.0, "error": format!("{error:#}"),
                } });
                writeln!(io::stdout(), "{line}")?;
            }
            let done = (round as usize - 1) * CONTENDERS.len() + turn + 1;
            let line = json!({ "progress": {
                "done": done, "of": of, "seconds": begun.elapsed().as_secs(),
            } });
            writeln!(io::stdout(), "{line}")?;
        }
    }
    for (mode, arguments) in [("baseline", BASELINE), ("shadow", SHADOW), ("act", ACT)] {
        let arguments = [arguments, &["--socket", costs::SOCKET]].concat();
        let scheduler = Scheduler::start(costs::NAME, &arguments)?;
        let pid = scheduler.0.id();
        costs::print(mode, pid, || {
            jobs.iter().try_for_each(|(job, _)| done(job).map(|_| ()))
        })?;
        scheduler.leave()?;
    }
    loads::tidy()
}

fn jobs(part: &str) -> anyhow::Result<Vec<(&'static Job, Also)>> {
    let wanted = JOBS.iter().filter(|(name, _)| name.contains(part));
    let found = wanted.map(|(name, also)| {
        let job = ALL.iter().find(|job| job.name == *name);
        Ok((job.with_context(|| format!("no job `{name}`"))?, *also))
    });
    found.collect()
}

/// All jobs under one contender. What is printed counts only if it ran until the end.
fn take_turn(
    round: u32,
    (contender, scheduler): &Contender,
    jobs: &[(&'static Job, Also)],
) -> anyhow::Result<()> {
    let running = scheduler
        .map(|(name, arguments)| Scheduler::start(name, arguments))
        .transpose()?;
    let expected = kernel::scheduler();
    let mut lines = Vec::new();
    for (job, also) in jobs {
        let migrations = EventCounter::open(Counted::Migrations)?;
        let (took, said) = done(job)?;
        let migrations = migrations.read().context("migrations are not counted")?;
        let migrations = f64::from(u32::try_from(migrations)?);
        let first = match job.judged {
            Judged::Time => ("time", took * 1e6),
            Judged::Number { what, expression } => (what, number(expression, &said)?),
        };
        let also = also.iter().map(|(what, expression)| {
            let value = number(expression, &said)?;
            anyhow::Ok((*what, value))
        });
        let mut values = vec![first];
        values.extend(also.collect::<Result<Vec<_>, _>>()?);
        values.push(("migrations", migrations));
        for (what, value) in values {
            lines.push(json!({ "measured": {
                "round": round, "contender": contender, "job": job.name, "what": what, "value": value,
            } }));
        }
    }
    ensure!(kernel::scheduler() == expected, "it did not last");
    if let Some(running) = running {
        running.leave()?;
    }
    for line in lines {
        writeln!(io::stdout(), "{line}")?;
    }
    Ok(())
}

/// A scheduler that runs without the daemon.
struct Scheduler(Running);

impl Scheduler {
    fn start(name: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        start_scheduler(name, arguments).map(Self)
    }

    /// Asks it to leave, so that it keeps what it learned.
    fn leave(mut self) -> anyhow::Result<()> {
        pinning::send(Signal::SIGTERM, Pid::from_raw(self.0.id().try_into()?))?;
        wait::until("its end", &true, || self.0.has_ended())?;
        kernel::runs("kernel")
    }
}
