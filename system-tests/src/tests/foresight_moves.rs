//! Moves between last-level caches under the scheduler of this repository: they are recorded, a network that is planted decides about
//! them, and nobody waits for long whatever it says.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use foresight_model::disk::{SampleFile, write_model};
use foresight_model::file::{Holdout, Model, Moves};
use foresight_model::mlp::{Network, Standard};
use foresight_model::origin::Origin;
use foresight_model::samples::Sample;
use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_getres};
use serde_json::Value;

use super::foresight::{MODEL, Scheduler, asked, hogs_run_in, start_24_hogs, times_of_hogs};
use crate::{load, pinning, service, wait};

/// Where moves are collected.
const SAMPLES: &str = "/run/foresight-test/samples";
/// Hogs beside tasks that sleep and wake, so that there is something to move.
const LOAD: &str = "stress-ng --quiet --cpu 3 --switch 4 --pipe 2";
/// In which share of moves chance decides there: often, so that a few moves show it.
const EXPLORE: f64 = 0.3;
/// How many decisions make a verdict.
const DECISIONS: u64 = 100;
/// For how long a veto keeps a task at most, but for a tick of the kernel's.
const VETO: Duration = Duration::from_millis(2);

/// For how many seconds hogs are watched.
const SECONDS: usize = 4;

/// A model for this machine that decides about moves like that, and says that it has proven itself.
fn plant(origin: &Origin, network: Network) -> anyhow::Result<()> {
    let holdout = Holdout {
        n: 1,
        low: 1.0,
        ..Holdout::default()
    };
    let model = Model {
        origin: origin.clone(),
        moves: Some(Moves {
            network,
            standard: Standard::of(&[]),
            threshold: 0.0,
            holdout,
        }),
        ..Model::default()
    };
    Ok(write_model(Path::new(MODEL), &model)?)
}

/// One that says the same of all.
fn always(answer: f64) -> Network {
    Network {
        b2: answer,
        ..Network::default()
    }
}

/// One with all weights as large as they may be, with their signs by turns.
fn extreme(mut sign: impl FnMut(usize) -> f64) -> Network {
    let mut network = Network::default();
    for (at, number) in network.numbers_mut().enumerate() {
        *number = 64.0 * sign(at);
    }
    network
}

/// The scheduler acts on what is planted.
fn acting() -> anyhow::Result<Scheduler> {
    let scheduler = Scheduler::start(&format!("--mode act --virt-llc 2 --model {MODEL}"))?;
    wait::until("the network decides", &true, || {
        asked("stats").is_ok_and(|stats| stats["moves"]["acting"] == true)
    })?;
    Ok(scheduler)
}

/// By how much these grew from one answer to the next.
fn grown<const N: usize>(before: &Value, after: &Value, names: [&str; N]) -> [u64; N] {
    let of = |stats: &Value, name| stats["counted"][name].as_u64().unwrap_or_default();
    names.map(|name| of(after, name) - of(before, name))
}

/// What was counted meanwhile, until so many decisions were made: decisions, vetoes, who was let go in the end, tasks that were
/// moved; and the last answer.
fn under_load() -> anyhow::Result<([u64; 4], Value)> {
    let load = load::start(LOAD)?;
    let names = ["candidates", "vetoes", "forced", "stolen"];
    let before = asked("stats")?;
    let decided = || {
        let after = asked("stats").unwrap_or_default();
        grown(&before, &after, names)[0] >= DECISIONS
            && after["moves"]["asked"].as_u64() >= Some(DECISIONS)
    };
    wait::until("moves are decided", &true, decided)?;
    let after = asked("stats")?;
    drop(load);
    Ok((grown(&before, &after, names), after))
}

/// No veto of the running scheduler lasted for longer than it may, but for what the host took away: what the timer was late by which
/// it ended, and as much once more as the latest of these timers was, as a CPU that is not let run also comes late to a task.
/// Where anything was left out for that, such a timer did come, as late as that.
fn vetoes_are_bounded() -> anyhow::Result<()> {
    let most = |name| {
        let stats = asked("stats").unwrap_or_default();
        stats["counted"][name].as_u64().map(Duration::from_nanos)
    };
    let tick = Duration::from(clock_getres(ClockId::CLOCK_MONOTONIC_COARSE)?);
    let [held, kept, late] = ["held_max_ns", "kept_max_ns", "late_max_ns"].map(most);
    eprintln!(
        "  kept back for {kept:.1?} at most, {held:.1?} but for late timers, the latest by {late:.1?}; a tick is {tick:?}"
    );
    let (held, late) = held.zip(late).context("it is not told")?;
    ensure!(
        held <= VETO + tick + late,
        "a task was kept back for {held:?}, while no timer was later than {late:?}"
    );
    wait::until("timers that were late came", &true, || {
        let [excused, late] = ["excused_max_ns", "late_max_ns"].map(most);
        excused.is_some() && excused <= late
    })
    .map(drop)
}

pub(super) fn moves_are_recorded_with_what_came_of_them_and_a_planted_network_decides()
-> anyhow::Result<()> {
    service::stop()?;
    let origin = moves_are_recorded()?;
    plant(&origin, always(-1.0))?;
    let scheduler = acting()?;
    let ([decided, kept, forced, _], stats) = under_load()?;
    eprintln!("\n  stay: {stats}");
    // Of a process that the machine has not let run for two seconds nothing counts.
    ensure!(10 * kept >= 9 * decided, "{kept} kept of {decided}");
    ensure!(forced > 0, "nobody was let go: {stats}");
    let ended = stats["counted"]["ended"].as_u64();
    ensure!(ended >= Some(forced), "vetoes did not end: {stats}");
    vetoes_are_bounded()?;
    scheduler.leave()?;

    plant(&origin, always(1.0))?;
    let scheduler = acting()?;
    let ([_, kept, forced, moved], stats) = under_load()?;
    eprintln!("  go: {stats}");
    ensure!((kept, forced) == (0, 0) && moved > 0, "{stats}");
    scheduler.leave()?;

    plant(
        &origin,
        Network::by_chance(&mut fastrand::Rng::with_seed(1)),
    )?;
    let scheduler = acting()?;
    let (_, stats) = under_load()?;
    eprintln!("  by chance: {stats}");
    ensure!(
        stats["moves"]["agreement"].as_f64() >= Some(0.99),
        "{stats}"
    );
    scheduler.leave().map(drop)
}

/// Returns where they come from.
fn moves_are_recorded() -> anyhow::Result<Origin> {
    std::fs::create_dir_all(Path::new(SAMPLES).parent().context("no directory")?)?;
    let command = format!("{LOAD} --timeout 8");
    service::say(&format!(
        "scx_foresight collect --out {SAMPLES} --virt-llc 2 --explore {EXPLORE} --rate 5000 -- {command}"
    ))?;
    let file = SampleFile::open(Path::new(SAMPLES))?;
    let header = file.header().clone();
    ensure!(header.explore == EXPLORE, "{header:?}");
    let (mut moved, mut kept) = (0, 0);
    for sample in file {
        let Sample::Move(considered) = sample? else {
            continue;
        };
        let likely = if considered.moved {
            1.0 - EXPLORE
        } else {
            EXPLORE
        };
        ensure!(considered.propensity == likely, "{considered:?}");
        if considered.moved {
            moved += 1;
        } else {
            kept += 1;
        }
    }
    eprintln!("\n  {moved} moves were made and {kept} not");
    ensure!(moved > kept && kept > 0, "that is not by chance");
    Ok(header.origin)
}

pub(super) fn whatever_a_network_says_none_of_24_hogs_starves() -> anyhow::Result<()> {
    service::stop()?;
    let mut rng = fastrand::Rng::with_seed(2);
    let networks = [
        ("random", Network::by_chance(&mut rng)),
        ("max", extreme(|_| 1.0)),
        (
            "alternating",
            extreme(|at| if at % 2 == 0 { 1.0 } else { -1.0 }),
        ),
    ];
    let origin = moves_are_recorded()?;
    for (name, network) in networks {
        plant(&origin, network)?;
        let scheduler = acting()?;
        let hogs = start_24_hogs()?;
        each_runs_every_second(name, |_| Ok(()))?;
        if name == "max" {
            // As if each time it is learned anew the opposite came of it.
            each_runs_every_second("max and min by turns", |second| {
                let sign = if second % 2 == 0 { -1.0 } else { 1.0 };
                plant(&origin, extreme(|_| sign))?;
                pinning::send(Signal::SIGUSR1, scheduler.pid()?)
            })?;
        }
        drop(hogs);
        vetoes_are_bounded()?;
        let (_, said) = scheduler.leave()?;
        ensure!(said.contains("unregistered from user space"), "{said}");
        let changes = said.matches("goes on with the network").count();
        ensure!(changes == if name == "max" { SECONDS } else { 0 }, "{said}");
    }
    Ok(())
}

/// Watches hogs for some seconds, before each of which something is done.
fn each_runs_every_second(
    what: &str,
    mut meanwhile: impl FnMut(usize) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for second in 0..SECONDS {
        meanwhile(second)?;
        // Each is due a sixth of a CPU.
        let ran = hogs_run_in(Duration::from_secs(1))?;
        let starved = ran.iter().filter(|ran| **ran <= 0.0).count();
        ensure!(
            starved == 0,
            "{what}: {starved} of 24 hogs did not run for a second"
        );
    }
    let times = times_of_hogs()?;
    let least = times.iter().copied().fold(f64::MAX, f64::min);
    let most = times.iter().copied().fold(0.0, f64::max);
    let stats = asked("stats")?;
    eprintln!("\n  {what}: the least had {least:.2} s, the most {most:.2} s; {stats}");
    Ok(())
}
