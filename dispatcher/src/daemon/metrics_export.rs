//! Takes metrics to others: serves them by HTTP on the thread of callers, and writes them for node_exporter's textfile
//! collector.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use auto_ext_policy::Listen;
use auto_ext_service::atomic_file::NewFile;
use auto_ext_service::clock::now_us;
use auto_ext_service::file_access::Reader;
use auto_ext_service::lock::lock;
use tokio::task::JoinHandle;

use super::callers::Callers;
use crate::api::request::Requests;
use crate::metrics::server::Server;

/// What a sandbox without internet addresses answers.
const AFNOSUPPORT: i32 = nix::errno::Errno::EAFNOSUPPORT as i32;

/// The ways by which metrics leave the daemon.
pub(super) struct Export {
    requests: Requests,
    callers: Callers,
    server: Option<Server>,
    /// Why metrics are not served where they should be, as it was logged.
    not_served: Option<String>,
    /// The file that was written last.
    textfile: Option<Textfile>,
    writing: Option<JoinHandle<io::Result<()>>>,
    /// The last write of the textfile failed.
    write_failed: bool,
    /// When the daemon was started: CLOCK_REALTIME in microseconds.
    started: u64,
}

/// A file for node_exporter, shared with the thread that writes it.
#[derive(Clone)]
struct Textfile {
    path: PathBuf,
    /// Whether it may still be put in place; locked while it is.
    wanted: Arc<Mutex<bool>>,
}

impl Export {
    pub(super) fn new(requests: Requests, callers: Callers) -> Self {
        Self {
            requests,
            callers,
            server: None,
            textfile: None,
            writing: None,
            write_failed: false,
            not_served: None,
            started: now_us(),
        }
    }

    /// The thread on which callers are served.
    pub(super) fn callers(&self) -> &Callers {
        &self.callers
    }

    /// When the daemon was started: CLOCK_REALTIME in microseconds.
    pub(super) fn started(&self) -> u64 {
        self.started
    }

    /// Answers that were given before are out of date.
    pub(super) fn state_changed(&self) {
        self.requests.state_changed();
    }

    /// Stops serving and removes the textfile, so that nobody takes what it has for the present.
    pub(super) fn end(&mut self) {
        self.server = None;
        self.remove_textfile();
    }

    /// Serves metrics at `listen`, and nowhere else.
    pub(super) fn serve(&mut self, listen: Option<&Listen>) {
        if self.server.as_ref().map(Server::listen) == listen {
            return;
        }
        self.server = None;
        let Some(listen) = listen else {
            return;
        };
        match Server::start(self.callers.runtime(), listen, self.requests.clone()) {
            Ok(server) => {
                self.server = Some(server);
                self.not_served = None;
            }
            Err(error) => {
                let remedy = match (listen, error.raw_os_error()) {
                    (Listen::Loopback(_), Some(libc_error)) if libc_error == AFNOSUPPORT => {
                        "; the unit needs `RestrictAddressFamilies=AF_INET AF_INET6` in a drop-in"
                    }
                    _ => "",
                };
                let why = format!("metrics are not served at {listen}: {error}{remedy}");
                // It is tried again and again, and logged once.
                if self.not_served.as_ref() != Some(&why) {
                    tracing::error!("{why}");
                    self.not_served = Some(why);
                }
            }
        }
    }

    /// Has the textfile at `wanted`, and no other. Whether it can be written now: it is wanted, and not being written.
    pub(super) fn prepare_textfile(&mut self, wanted: Option<&PathBuf>) -> bool {
        if wanted != self.textfile.as_ref().map(|textfile| &textfile.path) {
            self.remove_textfile();
            self.textfile = wanted.cloned().map(Textfile::new);
            self.write_failed = false;
        }
        self.textfile.is_some() && self.last_write_has_ended()
    }

    /// Writes the textfile, without waiting for the disk.
    pub(super) fn write_textfile(&mut self, text: String) {
        if let Some(textfile) = self.textfile.clone() {
            let writing = tokio::task::spawn_blocking(move || textfile.replace(&text));
            self.writing = Some(writing);
        }
    }

    fn remove_textfile(&mut self) {
        if let Some(textfile) = self.textfile.take() {
            textfile.remove();
        }
    }

    /// Whether no write is on its way. Logs the first failure of several in a row.
    fn last_write_has_ended(&mut self) -> bool {
        use futures_util::FutureExt as _;
        let Some(writing) = &mut self.writing else {
            return true;
        };
        let Some(written) = writing.now_or_never() else {
            return false;
        };
        self.writing = None;
        let written = written.expect("who writes neither panics nor is aborted");
        if let (Err(error), false, Some(textfile)) = (&written, self.write_failed, &self.textfile) {
            let why = match Reader::ourselves().write_beside(&textfile.path) {
                Ok(()) => String::new(),
                Err(obstacle) => format!("; {obstacle}"),
            };
            let path = textfile.path.display();
            tracing::warn!("metrics are not written to {path}: {error}{why}");
        }
        self.write_failed = written.is_err();
        true
    }
}

impl Textfile {
    fn new(path: PathBuf) -> Self {
        let wanted = Arc::new(Mutex::new(true));
        Self { path, wanted }
    }

    /// Replaces the file as a whole: whoever reads it sees the old text or the new one.
    fn replace(&self, text: &str) -> io::Result<()> {
        let new = NewFile::write(&self.path, [text])?;
        let wanted = lock(&self.wanted);
        if *wanted {
            new.put_in_place()?;
        }
        Ok(())
    }

    /// Removes the file for good: a write that is on its way does not bring it back.
    fn remove(&self) {
        *lock(&self.wanted) = false;
        // It may never have been written.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_textfile_is_replaced_as_a_whole_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("auto-ext.prom");
        let textfile = Textfile::new(path.clone());
        textfile.replace("old").unwrap();
        let old = File::open(&path).unwrap();
        textfile.replace("new").unwrap();
        assert_eq!(io::read_to_string(old).unwrap(), "old");
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let missing = directory.path().join("missing/auto-ext.prom");
        assert!(Textfile::new(missing).replace("").is_err());
    }

    #[test]
    fn a_write_in_flight_does_not_bring_back_a_textfile_that_was_taken_away() {
        let directory = tempfile::tempdir().unwrap();
        let textfile = Textfile::new(directory.path().join("auto-ext.prom"));
        textfile.replace("first").unwrap();
        let in_flight = textfile.clone();
        textfile.remove();
        in_flight.replace("late").unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
