//! The thread that reads what a process says, and takes out what is to be logged.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, PipeReader, Read as _};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use auto_ext_service::lock::lock;
use nix::errno::Errno;
use nix::fcntl::{SpliceFFlags, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
// nix has no call for the number of bytes in a pipe.
use rustix::io::ioctl_fionread;
use tokio::sync::mpsc;

use super::budget::{Allowance, Budget};

/// What is kept to explain an end: lines, and bytes per line. A longer line is several.
pub(super) const LAST_LINES: usize = 20;
pub(super) const LINE_LIMIT: usize = 1024;
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
pub(super) const LONG_PAUSE: Duration = Duration::from_millis(50);

/// What goes to the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LogEntry {
    Line(String),
    /// So many bytes are missing here.
    LeftOut(u64),
}

/// What the thread works on.
pub(super) struct Listener {
    reader: PipeReader,
    /// What has been read of the line that has not ended.
    line: Vec<u8>,
    last: VecDeque<String>,
    shared: Arc<Mutex<VecDeque<String>>>,
    log: mpsc::Sender<LogEntry>,
    bytes: Budget,
    lines: Budget,
    /// How many lines that were looked at were not logged since the last one that was.
    unlogged: usize,
    /// How many bytes were not logged since then, looked at or not.
    left_out: u64,
    /// Takes what nobody looks at, without a copy of it being made.
    nowhere: Option<File>,
}

impl Listener {
    pub(super) fn new(
        reader: PipeReader,
        shared: Arc<Mutex<VecDeque<String>>>,
        log: mpsc::Sender<LogEntry>,
    ) -> Self {
        let now = Instant::now();
        Self {
            reader,
            line: Vec::new(),
            last: VecDeque::new(),
            shared,
            log,
            bytes: Budget::of(BYTES, now),
            lines: Budget::of(LINES, now),
            unlogged: 0,
            left_out: 0,
            nowhere: File::options().write(true).open("/dev/null").ok(),
        }
    }

    /// Reads until no process can write any more.
    pub(super) fn listen(mut self) {
        let mut chunk = [0; CHUNK];
        while let Ok(available @ 1..) = self.wait() {
            let pause = match self.look(available, &mut chunk) {
                Ok(true) => PAUSE,
                Ok(false) => LONG_PAUSE,
                Err(_) => break,
            };
            // If it is being read just now, it is updated the next time.
            if let Ok(mut shared) = self.shared.try_lock() {
                shared.clone_from(&self.last);
            }
            self.pause(pause);
        }
        self.end_line();
        *lock(&self.shared) = self.last.clone();
        self.log_the_end();
    }

    /// Lets more come together, unless no process can write any more.
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
            let available = ioctl_fionread(&self.reader)?;
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
            // Its beginning is logged, however much there was before the first look.
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
            let flags = SpliceFFlags::empty();
            splice(&self.reader, None, nowhere, None, bytes, flags)
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
        if self.lines.take(1, Instant::now()) && self.log_line(text) {
            self.unlogged = 0;
        } else {
            self.unlogged += 1;
            self.left_out += text.len() as u64 + 1;
        }
    }

    /// Logs a line, and before it how many bytes are missing, if there is room for both.
    fn log_line(&mut self, line: &str) -> bool {
        if self.left_out > 0 {
            if self.log.try_send(LogEntry::LeftOut(self.left_out)).is_err() {
                return false;
            }
            self.left_out = 0;
        }
        self.log.try_send(LogEntry::Line(line.to_owned())).is_ok()
    }

    /// Logs those of the last lines that have not been. No process waits for us any more.
    fn log_the_end(mut self) {
        let last = self.unlogged.min(self.last.len());
        let sizes = self.last.iter().map(|line| line.len() as u64 + 1);
        let last_bytes: u64 = sizes.rev().take(last).sum();
        let left_out = self.left_out.saturating_sub(last_bytes);
        if left_out > 0 {
            let _ = self.log.blocking_send(LogEntry::LeftOut(left_out));
        }
        for line in self.last.drain(self.last.len() - last..) {
            let _ = self.log.blocking_send(LogEntry::Line(line));
        }
    }
}
