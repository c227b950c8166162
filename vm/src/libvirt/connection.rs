//! The connection to libvirt's daemon: calls with deadlines, events, and the answer to who asks whether we are alive.
//!
//! A call that is not answered in time is not taken back: it may still be done, and who it is about is asked nothing else until it
//! is answered.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::host::HostError;
use crate::snapshot::GuestId;

use super::message::{Header, KEEPALIVE, Kind, REMOTE, decode, encode};
use super::procedures::{
    self, AUTH_LIST, Answer, LIFECYCLE, Lifecycle, OPEN, PING, PONG, Procedure, REGISTER, whole,
};
use super::xdr::XdrError;

/// Which of libvirt's drivers is spoken to.
const DRIVER: &str = "qemu:///system";
/// Nobody has to prove who they are (REMOTE_AUTH_NONE).
const AUTH_NONE: i32 = 0;
/// How much is read at once, in bytes.
const CHUNK: usize = 64 << 10;
/// How many events are kept until they are asked for; there are not so many domains.
const MAX_EVENTS: usize = 100_000;
/// Libvirt does so many calls of one client at once (max_client_requests in libvirtd.conf), but for one, which is for all domains.
const MAX_WAITING: usize = 4;

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    path: PathBuf,
    stream: UnixStream,
    /// What one look at the socket can bring.
    chunk: Box<[u8]>,
    /// What came and was not looked at yet.
    received: Vec<u8>,
    serial: u32,
    /// Calls that were not answered in time, and about whom.
    waiting: BTreeMap<u32, GuestId>,
    events: Vec<Lifecycle>,
}

/// The answer to one call.
type Reply = Result<Vec<u8>, String>;

impl Connection {
    /// Connects to the daemon with this socket.
    ///
    /// # Errors
    /// When it does not answer until then, or does not want us.
    pub(crate) fn open(path: &Path, until: Instant) -> Result<Self, HostError> {
        let failed = |error| HostError::File {
            path: path.to_owned(),
            error,
        };
        let stream = UnixStream::connect(path).map_err(failed)?;
        // What is waited for is waited for by `wait`, which takes no call of its own to say for how long.
        stream.set_nonblocking(true).map_err(failed)?;
        let mut connection = Self {
            path: path.to_owned(),
            stream,
            chunk: vec![0; CHUNK].into_boxed_slice(),
            received: Vec::new(),
            serial: 0,
            waiting: BTreeMap::new(),
            events: Vec::new(),
        };
        let types = connection.call(AUTH_LIST, &[], None, until, procedures::auth_types)?;
        if !types.contains(&AUTH_NONE) {
            return Err(HostError::Refused {
                asked: OPEN.name,
                message: "only who logs in may do that".to_owned(),
            });
        }
        let open = procedures::open(DRIVER);
        connection.call(OPEN, &open, None, until, procedures::nothing)?;
        let register = procedures::register();
        connection.call(REGISTER, &register, None, until, procedures::number)?;
        Ok(connection)
    }

    /// Asks something, and waits for the answer until then. What is about one guest says about which.
    ///
    /// # Errors
    /// [`HostError::Refused`] and [`HostError::Late`] leave the connection as it is; after any other it is of no use any more.
    pub(crate) fn call<T>(
        &mut self,
        procedure: Procedure,
        body: &[u8],
        guest: Option<&GuestId>,
        until: Instant,
        read: Answer<T>,
    ) -> Result<T, HostError> {
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        let header = Header {
            program: REMOTE,
            procedure: procedure.number,
            kind: Kind::Call,
            serial,
            is_error: false,
        };
        let asked = procedure.name;
        self.send(&encode(header, body), until)?;
        loop {
            if let Some(reply) = self.take_reply(serial)? {
                let body = reply.map_err(|message| HostError::Refused { asked, message })?;
                return whole(&body, read).map_err(|error| self.garbled(&error));
            }
            if !self.receive(Some(until))? {
                if let Some(guest) = guest {
                    self.waiting.insert(serial, guest.clone());
                }
                return Err(HostError::Late { asked });
            }
        }
    }

    /// What happened since the last call, without waiting.
    ///
    /// # Errors
    /// When the connection is of no use any more.
    pub(crate) fn events(&mut self) -> Result<Vec<Lifecycle>, HostError> {
        while self.receive(None)? {}
        // There is no call with this number.
        let none = self.serial.wrapping_add(1);
        self.take_reply(none)?;
        Ok(std::mem::take(&mut self.events))
    }

    /// Whether a guest has not answered something yet.
    pub(crate) fn waits_for(&self, guest: &GuestId) -> bool {
        self.waiting.values().any(|other| other == guest)
    }

    /// Who has not answered yet, if they are so many that nothing else would be answered either.
    pub(crate) fn is_full(&self) -> Option<Vec<GuestId>> {
        (self.waiting.len() >= MAX_WAITING).then(|| self.waiting.values().cloned().collect())
    }

    /// Looks at what came, up to the reply to the call with this number.
    fn take_reply(&mut self, serial: u32) -> Result<Option<Reply>, HostError> {
        loop {
            let (header, body, taken) = match decode(&self.received) {
                Ok(None) => return Ok(None),
                Ok(Some((message, taken))) => (message.header, message.body.to_vec(), taken),
                Err(error) => return Err(self.garbled(&error)),
            };
            self.received.drain(..taken);
            match (header.program, header.kind) {
                (REMOTE, Kind::Reply) if header.serial == serial => {
                    let reply = if header.is_error {
                        let message = whole(&body, procedures::error);
                        Err(message.map_err(|error| self.garbled(&error))?)
                    } else {
                        Ok(body)
                    };
                    return Ok(Some(reply));
                }
                // It comes too late for who asked.
                (REMOTE, Kind::Reply) => drop(self.waiting.remove(&header.serial)),
                (REMOTE, Kind::Event) if header.procedure == LIFECYCLE => {
                    let event = whole(&body, procedures::lifecycle);
                    let event = event.map_err(|error| self.garbled(&error))?;
                    if self.events.len() < MAX_EVENTS {
                        self.events.push(event);
                    }
                }
                (KEEPALIVE, Kind::Event) if header.procedure == PING => self.pong()?,
                _ => {}
            }
        }
    }

    fn pong(&mut self) -> Result<(), HostError> {
        let header = Header {
            program: KEEPALIVE,
            procedure: PONG,
            kind: Kind::Event,
            serial: 0,
            is_error: false,
        };
        // Who asks has room for the answer, or is not to be waited for.
        self.send(
            &encode(header, &[]),
            Instant::now() + Duration::from_millis(100),
        )
    }

    /// Sends a message as a whole, or leaves a connection that is of no use.
    fn send(&mut self, message: &[u8], until: Instant) -> Result<(), HostError> {
        let mut left = message;
        while !left.is_empty() {
            let failed = match self.stream.write(left) {
                Ok(0) => ErrorKind::WriteZero.into(),
                Ok(sent) => {
                    left = &left[sent..];
                    continue;
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => continue,
                    ErrorKind::WouldBlock if self.wait(PollFlags::POLLOUT, until)? => continue,
                    ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
                    _ => error,
                },
            };
            return Err(self.failed(failed));
        }
        Ok(())
    }

    /// Receives what is there, or waits for it until then. Returns whether anything came.
    fn receive(&mut self, until: Option<Instant>) -> Result<bool, HostError> {
        if let Some(until) = until
            && !self.wait(PollFlags::POLLIN, until)?
        {
            return Ok(false);
        }
        match self.stream.read(&mut self.chunk) {
            Ok(0) => Err(self.failed(ErrorKind::UnexpectedEof.into())),
            Ok(came) => {
                self.received.extend_from_slice(&self.chunk[..came]);
                Ok(true)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => Ok(false),
                // The time is not up for that.
                ErrorKind::Interrupted => Ok(true),
                _ => Err(self.failed(error)),
            },
        }
    }

    /// Waits until there is something to read or room to write. Returns false when the time is up.
    fn wait(&self, wanted: PollFlags, until: Instant) -> Result<bool, HostError> {
        let mut sockets = [PollFd::new(self.stream.as_fd(), wanted)];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut sockets, timeout) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(self.failed(error.into())),
            }
        }
    }

    fn failed(&self, error: io::Error) -> HostError {
        HostError::File {
            path: self.path.clone(),
            error,
        }
    }

    fn garbled(&self, error: &XdrError) -> HostError {
        HostError::Garbled {
            from: self.path.clone(),
            why: error.to_string(),
        }
    }
}
