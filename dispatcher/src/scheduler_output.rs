//! What a scheduler's process says: read at a bounded cost, and at a bounded rate told to the log.
//!
//! A thread of its own reads, with a realtime priority: one that decides in user space, and waits
//! until there is room for what it says, runs nobody meanwhile who is among those it schedules.
//! Nor does the thread wait for them: not for the daemon's loop, and not for its log.
//!
//! Of one that writes more than is read, the last lines are kept, by which its end is explained;
//! the first ones are in the log, and how much was left out. It is made to wait for moments only.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::pipe::SpliceFlags;
use tokio::sync::{mpsc, watch};

use crate::lock::lock;
use crate::priority::First;

/// How much a pipe holds, the most that anybody may have: what is said between two looks at it.
const PIPE: i32 = 1 << 20;
/// What is kept to explain an end: lines, and bytes per line. A longer line is several.
const LAST_LINES: usize = 20;
const LINE_LIMIT: usize = 1024;
/// What is read at once.
const CHUNK: usize = 8 << 10;
/// How many bytes are looked at: these at once, and then these in a second. Beyond that only the end of what
/// is there.
const BYTES: Allowance = Allowance::of(256 << 10, 32 << 10);
/// How many lines go to the log.
const LINES: Allowance = Allowance::of(200, 10);
/// How long there is between two looks, so that also one that says little without end costs little.
const PAUSE: Duration = Duration::from_millis(10);
/// The same after more than is looked at.
const LONG_PAUSE: Duration = Duration::from_millis(50);
/// How many lines may be on their way to the log.
const ON_THEIR_WAY: usize = 64;
/// Several times what the deepest call takes; of a stack only what is used is memory.
const STACK: usize = 128 << 10;

/// What a process says, from its start on.
#[derive(Debug)]
pub(crate) struct Output {
    last: Arc<Mutex<VecDeque<String>>>,
    ended: watch::Receiver<bool>,
}

/// What the log is told.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Line(String),
    /// So many bytes are missing here.
    LeftOut(u64),
}

impl Output {
    /// A pipe for a process to write to.
    pub(crate) fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
        let (reader, writer) = io::pipe()?;
        // A smaller one is emptied as often, and only fills sooner.
        let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PIPE));
        Ok((reader, writer))
    }

    /// Begins to read what `scheduler` says. To be called in a tokio runtime.
    pub(crate) fn listen(reader: PipeReader, scheduler: String) -> io::Result<Self> {
        let (tell, told) = mpsc::channel(ON_THEIR_WAY);
        let (end, ended) = watch::channel(false);
        let last = Arc::default();
        let listener = Listener::new(reader, Arc::clone(&last), tell);
        let thread = thread::Builder::new()
            .name("output".to_owned())
            .stack_size(STACK);
        thread.spawn(move || {
            // They are for other threads, and interrupt calls.
            let _ = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
            let _first = First::this();
            listener.listen();
            let _ = end.send(true);
        })?;
        tokio::spawn(log(told, scheduler));
        Ok(Self { last, ended })
    }

    /// Waits until nobody can say anything any more.
    pub(crate) async fn ended(&mut self) {
        // Without its other side it has ended as well.
        let _ = self.ended.wait_for(|ended| *ended).await;
    }

    /// The last lines.
    pub(crate) fn last_lines(&self) -> VecDeque<String> {
        lock(&self.last).clone()
    }
}

/// Logs what a scheduler says.
async fn log(mut told: mpsc::Receiver<Told>, scheduler: String) {
    let (mut left_out, mut said) = (0, false);
    while let Some(told) = told.recv().await {
        match told {
            Told::Line(line) => tracing::debug!(scheduler, "{line}"),
            Told::LeftOut(bytes) => {
                tracing::debug!(scheduler, "({bytes} bytes were left out)");
                left_out += bytes;
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(
                        scheduler,
                        "{scheduler} writes without end: only some of it is read"
                    );
                }
            }
        }
    }
    if left_out > 0 {
        tracing::info!(
            scheduler,
            "of what {scheduler} wrote, {left_out} bytes were left out"
        );
    }
}

/// So much at once, and so much more in each second.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    most: u64,
    each_second: u64,
}

impl Allowance {
    const fn of(most: u64, each_second: u64) -> Self {
        Self { most, each_second }
    }
}

/// What is left of an allowance.
#[derive(Debug)]
struct Budget {
    allowance: Allowance,
    left: u64,
    at: Instant,
}

impl Budget {
    fn of(allowance: Allowance, now: Instant) -> Self {
        Self {
            allowance,
            left: allowance.most,
            at: now,
        }
    }

    /// Takes that much if it is there.
    fn take(&mut self, much: u64, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_millis();
        let more = u64::try_from(passed)
            .unwrap_or(u64::MAX)
            .saturating_mul(self.allowance.each_second)
            / 1000;
        // What is less than one is not lost.
        if more > 0 {
            self.left = self.left.saturating_add(more).min(self.allowance.most);
            self.at = now;
        }
        let enough = self.left >= much;
        if enough {
            self.left -= much;
        }
        enough
    }
}

/// The thread that reads.
struct Listener {
    reader: PipeReader,
    /// What has been read of the line that has not ended.
    line: Vec<u8>,
    last: VecDeque<String>,
    shared: Arc<Mutex<VecDeque<String>>>,
    tell: mpsc::Sender<Told>,
    bytes: Budget,
    lines: Budget,
    /// How many lines that were looked at the log was not told of since the last one.
    untold: usize,
    /// How many bytes it was not told of, looked at or not.
    left_out: u64,
    /// Takes what nobody looks at, without a copy of it being made.
    nowhere: Option<File>,
}

impl Listener {
    fn new(
        reader: PipeReader,
        shared: Arc<Mutex<VecDeque<String>>>,
        tell: mpsc::Sender<Told>,
    ) -> Self {
        let now = Instant::now();
        Self {
            reader,
            line: Vec::new(),
            last: VecDeque::new(),
            shared,
            tell,
            bytes: Budget::of(BYTES, now),
            lines: Budget::of(LINES, now),
            untold: 0,
            left_out: 0,
            nowhere: File::options().write(true).open("/dev/null").ok(),
        }
    }

    /// Reads until nobody can write any more.
    fn listen(mut self) {
        let mut chunk = [0; CHUNK];
        while let Ok(available @ 1..) = self.wait() {
            let pause = match self.look(available, &mut chunk) {
                Ok(true) => PAUSE,
                Ok(false) => LONG_PAUSE,
                Err(_) => break,
            };
            // Whoever looks at it now waits for nothing; it is shown the next time.
            if let Ok(mut shared) = self.shared.try_lock() {
                shared.clone_from(&self.last);
            }
            self.pause(pause);
        }
        self.end_line();
        *lock(&self.shared) = self.last.clone();
        self.tell_the_end();
    }

    /// Lets more come together, unless nobody can write any more.
    fn pause(&self, pause: Duration) {
        let mut fds = [PollFd::new(self.reader.as_fd(), PollFlags::empty())];
        let pause = PollTimeout::try_from(pause).unwrap_or(PollTimeout::ZERO);
        let _ = poll(&mut fds, pause);
    }

    /// How much can be read, once something can: nothing at the end.
    fn wait(&self) -> io::Result<u64> {
        loop {
            let mut fds = [PollFd::new(self.reader.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let available = rustix::io::ioctl_fionread(&self.reader)?;
            let events = fds[0].revents().unwrap_or(PollFlags::empty());
            if available > 0 || events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR) {
                return Ok(available);
            }
        }
    }

    /// Reads what is there, and looks at all of it if that is not too much, else at its end. Returns whether
    /// it looked at all. There is that much and nobody else reads, so this does not wait.
    fn look(&mut self, available: u64, chunk: &mut [u8; CHUNK]) -> io::Result<bool> {
        let all = self.bytes.take(available, Instant::now());
        let mut unread = usize::try_from(available).unwrap_or(usize::MAX);
        let skips = !all && unread > CHUNK;
        let first = self.last.is_empty() && self.line.is_empty();
        if skips && first && unread > 2 * CHUNK {
            // How it begins is told, however much there was before the first look.
            let read = self.read(chunk)?;
            unread -= read;
            self.take_in(&chunk[..read]);
        }
        while skips && unread > CHUNK {
            let skipped = self.skip(unread - CHUNK, chunk)?;
            self.left_out += skipped as u64;
            unread -= skipped;
        }
        while unread > 0 {
            let read = self.read(&mut chunk[..unread.min(CHUNK)])?;
            unread -= read;
            let mut bytes = &chunk[..read];
            if skips {
                self.line.clear();
                // Its first line is the end of one.
                if let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
                    self.left_out += end as u64 + 1;
                    bytes = &bytes[end + 1..];
                }
            }
            self.take_in(bytes);
        }
        Ok(all)
    }

    /// Takes away some of these bytes, which are there; returns how many.
    fn skip(&mut self, bytes: usize, chunk: &mut [u8; CHUNK]) -> io::Result<usize> {
        let skipped = self.nowhere.as_ref().map(|nowhere| {
            let flags = SpliceFlags::empty();
            rustix::pipe::splice(&self.reader, None, nowhere, None, bytes, flags)
        });
        match skipped {
            Some(Ok(skipped @ 1..)) => Ok(skipped),
            _ => self.read(&mut chunk[..bytes.min(CHUNK)]),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.reader.read(into)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }

    fn take_in(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            for part in part.chunks(LINE_LIMIT) {
                if self.line.len() + part.len() > LINE_LIMIT {
                    self.end_line();
                }
                self.line.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let text: String = String::from_utf8_lossy(&self.line)
            .chars()
            .filter(|char| !char.is_control())
            .collect();
        self.line.clear();
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(text.to_owned());
        if self.lines.take(1, Instant::now()) && self.tell_of(text) {
            self.untold = 0;
        } else {
            self.untold += 1;
            self.left_out += text.len() as u64 + 1;
        }
    }

    /// Tells the log of a line, and of how many are missing before it, if it has the time.
    fn tell_of(&mut self, line: &str) -> bool {
        if self.left_out > 0 {
            if self.tell.try_send(Told::LeftOut(self.left_out)).is_err() {
                return false;
            }
            self.left_out = 0;
        }
        self.tell.try_send(Told::Line(line.to_owned())).is_ok()
    }

    /// Tells the log of the last lines, unless it was. Nobody waits for us any more.
    fn tell_the_end(mut self) {
        let last = self.untold.min(self.last.len());
        let sizes = self.last.iter().map(|line| line.len() as u64 + 1);
        let last_bytes: u64 = sizes.rev().take(last).sum();
        let left_out = self.left_out.saturating_sub(last_bytes);
        if left_out > 0 {
            let _ = self.tell.blocking_send(Told::LeftOut(left_out));
        }
        for line in self.last.drain(self.last.len() - last..) {
            let _ = self.tell.blocking_send(Told::Line(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// All that comes of what `write` writes: what the log is told, and the last lines.
    fn heard(write: impl FnOnce(PipeWriter) + Send + 'static) -> (Vec<Told>, Vec<String>) {
        let (reader, writer) = Output::pipe().unwrap();
        let (tell, mut told) = mpsc::channel(ON_THEIR_WAY);
        let last = Arc::default();
        let listener = Listener::new(reader, Arc::clone(&last), tell);
        let threads = [
            thread::spawn(move || write(writer)),
            thread::spawn(move || listener.listen()),
        ];
        let mut all = Vec::new();
        while let Some(told) = told.blocking_recv() {
            all.push(told);
        }
        for thread in threads {
            thread.join().unwrap();
        }
        let last = last.lock().unwrap().iter().cloned().collect();
        (all, last)
    }

    /// How many bytes there were.
    fn all_bytes(told: &[Told]) -> u64 {
        let bytes = told.iter().map(|told| match told {
            Told::LeftOut(bytes) => *bytes,
            Told::Line(line) => line.len() as u64 + 1,
        });
        bytes.sum()
    }

    fn line(text: &str) -> Told {
        Told::Line(text.to_owned())
    }

    #[test]
    fn what_is_little_is_told_line_by_line() {
        let (told, last) = heard(|mut writer| {
            writer.write_all(b"one\n\n  \x1b[1mtwo\r\nthr").unwrap();
            thread::sleep(Duration::from_millis(30));
            writer.write_all(b"ee").unwrap();
        });
        assert_eq!(told, [line("one"), line("[1mtwo"), line("three")]);
        assert_eq!(last, ["one", "[1mtwo", "three"]);
    }

    #[test]
    fn a_line_without_end_is_told_in_parts() {
        let (_, last) = heard(|mut writer| writer.write_all(&[b'x'; 2500]).unwrap());
        let lengths: Vec<_> = last.iter().map(String::len).collect();
        assert_eq!(lengths.iter().sum::<usize>(), 2500);
        assert!(lengths.iter().all(|length| *length <= LINE_LIMIT));
    }

    #[test]
    fn of_a_flood_the_first_and_the_last_lines_are_told_and_how_much_is_missing() {
        const ALL: u64 = 200_000;
        let written = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&written);
        let (told, last) = heard(move |mut writer| {
            let mut write = |line: &str| {
                count.fetch_add(line.len() as u64, Ordering::Relaxed);
                writer.write_all(line.as_bytes()).unwrap();
            };
            for number in 0..ALL {
                write(&format!(
                    "line {number} of a scheduler that does not stop\n"
                ));
            }
            write("Error: the end\n");
        });
        assert_eq!(told[0], line("line 0 of a scheduler that does not stop"));
        assert_eq!(told.last(), Some(&line("Error: the end")));
        assert_eq!(last.len(), LAST_LINES);
        assert_eq!(last.last().unwrap(), "Error: the end");
        let lines = told
            .iter()
            .filter(|told| matches!(told, Told::Line(_)))
            .count() as u64;
        assert!(lines < 1000, "{lines}");
        // But for what had been read of a line when its end was left out.
        let (all, written) = (all_bytes(&told), written.load(Ordering::Relaxed));
        assert!(all.abs_diff(written) <= written / 100, "{all} of {written}");
    }

    #[test]
    fn how_it_begins_is_told_though_much_was_there_before_the_first_look() {
        let (reader, mut writer) = Output::pipe().unwrap();
        for number in 0..20_000 {
            writeln!(writer, "line {number} of many").unwrap();
        }
        drop(writer);
        let (tell, mut told) = mpsc::channel(ON_THEIR_WAY);
        let last = Arc::default();
        let listener = Listener::new(reader, Arc::clone(&last), tell);
        let thread = thread::spawn(move || listener.listen());
        assert_eq!(told.blocking_recv(), Some(line("line 0 of many")));
        while told.blocking_recv().is_some() {}
        thread.join().unwrap();
        let last = last.lock().unwrap();
        assert_eq!(last.back().unwrap(), "line 19999 of many");
    }

    #[test]
    fn of_what_is_written_without_end_no_more_is_read_than_costs_little() {
        let begun = Instant::now();
        let (told, last) = heard(|writer| {
            let mut child = Command::new("yes")
                .stdout(Stdio::from(writer))
                .spawn()
                .unwrap();
            thread::sleep(Duration::from_secs(1));
            child.kill().unwrap();
            child.wait().unwrap();
        });
        assert_eq!(last, ["y"; LAST_LINES]);
        let looks = begun.elapsed().as_millis() / LONG_PAUSE.as_millis() + 2;
        let bytes = u128::from(all_bytes(&told));
        let room = u128::from(PIPE.unsigned_abs());
        assert!(bytes < looks * room + room, "{bytes} in {looks} looks");
    }

    #[test]
    fn an_allowance_is_used_up_and_comes_back_with_time() {
        let now = Instant::now();
        let mut budget = Budget::of(Allowance::of(10, 5), now);
        assert!(budget.take(10, now) && !budget.take(1, now));
        let later = now + Duration::from_millis(399);
        assert!(budget.take(1, later) && !budget.take(1, later));
        assert!(budget.take(10, now + Duration::from_secs(60)));
    }
}
