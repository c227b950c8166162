//! The hot swap: the new scheduler is there before the old one leaves, and if it fails the old one stays.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};

use crate::load::Load;
use crate::service::{self, Bus};
use crate::{kernel, load, policy, wait};

/// With four hogs bpfland runs; with six more, what `parallel` says.
fn start_with(schedulers: &str, parallel: &str) -> anyhow::Result<Bus> {
    policy::write(&format!(
        "version: 1\nschedulers: {schedulers}\nrules:\n\
         \x20 - {{class: parallel, when: {{parallel: high}}, use: {parallel}}}\n\
         \x20 - {{class: cpu, when: {{cpu: high}}, use: [scx_bpfland, kernel]}}\n\
         \x20 - {{class: idle, use: [kernel]}}\n\
         stability: {{min_run: 1s, max_switches_per_hour: 1000}}\n"
    ))?;
    service::restart()?;
    Bus::connect()
}

pub(super) fn the_old_scheduler_runs_until_the_new_one_is_loaded() -> anyhow::Result<()> {
    let bus = start_with("{}", "[scx_cosmos, kernel]")?;
    let hogs = Load::of_class("cpu").start()?;
    wait::until("scheduler", &"scx_bpfland".to_owned(), kernel::scheduler)?;
    wait::until("switches", &1, || {
        bus.number("Switches").unwrap_or_default()
    })?;
    let enabled = enabled_at_rest();
    let done = AtomicBool::new(false);
    let gap = thread::scope(|scope| {
        let sampler = scope.spawn(|| longest_time_disabled(&done));
        let watched = (|| {
            let _more = load::start("stress-ng --quiet --cpu 6")?;
            let both = || {
                let new = service::output("pgrep -x scx_cosmos").is_ok_and(|o| o.status.success());
                (new, kernel::scheduler())
            };
            wait::until("both at once", &(true, "scx_bpfland".to_owned()), both)?;
            wait::until("new scheduler", &"scx_cosmos".to_owned(), kernel::scheduler)?;
            wait::until("old process", &false, || {
                service::output("pgrep -x scx_bpfland").is_ok_and(|o| o.status.success())
            })?;
            ensure!(
                kernel::enable_seq() == enabled + 1,
                "more than one scheduler was enabled"
            );
            Ok(())
        })();
        done.store(true, Ordering::Relaxed);
        let gap = sampler
            .join()
            .map_err(|_| anyhow!("the sampler panicked"))?;
        watched.map(|()| gap)
    })?;
    eprintln!("\n  longest time disabled, as sampled beside ten hogs: {gap:.1?}");
    drop(hogs);
    // The next test is to begin with a service that has nothing on its way.
    wait::until("scheduler at rest", &"kernel".to_owned(), kernel::scheduler)?;
    Ok(())
}

/// How many schedulers were enabled since boot, once that is at rest.
fn enabled_at_rest() -> u64 {
    loop {
        let before = kernel::enable_seq();
        thread::sleep(Duration::from_secs(1));
        if kernel::enable_seq() == before {
            return before;
        }
    }
}

/// The longest time in which the kernel said `disabled` without a break, until `done`.
fn longest_time_disabled(done: &AtomicBool) -> Duration {
    let (mut longest, mut since) = (Duration::ZERO, None);
    while !done.load(Ordering::Relaxed) {
        if kernel::state() == "disabled" {
            let since = *since.get_or_insert_with(Instant::now);
            longest = longest.max(since.elapsed());
        } else {
            since = None;
        }
        // A sampler that never sleeps is one more hog, and the schedulers suffer.
        thread::sleep(Duration::from_micros(500));
    }
    longest
}

pub(super) fn when_the_new_scheduler_fails_the_old_one_runs_on_untouched() -> anyhow::Result<()> {
    fs::create_dir_all("/usr/local/bin")?;
    let dies = "/usr/local/bin/scx_dies";
    fs::write(dies, "#!/bin/sh\necho 'Error: no such luck' >&2\nexit 7\n")?;
    fs::set_permissions(dies, fs::Permissions::from_mode(0o755))?;
    let bus = start_with(
        "{dies: {command: scx_dies}, lavd: {command: scx_lavd}, \
         cosmos-of-nonsense: {command: scx_cosmos, args: [--nonsense]}}",
        "[dies, cosmos-of-nonsense, lavd, scx_bpfland]",
    )?;
    let _hogs = Load::of_class("cpu").start()?;
    wait::until("scheduler", &"scx_bpfland".to_owned(), kernel::scheduler)?;
    wait::until("owner", &"auto-ext".to_owned(), || {
        bus.string("CurrentOwner")
    })?;
    let before = (enabled_at_rest(), bus.number("SchedulerPid")?);
    let _more = load::start("stress-ng --quiet --cpu 6")?;
    // The first two end by themselves, the third is killed while it loads.
    wait::until("a scheduler that loads", &true, || {
        service::output("pgrep -x scx_lavd").is_ok_and(|output| output.status.success())
    })?;
    thread::sleep(Duration::from_secs(2));
    service::say("pkill -KILL -x scx_lavd")?;
    wait::until("all three given up", &3, || {
        let quarantined = service::busctl("Quarantined").unwrap_or_default();
        ["dies", "cosmos-of-nonsense", "lavd"]
            .iter()
            .filter(|n| quarantined.contains(*n))
            .count()
    })?;
    wait::until("desired", &"scx_bpfland".to_owned(), || {
        bus.string("DesiredScheduler")
    })?;
    ensure!(
        bus.string("LastError") == "lavd: was killed by SIGKILL",
        "{}",
        bus.string("LastError")
    );
    ensure!(kernel::scheduler() == "scx_bpfland");
    let after = (kernel::enable_seq(), bus.number("SchedulerPid")?);
    ensure!(
        before == after,
        "enable_seq and process were {before:?}, are {after:?}"
    );
    Ok(())
}
