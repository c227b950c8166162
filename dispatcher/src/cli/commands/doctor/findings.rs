//! What the facts mean: what stops or weakens auto-ext, and the remedy.

use std::borrow::Cow;

use auto_ext_core::{CoreScheduling, KernelState};

use super::facts::{Facts, Tracer};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// Schedulers cannot be switched.
    Stops,
    /// Something works less well.
    Weakens,
    /// Nothing is wrong.
    Fine,
}

/// Something that was found out, with the remedy if it is a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) weight: Weight,
    pub(super) text: String,
}

/// What has been found so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, weight: Weight, text: String) {
        self.0.push(Finding { weight, text });
    }
}

/// Judges the facts. Each problem is a finding of its own.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Findings::default();
    kernel(&mut findings, facts);
    core_scheduling(&mut findings, facts);
    isolated_cpus(&mut findings, facts);
    kernel_build(&mut findings, facts);
    policy(&mut findings, facts);
    resources(&mut findings, facts);
    daemon(&mut findings, facts);
    if !facts.root {
        findings.add(
            Weight::Weakens,
            "not everything could be checked: run as root".into(),
        );
    }
    findings.0
}

/// Whether the kernel can run schedulers at all.
fn kernel(findings: &mut Findings, facts: &Facts) {
    match &facts.kernel {
        KernelState::Unsupported => findings.add(
            Weight::Stops,
            format!(
                "kernel {} has no sched_ext: boot one with CONFIG_SCHED_CLASS_EXT (6.18 and later are tried)",
                facts.release
            ),
        ),
        KernelState::Unknown(why) => {
            findings.add(Weight::Stops, format!("sched_ext cannot be read: {why}"));
        }
        state => {
            findings.add(
                Weight::Fine,
                format!("sched_ext is there; {} schedules now", state.scheduler()),
            );
        }
    }
    if !facts.btf {
        findings.add(
            Weight::Stops,
            "/sys/kernel/btf/vmlinux is missing: boot a kernel with CONFIG_DEBUG_INFO_BTF".into(),
        );
    }
    if facts.realtime {
        findings.add(
            Weight::Stops,
            "a PREEMPT_RT kernel refuses the timers of most schedulers: boot one without it".into(),
        );
    }
}

/// Core scheduling, beside which schedulers can hang the machine.
fn core_scheduling(findings: &mut Findings, facts: &Facts) {
    match &facts.core_scheduling {
        // That not all could be asked is said anyway to who is not root.
        CoreScheduling::Unknown(_) if !facts.root => {}
        CoreScheduling::Unused => {}
        found @ (CoreScheduling::Used(_) | CoreScheduling::Unknown(_)) => findings.add(
            Weight::Stops,
            format!(
                "{found}; nothing is loaded meanwhile: run it without (cloud-hypervisor: `--cpus core_scheduling=off`),                  or turn SMT off"
            ),
        ),
    }
}

/// CPUs that are isolated, with which the kernel refuses schedulers.
fn isolated_cpus(findings: &mut Findings, facts: &Facts) {
    if !facts.isolated_cpus.is_empty() {
        findings.add(
            Weight::Stops,
            format!(
                "CPUs {} are isolated and the kernel then refuses schedulers: boot without isolcpus=",
                facts.isolated_cpus
            ),
        );
    }
    if !facts.isolated_partitions.is_empty() && refuses_partitions(&facts.release) {
        findings.add(
            Weight::Weakens,
            format!(
                "CPUs {} are isolated by cpuset partitions, with which most kernels 7.0 refuse schedulers: \
                 make them members again (cpuset.cpus.partition), or boot Linux 7.1 or later",
                facts.isolated_partitions
            ),
        );
    }
}

/// What schedulers and the profiler need of the kernel's configuration.
fn kernel_build(findings: &mut Findings, facts: &Facts) {
    match facts.function_tracer {
        Tracer::Ready => {}
        Tracer::Off => findings.add(
            Weight::Weakens,
            "kernel.ftrace_enabled is 0, with which schedulers of scx 1.1.2 and later do not load: \
             sysctl kernel.ftrace_enabled=1"
                .into(),
        ),
        Tracer::NotBuilt => findings.add(
            Weight::Weakens,
            "the kernel cannot trace its functions, with which schedulers of scx 1.1.2 and later do not load: \
             boot one with CONFIG_FUNCTION_TRACER"
                .into(),
        ),
    }
    for missing in &facts.not_built {
        findings.add(Weight::Weakens, (*missing).to_owned());
    }
    if !facts.kernel_config {
        findings.add(
            Weight::Weakens,
            format!(
                "most schedulers cannot load without the kernel's configuration: provide \
                 /boot/config-{} or CONFIG_IKCONFIG_PROC",
                facts.release
            ),
        );
    }
}

/// The policy, and the files and programs that it names.
fn policy(findings: &mut Findings, facts: &Facts) {
    match &facts.policy {
        Err(error) => findings.add(
            Weight::Stops,
            format!("the policy is invalid, correct it and try `auto-ext check`: {error}"),
        ),
        Ok(()) if !facts.some_program && !facts.missing_programs.is_empty() => findings.add(
            Weight::Stops,
            "none of the policy's schedulers can be run: install one of those below".into(),
        ),
        Ok(()) => findings.add(Weight::Fine, "the policy is valid".into()),
    }
    for why in &facts.out_of_reach {
        findings.add(Weight::Weakens, why.clone());
    }
    for error in &facts.missing_programs {
        findings.add(
            Weight::Weakens,
            format!("{error}; until it can be run the next candidate is used"),
        );
    }
}

/// From which share of a CPU's time on it is said that a host takes it away.
const NOTICEABLY_STOLEN: f64 = 0.1;

/// What is missing to measure and to limit schedulers, and other tools that get in the way.
fn resources(findings: &mut Findings, facts: &Facts) {
    if !facts.pressure {
        findings.add(
            Weight::Weakens,
            "/proc/pressure is missing, so stalls on IO and memory are not seen: boot with psi=1"
                .into(),
        );
    }
    if facts.stolen >= NOTICEABLY_STOLEN {
        findings.add(
            Weight::Weakens,
            format!(
                "this machine's host took {:.0} % of a busy CPU's time away just now: loads are known later and less surely, and \
                 no scheduler helps with that; give the machine CPUs that nobody else uses, or fewer",
                100.0 * facts.stolen
            ),
        );
    }
    for missing in &facts.missing_limits {
        findings.add(Weight::Weakens, missing.clone());
    }
    limited_cgroups(findings, facts);
    for conflict in &facts.conflicts {
        findings.add(Weight::Weakens, conflict.clone());
    }
}

/// How many cgroups are named.
const NAMED: usize = 3;

/// Limits and weights of CPU time, which are in the way of trials.
fn limited_cgroups(findings: &mut Findings, facts: &Facts) {
    let all = &facts.limited_cgroups;
    if all.is_empty() {
        return;
    }
    let mut named = all[..all.len().min(NAMED)].join(", ");
    if all.len() > NAMED {
        named.push_str(&format!(" and {} more", all.len() - NAMED));
    }
    let (weight, then) = if facts.tries {
        let then =
            "nothing is tried while these use the CPU: take the limits away, or do without trials";
        (Weight::Weakens, then)
    } else {
        (
            Weight::Fine,
            "with trials, nothing would be tried meanwhile",
        )
    };
    let text = format!(
        "cgroups have limits or weights of CPU time (cpu.max, cpu.weight), which most sched_ext schedulers do not follow: \
         {named}; {then}"
    );
    findings.add(weight, text);
}

/// What the daemon says of itself.
fn daemon(findings: &mut Findings, facts: &Facts) {
    match &facts.daemon {
        Err(why) => findings.add(Weight::Weakens, why.clone()),
        Ok(daemon) => {
            if daemon.last_error.is_empty() {
                findings.add(Weight::Fine, "the daemon runs".into());
            } else {
                let error = &daemon.last_error;
                findings.add(
                    Weight::Weakens,
                    format!("the daemon runs; its last error: {error}"),
                );
            }
            if daemon.mode == "pinned" {
                let reason = &daemon.reason;
                findings.add(
                    Weight::Weakens,
                    format!("nothing is chosen by itself: {reason}; `auto-ext unpin` ends it"),
                );
            }
            if daemon.mode == "observe" {
                findings.add(
                    Weight::Stops,
                    format!("the daemon starts nothing: {}", daemon.reason),
                );
            }
            for name in &daemon.quarantined {
                let word = shell_word(name);
                findings.add(
                    Weight::Weakens,
                    format!(
                        "{name} is quarantined because it failed: see `auto-ext schedulers`; when it is repaired: \
                         `auto-ext schedulers --reset-failed {word}`"
                    ),
                );
            }
        }
    }
    if let Ok(daemon) = &facts.daemon
        && let Some(scheduler) = &daemon.foreign
    {
        findings.add(
            Weight::Weakens,
            format!(
                "{scheduler} was not started by auto-ext, which leaves it alone: stop it where it was started, \
                 or take its place with `auto-ext pin NAME` or `foreign: replace` in the policy"
            ),
        );
    }
}

/// Whether the kernel refuses schedulers while a cpuset partition is isolated: Linux 7.0 did at first
/// ("sched_ext: Use HK_TYPE_DOMAIN_BOOT to detect isolcpus= domain isolation", in 7.1 and late 7.0).
fn refuses_partitions(release: &str) -> bool {
    release == "7.0" || release.starts_with("7.0.") || release.starts_with("7.0-")
}

/// `text` as one word of a shell's command line.
pub(super) fn shell_word(text: &str) -> Cow<'_, str> {
    let needs_no_quotes = |char: char| char.is_alphanumeric() || "-_./".contains(char);
    if text.chars().all(needs_no_quotes) {
        return text.into();
    }
    format!("'{}'", text.replace('\'', r"'\''")).into()
}
