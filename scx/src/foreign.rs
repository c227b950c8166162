//! A scheduler that we did not start: whose it is, and asking it to leave.
//!
//! It is asked the way its owner would: a service that is there to run schedulers is stopped, so that
//! it does not start its own again; another process gets SIGINT, on which all known schedulers leave.
//! Other services are not stopped, as more than the scheduler may belong to them. Nothing is killed, and
//! no process is asked of which the kernel does not say that it holds just this scheduler: other operations
//! than a scheduler's are in the kernel too, and schedulers of single cgroups. Whether it may be asked at all
//! is for the caller to decide.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::timeout;
use zbus::Connection;

use crate::pidfd::Pidfd;
use crate::struct_ops::{self, Ask};

/// The services that are there to run schedulers: that of the scx project's packages, and scx_loader.
pub const SERVICES: [&str; 2] = ["scx.service", "scx_loader.service"];

/// How long systemd may take to answer.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The process that holds the scheduler which is enabled.
#[derive(Debug)]
pub struct Holder {
    pid: i32,
    process: Pidfd,
    /// Its directory in /proc.
    path: PathBuf,
    /// The scheduler, as the kernel shows it.
    ops: String,
    ask: Ask,
    /// The service of [`SERVICES`] that the process belongs to.
    service: Option<&'static str>,
}

/// Why a scheduler cannot be asked to leave.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// It was attached by something that lives on without a process, such as a pinned link.
    #[error("no process holds it; whoever attached it must detach it")]
    NoProcess,
    /// Several processes have schedulers of that name.
    #[error("it cannot be told which of the processes {0:?} holds it; stop it yourself")]
    Several(Vec<i32>),
    /// The kernel does not say what the operations of these processes are for.
    #[error("it cannot be told whether it is that of one of the processes {0:?}; stop it yourself")]
    Untold(Vec<i32>),
    /// Its service cannot be stopped.
    #[error("systemd does not stop {service}: {error}")]
    Service {
        /// The unit.
        service: &'static str,
        /// What systemd or D-Bus says.
        error: zbus::Error,
    },
    /// Its process cannot be signalled.
    #[error("process {pid} cannot be signalled: {error}")]
    Process {
        /// The process.
        pid: i32,
        /// What the kernel says.
        error: io::Error,
    },
}

impl Holder {
    /// The process that holds the scheduler which the kernel shows as `ops`
    /// ([`KernelState::Enabled`](auto_ext_core::KernelState)). Looks at all processes, which takes milliseconds.
    ///
    /// # Errors
    /// When there is no such process, or it cannot be told which one it is.
    pub fn find(ops: &str) -> Result<Self, ForeignError> {
        Self::find_below(Path::new("/proc"), ops, struct_ops::ask)
    }

    fn find_below(proc: &Path, ops: &str, ask: Ask) -> Result<Self, ForeignError> {
        let (mut holders, mut untold) = (Vec::new(), Vec::new());
        for (pid, path) in processes(proc) {
            if !struct_ops::has_link(&path) {
                continue;
            }
            // First, so that what is found out is of this process.
            let Ok(process) = Pidfd::of_process(pid) else {
                continue;
            };
            match holds(&path, ops, ask) {
                Some(true) => holders.push((pid, path, process)),
                Some(false) => {}
                None => untold.push(pid),
            }
        }
        match (holders.pop(), holders.is_empty()) {
            (Some((pid, path, process)), true) => {
                let cgroup = fs::read_to_string(path.join("cgroup")).unwrap_or_default();
                Ok(Self {
                    pid,
                    process,
                    path,
                    ops: ops.to_owned(),
                    ask,
                    service: service_of(&cgroup),
                })
            }
            (Some((last, ..)), false) => {
                let others = holders.into_iter().map(|(pid, ..)| pid);
                Err(ForeignError::Several(others.chain([last]).collect()))
            }
            (None, _) if untold.is_empty() => Err(ForeignError::NoProcess),
            (None, _) => Err(ForeignError::Untold(untold)),
        }
    }

    /// Asks it to leave; that it does is to be waited for. Needs no privilege but that of root for its own processes
    /// (or CAP_KILL), and of a service the right to stop units.
    ///
    /// # Errors
    /// When systemd does not stop the service, within 5 seconds, or the process cannot be signalled.
    pub async fn ask_to_leave(&self) -> Result<(), ForeignError> {
        match self.service {
            Some(service) => {
                tracing::warn!("stopping {service}, which runs another scheduler");
                stop(service)
                    .await
                    .map_err(|error| ForeignError::Service { service, error })
            }
            None => {
                let pid = self.pid;
                if holds(&self.path, &self.ops, self.ask) != Some(true) {
                    // It is about to leave by itself.
                    return Ok(());
                }
                tracing::warn!("asking process {pid}, which runs another scheduler, to leave");
                self.process
                    .signal(Signal::SIGINT)
                    .map_err(|error| ForeignError::Process { pid, error })
            }
        }
    }
}

async fn stop(service: &str) -> zbus::Result<()> {
    let asked = async {
        let bus = Connection::system().await?;
        bus.call_method(
            Some("org.freedesktop.systemd1"),
            "/org/freedesktop/systemd1",
            Some("org.freedesktop.systemd1.Manager"),
            "StopUnit",
            &(service, "replace"),
        )
        .await
        .map(drop)
    };
    timeout(ANSWER_WITHIN, asked)
        .await
        .unwrap_or_else(|_| Err(zbus::Error::Failure("nobody answers on D-Bus".to_owned())))
}

fn processes(proc: &Path) -> impl Iterator<Item = (i32, PathBuf)> {
    fs::read_dir(proc)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, entry.path()))
        })
}

/// Whether this process holds the scheduler called `ops`; `None` when the kernel does not say of all that it
/// holds what it is.
fn holds(process: &Path, ops: &str, ask: Ask) -> Option<bool> {
    let held = struct_ops::of_process(process, ask).into_iter();
    let links = held.filter(|held| held.link.is_some());
    let said: Vec<Option<bool>> = links.map(|held| held.is_scheduler(ops)).collect();
    match &said[..] {
        said if said.contains(&Some(true)) => Some(true),
        said if said.contains(&None) => None,
        _ => Some(false),
    }
}

/// The service of [`SERVICES`] that the contents of /proc/PID/cgroup name.
fn service_of(cgroup: &str) -> Option<&'static str> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let name = path.strip_prefix("/system.slice/")?.split('/').next()?;
    SERVICES.into_iter().find(|service| *service == name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Child, Command};

    use super::*;
    use crate::struct_ops::tests::{Process, answer};

    const OPS: &str = "lavd_1.1.4";

    /// A process, and what it holds below `root`.
    fn process(root: &Path, cgroup: &str, file: impl Fn(&Process<'_>)) -> Child {
        let child = Command::new("sleep").arg("100").spawn().unwrap();
        Process::with(root, child.id(), file);
        let path = root.join(child.id().to_string()).join("cgroup");
        fs::write(path, format!("0::{cgroup}\n")).unwrap();
        child
    }

    fn scheduler(process: &Process<'_>) {
        process.link(7, "struct_ops", 3, 4);
        process.map(8, 4, "scheduler lavd_1.1.4");
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn only_the_process_with_just_this_scheduler_is_asked_to_leave() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let others: [fn(&Process<'_>); 5] = [
            |process| process.link(7, "tracing", 1, 2),
            // TCP congestion control, HID.
            |process| {
                process.link(7, "struct_ops", 5, 6);
                process.map(8, 6, "other");
            },
            |process| {
                process.link(7, "struct_ops", 7, 8);
                process.map(8, 8, "sub");
            },
            |process| {
                process.link(7, "struct_ops", 9, 10);
                process.map(8, 10, "scheduler lavd_1.1.3");
            },
            // Loaded, and not attached.
            |process| process.map(8, 12, "scheduler lavd_1.1.4"),
        ];
        let mut others: Vec<Child> = others
            .into_iter()
            .map(|file| process(root, "/", file))
            .collect();
        let found = Holder::find_below(root, OPS, answer);
        assert!(matches!(found, Err(ForeignError::NoProcess)), "{found:?}");
        let mut holder = process(root, "/", scheduler);
        let found = Holder::find_below(root, OPS, answer).unwrap();
        assert_eq!(
            (found.pid.unsigned_abs(), found.service),
            (holder.id(), None)
        );
        found.ask_to_leave().await.unwrap();
        assert_eq!(holder.wait().unwrap().signal(), Some(2));
        // Its number may be another's now.
        let error = found.ask_to_leave().await.unwrap_err();
        assert!(matches!(error, ForeignError::Process { .. }), "{error}");
        for child in &mut others {
            assert!(child.try_wait().unwrap().is_none());
        }
        others.into_iter().for_each(end);
    }

    #[tokio::test]
    async fn a_process_that_has_detached_it_meanwhile_is_not_asked_any_more() {
        let root = tempfile::tempdir().unwrap();
        let mut holder = process(root.path(), "/", scheduler);
        let found = Holder::find_below(root.path(), OPS, answer).unwrap();
        let path = root.path().join(holder.id().to_string());
        fs::remove_file(path.join("fd/7")).unwrap();
        found.ask_to_leave().await.unwrap();
        std::thread::sleep(Duration::from_millis(50));
        assert!(holder.try_wait().unwrap().is_none());
        end(holder);
    }

    #[test]
    fn where_it_is_not_certain_which_process_holds_it_none_is_asked() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        // Whoever has closed the map, or must not be looked into.
        let closed = process(root, "/", |process| process.link(7, "struct_ops", 3, 4));
        let found = Holder::find_below(root, OPS, answer);
        assert!(matches!(found, Err(ForeignError::Untold(_))), "{found:?}");
        let service = process(root, "/system.slice/scx.service", scheduler);
        let found = Holder::find_below(root, OPS, answer).unwrap();
        assert_eq!(found.service, Some("scx.service"));
        let second = process(root, "/", scheduler);
        let found = Holder::find_below(root, OPS, answer);
        assert!(matches!(found, Err(ForeignError::Several(_))), "{found:?}");
        [closed, service, second].into_iter().for_each(end);
    }

    #[test]
    fn only_a_service_that_is_there_for_schedulers_is_stopped_as_one() {
        let service = |path: &str| service_of(&format!("0::{path}\n"));
        let loader = service("/system.slice/scx_loader.service/x");
        assert_eq!(loader, Some("scx_loader.service"));
        for path in [
            "/user.slice/user-1000.slice/user@1000.service/app.slice/scx.service",
            "/user.slice/user-0.slice/session-1.scope",
            "/system.slice/cron.service",
            "/",
        ] {
            assert_eq!(service(path), None, "{path}");
        }
    }
}
