//! A daemon that is made up, and what it does to who asks it.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::Libvirt;
use super::message::{Header, KEEPALIVE, Kind, REMOTE, decode, encode};
use super::procedures::{
    ALL_STATS, AUTH_LIST, IS_PERSISTENT, JOB_INFO, LIFECYCLE, OPEN, PIN_VCPU, PING, PONG, REGISTER,
    XML,
};
use super::xdr::Encoder;
use crate::action::Action;
use crate::core::{End, Event};
use crate::host::{Host as _, HostError};
use crate::snapshot::{GuestId, VcpuId};
use crate::topology::Cpus;

const XML_TEXT: &str = "<domain><devices><memballoon model='virtio'/></devices></domain>";

/// A message that the daemon received, and what it sends for it.
type Answers = fn(Header, &[u8]) -> Vec<u8>;

fn reply(to: Header, body: &[u8]) -> Vec<u8> {
    let header = Header {
        kind: Kind::Reply,
        ..to
    };
    encode(header, body)
}

fn refusal(to: Header, why: &str) -> Vec<u8> {
    let header = Header {
        kind: Kind::Reply,
        is_error: true,
        ..to
    };
    encode(
        header,
        &Encoder::default()
            .i32(1)
            .i32(10)
            .i32(1)
            .text(why)
            .into_bytes(),
    )
}

fn event(program: u32, procedure: i32, body: &[u8]) -> Vec<u8> {
    let header = Header {
        program,
        procedure,
        kind: Kind::Event,
        serial: 0,
        is_error: false,
    };
    encode(header, body)
}

/// Two domains, `vm1` and `vm2`.
fn domain(number: u8) -> Encoder {
    let name = format!("vm{number}");
    Encoder::default()
        .text(&name)
        .fixed(&[number; 16])
        .i32(number.into())
}

fn id(number: u8) -> GuestId {
    let uuid = format!("{:032x}", u128::from_be_bytes([number; 16]));
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &uuid[part]);
    GuestId::new(&parts.join("-"))
}

/// What a daemon does in which nothing is wrong.
fn well(header: Header, _: &[u8]) -> Vec<u8> {
    let body = match header.procedure {
        procedure if procedure == AUTH_LIST.number => Encoder::default().u32(1).i32(0),
        procedure if procedure == OPEN.number || procedure == PIN_VCPU.number => Encoder::default(),
        procedure if procedure == REGISTER.number => Encoder::default().i32(7),
        procedure if procedure == ALL_STATS.number => {
            let mut body = Encoder::default().u32(2);
            for number in [1, 2] {
                body = body.fixed(&domain(number).into_bytes()).u32(1);
                body = body.text("state.state").i32(1).i32(1);
            }
            body
        }
        procedure if procedure == XML.number => Encoder::default().text(XML_TEXT),
        procedure if procedure == IS_PERSISTENT.number => Encoder::default().i32(1),
        procedure if procedure == JOB_INFO.number => Encoder::default().i32(0).fixed(&[0; 88]),
        other => return refusal(header, &format!("nobody asks for {other}")),
    };
    reply(header, &body.into_bytes())
}

/// Serves everybody who connects, each on a thread of its own.
fn daemon(directory: &Path, answers: Answers) -> PathBuf {
    let path = directory.join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve(stream.unwrap(), answers));
        }
    });
    path
}

fn serve(mut stream: UnixStream, answers: Answers) {
    let mut received = Vec::new();
    let mut chunk = [0; 1000];
    while let Ok(came @ 1..) = stream.read(&mut chunk) {
        received.extend(&chunk[..came]);
        while let Some((message, taken)) = decode(&received).unwrap() {
            let answer = answers(message.header, message.body);
            received.drain(..taken);
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    }
}

/// A host with one CPU and this daemon.
fn host(directory: &Path, answers: Answers, interval: Duration) -> Libvirt {
    let root = directory.join("root");
    let cpus = root.join("sys/devices/system/cpu");
    std::fs::create_dir_all(&cpus).unwrap();
    for file in ["present", "online"] {
        std::fs::write(cpus.join(file), "0\n").unwrap();
    }
    Libvirt::new(&daemon(directory, answers), &root, interval)
}

fn pin(number: u8) -> Action {
    let vcpu = VcpuId {
        guest: id(number),
        index: 0,
    };
    Action::Pin(vcpu, Cpus::from([0]))
}

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn what_all_guests_are_is_asked_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let mut host = host(directory.path(), well, LONG);
    let snapshot = host.snapshot().unwrap();
    let told: Vec<_> = snapshot
        .guests
        .iter()
        .map(|guest| (&*guest.name, &guest.id, guest.job, guest.paused))
        .collect();
    assert_eq!(
        told,
        [("vm1", &id(1), false, false), ("vm2", &id(2), false, false)]
    );
    host.apply(&pin(2)).unwrap();
    let error = host.apply(&pin(3)).unwrap_err();
    assert!(matches!(error, HostError::Gone(_)), "{error}");
}

#[test]
fn what_libvirt_says_against_it_is_told() {
    fn refuses(header: Header, body: &[u8]) -> Vec<u8> {
        if header.procedure == PIN_VCPU.number {
            return refusal(header, "vcpu 0 is out of range");
        }
        well(header, body)
    }
    let directory = tempfile::tempdir().unwrap();
    let mut host = host(directory.path(), refuses, LONG);
    host.snapshot().unwrap();
    let error = host.apply(&pin(1)).unwrap_err().to_string();
    assert_eq!(error, "pin a vCPU: vcpu 0 is out of range");
    // And that was all.
    host.snapshot().unwrap();
}

#[test]
fn who_wants_a_password_is_not_asked_anything() {
    fn wants(header: Header, _: &[u8]) -> Vec<u8> {
        reply(header, &Encoder::default().u32(1).i32(1).into_bytes())
    }
    let directory = tempfile::tempdir().unwrap();
    let mut host = host(directory.path(), wants, LONG);
    let error = host.snapshot().unwrap_err().to_string();
    assert!(error.contains("log"), "{error}");
}

#[test]
fn a_guest_that_hangs_is_left_alone_and_the_others_are_not() {
    fn hangs(header: Header, body: &[u8]) -> Vec<u8> {
        let is_about_the_first = body.starts_with(&domain(1).into_bytes());
        let is_hanging = header.procedure == JOB_INFO.number || header.procedure == PIN_VCPU.number;
        if is_about_the_first && is_hanging {
            return Vec::new();
        }
        well(header, body)
    }
    let directory = tempfile::tempdir().unwrap();
    let mut host = host(directory.path(), hangs, Duration::from_secs(8));
    for _ in 0..2 {
        let snapshot = host.snapshot().unwrap();
        // That it has no job is not known.
        let jobs: Vec<bool> = snapshot.guests.iter().map(|guest| guest.job).collect();
        assert_eq!(jobs, [true, false]);
    }
    assert!(matches!(host.apply(&pin(1)), Err(HostError::Hangs(guest)) if guest == id(1)));
    host.apply(&pin(2)).unwrap();
}

#[test]
fn an_answer_that_comes_too_late_is_for_nobody_and_ends_the_waiting() {
    /// The first pin is answered with the second.
    fn late(header: Header, body: &[u8]) -> Vec<u8> {
        if header.procedure != PIN_VCPU.number {
            return well(header, body);
        }
        if body.starts_with(&domain(1).into_bytes()) {
            return Vec::new();
        }
        let first = Header {
            serial: header.serial - 1,
            ..header
        };
        [refusal(first, "too late"), well(header, body)].concat()
    }
    let directory = tempfile::tempdir().unwrap();
    let mut host = host(directory.path(), late, Duration::from_secs(8));
    host.snapshot().unwrap();
    assert!(matches!(host.apply(&pin(1)), Err(HostError::Late { .. })));
    assert!(matches!(host.apply(&pin(1)), Err(HostError::Hangs(_))));
    host.apply(&pin(2)).unwrap();
    assert!(matches!(host.apply(&pin(1)), Err(HostError::Late { .. })));
}

#[test]
fn who_asks_whether_we_are_alive_is_answered_and_ends_are_told() {
    fn tells(header: Header, body: &[u8]) -> Vec<u8> {
        if header.program == KEEPALIVE {
            assert_eq!((header.procedure, header.kind), (PONG, Kind::Event));
            let stopped = |number, detail| {
                let body = Encoder::default()
                    .i32(7)
                    .fixed(&domain(number).into_bytes());
                let body = body.i32(5).i32(detail).into_bytes();
                event(REMOTE, LIFECYCLE, &body)
            };
            return [stopped(1, 1), stopped(2, 5)].concat();
        }
        let mut answer = well(header, body);
        if header.procedure == ALL_STATS.number {
            answer.extend(event(KEEPALIVE, PING, &[]));
        }
        answer
    }
    let directory = tempfile::tempdir().unwrap();
    let mut host = host(directory.path(), tells, LONG);
    host.snapshot().unwrap();
    let mut events = Vec::new();
    while events.len() < 2 {
        events.extend(host.events().unwrap());
    }
    let expected = [
        Event::Ended(id(1), End::InOrder),
        Event::Ended(id(2), End::Lost),
    ];
    assert_eq!(events, expected);
}

#[test]
fn after_nonsense_or_an_end_another_connection_is_made() {
    fn nonsense(header: Header, body: &[u8]) -> Vec<u8> {
        if header.procedure == PIN_VCPU.number {
            return vec![0xff; 40];
        }
        well(header, body)
    }
    let directory = tempfile::tempdir().unwrap();
    let mut host = host(directory.path(), nonsense, LONG);
    for _ in 0..2 {
        host.snapshot().unwrap();
        let error = host.apply(&pin(1)).unwrap_err();
        assert!(matches!(error, HostError::Garbled { .. }), "{error}");
    }
    let missing = directory.path().join("missing");
    let mut host = Libvirt::new(&missing, directory.path(), LONG);
    let error = host.snapshot().unwrap_err().to_string();
    assert!(error.contains("missing"), "{error}");
}

#[test]
fn guests_that_hang_take_no_more_than_half_an_interval_in_the_end() {
    /// All of them hang, and statistics are those of seven.
    fn hang(header: Header, body: &[u8]) -> Vec<u8> {
        if header.procedure == JOB_INFO.number {
            return Vec::new();
        }
        if header.procedure != ALL_STATS.number {
            return well(header, body);
        }
        let mut all = Encoder::default().u32(7);
        for number in 1..=7 {
            all = all.fixed(&domain(number).into_bytes()).u32(0);
        }
        reply(header, &all.into_bytes())
    }
    let directory = tempfile::tempdir().unwrap();
    let interval = Duration::from_secs(2);
    let mut host = host(directory.path(), hang, interval);
    // Calls of four fill a connection: on the next one there is room for the others.
    let mut seen = 0;
    while seen < 7 {
        let snapshot = host.snapshot().unwrap();
        assert!(snapshot.guests.iter().all(|guest| guest.job));
        seen = snapshot.guests.len();
    }
    host.apply(&pin(7)).unwrap_err();
}
