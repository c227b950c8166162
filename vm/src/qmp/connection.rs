//! The connection to one QEMU: commands with deadlines. A command that is not answered in time is not taken back, and nothing else
//! is asked until it is answered.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::host::HostError;
use crate::kernel::Pid;

use super::line::{Line, command, parse};

/// How long a line may be, in bytes; a vCPU takes some 200 of them.
const MAX_LINE: usize = 4 << 20;
const CHUNK: usize = 16 << 10;

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    path: PathBuf,
    stream: UnixStream,
    received: Vec<u8>,
    number: u64,
    /// The command that was not answered in time.
    waiting: Option<u64>,
    events: Vec<String>,
    /// QEMU has closed it.
    pub(crate) is_over: bool,
}

impl Connection {
    /// Connects to the QEMU with this socket, which serves one at a time.
    pub(crate) fn open(path: &Path, until: Instant) -> Result<Self, HostError> {
        let stream = UnixStream::connect(path).map_err(|error| HostError::File {
            path: path.to_owned(),
            error,
        })?;
        let mut connection = Self {
            path: path.to_owned(),
            stream,
            received: Vec::new(),
            number: 0,
            waiting: None,
            events: Vec::new(),
            is_over: false,
        };
        let asked = "greet";
        loop {
            match connection.take_line()? {
                Some(Line::Greeting) => break,
                Some(_) => {}
                None if connection.receive(Some(until))? => {}
                None => return Err(HostError::Late { asked }),
            }
        }
        let _: Value = connection.call("qmp_capabilities", &Value::Null, until)?;
        Ok(connection)
    }

    /// The process at the other end.
    pub(crate) fn pid(&self) -> Option<Pid> {
        let peer = getsockopt(&self.stream, PeerCredentials).ok()?;
        Pid::try_from(peer.pid()).ok()
    }

    /// Has a command carried out, and waits for what it returns until then.
    pub(crate) fn call<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        arguments: &Value,
        until: Instant,
    ) -> Result<T, HostError> {
        self.number += 1;
        let number = self.number;
        self.send(&command(number, name, arguments), until)?;
        loop {
            match self.take_line()? {
                Some(Line::Reply(other, reply)) if other == number => {
                    let value = reply.map_err(|message| HostError::Refused {
                        asked: name,
                        message,
                    })?;
                    return serde_json::from_value(value).map_err(|error| self.garbled(&error));
                }
                Some(line) => self.note(line),
                None if self.receive(Some(until))? => {}
                None => {
                    self.waiting = Some(number);
                    return Err(HostError::Late { asked: name });
                }
            }
        }
    }

    /// Whether it has not answered yet, as far as that can be seen without waiting.
    pub(crate) fn hangs(&mut self) -> Result<bool, HostError> {
        self.look()?;
        Ok(self.waiting.is_some())
    }

    /// What happened since the last call, without waiting.
    pub(crate) fn events(&mut self) -> Result<Vec<String>, HostError> {
        self.look()?;
        Ok(std::mem::take(&mut self.events))
    }

    fn look(&mut self) -> Result<(), HostError> {
        while self.receive(None)? {
            while let Some(line) = self.take_line()? {
                self.note(line);
            }
        }
        while let Some(line) = self.take_line()? {
            self.note(line);
        }
        Ok(())
    }

    fn note(&mut self, line: Line) {
        match line {
            // Nobody needs more of them: the first says how it ends.
            Line::Event(name) if self.events.len() < 1000 => self.events.push(name),
            Line::Reply(number, _) if self.waiting == Some(number) => self.waiting = None,
            Line::Event(_) | Line::Reply(..) | Line::Greeting => {}
        }
    }

    fn take_line(&mut self) -> Result<Option<Line>, HostError> {
        let Some(end) = self.received.iter().position(|byte| *byte == b'\n') else {
            if self.received.len() > MAX_LINE {
                return Err(self.garbled(&"a line is too long"));
            }
            return Ok(None);
        };
        let line = parse(&self.received[..end]);
        self.received.drain(..=end);
        line.map(Some).map_err(|error| self.garbled(&error))
    }

    fn send(&mut self, line: &str, until: Instant) -> Result<(), HostError> {
        let left = until.saturating_duration_since(Instant::now());
        // None would be for ever.
        let left = left.max(Duration::from_millis(1));
        self.stream
            .set_nonblocking(false)
            .and_then(|()| self.stream.set_write_timeout(Some(left)))
            .and_then(|()| self.stream.write_all(line.as_bytes()))
            .map_err(|error| self.failed(error))
    }

    /// Receives what is there, or waits for it until then. Returns whether anything came.
    fn receive(&mut self, until: Option<Instant>) -> Result<bool, HostError> {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let prepared = match left.filter(|left| !left.is_zero()) {
            Some(wait) => self
                .stream
                .set_nonblocking(false)
                .and_then(|()| self.stream.set_read_timeout(Some(wait))),
            None => self.stream.set_nonblocking(true),
        };
        prepared.map_err(|error| self.failed(error))?;
        let mut chunk = [0; CHUNK];
        match self.stream.read(&mut chunk) {
            Ok(0) => {
                self.is_over = true;
                Ok(false)
            }
            Ok(came) => {
                self.received.extend(&chunk[..came]);
                Ok(true)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Ok(false),
                _ => Err(self.failed(error)),
            },
        }
    }

    fn failed(&mut self, error: io::Error) -> HostError {
        self.is_over = true;
        HostError::File {
            path: self.path.clone(),
            error,
        }
    }

    fn garbled(&mut self, error: &dyn std::fmt::Display) -> HostError {
        self.is_over = true;
        HostError::Garbled {
            from: self.path.clone(),
            why: error.to_string(),
        }
    }
}
