//! What the kernel runs and the daemon's status: the one set of facts behind D-Bus, metrics and `status --json`.

use std::collections::BTreeMap;
use std::sync::Arc;

use auto_ext_core::{KernelState, Moment, State};
use auto_ext_policy::{Candidate, KERNEL, Policy, known};
use auto_ext_scx::process::executable::file_name;
use auto_ext_scx::process::registry::ProcessRegistry;
use auto_ext_scx::sysfs::{SchedExt, Snapshot};
use serde::Serialize;

use crate::api::trials::{TrialNow, learning};
use crate::scx_loader::Mode;
use crate::scx_loader::clients::How;
use crate::scx_loader::settings::Settings;

/// The owner of what auto-ext runs.
const OURS: &str = "auto-ext";

/// What the kernel runs, and whose it is, at the moment at which it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Current {
    /// As D-Bus' `CurrentScheduler`.
    pub(crate) current_scheduler: String,
    /// `auto-ext`, `foreign` or `none`.
    pub(crate) current_owner: String,
    /// The process that holds the scheduler when it is ours, else 0.
    pub(crate) scheduler_pid: u32,
    /// Which enabling of a scheduler it is, by the kernel's count.
    #[serde(skip)]
    pub(crate) instance: Option<u64>,
    /// What the kernel said.
    #[serde(skip)]
    pub(crate) state: KernelState,
}

impl Current {
    /// Reads it from the kernel.
    pub(crate) fn read(sched_ext: &SchedExt, registry: &ProcessRegistry) -> Self {
        let (snapshot, ours) = registry.look(sched_ext);
        let Snapshot {
            state, instance, ..
        } = snapshot;
        let owner = match (&state, ours) {
            (KernelState::Enabled { .. }, Some(_)) => OURS,
            (KernelState::Enabled { .. }, None) => "foreign",
            _ => "none",
        };
        Self {
            current_scheduler: state.scheduler(),
            current_owner: owner.to_owned(),
            scheduler_pid: ours.map_or(0, |owner| owner.pid),
            instance,
            state,
        }
    }

    /// What is current while no sched_ext scheduler is loaded.
    pub(crate) fn nothing() -> Self {
        Self {
            current_scheduler: KERNEL.to_owned(),
            current_owner: "none".to_owned(),
            scheduler_pid: 0,
            instance: None,
            state: KernelState::Disabled,
        }
    }

    /// Which scheduler that is, and which enabling of it.
    pub(crate) fn which(&self) -> (&str, Option<u64>) {
        (&self.current_scheduler, self.instance)
    }

    /// Whether what the kernel runs is a scheduler of ours.
    pub(crate) fn is_ours(&self) -> bool {
        self.current_owner == OURS
    }
}

/// The daemon's status, as it is published with each decision.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct DaemonStatus {
    /// What should run.
    pub(crate) desired_scheduler: String,
    /// Who decides: `auto`, `pinned`, `held`, `observe` or `yielded`.
    pub(crate) mode: String,
    /// The class of the load.
    pub(crate) class: String,
    /// Each signal's level.
    pub(crate) levels: BTreeMap<String, String>,
    /// Each measured signal's value over the last window.
    pub(crate) signals: BTreeMap<String, f64>,
    /// Why `desired_scheduler` should run, and why it does not yet.
    pub(crate) reason: String,
    /// When the current scheduler took over, CLOCK_REALTIME in microseconds.
    pub(crate) since: u64,
    /// How often the scheduler changed since the daemon's start.
    pub(crate) switches: u64,
    /// The schedulers that are quarantined, and until when (as `since`): by the policy's names, or by program and
    /// arguments where it has none.
    pub(crate) quarantined: BTreeMap<String, u64>,
    /// The last failure, and what is wrong with the policy's file as long as something is; empty when there
    /// was none.
    pub(crate) last_error: String,
    /// The daemon's version.
    pub(crate) version: String,
    /// The trial that is on.
    pub(crate) trial: Option<TrialNow>,
    /// Whether anything is tried: `off`, `watch`, `ask` (nobody consents) or `on`.
    pub(crate) learning: String,
    /// What clients of org.scx.Loader are told; `None` where it is not offered.
    #[serde(skip)]
    pub(crate) scx_loader: Option<LoaderStatus>,
}

/// What clients of org.scx.Loader are told beside what the kernel runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoaderStatus {
    pub(crate) settings: Arc<Settings>,
    /// The schedulers that they know and that are installed.
    pub(crate) supported: Vec<&'static str>,
    /// The program of ours that runs, and how that was asked for.
    pub(crate) running: Option<(String, How)>,
    /// The same of what is being brought in: the kernel may run it already.
    pub(crate) coming: Option<(String, How)>,
}

impl LoaderStatus {
    /// The mode in which what the kernel runs was asked for.
    pub(crate) fn mode(&self, current: &Current) -> Mode {
        self.how(current).map_or(Mode::Auto, How::mode)
    }

    /// The arguments with which it was asked for, if they were not those of a mode.
    pub(crate) fn arguments(&self, current: &Current) -> &[String] {
        match self.how(current) {
            Some(How::Arguments(args)) => args,
            Some(How::Mode(_)) | None => &[],
        }
    }

    fn how(&self, current: &Current) -> Option<&How> {
        let mut known = self.running.iter().chain(&self.coming);
        let found = known.find(|(program, _)| *program == current.current_scheduler);
        found.map(|(_, how)| how)
    }
}

impl DaemonStatus {
    /// The status of `state` under `policy` at `now`, which on CLOCK_REALTIME is `now_us`.
    pub(crate) fn of(
        policy: &Policy,
        state: &State,
        now: Moment,
        now_us: u64,
        since: u64,
        switches: u64,
    ) -> Self {
        let signals = state
            .signals()
            .into_iter()
            .flat_map(auto_ext_signals::Signals::iter);
        let reason = match state.mode() {
            // The reason says so itself.
            auto_ext_core::Mode::Observe(
                auto_ext_core::ObserveCause::Safe(_)
                | auto_ext_core::ObserveCause::CoreScheduling(_),
            ) => state.reason(),
            auto_ext_core::Mode::Observe(cause) => {
                format!("observing: {cause}; {}", state.reason())
            }
            auto_ext_core::Mode::Yielded => {
                let when = if matches!(state.kernel(), KernelState::Enabled { .. }) {
                    "is loaded"
                } else {
                    "was loaded a moment ago"
                };
                let reason = state.reason();
                format!("a scheduler that auto-ext did not start {when}; {reason}")
            }
            auto_ext_core::Mode::Auto | auto_ext_core::Mode::Pinned | auto_ext_core::Mode::Held => {
                state.reason()
            }
        };
        let wall = |at: Moment| {
            // Rounded to seconds, so that it does not seem to change with every reading.
            let left = at.saturating_sub(now).as_micros();
            (now_us + u64::try_from(left).unwrap_or(u64::MAX)) / 1_000_000 * 1_000_000
        };
        Self {
            desired_scheduler: scheduler_name(state.desired()),
            mode: state.mode().name().to_owned(),
            class: state.class().to_owned(),
            levels: state.levels().to_map(),
            signals: signals
                .filter_map(|(signal, value)| Some((signal.to_string(), rounded(value?))))
                .collect(),
            reason,
            since,
            switches,
            quarantined: state
                .quarantined(policy, now)
                .into_iter()
                .map(|(name, until)| (name, wall(until)))
                .collect(),
            last_error: state.last_error(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            trial: TrialNow::of(state, now, now_us),
            learning: learning(policy, state, now).to_owned(),
            scx_loader: None,
        }
    }
}

/// The name by which a candidate would show as current scheduler once it runs, as far as that can be
/// known before: a program that is not known may call its operations what it likes.
pub(crate) fn scheduler_name(candidate: &Candidate) -> String {
    match candidate {
        Candidate::Kernel => KERNEL.to_owned(),
        Candidate::Scheduler(scheduler) => {
            let file_name = file_name(&scheduler.command);
            known::by_name(file_name)
                .map_or(file_name, |known| known.command)
                .to_owned()
        }
    }
}

/// What a mode means, in a few words; nothing of one that is not known.
pub(crate) fn mode_meaning(mode: &str) -> &'static str {
    match mode {
        "auto" => "the policy decides",
        "pinned" => "a person decided",
        "held" => "kept for an application",
        "observe" => "watches, starts nothing",
        "yielded" => "hands off, a scheduler of somebody else",
        _ => "",
    }
}

/// Whose scheduler runs, in words: of the kernel's state, and of what is said to own it, with its process; none where nobody
/// says that.
pub(crate) fn whose(kernel: &KernelState, owner: Option<(&str, u64)>) -> String {
    match (kernel, owner) {
        (KernelState::Unsupported, _) => "its own scheduler, as it has no sched_ext".to_owned(),
        (KernelState::Unknown(why), _) => why.clone(),
        (KernelState::Enabled { .. }, Some((OURS, pid))) => {
            format!("started by auto-ext, process {pid}")
        }
        (KernelState::Enabled { .. }, Some(("foreign", _))) => "not started by auto-ext".to_owned(),
        (KernelState::Enabled { .. }, _) => "whose is not known".to_owned(),
        (KernelState::Enabling, _) => "its own, another is being enabled".to_owned(),
        (KernelState::Disabling, _) => "its own, another is being disabled".to_owned(),
        (KernelState::Disabled, _) => "its own scheduler".to_owned(),
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
