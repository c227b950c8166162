//! Owns one run of the machine: its directory, its ports, its deadline and its end. What the
//! machine consists of comes from the siblings.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use super::console::Console;
use super::qemu::{CONSOLE, Devices, OUTPUT, Ports, STATUS};
use super::record::Record;
use crate::command::{display, not_run, say};
use crate::workspace;

/// How the command in the machine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit {
    /// The command's exit status, as a shell has it: 128 + N after signal N.
    pub(crate) status: u8,
    /// From QEMU's start to the command's.
    pub(crate) boot: Duration,
    /// From the command's start to its end.
    pub(crate) ran: Duration,
}

/// How QEMU may take to connect, before it does anything else.
const CONNECT: Duration = Duration::from_secs(20);

/// How long a boot may take; usual are 8 to 16 s. QEMU's emulation with a thread for each CPU hangs
/// in about one of forty, before the kernel says a word: all its CPUs spin. Such a boot tells nothing
/// about what is to be run, so it is tried again.
const BOOT: Duration = Duration::from_secs(90);
/// How many machines the emulation may fail; the last of them is an error.
pub(super) const EMULATION_FAILURES: u32 = 3;

/// How the kernel dies when the emulation lets one of its CPUs run half-patched code: on the
/// breakpoint by which the kernel patches itself, which every load of a scheduler makes it do. Seen
/// once in some hundred swaps, with QEMU 10 and a thread for each CPU.
const HALF_PATCHED: &str = "Oops: int3";

/// How an attempt ended.
pub(crate) enum Attempt {
    Exit(Exit),
    /// It tells nothing about what was run: QEMU died, the machine never booted, or ran half-patched code.
    Emulation(String),
}

/// How often QEMU is looked after when it says nothing.
const LOOK: Duration = Duration::from_millis(500);

/// The directory of a run: its log stays until the next run that is called the same.
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// An empty directory `name`, or `name-2` and so on while other runs hold those.
    pub(super) fn take(name: &str) -> Result<Self> {
        let all = workspace::target().join("machine");
        fs::create_dir_all(&all).with_context(|| format!("cannot make {}", all.display()))?;
        for number in 1.. {
            let name = if number == 1 {
                name.to_owned()
            } else {
                format!("{name}-{number}")
            };
            let lock = File::create(all.join(format!(".{name}.lock")))?;
            if lock.try_lock().is_err() {
                continue;
            }
            let path = all.join(name);
            if path.exists() {
                fs::remove_dir_all(&path)?;
            }
            fs::create_dir(&path)?;
            return Ok(Self { path, _lock: lock });
        }
        bail!("no free directory in {}", all.display());
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// QEMU, killed when it goes out of sight.
struct Qemu {
    child: Child,
    /// What it says itself.
    errors: PathBuf,
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // It may be gone already; nothing in the guest outlives the run anyway.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What comes out of the machine.
enum Event {
    Console(Vec<u8>),
    Output(Vec<u8>),
    Record(Record),
}

/// Runs the machine with its console on the terminal until it is switched off.
pub(super) fn on_terminal(devices: &Devices<'_>, directory: &Directory) -> Result<()> {
    let log = directory.join("console.log");
    let mut qemu = devices.command(&Ports::Terminal(&log));
    say("`poweroff` or leaving the shell switches the machine off, Ctrl-A X pulls the plug");
    let status = qemu.status().with_context(|| not_run(&qemu))?;
    say(format!("the whole console: {}", log.display()));
    if !status.success() {
        bail!("`{}` failed ({status})", display(&qemu));
    }
    Ok(())
}

/// Runs the machine until its command ends, or the emulation fails it; `output` gets what the command
/// writes, as it comes.
pub(super) fn attempt(
    devices: &Devices<'_>,
    directory: &Directory,
    timeout: Duration,
    output: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Attempt> {
    let begin = Instant::now();
    let mut console = Console::create(directory.join("console.log"))?;
    // Not in the run's directory: the name of a socket can have 107 bytes only.
    let sockets = tempfile::tempdir().context("no place for sockets")?;
    let listen = |name: &str| UnixListener::bind(sockets.path().join(name));
    let listeners = [listen(CONSOLE)?, listen(OUTPUT)?, listen(STATUS)?];

    let mut command = devices.command(&Ports::Sockets(sockets.path()));
    let errors = directory.join("qemu.log");
    command
        .stdin(Stdio::null())
        .stdout(File::create(&errors)?)
        .stderr(File::options().append(true).open(&errors)?);
    let child = command.spawn().with_context(|| not_run(&command))?;
    let mut qemu = Qemu { child, errors };
    let [lines, bytes, records] = listeners.map(|listener| connected(&listener, &mut qemu));
    let connected = || -> Result<_> { Ok((lines?, bytes?, records?)) };
    let (lines, bytes, records) =
        connected().with_context(|| format!("`{}` does not start", display(&command)))?;

    let (send, events) = mpsc::channel();
    read_lines(lines, send.clone(), |line| Some(Event::Console(line)));
    read_lines(records, send.clone(), |line| {
        Record::parse(&String::from_utf8_lossy(&line)).map(Event::Record)
    });
    read_bytes(bytes, send);

    let result = watch(&events, &mut qemu, &mut console, begin, timeout, output);
    drop(qemu);
    // What is on its way, up to the ends that QEMU's own end makes.
    for event in events {
        match event {
            Event::Output(bytes) => output(&bytes)?,
            Event::Console(line) => drop(console.note(&line)?),
            Event::Record(_) => (),
        }
    }
    result.map_err(|error| anyhow!("{error:#}\n{}", console.last_lines()))
}

fn watch(
    events: &Receiver<Event>,
    qemu: &mut Qemu,
    console: &mut Console,
    begin: Instant,
    timeout: Duration,
    output: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Attempt> {
    let deadline = begin + timeout;
    let mut started = None;
    loop {
        if started.is_none() && begin.elapsed() > BOOT && timeout > BOOT {
            let why = format!("the boot hangs, after {} s", BOOT.as_secs());
            return Ok(Attempt::Emulation(why));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let what = if started.is_some() {
                "the command did not end"
            } else {
                "no boot"
            };
            bail!("{what} within {} s (--timeout)", timeout.as_secs());
        }
        match events.recv_timeout(left.min(LOOK)) {
            Ok(Event::Console(line)) => {
                if let Some(meaning) = console.note(&line)? {
                    // A few more lines say what went on.
                    linger(events, console)?;
                    if meaning.contains(HALF_PATCHED) {
                        return Ok(Attempt::Emulation(meaning));
                    }
                    bail!("{meaning}");
                }
            }
            Ok(Event::Output(bytes)) => output(&bytes)?,
            Ok(Event::Record(Record::Started(_))) => {
                started = Some(Instant::now());
                say(format!("up after {:.1} s", begin.elapsed().as_secs_f64()));
            }
            Ok(Event::Record(Record::Exit(status))) => {
                let started = started.context("the command ended before it started")?;
                let boot = started.duration_since(begin);
                let ran = started.elapsed();
                return Ok(Attempt::Exit(Exit { status, boot, ran }));
            }
            Err(RecvTimeoutError::Timeout) => (),
            Err(RecvTimeoutError::Disconnected) => {
                let status = qemu.child.wait()?;
                let said = fs::read_to_string(&qemu.errors).unwrap_or_default();
                if !status.success() {
                    return Ok(Attempt::Emulation(format!("QEMU died: {status} {said}")));
                }
                bail!("the machine was switched off before the command ended {said}");
            }
        }
    }
}

/// Notes what the console says within a moment more.
fn linger(events: &Receiver<Event>, console: &mut Console) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(2);
    while let Ok(event) = events.recv_timeout(end.saturating_duration_since(Instant::now())) {
        if let Event::Console(line) = event {
            console.note(&line)?;
        }
    }
    Ok(())
}

/// Waits for QEMU to connect, unless it ends.
fn connected(listener: &UnixListener, qemu: &mut Qemu) -> Result<UnixStream> {
    listener.set_nonblocking(true)?;
    let deadline = Instant::now() + CONNECT;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
            Err(error) => return Err(error.into()),
        }
        if let Some(status) = qemu.child.try_wait()? {
            bail!("{status}: {}", fs::read_to_string(&qemu.errors)?.trim_end());
        }
        if Instant::now() > deadline {
            bail!("it did not open its ports within {} s", CONNECT.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn read_lines(
    stream: UnixStream,
    send: Sender<Event>,
    event: impl Fn(Vec<u8>) -> Option<Event> + Send + 'static,
) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
            if let Some(event) = event(std::mem::take(&mut line))
                && send.send(event).is_err()
            {
                break;
            }
        }
    });
}

fn read_bytes(mut stream: UnixStream, send: Sender<Event>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(size @ 1..) = stream.read(&mut buffer) {
            if send.send(Event::Output(buffer[..size].to_vec())).is_err() {
                break;
            }
        }
    });
}

/// Makes an empty drive of `size` bytes that takes no room until it is written.
pub(super) fn make_drive(path: &Path, size: u64) -> Result<()> {
    File::create(path)
        .and_then(|file| file.set_len(size))
        .with_context(|| format!("cannot make {}", path.display()))
}
