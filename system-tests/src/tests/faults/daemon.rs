//! The daemon's own end, at every step of a swap: killed, stopped, asked to leave.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::ensure;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::drop_in::DropIn;
use crate::leftovers;
use crate::service::{self, Bus};
use crate::{kernel, pinning, wait};

const CGROUP: &str = "/sys/fs/cgroup/system.slice/auto-ext.service";

/// A step of the swap from scx_bpfland to scx_cosmos, and how to get there.
struct Step {
    what: &'static str,
    /// Begins with the pin under way.
    reach: fn(old: Pid) -> anyhow::Result<()>,
}

const STEPS: [Step; 4] = [
    Step {
        what: "loading",
        reach: |_| {
            let new = pinning::loading("scx_cosmos")?;
            // What is stopped does not get any further meanwhile.
            pinning::send(Signal::SIGSTOP, new)
        },
    },
    Step {
        what: "waiting to attach",
        reach: |old| {
            // The new one waits for the old one, which does not hear that it is to leave.
            pinning::send(Signal::SIGSTOP, old)?;
            quickly("attach pending", || {
                pinning::processes("scx_cosmos").iter().any(|new| {
                    let waits_in = fs::read_to_string(format!("/proc/{new}/wchan"));
                    waits_in.is_ok_and(|name| name.contains("seccomp"))
                }) && signal_is_pending(old)
            })
        },
    },
    Step {
        what: "attaching",
        reach: |_| quickly("attaching", || kernel::state() == "enabling"),
    },
    Step {
        what: "attached",
        reach: |_| quickly("attached", || kernel::scheduler() == "scx_cosmos"),
    },
];

pub(in crate::tests) fn a_daemon_that_is_killed_at_any_step_of_a_swap_leaves_a_sane_machine()
-> anyhow::Result<()> {
    let _soon = DropIn::install("RestartSec=200ms")?;
    eprintln!();
    for step in &STEPS {
        let daemon = reach(step)?;
        let begun = Instant::now();
        pinning::send(Signal::SIGKILL, daemon)?;
        wait::until(step.what, &"disabled".to_owned(), kernel::state)?;
        let kernels_own = begun.elapsed();
        let bus = next_daemon(daemon)?;
        eprintln!(
            "  {}: the kernel's own after {kernels_own:.1?}, the next daemon after {:.1?}",
            step.what,
            begun.elapsed()
        );
        is_clear(step.what, &bus)?;
    }
    super::switches_there_and_back(&Bus::connect()?)
}

pub(in crate::tests) fn a_daemon_that_is_asked_to_leave_at_any_step_of_a_swap_leaves_nothing()
-> anyhow::Result<()> {
    eprintln!();
    for step in &STEPS {
        let daemon = reach(step)?;
        let begun = Instant::now();
        pinning::send(Signal::SIGTERM, daemon)?;
        wait::until(step.what, &"inactive".to_owned(), || {
            service::output("systemctl is-active auto-ext.service")
                .map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned())
                .unwrap_or_default()
        })?;
        eprintln!("  {}: stopped after {:.1?}", step.what, begun.elapsed());
        ensure!(kernel::state() == "disabled", "{}", kernel::state());
        ensure!(
            leftovers::schedulers().is_empty(),
            "{}: {:?}",
            step.what,
            leftovers::schedulers()
        );
    }
    Ok(())
}

pub(in crate::tests) fn a_daemon_that_hangs_is_replaced_by_another() -> anyhow::Result<()> {
    let _soon = DropIn::install("WatchdogSec=3s\nRestartSec=200ms")?;
    let bus = pinning::start_with("")?;
    pinning::start_bpfland(&bus)?;
    let daemon = Pid::from_raw(i32::try_from(pinning::daemon()?)?);
    // One that works is left alone, though the limit is far below the usual one.
    sleep(Duration::from_secs(4));
    ensure!(service::process()? == daemon.to_string());
    pinning::send(Signal::SIGSTOP, daemon)?;
    let begun = Instant::now();
    wait::until("state", &"disabled".to_owned(), kernel::state)?;
    let bus = next_daemon(daemon)?;
    eprintln!("\n  another daemon after {:.1?}", begun.elapsed());
    is_clear("hung", &bus)
}

/// Where the daemon keeps what the next one needs.
const DIRECTORIES: [&str; 2] = ["/var/lib/auto-ext", "/run/auto-ext"];

pub(in crate::tests) fn a_second_daemon_says_who_runs_and_changes_nothing() -> anyhow::Result<()> {
    let bus = pinning::start_with("")?;
    let scheduler = pinning::start_bpfland(&bus)?.pid()?;
    let first = service::process()?;
    let (enabled, before) = (kernel::enable_seq(), files()?);
    let begun = boot_file()?;
    for words in ["", "--bus none", "--bus session", "--observe"] {
        let second = service::output(&format!("auto-ext daemon {words}"))?;
        let said = String::from_utf8_lossy(&second.stderr);
        ensure!(
            second.status.code() == Some(1) && said.contains(&format!("process {first},")),
            "{words}: {}: {said}",
            second.status
        );
    }
    // This one may: it starts nothing, and nobody finds it where they look for the service.
    let policy = "/tmp/beside.yaml";
    let metrics = "metrics: {textfile: /run/auto-ext/beside.prom, every: 1s, listen: /run/auto-ext/beside.sock}";
    fs::write(
        policy,
        format!("version: 1\nrules: [{{class: idle, use: [kernel]}}]\n{metrics}\n"),
    )?;
    let log = "/tmp/beside.log";
    let mut beside = Command::new("auto-ext")
        .args(["daemon", "--observe", "--bus", "none", "--config", policy])
        .stderr(fs::File::create(log)?)
        .spawn()?;
    let says = |word: &str| fs::read_to_string(log).is_ok_and(|said| said.contains(word));
    wait::until("the daemon beside it", &true, || says("running"))?;
    pinning::send(Signal::SIGTERM, Pid::from_raw(beside.id().try_into()?))?;
    let ended = beside.wait()?;
    ensure!(
        ended.success() && says("stopped"),
        "{ended}: {}",
        fs::read_to_string(log)?
    );
    ensure!(files()? == before, "{before:?}, now {:?}", files()?);
    ensure!(boot_file()? == begun, "{begun}, now {}", boot_file()?);
    ensure!(
        service::process()? == first
            && kernel::enable_seq() == enabled
            && pinning::processes("scx_bpfland") == [scheduler],
        "the first daemon or its scheduler has gone"
    );
    super::says_what_the_kernel_says("beside others", &bus)?;

    // The lock goes with the process, however it ends.
    let _soon = DropIn::install("RestartSec=200ms")?;
    let first = Pid::from_raw(first.parse()?);
    pinning::send(Signal::SIGKILL, first)?;
    let bus = next_daemon(first)?;
    is_clear("killed", &bus)?;

    // One that cannot have its name ends as if it was asked to.
    service::stop()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _owner = runtime.block_on(async {
        let owner = zbus::Connection::system().await?;
        owner.request_name("org.autoext.AutoExt1").await?;
        anyhow::Ok(owner)
    })?;
    let refused = service::output("auto-ext daemon")?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(refused.status.code() == Some(1), "{said}");
    let boot: serde_json::Value = serde_json::from_str(&boot_file()?)?;
    ensure!(boot["good"] == true, "the boot counts as failed: {boot}");
    let history = fs::read_to_string("/var/lib/auto-ext/history.jsonl")?;
    let last: serde_json::Value = serde_json::from_str(history.lines().last().unwrap_or_default())?;
    ensure!(
        last["event"] == "stopped"
            && last["error"]
                .as_str()
                .is_some_and(|why| why.contains("taken")),
        "{last}"
    );
    Ok(())
}

pub(in crate::tests) fn restarts_of_a_healthy_daemon_count_for_nothing_and_one_that_always_fails_stays_down()
-> anyhow::Result<()> {
    let _soon = DropIn::install("RestartSec=200ms\nRestartSteps=0")?;
    pinning::start_with("")?;
    for time in 1..=8 {
        let said = service::output("systemctl restart auto-ext.service")?;
        ensure!(said.status.success(), "restart {time}: {said:?}");
    }
    let property = |name: &str| {
        service::say(&format!(
            "systemctl show --property={name} --value auto-ext.service"
        ))
    };
    let mut killed = 0;
    while property("ActiveState")? != "failed" {
        ensure!(killed <= 7, "started once more after {killed} failures");
        let daemon = service::process()?.parse()?;
        // Between two starts there is none.
        if daemon > 0 && pinning::send(Signal::SIGKILL, Pid::from_raw(daemon)).is_ok() {
            killed += 1;
            wait::until("the end of the daemon", &true, || {
                service::process().is_ok_and(|now| now != daemon.to_string())
            })?;
        }
        sleep(Duration::from_millis(50));
    }
    eprintln!("\n  down after {killed} failures: {}", property("Result")?);
    ensure!(kernel::state() == "disabled" && leftovers::schedulers().is_empty());
    super::switches_there_and_back(&pinning::start_with("")?)
}

/// All files there, each with its number and its last change: one that was written anew is another.
fn files() -> anyhow::Result<BTreeMap<String, (u64, i64, i64)>> {
    let mut files = BTreeMap::new();
    for directory in DIRECTORIES {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let file = entry.metadata()?;
            let change = (file.ino(), file.ctime(), file.ctime_nsec());
            files.insert(entry.path().display().to_string(), change);
        }
    }
    Ok(files)
}

fn boot_file() -> anyhow::Result<String> {
    Ok(fs::read_to_string("/var/lib/auto-ext/boot.json")?)
}

/// Starts a swap and goes to that step of it; returns the daemon.
fn reach(step: &Step) -> anyhow::Result<Pid> {
    let bus = pinning::start_with("")?;
    let old = pinning::start_bpfland(&bus)?.pid()?;
    let daemon = Pid::from_raw(i32::try_from(pinning::daemon()?)?);
    pinning::ask("cosmos")?;
    (step.reach)(old)?;
    Ok(daemon)
}

/// Waits for the daemon after `last`.
fn next_daemon(last: Pid) -> anyhow::Result<Bus> {
    wait::until("another daemon", &true, || {
        service::process().is_ok_and(|now| now != last.to_string() && now != "0")
    })?;
    let bus = Bus::connect()?;
    wait::until("mode", &"auto".to_owned(), || bus.string("Mode"))?;
    Ok(bus)
}

/// Checks that nothing of the last daemon is left.
fn is_clear(what: &str, bus: &Bus) -> anyhow::Result<()> {
    super::says_what_the_kernel_says(what, bus)?;
    ensure!(kernel::state() == "disabled", "{what}: {}", kernel::state());
    let left = leftovers::schedulers();
    ensure!(left.is_empty(), "{what}: {left:?}");
    let cgroups: Vec<_> = fs::read_dir(CGROUP)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .filter(|name: &io::Result<String>| {
            name.as_ref()
                .is_ok_and(|name| name.starts_with("scheduler-"))
        })
        .collect::<Result<_, _>>()?;
    ensure!(cgroups.is_empty(), "{what}: {cgroups:?}");
    Ok(())
}

/// Whether a process was sent a signal that it has not taken.
fn signal_is_pending(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pending = |name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.is_some_and(|set| set.trim().contains(|digit| digit != '0'))
    };
    pending("ShdPnd:") || pending("SigPnd:")
}

/// Waits for what lasts only for a moment.
fn quickly(what: &str, mut condition: impl FnMut() -> bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !condition() {
        ensure!(begun.elapsed() < wait::HANG, "{what}: not reached");
        std::thread::yield_now();
    }
    Ok(())
}
