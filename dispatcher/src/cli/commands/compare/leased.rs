//! The scheduler that runs now: leased anew for each change, the new one before the old one is released, so that nothing
//! else runs between two turns. All of it ends with our connection to the bus.

use std::fmt;
use std::path::Path;

use anyhow::{Context as _, bail};
use auto_ext_core::Explanation;
use auto_ext_policy::KERNEL;
use auto_ext_scx::sysfs::SchedExt;
use auto_ext_service::exit_code::{Code, WithCode};
use auto_ext_trials::Comparison;

use super::contender::Contender;
use super::instance::Instance;
use crate::api::trials::Learned;
use crate::cli::commands::client::{Ask, Client, property};
use crate::cli::commands::run::runs;

/// Switches that the daemon wants to be left for a scheduler, and for each turn: its start, and the way back.
const FOR_A_SCHEDULER: usize = 2;

/// What is leased.
pub(super) struct Leased {
    client: Client,
    application: String,
    sched_ext: SchedExt,
    lease: Option<Lease>,
    /// How many leases there were.
    count: u64,
    /// They are leases for turns, which have a limit of their own: known from the first one on.
    may_turn: Option<bool>,
}

/// The contender does not run and is itself to blame: what an error says about its cause.
#[derive(Debug)]
pub(super) struct CannotRun(String);

impl CannotRun {
    pub(super) fn of(contender: impl fmt::Display) -> Self {
        Self(contender.to_string())
    }
}

impl fmt::Display for CannotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not run", self.0)
    }
}

struct Lease {
    contender: Contender,
    cookie: u32,
    /// What the daemon says while it is in force.
    because: String,
}

impl Leased {
    /// Nothing yet. `application` says for whom it will be.
    ///
    /// # Errors
    /// When no daemon answers.
    pub(super) async fn connect(application: String) -> anyhow::Result<Self> {
        let client = Client::connect().await?;
        client.properties().await?;
        Ok(Self {
            client,
            application,
            sched_ext: SchedExt::below(Path::new("/sys")),
            lease: None,
            count: 0,
            may_turn: None,
        })
    }

    /// The switches of the last hour that count against the limit that is ours, and how many there may be; known once
    /// something is leased.
    pub(super) async fn switches(&self) -> anyhow::Result<(usize, usize)> {
        Ok(self.used(&self.why().await?))
    }

    /// Whether the limit is that of comparisons, as who asks may change what runs, and not the policy's.
    pub(super) fn has_own_limit(&self) -> bool {
        self.may_turn == Some(true)
    }

    /// Has this scheduler run, and waits until it does.
    ///
    /// # Errors
    /// When it cannot, or the limit of switches is reached.
    pub(super) async fn bring(&mut self, contender: &Contender) -> anyhow::Result<Instance> {
        match self.try_to_bring(contender).await {
            Err(error) if self.is_its_own(&error, contender).await => {
                Err(error.context(CannotRun::of(contender)))
            }
            brought => brought.with_context(|| format!("{contender} does not run")),
        }
    }

    async fn try_to_bring(&mut self, contender: &Contender) -> anyhow::Result<Instance> {
        let lease = self.lease.as_ref();
        if lease.is_none_or(|lease| lease.contender != *contender) {
            self.lease(contender).await?;
        }
        if let Some(lease) = &self.lease {
            let is_ours = |why: &Explanation| why.mode == "held" && why.because == lease.because;
            runs(&self.client, is_ours).await?;
        }
        self.instance().await
    }

    /// Whether the contender is to blame for this error, and not a pin, another's lease, a limit or the state of the machine.
    async fn is_its_own(&self, error: &anyhow::Error, contender: &Contender) -> bool {
        let code = error.downcast_ref::<WithCode>().map(|error| error.code);
        if code != Some(Code::Failed) {
            return false;
        }
        let Ok(why) = self.why().await else {
            return false;
        };
        // Its lease has ended by its failure, or was refused while the one before is in force.
        let is_of_another = |lease: &Lease| {
            lease.contender != *contender && why.mode == "held" && why.because == lease.because
        };
        why.mode == "auto" || self.lease.as_ref().is_some_and(is_of_another)
    }

    /// What the kernel runs now.
    pub(super) async fn instance(&self) -> anyhow::Result<Instance> {
        let properties = self.client.properties().await?;
        let text = |name| {
            property(&properties, name)
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let pid = property(&properties, "SchedulerPid").as_u64();
        let instance = Instance::new(
            text("CurrentScheduler"),
            pid.and_then(|pid| u32::try_from(pid).ok()),
            self.sched_ext.enable_seq(),
        );
        Ok(instance.in_mode(text("Mode")))
    }

    /// The class that the load has now.
    pub(super) async fn class(&self) -> anyhow::Result<String> {
        let properties = self.client.properties().await?;
        let class = property(&properties, "Class");
        Ok(class.as_str().unwrap_or_default().to_owned())
    }

    /// The classes in which something is tried.
    pub(super) async fn classes(&self) -> anyhow::Result<Vec<String>> {
        let learned: String = self.client.call("Trials", &()).await?;
        let learned: Learned = serde_json::from_str(&learned)?;
        Ok(learned.classes.into_iter().map(|it| it.class).collect())
    }

    /// Has the daemon keep what was found for a class.
    pub(super) async fn keep(&self, class: &str, found: &Comparison) -> anyhow::Result<String> {
        let found = serde_json::to_string(found)?;
        self.client.call("Keep", &(class, found)).await
    }

    /// Has the next one be leased anew, whatever it is: the daemon may have been restarted.
    pub(super) fn forget(&mut self) {
        self.lease = None;
    }

    async fn lease(&mut self, contender: &Contender) -> anyhow::Result<()> {
        self.within_limit(contender).await?;
        self.count += 1;
        // The number tells it from the one before.
        let reason = format!("auto-ext compare, lease {}", self.count);
        let because = format!("leased by {} ({reason})", self.application);
        let cookie = self.ask(contender, &reason).await?;
        let lease = Lease {
            contender: contender.clone(),
            cookie,
            because,
        };
        if let Some(before) = self.lease.replace(lease) {
            let () = self.client.call("Release", &before.cookie).await?;
        }
        Ok(())
    }

    /// Asks for a lease for a turn, or where that takes a password for one as others have: nobody wants to be asked again
    /// at each turn.
    async fn ask(&mut self, contender: &Contender, reason: &str) -> anyhow::Result<u32> {
        let Contender { scheduler, args } = contender;
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let body = &(scheduler.as_str(), args, self.application.as_str(), reason);
        if self.may_turn != Some(false) {
            let answer = self.client.call_as(Ask::Nobody, "LeaseTurn", body).await;
            match &answer {
                Err(error) if self.may_turn.is_none() && is_denied(error) => {}
                _ => {
                    self.may_turn = Some(true);
                    return answer;
                }
            }
        }
        self.may_turn = Some(false);
        self.client.call("Lease", body).await
    }

    /// The daemon would have us wait for up to an hour.
    async fn within_limit(&self, contender: &Contender) -> anyhow::Result<()> {
        if self.may_turn.is_none() {
            return Ok(());
        }
        let why = self.why().await?;
        let needed = if contender.scheduler == KERNEL && !self.has_own_limit() {
            1
        } else {
            FOR_A_SCHEDULER
        };
        let (used, limit) = self.used(&why);
        let is_there = contender.args.is_empty() && why.desired == contender.scheduler;
        let is_left = is_there || used + needed <= limit;
        if !is_left && self.has_own_limit() {
            bail!(
                "the limit of {limit} switches per hour for comparisons is reached; go on in a while"
            );
        }
        if !is_left {
            bail!(
                "the limit of {limit} switches per hour is reached: `stability: {{max_switches_per_hour: ..}}` in the \
                 policy says how many there may be"
            );
        }
        Ok(())
    }

    fn used(&self, why: &Explanation) -> (usize, usize) {
        let (used, limit) = if self.has_own_limit() {
            why.compared
        } else {
            why.switches
        };
        (used, usize::try_from(limit).unwrap_or(usize::MAX))
    }

    async fn why(&self) -> anyhow::Result<Explanation> {
        let why: String = self.client.call("Why", &()).await?;
        Ok(serde_json::from_str(&why)?)
    }
}

fn is_denied(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<WithCode>().map(|error| error.code);
    code == Some(Code::NotPermitted)
}
