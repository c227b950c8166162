//! Switches that come to nothing before a kernel is needed: the processes are real, sched_ext is a
//! directory.

use std::fs;

use auto_ext_core::Cause;
use tokio::time::sleep;

use super::hot::ATTACH_WITHIN;
use super::wait::DISABLE_WITHIN;
use super::*;
use crate::foreign::ANSWER_WITHIN;
use crate::process::{GONE_WITHIN, LEAVE_WITHIN};

const POLL: Duration = Duration::from_millis(5);

/// A program that never attaches, with a number of seconds to find it by.
fn sleeper(name: &str, seconds: &str) -> Scheduler {
    Scheduler {
        name: name.into(),
        command: "/usr/bin/sleep".into(),
        args: vec![seconds.into()],
    }
}

fn sleeps(seconds: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut words = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    words.any(|words| words.ends_with(format!("sleep\0{seconds}\0").as_bytes()))
}

/// A kernel in which a scheduler is enabled.
fn kernel() -> (tempfile::TempDir, SchedExt) {
    let sys = tempfile::tempdir().unwrap();
    let directory = sys.path().join("kernel/sched_ext");
    fs::create_dir_all(directory.join("root")).unwrap();
    fs::write(directory.join("state"), "enabled\n").unwrap();
    fs::write(directory.join("root/ops"), "old\n").unwrap();
    let sched_ext = SchedExt::below(sys.path());
    (sys, sched_ext)
}

/// Begins to switch from one sleeper to another, which is not to be there any more afterwards.
async fn from_sleeper_to(
    seconds: &str,
    load_within: Duration,
    cancel: watch::Receiver<bool>,
) -> Failure {
    let (_sys, sched_ext) = kernel();
    let registry = ProcessRegistry::default();
    let cgroups = Cgroups::of(None);
    let old = SchedulerProcess::start(&sleeper("old", "1000"), &registry, &cgroups).unwrap();
    let switch = Switch {
        sched_ext,
        registry,
        cgroups,
        to: Candidate::Scheduler(sleeper("new", seconds)),
        replace_foreign: false,
        load_within,
        disable_within: DISABLE_WITHIN,
    };
    let outcome = switch.make(Some(old), cancel).await;
    let mut running = outcome.running.unwrap();
    assert_eq!(running.scheduler().name, "old");
    assert_eq!(running.has_ended(), None);
    assert_eq!(outcome.crashed, None);
    assert!(!sleeps(seconds));
    outcome.result.unwrap_err()
}

#[tokio::test]
async fn one_that_does_not_load_in_time_is_ended_and_the_old_one_stays() {
    let (_sender, cancel) = watch::channel(false);
    let failure = from_sleeper_to("1001", Duration::from_millis(50), cancel).await;
    assert_eq!(failure.error, "not loaded 50ms after its start");
    assert_eq!(failure.fault, Fault::New(Cause::TooSlow));
}

#[tokio::test]
async fn one_that_is_cancelled_is_ended_and_the_old_one_stays() {
    let (sender, cancel) = watch::channel(false);
    let cancelled = async {
        while !sleeps("1002") {
            sleep(POLL).await;
        }
        sender.send(true).unwrap();
    };
    let switched = from_sleeper_to("1002", LOAD_WITHIN, cancel);
    let (failure, ()) = tokio::join!(switched, cancelled);
    assert_eq!(failure.fault, Fault::Cancelled);
}

/// The longest way from SIGTERM to the end: a switch that has begun waits for the kernel, for somebody
/// else's scheduler and for its own to be attached, which then has to be stopped again.
#[test]
fn the_unit_gives_a_stop_the_time_that_all_limits_add_up_to() {
    let unit = include_str!("../../../systemd/auto-ext.service");
    let stop = DISABLE_WITHIN.max(LEAVE_WITHIN + GONE_WITHIN);
    let switch = DISABLE_WITHIN + ANSWER_WITHIN + DISABLE_WITHIN + ATTACH_WITHIN;
    let limits = switch + stop;
    let given = unit
        .lines()
        .find_map(|line| line.strip_prefix("TimeoutStopSec="))
        .unwrap();
    assert!(humantime::parse_duration(given).unwrap() > limits);
    assert!(unit.contains(&format!("add up to {} s", limits.as_secs())));
}

#[tokio::test]
async fn one_whose_process_is_gone_is_not_put_back_though_the_kernel_holds_on_to_it() {
    let (sys, sched_ext) = kernel();
    // It has asked the kernel to end it, and the kernel hangs.
    fs::write(sys.path().join("kernel/sched_ext/state"), "disabling\n").unwrap();
    let (registry, cgroups) = (ProcessRegistry::default(), Cgroups::of(None));
    let old = SchedulerProcess::start(&sleeper("old", "1003"), &registry, &cgroups).unwrap();
    let switch = Switch {
        sched_ext,
        registry,
        cgroups,
        to: Candidate::Kernel,
        replace_foreign: false,
        load_within: LOAD_WITHIN,
        disable_within: Duration::from_millis(200),
    };
    let (_sender, cancel) = watch::channel(false);
    let outcome = switch.make(Some(old), cancel).await;
    assert!(outcome.running.is_none(), "{:?}", outcome.running);
    assert!(!sleeps("1003"));
    let (scheduler, end) = outcome.crashed.unwrap();
    assert_eq!((&*scheduler.name, end.cause), ("old", Cause::Stuck));
    let failure = outcome.result.unwrap_err();
    assert_eq!(failure.fault, Fault::Old);
    assert!(failure.error.contains("Disabling"), "{}", failure.error);
}

#[tokio::test]
async fn a_scheduler_behind_a_shell_that_does_not_wait_for_it_leaves_the_clean_way() {
    let directory = tempfile::tempdir().unwrap();
    let left = directory.path().join("left");
    // dash dies of SIGINT at once; what it runs puts something back first.
    let text = format!(
        "/bin/sh -c 'trap \"sleep 0.3; echo well >{left}; exit 0\" INT; while :; do sleep 0.05; done'; true",
        left = left.display()
    );
    let scheduler = Scheduler {
        name: "wrapped".into(),
        command: "/bin/sh".into(),
        args: vec!["-c".into(), text],
    };
    let (registry, cgroups) = (ProcessRegistry::default(), Cgroups::of(None));
    let mut process = SchedulerProcess::start(&scheduler, &registry, &cgroups).unwrap();
    // Until its trap is set.
    sleep(Duration::from_millis(500)).await;
    assert_eq!(process.stop().await, Ok(None));
    assert_eq!(fs::read_to_string(left).unwrap(), "well\n");
}
