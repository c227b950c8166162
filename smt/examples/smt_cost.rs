//! Prints what observing and trials take from the machine that runs this, and what counting takes from who is counted, with counters that every
//! kernel has. `cargo xtask bench smt` runs it. For how long it is observed, in seconds, is its argument; asserts nothing.

use std::error::Error;
use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use auto_ext_service::clock::cpu_time;
use auto_ext_smt::counters::{Counters as _, Perf};
use auto_ext_smt::daemon::{count_windows, observe};
use auto_ext_smt::groups::{Group, Key};

const GROUPS: usize = 20;
const THREADS: usize = 50;
/// For how long where it is not said: two minutes have two windows in which it is counted.
const SECONDS: u64 = 120;
/// What a group does: nothing but wait for its end.
const GROUP: &str = "group";
/// Observes the groups with these numbers, for so long.
const OBSERVER: &str = "observer";
/// Counts all their windows, as in a trial.
const TRIER: &str = "trier";
/// How long a window is, in seconds, and how many may be missed: the first ends two seconds after the beginning.
const WINDOW: usize = 2;
const MISSED: usize = 2;
/// How often a byte goes there and back, and how often that is measured with counters and without.
const ROUNDS: u32 = 50_000;
const TIMES: usize = 9;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    match first.as_deref() {
        Some(GROUP) => group(),
        Some(OBSERVER) => {
            let (seconds, pids) = numbers(arguments)?;
            observer(&pids, Duration::from_secs(seconds))
        }
        Some(TRIER) => {
            let (seconds, pids) = numbers(arguments)?;
            trier(&pids, Duration::from_secs(seconds))
        }
        seconds => {
            let seconds = seconds.map_or(Ok(SECONDS), str::parse)?;
            observing(seconds)?;
            pipe()
        }
    }
}

/// A time in seconds, and numbers of processes.
fn numbers(mut arguments: impl Iterator<Item = String>) -> Result<(u64, Vec<u32>), Box<dyn Error>> {
    let seconds = arguments.next().ok_or("no time")?.parse()?;
    let pids = arguments.map(|pid| pid.parse());
    Ok((seconds, pids.collect::<Result<_, _>>()?))
}

fn this(mode: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(mode);
    Ok(command)
}

/// Has threads that sleep, until standard input ends.
fn group() -> Result<(), Box<dyn Error>> {
    for _ in 1..THREADS {
        thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(|| thread::sleep(Duration::MAX))?;
    }
    println!("ready");
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn observing(seconds: u64) -> Result<(), Box<dyn Error>> {
    let mut groups: Vec<Child> = Vec::new();
    for _ in 0..GROUPS {
        let mut group = this(GROUP)?;
        let group = group.stdin(Stdio::piped()).stdout(Stdio::piped());
        groups.push(group.spawn()?);
    }
    for group in &mut groups {
        let said = group.stdout.as_mut().ok_or("it says nothing")?;
        said.read_exact(&mut [0; 5])?;
    }
    let ended = [OBSERVER, TRIER].map(|mode| {
        let mut watches = this(mode)?;
        watches.arg(seconds.to_string());
        watches.args(groups.iter().map(|group| group.id().to_string()));
        watches.status()
    });
    for group in &mut groups {
        drop(group.stdin.take());
        group.wait()?;
    }
    for ended in ended {
        ended?
            .success()
            .then_some(())
            .ok_or("it was not observed")?;
    }
    Ok(())
}

fn groups(pids: &[u32]) -> Vec<Group> {
    let group = |pid: &u32| Group {
        key: Key::ProcessGroup(*pid),
        job: pid.to_string(),
        pids: vec![*pid],
        busy: 1.0,
        workers: 1,
        home: Some(0),
        eligible: Ok(()),
    };
    pids.iter().map(group).collect()
}

/// A process of its own, of which all time is that of counting.
fn trier(pids: &[u32], time: Duration) -> Result<(), Box<dyn Error>> {
    let groups = groups(pids);
    let (begun, before) = (Instant::now(), cpu_time());
    let windows = count_windows(&groups, time);
    let used = (cpu_time() - before).as_secs_f64() / begun.elapsed().as_secs_f64();
    let percent = 100.0 * used;
    let expected = usize::try_from(time.as_secs())? / WINDOW;
    writeln!(
        io::stdout(),
        "{windows} windows of a trial with {GROUPS} groups of {THREADS} threads: {percent:.2} % of a CPU (bar 1 %) {}",
        verdict(windows + MISSED >= expected && percent < 1.0)
    )?;
    Ok(())
}

/// A process of its own, of which all time and memory is that of observing.
fn observer(pids: &[u32], time: Duration) -> Result<(), Box<dyn Error>> {
    let groups = groups(pids);
    let (begun, before) = (Instant::now(), cpu_time());
    let seen = observe(&groups, time);
    let used = (cpu_time() - before).as_secs_f64() / begun.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u32>().ok());
    let peak = f64::from(peak.ok_or("its memory is not known")?) / 1024.0;
    let percent = 100.0 * used;
    writeln!(
        io::stdout(),
        "observing {seen} groups of {THREADS} threads: {percent:.2} % of a CPU (bar 0.2 %) {}, {peak:.1} MiB (bar 12) {}",
        verdict(seen == GROUPS && percent < 0.2),
        verdict(peak < 12.0)
    )?;
    Ok(())
}

/// A byte goes from a thread to another and back, through pipes, on one CPU or more as the kernel has it.
fn pipe() -> Result<(), Box<dyn Error>> {
    let (mut there, mut to) = io::pipe()?;
    let (mut from, mut back) = io::pipe()?;
    let (tell, other) = std::sync::mpsc::channel();
    let echo = thread::spawn(move || -> io::Result<()> {
        // Who waits for it has not gone.
        let _ = tell.send(nix::unistd::gettid());
        let mut byte = [0];
        while there.read(&mut byte)? == 1 {
            back.write_all(&byte)?;
        }
        Ok(())
    });
    let other = u32::try_from(other.recv()?.as_raw())?;
    let this = u32::try_from(nix::unistd::gettid().as_raw())?;
    let mut round = || -> io::Result<f64> {
        let begun = Instant::now();
        for _ in 0..ROUNDS {
            to.write_all(&[1])?;
            from.read_exact(&mut [0])?;
        }
        Ok(begun.elapsed().as_secs_f64() / f64::from(ROUNDS))
    };
    round()?;
    let (mut counted, mut plain, mut after) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TIMES {
        plain.push(round()?);
        let mut counters = Perf::software(2);
        counters.open(this)?;
        counters.open(other)?;
        counted.push(round()?);
        drop(counters);
        after.push(round()?);
    }
    drop(to);
    echo.join().map_err(|_| "the other thread failed")??;
    let (plain, counted, after) = (median(plain), median(counted), median(after));
    let (during, between) = (counted / plain, after / plain);
    writeln!(
        io::stdout(),
        "a byte there and back: {:.2} us, counted {during:.2} times as long (bar 1.25) {}, afterwards {between:.2} times (bar 1.05) {}",
        1e6 * plain,
        verdict(during < 1.25),
        verdict(between < 1.05)
    )?;
    Ok(())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "MISSED" }
}
