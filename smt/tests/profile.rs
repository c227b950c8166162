//! Injectors as processes, and `auto-ext-smt profile` on the machine that there is: it may have no hardware threads and no counters.

#![expect(clippy::unwrap_used, reason = "a test speaks to its runner")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use auto_ext_smt::injector::{Injector, Level};
use auto_ext_smt::model::Resource;
use auto_ext_smt::profile::{Lab as _, Machine};

const PROGRAM: &str = env!("CARGO_BIN_EXE_auto-ext-smt");

/// A process that loads a resource of the first CPU.
fn injector(kind: &str, level: &str) -> Child {
    let mut command = Command::new(PROGRAM);
    command.args(["injector", kind, level, "--cpu", &first_cpu()]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let said = child.stdout.take().unwrap();
    BufReader::new(said).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n", "{kind} {level}");
    child
}

fn field(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim().to_owned()
}

/// The first on which this process may run.
fn first_cpu() -> String {
    let all = field(std::process::id(), "Cpus_allowed_list:");
    all.split(['-', ',']).next().unwrap().to_owned()
}

fn is_root() -> bool {
    field(std::process::id(), "Uid:").starts_with("0\t")
}

#[test]
fn an_injector_has_one_cpu_and_no_privileges_and_runs_until_it_is_killed() {
    for (kind, level) in [
        ("int_port", "high"),
        ("fp_port", "high"),
        ("l1_dcache", "low"),
        ("l2_cache", "high"),
        ("l1_dtlb", "high"),
    ] {
        let mut child = injector(kind, level);
        let pid = child.id();
        assert_eq!(field(pid, "Cpus_allowed_list:"), first_cpu());
        assert_eq!(field(pid, "NoNewPrivs:"), "1");
        assert_eq!(field(pid, "CapEff:"), "0000000000000000");
        assert_eq!(field(pid, "CapPrm:"), "0000000000000000");
        if is_root() {
            assert_eq!(field(pid, "Uid:"), "65534\t65534\t65534\t65534");
            assert_eq!(field(pid, "Gid:"), "65534\t65534\t65534\t65534");
            assert_eq!(field(pid, "Groups:"), "");
        }
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }
}

#[test]
fn an_injector_ends_with_whoever_started_it() {
    let script = format!(
        "{PROGRAM} injector int_port high --cpu {} & echo $!; wait",
        first_cpu()
    );
    let mut shell = Command::new("sh")
        .args(["-c", &script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(shell.stdout.take().unwrap()).lines();
    let mut line = || said.next().unwrap().unwrap();
    let (one, other) = (line(), line());
    let pid = if one == "ready" { other } else { one };
    assert!(fs::exists(format!("/proc/{pid}")).unwrap());
    shell.kill().unwrap();
    shell.wait().unwrap();
    // It holds the other end of the pipe as long as it runs.
    assert!(said.next().is_none());
}

#[test]
fn what_is_no_injector_or_no_cpu_is_refused_in_one_line() {
    for (arguments, what) in [
        (["l4_cache", "low", "0"], "no injector of l4_cache"),
        (["l2_cache", "most", "0"], "most is none of low"),
        (["l2_cache", "medium", "0"], "l2_cache has no level medium"),
        (["int_port", "high", "8191"], "cannot run on CPU 8191"),
    ] {
        let [kind, level, cpu] = arguments;
        let mut command = Command::new(PROGRAM);
        command.args(["injector", kind, level, "--cpu", cpu]);
        let output = command.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(what), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_profile_that_cannot_be_made_is_refused_in_one_line_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (state, run) = (directory.path().join("state"), directory.path().join("run"));
    let mut command = Command::new(PROGRAM);
    command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent");
    command.arg("--state").arg(&state).arg("--run").arg(&run);
    command.args(["profile", "no-such.service", "--inject", "--for", "1s"]);
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    let reasons = [
        "no core has two hardware threads",
        "instructions per cycle: unavailable",
        "no group is called no-such.service",
    ];
    assert!(
        reasons.iter().any(|reason| error.contains(reason)),
        "{error}"
    );
    assert!(output.stdout.is_empty());
    assert!(!state.exists() && !run.exists());
}

/// The processes that run with these arguments.
fn running(arguments: &[&str]) -> usize {
    let wanted = arguments.join("\0");
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let line = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("cmdline")).ok();
    let lines = processes.filter_map(line);
    lines.filter(|line| line.contains(&wanted)).count()
}

#[test]
fn the_lab_counts_injectors_or_says_why_not_and_leaves_none_behind() {
    let cpu: u32 = first_cpu().parse().unwrap();
    let injector = Injector::new(Resource::L1Dtlb, Level::Low).unwrap();
    let arguments = ["injector", "l1_dtlb", "low"];
    let mut lab = Machine::new(Path::new("/"), Path::new(PROGRAM));
    match lab.begin(&[(injector, cpu)]) {
        Ok(()) => {
            assert_eq!(running(&arguments), 1);
            let before = lab.look().unwrap().injectors[0];
            lab.wait(Duration::from_millis(200));
            let now = lab.look().unwrap().injectors[0];
            assert!(now.enabled > before.enabled, "{now:?}");
            lab.end();
        }
        // As a person or in a virtual machine.
        Err(why) => assert!(
            why.contains("no counters") || why.contains("not permitted"),
            "{why}"
        ),
    }
    assert_eq!(running(&arguments), 0);
}
