//! Switches that come to nothing before a kernel is needed: the processes are real, sched_ext is a
//! directory.

use std::fs;

use tokio::time::sleep;

use super::seat::ATTACH_WITHIN;
use super::wait::DISABLE_WITHIN;
use super::*;
use crate::foreign::ANSWER_WITHIN;
use crate::scheduler_process::{GONE_WITHIN, LEAVE_WITHIN};

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
    let children = Children::default();
    let cgroups = Cgroups::of(None);
    let old = SchedulerProcess::start(&sleeper("old", "1000"), &children, &cgroups).unwrap();
    let switch = Switch {
        sched_ext,
        children,
        cgroups,
        to: Candidate::Scheduler(sleeper("new", seconds)),
        replace_foreign: false,
        load_within,
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
async fn one_that_is_called_off_is_ended_and_the_old_one_stays() {
    let (sender, cancel) = watch::channel(false);
    let called_off = async {
        while !sleeps("1002") {
            sleep(POLL).await;
        }
        sender.send(true).unwrap();
    };
    let switched = from_sleeper_to("1002", LOAD_WITHIN, cancel);
    let (failure, ()) = tokio::join!(switched, called_off);
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
