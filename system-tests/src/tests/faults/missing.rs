//! The kernel or the unit withholds what the daemon would like to have: each thing alone.

use std::fs;

use anyhow::{Context as _, ensure};

use super::Ground;
use crate::drop_in::DropIn;
use crate::service::{self, Bus};
use crate::{kernel, pinning, policy, wait};

/// Where the kernel shows its types, by which BPF programs find their tracepoints.
const BTF: &str = "/sys/kernel/btf/vmlinux";
const DIRECTORY: &str = "/usr/local/lib/auto-ext-tests";
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Something that is missing, and what works without it.
struct Case {
    what: &'static str,
    /// What the unit says so that it is.
    settings: &'static str,
    /// A tracepoint that is hidden.
    hidden: Option<&'static str>,
    /// The signals whose level is unknown then, and no others.
    unknown: &'static [&'static str],
    /// Whether a scheduler can be loaded.
    switches: bool,
}

const ALL: Case = Case {
    what: "nothing",
    settings: "",
    hidden: None,
    unknown: &[],
    switches: true,
};

const CASES: [Case; 10] = [
    Case {
        what: "the profiler of cpu, parallel, contended and interactive",
        hidden: Some("cpu_idle"),
        unknown: &["cpu", "parallel", "contended", "interactive"],
        ..ALL
    },
    // What the kernel counts anyway still tells of io and mem.
    Case {
        what: "the profiler of io",
        hidden: Some("block_rq_complete"),
        ..ALL
    },
    Case {
        what: "the profiler of net",
        hidden: Some("softirq_exit"),
        unknown: &["net"],
        ..ALL
    },
    Case {
        what: "the profiler of mem",
        hidden: Some("mm_vmscan_direct_reclaim_end"),
        ..ALL
    },
    Case {
        what: "the kernel's types",
        settings: "InaccessiblePaths=/sys/kernel/btf/vmlinux",
        unknown: &["cpu", "parallel", "contended", "interactive", "net"],
        switches: false,
        ..ALL
    },
    Case {
        what: "pressure",
        settings: "InaccessiblePaths=/proc/pressure",
        ..ALL
    },
    Case {
        what: "every capability",
        settings: "CapabilityBoundingSet=",
        unknown: &["cpu", "parallel", "contended", "interactive", "net"],
        switches: false,
        ..ALL
    },
    Case {
        what: "CAP_SYS_NICE",
        settings: "CapabilityBoundingSet=~CAP_SYS_NICE",
        ..ALL
    },
    Case {
        what: "locked memory",
        settings: "LimitMEMLOCK=0",
        ..ALL
    },
    Case {
        what: "the cgroup of its own",
        settings: "Delegate=no",
        ..ALL
    },
];

/// How many inotify instances a user may have.
const WATCHERS: &str = "/proc/sys/fs/inotify/max_user_instances";

pub(in crate::tests) fn without_watches_edits_of_the_policy_are_found_by_looking()
-> anyhow::Result<()> {
    let usual = fs::read_to_string(WATCHERS)?;
    fs::write(WATCHERS, "0")?;
    let checked = edits_are_found_by_looking();
    fs::write(WATCHERS, usual.trim())?;
    let bus = checked?;
    // Tried again and again, and said when it works.
    wait::until("trouble", &String::new(), || bus.string("LastError"))?;
    edit("watched", &bus)?;
    service::stop()
}

fn edits_are_found_by_looking() -> anyhow::Result<Bus> {
    let ground = Ground::at_rest(pinning::start_with("")?)?;
    let bus = Bus::connect()?;
    let trouble = bus.string("LastError");
    ensure!(
        trouble.contains("policies.yaml cannot be watched"),
        "{trouble}"
    );
    let status = service::say("auto-ext status")?;
    ensure!(status.contains("cannot be watched"), "{status}");
    edit("unwatched", &bus)?;
    let said = service::say("journalctl --unit=auto-ext.service --output=cat --lines=30")?;
    ensure!(said.contains("cannot be watched"), "{said}");
    ground.is_sane("no watches")?;
    Ok(bus)
}

/// Edits the policy, which comes into force.
fn edit(class: &str, bus: &Bus) -> anyhow::Result<()> {
    policy::write(&format!(
        "version: 1\nrules: [{{class: {class}, use: [kernel]}}]\n"
    ))?;
    let took = wait::until("class", &class.to_owned(), || bus.string("Class"))?;
    eprintln!("  an edit is in force after {took:.1?}, {class}");
    Ok(())
}

pub(in crate::tests) fn what_is_missing_costs_what_needs_it_and_nothing_else() -> anyhow::Result<()>
{
    policy::write(policy::QUIET)?;
    eprintln!();
    for case in &CASES {
        works_without(case).with_context(|| format!("without {}", case.what))?;
    }
    // And all is there again.
    works_without(&ALL)
}

fn works_without(case: &Case) -> anyhow::Result<()> {
    let settings = match case.hidden {
        Some(tracepoint) => hide(tracepoint)?,
        None => case.settings.to_owned(),
    };
    let _missing = DropIn::install(&settings)?;
    service::restart()?;
    let ground = Ground::at_rest(Bus::connect()?)?;
    wait::until("signals of unknown level", &case.unknown.to_vec(), || {
        unknown().unwrap_or_default()
    })?;
    let pinned = service::output("auto-ext pin bpfland")?;
    let switched = pinned.status.success();
    let error = String::from_utf8_lossy(&pinned.stderr);
    eprintln!(
        "  without {}: unknown {:?}, switched {switched}",
        case.what,
        unknown()?,
    );
    ensure!(switched == case.switches, "{error}");
    ensure!((kernel::scheduler() == "scx_bpfland") == switched);
    ground.is_sane(case.what)?;
    service::say("auto-ext pin kernel")?;
    ground.is_as_before(case.what)
}

/// The signals whose level is not known.
fn unknown() -> anyhow::Result<Vec<&'static str>> {
    let levels = service::busctl("Levels")?;
    let all = [
        "cpu",
        "parallel",
        "contended",
        "interactive",
        "io",
        "net",
        "mem",
    ];
    let unknown = all
        .into_iter()
        .filter(|signal| levels.contains(&format!("\"{signal}\" \"unknown\"")));
    Ok(unknown.collect())
}

/// The setting that hides a tracepoint: in the kernel's types, as the service sees them, it has another
/// name.
fn hide(tracepoint: &str) -> anyhow::Result<String> {
    let mut types = fs::read(BTF).with_context(|| format!("failed to read {BTF}"))?;
    let name = format!("\0btf_trace_{tracepoint}\0");
    let at = types
        .windows(name.len())
        .position(|window| window == name.as_bytes())
        .with_context(|| format!("{BTF} has no {tracepoint}"))?;
    types[at + 1] = b'B';
    fs::create_dir_all(DIRECTORY)?;
    let file = format!("{DIRECTORY}/types-without-{tracepoint}");
    fs::write(&file, types).with_context(|| format!("failed to write {file}"))?;
    Ok(format!("BindReadOnlyPaths={file}:{BTF}"))
}

/// Comes last of all: a kernel that is locked down stays so until the next boot.
pub(in crate::tests) fn a_kernel_that_is_locked_down_is_left_in_peace() -> anyhow::Result<()> {
    let bus = pinning::start_with("")?;
    drop(bus);
    fs::write(LOCKDOWN, "confidentiality")
        .with_context(|| format!("failed to write {LOCKDOWN}"))?;
    service::restart()?;
    let ground = Ground::at_rest(Bus::connect()?)?;
    let pinned = service::output("auto-ext pin bpfland")?;
    eprintln!(
        "\n  locked down: unknown {:?}, switched {}",
        unknown()?,
        pinned.status.success(),
    );
    ensure!(
        (kernel::scheduler() == "scx_bpfland") == pinned.status.success(),
        "{pinned:?}"
    );
    ground.is_sane("locked down")?;
    service::stop()?;
    ensure!(kernel::scheduler() == "kernel");
    Ok(())
}
