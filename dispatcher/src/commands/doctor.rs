//! `auto-ext doctor`: what stops or weakens auto-ext on this machine, and the remedy.
//!
//! Facts are gathered into a plain structure and judged apart from that. Other tools are looked for
//! in `conflicts`.

mod conflicts;
mod kernel_build;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anstyle::Style;

use crate::cgroup;
use crate::cli::POLICY;
use crate::commands::client::Properties;
use crate::commands::service_unit;
use crate::commands::status;
use crate::commands::style::{self, ERROR, Styled, WARNING};
use crate::kernel::{KernelState, SchedExt};
use crate::plain::plain;
use crate::policy::{Listen, Policy};
use crate::program::{self, ProgramError};
use crate::reach::{Obstacle, Reader};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// Schedulers cannot be switched.
    Stops,
    /// Something works less well.
    Weakens,
    /// Nothing is wrong.
    Fine,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    weight: Weight,
    text: String,
}

/// What was found out about the machine.
#[derive(Clone, Debug)]
struct Facts {
    root: bool,
    kernel: KernelState,
    btf: bool,
    /// libbpf finds the kernel's configuration.
    kernel_config: bool,
    release: String,
    pressure: bool,
    /// What schedulers are without for want of a cgroup controller.
    missing_limits: Vec<String>,
    realtime: bool,
    isolated_cpus: String,
    /// The CPUs of cpuset partitions that are isolated while the machine runs.
    isolated_partitions: String,
    function_tracer: Tracer,
    /// What the kernel was built without and is missed.
    not_built: Vec<&'static str>,
    policy: Result<(), String>,
    /// Each scheduler of the policy's rules that cannot be run, and why.
    missing_programs: Vec<ProgramError>,
    /// Some scheduler of the policy's rules can be run.
    some_program: bool,
    /// What keeps the service from the policy, and from where its metrics are to be.
    out_of_reach: Vec<String>,
    /// What others do that gets in the way, with the remedy.
    conflicts: Vec<String>,
    /// What the running daemon says, or why it cannot be asked.
    daemon: Result<Told, String>,
}

/// Whether kernel functions can be traced, which schedulers of scx 1.1.2 and later need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tracer {
    Ready,
    /// By kernel.ftrace_enabled.
    Off,
    NotBuilt,
}

/// What the daemon says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    mode: String,
    reason: String,
    last_error: String,
    /// The schedulers that are left alone.
    quarantined: Vec<String>,
    /// The scheduler that runs, if somebody else started it.
    foreign: Option<String>,
}

impl Told {
    fn of(mut properties: Properties) -> Self {
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

pub(crate) async fn run(config: &Path) -> anyhow::Result<ExitCode> {
    let daemon = status::ask_daemon().await.map(Told::of);
    let daemon = daemon.map_err(|error| error.to_string());
    let service = service_unit::reader().await;
    let findings = judge(&gather(Path::new("/"), config, &service, daemon));
    let out = &mut style::stdout();
    for finding in &findings {
        let mark = match finding.weight {
            Weight::Stops => Styled(ERROR, "STOPS"),
            Weight::Weakens => Styled(WARNING, "weakens"),
            Weight::Fine => Styled(Style::new(), "ok"),
        };
        writeln!(out, "{mark:<7}  {}", plain(&finding.text))?;
    }
    let stopped = findings
        .iter()
        .any(|finding| finding.weight == Weight::Stops);
    Ok(if stopped {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn gather(root: &Path, config: &Path, service: &Reader, daemon: Result<Told, String>) -> Facts {
    let text = |path: &str| {
        fs::read_to_string(root.join(path))
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    };
    let release = text("proc/sys/kernel/osrelease");
    let policy = Policy::load(config);
    let errors: Vec<Option<ProgramError>> = policy
        .iter()
        .flat_map(Policy::used_schedulers)
        .map(|scheduler| program::find_for(service, &scheduler.command).err())
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
        not_built: kernel_build::missing(root, &release),
        release,
        pressure: root.join("proc/pressure/io").exists(),
        missing_limits: cgroup::missing_limits(root),
        realtime: text("sys/kernel/realtime") == "1",
        isolated_cpus: text("sys/devices/system/cpu/isolated"),
        isolated_partitions: text("sys/fs/cgroup/cpuset.cpus.isolated"),
        function_tracer: match &*text("proc/sys/kernel/ftrace_enabled") {
            "" => Tracer::NotBuilt,
            "0" => Tracer::Off,
            _ => Tracer::Ready,
        },
        out_of_reach: out_of_reach(
            // A draft somewhere else is not what the service reads.
            Some(config).filter(|config| *config == Path::new(POLICY)),
            policy.as_ref().ok(),
            service,
        ),
        policy: policy.map(drop).map_err(|error| error.to_string()),
        missing_programs,
        some_program,
        conflicts: conflicts::find(root),
        daemon,
    }
}

/// What keeps the service from its files.
fn out_of_reach(config: Option<&Path>, policy: Option<&Policy>, service: &Reader) -> Vec<String> {
    let mut found = Vec::new();
    match config.map(|config| (config, service.read(config))) {
        // That it is not there, or whoever asks cannot see it, is said of the policy anyway.
        None | Some((_, Ok(()) | Err(Obstacle::Missing(_) | Obstacle::Unseen(_)))) => {}
        Some((config, Err(why))) => found.push(format!(
            "the service cannot read {}: {why}",
            config.display()
        )),
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

/// Whether the kernel refuses schedulers while a cpuset partition is isolated: Linux 7.0 did at first
/// ("sched_ext: Use HK_TYPE_DOMAIN_BOOT to detect isolcpus= domain isolation", in 7.1 and late 7.0).
fn refuses_partitions(release: &str) -> bool {
    release == "7.0" || release.starts_with("7.0.") || release.starts_with("7.0-")
}

fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |weight, text: String| findings.push(Finding { weight, text });
    match &facts.kernel {
        KernelState::Unsupported => add(
            Weight::Stops,
            format!(
                "kernel {} has no sched_ext: boot one with CONFIG_SCHED_CLASS_EXT (6.12 or later)",
                facts.release
            ),
        ),
        KernelState::Unknown(why) => add(Weight::Stops, format!("sched_ext cannot be read: {why}")),
        state => {
            add(
                Weight::Fine,
                format!("sched_ext is there; {} schedules now", state.scheduler()),
            );
        }
    }
    if !facts.btf {
        add(
            Weight::Stops,
            "/sys/kernel/btf/vmlinux is missing: boot a kernel with CONFIG_DEBUG_INFO_BTF".into(),
        );
    }
    if facts.realtime {
        add(
            Weight::Stops,
            "a PREEMPT_RT kernel refuses the timers of most schedulers: boot one without it".into(),
        );
    }
    if !facts.isolated_cpus.is_empty() {
        add(
            Weight::Stops,
            format!(
                "CPUs {} are isolated and the kernel then refuses schedulers: boot without isolcpus=",
                facts.isolated_cpus
            ),
        );
    }
    if !facts.isolated_partitions.is_empty() && refuses_partitions(&facts.release) {
        add(
            Weight::Weakens,
            format!(
                "CPUs {} are isolated by cpuset partitions, with which most kernels 7.0 refuse schedulers: \
                 make them members again (cpuset.cpus.partition), or boot Linux 7.1 or later",
                facts.isolated_partitions
            ),
        );
    }
    match facts.function_tracer {
        Tracer::Ready => {}
        Tracer::Off => add(
            Weight::Weakens,
            "kernel.ftrace_enabled is 0, with which schedulers of scx 1.1.2 and later do not load: \
             sysctl kernel.ftrace_enabled=1"
                .into(),
        ),
        Tracer::NotBuilt => add(
            Weight::Weakens,
            "the kernel cannot trace its functions, with which schedulers of scx 1.1.2 and later do not load: \
             boot one with CONFIG_FUNCTION_TRACER"
                .into(),
        ),
    }
    for missing in &facts.not_built {
        add(Weight::Weakens, (*missing).to_owned());
    }
    if !facts.kernel_config {
        add(
            Weight::Weakens,
            format!(
                "most schedulers cannot load without the kernel's configuration: provide \
                 /boot/config-{} or CONFIG_IKCONFIG_PROC",
                facts.release
            ),
        );
    }
    match &facts.policy {
        Err(error) => add(
            Weight::Stops,
            format!("the policy is invalid, correct it and try `auto-ext check`: {error}"),
        ),
        Ok(()) if !facts.some_program && !facts.missing_programs.is_empty() => add(
            Weight::Stops,
            "none of the policy's schedulers can be run: install one of those below".into(),
        ),
        Ok(()) => add(Weight::Fine, "the policy is valid".into()),
    }
    for why in &facts.out_of_reach {
        add(Weight::Weakens, why.clone());
    }
    for error in &facts.missing_programs {
        add(
            Weight::Weakens,
            format!("{error}; until it can be run the next candidate is used"),
        );
    }
    if !facts.pressure {
        add(
            Weight::Weakens,
            "/proc/pressure is missing, so stalls on IO and memory are not seen: boot with psi=1"
                .into(),
        );
    }
    for missing in &facts.missing_limits {
        add(Weight::Weakens, missing.clone());
    }
    for conflict in &facts.conflicts {
        add(Weight::Weakens, conflict.clone());
    }
    match &facts.daemon {
        Err(why) => add(Weight::Weakens, why.clone()),
        Ok(told) => {
            if told.last_error.is_empty() {
                add(Weight::Fine, "the daemon runs".into());
            } else {
                let error = &told.last_error;
                add(
                    Weight::Weakens,
                    format!("the daemon runs; its last error: {error}"),
                );
            }
            if told.mode == "observe" {
                add(
                    Weight::Stops,
                    format!("the daemon starts nothing: {}", told.reason),
                );
            }
            for name in &told.quarantined {
                let word = shell_word(name);
                add(
                    Weight::Weakens,
                    format!(
                        "{name} is left alone because it failed: see `auto-ext schedulers`; when it is mended: \
                         `auto-ext schedulers --forgive {word}`"
                    ),
                );
            }
        }
    }
    if let Ok(Told {
        foreign: Some(scheduler),
        ..
    }) = &facts.daemon
    {
        add(
            Weight::Weakens,
            format!(
                "{scheduler} was not started by auto-ext, which leaves it alone: stop it where it was started, \
                 or take its place with `auto-ext pin NAME` or `foreign: replace` in the policy"
            ),
        );
    }
    if !facts.root {
        add(
            Weight::Weakens,
            "not all could be looked at: run as root".into(),
        );
    }
    findings
}

/// As one word of a shell's command line.
fn shell_word(text: &str) -> Cow<'_, str> {
    let plain = |char: char| char.is_alphanumeric() || "-_./".contains(char);
    if text.chars().all(plain) {
        return text.into();
    }
    format!("'{}'", text.replace('\'', r"'\''")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_typed_is_one_word() {
        assert_eq!(shell_word("lavd-performance"), "lavd-performance");
        assert_eq!(shell_word("scx_flash -m a"), "'scx_flash -m a'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }

    fn sound() -> Facts {
        Facts {
            root: true,
            kernel: KernelState::Disabled,
            btf: true,
            kernel_config: true,
            release: "7.2.13".into(),
            pressure: true,
            missing_limits: Vec::new(),
            realtime: false,
            isolated_cpus: String::new(),
            isolated_partitions: String::new(),
            function_tracer: Tracer::Ready,
            not_built: Vec::new(),
            out_of_reach: Vec::new(),
            policy: Ok(()),
            missing_programs: Vec::new(),
            some_program: true,
            conflicts: Vec::new(),
            daemon: Ok(Told::default()),
        }
    }

    fn weights(facts: &Facts) -> Vec<Weight> {
        judge(facts)
            .into_iter()
            .map(|f| f.weight)
            .filter(|w| *w != Weight::Fine)
            .collect()
    }

    #[test]
    fn a_sound_machine_has_nothing_to_mend() {
        assert_eq!(weights(&sound()), []);
    }

    #[test]
    fn each_missing_capability_is_named_by_itself() {
        let stops: [fn(&mut Facts); 6] = [
            |facts| facts.kernel = KernelState::Unsupported,
            |facts| facts.kernel = KernelState::Unknown("odd".into()),
            |facts| facts.btf = false,
            |facts| facts.realtime = true,
            |facts| facts.isolated_cpus = "2-3".into(),
            |facts| facts.policy = Err("bad".into()),
        ];
        let weakens: [fn(&mut Facts); 14] = [
            |facts| facts.missing_limits = vec!["no limit for memory".into()],
            |facts| facts.function_tracer = Tracer::Off,
            |facts| facts.function_tracer = Tracer::NotBuilt,
            |facts| facts.not_built = vec!["no CONFIG_A"],
            |facts| facts.out_of_reach = vec!["the service cannot read it".into()],
            |facts| {
                facts.isolated_partitions = "3".into();
                facts.release = "7.0.4-arch1".into();
            },
            |facts| facts.conflicts = vec!["ananicy-cpp runs".into()],
            |facts| facts.kernel_config = false,
            |facts| facts.pressure = false,
            |facts| facts.root = false,
            |facts| facts.daemon = Err("not there".into()),
            |facts| facts.daemon.as_mut().unwrap().foreign = Some("scx_rusty".into()),
            |facts| facts.daemon.as_mut().unwrap().last_error = "bpfland: is gone".into(),
            |facts| facts.missing_programs = vec![ProgramError::NotFound("scx_a".into())],
        ];
        for (changes, weight) in [(&stops[..], Weight::Stops), (&weakens[..], Weight::Weakens)] {
            for (index, change) in changes.iter().enumerate() {
                let mut facts = sound();
                change(&mut facts);
                assert_eq!(weights(&facts), [weight], "{weight:?} {index}");
            }
        }
    }

    #[test]
    fn without_any_scheduler_nothing_can_be_switched() {
        let mut facts = sound();
        facts.some_program = false;
        facts.missing_programs = vec![ProgramError::NotFound("scx_a".into())];
        assert_eq!(weights(&facts), [Weight::Stops, Weight::Weakens]);
    }

    #[test]
    fn facts_come_from_the_given_root() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/sys/kernel/osrelease", "6.18.15\n");
        write("boot/config-6.18.15", "");
        write("sys/kernel/sched_ext/state", "disabled\n");
        write("sys/devices/system/cpu/isolated", "2\n");
        write("sys/fs/cgroup/cpuset.cpus.isolated", "3\n");
        write("proc/sys/kernel/ftrace_enabled", "0\n");
        let facts = gather(
            root.path(),
            &root.path().join("none.yaml"),
            &Reader::service(),
            Ok(Told::default()),
        );
        assert_eq!(facts.kernel, KernelState::Disabled);
        assert!(facts.kernel_config && !facts.btf && !facts.pressure && !facts.realtime);
        assert_eq!(facts.isolated_cpus, "2");
        assert_eq!(facts.isolated_partitions, "3");
        assert_eq!(facts.function_tracer, Tracer::Off);
        assert!(facts.policy.is_err());
    }

    #[test]
    fn isolated_partitions_matter_only_to_kernels_that_refuse_schedulers_then() {
        for (release, refuses) in [
            ("6.18.15+deb13-cloud-amd64", false),
            ("7.0.0", true),
            ("7.0-rc4", true),
            ("7.1.0", false),
            ("7.2.13", false),
        ] {
            let mut facts = sound();
            facts.release = release.into();
            facts.isolated_partitions = "3".into();
            assert_eq!(weights(&facts).len(), usize::from(refuses), "{release}");
        }
    }

    #[test]
    fn what_the_service_cannot_reach_is_found_whoever_asks() {
        let text = "version: 1
rules: [{class: idle, use: [kernel]}]
metrics: {textfile: /home/me/auto-ext.prom, listen: /run/auto-ext/metrics.sock}
";
        let policy = Policy::parse("F", text).unwrap();
        let found = out_of_reach(
            Some("/root/p.yaml".as_ref()),
            Some(&policy),
            &Reader::service(),
        );
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].starts_with("the service cannot read /root/p.yaml"),
            "{found:?}"
        );
        assert!(found[1].contains("/home/me/auto-ext.prom"), "{found:?}");
        assert!(
            found.iter().all(|why| why.contains("ProtectHome")),
            "{found:?}"
        );
    }
}
