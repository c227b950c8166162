//! What the daemon takes from the machine that it serves. It runs here as the service runs it, but starts
//! no scheduler.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::statistics::spread;
use crate::command::{Running, command, step};
use crate::{ebpf, workspace};

/// How long a daemon may take until it is ready.
const START: Duration = Duration::from_secs(60);

/// How much is measured.
#[derive(clap::Args, Default)]
pub(super) struct Arguments {
    /// For how many seconds, idle and busy; 60 if it is not given
    #[arg(long)]
    seconds: Option<u64>,
    /// How often the daemon is started; 10 times if it is not given
    #[arg(long)]
    starts: Option<usize>,
}

/// A daemon that is ready, and ends when this is dropped.
pub(super) struct Daemon {
    running: Running,
    ready_after: Duration,
    _directory: tempfile::TempDir,
}

/// What all threads of a process have used and done so far.
#[derive(Clone, Copy, Default)]
pub(super) struct Used {
    pub(super) cpu_ns: u64,
    /// How often they went to sleep, and so were woken.
    sleeps: u64,
}

/// Measures.
pub(super) fn daemon(arguments: &Arguments, quick: bool, out: &mut dyn Write) -> Result<()> {
    let seconds = arguments.seconds.unwrap_or(if quick { 2 } else { 60 });
    let starts = arguments.starts.unwrap_or(if quick { 1 } else { 10 });
    ensure!(starts > 0, "--starts must be at least 1");
    ebpf::build_release()?;
    let time = Duration::from_secs(seconds);
    let shipped = workspace::root().join("policies.yaml");
    let mut ready = Vec::new();
    step("starting the daemon", || {
        for _ in 0..starts {
            ready.push(Daemon::start(&shipped)?.ready_after.as_secs_f64());
        }
        Ok(())
    })?;
    let daemon = Daemon::start(&shipped)?;
    let idle = step("watching it while the machine idles", || daemon.over(time))?;
    let busy = step("watching it while every CPU is busy", || {
        beside_hogs(|| daemon.over(time))
    })?;

    let (low, median, high) = spread(&ready);
    writeln!(
        out,
        "start to ready  {median:.3} s median, {low:.3} to {high:.3}, {starts} starts"
    )?;
    for (name, used) in [("idle", idle), ("busy", busy)] {
        writeln!(
            out,
            "{name:<14}  {:.3} % of a CPU, {:.1} wake-ups a second, over {seconds} s",
            100.0 * used.cpu_ns as f64 / time.as_nanos() as f64,
            used.sleeps as f64 / time.as_secs_f64()
        )?;
    }
    let kib = |name| daemon.status(name);
    writeln!(
        out,
        "memory          {:.1} MB, {:.1} MB of it its own; {:.1} MB at the start",
        kib("VmRSS")? / 1000.0,
        kib("RssAnon")? / 1000.0,
        kib("VmHWM")? / 1000.0
    )?;
    let size = fs::metadata(workspace::release("auto-ext"))?.len() as f64;
    writeln!(out, "program on disk {:.1} MB", size / 1e6)?;
    Ok(())
}

/// Runs `work` while a thread spins on each CPU.
fn beside_hogs<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let end = AtomicBool::new(false);
    let cpus = thread::available_parallelism()?.get();
    thread::scope(|scope| {
        for _ in 0..cpus {
            scope.spawn(|| {
                while !end.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        // The daemon is to see them for what they are first.
        sleep(Duration::from_secs(2));
        let result = work();
        end.store(true, Ordering::Relaxed);
        result
    })
}

impl Daemon {
    /// Starts one with the policy at this path, which only observes.
    pub(super) fn start(policy: &Path) -> Result<Self> {
        Self::start_with(policy, &["--observe"])
    }

    /// Starts one that does all that the policy at this path says.
    pub(super) fn start_serving(policy: &Path) -> Result<Self> {
        Self::start_with(policy, &[])
    }

    fn start_with(policy: &Path, options: &[&str]) -> Result<Self> {
        let directory = tempfile::tempdir().context("no place for the daemon's files")?;
        let socket = directory.path().join("notify");
        let notified = UnixDatagram::bind(&socket)?;
        notified.set_read_timeout(Some(START))?;
        let mut daemon = command(workspace::release("auto-ext"));
        daemon
            .args(["daemon", "--bus", "none"])
            .args(options)
            .arg("--config")
            .arg(policy)
            .env("NOTIFY_SOCKET", &socket)
            .env("STATE_DIRECTORY", directory.path())
            .env("RUNTIME_DIRECTORY", directory.path())
            .envs(environment("systemd/auto-ext.service")?)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let begin = Instant::now();
        let running = Running::start(&mut daemon)?;
        let mut started = Self {
            running,
            ready_after: Duration::ZERO,
            _directory: directory,
        };
        let mut message = [0; 4096];
        loop {
            let size = notified
                .recv(&mut message)
                .context("the daemon does not say that it is ready (it wants root)")?;
            if String::from_utf8_lossy(&message[..size])
                .lines()
                .any(|line| line == "READY=1")
            {
                started.ready_after = begin.elapsed();
                return Ok(started);
            }
        }
    }

    /// What it uses in so long.
    fn over(&self, time: Duration) -> Result<Used> {
        // What the beginning takes is not what it takes in the long run.
        sleep(Duration::from_secs(2));
        let before = self.used()?;
        sleep(time);
        let after = self.used()?;
        Ok(Used {
            cpu_ns: after.cpu_ns.saturating_sub(before.cpu_ns),
            sleeps: after.sleeps.saturating_sub(before.sleeps),
        })
    }

    pub(super) fn used(&self) -> Result<Used> {
        used(self.running.0.id())
    }

    pub(super) fn status(&self, name: &str) -> Result<f64> {
        status(self.running.0.id(), name)
    }
}

/// What a process has used so far.
pub(super) fn used(pid: u32) -> Result<Used> {
    let mut used = Used::default();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        // Documentation/scheduler/sched-stats.rst: the first field is nanoseconds on a CPU.
        let times = fs::read_to_string(task.join("schedstat"))?;
        used.cpu_ns += times.split(' ').next().unwrap_or_default().parse::<u64>()?;
        used.sleeps += field(
            &fs::read_to_string(task.join("status"))?,
            "voluntary_ctxt_switches",
        )?;
    }
    Ok(used)
}

/// A number of /proc/PID/status, in KiB.
pub(super) fn status(pid: u32, name: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(field(&status, name)? as f64)
}

/// The first number behind `name`.
fn field(status: &str, name: &str) -> Result<u64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("no {name} in a status of /proc"))
}

/// The environment that a unit gives its service.
pub(super) fn environment(unit: &str) -> Result<Vec<(String, String)>> {
    let unit = fs::read_to_string(workspace::root().join(unit))?;
    let words = unit
        .lines()
        .filter_map(|line| line.strip_prefix("Environment="))
        .flat_map(str::split_whitespace);
    Ok(words
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}
