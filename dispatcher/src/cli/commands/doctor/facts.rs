//! What is found out about the machine. Judged in `findings`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use auto_ext_core::{CoreScheduling, KernelState};
use auto_ext_policy::{Listen, Policy, TrialMode};
use auto_ext_scx::core_scheduling;
use auto_ext_scx::process::executable::ProgramError;
use auto_ext_scx::process::{cgroup, executable};
use auto_ext_scx::sysfs::SchedExt;
use auto_ext_service::file_access::{Obstacle, Reader};

use super::{conflicts, kernel_build, steal};
use crate::cli::commands::client::Properties;
use crate::sources::{read_policy, surroundings};

/// What was found out about the machine.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) root: bool,
    pub(super) kernel: KernelState,
    pub(super) btf: bool,
    /// libbpf finds the kernel's configuration.
    pub(super) kernel_config: bool,
    pub(super) release: String,
    pub(super) pressure: bool,
    /// The limits that schedulers do not have because a cgroup controller is missing.
    pub(super) missing_limits: Vec<String>,
    pub(super) realtime: bool,
    pub(super) core_scheduling: CoreScheduling,
    pub(super) isolated_cpus: String,
    /// The CPUs of cpuset partitions that are isolated while the machine runs.
    pub(super) isolated_partitions: String,
    pub(super) function_tracer: Tracer,
    /// The share of a CPU's time that the machine's host takes away, 0 to 1.
    pub(super) stolen: f64,
    /// What the kernel was built without although it is needed.
    pub(super) not_built: Vec<&'static str>,
    pub(super) policy: Result<(), String>,
    /// Each scheduler of the policy's rules that cannot be run, and why.
    pub(super) missing_programs: Vec<ProgramError>,
    /// At least one scheduler of the policy's rules can be run.
    pub(super) some_program: bool,
    /// What keeps the service from reading the policy, and from writing its metrics.
    pub(super) out_of_reach: Vec<String>,
    /// The policy has something tried.
    pub(super) tries: bool,
    /// The cgroups in use that have limits or weights of CPU time.
    pub(super) limited_cgroups: Vec<String>,
    /// What other tools do that gets in the way, with the remedy.
    pub(super) conflicts: Vec<String>,
    /// What the running daemon says, or why it cannot be asked.
    pub(super) daemon: Result<DaemonFacts, String>,
}

/// Whether kernel functions can be traced, which schedulers of scx 1.1.2 and later need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tracer {
    Ready,
    /// By kernel.ftrace_enabled.
    Off,
    NotBuilt,
}

/// What the daemon says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DaemonFacts {
    pub(super) mode: String,
    pub(super) reason: String,
    pub(super) last_error: String,
    /// The schedulers that are quarantined.
    pub(super) quarantined: Vec<String>,
    /// The scheduler that runs, if somebody else started it.
    pub(super) foreign: Option<String>,
}

impl DaemonFacts {
    pub(super) fn of(mut properties: Properties) -> Self {
        let mut text = |name: &str| {
            let value = properties.remove(name);
            value
                .and_then(|value| String::try_from(value).ok())
                .unwrap_or_default()
        };
        let (mode, reason, last_error) = (text("Mode"), text("Reason"), text("LastError"));
        let foreign = text("CurrentOwner") == "foreign";
        let foreign = foreign.then(|| text("CurrentScheduler"));
        let quarantined = properties
            .remove("Quarantined")
            .and_then(|value| BTreeMap::<String, u64>::try_from(value).ok());
        Self {
            mode,
            reason,
            last_error,
            quarantined: quarantined.unwrap_or_default().into_keys().collect(),
            foreign,
        }
    }
}

/// Finds out all that does not need the daemon, of the machine whose files are below `root`.
pub(super) fn gather(
    root: &Path,
    config: &Path,
    service: &Reader,
    daemon: Result<DaemonFacts, String>,
) -> Facts {
    let text = |path: &str| {
        fs::read_to_string(root.join(path))
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    };
    let release = text("proc/sys/kernel/osrelease");
    let read = read_policy::read(config);
    let policy = read.checked.map(|checked| checked.policy);
    let files = [read.files, read.lists].concat();
    let errors: Vec<Option<ProgramError>> = policy
        .iter()
        .flat_map(Policy::used_schedulers)
        .map(|scheduler| executable::find_for(service, &scheduler.command).err())
        .collect();
    let some_program = errors.iter().any(Option::is_none);
    let mut missing_programs: Vec<ProgramError> = errors.into_iter().flatten().collect();
    missing_programs.sort();
    missing_programs.dedup();
    Facts {
        root: nix::unistd::geteuid().is_root(),
        kernel: SchedExt::below(&root.join("sys")).read(),
        btf: root.join("sys/kernel/btf/vmlinux").exists(),
        kernel_config: root.join(format!("boot/config-{release}")).exists()
            || root.join("proc/config.gz").exists(),
        stolen: steal::share(root),
        not_built: kernel_build::missing(root, &release),
        release,
        pressure: root.join("proc/pressure/io").exists(),
        missing_limits: cgroup::missing_limits(root),
        realtime: text("sys/kernel/realtime") == "1",
        core_scheduling: core_scheduling::look(),
        isolated_cpus: text("sys/devices/system/cpu/isolated"),
        isolated_partitions: text("sys/fs/cgroup/cpuset.cpus.isolated"),
        function_tracer: match &*text("proc/sys/kernel/ftrace_enabled") {
            "" => Tracer::NotBuilt,
            "0" => Tracer::Off,
            _ => Tracer::Ready,
        },
        out_of_reach: out_of_reach(
            // The service does not read a draft that is somewhere else.
            if config == Path::new(read_policy::INSTALLED) {
                &files
            } else {
                &[]
            },
            policy.as_ref().ok(),
            service,
        ),
        tries: policy
            .as_ref()
            .is_ok_and(|policy| policy.trials.mode != TrialMode::Off),
        limited_cgroups: surroundings::limited_cgroups(root).unwrap_or_default(),
        policy: policy.map(drop).map_err(|error| error.to_string()),
        missing_programs,
        some_program,
        conflicts: conflicts::find(root),
        daemon,
    }
}

/// What keeps the service from its files.
pub(super) fn out_of_reach(
    files: &[PathBuf],
    policy: Option<&Policy>,
    service: &Reader,
) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        match service.read(file) {
            // That it is missing, or cannot be seen by whoever asks, is reported of the policy itself.
            Ok(()) | Err(Obstacle::Missing(_) | Obstacle::Unseen(_)) => {}
            Err(why) => found.push(format!("the service cannot read {}: {why}", file.display())),
        }
    }
    let metrics = policy.map(|policy| &policy.metrics);
    let files = metrics.map(|metrics| {
        let socket = metrics.listen.as_ref().and_then(Listen::socket);
        [metrics.textfile.as_deref(), socket]
    });
    for file in files.into_iter().flatten().flatten() {
        if let Err(why) = service.write_beside(file) {
            found.push(format!(
                "the service cannot write {}: {why}",
                file.display()
            ));
        }
    }
    found
}
