//! Swaps two schedulers without the daemon: starts the first, swaps it for the second while it runs, and goes back to
//! the kernel's own scheduler.
//!
//! `swap <COMMAND1> <COMMAND2>`, as root on a kernel with sched_ext. A command is the name of a program in /usr/bin or
//! the like, or an absolute path; with arguments, it is to be one word for the shell:
//! `swap "scx_bpfland -k" /usr/bin/scx_cosmos`.
//!
//! Exits with 0 only if the kernel confirmed each step and the swap was a hot one.

#![expect(clippy::print_stderr, reason = "errors are for the terminal")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use auto_ext_scx::process::SchedulerProcess;
use auto_ext_scx::process::cgroup::Cgroups;
use auto_ext_scx::process::registry::ProcessRegistry;
use auto_ext_scx::switch::{self, DISABLE_WITHIN, Done, LOAD_WITHIN, Switch};
use auto_ext_scx::sysfs::SchedExt;
use auto_ext_scx::{Candidate, KernelState, Scheduler};
use tokio::sync::watch;
use tokio::time::sleep;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match &arguments[..] {
        [first, second] => run(first, second).await,
        _ => {
            eprintln!("usage: swap <COMMAND1> <COMMAND2>, such as `swap scx_bpfland scx_cosmos`");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("swap: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(first: &str, second: &str) -> anyhow::Result<()> {
    let (first, second) = (scheduler(first)?, scheduler(second)?);
    let loader = Loader {
        sched_ext: SchedExt::below("/sys".as_ref()),
        registry: ProcessRegistry::default(),
        cgroups: Cgroups::of(None),
    };
    loader.check()?;

    let running = loader.start(&first).await?;
    println!("started {}: {}", first.name, loader.says());

    let (running, swapped) = loader.swap(running, &second).await?;
    let gap = swapped.gap_us;
    println!(
        "swapped to {}, a gap of {gap} us: {}",
        second.name,
        loader.says()
    );

    loader.stop(running).await?;
    println!("stopped {}: {}", second.name, loader.says());

    match swapped.cold_because {
        None => Ok(()),
        Some(why) => bail!(
            "{} had to leave before {} came: {why}",
            first.name,
            second.name
        ),
    }
}

fn scheduler(command: &str) -> anyhow::Result<Scheduler> {
    let mut words = command.split_whitespace().map(str::to_owned);
    let command = words.next().context("a command is empty")?;
    Ok(Scheduler {
        name: command.clone(),
        command,
        args: words.collect(),
    })
}

struct Loader {
    sched_ext: SchedExt,
    registry: ProcessRegistry,
    cgroups: Cgroups,
}

impl Loader {
    fn check(&self) -> anyhow::Result<()> {
        ensure!(nix::unistd::geteuid().is_root(), "run it as root");
        match self.sched_ext.read() {
            KernelState::Disabled => Ok(()),
            KernelState::Unsupported => {
                bail!("this kernel has no sched_ext; boot one with CONFIG_SCHED_CLASS_EXT=y")
            }
            _ => bail!("{}; stop the scheduler that runs first", self.says()),
        }
    }

    /// What the kernel says runs.
    fn says(&self) -> String {
        match self.sched_ext.read() {
            KernelState::Enabled { ops } => format!("the kernel runs `{ops}`"),
            KernelState::Disabled => "the kernel's own scheduler runs".to_owned(),
            state => format!("the kernel says {state:?}"),
        }
    }

    /// Whether the scheduler that the kernel runs is that of this process.
    fn is_active(&self, process: &SchedulerProcess) -> bool {
        let (_, owner) = self.registry.look(&self.sched_ext);
        owner.is_some_and(|owner| owner.child == process.pid())
    }

    async fn start(&self, scheduler: &Scheduler) -> anyhow::Result<SchedulerProcess> {
        let mut process = SchedulerProcess::start(scheduler, &self.registry, &self.cgroups)?;
        let begun = Instant::now();
        while !self.is_active(&process) {
            if let Some(end) = process.has_ended() {
                bail!("{} does not run: {end}", scheduler.name);
            }
            ensure!(
                begun.elapsed() < LOAD_WITHIN,
                "{} is not enabled after {LOAD_WITHIN:?}; run it by hand to see why",
                scheduler.name
            );
            sleep(Duration::from_millis(10)).await;
        }
        Ok(process)
    }

    async fn swap(
        &self,
        running: SchedulerProcess,
        to: &Scheduler,
    ) -> anyhow::Result<(SchedulerProcess, Done)> {
        let swap = Switch {
            sched_ext: self.sched_ext.clone(),
            registry: self.registry.clone(),
            cgroups: self.cgroups.clone(),
            to: Candidate::Scheduler(to.clone()),
            replace_foreign: false,
            load_within: LOAD_WITHIN,
            disable_within: DISABLE_WITHIN,
        };
        // Sending `true` would cancel the swap while the second scheduler loads.
        let (_cancel, cancelled) = watch::channel(false);
        let outcome = swap.make(Some(running), cancelled).await;
        let failed = match (outcome.result, &outcome.running, outcome.crashed) {
            (Err(failure), ..) => format!("{} does not run: {}", to.name, failure.error),
            (Ok(_), _, Some((old, end))) => format!("{} ended before the swap: {end}", old.name),
            (Ok(done), Some(process), None) if self.is_active(process) => {
                let process = outcome.running.context("it was there a moment ago")?;
                return Ok((process, done));
            }
            (Ok(_), ..) => format!("{} was started, but then {}", to.name, self.says()),
        };
        if let Some(process) = outcome.running {
            self.stop(process).await.context(failed.clone())?;
        }
        bail!(failed)
    }

    async fn stop(&self, mut process: SchedulerProcess) -> anyhow::Result<()> {
        let name = process.scheduler().name.clone();
        if let Err(error) = switch::stop(&self.sched_ext, &self.registry, &mut process).await {
            bail!("{name} cannot be stopped: {error}");
        }
        ensure!(
            self.sched_ext.read() == KernelState::Disabled,
            "{name} was stopped, but {}",
            self.says()
        );
        Ok(())
    }
}
