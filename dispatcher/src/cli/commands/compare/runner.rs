//! Has schedulers run for a comparison: by the daemon's leases, or where none runs and root asks, without it.

use anyhow::Context as _;
use auto_ext_service::exit_code::{Code, WithCode};
use auto_ext_trials::Comparison;
use tokio::sync::watch;

use super::contender::Contender;
use super::direct::Direct;
use super::end::End;
use super::instance::Instance;
use super::leased::Leased;
use crate::cli::commands::child::Signals;

/// One of both.
pub(super) enum Runner {
    Leased(Leased),
    Direct(Box<Direct>),
}

impl Runner {
    /// By the daemon, if one runs. `application` says for whom it will be.
    pub(super) async fn begin(application: String) -> anyhow::Result<Self> {
        let no_daemon = match Leased::connect(application).await {
            Ok(leased) => return Ok(Self::Leased(leased)),
            Err(error) if code(&error) == Some(Code::NoDaemon) => error,
            Err(error) => return Err(error),
        };
        if nix::unistd::geteuid().is_root() {
            return Ok(Self::Direct(Box::new(Direct::begin()?)));
        }
        Err(no_daemon.context("without the daemon only root can compare"))
    }

    /// Has this scheduler run, and waits until it does; a signal for us ends that.
    pub(super) async fn bring(
        &mut self,
        contender: &Contender,
        signals: &mut Signals,
    ) -> Result<Instance, End> {
        let brought = match self {
            Self::Leased(leased) => tokio::select! {
                brought = leased.bring(contender) => brought,
                signal = signals.next() => return Err(End::Signal(signal)),
            },
            Self::Direct(direct) => {
                let (cancel, cancelled) = watch::channel(false);
                let mut came = None;
                let mut bringing = Box::pin(direct.bring(contender, cancelled));
                let brought = loop {
                    tokio::select! {
                        brought = &mut bringing => break brought,
                        signal = signals.next() => {
                            came = Some(signal);
                            // Who listens is being awaited.
                            let _ = cancel.send(true);
                        }
                    }
                };
                if let Some(signal) = came {
                    return Err(End::Signal(signal));
                }
                brought.with_context(|| format!("{contender} does not run"))
            }
        };
        Ok(brought?)
    }

    /// What the kernel runs now.
    pub(super) async fn instance(&self) -> anyhow::Result<Instance> {
        match self {
            Self::Leased(leased) => leased.instance().await,
            Self::Direct(direct) => Ok(direct.instance()),
        }
    }

    /// Something else ran meanwhile: what is next is brought anew.
    pub(super) fn forget(&mut self) {
        match self {
            Self::Leased(leased) => leased.forget(),
            // It looks at what runs each time.
            Self::Direct(_) => {}
        }
    }

    /// What there is to say of so many switches that are needed; nothing where nobody counts them.
    pub(super) async fn switches(&self, needed: usize) -> anyhow::Result<Option<String>> {
        let Self::Leased(leased) = self else {
            return Ok(None);
        };
        let (used, limit) = leased.switches().await?;
        let left = limit.saturating_sub(used);
        let mut say =
            format!("{needed} switches at most are needed; {left} of {limit} an hour are left");
        if needed > left {
            say.push_str(", and without any it ends");
            if !leased.has_own_limit() {
                say.push_str(": an administrator has more for comparisons");
            }
        }
        Ok(Some(say))
    }

    /// Whether somebody knows which class a load has.
    pub(super) fn knows_class(&self) -> bool {
        matches!(self, Self::Leased(_))
    }

    /// The class that the load has now, where somebody knows it.
    pub(super) async fn class(&self) -> anyhow::Result<Option<String>> {
        match self {
            Self::Leased(leased) => leased.class().await.map(Some),
            Self::Direct(_) => Ok(None),
        }
    }

    /// The classes in which something is tried, where somebody knows them.
    pub(super) async fn classes(&self) -> Vec<String> {
        match self {
            Self::Leased(leased) => leased.classes().await.unwrap_or_default(),
            Self::Direct(_) => Vec::new(),
        }
    }

    /// Takes down on what depends whether what is found can be kept.
    pub(super) async fn begin_to_keep(&mut self) -> anyhow::Result<()> {
        match self {
            // It has the daemon look.
            Self::Leased(_) => Ok(()),
            Self::Direct(direct) => direct.begin_to_keep().await,
        }
    }

    /// Has what was found kept for a class, and returns what is said of it; without pairs it is only looked whether it could be.
    pub(super) async fn keep(&mut self, class: &str, found: &Comparison) -> anyhow::Result<String> {
        match self {
            Self::Leased(leased) => leased.keep(class, found).await,
            Self::Direct(direct) => direct.keep(class, found).await,
        }
    }

    /// Has run again what ran before.
    pub(super) async fn end(&mut self) -> anyhow::Result<()> {
        match self {
            // It ends with the connection.
            Self::Leased(_) => Ok(()),
            Self::Direct(direct) => direct.end().await,
        }
    }
}

fn code(error: &anyhow::Error) -> Option<Code> {
    error.downcast_ref::<WithCode>().map(|error| error.code)
}
