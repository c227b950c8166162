//! A swap that fails before it may attach costs the old scheduler nothing; one that fails afterwards leaves
//! the machine with the kernel's own.

use std::fs;

use anyhow::ensure;
use nix::sys::signal::Signal;
use rustix::fs::XattrFlags;

use crate::drop_in::DropIn;
use crate::leftovers::Leftovers;
use crate::pinning::{self, ActiveScheduler, Pinning};
use crate::service::{self, Bus};
use crate::{broken, kernel, wait};

/// A swap that comes to nothing before the old scheduler is touched.
struct Case {
    /// What goes wrong.
    what: &'static str,
    /// What is pinned, with its arguments.
    pin: &'static str,
    /// The policy's name of it.
    name: &'static str,
    /// What is done to it while it loads.
    meddle: fn() -> anyhow::Result<()>,
    /// The reason that is given, beginning with this and ending with that.
    error: (&'static str, &'static str),
}

fn nothing() -> anyhow::Result<()> {
    Ok(())
}

const CASES: [Case; 6] = [
    Case {
        what: "the verifier refuses it",
        pin: "refused",
        name: "refused",
        meddle: nothing,
        // EACCES is the verifier's word.
        error: (
            "exited with status 1: Error: Failed to load BPF program: Permission denied",
            "",
        ),
    },
    Case {
        what: "its arguments are nonsense",
        pin: "cosmos -- --nonsense",
        name: "cosmos",
        meddle: nothing,
        error: ("exited with status 2: error: ", "'--nonsense' found"),
    },
    Case {
        what: "the arguments are nonsense to the one that runs",
        pin: "bpfland -- --nonsense",
        name: "bpfland",
        meddle: nothing,
        error: ("exited with status 2: error: ", "'--nonsense' found"),
    },
    Case {
        what: "it exits at once",
        pin: "exits",
        name: "exits",
        meddle: nothing,
        error: ("exited with status 7: Error: no such luck", ""),
    },
    Case {
        what: "it is killed half-way",
        pin: "lavd",
        name: "lavd",
        meddle: || pinning::send(Signal::SIGKILL, pinning::loading("scx_lavd")?),
        error: ("was killed by SIGKILL", ""),
    },
    Case {
        what: "it needs more memory than it may have",
        pin: "starving",
        name: "starving",
        meddle: nothing,
        error: ("was killed by SIGKILL", ""),
    },
];

pub(super) fn whatever_fails_while_it_loads_costs_the_old_scheduler_nothing() -> anyhow::Result<()>
{
    let refused = broken::refused_by_the_verifier()?;
    let exits = broken::script(
        "exits",
        "#!/bin/sh\necho 'Error: no such luck' >&2\nexit 7\n",
    )?;
    let starving = broken::script(
        "starving",
        "#!/bin/sh\nexec systemd-run --scope --quiet -p MemoryMax=32M -p MemorySwapMax=0 scx_lavd\n",
    )?;
    let bus = pinning::start_with(&format!(
        "refused: {{command: {refused}}}, exits: {{command: {exits}}}, \
         starving: {{command: {starving}}}"
    ))?;
    let before = pinning::start_bpfland(&bus)?;
    let leftovers = Leftovers::at_rest()?;
    for case in &CASES {
        let pinning = pinning::pin(case.pin)?;
        (case.meddle)()?;
        let error = has_failed(case, pinning, &bus)?;
        eprintln!("\n  {}: {error}", case.what);
        unchanged(case.what, &before, &leftovers, &bus)?;
    }
    Ok(())
}

/// Checks that everybody is told of the failure, and returns the reason.
fn has_failed(case: &Case, pinning: Pinning, bus: &Bus) -> anyhow::Result<String> {
    let what = case.what;
    let said = pinning.fails()?;
    let last_error = bus.string("LastError");
    let error = last_error
        .strip_prefix(case.name)
        .and_then(|rest| rest.strip_prefix(": "))
        .unwrap_or_default();
    let (begin, end) = case.error;
    ensure!(
        error.starts_with(begin) && error.ends_with(end),
        "{what}: the last error is `{last_error}`"
    );
    ensure!(
        said.ends_with(&format!(" is not pinned: {error}")),
        "{what}: `auto-ext pin` says `{said}`"
    );
    let history = service::history(1)?;
    ensure!(
        history[0]["event"] == "failed"
            && history[0]["from"] == "scx_bpfland"
            && history[0]["error"] == error,
        "{what}: the history has {}",
        history[0]
    );
    Ok(error.to_owned())
}

fn unchanged(
    what: &str,
    before: &ActiveScheduler,
    leftovers: &Leftovers,
    bus: &Bus,
) -> anyhow::Result<()> {
    let after = ActiveScheduler::now(bus)?;
    ensure!(after == *before, "{what}: {before:?} became {after:?}");
    leftovers.wait_until_nothing_else_is_left()
}

pub(super) fn what_cannot_be_started_is_refused_at_once() -> anyhow::Result<()> {
    let fleeting = broken::script("fleeting", "#!/bin/sh\nexec scx_cosmos\n")?;
    let bus = pinning::start_with(&format!(
        "missing: {{command: scx_missing}}, fleeting: {{command: {fleeting}}}"
    ))?;
    let before = pinning::start_bpfland(&bus)?;
    let leftovers = Leftovers::at_rest()?;
    let error = pinning::pin("missing")?.fails()?;
    ensure!(error.contains("`scx_missing` is not installed"), "{error}");
    let history = service::history(1)?;
    ensure!(
        history[0]["event"] == "refused"
            && history[0]["error"]
                .as_str()
                .is_some_and(|why| error.ends_with(why)),
        "{}",
        history[0]
    );
    unchanged("not there", &before, &leftovers, &bus)?;

    // It is there when it is asked for, but has to wait for another that is cancelled, and is gone
    // when its turn comes.
    pinning::ask("lavd")?;
    pinning::stop_at_start("scx_lavd")?;
    let pinning = pinning::pin("fleeting")?;
    wait::until("desired", &true, || {
        bus.string("DesiredScheduler") == "fleeting"
    })?;
    fs::remove_file(&fleeting)?;
    let error = pinning.fails()?;
    ensure!(error.contains("is not installed"), "{error}");
    unchanged("gone in between", &before, &leftovers, &bus)
}

/// As `setcap cap_sys_admin,cap_perfmon,cap_bpf+ep` does it: `struct vfs_cap_data` of linux/capability.h.
pub(super) fn whose_file_asks_for_more_than_the_service_may_have_is_refused_with_the_remedy()
-> anyhow::Result<()> {
    const ATTRIBUTE: &str = "security.capability";
    let asking = broken::wrapped_cosmos("asking", "")?;
    fs::copy("/usr/bin/scx_cosmos", &asking)?;
    // With it, systemd has all file systems ignore what files ask for, but where there is SELinux.
    let _asked = DropIn::install("NoNewPrivileges=no")?;
    let bus = pinning::start_with(&format!("asking: {{command: {asking}}}"))?;
    let before = pinning::start_bpfland(&bus)?;
    let leftovers = Leftovers::at_rest()?;
    let capabilities: [u32; 5] = [0x0200_0001, 1 << 21, 0, 1 << 6 | 1 << 7, 0];
    let capabilities = capabilities.map(u32::to_le_bytes);
    let flags = XattrFlags::empty();
    rustix::fs::setxattr(&asking, ATTRIBUTE, capabilities.as_flattened(), flags)?;
    let error = pinning::pin("asking")?.fails()?;
    for said in [
        asking.as_str(),
        "may not have, CAP_SYS_ADMIN;",
        &format!("`setcap -r {asking}`"),
        "`CapabilityBoundingSet=CAP_SYS_ADMIN`",
    ] {
        ensure!(error.contains(said), "no {said}: {error}");
    }
    unchanged("capabilities", &before, &leftovers, &bus)?;
    // The remedy is one.
    rustix::fs::removexattr(&asking, ATTRIBUTE)?;
    service::say("auto-ext pin asking")?;
    ensure!(kernel::scheduler() == "scx_cosmos");
    service::say("auto-ext pin kernel").map(drop)
}

pub(super) fn one_that_hangs_while_it_loads_is_ended_when_nobody_wants_it_any_more()
-> anyhow::Result<()> {
    let bus = pinning::start_with("")?;
    let before = pinning::start_bpfland(&bus)?;
    let leftovers = Leftovers::at_rest()?;
    pinning::ask("cosmos")?;
    pinning::stop_at_start("scx_cosmos")?;
    pinning::ask("bpfland")?;
    wait::until("hung process", &true, || {
        pinning::processes("scx_cosmos").is_empty()
    })?;
    unchanged("it hangs", &before, &leftovers, &bus)
}

pub(super) fn one_that_fails_once_it_may_attach_leaves_the_kernels_own() -> anyhow::Result<()> {
    let failing = broken::failing_in_init()?;
    let bus = pinning::start_with(&format!("failing: {{command: {failing}}}"))?;
    let before = pinning::start_bpfland(&bus)?;
    let error = pinning::pin("failing")?.fails()?;
    eprintln!("\n  ops.init fails: {error}");
    // What was pinned before is in force again, and is brought in again.
    wait::until("history", &true, || {
        let history = service::history(2).unwrap_or_default();
        history.len() == 2
            && history[0]["event"] == "failed"
            && history[0]["from"] == "scx_bpfland"
            && history[1]["event"] == "switched"
            && history[1]["from"] == "kernel"
            && history[1]["to"] == "scx_bpfland"
    })?;
    let after = ActiveScheduler::now(&bus)?;
    ensure!(
        after.enabled == before.enabled + 1 && after.pid()? != before.pid()?,
        "{before:?} became {after:?}"
    );
    Ok(())
}

pub(super) fn where_no_scheduler_can_load_every_pin_fails_and_changes_nothing() -> anyhow::Result<()>
{
    let bus = pinning::start_with("")?;
    let before = ActiveScheduler::now(&bus)?;
    let leftovers = Leftovers::at_rest()?;
    for name in ["bpfland", "cosmos", "lavd", "rusty", "flash", "beerland"] {
        let error = pinning::pin(name)?.fails()?;
        ensure!(
            error.contains(&format!("scx_{name} is not pinned: ")),
            "{error}"
        );
        let last_error = bus.string("LastError");
        ensure!(
            last_error.starts_with(&format!("{name}: ")) && last_error.len() > 20,
            "{last_error}"
        );
        eprintln!("\n  said: {last_error}");
        unchanged(name, &before, &leftovers, &bus)?;
        ensure!(kernel::state() == "disabled" && kernel::enable_seq() == 0);
    }
    Ok(())
}
