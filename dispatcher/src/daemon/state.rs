//! What the daemon holds, and how it begins.

use std::fs::File;
use std::path::PathBuf;

use auto_ext_core::{Failure, Moment, State};
use auto_ext_policy::Policy;
use auto_ext_profiler::Profiler;
use auto_ext_scx::kmsg::KernelLog;
use auto_ext_scx::process::SchedulerProcess;
use auto_ext_scx::process::cgroup::Cgroups;
use auto_ext_scx::process::registry::ProcessRegistry;
use auto_ext_scx::sysfs;
use auto_ext_scx::sysfs::SchedExt;
use auto_ext_service::clock::{Moments, now_us};
use auto_ext_signals::Windows;

use super::bus_connection::BusConnection;
use super::holders::Holders;
use super::loader::Loader;
use super::metrics_export::Export;
use super::observed::Observed;
use super::switching::Switching;
use super::trial_work::TrialWork;
use crate::api::status::{Current, DaemonStatus};
use crate::metrics::counters::CounterStore;
use crate::persistence::boot_guard::Boots;
use crate::persistence::failure_store::FailureStore;
use crate::persistence::history::History;
use crate::sources::PowerSupplies;
use crate::sources::processes::Processes;
use crate::trace::recent::Recent;
use crate::trace::recording::Recording;

/// The directory of files that outlive the boot, when systemd gives no other.
const STATE_DIRECTORY: &str = "/var/lib/auto-ext";
/// The directory of files that end with the boot, when systemd gives no other.
const RUNTIME_DIRECTORY: &str = "/run/auto-ext";

/// The service: what it has decided, what it has started and what it owns.
pub(super) struct Daemon {
    pub(super) config: PathBuf,
    /// The files of the lists that the policy named when it was last read.
    pub(super) list_files: Vec<PathBuf>,
    pub(super) policy: Policy,
    pub(super) state: State,
    pub(super) moments: Moments,
    pub(super) sched_ext: SchedExt,
    /// Another daemon may run, so no file of its is written and nobody is served in its place.
    pub(super) beside: bool,
    /// Why edits of the policy are not noticed at once.
    pub(super) policy_trouble: Option<String>,
    pub(super) power_supplies: PowerSupplies,
    pub(super) registry: ProcessRegistry,
    pub(super) cgroups: Cgroups,
    pub(super) profiler: Profiler,
    pub(super) processes: Option<Processes>,
    pub(super) windows: Windows,
    pub(super) recent: Recent,
    /// Where all that is decided on is recorded, if somebody wants that.
    pub(super) recording: Option<Recording<File>>,
    /// The scheduler of ours; during a switch, the switch has it.
    pub(super) running: Option<SchedulerProcess>,
    pub(super) switching: Option<Switching>,
    pub(super) holders: Holders,
    /// org.scx.Loader, while it is offered.
    pub(super) loader: Option<Loader>,
    pub(super) history: History,
    pub(super) failure_store: FailureStore,
    /// The failures from before the start, until they are passed to the core.
    pub(super) earlier_failures: Vec<Failure>,
    /// `None` where nothing is started, or nothing can be kept.
    pub(super) boots: Option<Boots>,
    pub(super) kernel_log: KernelLog,
    pub(super) bus: Option<BusConnection>,
    pub(super) counters: CounterStore,
    pub(super) export: Export,
    pub(super) observed: Observed,
    pub(super) trials: TrialWork,
}

impl Daemon {
    pub(super) fn new(
        config: PathBuf,
        policy: Policy,
        observe: bool,
        beside: bool,
        mut profiler: Profiler,
        export: Export,
    ) -> Self {
        let cgroups = if beside {
            Cgroups::of(None)
        } else {
            Cgroups::take_over()
        };
        if let Some(service) = cgroups.service() {
            profiler.leave_out(service);
        }
        let sched_ext = SchedExt::below("/sys".as_ref());
        let registry = ProcessRegistry::default();
        let state_directory = state_directory();
        let (history, counters) = if beside {
            (
                History::of_another(&state_directory),
                CounterStore::in_memory(),
            )
        } else {
            (
                History::open(&state_directory),
                CounterStore::open(&runtime_directory()),
            )
        };
        let (failure_store, earlier_failures) =
            FailureStore::open(&state_directory, sysfs::release(), now_us());
        Self {
            config,
            list_files: Vec::new(),
            state: State::new(&policy, observe),
            policy,
            moments: Moments::begin(),
            observed: Observed::new(Current::read(&sched_ext, &registry), now_us()),
            sched_ext,
            beside,
            policy_trouble: None,
            power_supplies: PowerSupplies::below("/sys".as_ref()),
            registry,
            cgroups,
            windows: Windows::begin(profiler.sample()),
            recent: Recent::default(),
            recording: None,
            profiler,
            processes: None,
            running: None,
            switching: None,
            holders: Holders::default(),
            loader: None,
            history,
            failure_store,
            earlier_failures,
            boots: None,
            kernel_log: KernelLog::open("/dev/kmsg".as_ref()),
            bus: None,
            counters,
            export,
            trials: if beside {
                TrialWork::default()
            } else {
                TrialWork::open(&state_directory)
            },
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.moments.now()
    }

    /// What is shown of the daemon now.
    pub(super) fn status(&self) -> DaemonStatus {
        let mut status = DaemonStatus::of(
            &self.policy,
            &self.state,
            self.now(),
            now_us(),
            self.observed.since(),
            self.observed.switches(),
        );
        // Errors of schedulers and policies matter more.
        if let Some(trouble) = &self.policy_trouble
            && status.last_error.is_empty()
        {
            status.last_error.clone_from(trouble);
        }
        status.scx_loader = self.loader_status();
        status
    }
}

/// The directory of files that outlive the boot.
pub(crate) fn state_directory() -> PathBuf {
    directory("STATE_DIRECTORY", STATE_DIRECTORY)
}

/// The directory of files that end with the boot.
pub(super) fn runtime_directory() -> PathBuf {
    directory("RUNTIME_DIRECTORY", RUNTIME_DIRECTORY)
}

/// The first directory that systemd gives in the environment variable `variable`, else `otherwise`.
fn directory(variable: &str, otherwise: &str) -> PathBuf {
    let given = std::env::var_os(variable);
    let given = given.and_then(|given| std::env::split_paths(&given).next());
    given.unwrap_or_else(|| otherwise.into())
}
