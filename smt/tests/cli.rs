//! The command line as people use it: what SMTcheck measured is taken over, trained on, and asked.

#![expect(clippy::unwrap_used, reason = "a test speaks to its runner")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

fn golden(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    serde_json::from_str(&fs::read_to_string(path.join(name)).unwrap()).unwrap()
}

fn run(state: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auto-ext-smt"));
    // No service of this machine has a say in it.
    command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent");
    command.arg("--state").arg(state).args(arguments);
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

fn failed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What pairs of the first golden's jobs would have been measured at, by its own model.
fn pairs(world: &Value) -> Value {
    let mut all = json!({});
    for pair in world["compat"].as_array().unwrap() {
        let [one, other] = ["base", "col"].map(|job| pair[job].to_string());
        let number = |what: &str| world[what][&one].as_f64().unwrap();
        let speed = pair["compat"].as_f64().unwrap() / number("scale");
        all[&one]["single"] = json!(number("solo"));
        all[&one][&other] = json!(number("solo") * speed);
    }
    all
}

#[test]
fn measurements_become_a_model_that_answers() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let world = &golden("scores.json")[0];
    let (measured, combination) = (
        directory.path().join("m.json"),
        directory.path().join("c.json"),
    );
    fs::write(&measured, world["documents"].to_string()).unwrap();
    fs::write(&combination, pairs(world).to_string()).unwrap();
    let files = [measured.to_str().unwrap(), combination.to_str().unwrap()];

    let nothing = failed(&run(&state, &["train"]));
    assert!(nothing.contains("nothing is known of any job"), "{nothing}");
    let dry = said(&run(&state, &["import", files[0], files[1], "--dry-run"]));
    assert!(dry.contains("8 jobs") && dry.contains("64 pairs"), "{dry}");
    assert!(!state.exists(), "a dry run keeps nothing");
    said(&run(&state, &["import", files[0], files[1]]));

    let dry = said(&run(&state, &["train", "--dry-run"]));
    assert!(
        dry.contains("64 pairs of 8 jobs") && dry.contains("would be kept"),
        "{dry}"
    );
    let none = failed(&run(&state, &["score", "0", "1"]));
    assert!(none.contains("there is no model"), "{none}");
    said(&run(&state, &["train"]));

    let score = said(&run(&state, &["score", "0", "1"]));
    let expected = world["scores"].as_array().unwrap();
    let expected = expected
        .iter()
        .find(|row| row[0] == 0 && row[1] == 1)
        .unwrap();
    let expected = format!("together: {:.3} ", expected[2].as_f64().unwrap());
    assert!(score.contains(&expected), "{score}: {expected}");
    let unknown = failed(&run(&state, &["score", "0", "nobody"]));
    assert!(unknown.contains("nothing is known of nobody"), "{unknown}");
}

#[test]
fn what_is_no_document_is_refused_with_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.json");
    fs::write(&file, "{").unwrap();
    let file = file.to_str().unwrap();
    let error = failed(&run(directory.path(), &["import", file, file]));
    assert!(error.contains("x.json"), "{error}");
    let error = failed(&run(
        directory.path(),
        &["import", file, file, "--cpu", "z80"],
    ));
    assert!(error.contains("z80"), "{error}");
}

/// What a command says where the service does not run, for which its exit code is 3.
fn said_alone(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(
        errors.contains("the system bus cannot be reached"),
        "{errors}"
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn status_says_in_one_line_what_there_is_here() {
    let directory = tempfile::tempdir().unwrap();
    let status = said_alone(&run(directory.path(), &["status"]));
    assert_eq!(status.lines().count(), 1, "{status}");
    let status = said_alone(&run(directory.path(), &["status", "--json"]));
    let status: Value = serde_json::from_str(&status).unwrap();
    if status["mode"] == "unavailable" {
        for command in [&["observe"][..], &["plan"]] {
            let said = said(&run(directory.path(), command));
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
    assert!(status["mode"].is_string() && status["reason"].is_string());
    // The counters are tried only where there are cores to share.
    assert_eq!(status["pmu"].is_null(), status["mode"] == "unavailable");
}

#[test]
fn where_nothing_was_placed_there_is_nothing_to_undo() {
    let directory = tempfile::tempdir().unwrap();
    let run_directory = directory.path().join("run");
    let arguments = ["--run", run_directory.to_str().unwrap(), "restore"];
    assert_eq!(
        said(&run(directory.path(), &arguments)),
        "nothing was placed\n"
    );
    assert!(!run_directory.exists(), "nothing is made for it");
}

/// A process that was placed on one CPU, as is written down in a directory.
struct Sleeper {
    process: Child,
    cpu: String,
    ledger: PathBuf,
}

impl Sleeper {
    fn placed(directory: &Path) -> Self {
        let process = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = process.id();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let began = fields.split_whitespace().nth(19).unwrap();
        let all = cpus(pid);
        let cpu = all.split(['-', ',']).next().unwrap().to_owned();
        let mut placed = Command::new("taskset");
        placed.args(["-pc", &cpu, &pid.to_string()]);
        let placed = placed.output().unwrap();
        assert!(placed.status.success(), "{placed:?}");
        let line = format!(
            "{{\"group\":{{\"process_group\":1}},\"pid\":{pid},\"pid_began\":{began},\"tid\":{pid},\"tid_began\":{began},\"cpus\":\"{cpu}\"}}\n"
        );
        let ledger = directory.join("affinity.jsonl");
        fs::write(&ledger, line).unwrap();
        let sleeper = Self {
            process,
            cpu,
            ledger,
        };
        assert!(sleeper.is_placed());
        sleeper
    }

    fn is_placed(&self) -> bool {
        cpus(self.process.id()) == self.cpu && self.ledger.exists()
    }

    fn is_free(&self) -> bool {
        cpus(self.process.id()) != self.cpu && !self.ledger.exists()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where a process may run.
fn cpus(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mut lines = status.lines();
    let list = lines.find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.unwrap().trim().to_owned()
}

#[test]
fn what_was_written_down_is_undone_by_whoever_comes_later() {
    let directory = tempfile::tempdir().unwrap();
    let sleeper = Sleeper::placed(directory.path());
    let run_directory = directory.path().to_str().unwrap();
    let dry = said(&run(
        directory.path(),
        &["--run", run_directory, "restore", "--dry-run"],
    ));
    assert!(
        dry.contains("1 threads would run everywhere again"),
        "{dry}"
    );
    assert!(sleeper.is_placed());
    let done = said(&run(directory.path(), &["--run", run_directory, "restore"]));
    assert!(
        done.contains("1 threads may run everywhere again"),
        "{done}"
    );
    assert!(sleeper.is_free());
}

#[test]
fn who_waits_for_the_end_of_a_command_undoes_what_that_placed_and_no_signal_keeps_it_from_that() {
    let directory = tempfile::tempdir().unwrap();
    let sleeper = Sleeper::placed(directory.path());
    // As long as whoever placed it lives.
    let ledger = fs::File::open(&sleeper.ledger).unwrap();
    ledger.lock().unwrap();
    let mut waits = Command::new(env!("CARGO_BIN_EXE_auto-ext-smt"));
    waits.arg("--run").arg(directory.path());
    waits.args(["restore", "--when-closed"]);
    let waits = waits.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut waits = waits.spawn().unwrap();
    let pid = waits.id().to_string();
    let mut line = String::new();
    let said = waits.stdout.take().unwrap();
    BufReader::new(said).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    for signal in ["-TERM", "-INT", "-HUP"] {
        Command::new("kill").args([signal, &pid]).status().unwrap();
    }
    assert!(sleeper.is_placed());
    drop(waits.stdin.take());
    drop(ledger);
    assert!(waits.wait().unwrap().success());
    assert!(sleeper.is_free());
}

#[test]
fn what_only_the_service_can_do_says_that_it_does_not_run() {
    let directory = tempfile::tempdir().unwrap();
    for command in [
        &["why"][..],
        &["trial"],
        &["trial", "--dry-run"],
        &["pause", "1h"],
        &["resume"],
        &["metrics"],
    ] {
        assert_eq!(
            said_alone(&run(directory.path(), command)),
            "",
            "{command:?}"
        );
    }
    let history = said(&run(directory.path(), &["history"]));
    assert_eq!(history, "nothing was tried yet\n");
    let doctor = run(directory.path(), &["doctor"]);
    let text = String::from_utf8(doctor.stdout.clone()).unwrap();
    assert!(text.contains("the service does not run"), "{text}");
    assert_eq!(doctor.status.success(), !text.contains("no  "), "{text}");
}

#[test]
fn a_configuration_is_checked_with_places_and_has_a_schema() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("smt.yaml");
    let path = file.to_str().unwrap();
    fs::write(&file, "version: 1\nact: trail\n").unwrap();
    let error = failed(&run(directory.path(), &["check", path]));
    assert!(
        error.contains("smt.yaml:2:6: error: ") && error.contains("`trial`"),
        "{error}"
    );
    fs::write(&file, "version: 1\nact: trial\n").unwrap();
    assert!(said(&run(directory.path(), &["check", path])).contains("valid"));
    let schema: Value =
        serde_json::from_str(&said(&run(directory.path(), &["check", "--schema"]))).unwrap();
    assert!(schema["properties"]["act"].is_object());
}

#[test]
fn the_service_runs_and_ends_when_it_is_told_and_two_do_not_run() {
    let directory = tempfile::tempdir().unwrap();
    let runs = directory.path().join("run");
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_auto-ext-smt"));
        command.args(["--run", runs.to_str().unwrap(), "--state"]);
        command
            .arg(directory.path())
            .args(["run", "--observe", "--bus", "none"]);
        command
    };
    let mut first = start().spawn().unwrap();
    while !runs.join("lock").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // Until the first has the lock the second may get it, and is ended too.
    let second = loop {
        let mut second = start();
        let mut second = second.stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
        if second.try_wait().unwrap().is_some() {
            break second.wait_with_output().unwrap();
        }
        second.kill().unwrap();
        second.wait().unwrap();
    };
    assert!(failed(&second).contains("another auto-ext-smt runs already"));
    let pid = first.id().to_string();
    // It may not have begun to listen for signals yet, in which case it ends by them.
    Command::new("kill").arg(&pid).status().unwrap();
    first.wait().unwrap();
    assert!(!runs.join("affinity.jsonl").exists());
}
