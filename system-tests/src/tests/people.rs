//! What people ask for, and who may.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::load::{self, Load};
use crate::service::{self, Bus};
use crate::{kernel, policy, wait};

/// Hogs bring scx_flash, and nothing else brings anything.
const POLICY: &str = "version: 1\nrules:\n  \
    - {class: cpu, when: {cpu: high}, use: [scx_flash, kernel]}\n  \
    - {class: idle, use: [kernel]}\n\
    stability: {min_run: 1s, max_switches_per_hour: 1000}\n";

const RULE: &str = "/etc/polkit-1/rules.d/50-alice.rules";

/// The exit code of a command that `alice`, an ordinary user, runs, and what it says.
fn as_alice(command: &str) -> anyhow::Result<(i32, String)> {
    let output = Command::new("su")
        .args(["alice", "-c", command])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to run `{command}`"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok((output.status.code().unwrap_or(-1), text))
}

pub(super) fn only_who_may_changes_something_and_everybody_reads() -> anyhow::Result<()> {
    policy::write(policy::QUIET)?;
    service::restart()?;
    service::say("useradd alice")?;
    let enabled = kernel::enable_seq();
    for command in ["auto-ext pin bpfland", "auto-ext unpin", "auto-ext reload"] {
        let (code, text) = as_alice(command)?;
        ensure!(
            code == 4 && text.contains("not permitted"),
            "{command}: {code}: {text}"
        );
    }
    // What is to run runs all the same.
    let (code, text) = as_alice("auto-ext hold -- sh -c 'exit 5'")?;
    ensure!(
        code == 5 && text.contains("not permitted"),
        "{code}: {text}"
    );
    ensure!(kernel::enable_seq() == enabled && kernel::scheduler() == "kernel");
    for command in [
        "auto-ext status",
        "auto-ext why",
        "auto-ext history",
        "auto-ext schedulers",
        "auto-ext check",
    ] {
        let (code, text) = as_alice(command)?;
        ensure!(code == 0, "{command}: {code}: {text}");
    }
    let pin = "busctl call org.autoext.AutoExt1 /org/autoext/AutoExt1 org.autoext.AutoExt1 Pin sasu kernel 0 0";
    let (code, text) = as_alice(pin)?;
    ensure!(
        code != 0 && text.contains("Access denied"),
        "{code}: {text}"
    );

    fs::create_dir_all("/etc/polkit-1/rules.d")?;
    fs::write(
        RULE,
        "polkit.addRule(function(action, subject) { \
         if (action.id == 'org.autoext.AutoExt1.manage' && subject.user == 'alice') \
         return polkit.Result.YES; });\n",
    )?;
    // polkit notices the file by itself.
    wait::until("permission by a rule", &0, || {
        as_alice("auto-ext pin scx_bpfland").map_or(-1, |(code, _)| code)
    })?;
    ensure!(kernel::scheduler() == "scx_bpfland");
    let (code, text) = as_alice("auto-ext unpin")?;
    ensure!(code == 0, "{code}: {text}");
    fs::remove_file(RULE)?;
    // What logind started for her ends a while after she left.
    wait::until("the end of alice", &true, || {
        service::output("userdel alice").is_ok_and(|output| output.status.success())
    })?;
    wait::until("scheduler at rest", &"kernel".to_owned(), kernel::scheduler)?;
    Ok(())
}

pub(super) fn a_scheduler_that_takes_a_minute_to_load_can_be_pinned() -> anyhow::Result<()> {
    policy::write(policy::QUIET)?;
    service::restart()?;
    let bus = Bus::connect()?;
    let said = service::say("auto-ext pin lavd")?;
    ensure!(said.starts_with("scx_lavd runs now"), "{said}");
    ensure!(kernel::scheduler() == "scx_lavd" && bus.string("Mode") == "pinned");
    service::say("auto-ext unpin")?;
    kernel::runs("kernel")
}

pub(super) fn a_pin_outlives_loads_and_reload_and_ends_in_its_time() -> anyhow::Result<()> {
    policy::write(POLICY)?;
    service::restart()?;
    let bus = Bus::connect()?;
    let said = service::say("auto-ext pin bpfland --for 25s")?;
    ensure!(said == "scx_bpfland runs now, pinned for 25s", "{said}");
    ensure!(bus.string("Mode") == "pinned");
    let enabled = kernel::enable_seq();
    service::say("auto-ext reload")?;
    let hogs = Load::of_class("cpu").start()?;
    wait::until("class", &"cpu".to_owned(), || bus.string("Class"))?;
    ensure!(bus.string("Mode") == "pinned" && kernel::scheduler() == "scx_bpfland");
    ensure!(
        kernel::enable_seq() == enabled,
        "something else was enabled"
    );
    wait::until(
        "scheduler after the pin",
        &"scx_flash".to_owned(),
        kernel::scheduler,
    )?;
    drop(hogs);
    let output = service::output("auto-ext pin nonsense")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(1) && error.contains("`nonsense` is no scheduler"),
        "{error}"
    );
    wait::until("scheduler at rest", &"kernel".to_owned(), kernel::scheduler)?;
    Ok(())
}

pub(super) fn a_hold_keeps_what_runs_and_ends_with_its_caller() -> anyhow::Result<()> {
    policy::write(POLICY)?;
    service::restart()?;
    let bus = Bus::connect()?;
    let holder = load::start("auto-ext hold -- sleep 1000")?;
    wait::until("mode", &"held".to_owned(), || bus.string("Mode"))?;
    let enabled = kernel::enable_seq();
    let hogs = Load::of_class("cpu").start()?;
    wait::until("class", &"cpu".to_owned(), || bus.string("Class"))?;
    std::thread::sleep(std::time::Duration::from_secs(3));
    ensure!(kernel::scheduler() == "kernel" && kernel::enable_seq() == enabled);
    let reason = bus.string("Reason");
    ensure!(reason.starts_with("held by sleep"), "{reason}");
    // Killed, so that it cannot say that it leaves.
    drop(holder);
    wait::until(
        "scheduler after the hold",
        &"scx_flash".to_owned(),
        kernel::scheduler,
    )?;
    drop(hogs);
    let status = Command::new("auto-ext")
        .args(["hold", "--", "sh", "-c", "exit 7"])
        .status()?;
    ensure!(status.code() == Some(7), "{status}");
    wait::until("scheduler at rest", &"kernel".to_owned(), kernel::scheduler)?;
    Ok(())
}

/// What is held while this runs has another name than anything else here.
const HELD: &str = "/root/held-command";

/// `auto-ext` with these arguments and a command that does nothing, of this name, and what it says on standard error.
pub(super) fn start_with(arguments: &[&str], command: &str) -> anyhow::Result<Child> {
    // It may run already.
    if !Path::new(command).exists() {
        fs::copy("/usr/bin/sleep", command)?;
    }
    Command::new("auto-ext")
        .args(arguments)
        .args(["--", command, "1000"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("failed to run auto-ext")
}

/// How many processes of this command there are.
pub(super) fn count(command: &str) -> usize {
    let found = service::output(&format!("pgrep --count --full ^{command}"));
    let found = found.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    found
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(usize::MAX)
}

fn hold() -> anyhow::Result<Child> {
    start_with(&["hold"], HELD)
}

fn held_commands() -> usize {
    count(HELD)
}

pub(super) fn a_hold_outlives_the_daemon_and_never_leaves_its_command_behind() -> anyhow::Result<()>
{
    policy::write(policy::QUIET)?;
    service::restart()?;
    let bus = Bus::connect()?;
    let mode = |mode: &str| wait::until("mode", &mode.to_owned(), || bus.string("Mode"));
    let mut holder = hold()?;
    mode("held")?;
    for how in service::REPLACED_BY {
        service::replace(how)?;
        mode("held")?;
    }
    // Without a daemon the command runs on, and is asked to end as whoever ends its wrapper means it.
    service::stop()?;
    ensure!(holder.try_wait()?.is_none() && held_commands() == 1);
    service::say(&format!("kill -TERM {}", holder.id()))?;
    let output = holder.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(128 + 15),
        "{}: {said}",
        output.status
    );
    let warnings = said.matches("not held any more").count();
    ensure!(warnings == 1 && said.lines().count() == 1, "{said}");
    ensure!(held_commands() == 0);

    let holder = hold()?;
    wait::until("the command without a daemon", &1, held_commands)?;
    service::restart()?;
    mode("held")?;
    service::say(&format!("kill -HUP {}", holder.id()))?;
    let output = holder.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(128 + 1),
        "{}: {said}",
        output.status
    );
    ensure!(
        said.contains("warning: the scheduler is not held"),
        "{said}"
    );
    mode("auto")?;

    for (signal, code) in [("INT", Some(128 + 2)), ("KILL", None)] {
        let holder = hold()?;
        mode("held")?;
        wait::until("the command", &1, held_commands)?;
        service::say(&format!("kill -{signal} {}", holder.id()))?;
        let output = holder.wait_with_output()?;
        ensure!(output.status.code() == code, "{signal}: {}", output.status);
        wait::until("no command", &0, held_commands)?;
        mode("auto")?;
    }
    fs::remove_file(HELD)?;
    Ok(())
}
