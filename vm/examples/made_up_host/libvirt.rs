//! libvirt's side of the few procedures that are asked (src/remote/remote_protocol.x in its source), written anew from its description.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

/// Procedures.
const OPEN: u32 = 1;
const XML: u32 = 14;
const AUTH_LIST: u32 = 66;
const IS_PERSISTENT: u32 = 151;
const JOB_INFO: u32 = 163;
const SET_MEMORY: u32 = 204;
const PIN_VCPU: u32 = 225;
const SET_PERIOD: u32 = 308;
const REGISTER: u32 = 316;
const ALL_STATS: u32 = 344;

/// A length and a header of six numbers.
const HEADER: usize = 28;
/// The program of the keepalive.
const KEEPALIVE: u32 = 0x6b65_6570;
/// In a header: an answer, and one that says no.
const REPLY: u32 = 1;
const ERROR: u32 = 1;

const DEFINITION: &str = "<domain type='qemu'><vcpu>4</vcpu><devices><memballoon model='virtio'><stats period='5'/></memballoon></devices></domain>";

/// What each guest has, in KiB.
const MEMORY: u64 = 1 << 20;

/// What a guest is called.
pub(crate) fn name(number: u32) -> String {
    format!("guest-{number}")
}

fn uuid(number: u32) -> [u8; 16] {
    u128::from(number + 1).to_be_bytes()
}

/// Its UUID.
pub(crate) fn uuid_text(number: u32) -> String {
    let digits = format!("{:032x}", number + 1);
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]);
    parts.join("-")
}

/// Serves all who come, on threads of their own.
pub(crate) fn serve(socket: &Path, guests: u32) -> io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who leaves in the middle of something has left.
            thread::spawn(move || answer_all(stream, guests).ok());
        }
    });
    Ok(())
}

fn answer_all(mut stream: UnixStream, guests: u32) -> io::Result<()> {
    loop {
        let mut header = [0; HEADER];
        stream.read_exact(&mut header)?;
        let number = |at: usize| {
            let bytes = &header[4 * at..4 * at + 4];
            bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
        };
        let mut body = vec![0; (number(0) as usize).saturating_sub(HEADER)];
        stream.read_exact(&mut body)?;
        let [program, version, procedure, serial] = [1, 2, 3, 5].map(number);
        if program == KEEPALIVE {
            continue;
        }
        let (status, answer) = match answer(procedure, guests) {
            Some(answer) => (0, answer),
            None => (ERROR, error(procedure)),
        };
        let length = u32::try_from(HEADER + answer.0.len()).map_err(io::Error::other)?;
        let mut message = Answer::default();
        for number in [length, program, version, procedure, REPLY, serial, status] {
            message = message.number(number);
        }
        message.0.extend(answer.0);
        stream.write_all(&message.0)?;
    }
}

fn answer(procedure: u32, guests: u32) -> Option<Answer> {
    let answer = Answer::default();
    Some(match procedure {
        OPEN | SET_MEMORY | PIN_VCPU | SET_PERIOD => answer,
        AUTH_LIST => answer.number(1).number(0),
        XML => answer.text(DEFINITION),
        IS_PERSISTENT | REGISTER => answer.number(1),
        JOB_INFO => answer.fixed(&[0; 92]),
        ALL_STATS => (0..guests).fold(answer.number(guests), statistics),
        _ => return None,
    })
}

/// Those of a guest that is well and has just spoken.
fn statistics(answer: Answer, guest: u32) -> Answer {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let numbers = [
        ("balloon.current", MEMORY),
        ("balloon.maximum", MEMORY),
        ("balloon.swap_in", 0),
        ("balloon.swap_out", 0),
        ("balloon.major_fault", 100),
        ("balloon.minor_fault", 100_000),
        ("balloon.unused", MEMORY / 8),
        ("balloon.available", MEMORY - MEMORY / 16),
        ("balloon.usable", MEMORY / 4),
        (
            "balloon.last-update",
            since_1970.unwrap_or_default().as_secs(),
        ),
        ("balloon.rss", MEMORY),
    ];
    let answer = answer
        .text(&name(guest))
        .fixed(&uuid(guest))
        .number(guest + 1);
    let answer = answer.number(2 + 11);
    let answer = answer.text("state.state").number(1).number(1);
    let answer = answer.text("state.reason").number(1).number(1);
    numbers.into_iter().fold(answer, |answer, (name, value)| {
        answer.text(name).number(4).fixed(&value.to_be_bytes())
    })
}

/// A remote_error with a text and nothing else.
fn error(procedure: u32) -> Answer {
    let answer = Answer::default().number(1).number(7).number(1);
    answer
        .text(&format!("nobody answers {procedure}"))
        .fixed(&[0; 40])
}

/// What is answered: numbers of four bytes, and texts filled up to a whole number of those (RFC 4506).
#[derive(Default)]
struct Answer(Vec<u8>);

impl Answer {
    fn number(self, number: u32) -> Self {
        self.fixed(&number.to_be_bytes())
    }

    fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let mut answer = self.number(length).fixed(text.as_bytes());
        answer.0.resize(answer.0.len().next_multiple_of(4), 0);
        answer
    }
}
