//! Jobs whose bursts of CPU time are planted: tasks that work for a short or a long time by a rule, which no average follows,
//! beside hogs on half of the CPUs, and a probe that is woken to do next to nothing. Told is how long each kind took from when
//! it was woken until its work was done.

use std::io::{self, Write as _};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::loads::work::{compute, cpus, hog, start, start_all};

/// By what a burst is short or long.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// By turns.
    Alternating,
    /// As the sleep before it, for which a coin is thrown.
    Coupled,
}

const SHORT: Duration = Duration::from_micros(400);
const LONG: Duration = Duration::from_millis(4);
const SHORT_SLEEP: Duration = Duration::from_millis(5);
const LONG_SLEEP: Duration = Duration::from_millis(20);
/// What the probe does, and how often.
const MOMENT: Duration = Duration::from_micros(50);
const PROBE: Duration = Duration::from_millis(5);

/// How long it lasts; and how long before that nothing is told, in which whoever learns may begin to.
const LENGTH: Duration = Duration::from_secs(4);
const BEFORE: Duration = Duration::from_secs(2);

/// Who took so long.
struct Took {
    kind: Kind,
    time: Duration,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Short,
    Long,
    Probe,
}

impl Rule {
    /// How long a task sleeps, and what it does then.
    fn next(self, turn: u64, coin: bool) -> (Duration, Kind) {
        let is_short = match self {
            Self::Alternating => turn.is_multiple_of(2),
            Self::Coupled => coin,
        };
        let kind = if is_short { Kind::Short } else { Kind::Long };
        let sleep = match (self, kind) {
            (Self::Coupled, Kind::Long) => LONG_SLEEP,
            _ => SHORT_SLEEP,
        };
        (sleep, kind)
    }
}

/// Runs tasks by this rule, and prints what they took, in microseconds.
pub(super) fn run(rule: Rule) -> anyhow::Result<()> {
    let told = begin(rule)?;
    thread::sleep(BEFORE);
    told.try_iter().for_each(drop);
    thread::sleep(LENGTH);
    print(&told)?;
    // Until the program ends: a task that finds that nobody listens ends it before, as one that failed.
    std::mem::forget(told);
    Ok(())
}

/// Runs them without an end, and says nothing.
pub(super) fn go_on(rule: Rule) -> anyhow::Result<()> {
    begin(rule)?.into_iter().for_each(drop);
    Ok(())
}

/// Starts tasks by this rule, which tell what they took.
fn begin(rule: Rule) -> anyhow::Result<Receiver<Took>> {
    let (tell, told) = channel();
    start_all(cpus().div_ceil(2), "hog", || hog())?;
    for seed in 0..2 * cpus() as u64 {
        let tell = tell.clone();
        start("worker", move || work(rule, seed, &tell))?;
    }
    start("probe", move || {
        loop {
            turn(PROBE, Kind::Probe, MOMENT, &tell)?;
        }
    })?;
    Ok(told)
}

fn work(rule: Rule, seed: u64, tell: &Sender<Took>) -> anyhow::Result<()> {
    let mut coin = fastrand::Rng::with_seed(seed);
    for number in seed.. {
        let (sleep, kind) = rule.next(number, coin.bool());
        let burst = if kind == Kind::Short { SHORT } else { LONG };
        turn(sleep, kind, burst, tell)?;
    }
    Ok(())
}

/// Sleeps, and then computes.
fn turn(sleep: Duration, kind: Kind, burst: Duration, tell: &Sender<Took>) -> anyhow::Result<()> {
    let due = Instant::now() + sleep;
    thread::sleep(sleep);
    compute(burst);
    let time = due.elapsed();
    tell.send(Took { kind, time }).context("nobody listens")
}

#[expect(clippy::cast_precision_loss, reason = "some thousand of them")]
fn print(told: &Receiver<Took>) -> anyhow::Result<()> {
    let all: Vec<Took> = told.try_iter().collect();
    let mean = |kind: Kind| {
        let of_kind = all.iter().filter(|took| took.kind == kind);
        let times: Vec<f64> = of_kind.map(|took| took.time.as_secs_f64() * 1e6).collect();
        let count = (!times.is_empty()).then_some(times.len() as f64);
        count.map(|count| times.iter().sum::<f64>() / count)
    };
    for (name, kind) in [
        ("short", Kind::Short),
        ("long", Kind::Long),
        ("probe", Kind::Probe),
    ] {
        let mean = mean(kind).with_context(|| format!("no {name} burst"))?;
        writeln!(io::stdout(), "{name}: {mean:.1} us")?;
    }
    Ok(())
}
