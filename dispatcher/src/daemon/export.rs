//! Metrics: gathered, written for node_exporter's textfile collector and served, as the policy says.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::task::JoinHandle;

use super::Daemon;
use super::callers::Callers;
use crate::clock::{cpu_time, now_us};
use crate::core::signals_now;
use crate::lock::lock;
use crate::metrics::server::Server;
use crate::metrics::{self, Snapshot};
use crate::policy::Listen;
use crate::reach::Reader;
use crate::report::Current;
use crate::request::Requests;

/// What takes metrics to others.
pub(super) struct Export {
    requests: Requests,
    callers: Callers,
    server: Option<Server>,
    /// Why there is none where there should be one, as was said.
    not_served: Option<String>,
    /// The file that was written last.
    textfile: Option<Textfile>,
    writing: Option<JoinHandle<io::Result<()>>>,
    trouble: bool,
    started: u64,
}

/// A file for node_exporter, shared with whoever is writing it.
#[derive(Clone)]
struct Textfile {
    path: PathBuf,
    /// Whether it may still be put at its place; locked while it is.
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
            trouble: false,
            not_served: None,
            started: now_us(),
        }
    }

    /// The thread on which callers are served.
    pub(super) fn callers(&self) -> &Callers {
        &self.callers
    }

    /// Something happened that callers may want to know.
    pub(super) fn something_happened(&self) {
        self.requests.something_happened();
    }

    /// Takes back what was shown: nobody is to take it for the present.
    pub(super) fn end(&mut self) {
        self.server = None;
        self.remove_textfile();
    }

    fn remove_textfile(&mut self) {
        if let Some(textfile) = self.textfile.take() {
            textfile.remove();
        }
    }

    fn serve(&mut self, listen: Option<&Listen>) {
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
                // It is tried again and again.
                if self.not_served.as_ref() != Some(&why) {
                    tracing::error!("{why}");
                    self.not_served = Some(why);
                }
            }
        }
    }

    /// Takes note of how the last write ended; whether the next may begin.
    fn may_write(&mut self) -> bool {
        use futures_util::FutureExt as _;
        let Some(writing) = &mut self.writing else {
            return true;
        };
        let Some(written) = writing.now_or_never() else {
            return false;
        };
        self.writing = None;
        let written = written.expect("who writes neither panics nor is aborted");
        if let (Err(error), false, Some(textfile)) = (&written, self.trouble, &self.textfile) {
            let why = match Reader::ourselves().write_beside(&textfile.path) {
                Ok(()) => String::new(),
                Err(obstacle) => format!("; {obstacle}"),
            };
            let path = textfile.path.display();
            tracing::warn!("metrics are not written to {path}: {error}{why}");
        }
        self.trouble = written.is_err();
        true
    }
}

/// What a sandbox without internet addresses answers.
const AFNOSUPPORT: i32 = nix::errno::Errno::EAFNOSUPPORT as i32;

impl Daemon {
    /// The metrics of this moment as OpenMetrics text.
    pub(super) fn metrics(&mut self) -> String {
        let thoughts = self.thoughts();
        metrics::open_metrics(Snapshot {
            current: Current::read(&self.sched_ext, &self.children),
            thoughts,
            signals: signals_now(&self.state),
            counters: self.kept.told(),
            policy_is_valid: !self.state.has_policy_problem(),
            started: self.export.started,
            cpu_seconds: cpu_time().as_secs_f64(),
        })
    }

    /// Serves metrics where the policy says, and no longer where it said so before.
    pub(super) fn serve_metrics(&mut self) {
        if !self.beside {
            self.export.serve(self.policy.metrics.listen.as_ref());
        }
    }

    /// Writes the file that the policy wants, without waiting for the disk.
    pub(super) fn write_textfile(&mut self) {
        if self.beside {
            return;
        }
        let wanted = self.policy.metrics.textfile.as_ref();
        if wanted != self.export.textfile.as_ref().map(|textfile| &textfile.path) {
            self.export.remove_textfile();
            self.export.textfile = wanted.cloned().map(Textfile::new);
            self.export.trouble = false;
        }
        let Some(textfile) = self.export.textfile.clone() else {
            return;
        };
        if self.export.may_write() {
            let text = metrics::prometheus(&self.metrics());
            let writing = tokio::task::spawn_blocking(move || textfile.replace(&text));
            self.export.writing = Some(writing);
        }
    }
}

impl Textfile {
    fn new(path: PathBuf) -> Self {
        let wanted = Arc::new(Mutex::new(true));
        Self { path, wanted }
    }

    /// Replaces the file as a whole: whoever reads it sees the old text or the new one.
    fn replace(&self, text: &str) -> io::Result<()> {
        // Not a name that the collector reads.
        let unfinished = self.path.with_extension("prom.new");
        let placed = write_new(&unfinished, text).and_then(|()| {
            let wanted = lock(&self.wanted);
            if *wanted {
                fs::rename(&unfinished, &self.path)?;
            }
            Ok(*wanted)
        });
        if !matches!(placed, Ok(true)) {
            // On a full disk, what is half written only takes room.
            let _ = fs::remove_file(&unfinished);
        }
        placed.map(drop)
    }

    /// Takes the file away for good: what is still being written does not bring it back.
    fn remove(&self) {
        *lock(&self.wanted) = false;
        // It may never have been written.
        let _ = fs::remove_file(&self.path);
    }
}

/// Writes a file that is not there yet, nor a link that somebody made.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::create_new(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
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
