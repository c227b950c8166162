//! Schedulers where no daemon runs: as root, by the library that the daemon switches with. The daemon's lock is held meanwhile, so that
//! none begins to switch too.

use std::path::Path;

use anyhow::{Context as _, bail};
use auto_ext_policy::{KERNEL, Policy};
use auto_ext_scx::process::SchedulerProcess;
use auto_ext_scx::process::cgroup::Cgroups;
use auto_ext_scx::process::executable;
use auto_ext_scx::process::registry::ProcessRegistry;
use auto_ext_scx::switch::{DISABLE_WITHIN, LOAD_WITHIN, Switch};
use auto_ext_scx::sysfs::SchedExt;
use auto_ext_scx::{Candidate, KernelState};
use auto_ext_service::daemon_lock::DaemonLock;
use auto_ext_service::exit_code::{Code, WithCode};
use tokio::sync::watch;

use super::contender::Contender;
use super::instance::Instance;
use crate::daemon::LOCK;
use crate::daemon::requests::to_pin;
use crate::sources::read_policy;

/// What runs, and what it takes to have something else run.
pub(super) struct Direct {
    sched_ext: SchedExt,
    registry: ProcessRegistry,
    cgroups: Cgroups,
    /// What schedulers are called: the policy that is installed, or none.
    policy: Policy,
    running: Option<SchedulerProcess>,
    _lock: DaemonLock,
}

impl Direct {
    /// Nothing is changed yet.
    ///
    /// # Errors
    /// When there is a daemon after all, or something that must not be replaced.
    pub(super) fn begin() -> anyhow::Result<Self> {
        let sched_ext = SchedExt::below(Path::new("/sys"));
        may_replace(&sched_ext.read())?;
        let lock = DaemonLock::take("auto-ext", Path::new(LOCK))?;
        let installed = Path::new(read_policy::INSTALLED);
        let policy = match installed.exists() {
            true => read_policy::load(installed)?,
            false => Policy::default(),
        };
        Ok(Self {
            sched_ext,
            registry: ProcessRegistry::default(),
            cgroups: Cgroups::of(None),
            policy,
            running: None,
            _lock: lock,
        })
    }

    /// Has this scheduler run. When `cancelled` becomes true while it loads, what ran before stays.
    ///
    /// Not to be dropped before it has ended.
    ///
    /// # Errors
    /// When it does not run, or the one before it failed.
    pub(super) async fn bring(
        &mut self,
        contender: &Contender,
        cancelled: watch::Receiver<bool>,
    ) -> anyhow::Result<Instance> {
        let args = contender.args.clone();
        let to = to_pin(&self.policy, &contender.scheduler, args, executable::find)
            .map_err(|refusal| WithCode::error(Code::Failed, refusal.to_string()))?;
        if let Some(running) = &mut self.running
            && let Some(end) = running.has_ended()
        {
            let name = &running.scheduler().name;
            bail!("{name} failed: {end}");
        }
        if !self.runs(&to) {
            self.switch(to, cancelled).await?;
        }
        Ok(self.instance())
    }

    fn runs(&self, to: &Candidate) -> bool {
        match (&self.running, to) {
            (None, Candidate::Kernel) => self.sched_ext.read() == KernelState::Disabled,
            (Some(running), Candidate::Scheduler(to)) => {
                running.scheduler().is_same_as(to) && self.is_active(running)
            }
            _ => false,
        }
    }

    /// Whether the scheduler that the kernel runs is that of this process.
    fn is_active(&self, process: &SchedulerProcess) -> bool {
        let (_, owner) = self.registry.look(&self.sched_ext);
        owner.is_some_and(|owner| owner.child == process.pid())
    }

    async fn switch(
        &mut self,
        to: Candidate,
        cancelled: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let switch = Switch {
            sched_ext: self.sched_ext.clone(),
            registry: self.registry.clone(),
            cgroups: self.cgroups.clone(),
            to,
            replace_foreign: false,
            load_within: LOAD_WITHIN,
            disable_within: DISABLE_WITHIN,
        };
        let outcome = switch.make(self.running.take(), cancelled).await;
        self.running = outcome.running;
        if let Some((scheduler, end)) = outcome.crashed {
            bail!("{} failed: {end}", scheduler.name);
        }
        match outcome.result {
            Ok(_) => Ok(()),
            Err(failure) => Err(WithCode::error(Code::Failed, failure.error)),
        }
    }

    /// What the kernel runs now.
    pub(super) fn instance(&self) -> Instance {
        let snapshot = self.sched_ext.snapshot();
        let (_, owner) = self.registry.look(&self.sched_ext);
        Instance::new(
            snapshot.state.scheduler(),
            owner.map(|owner| owner.pid),
            snapshot.enable_seq,
        )
    }

    /// Has the kernel's own scheduler run, as before.
    ///
    /// # Errors
    /// When the scheduler that runs does not leave.
    pub(super) async fn end(&mut self) -> anyhow::Result<()> {
        let (_cancel, cancelled) = watch::channel(false);
        match self.running.is_some() {
            true => {
                let back = self.switch(Candidate::Kernel, cancelled).await;
                back.with_context(|| format!("{KERNEL} does not run again"))
            }
            false => Ok(()),
        }
    }
}

/// Whether what the kernel runs may make room.
fn may_replace(state: &KernelState) -> anyhow::Result<()> {
    match state {
        KernelState::Disabled => Ok(()),
        KernelState::Unsupported => bail!(
            "this kernel has no sched_ext (CONFIG_SCHED_CLASS_EXT, Linux 6.12 and newer): it runs its own scheduler \
             alone, and there is nothing to compare"
        ),
        KernelState::Enabled { ops } => bail!(
            "the kernel runs `{ops}`, which auto-ext did not start; stop it first, and what was compared is clear"
        ),
        KernelState::Enabling | KernelState::Disabling => {
            bail!("a scheduler is coming or going; try again in a moment")
        }
        KernelState::Unknown(why) => bail!("sched_ext cannot be read: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernels_own_scheduler_makes_room() {
        assert!(may_replace(&KernelState::Disabled).is_ok());
        for (state, says) in [
            (KernelState::Unsupported, "no sched_ext"),
            (KernelState::Enabled { ops: "mine".into() }, "`mine`"),
            (KernelState::Enabling, "in a moment"),
            (KernelState::Unknown("broken".into()), "broken"),
        ] {
            let error = may_replace(&state).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
