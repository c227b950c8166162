//! Switching by hand: pinning, catching a scheduler while it loads, and what a failure must
//! not change.

use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::service::{self, Bus};
use crate::{kernel, leftovers, policy, wait};

/// Starts the service with these schedulers in its policy, none of which it starts by itself.
pub(crate) fn start_with(schedulers: &str) -> anyhow::Result<Bus> {
    policy::write(&format!(
        "version: 1\nschedulers: {{{schedulers}}}\nrules: [{{class: idle, use: [kernel]}}]\n"
    ))?;
    service::restart()?;
    let bus = Bus::connect()?;
    wait::until("mode", &"auto".to_owned(), || bus.string("Mode"))?;
    Ok(bus)
}

/// `auto-ext pin` on its way. It is gone with this.
pub(crate) struct Pinning(Option<Child>);

/// Starts `auto-ext pin` with these words.
pub(crate) fn pin(words: &str) -> anyhow::Result<Pinning> {
    Command::new("auto-ext")
        .arg("pin")
        .args(words.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map(|child| Pinning(Some(child)))
        .context("failed to run `auto-ext pin`")
}

impl Pinning {
    /// Waits for its end.
    pub(crate) fn output(mut self) -> anyhow::Result<Output> {
        let child = self.0.take().context("it has been waited for")?;
        Ok(child.wait_with_output()?)
    }

    /// Waits for its end, which must be a failure that is said in one line; returns that line.
    pub(crate) fn fails(self) -> anyhow::Result<String> {
        let output = self.output()?;
        let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        ensure!(
            output.status.code() == Some(1) && output.stdout.is_empty() && !error.contains('\n'),
            "`auto-ext pin` ended with {} and said {error}",
            output.status
        );
        Ok(error)
    }
}

impl Drop for Pinning {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // Only where a test fails; what is left over would make the next ones fail.
            let _ = child.kill().and_then(|()| child.wait());
        }
    }
}

/// Pins a scheduler and waits for nothing, as any other program may do it.
pub(crate) fn ask(name: &str) -> anyhow::Result<()> {
    const DAEMON: &str = "org.autoext.AutoExt1 /org/autoext/AutoExt1 org.autoext.AutoExt1";
    service::say(&format!("busctl call {DAEMON} Pin sasu {name} 0 0")).map(drop)
}

/// The daemon's process.
pub(crate) fn daemon() -> anyhow::Result<u32> {
    let pid = service::process()?.parse().unwrap_or(0);
    ensure!(pid != 0, "the daemon does not run");
    Ok(pid)
}

/// Waits until a process called `name` is there, and stops it at once: it hangs before it has loaded.
pub(crate) fn stop_at_start(name: &str) -> anyhow::Result<Pid> {
    let pid = catch(name, |_| true)?;
    send(Signal::SIGSTOP, pid)?;
    Ok(pid)
}

/// Waits until the scheduler called `name` is half-way through its load: it has BPF maps, and is not
/// enabled.
pub(crate) fn loading(name: &str) -> anyhow::Result<Pid> {
    catch(name, has_maps)
}

/// Waits for a process called `name`, fast enough to be there before it has loaded.
fn catch(name: &str, condition: impl Fn(Pid) -> bool) -> anyhow::Result<Pid> {
    let begun = Instant::now();
    loop {
        let pids = processes(name).into_iter();
        let found = pids.filter(|pid| condition(*pid)).last();
        ensure!(kernel::scheduler() != name, "{name} has loaded already");
        if let Some(pid) = found {
            return Ok(pid);
        }
        ensure!(
            begun.elapsed() < wait::HANG,
            "{name} does not begin to load"
        );
        sleep(Duration::from_millis(2));
    }
}

/// The processes called `name`.
pub(crate) fn processes(name: &str) -> Vec<Pid> {
    let named = leftovers::processes()
        .into_iter()
        .filter(|(_, (_, it))| it == name);
    named
        .filter_map(|(pid, _)| Some(Pid::from_raw(pid.try_into().ok()?)))
        .collect()
}

fn has_maps(pid: Pid) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd"));
    files
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|link| link.as_os_str() == "anon_inode:bpf-map")
}

/// Sends a signal to a process that is there.
pub(crate) fn send(signal: Signal, pid: Pid) -> anyhow::Result<()> {
    kill(pid, signal).with_context(|| format!("{signal} cannot be sent to {pid}"))
}

/// Who sits in the kernel, and what the daemon makes of it.
#[derive(Debug, PartialEq)]
pub(crate) struct ActiveScheduler {
    /// How many schedulers were enabled since boot.
    pub(crate) enabled: u64,
    ops: String,
    pid: u64,
    mode: String,
    desired: String,
}

impl ActiveScheduler {
    /// Looks.
    pub(crate) fn now(bus: &Bus) -> anyhow::Result<Self> {
        Ok(Self {
            enabled: kernel::enable_seq(),
            ops: kernel::ops(),
            pid: bus.number("SchedulerPid")?,
            mode: bus.string("Mode"),
            desired: bus.string("DesiredScheduler"),
        })
    }

    /// The scheduler's process.
    pub(crate) fn pid(&self) -> anyhow::Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.pid)?))
    }
}

/// Pins scx_bpfland, which is to be the old scheduler of what follows.
pub(crate) fn start_bpfland(bus: &Bus) -> anyhow::Result<ActiveScheduler> {
    service::say("auto-ext pin bpfland")?;
    let active = ActiveScheduler::now(bus)?;
    ensure!(
        active.ops.starts_with("bpfland") && active.pid != 0,
        "pinned, but there is {active:?}"
    );
    Ok(active)
}
