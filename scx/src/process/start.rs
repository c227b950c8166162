//! Starting a scheduler's process: its program, environment, cgroup and output.

use std::io::{self, PipeReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use auto_ext_policy::Scheduler;
use nix::sys::prctl::{set_pdeathsig, set_thp_disable};
use nix::sys::signal::Signal;
use tokio::process::{Child, Command};

use crate::attach_barrier::{AttachBarrier, BarrierError};
use crate::process::cgroup::{Cgroup, Cgroups};
use crate::process::executable::{self, ProgramError};
use crate::process::file_capabilities;
use crate::process::output::Output;
use crate::process::registry::ProcessRegistry;
use crate::process::scheduler_process::SchedulerProcess;

/// Why a scheduler's process could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no program that may be run.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// There can be no attach barrier, or the program cannot be executed.
    #[error("cannot be started: {0}")]
    AttachBarrier(#[from] BarrierError),
    /// Its file asks for capabilities that the service may not have.
    #[error(
        "{path} cannot be executed: its file asks for capabilities (setcap) that the service may not have, {wanting}; \
         take them off the file with `setcap -r {path}` (root's schedulers need none), or allow them to the service \
         with `CapabilityBoundingSet={wanting}` in a drop-in (`systemctl edit auto-ext`)",
        path = .path.display()
    )]
    Capabilities {
        /// The file.
        path: PathBuf,
        /// Their names, with spaces between.
        wanting: String,
    },
}

impl StartError {
    /// Why the program at `path` could not be started.
    fn of(path: &Path, error: BarrierError) -> Self {
        if let BarrierError::Spawn(error) = &error
            && error.kind() == io::ErrorKind::PermissionDenied
            && let Some(wanting) = file_capabilities::wanting(path)
        {
            let path = path.to_owned();
            return Self::Capabilities { path, wanting };
        }
        Self::AttachBarrier(error)
    }
}

impl SchedulerProcess {
    /// Starts the scheduler behind a closed barrier, which is to be kept as long as the process lives: call
    /// [`AttachBarrier::next`] until it says that all is gone. The process is not registered as one of ours
    /// before it is to attach: see [`Self::register`]. To be called in a tokio runtime, on a thread that outlives
    /// the process, which the kernel kills when the thread ends.
    ///
    /// # Errors
    /// When the program may not be run or cannot be started, or where there can be no barrier.
    pub fn start_behind_barrier(
        scheduler: &Scheduler,
        cgroups: &Cgroups,
    ) -> Result<(Self, AttachBarrier), StartError> {
        let path = executable::find(&scheduler.command)?;
        let cgroup = cgroups.create();
        let (command, output) = command(&path, scheduler, cgroup.as_ref())?;
        let started = AttachBarrier::spawn(command);
        let (child, barrier) = started.map_err(|error| StartError::of(&path, error))?;
        Ok((Self::started(child, output, scheduler, cgroup)?, barrier))
    }

    /// Starts the scheduler without a barrier: it attaches as soon as it has loaded. To be called in a tokio
    /// runtime, on a thread that outlives the process, which the kernel kills when the thread ends.
    ///
    /// # Errors
    /// When the program may not be run or cannot be started.
    pub fn start(
        scheduler: &Scheduler,
        registry: &ProcessRegistry,
        cgroups: &Cgroups,
    ) -> Result<Self, StartError> {
        let path = executable::find(&scheduler.command)?;
        let cgroup = cgroups.create();
        let (mut command, output) = command(&path, scheduler, cgroup.as_ref())?;
        let child = command
            .spawn()
            .map_err(|error| StartError::of(&path, BarrierError::Spawn(error)))?;
        // It holds the other end of the output as well.
        drop(command);
        let mut process = Self::started(child, output, scheduler, cgroup)?;
        process.register(registry);
        Ok(process)
    }

    fn started(
        child: Child,
        output: PipeReader,
        scheduler: &Scheduler,
        cgroup: Option<Cgroup>,
    ) -> Result<Self, BarrierError> {
        let output = Output::listen(output, scheduler.name.clone());
        output
            .and_then(|output| Self::of(child, output, scheduler, cgroup))
            .map_err(BarrierError::Spawn)
    }
}

/// The scheduler's program with its arguments, without our environment; and the pipe to which it will write.
fn command(
    path: &Path,
    scheduler: &Scheduler,
    cgroup: Option<&Cgroup>,
) -> Result<(Command, PipeReader), BarrierError> {
    let (output, said) = Output::pipe().map_err(BarrierError::Spawn)?;
    let said_again = said.try_clone().map_err(BarrierError::Spawn)?;
    let entrance = cgroup.map(Cgroup::entrance).transpose();
    let entrance = entrance.map_err(BarrierError::Spawn)?;
    let mut command = Command::new(path);
    command
        .args(&scheduler.args)
        .env_clear()
        .env("PATH", executable::DIRECTORIES.join(":"))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(said)
        .stderr(said_again)
        // Signals from a terminal are for us, who then end the scheduler.
        .process_group(0)
        .kill_on_drop(true);
    // SAFETY: between fork and exec, write and prctl are async-signal-safe and allocate nothing.
    unsafe {
        command.pre_exec(move || {
            if let Some(entrance) = &entrance {
                (&*entrance).write_all(b"0")?;
            }
            // We may do without huge pages; schedulers shall not.
            set_thp_disable(false)?;
            // If we are killed, so is the scheduler.
            set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from)
        });
    }
    Ok((command, output))
}
