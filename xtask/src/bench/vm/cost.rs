//! What the service takes beside many guests. The service is the one that is installed, in a mount namespace of its own; the guests are
//! processes that sleep, and who is asked about them is made up (`vm/examples/made_up_host`).

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::PACKAGE;
use crate::bench::daemon::{environment, status, used};
use crate::command::{Running, command};
use crate::{ebpf, workspace};

/// How much is measured.
pub(super) struct Size {
    guests: u32,
    /// How often they are looked at, in seconds.
    interval: u64,
    /// After so many seconds the guests are known.
    beginning: u64,
    /// What it takes is measured for so many.
    seconds: u64,
}

/// What it may take at most, in percent of a CPU and in MiB.
const BAR: (f64, f64) = (1.0, 15.0);

/// Has the directories of the service be those that are given.
const START: &str = r#"
set -e
mount --bind "$1/run" /run
mount --bind "$1/lib" /var/lib
exec "$2" daemon --bus none --config "$1/vm.yaml"
"#;

impl Size {
    /// What the bar is about, measured for so many seconds.
    pub(super) fn whole(seconds: u64) -> Self {
        Self {
            guests: 500,
            interval: 5,
            beginning: 12,
            seconds,
        }
    }

    /// Enough to show that it can be measured, and nothing to hold to the bar.
    pub(super) const QUICK: Self = Self {
        guests: 20,
        interval: 1,
        beginning: 2,
        seconds: 2,
    };

    /// Both halves act, as it takes most; there is nothing to do for them.
    fn config(&self) -> String {
        let Self { interval, .. } = self;
        format!(
            "version: 1\ninterval: {interval}s\ncpu: {{mode: pin}}\nmemory: {{mode: balloon}}\n"
        )
    }

    fn verdict(&self, cpu: f64, mib: f64) -> String {
        if self.guests == Self::QUICK.guests {
            return "(a try, and no measurement)".to_owned();
        }
        let is_kept = cpu <= BAR.0 && mib <= BAR.1;
        let verdict = if is_kept { "holds" } else { "MISSED" };
        format!("(bar {} %, {} MiB) {verdict}", BAR.0, BAR.1)
    }
}

/// Measures, and says what came of it.
pub(super) fn of_service(size: &Size) -> Result<String> {
    ebpf::build_of_release(&["--quiet", "--bin=auto-ext-vm", "--example=made_up_host"])?;
    let directory = tempfile::tempdir().context("no place for the service's files")?;
    let at = |name: &str| directory.path().join(name);
    for name in ["run/auto-ext-vm", "lib/auto-ext-vm"] {
        fs::create_dir_all(at(name))?;
    }
    fs::write(at("vm.yaml"), size.config())?;
    let _guests = guests(&at("run"), size.guests)?;
    let log = File::create(at("log"))?;
    let mut unshare = command("unshare");
    unshare
        .args(["--mount", "sh", "-c", START, "sh"])
        .arg(directory.path())
        .arg(workspace::release(PACKAGE))
        .envs(environment("systemd/auto-ext-vm.service")?)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let mut service = Running::start(&mut unshare)?;
    let pid = service.0.id();
    sleep(Duration::from_secs(size.beginning));
    let before = used(pid)?;
    sleep(Duration::from_secs(size.seconds));
    let after = used(pid)?;
    ensure!(service.0.try_wait()?.is_none(), "the service has ended");
    let said = fs::read_to_string(at("log"))?;
    // Whoever sees nothing takes nothing.
    ensure!(said.is_empty(), "the service said:\n{said}");
    let ns = after.cpu_ns.saturating_sub(before.cpu_ns) as f64;
    let cpu = ns / 1e9 / size.seconds as f64 * 100.0;
    let mib = |name| anyhow::Ok(status(pid, name)? / 1024.0);
    let (now, most) = (mib("VmRSS")?, mib("VmHWM")?);
    let Size {
        guests,
        interval,
        seconds,
        ..
    } = size;
    let verdict = size.verdict(cpu, most);
    Ok(format!(
        "the service beside {guests} guests of 4 vCPUs, every {interval} s: {cpu:.2} % of a CPU over {seconds} s, {now:.1} MiB, at most {most:.1} \
         {verdict}\n"
    ))
}

/// Starts the guests and who answers for them.
fn guests(run: &Path, guests: u32) -> Result<Running> {
    let mut host = command(workspace::release("examples/made_up_host"));
    host.arg(run)
        .arg(guests.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut host = Running::start(&mut host)?;
    let said = host.0.stdout.take().context("it says nothing")?;
    let mut line = String::new();
    BufReader::new(said).read_line(&mut line)?;
    ensure!(line == "ready\n", "the guests were not started");
    Ok(host)
}
