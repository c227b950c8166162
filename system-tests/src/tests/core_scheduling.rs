//! Core scheduling, beside which no scheduler is loaded: on a machine with SMT, and on one without, where it is of no account; nor is it
//! where the kernel has none, as those of the test machine.

use std::fs;
use std::process::{Child, Command};

use anyhow::{Context as _, bail, ensure};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{CoreSchedulingScope, create_core_scheduling_cookie};

use crate::service::{self, Bus};
use crate::{kernel, policy, wait};

/// Whatever the load is, a scheduler is wanted.
const ALWAYS_BPFLAND: &str =
    "version: 1\nrules: [{class: idle, use: [scx_bpfland, kernel]}]\nstability: {min_run: 1s}\n";

/// What every refusal says.
const SAYS: &str = "uses core scheduling (PR_SCHED_CORE)";

pub(super) fn beside_a_cookie_no_scheduler_is_loaded_until_it_has_gone() -> anyhow::Result<()> {
    ensure!(
        smt()? == "1",
        "the machine is to have two threads a core: {}",
        smt()?
    );
    policy::write(policy::QUIET)?;
    service::restart()?;
    let bus = Bus::connect()?;
    let sleeper = Sleeper::start()?;
    match sleeper.take_cookie() {
        Ok(()) => {}
        // The kernel has no core scheduling (CONFIG_SCHED_CORE).
        Err(Errno::INVAL) => return is_of_no_account(),
        Err(error) => return Err(error).context("the kernel refuses a cookie"),
    }
    // The service may not have looked yet; then it looks before it loads.
    let refused = service::output("auto-ext pin bpfland")?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(1), "{refused:?}");
    ensure!(said.contains(SAYS) && said.contains("sleep"), "{said}");
    wait::until("mode", &"observe".to_owned(), || bus.string("Mode"))?;
    let reason = bus.string("Reason");
    ensure!(
        reason.starts_with("the kernel's own scheduler runs because sleep (process "),
        "{reason}"
    );
    // Neither a policy nor a person brings one any more.
    let failures = || -> anyhow::Result<_> {
        let entries = service::history(50)?.into_iter();
        Ok(entries.filter(|entry| entry["event"] == "failed").count())
    };
    let before = failures()?;
    policy::write(ALWAYS_BPFLAND)?;
    service::say("auto-ext reload")?;
    let refused = service::output("auto-ext pin cosmos")?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(1), "{refused:?}");
    ensure!(said.contains(SAYS), "{said}");
    ensure!(kernel::scheduler() == "kernel", "{}", kernel::scheduler());
    ensure!(failures()? == before, "something was tried");
    let doctor = service::output("auto-ext doctor")?;
    let found = String::from_utf8_lossy(&doctor.stdout).into_owned();
    ensure!(doctor.status.code() == Some(1), "{found}");
    let line = found.lines().find(|line| line.contains(SAYS));
    ensure!(line.is_some_and(|line| line.contains("STOPS")), "{found}");
    drop(sleeper);
    wait::until("scheduler", &"scx_bpfland".to_owned(), kernel::scheduler)?;
    policy::write(policy::QUIET)?;
    service::restart()?;
    wait::until("scheduler at rest", &"kernel".to_owned(), kernel::scheduler).map(drop)
}

pub(super) fn without_smt_core_scheduling_is_of_no_account() -> anyhow::Result<()> {
    ensure!(smt()? == "0", "the machine is to have one thread a core");
    let sleeper = Sleeper::start()?;
    match sleeper.take_cookie() {
        // Without SMT, and without core scheduling.
        Err(Errno::NODEV | Errno::INVAL) => {}
        taken => bail!("there are no cookies without SMT: {taken:?}"),
    }
    is_of_no_account()
}

/// A scheduler is loaded, and nobody speaks of core scheduling.
fn is_of_no_account() -> anyhow::Result<()> {
    policy::write(policy::QUIET)?;
    service::restart()?;
    service::say("auto-ext pin bpfland")?;
    ensure!(kernel::scheduler() == "scx_bpfland");
    let doctor = service::output("auto-ext doctor")?;
    let found = String::from_utf8_lossy(&doctor.stdout).into_owned();
    ensure!(!found.contains("PR_SCHED_CORE"), "{found}");
    service::say("auto-ext unpin")?;
    wait::until("scheduler at rest", &"kernel".to_owned(), kernel::scheduler).map(drop)
}

/// Whether cores have more than one hardware thread, as the kernel says it.
fn smt() -> anyhow::Result<String> {
    const FILE: &str = "/sys/devices/system/cpu/smt/active";
    let text = fs::read_to_string(FILE).with_context(|| format!("failed to read {FILE}"))?;
    Ok(text.trim().to_owned())
}

/// A process that never runs, and ends with this.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> anyhow::Result<Self> {
        let sleep = Command::new("sleep").arg("infinity").spawn();
        Ok(Self(sleep.context("failed to run sleep")?))
    }

    /// Gives it a core scheduling cookie.
    fn take_cookie(&self) -> Result<(), Errno> {
        create_core_scheduling_cookie(Pid::from_child(&self.0), CoreSchedulingScope::ThreadGroup)
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        // It has ended if this fails.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
