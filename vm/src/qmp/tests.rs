//! A QEMU that is made up, whose vCPU is a thread of this program.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::unistd::gettid;
use serde_json::{Value, json};

use super::Qmp;
use crate::action::Action;
use crate::core::{End, Event};
use crate::host::{Host as _, HostError};
use crate::snapshot::{GuestId, VcpuId};
use crate::topology::Cpus;

const UUID: &str = "7c4a8d09-ca37-62af-61e5-9520943dc264";
const INTERVAL: Duration = Duration::from_secs(8);

/// What it does for a command: what it returns, or why not; nothing where it hangs.
type Answers = fn(&str, &Value) -> Option<Result<Value, &'static str>>;

fn well(name: &str, arguments: &Value) -> Option<Result<Value, &'static str>> {
    let returned = match name {
        "qmp_capabilities" | "balloon" | "qom-set" => json!({}),
        "query-uuid" => json!({"UUID": UUID}),
        "query-name" => json!({"name": "vm"}),
        "query-memory-size-summary" => json!({"base-memory": 536_870_912}),
        "query-status" => json!({"status": "running", "running": true, "singlestep": false}),
        "query-balloon" => json!({"actual": 268_435_456}),
        "query-migrate" => json!({}),
        "query-jobs" => json!([]),
        "qom-list" if arguments["path"] == "/machine/peripheral" => json!([
            {"name": "type", "type": "string"},
            {"name": "balloon0", "type": "child<virtio-balloon-pci>"},
        ]),
        "qom-list" => json!([]),
        "qom-get" => match arguments["property"].as_str()? {
            "deflate-on-oom" => json!(false),
            "guest-stats-polling-interval" => json!(2),
            _ => json!({"last-update": 1_000_000, "stats": {
                "stat-total-memory": 251_658_240, "stat-free-memory": 104_857_600,
                "stat-available-memory": 125_829_120, "stat-major-faults": 12, "stat-oom-kill": u64::MAX,
            }}),
        },
        _ => return Some(Err("there is no such command")),
    };
    Some(Ok(returned))
}

/// Serves whoever connects, one after the other, with one vCPU that is this thread. `SHUTDOWN` is said when a balloon is set to 0,
/// and then it ends.
fn qemu(directory: &Path, answers: Answers) -> PathBuf {
    let path = directory.join("qmp");
    let listener = UnixListener::bind(&path).unwrap();
    let (say, ready) = mpsc::channel();
    thread::spawn(move || {
        let vcpu = gettid().as_raw();
        say.send(()).unwrap();
        for stream in listener.incoming() {
            serve(&stream.unwrap(), vcpu, answers);
        }
    });
    ready.recv().unwrap();
    path
}

fn serve(mut stream: &UnixStream, vcpu: i32, answers: Answers) {
    writeln!(
        stream,
        "{}",
        json!({"QMP": {"version": {}, "capabilities": []}})
    )
    .unwrap();
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let command: Value = serde_json::from_str(&line).unwrap();
        let id = &command["id"];
        let name = command["execute"].as_str().unwrap();
        if name == "balloon" && command["arguments"]["value"] == 0 {
            let event = json!({"event": "SHUTDOWN", "data": {"guest": true}, "timestamp": {}});
            writeln!(stream, "{}\n{event}", json!({"return": {}, "id": id})).unwrap();
            return;
        }
        let reply = match name {
            "query-cpus-fast" => {
                json!({"return": [{"cpu-index": 0, "thread-id": vcpu, "target": "x86_64"}], "id": id})
            }
            _ => match answers(name, &command["arguments"]) {
                Some(Ok(returned)) => json!({"return": returned, "id": id}),
                Some(Err(why)) => {
                    json!({"error": {"class": "GenericError", "desc": why}, "id": id})
                }
                None => continue,
            },
        };
        if writeln!(stream, "{reply}").is_err() {
            return;
        }
    }
}

fn host(directory: &Path, answers: Answers) -> Qmp {
    Qmp::new(&[qemu(directory, answers)], Path::new("/"), INTERVAL)
}

fn id() -> GuestId {
    GuestId::new(UUID)
}

#[test]
fn a_guest_is_seen_and_its_vcpu_is_the_thread_that_is_pinned() {
    let directory = tempfile::tempdir().unwrap();
    let mut host = host(directory.path(), well);
    let snapshot = host.snapshot().unwrap();
    let [guest] = &snapshot.guests[..] else {
        panic!("{snapshot:?}")
    };
    assert_eq!((&guest.id, &*guest.name), (&id(), "vm"));
    assert!(!guest.job && !guest.paused);
    let memory = &guest.memory;
    assert_eq!((memory.max, memory.actual), (512.0, 256.0));
    assert_eq!(memory.period, Some(Duration::from_secs(2)));
    let stats = memory.stats.as_ref().unwrap();
    assert_eq!(
        (stats.available, stats.unused, stats.usable),
        (240.0, 100.0, Some(120.0))
    );
    assert_eq!(
        (stats.trouble.major_faults, stats.trouble.oom_kills),
        (12, 0)
    );
    let [vcpu] = &guest.vcpus[..] else {
        panic!("{guest:?}")
    };
    assert!(vcpu.run.is_some());
    let process = host.process(&id()).unwrap();
    assert_eq!(process.pid, std::process::id());
    let cpu = *vcpu.mask.first().unwrap();
    let pin = VcpuId {
        guest: id(),
        index: 0,
    };
    let to = Cpus::from([cpu]);
    host.apply(&Action::Pin(pin.clone(), to.clone())).unwrap();
    assert_eq!(host.snapshot().unwrap().guests[0].vcpus[0].mask, to);
    let none = host.apply(&Action::Pin(VcpuId { index: 1, ..pin }, to));
    assert!(matches!(none, Err(HostError::Gone(_))));
    host.apply(&Action::Target(id(), 200.0)).unwrap();
    host.apply(&Action::Period(id(), None)).unwrap();
}

#[test]
fn who_says_that_it_ends_has_ended_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let mut host = host(directory.path(), well);
    host.snapshot().unwrap();
    host.apply(&Action::Target(id(), 0.0)).unwrap();
    let mut events = Vec::new();
    while events.is_empty() {
        events = host.events().unwrap();
    }
    assert_eq!(events, [Event::Ended(id(), End::InOrder)]);
    // It is started again.
    assert_eq!(host.snapshot().unwrap().guests.len(), 1);
}

#[test]
fn who_hangs_is_asked_nothing_more_and_its_jobs_are_not_known() {
    fn hangs(name: &str, arguments: &Value) -> Option<Result<Value, &'static str>> {
        (name != "query-balloon")
            .then(|| well(name, arguments))
            .flatten()
    }
    let directory = tempfile::tempdir().unwrap();
    let mut host = host(directory.path(), hangs);
    for _ in 0..2 {
        let snapshot = host.snapshot().unwrap();
        assert!(snapshot.guests[0].job);
    }
    let target = host.apply(&Action::Target(id(), 300.0));
    assert!(matches!(target, Err(HostError::Hangs(_))), "{target:?}");
}

#[test]
fn a_socket_without_a_qemu_is_no_guest() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nobody");
    fs::write(&path, "").unwrap();
    let mut host = Qmp::new(&[path], Path::new("/"), INTERVAL);
    assert_eq!(host.snapshot().unwrap().guests, []);
}

#[test]
fn who_serves_somebody_else_is_not_asked_again_at_once_and_holds_up_nobody() {
    let directory = tempfile::tempdir().unwrap();
    // It comes before the other one.
    let silent = UnixListener::bind(directory.path().join("a")).unwrap();
    silent.set_nonblocking(true).unwrap();
    qemu(directory.path(), well);
    let mut host = Qmp::new(&[directory.path().to_owned()], Path::new("/"), INTERVAL);
    for _ in 0..3 {
        assert_eq!(host.snapshot().unwrap().guests.len(), 1);
    }
    assert!(silent.accept().is_ok());
    assert!(silent.accept().is_err());
}

#[test]
fn what_qemu_refuses_is_told() {
    fn refuses(name: &str, arguments: &Value) -> Option<Result<Value, &'static str>> {
        if name == "balloon" {
            return Some(Err("No balloon device has been activated"));
        }
        well(name, arguments)
    }
    let directory = tempfile::tempdir().unwrap();
    let mut host = host(directory.path(), refuses);
    host.snapshot().unwrap();
    let error = host.apply(&Action::Target(id(), 300.0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "balloon: No balloon device has been activated"
    );
}
