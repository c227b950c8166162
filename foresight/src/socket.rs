//! The socket by which the running scheduler is asked about itself: one question a connection, one answer in JSON. Nobody is waited
//! for: a caller that has connected may take its time to ask, while others wait for it to be given up.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// How long a caller may take to ask: on a busy machine it may have to wait for a CPU.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take to listen to what it has no room for.
const WRITE: Duration = Duration::from_millis(100);
/// The longest question, in bytes.
const MAX_QUESTION: usize = 64;
/// The longest answer, in bytes.
const MAX_ANSWER: u64 = 1 << 20;
/// Where services keep their state, unless `STATE_DIRECTORY` says so.
const STATE: &str = "/var/lib/auto-ext";

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Stats,
    Why(u32),
}

impl Question {
    fn line(self) -> String {
        match self {
            Self::Stats => "stats\n".to_owned(),
            Self::Why(pid) => format!("why {pid}\n"),
        }
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
        if line == "stats" {
            return Some(Self::Stats);
        }
        line.strip_prefix("why ")?.parse().ok().map(Self::Why)
    }
}

/// Where the socket is unless that is said.
pub(crate) fn usual_place() -> PathBuf {
    usual_directory().join("socket")
}

/// Where this scheduler's own files are unless that is said: below the first directory of `STATE_DIRECTORY`, else that of
/// auto-ext.
pub(crate) fn usual_directory() -> PathBuf {
    let directories = std::env::var_os("STATE_DIRECTORY").unwrap_or_default();
    let first = std::env::split_paths(&directories).next();
    let state = first.filter(|first| first.is_absolute());
    state.unwrap_or_else(|| STATE.into()).join("foresight")
}

/// The socket, which goes when this is dropped unless another has taken its place.
pub(crate) struct Server {
    listener: UnixListener,
    caller: Option<(UnixStream, Instant)>,
    place: PathBuf,
    inode: u64,
}

impl Server {
    /// Listens at `place`, instead of whoever did before. The directory above it is made, but not the one above that.
    pub(crate) fn listen(place: &Path) -> Result<Self> {
        let cannot = || format!("cannot listen at {}", place.display());
        let directory = place.parent().with_context(cannot)?;
        match fs::DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(cannot);
            }
            _ => (),
        }
        let unfinished = place.with_extension(std::process::id().to_string());
        let listener = UnixListener::bind(&unfinished).with_context(cannot)?;
        let made = || -> io::Result<u64> {
            fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o600))?;
            listener.set_nonblocking(true)?;
            let inode = fs::symlink_metadata(&unfinished)?.ino();
            fs::rename(&unfinished, place)?;
            Ok(inode)
        };
        let inode = made().with_context(cannot);
        if inode.is_err() {
            // It may never have come that far.
            let _ = fs::remove_file(&unfinished);
        }
        Ok(Self {
            inode: inode?,
            caller: None,
            listener,
            place: place.to_owned(),
        })
    }

    /// Answers who asks, if anybody does. What goes wrong with a caller is the caller's affair.
    pub(crate) fn serve(&mut self, answer: impl Fn(Question) -> String) {
        if self.caller.is_none()
            && let Ok((stream, _)) = self.listener.accept()
            && stream.set_nonblocking(true).is_ok()
        {
            self.caller = Some((stream, Instant::now()));
        }
        if let Some((mut stream, since)) = self.caller.take() {
            let mut question = [0; MAX_QUESTION];
            match stream.read(&mut question) {
                Ok(length) => {
                    let question = Question::parse(&question[..length]);
                    let _ = question.map(|question| tell(&mut stream, &answer(question)));
                }
                Err(error) if is_for_now(&error) && since.elapsed() < PATIENCE => {
                    self.caller = Some((stream, since));
                }
                Err(_) => (),
            }
        }
    }
}

fn is_for_now(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

fn tell(stream: &mut UnixStream, answer: &str) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(WRITE))?;
    stream.write_all(answer.as_bytes())
}

impl AsFd for Server {
    /// Readable once there is something to serve.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.caller {
            Some((stream, _)) => stream.as_fd(),
            None => self.listener.as_fd(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let there = fs::symlink_metadata(&self.place);
        if there.is_ok_and(|there| there.ino() == self.inode) {
            let _ = fs::remove_file(&self.place);
        }
    }
}

/// Asks the scheduler that listens at `place`.
///
/// # Errors
/// When none does, or none answers.
pub(crate) fn ask(place: &Path, question: Question) -> Result<String> {
    let mut stream = UnixStream::connect(place)
        .with_context(|| format!("no scx_foresight listens at {}", place.display()))?;
    stream
        .write_all(question.line().as_bytes())
        .context("cannot ask it")?;
    let mut answer = String::new();
    let read = stream.take(MAX_ANSWER + 1).read_to_string(&mut answer);
    let length = read.context("it does not answer")?;
    ensure!(length as u64 <= MAX_ANSWER, "its answer is too long");
    if answer.is_empty() {
        bail!("it does not answer");
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `answer` says to one question at a socket of its own.
    fn asked(question: Question, answer: fn(Question) -> String) -> Result<String> {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("foresight/socket");
        let mut server = Server::listen(&place).unwrap();
        let asking = std::thread::spawn(move || ask(&place, question));
        while !asking.is_finished() {
            server.serve(answer);
        }
        asking.join().unwrap()
    }

    #[test]
    fn a_question_is_answered() {
        let answer = |question| format!("{question:?}");
        assert_eq!(asked(Question::Stats, answer).unwrap(), "Stats");
        assert_eq!(asked(Question::Why(17), answer).unwrap(), "Why(17)");
        let error = asked(Question::Stats, |_| String::new()).unwrap_err();
        assert_eq!(error.to_string(), "it does not answer");
    }

    #[test]
    fn what_is_no_question_is_none() {
        for line in [
            "",
            "stats",
            "why\n",
            "why -1\n",
            "why 1",
            "Stats\n",
            "why 99999999999\n",
        ] {
            assert_eq!(Question::parse(line.as_bytes()), None, "{line:?}");
        }
        assert_eq!(
            Question::parse(Question::Why(5).line().as_bytes()),
            Some(Question::Why(5))
        );
    }

    #[test]
    fn a_caller_may_take_its_time_and_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let mut server = Server::listen(&directory.path().join("socket")).unwrap();
        let mut slow = UnixStream::connect(&server.place).unwrap();
        let mut next = UnixStream::connect(&server.place).unwrap();
        next.write_all(b"stats\n").unwrap();
        for _ in 0..3 {
            server.serve(|_| panic!("nothing was asked"));
        }
        slow.write_all(b"why 3\n").unwrap();
        server.serve(|question| format!("{question:?}"));
        let said = |stream| io::read_to_string(stream).unwrap();
        assert_eq!(said(slow), "Why(3)");
        server.serve(|question| format!("{question:?}"));
        assert_eq!(said(next), "Stats");
    }

    #[test]
    fn a_caller_that_never_asks_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let mut server = Server::listen(&directory.path().join("socket")).unwrap();
        let _silent = UnixStream::connect(&server.place).unwrap();
        server.serve(|_| panic!("nothing was asked"));
        let (_, since) = server.caller.as_mut().unwrap();
        *since = since.checked_sub(PATIENCE).unwrap();
        server.serve(|_| panic!("nothing was asked"));
        assert!(server.caller.is_none());
    }

    #[test]
    fn the_socket_is_its_owners_and_goes_with_the_last_who_listens() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("socket");
        let first = Server::listen(&place).unwrap();
        let mode = fs::metadata(&place).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = Server::listen(&place).unwrap();
        drop(first);
        assert!(place.exists());
        drop(second);
        assert!(!place.exists());
        assert!(ask(&place, Question::Stats).is_err());
        assert!(Server::listen(&directory.path().join("no/such/socket")).is_err());
    }
}
