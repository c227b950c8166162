//! `auto-ext-smt profile --inject` from its beginning to its end. Hardware threads of this machine do not slow each other down, so it
//! has to find that; and whatever becomes of it, the job runs everywhere again.

use std::fs;
use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use auto_ext_smt::model::Resource;
use auto_ext_smt::store::Store;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::PROGRAM;
use crate::pretended::Pretended;
use crate::work::{run, start};

const CGROUP: &str = "/sys/fs/cgroup/job";
/// What it is called by its cgroup.
const NAME: &str = "/job";
const STATE: &str = "/tmp/profiled";
const LEDGER: &str = "/run/auto-ext-smt/affinity.jsonl";
const OWNERS: &str = "/run/auto-ext/affinity";
const ALL: &str = "0-3";
/// Two loops of this length are a second.
const HALF_A_SECOND: u64 = 250_000_000;
/// How often it is looked whether something is so. To look takes instructions, which counters count as anybody's.
const LOOK: Duration = Duration::from_millis(50);
/// What checking the counters takes at least: 2e8 instructions; and the same in ticks.
const CHECK: Duration = Duration::from_millis(400);
const CHECKED: u64 = 40;
/// By how much numbers may differ from those of a machine without contention.
const NEAR: f64 = 0.01;
/// What does not need assembly.
const PORTABLE: [Resource; 5] = [
    Resource::IntPort,
    Resource::FpPort,
    Resource::L1Dcache,
    Resource::L2Cache,
    Resource::L1Dtlb,
];

pub(crate) fn a_job_is_profiled_and_runs_everywhere_again_however_that_ends() -> anyhow::Result<()>
{
    let _caches = Pretended::caches()?;
    let job = Job::start()?;
    to_the_end(&job).context("to the end")?;
    killed(&job).context("killed")?;
    killed_with_who_waits(&job).context("killed with who waits for its end")
}

fn to_the_end(job: &Job) -> anyhow::Result<()> {
    let mut profile = Profile::begin(job)?;
    let mut said = Vec::new();
    while let Some(line) = profile.line()? {
        println!("{line}");
        said.push(line);
    }
    let ended = profile.child.wait()?;
    ensure!(ended.success(), "{ended}");
    nothing_is_left(job)?;
    let jobs = Store::new(Path::new(STATE)).jobs()?;
    let known = jobs.values().next().context("nothing is kept")?;
    ensure!((known.solo - 0.5).abs() < NEAR, "{known:?}");
    ensure!((known.scale - 1.0).abs() < NEAR, "{known:?}");
    for resource in PORTABLE {
        let Some(one) = known.characteristics.get(&resource) else {
            // Injectors of caches do not slow down each other either, by which it would be known how much of one the job uses.
            let why = format!("{}: not known: the injector is the same", resource.name());
            let is_cache = !matches!(resource, Resource::IntPort | Resource::FpPort);
            let is_said = said.iter().any(|line| line.starts_with(&why));
            ensure!(is_cache && is_said, "{resource:?} is missing");
            continue;
        };
        let slower = [one.base_slowdown, one.sensitivity, one.intensity];
        ensure!(slower.iter().all(|part| *part < NEAR), "{one:?}");
    }
    let others = known.characteristics.keys();
    let mut others = others.filter(|resource| !PORTABLE.contains(resource));
    ensure!(others.next().is_none(), "{known:?}");
    Ok(())
}

/// Who was started to wait for the end undoes it.
fn killed(job: &Job) -> anyhow::Result<()> {
    let mut profile = Profile::begin(job)?;
    profile.until("  beside ")?;
    while running("injector")?.is_empty() {
        ensure!(profile.child.try_wait()?.is_none(), "it has ended");
        sleep(LOOK);
    }
    ensure!(is_placed(job)?, "nothing is placed");
    profile.kill()?;
    while !running("")?.is_empty() {
        sleep(LOOK);
    }
    nothing_is_left(job)
}

/// Whoever comes later undoes it.
fn killed_with_who_waits(job: &Job) -> anyhow::Result<()> {
    let mut profile = Profile::begin(job)?;
    profile.until("  alone")?;
    for waits in running("restore")? {
        kill(waits, Signal::SIGKILL)?;
    }
    profile.kill()?;
    while !running("")?.is_empty() {
        sleep(LOOK);
    }
    ensure!(is_placed(job)?, "somebody has undone it");
    let restored = Command::new(PROGRAM).arg("restore").output()?;
    let said = String::from_utf8_lossy(&restored.stdout);
    let expected = "1 threads may run everywhere again\n";
    ensure!(
        restored.status.success() && said == expected,
        "{restored:?}"
    );
    nothing_is_left(job)
}

fn is_placed(job: &Job) -> anyhow::Result<bool> {
    let is_one = job.cpus()?.parse::<u32>().is_ok();
    Ok(is_one && Path::new(LEDGER).exists() && fs::read_dir(OWNERS)?.count() == 1)
}

fn nothing_is_left(job: &Job) -> anyhow::Result<()> {
    let cpus = job.cpus()?;
    ensure!(cpus == ALL, "the job may run on {cpus}");
    ensure!(!Path::new(LEDGER).exists(), "{LEDGER} is left");
    let left = running("")?;
    ensure!(left.is_empty(), "processes are left: {left:?}");
    let claimed = fs::read_dir(OWNERS)?.count();
    ensure!(claimed == 0, "{claimed} processes stay claimed");
    Ok(())
}

/// The processes of the program that have this among their arguments, or all of them.
fn running(argument: &str) -> anyhow::Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Ok(pid) = name.to_string_lossy().parse() else {
            continue;
        };
        // It may have ended.
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut arguments = line.split_terminator('\0');
        let is_it = arguments.next() == Some(PROGRAM);
        if is_it && (argument.is_empty() || arguments.any(|other| other == argument)) {
            found.push(Pid::from_raw(pid));
        }
    }
    Ok(found)
}

/// A process in a cgroup of its own that keeps a CPU busy.
struct Job(Pid);

impl Job {
    fn start() -> anyhow::Result<Self> {
        fs::create_dir(CGROUP).context(CGROUP)?;
        let child = start(|| {
            loop {
                run(HALF_A_SECOND);
            }
        })?;
        let job = Self(child);
        fs::write(Path::new(CGROUP).join("cgroup.procs"), child.to_string())?;
        Ok(job)
    }

    fn cpus(&self) -> anyhow::Result<String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let mut lines = status.lines();
        let list = lines.find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        Ok(list.context("Cpus_allowed_list")?.trim().to_owned())
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // The next test will tell if any of it fails.
        let _ = kill(self.0, Signal::SIGKILL);
        let _ = waitpid(self.0, None);
        let _ = fs::remove_dir(CGROUP);
    }
}

/// The command, and what it says.
struct Profile {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Profile {
    /// Begins one. The job does nothing until the counters were checked: this machine counts for each processor what all of them run.
    fn begin(job: &Job) -> anyhow::Result<Self> {
        kill(job.0, Signal::SIGSTOP)?;
        let mut command = Command::new(PROGRAM);
        command.args(["--state", STATE, "profile", NAME, "--inject"]);
        command.args(["--sample", "1s", "--for", "2s", "--long-running", "0s"]);
        let mut child = command.stdout(Stdio::piped()).spawn().context(PROGRAM)?;
        let stdout = child.stdout.take().context("its output")?;
        let mut profile = Self {
            child,
            said: BufReader::new(stdout).lines(),
        };
        sleep(CHECK);
        while !profile.has_checked()? {
            sleep(LOOK);
        }
        kill(job.0, Signal::SIGCONT)?;
        Ok(profile)
    }

    /// Whether a thread of its own has counted, and has ended.
    fn has_checked(&mut self) -> anyhow::Result<bool> {
        ensure!(self.child.try_wait()?.is_none(), "it has ended");
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(')').context("a line of stat")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        // proc_pid_stat(5), from its third field on.
        let number = |at: usize| -> anyhow::Result<u64> {
            Ok(fields.get(at - 3).context("a field of stat")?.parse()?)
        };
        let (user, system, threads) = (number(14)?, number(15)?, number(20)?);
        Ok(threads == 1 && user + system >= CHECKED)
    }

    fn line(&mut self) -> anyhow::Result<Option<String>> {
        Ok(self.said.next().transpose()?)
    }

    /// Waits for a line that begins so.
    fn until(&mut self, begins: &str) -> anyhow::Result<()> {
        while let Some(line) = self.line()? {
            if line.starts_with(begins) {
                return Ok(());
            }
        }
        bail!("it has ended before it said {begins}")
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        // It has ended unless something failed.
        let _ = self.kill();
    }
}
