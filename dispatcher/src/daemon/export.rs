//! Metrics: gathered, written for node_exporter's textfile collector and served, as the policy says.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tokio::task::JoinHandle;

use super::Daemon;
use crate::clock::{cpu_time, now_us};
use crate::core::signals_now;
use crate::metrics::server::Server;
use crate::metrics::{self, Snapshot};
use crate::policy::Listen;
use crate::reach::Reader;
use crate::report::Current;
use crate::request::Requests;

/// What takes metrics to others.
pub(super) struct Export {
    requests: Requests,
    server: Option<Server>,
    /// Why there is none where there should be one, as was said.
    not_served: Option<String>,
    /// The file that was written last.
    textfile: Option<PathBuf>,
    writing: Option<JoinHandle<io::Result<()>>>,
    trouble: bool,
    started: u64,
}

impl Export {
    pub(super) fn new(requests: Requests) -> Self {
        Self {
            requests,
            server: None,
            textfile: None,
            writing: None,
            trouble: false,
            not_served: None,
            started: now_us(),
        }
    }

    /// Takes back what was shown: nobody is to take it for the present.
    pub(super) fn end(&mut self) {
        self.server = None;
        self.remove_textfile();
    }

    fn remove_textfile(&mut self) {
        if let Some(path) = self.textfile.take() {
            // It may never have been written.
            let _ = fs::remove_file(path);
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
        match Server::start(listen, self.requests.clone()) {
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
        let trouble = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let (Some(error), false, Some(path)) = (&trouble, self.trouble, &self.textfile) {
            let why = match Reader::ourselves().write_beside(path) {
                Ok(()) => String::new(),
                Err(obstacle) => format!("; {obstacle}"),
            };
            let path = path.display();
            tracing::warn!("metrics are not written to {path}: {error}{why}");
        }
        self.trouble = trouble.is_some();
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
        self.export.serve(self.policy.metrics.listen.as_ref());
    }

    /// Writes the file that the policy wants, without waiting for the disk.
    pub(super) fn write_textfile(&mut self) {
        if self.policy.metrics.textfile != self.export.textfile {
            self.export.remove_textfile();
            self.export
                .textfile
                .clone_from(&self.policy.metrics.textfile);
            self.export.trouble = false;
        }
        let Some(path) = self.export.textfile.clone() else {
            return;
        };
        if self.export.may_write() {
            let text = metrics::prometheus(&self.metrics());
            let writing = tokio::task::spawn_blocking(move || replace(&path, &text));
            self.export.writing = Some(writing);
        }
    }
}

/// Replaces the file as a whole: whoever reads it sees the old text or the new one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    // Not a name that the collector reads.
    let unfinished = path.with_extension("prom.new");
    let written = write_new(&unfinished, text).and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        // On a full disk, what is half written only takes room.
        let _ = fs::remove_file(&unfinished);
    }
    written
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
        replace(&path, "old").unwrap();
        let old = File::open(&path).unwrap();
        replace(&path, "new").unwrap();
        assert_eq!(io::read_to_string(old).unwrap(), "old");
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let missing = directory.path().join("missing/auto-ext.prom");
        assert!(replace(&missing, "").is_err());
    }
}
