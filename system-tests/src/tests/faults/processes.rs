//! Floods: of programs, of cgroups, of processes; and what the kernel then could not tell.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::{Ground, a_game_is_served, game, with_a_game};
use crate::load::{self, Running};
use crate::{kernel, pinning, process, wait};

/// How many processes there are to be.
const MANY: usize = 10_000;
/// By how much the daemon may grow in a flood, in KiB: its queues are bounded.
const GROWTH: u64 = 16 << 10;

/// Starts programs as fast as it can.
const PROGRAMS: &str = "while :; do /bin/true; done";
/// Makes cgroups, moves into them and removes them, as fast as it can.
const CGROUPS: &str = "cd /sys/fs/cgroup; mkdir -p storm-$$; while :; do mkdir storm-$$/a; \
                       echo $$ > storm-$$/a/cgroup.procs; echo $$ > storm-$$/cgroup.procs; \
                       rmdir storm-$$/a; done";

pub(in crate::tests) fn floods_of_programs_and_cgroups_hide_no_game() -> anyhow::Result<()> {
    let ground = Ground::at_rest(with_a_game()?)?;
    let memory = process::memory(ground.daemon)?;
    eprintln!();
    for (what, script) in [("programs", PROGRAMS), ("cgroups", CGROUPS)] {
        let flood = flood(script)?;
        let (begun, forks) = (Instant::now(), forks()?);
        let used = process::cpu_time(ground.daemon)?;
        sleep(Duration::from_secs(2));
        let served = a_game_is_served()?;
        let seconds = begun.elapsed().as_secs_f64();
        let share = (process::cpu_time(ground.daemon)? - used) / seconds;
        let rate = (self::forks()? - forks) as f64 / seconds;
        drop(flood);
        eprintln!(
            "  {what}: {rate:.0} processes a second, the daemon takes {:.1} % of a CPU, a game is \
             served after {served:.1?}; it has grown to {} KiB",
            100.0 * share,
            process::memory(ground.daemon)?
        );
        ground.is_as_before(what)?;
    }
    events_are_lost(&ground)?;
    let grown = process::memory(ground.daemon)?.saturating_sub(memory);
    ensure!(grown < GROWTH, "the daemon grew by {grown} KiB");
    ground.works()
}

/// The daemon is stopped until the ring buffer has overflowed; what it could not be told it finds by
/// itself.
fn events_are_lost(ground: &Ground) -> anyhow::Result<()> {
    let daemon = Pid::from_raw(i32::try_from(ground.daemon)?);
    let flood = flood(PROGRAMS)?;
    pinning::send(Signal::SIGSTOP, daemon)?;
    let before = forks()?;
    // The buffer has room for some 10,000 records, of which each of these programs leaves four.
    let filled = wait::until("programs started", &true, || {
        forks().is_ok_and(|now| now > before + 5000)
    });
    let found = game();
    drop(flood);
    pinning::send(Signal::SIGCONT, daemon)?;
    filled?;
    let found = found?;
    let begun = Instant::now();
    wait::until("the game's", &"scx_cosmos".to_owned(), kernel::scheduler)?;
    eprintln!(
        "  events lost: a game is found {:.1?} after, the daemon has grown to {} KiB",
        begun.elapsed(),
        process::memory(ground.daemon)?
    );
    drop(found);
    wait::until("state", &"disabled".to_owned(), kernel::state)?;
    ground.is_as_before("events lost")
}

pub(in crate::tests) fn among_ten_thousand_processes_a_game_is_found() -> anyhow::Result<()> {
    let bus = with_a_game()?;
    let ground = Ground::at_rest(bus)?;
    let begun = Instant::now();
    let _crowd = crowd()?;
    eprintln!("\n  {MANY} processes started in {:.1?}", begun.elapsed());
    let used = process::cpu_time(ground.daemon)?;
    let begun = Instant::now();
    let served = a_game_is_served()?;
    ground.is_sane("many processes")?;
    // With another policy all are looked at once more.
    crate::service::say("auto-ext reload")?;
    let again = a_game_is_served()?;
    let share = (process::cpu_time(ground.daemon)? - used) / begun.elapsed().as_secs_f64();
    eprintln!(
        "  a game is served after {served:.1?} and {again:.1?}; the daemon takes {:.1} % of a CPU",
        100.0 * share
    );
    ground.is_sane("many processes")
}

/// Several at once.
fn flood(script: &str) -> anyhow::Result<[Running; 3]> {
    let start = || load::start_words(&["sh", "-c", script]);
    Ok([start()?, start()?, start()?])
}

/// As many processes as there are to be, each of which only waits.
fn crowd() -> anyhow::Result<Running> {
    let script = format!(
        "mkfifo /tmp/crowd; exec 3<>/tmp/crowd; rm /tmp/crowd; i=0; \
         while [ $i -lt {MANY} ]; do (read line <&3) & i=$((i+1)); done; wait"
    );
    let before = crate::leftovers::processes().len();
    // The test's own unit has a limit.
    let words = [
        "systemd-run",
        "--scope",
        "--quiet",
        "--property=TasksMax=infinity",
        "sh",
        "-c",
        &script,
    ];
    let crowd = load::start_words(&words)?;
    wait::until("processes", &true, || {
        sleep(Duration::from_millis(500));
        fs::read_dir("/proc").is_ok_and(|entries| entries.count() > before + MANY)
    })?;
    Ok(crowd)
}

/// How many processes and threads were started since boot.
fn forks() -> anyhow::Result<u64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat
        .lines()
        .find_map(|line| line.strip_prefix("processes "));
    Ok(line.context("no count of processes")?.trim().parse()?)
}
