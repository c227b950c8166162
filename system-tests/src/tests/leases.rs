//! Leases: a scheduler for as long as its caller runs, and who may have which.

use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};

use super::faults::{game, install_game};
use super::people::{count, start_with};
use crate::load;
use crate::service::{self, Bus};
use crate::{kernel, policy, wait};

/// A game brings scx_flash; bpfland has another name, and simple is not in it.
const POLICY: &str = "version: 1\nschedulers:\n  fast: {command: scx_bpfland}\n  missing: {command: scx_missing}\nrules:\n  \
    - {class: game, when: {process: [the-game]}, use: [scx_flash, kernel]}\n  \
    - {class: desk, when: {cpu: high, mem: high}, use: [missing, fast, kernel]}\n  \
    - {class: idle, use: [kernel]}\n\
    stability: {min_run: 60s, max_switches_per_hour: 1000}\n";

/// What runs under a lease has another name than anything else here.
const LEASED: &str = "/root/leased-command";

fn run(scheduler: &str) -> anyhow::Result<Child> {
    start_with(&["run", scheduler], LEASED)
}

fn leased_commands() -> usize {
    count(LEASED)
}

pub(super) fn a_lease_lasts_as_long_as_its_caller_and_min_run_does_not_keep_it()
-> anyhow::Result<()> {
    policy::write(POLICY)?;
    service::restart()?;
    let bus = Bus::connect()?;
    install_game()?;
    let game = game()?;
    kernel::runs("scx_flash")?;
    let mut caller = run("fast")?;
    wait::until("the command", &1, leased_commands)?;
    // It starts when its scheduler runs.
    ensure!(
        kernel::scheduler() == "scx_bpfland",
        "{}",
        kernel::scheduler()
    );
    ensure!(bus.string("Mode") == "held" && bus.string("DesiredScheduler") == "scx_bpfland");
    let reason = bus.string("Reason");
    ensure!(
        reason.starts_with("leased by leased-command (auto-ext run)"),
        "{reason}"
    );
    let why = service::say("auto-ext why")?;
    ensure!(
        why.contains("the end of the lease of leased-command"),
        "{why}"
    );

    // A newer lease is in force, and the first one after it.
    let newer = run("kernel")?;
    kernel::runs("kernel")?;
    drop(end(newer, "TERM")?);
    kernel::runs("scx_bpfland")?;

    // The daemon may be restarted or killed.
    for how in service::REPLACED_BY {
        service::replace(how)?;
        wait::until("mode", &"held".to_owned(), || bus.string("Mode"))?;
        kernel::runs("scx_bpfland")?;
    }
    ensure!(caller.try_wait()?.is_none() && leased_commands() == 1);

    // Killed, so that it cannot say that it leaves: what the policy wants comes.
    let killed_at = Instant::now();
    let said = end(caller, "KILL")?;
    wait::until("mode", &"auto".to_owned(), || bus.string("Mode"))?;
    eprintln!("\n  known after {:.0?}", killed_at.elapsed());
    kernel::runs("scx_flash")?;
    let warnings = String::from_utf8_lossy(&said.stderr)
        .matches("not leased any more")
        .count();
    ensure!(warnings == 1, "{said:?}");
    drop(game);
    Ok(())
}

/// Ends a caller by this signal.
fn end(caller: Child, signal: &str) -> anyhow::Result<Output> {
    service::say(&format!("kill -{signal} {}", caller.id()))?;
    Ok(caller.wait_with_output()?)
}

pub(super) fn what_cannot_be_leased_now_keeps_no_command_from_running() -> anyhow::Result<()> {
    policy::write(POLICY)?;
    service::restart()?;
    // What a class would use: the first that there is.
    let shown = service::say("auto-ext run --class desk -- auto-ext status --json")?;
    ensure!(
        shown.contains("\"current_scheduler\":\"scx_bpfland\""),
        "{shown}"
    );
    kernel::runs("kernel")?;

    // Mistakes of the caller's: nothing runs.
    for (command, says) in [
        ("run nonsense -- echo ran", "`nonsense` is no scheduler"),
        (
            "run --class nonsense -- echo ran",
            "no class `nonsense`; it has game, desk, idle",
        ),
    ] {
        let output = service::output(&format!("auto-ext {command}"))?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(1) && error.contains(says),
            "{command}: {error}"
        );
        ensure!(output.stdout.is_empty(), "{command}");
    }

    // It is not installed, a pin overrules it, and without a daemon there is none.
    let ran_under = |name: &str, says: &str| {
        // grep ends with 2 where it finds no file.
        let output = service::output(&format!("auto-ext run {name} -- grep x /nonexistent"))?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(2) && error.contains(says),
            "{error}"
        );
        ensure!(kernel::scheduler() == "kernel");
        anyhow::Ok(())
    };
    ran_under("missing", "scx_missing")?;
    service::say("auto-ext pin kernel")?;
    let ran = |says| ran_under("fast", says);
    ran("warning: the scheduler does not run, the command does all the same: pinned: kernel")?;
    service::say("auto-ext unpin")?;
    service::stop()?;
    ran("the daemon does not run")?;
    service::restart()
}

/// How a command ended that a person at the first virtual terminal typed, somebody without rights, and what it said.
fn at_the_machine(command: &str) -> anyhow::Result<(i32, String)> {
    let output = Command::new("systemd-run")
        .args(["--quiet", "--pipe", "--wait", "--collect", "--uid=alice"])
        .args(["--property=PAMName=login", "--property=TTYPath=/dev/tty1"])
        .args(["sh", "-c", command])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to run `{command}`"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok((output.status.code().unwrap_or(-1), text))
}

pub(super) fn a_person_at_the_machine_leases_what_the_policy_names_without_a_password()
-> anyhow::Result<()> {
    policy::write(POLICY)?;
    service::restart()?;
    service::say("useradd alice")?;
    let (_, session) = at_the_machine("loginctl show-session $XDG_SESSION_ID")?;
    ensure!(
        session.contains("Active=yes")
            && session.contains("Seat=seat0")
            && session.contains("Remote=no"),
        "{session}"
    );
    let (code, text) =
        at_the_machine("auto-ext run fast -- sh -c 'auto-ext status --json; exit 5'")?;
    ensure!(
        code == 5 && text.contains("\"current_scheduler\":\"scx_bpfland\""),
        "{code}: {text}"
    );
    kernel::runs("kernel")?;
    let enabled = kernel::enable_seq();
    let lease =
        "busctl call org.autoext.AutoExt1 /org/autoext/AutoExt1 org.autoext.AutoExt1 Lease sasss";
    for (command, wanted, says) in [
        (
            "auto-ext run scx_simple -- echo ran",
            4,
            "org.autoext.AutoExt1.manage",
        ),
        ("auto-ext pin fast", 4, "org.autoext.AutoExt1.manage"),
        (
            "auto-ext pin fast -- --verbose",
            4,
            "org.autoext.AutoExt1.arguments",
        ),
        (
            &format!("{lease} fast 1 verbose alice plays"),
            1,
            "Access denied",
        ),
    ] {
        let (code, text) = at_the_machine(command)?;
        ensure!(
            code == wanted && text.contains(says) && !text.contains("ran"),
            "{command}: {code}: {text}"
        );
    }
    // Somebody who is not at the machine is asked for a password, which a script has not.
    let output = Command::new("su")
        .args(["alice", "-c", "auto-ext run fast -- echo ran"])
        .stdin(Stdio::null())
        .output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(4) && error.contains("org.autoext.AutoExt1.lease"),
        "{error}"
    );
    ensure!(kernel::enable_seq() == enabled && kernel::scheduler() == "kernel");
    wait::until("the end of alice", &true, || {
        service::output("userdel alice").is_ok_and(|output| output.status.success())
    })?;
    Ok(())
}

/// For scx.service, as it is shipped.
const DROP_IN: &str = include_str!("../../../contrib/systemd/scx-service-lease.conf");

/// The session bus of whoever plays.
const SESSION: &str = "/root/session-bus";

pub(super) fn a_game_that_gamemode_knows_has_what_its_class_would_use() -> anyhow::Result<()> {
    policy::write(
        "version: 1\nrules:\n  \
         - {class: game, when: {process: [no-such-game]}, use: [scx_bpfland, kernel]}\n  \
         - {class: idle, use: [kernel]}\n",
    )?;
    service::restart()?;
    let bus = Bus::connect()?;
    let session = load::start_command(Command::new("dbus-run-session").args([
        "--",
        "sh",
        "-c",
        &format!("echo $DBUS_SESSION_BUS_ADDRESS > {SESSION}; exec auto-ext gamemode"),
    ]))?;
    let address = || {
        fs::read_to_string(SESSION)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    wait::until("the session", &true, || !address().is_empty())?;
    let in_session = |command: &str| {
        let mut words = command.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or_default());
        command
            .args(words)
            .env("DBUS_SESSION_BUS_ADDRESS", address());
        load::start_command(&mut command)
    };
    let gamemode = in_session("gamemoded")?;
    for _ in 0..2 {
        // Asks for GameMode until it is killed, as a game does.
        let game = in_session("gamemoded --request")?;
        kernel::runs("scx_bpfland")?;
        let reason = bus.string("Reason");
        ensure!(
            reason.starts_with("leased by GameMode (auto-ext run --class game)"),
            "{reason}"
        );
        drop(game);
        wait::until("mode", &"auto".to_owned(), || bus.string("Mode"))?;
        kernel::runs("kernel")?;
    }
    // GameMode may end before its game does.
    let game = in_session("gamemoded --request")?;
    kernel::runs("scx_bpfland")?;
    drop(gamemode);
    kernel::runs("kernel")?;
    drop((game, session));
    fs::remove_file(SESSION)?;
    Ok(())
}

pub(super) fn what_scx_service_would_start_can_be_a_lease() -> anyhow::Result<()> {
    policy::write(POLICY)?;
    service::restart()?;
    let bus = Bus::connect()?;
    let directory = "/run/systemd/system/scx.service.d";
    fs::create_dir_all(directory)?;
    // As the packages of scx have it.
    fs::write(
        "/run/systemd/system/scx.service",
        "[Service]\nType=simple\nEnvironmentFile=/run/scx-scheduler\nExecStart=/bin/bash -c 'exec $SCX_SCHEDULER $SCX_FLAGS'\n",
    )?;
    fs::write("/run/scx-scheduler", "SCX_SCHEDULER=scx_bpfland\n")?;
    fs::write(format!("{directory}/lease.conf"), DROP_IN)?;
    service::say("systemctl daemon-reload")?;
    service::say("systemctl start scx.service")?;
    kernel::runs("scx_bpfland")?;
    ensure!(bus.string("Mode") == "held" && bus.string("CurrentOwner") == "auto-ext");
    service::say("systemctl stop scx.service")?;
    wait::until("mode", &"auto".to_owned(), || bus.string("Mode"))?;
    kernel::runs("kernel")?;
    fs::remove_dir_all(directory)?;
    fs::remove_file("/run/systemd/system/scx.service")?;
    service::say("systemctl daemon-reload")?;
    Ok(())
}
