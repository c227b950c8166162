//! The scheduler that runs now: leased anew for each change, the new one before the old one is released, so that nothing
//! else runs between two turns. All of it ends with our connection to the bus.

use std::path::Path;

use anyhow::bail;
use auto_ext_core::Explanation;
use auto_ext_policy::KERNEL;
use auto_ext_scx::sysfs::SchedExt;
use serde_json::Value as Json;

use crate::cli::commands::client::{Client, property};
use crate::cli::commands::run::runs;

/// Switches that the daemon reserves for a scheduler: its start, and the way back.
const FOR_A_SCHEDULER: usize = 2;

/// What the kernel runs, so that another of the same name is told from it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Instance {
    scheduler: Json,
    pid: Json,
    mode: Json,
    /// How many schedulers were enabled: one that loads itself again keeps its process.
    enabled: Option<u64>,
}

impl Instance {
    /// The scheduler's process; none of the kernel's own.
    pub(super) fn process(&self) -> Option<u32> {
        let pid = self.pid.as_u64()?;
        u32::try_from(pid).ok().filter(|pid| *pid > 0)
    }
}

/// What is leased.
pub(super) struct Leased {
    client: Client,
    application: String,
    sched_ext: SchedExt,
    lease: Option<Lease>,
    /// How many leases there were.
    count: u64,
}

struct Lease {
    name: String,
    cookie: u32,
    /// What the daemon says while it is in force.
    because: String,
}

impl Leased {
    /// Nothing yet. `application` says for whom it will be.
    pub(super) async fn connect(application: String) -> anyhow::Result<Self> {
        Ok(Self {
            client: Client::connect().await?,
            application,
            sched_ext: SchedExt::below(Path::new("/sys")),
            lease: None,
            count: 0,
        })
    }

    /// The switches of the last hour, and how many there may be.
    pub(super) async fn switches(&self) -> anyhow::Result<(usize, usize)> {
        Ok(switches(&self.why().await?))
    }

    /// Has this scheduler run, and waits until it does.
    ///
    /// # Errors
    /// When it cannot, or the limit of switches is reached.
    pub(super) async fn bring(&mut self, name: &str) -> anyhow::Result<Instance> {
        if self.lease.as_ref().is_none_or(|lease| lease.name != name) {
            self.lease(name).await?;
        }
        if let Some(lease) = &self.lease {
            let is_ours = |why: &Explanation| why.mode == "held" && why.because == lease.because;
            runs(&self.client, is_ours).await?;
        }
        self.instance().await
    }

    /// What the kernel runs now.
    pub(super) async fn instance(&self) -> anyhow::Result<Instance> {
        let properties = self.client.properties().await?;
        Ok(Instance {
            scheduler: property(&properties, "CurrentScheduler"),
            pid: property(&properties, "SchedulerPid"),
            mode: property(&properties, "Mode"),
            enabled: self.sched_ext.enable_seq(),
        })
    }

    /// Has the next one be leased anew, whatever it is: the daemon may have been restarted.
    pub(super) fn forget(&mut self) {
        self.lease = None;
    }

    async fn lease(&mut self, name: &str) -> anyhow::Result<()> {
        self.within_limit(name).await?;
        self.count += 1;
        // The number tells it from the one before.
        let reason = format!("auto-ext compare, lease {}", self.count);
        let because = format!("leased by {} ({reason})", self.application);
        let no_arguments: &[&str] = &[];
        let body = (name, no_arguments, self.application.as_str(), reason);
        let cookie = self.client.call("Lease", &body).await?;
        let lease = Lease {
            name: name.to_owned(),
            cookie,
            because,
        };
        if let Some(before) = self.lease.replace(lease) {
            let () = self.client.call("Release", &before.cookie).await?;
        }
        Ok(())
    }

    /// The daemon would have us wait for up to an hour.
    async fn within_limit(&self, name: &str) -> anyhow::Result<()> {
        let why = self.why().await?;
        let needed = if name == KERNEL { 1 } else { FOR_A_SCHEDULER };
        let (used, limit) = switches(&why);
        if why.desired != name && used + needed > limit {
            bail!(
                "the limit of {limit} switches per hour is reached: `stability: {{max_switches_per_hour: ..}}` in the \
                 policy says how many there may be"
            );
        }
        Ok(())
    }

    async fn why(&self) -> anyhow::Result<Explanation> {
        let why: String = self.client.call("Why", &()).await?;
        Ok(serde_json::from_str(&why)?)
    }
}

fn switches(why: &Explanation) -> (usize, usize) {
    let (used, limit) = why.switches;
    (used, usize::try_from(limit).unwrap_or(usize::MAX))
}
