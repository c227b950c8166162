//! A scheduler that auto-ext did not start: whose it is, and asking it to leave.
//!
//! It is asked the way its owner would: a service that is there to run schedulers is stopped, so that
//! it does not bring its own back; another process gets SIGINT, on which all known schedulers leave.
//! Other services are not stopped, as more than the scheduler may belong to them. Nothing is killed.
//! Whether it may be asked at all is decided in `core`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::timeout;
use zbus::Connection;

/// The services that are there to run schedulers: that of the scx project's packages, and scx_loader.
pub(crate) const SERVICES: [&str; 2] = ["scx.service", "scx_loader.service"];

/// How long systemd may take to answer.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Who holds the scheduler that is enabled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pid: i32,
    /// The service of [`SERVICES`] that the process belongs to.
    service: Option<&'static str>,
}

/// Why a scheduler cannot be asked to leave.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForeignError {
    /// It was attached by something that lives on without a process, such as a pinned link.
    #[error("no process holds it; whoever attached it must detach it")]
    NoProcess,
    /// Several processes have operations in the kernel, and it cannot be told whose these are.
    #[error("it cannot be told which of the processes {0:?} holds it; stop it yourself")]
    Several(Vec<i32>),
    #[error("systemd does not stop {service}: {error}")]
    Service {
        service: &'static str,
        error: zbus::Error,
    },
    #[error("process {pid} cannot be signalled: {error}")]
    Process { pid: i32, error: nix::errno::Errno },
}

impl Holder {
    /// The process below `root` (/proc but in tests) that holds BPF operations of the kernel
    /// (struct_ops), preferring one that is called as schedulers are.
    pub(crate) fn find(root: &Path) -> Result<Self, ForeignError> {
        let mut holders: Vec<(i32, bool)> = processes(root)
            .filter(|(_, path)| holds_struct_ops(path))
            .map(|(pid, path)| {
                let comm = fs::read_to_string(path.join("comm")).unwrap_or_default();
                (pid, comm.starts_with(crate::known::PREFIX))
            })
            .collect();
        if holders.iter().any(|(_, named)| *named) {
            holders.retain(|(_, named)| *named);
        }
        match holders[..] {
            [] => Err(ForeignError::NoProcess),
            [(pid, _)] => {
                let cgroup = fs::read_to_string(root.join(pid.to_string()).join("cgroup"));
                Ok(Self {
                    pid,
                    service: service_of(&cgroup.unwrap_or_default()),
                })
            }
            _ => Err(ForeignError::Several(
                holders.into_iter().map(|(pid, _)| pid).collect(),
            )),
        }
    }

    /// Asks it to leave. That it does is to be waited for.
    pub(crate) async fn ask_to_leave(&self) -> Result<(), ForeignError> {
        match self.service {
            Some(service) => {
                tracing::warn!("stopping {service}, which runs another scheduler");
                stop(service)
                    .await
                    .map_err(|error| ForeignError::Service { service, error })
            }
            None => {
                let pid = self.pid;
                tracing::warn!("asking process {pid}, which runs another scheduler, to leave");
                kill(Pid::from_raw(pid), Signal::SIGINT)
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

fn processes(root: &Path) -> impl Iterator<Item = (i32, PathBuf)> {
    fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, entry.path()))
        })
}

/// Whether one of the process's files is a link of struct_ops (see `bpf_link_show_fdinfo` of
/// kernel/bpf/syscall.c).
fn holds_struct_ops(process: &Path) -> bool {
    let Ok(files) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    files
        .flatten()
        .filter(|file| {
            fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == "anon_inode:bpf_link")
        })
        .any(|file| {
            let info = process.join("fdinfo").join(file.file_name());
            fs::read_to_string(info).is_ok_and(|info| {
                info.lines()
                    .filter_map(|line| line.strip_prefix("link_type:"))
                    .any(|kind| kind.trim() == "struct_ops")
            })
        })
}

/// The service of [`SERVICES`] that the contents of /proc/PID/cgroup name.
fn service_of(cgroup: &str) -> Option<&'static str> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let name = path.strip_prefix("/system.slice/")?.split('/').next()?;
    SERVICES.into_iter().find(|service| *service == name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn process(root: &Path, pid: i32, comm: &str, link: &str, cgroup: &str) {
        let path = root.join(pid.to_string());
        fs::create_dir_all(path.join("fd")).unwrap();
        fs::create_dir_all(path.join("fdinfo")).unwrap();
        fs::write(path.join("comm"), format!("{comm}\n")).unwrap();
        fs::write(path.join("cgroup"), format!("0::{cgroup}\n")).unwrap();
        symlink("anon_inode:bpf_link", path.join("fd/7")).unwrap();
        let info = format!("pos:\t0\nlink_type:\t{link}\nlink_id:\t3\n");
        fs::write(path.join("fdinfo/7"), info).unwrap();
    }

    #[test]
    fn the_process_with_the_operations_is_found_and_its_service_too() {
        let root = tempfile::tempdir().unwrap();
        process(
            root.path(),
            7,
            "monitor",
            "tracing",
            "/system.slice/a.service",
        );
        assert!(matches!(
            Holder::find(root.path()),
            Err(ForeignError::NoProcess)
        ));
        process(
            root.path(),
            8,
            "scx_lavd",
            "struct_ops",
            "/system.slice/scx.service",
        );
        process(root.path(), 9, "congestion", "struct_ops", "/");
        let holder = Holder {
            pid: 8,
            service: Some("scx.service"),
        };
        assert_eq!(Holder::find(root.path()).unwrap(), holder);
        process(root.path(), 10, "scx_rusty", "struct_ops", "/");
        assert!(matches!(
            Holder::find(root.path()),
            Err(ForeignError::Several(_))
        ));
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
