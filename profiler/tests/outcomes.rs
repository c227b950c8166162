//! Whether outcomes are what the kernel's own trace says, and waits that have not ended what their tasks know, and that nothing is left
//! of measuring them. A system test runs it in the test machine. As root it can be run alone anywhere:
//!
//!     cargo test -p auto-ext-profiler --test outcomes -- --test-threads=1
//!
//! This program plays the load itself; see `main`.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test speaks to its runner"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep, spawn};
use std::time::{Duration, Instant};
use std::{env, fs};

use auto_ext_profiler::{Counted, EventCounter, LeftOut, Outcomes, OutcomesLoader, Profiler};
use auto_ext_signals::Outcome;
use aya::programs::loaded_programs;
use libtest_mimic::{Arguments, Failed, Trial};
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, unshare};
use nix::unistd::{Pid, SysconfVar, sysconf};

const ROLE: &str = "AUTO_EXT_OUTCOMES_ROLE";
/// Ends a test that would hang. It judges no speed.
const HANG: Duration = Duration::from_secs(60);
/// How long outcomes are measured beside the trace.
const MEASURED: Duration = Duration::from_secs(2);
/// How far a value may be from the true one, as a share of it; another where it is in this variable. On an emulated CPU tens of
/// microseconds pass between the two looks at one event, and few events come in the time.
const WITHIN: f64 = 0.05;
const OTHER: &str = "AUTO_EXT_OUTCOMES_WITHIN";
/// The share of waits that one of both may count and the other not, of that.
const EDGES: f64 = 0.4;
const TRACEFS: &str = "/sys/kernel/tracing";

type Test = fn() -> Result<(), Failed>;

fn main() -> ExitCode {
    match env::var(ROLE).as_deref() {
        // What the process that measures started itself does not count: only what this one starts does.
        Ok("starts the load") => return start_load(),
        Ok("is the load") => load(),
        _ => {}
    }
    let tests: [(&str, Test); 5] = [
        ("nothing_is_left", nothing_is_left),
        ("who_is_left_out_is_asked_for", who_is_left_out_is_asked_for),
        (
            "who_waits_is_seen_before_the_wait_ends",
            who_waits_is_seen_before_the_wait_ends,
        ),
        ("tasks_that_move_are_counted", tasks_that_move_are_counted),
        (
            "outcomes_are_those_of_the_trace",
            outcomes_are_those_of_the_trace,
        ),
    ];
    let trials = tests.map(|(name, test)| Trial::test(name, test));
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

/// The programs at switches and wake-ups that the kernel has, by their numbers.
fn programs() -> Result<BTreeSet<u32>, Failed> {
    let mut found = BTreeSet::new();
    for program in loaded_programs() {
        let program = program?;
        if matches!(
            program.name_as_str(),
            Some("sched_switch" | "sched_waking" | "longest_wait")
        ) {
            found.insert(program.id());
        }
    }
    Ok(found)
}

fn nothing_is_left() -> Result<(), Failed> {
    let before = programs()?;
    let profiler = Profiler::attach()?;
    assert_eq!(programs()?, before, "the profilers are elsewhere");
    let loader = OutcomesLoader::new()?;
    for _ in 0..3 {
        let outcomes = loader.attach(LeftOut::OwnChildren)?;
        let mut longest_wait = loader.longest_wait()?;
        longest_wait.look().ok_or("nothing was seen")?;
        assert_eq!(programs()?.difference(&before).count(), 3);
        drop((outcomes, longest_wait));
        // The kernel lets go of them when no CPU can be in one any more.
        let begin = Instant::now();
        while programs()?.difference(&before).count() != 0 {
            assert!(begin.elapsed() < HANG, "they are still there");
            sleep(Duration::from_millis(10));
        }
    }
    drop(profiler);
    Ok(())
}

/// A child of ours counts but where it is left out, by itself or with all of ours.
fn who_is_left_out_is_asked_for() -> Result<(), Failed> {
    let mut load = role("is the load").spawn()?;
    let wakes = |left_out| -> Result<f64, Failed> {
        let outcomes = Outcomes::attach(left_out)?;
        sleep(Duration::from_millis(200));
        let before = outcomes.read().ok_or("unreadable")?;
        sleep(Duration::from_secs(1));
        let after = outcomes.read().ok_or("unreadable")?;
        let outcome = Outcome::between(&before, &after).ok_or("no time passed")?;
        Ok(outcome.wakes_per_second)
    };
    let measured = (|| {
        let its = wakes(LeftOut::Process(None))?;
        let others = wakes(LeftOut::Process(Some(load.id())))?;
        Ok::<_, Failed>((its, others, wakes(LeftOut::OwnChildren)?))
    })();
    load.kill()?;
    load.wait()?;
    let (its, without_it, without_children) = measured?;
    println!("{its:.0} wake-ups a second, {without_it:.0} and {without_children:.0} without it");
    assert!(its > 100.0, "the load is too little");
    assert!(without_it < its / 2.0 && without_children < its / 2.0);
    Ok(())
}

/// A task that computes is kept from its CPU by one with a realtime policy, and knows since when.
fn who_waits_is_seen_before_the_wait_ends() -> Result<(), Failed> {
    let mut longest_wait = OutcomesLoader::new()?.longest_wait()?;
    let ran_at = Arc::new(AtomicU64::new(0));
    let (its, stop) = (Arc::clone(&ran_at), Arc::new(AtomicBool::new(false)));
    let stops = Arc::clone(&stop);
    let begin = Instant::now();
    let micros = move || u64::try_from(begin.elapsed().as_micros()).unwrap();
    let waits = spawn(move || {
        stay_on(0);
        has_policy(libc::SCHED_OTHER, 0);
        while !stops.load(Ordering::Relaxed) {
            its.store(micros(), Ordering::Relaxed);
        }
    });
    while ran_at.load(Ordering::Relaxed) == 0 {
        sleep(Duration::from_millis(1));
    }
    // Looks even where there is one CPU alone. In a thread, as it takes its policy with it.
    let looks = spawn(move || {
        has_policy(libc::SCHED_FIFO, 2);
        let in_the_way = spawn(|| {
            stay_on(0);
            has_policy(libc::SCHED_FIFO, 1);
            computes(Duration::from_millis(600));
        });
        sleep(Duration::from_millis(150));
        // The kernel gives who is in the way of others not all of the time.
        let seen = (0..20).find_map(|_| {
            sleep(Duration::from_millis(20));
            let last = ran_at.load(Ordering::Relaxed);
            // As of when the one that looks came to its CPU.
            let truly = micros() - last;
            let seen = longest_wait.look();
            let waited = truly > 100_000 && ran_at.load(Ordering::Relaxed) == last;
            waited.then_some((seen, truly))
        });
        in_the_way.join().unwrap();
        sleep(Duration::from_millis(100));
        (seen, longest_wait.look())
    });
    let looked = looks.join();
    stop.store(true, Ordering::Relaxed);
    waits.join().unwrap();
    let (seen, after) = looked.map_err(|_| "it cannot look")?;
    let (seen, truly) = seen.ok_or("it was not in the way for long enough")?;
    let seen = seen.ok_or("nothing was seen")?;
    is_about("longest wait", seen.as_secs_f64() * 1e3, truly as f64 / 1e3)?;
    let after = after.ok_or("nothing was seen")?;
    assert!(after < seen, "{after:?} after {seen:?}");
    Ok(())
}

/// Of the calling thread.
fn has_policy(policy: i32, priority: i32) {
    let parameters = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: the parameters live until the call returns.
    let done = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    assert_eq!(done, 0, "the test is run as root");
}

/// Of the calling thread.
fn stay_on(cpu: usize) {
    let mut cpus = CpuSet::new();
    cpus.set(cpu).unwrap();
    sched_setaffinity(Pid::from_raw(0), &cpus).unwrap();
}

fn tasks_that_move_are_counted() -> Result<(), Failed> {
    const MOVES: usize = 200;
    let cpus = sysconf(SysconfVar::_NPROCESSORS_ONLN)?.ok_or("unknown")?;
    let cpus = usize::try_from(cpus)?;
    let counter = EventCounter::open(Counted::Migrations)?;
    let moves = spawn(move || (0..=MOVES).for_each(|at| stay_on(at % cpus.min(2))));
    moves.join().map_err(|_| "it cannot move")?;
    let counted = counter.read().ok_or("unreadable")?;
    println!("{counted} migrations counted, {MOVES} made");
    if cpus == 1 {
        assert_eq!(counted, 0, "there is nowhere else to run");
    } else {
        // Others move too, seldom.
        assert!(
            (MOVES as u64..2 * MOVES as u64).contains(&counted),
            "{counted}"
        );
    }
    Ok(())
}

/// Ends its process when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Its input ends with it, and so does the load.
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}

fn role(role: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(ROLE, role).stdin(Stdio::piped());
    command
}

fn start_load() -> ExitCode {
    let mut load = role("is the load").spawn().unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    load.kill().unwrap();
    load.wait().unwrap();
    ExitCode::SUCCESS
}

/// Tasks that sleep, work and are in each other's way: some only shortly, one for long, one niced; and two that compute.
fn load() -> ! {
    nice(0);
    for (pause, work) in [
        (1_000, 50),
        (2_000, 300),
        (3_000, 700),
        (5_000, 2_500),
        (9_000, 6_000),
    ] {
        spawn(move || works(pause, work));
    }
    spawn(|| {
        nice(10);
        works(1_000, 100);
    });
    spawn(|| computes(Duration::MAX));
    computes(Duration::MAX);
    unreachable!("it is killed");
}

/// Of the calling thread.
fn nice(value: i32) {
    // SAFETY: a system call without pointers.
    let done = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, value) };
    assert_eq!(done, 0, "the test is run as root");
}

/// Sleeps and works, both in microseconds, again and again.
fn works(pause: u64, work: u64) -> ! {
    loop {
        sleep(Duration::from_micros(pause));
        computes(Duration::from_micros(work));
    }
}

fn computes(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        black_box(0);
    }
}

/// A trace of switches and wake-ups in an instance of its own, which leaves others' traces alone.
struct Trace(PathBuf);

impl Trace {
    fn begin() -> Result<Self, Failed> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        let instances = PathBuf::from(TRACEFS).join("instances");
        if !instances.exists() {
            let tracefs = Some("tracefs");
            mount(tracefs, TRACEFS, tracefs, MsFlags::empty(), none)?;
        }
        let name = format!("auto-ext-test-{}", std::process::id());
        let trace = Self(instances.join(name));
        fs::create_dir(&trace.0)?;
        trace.set("trace_clock", "mono")?;
        trace.set("buffer_size_kb", "8192")?;
        trace.set("events/sched/sched_waking/enable", "1")?;
        trace.set("events/sched/sched_switch/enable", "1")?;
        Ok(trace)
    }

    fn set(&self, file: &str, value: &str) -> Result<(), Failed> {
        Ok(fs::write(self.0.join(file), value)?)
    }

    fn end(&self) -> Result<String, Failed> {
        self.set("tracing_on", "0")?;
        for cpu in fs::read_dir(self.0.join("per_cpu"))? {
            let stats = fs::read_to_string(cpu?.path().join("stats"))?;
            let lost = |what: &str| stats.lines().any(|line| line == format!("{what}: 0"));
            assert!(lost("overrun") && lost("dropped events"), "{stats}");
        }
        Ok(fs::read_to_string(self.0.join("trace"))?)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // Else it is there until the machine goes down, and costs its buffers.
        drop(fs::remove_dir(&self.0));
    }
}

/// An event of the trace.
enum Event {
    Waking {
        pid: u32,
    },
    Switch {
        prev: u32,
        prio: i32,
        state: char,
        next: u32,
    },
}

/// The time in microseconds, and what happened then.
fn event(line: &str) -> Option<(u64, Event)> {
    let is_waking = line.contains(": sched_waking: ");
    let (head, what) = line.split_once(if is_waking {
        ": sched_waking: "
    } else {
        ": sched_switch: "
    })?;
    let (seconds, micros) = head.rsplit(' ').next()?.split_once('.')?;
    let at = seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?;
    // Names may hold anything, so that numbers are looked for from the end.
    let after = |text: &str, key: &str| -> Option<String> {
        Some(text.rsplit_once(key)?.1.split(' ').next()?.to_owned())
    };
    if is_waking {
        let pid = after(what, " pid=")?.parse().ok()?;
        return Some((at, Event::Waking { pid }));
    }
    let (left, comes) = what.split_once(" ==> next_comm=")?;
    let event = Event::Switch {
        prev: after(left, " prev_pid=")?.parse().ok()?,
        prio: after(left, " prev_prio=")?.parse().ok()?,
        state: after(left, " prev_state=")?.chars().next()?,
        next: after(comes, " next_pid=")?.parse().ok()?,
    };
    Some((at, event))
}

/// What is known of a task, as runqlat does it: when it was woken; and what makes it a sleeper.
#[derive(Default)]
struct Task {
    woken: Option<u64>,
    runs_since: Option<u64>,
    /// Of the burst, and whether it was seen from its beginning.
    ran: u64,
    began: Option<u64>,
    counts: bool,
    sleeps: bool,
}

/// What the trace says of a time: waits, and for each burst its CPU time and how long the task was held up; microseconds.
#[derive(Default)]
struct Truth {
    waits: Vec<u64>,
    ran: u64,
    held_up: u64,
}

fn truth(trace: &str, from: u64, to: u64, ours: &BTreeSet<u32>) -> Truth {
    let mut tasks: BTreeMap<u32, Task> = BTreeMap::new();
    let mut truth = Truth::default();
    for (at, event) in trace.lines().filter_map(event) {
        let within = (from..to).contains(&at);
        match event {
            Event::Waking { pid } => tasks.entry(pid).or_default().woken = Some(at),
            Event::Switch {
                prev,
                prio,
                state,
                next,
            } => {
                let task = tasks.entry(prev).or_default();
                let piece = task.runs_since.take().map_or(0, |since| at - since);
                task.ran += piece;
                if state == 'X' || state == 'Z' {
                    tasks.remove(&prev);
                } else if state != 'R' && prev != 0 {
                    let short = task.began.is_some() && task.ran < 4_000;
                    if let (true, true, true, Some(began)) =
                        (within, short, task.counts, task.began)
                    {
                        truth.ran += task.ran;
                        truth.held_up += (at - began - task.ran).min(100_000);
                    }
                    task.counts = short && prio <= 120 && !ours.contains(&prev);
                    (task.sleeps, task.began) = (true, None);
                }
                let task = tasks.entry(next).or_default();
                task.runs_since = Some(at);
                if std::mem::take(&mut task.sleeps) {
                    task.ran = 0;
                    task.began = task.woken.take();
                    task.counts &= task.began.is_some();
                    if let (true, true, Some(woken)) = (within, task.counts, task.began) {
                        truth.waits.push((at - woken).min(100_000));
                    }
                }
            }
        }
    }
    truth.waits.sort_unstable();
    truth
}

fn within() -> Result<f64, Failed> {
    match env::var(OTHER) {
        Ok(other) => Ok(other.parse()?),
        Err(_) => Ok(WITHIN),
    }
}

/// Fails when a value is further from the true one than it may be, or two microseconds, by which the trace is exact.
fn is_about(what: &str, measured: f64, truly: f64) -> Result<(), Failed> {
    println!("{what}: {measured:.2} measured, {truly:.2} in the trace");
    if (measured - truly).abs() <= within()? * truly + 2.0 {
        return Ok(());
    }
    Err(format!("{what}: {measured} measured, but {truly} in the trace").into())
}

/// Fails when a value is no quantile of what is true, in order, as exactly as a bucket, a sixteenth, and as the edges of the time
/// let it be.
fn is_quantile(what: &str, measured: f64, truly: &[u64], percent: usize) -> Result<(), Failed> {
    let count = truly.len();
    let edges = (EDGES * within()? * count as f64).ceil() as usize;
    let rank = (percent * count).div_ceil(100) - 1;
    let low = truly[rank.saturating_sub(edges)] as f64 * 15.0 / 16.0 - 2.0;
    let high = truly[(rank + edges).min(count - 1)] as f64 * 17.0 / 16.0 + 2.0;
    println!("{what}: {measured:.2} measured, {low:.2} to {high:.2} in the trace");
    if (low..=high).contains(&measured) {
        return Ok(());
    }
    Err(format!("{what}: {measured} measured, but {low} to {high} in the trace").into())
}

/// The trace is read by a way of its own: the text of tracefs, and the definition of runqlat.
fn outcomes_are_those_of_the_trace() -> Result<(), Failed> {
    let trace = Trace::begin()?;
    let load = Running(role("starts the load").spawn()?);
    let outcomes = Outcomes::attach(LeftOut::OwnChildren)?;
    let mut ours = BTreeSet::from([load.0.id()]);
    let stop = AtomicBool::new(false);
    let (before, after) = scope(|scope| {
        // What measures sleeps too, and does not count.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(1));
            }
        });
        for thread in fs::read_dir("/proc/self/task")? {
            ours.insert(thread?.file_name().to_string_lossy().parse()?);
        }
        // So that both know who slept before.
        sleep(Duration::from_secs(1));
        let before = outcomes.read();
        sleep(MEASURED);
        let after = outcomes.read();
        stop.store(true, Ordering::Relaxed);
        Ok::<_, Failed>((before, after))
    })?;
    let text = trace.end()?;
    drop((outcomes, load));
    let (before, after) = (before.ok_or("unreadable")?, after.ok_or("unreadable")?);
    let truth = truth(&text, before.at_ns / 1000, after.at_ns / 1000, &ours);
    let outcome = Outcome::between(&before, &after).ok_or("no time passed")?;
    let waits = outcome.waits.ok_or("nobody waited")?;

    let seconds = Duration::from_nanos(after.at_ns - before.at_ns).as_secs_f64();
    let count = truth.waits.len();
    assert!(count > 200, "the load is too little: {count} waits");
    let sum: u64 = truth.waits.iter().sum();
    is_about("wake-ups", outcome.wakes_per_second * seconds, count as f64)?;
    is_about("mean", waits.mean_ns / 1e3, sum as f64 / count as f64)?;
    for (what, percent, found) in [
        ("median", 50, waits.p50_ns),
        ("95 %", 95, waits.p95_ns),
        ("99 %", 99, waits.p99_ns),
    ] {
        is_quantile(what, found / 1e3, &truth.waits, percent)?;
    }
    let long = truth.waits.iter().filter(|wait| **wait > 2_000).count();
    let long_count = waits.long_share * outcome.wakes_per_second * seconds;
    // Of a few, those at the edges of the time are a large share.
    println!("longer than 2 ms: {long_count:.0} measured, {long} in the trace");
    let off = (long_count - long as f64).abs();
    let share = within()?;
    assert!(
        off <= share * long as f64 + EDGES * share * count as f64,
        "{off}"
    );
    let stretch = outcome.stretch.ok_or("nobody slept again")?;
    let truly = 1.0 + truth.held_up as f64 / truth.ran as f64;
    // In hundredths, so that what the trace is exact by is little.
    is_about("100 times the stretch", 100.0 * stretch, 100.0 * truly)
}
