//! `measured`: what the profiler measures of ten loads, beside what the kernel itself counts. Any machine will do.
//!
//! | signal | truth |
//! |---|---|
//! | cpu | /proc/stat: what is neither idle nor waiting for IO; or /proc/schedstat: for how long tasks ran. The first is counted by
//! |     | ticks on some kernels, the second is without interrupts that find a CPU idle: one of them is to be met |
//! | cpu's background | the CPU time of the load's threads, all of which are niced, what a host takes of it included |
//! | parallel | /proc/PID/task/TID/schedstat: how long the load's threads waited |
//! | interactive | the CPU time of those threads of the load that only a timer wakes |
//! | io | /proc/diskstats: how long requests took, of which there is one at a time |

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{ChildStdout, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::load::{self, Running};
use crate::loads::{self, Labelled};

/// How long a load runs before it is measured: its program has started, and made what it needs.
const SETTLES: Duration = Duration::from_secs(3);
/// How long it is measured.
const MEASURED: Duration = Duration::from_secs(4);
/// By how much what is measured may differ from the truth: by this share of it, or by this much; of busy time for each CPU, as the
/// signal is a share of them.
const OF_IT: f64 = 0.05;
const AT_LEAST: f64 = 0.02;
const AT_LEAST_OF_EACH_CPU: f64 = 0.01;
/// The same in an emulated machine, upwards and downwards, where it is another.
const EMULATED: [(What, f64, f64); 2] = [(What::Disk, 0.05, 0.2), (What::Waiting, 0.1, 0.1)];
/// So many seconds lie between idleness and a task there, and between a task and idleness, which none of the kernel's counters has.
const EMULATED_SWITCH: f64 = 1e-4;
/// How many of the load's threads wait while one of them runs.
const WAITERS: f64 = 2.0;

/// What is compared. Each is in CPUs, tasks or disks: seconds in a second.
#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Busy,
    Background,
    Waiting,
    Timed,
    Disk,
}

/// The loads, each with what can be told of it for sure.
const LOADS: [(&str, &[What]); 10] = [
    ("sleep", &[What::Busy]),
    ("encoder", &[What::Busy]),
    ("inference", &[What::Busy]),
    ("vm host with busy guests", &[What::Busy]),
    ("hogs in a cpuset", &[What::Busy, What::Waiting]),
    ("batch at nice 19", &[What::Busy, What::Background]),
    ("batch under SCHED_IDLE", &[What::Busy, What::Background]),
    ("short sleepers", &[What::Busy, What::Timed]),
    ("call beside hogs", &[What::Busy]),
    ("fio, direct random reads", &[What::Busy, What::Disk]),
];

/// Totals at one moment, in seconds.
#[derive(Clone, Debug, Default)]
struct Totals {
    at: f64,
    busy: f64,
    /// Another measure of it, where there is one.
    ran: Option<f64>,
    background: f64,
    waiting: f64,
    timed: f64,
    disk: f64,
    /// How often a CPU went from one task to another, or to idleness.
    switches: f64,
}

impl Totals {
    fn of(&self, what: What) -> f64 {
        match what {
            What::Busy => self.busy,
            What::Background => self.background,
            What::Waiting => self.waiting,
            What::Timed => self.timed,
            What::Disk => self.disk,
        }
    }
}

/// Measures each load, and fails when something is not as the kernel says.
pub(crate) fn run(emulated: bool) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    for (name, what) in LOADS {
        let load = Labelled::find(name)?;
        load.prepare()?;
        let compared = compare(load, what, emulated);
        loads::tidy()?;
        wrong.extend(compared.with_context(|| name.to_owned())?);
    }
    ensure!(
        wrong.is_empty(),
        "not what the kernel says:\n{}",
        wrong.join("\n")
    );
    Ok(())
}

/// Compares, prints what is compared, and returns the lines that are wrong.
fn compare(load: &Labelled, what: &[What], emulated: bool) -> anyhow::Result<Vec<String>> {
    let mut levels = Levels::start()?;
    let mut running = load::start_command(&mut load.command()?)?;
    std::thread::sleep(SETTLES);
    // What was printed meanwhile is about the load's start.
    let settled = now()?;
    let measured_before = loop {
        let line = levels.next()?;
        if line.at >= settled {
            break line;
        }
    };
    let before = truth(&running)?;
    let begin = Instant::now();
    let (measured_after, after) = loop {
        let both = (levels.next()?, truth(&running)?);
        if begin.elapsed() >= MEASURED {
            break both;
        }
    };
    ensure!(!running.has_ended(), "it ended by itself");
    let cpus = f64::from(online()?);
    let rate = |before: &Totals, after: &Totals, what| {
        (after.of(what) - before.of(what)) / (after.at - before.at)
    };
    let switches = (after.switches - before.switches) / (after.at - before.at);
    let mut wrong = Vec::new();
    for &what in what {
        let measured = rate(&measured_before, &measured_after, what);
        let mut truths = vec![rate(&before, &after, what)];
        if let (What::Busy, Some(begin), Some(end)) = (what, before.ran, after.ran) {
            truths.push((end - begin) / (after.at - before.at));
        }
        let unseen = match what {
            What::Busy if emulated => switches * EMULATED_SWITCH,
            _ => 0.0,
        };
        let at_least = match what {
            What::Busy => AT_LEAST_OF_EACH_CPU * cpus,
            _ => AT_LEAST,
        };
        // Where there are two, what is between them is right, too.
        let is_near = |truth: f64| {
            let (above, below) = margins(what, emulated);
            let within = |of_it: f64| (of_it * truth).max(at_least);
            measured <= truth + unseen + within(above) && measured >= truth - within(below)
        };
        let (least, most) = truths
            .iter()
            .fold((f64::MAX, f64::MIN), |(least, most), truth| {
                (least.min(*truth), most.max(*truth))
            });
        let is_right = is_near(measured.clamp(least, most));
        let truths: Vec<String> = truths.iter().map(|truth| format!("{truth:.3}")).collect();
        let line = format!(
            "{:<28} {:<10} measured {measured:.3}, the kernel says {} with {switches:.0} switches a second",
            load.name,
            format!("{what:?}").to_lowercase(),
            truths.join(" or ")
        );
        eprintln!("{line}{}", if is_right { "" } else { "  WRONG" });
        if !is_right {
            wrong.push(line);
        }
    }
    Ok(wrong)
}

/// By which share of the truth what is measured may be above and below it.
fn margins(what: What, emulated: bool) -> (f64, f64) {
    let there = EMULATED.iter().find(|(of, ..)| emulated && *of == what);
    there.map_or((OF_IT, OF_IT), |(_, above, below)| (*above, *below))
}

/// `auto-ext levels`, which prints a line at the end of each window.
struct Levels {
    _running: Running,
    lines: BufReader<ChildStdout>,
}

impl Levels {
    fn start() -> anyhow::Result<Self> {
        let program = std::env::var("AUTO_EXT").unwrap_or_else(|_| "auto-ext".to_owned());
        let mut command = Command::new(program);
        let (running, stdout) = load::start_with_output(command.args(["levels", "--json"]))?;
        Ok(Self {
            _running: running,
            lines: BufReader::new(stdout),
        })
    }

    /// The totals of the next line, as soon as it is there.
    fn next(&mut self) -> anyhow::Result<Totals> {
        let mut line = String::new();
        ensure!(self.lines.read_line(&mut line)? > 0, "levels has ended");
        let line: Value = serde_json::from_str(&line)?;
        let totals = &line["totals"];
        let seconds = |value: &Value| {
            let ns = value.as_f64();
            ns.map(|ns| ns / 1e9).context("a total is missing")
        };
        let sched = &totals["sched"];
        // What a host takes of a CPU is taken of the load: nothing else runs.
        let stolen = seconds(&sched["stolen_ns"])?;
        Ok(Totals {
            at: seconds(&totals["at_ns"])?,
            busy: seconds(&sched["busy_ns"])?,
            ran: None,
            background: seconds(&sched["background_ns"])? + stolen,
            waiting: seconds(&sched["wait_ns"])? + WAITERS * stolen,
            timed: seconds(&sched["timed_ns"])?,
            disk: seconds(&totals["block"]["busy_ns"])?,
            switches: 0.0,
        })
    }
}

/// Seconds by the clock of the totals.
fn now() -> anyhow::Result<f64> {
    let at = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
    Ok(Duration::from(at).as_secs_f64())
}

/// What the kernel counts, of the machine and of the load's own threads.
fn truth(load: &Running) -> anyhow::Result<Totals> {
    let at = now()?;
    let idle = idle_seconds()?;
    let threads = threads_of_group(load.id())?;
    let (runtime, waited) = threads.values().fold((0.0, 0.0), |(run, wait), thread| {
        (run + thread.runtime, wait + thread.waited)
    });
    Ok(Totals {
        at,
        busy: at * f64::from(online()?) - idle,
        ran: tasks_seconds(),
        background: runtime,
        waiting: waited,
        timed: runtime,
        disk: disks_seconds()?,
        switches: switches()?,
    })
}

/// The switches of all CPUs since boot: the line `ctxt` of /proc/stat.
fn switches() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let count = stat.lines().find_map(|line| line.strip_prefix("ctxt "));
    Ok(count.context("/proc/stat counts no switches")?.parse()?)
}

/// The seconds in which all CPUs were idle, waiting for IO or not: /proc/uptime has hundredths of them, from the
/// kernel's own clock of idleness where ticks stop on idle CPUs.
fn idle_seconds() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("an empty /proc/stat")?;
    let times: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .map_while(|time| time.parse().ok())
        .collect();
    let (idle, iowait) = times.get(3).zip(times.get(4)).context("no idle time")?;
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?;
    let ticks = u32::try_from(ticks.context("no unit of time")?)?;
    Ok((idle + iowait) / f64::from(ticks))
}

/// The seconds for which tasks ran on all CPUs: the seventh number of each, in nanoseconds; see
/// Documentation/scheduler/sched-stats.rst. Some kernels are built without.
fn tasks_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/schedstat").ok()?;
    let cpus = text.lines().filter(|line| line.starts_with("cpu"));
    let ran = cpus.filter_map(|line| line.split_whitespace().nth(7)?.parse::<f64>().ok());
    Some(ran.sum::<f64>() / 1e9)
}

fn online() -> anyhow::Result<u32> {
    let cpus = std::thread::available_parallelism()?;
    Ok(u32::try_from(cpus.get())?)
}

/// A thread's first two numbers in schedstat: nanoseconds on a CPU, and waiting for one.
struct Thread {
    runtime: f64,
    waited: f64,
}

fn threads_of_group(group: u32) -> anyhow::Result<BTreeMap<u32, Thread>> {
    let mut threads = BTreeMap::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        let of = nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid)));
        if !of.is_ok_and(|of| of.as_raw().cast_unsigned() == group) {
            continue;
        }
        for task in fs::read_dir(entry.path().join("task"))?.flatten() {
            let stat = fs::read_to_string(task.path().join("schedstat"))?;
            let numbers: Vec<f64> = stat
                .split_whitespace()
                .map_while(|number| number.parse().ok())
                .collect();
            let [runtime, waited, ..] = numbers[..] else {
                bail!("{}: {stat}", task.path().display());
            };
            let name = task.file_name();
            let tid = name.to_str().and_then(|name| name.parse().ok());
            threads.insert(
                tid.context("a task without a number")?,
                Thread {
                    runtime: runtime / 1e9,
                    waited: waited / 1e9,
                },
            );
        }
    }
    Ok(threads)
}

/// The seconds that requests to all disks took, added up: the eleventh number behind a disk's name, in milliseconds; see Documentation/admin-guide/iostats.rst.
fn disks_seconds() -> anyhow::Result<f64> {
    let mut seconds = 0.0;
    for line in fs::read_to_string("/proc/diskstats")?.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (Some(name), Some(busy)) = (fields.get(2), fields.get(13)) else {
            continue;
        };
        if fs::exists(format!("/sys/block/{name}"))? {
            seconds += busy.parse::<f64>()? / 1000.0;
        }
    }
    Ok(seconds)
}
