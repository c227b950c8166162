//! The system bus is restarted, stopped, hangs or is not there yet: schedulers do not wait for it.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use zbus::Variant;

use super::{Ground, a_game_is_served, says_what_the_kernel_says, with_a_game};
use crate::service::{self, Bus};
use crate::{flood, load, pinning, wait};

pub(in crate::tests) fn the_bus_may_be_restarted_stopped_and_hang() -> anyhow::Result<()> {
    let mut ground = Ground::at_rest(with_a_game()?)?;
    eprintln!();
    let holder = load::start("auto-ext hold -- sleep 1000")?;
    wait::until("mode", &"held".to_owned(), || ground.bus.string("Mode"))?;
    service::say("systemctl restart dbus.service")?;
    back("restarted", &mut ground)?;
    // Who held has lost the bus as well, and comes back to it.
    wait::until("mode", &"held".to_owned(), || ground.bus.string("Mode"))?;
    drop(holder);
    wait::until("mode", &"auto".to_owned(), || ground.bus.string("Mode"))?;

    let stopped = Stopped::stop()?;
    a_game_is_served()?;
    let status = service::output("auto-ext status")?;
    ensure!(status.status.code() == Some(3), "without a bus: {status:?}");
    drop(stopped);
    back("stopped for a while", &mut ground)?;

    let process = bus_process()?;
    pinning::send(Signal::SIGSTOP, process)?;
    let served = a_game_is_served();
    pinning::send(Signal::SIGCONT, process)?;
    served?;
    back("hung", &mut ground)?;
    // Of the connections that were lost nothing is kept.
    ground.is_as_before("the bus came back three times")?;
    ground.works()
}

pub(in crate::tests) fn without_a_bus_at_its_start_it_works_and_gets_there_later()
-> anyhow::Result<()> {
    super::write_policy_with_a_game()?;
    let stopped = Stopped::stop()?;
    service::restart()?;
    let daemon = pinning::daemon()?;
    a_game_is_served()?;
    drop(stopped);
    let bus = Bus::connect()?;
    wait::until("daemon on the bus", &true, || {
        bus.number("Switches").is_ok()
    })?;
    ensure!(pinning::daemon()? == daemon, "the daemon was restarted");
    says_what_the_kernel_says("there later", &bus)?;
    let history = service::history(1)?;
    ensure!(
        history[0]["from"] == "scx_cosmos" && history[0]["to"] == "kernel",
        "{history:?}"
    );
    Ok(())
}

/// How many signals of each kind are sent without a pause.
const FLOOD: usize = 2000;

pub(in crate::tests) fn a_flood_of_signals_from_anybody_cuts_no_line() -> anyhow::Result<()> {
    let ground = Ground::at_rest(with_a_game()?)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let connection = zbus::Connection::system().await?;
        let (service, nothing) = (
            Some("org.autoext.AutoExt1"),
            "org.freedesktop.UPower.PowerProfiles",
        );
        for _ in 0..FLOOD {
            let logind = ("/org/freedesktop/login1", "org.freedesktop.login1.Manager");
            connection
                .emit_signal(service, logind.0, logind.1, "PrepareForSleep", &true)
                .await?;
            let changed = (
                nothing,
                HashMap::<&str, Variant<'_>>::new(),
                Vec::<&str>::new(),
            );
            let properties = "org.freedesktop.DBus.Properties";
            let path = "/org/freedesktop/UPower/PowerProfiles";
            connection
                .emit_signal(service, path, properties, "PropertiesChanged", &changed)
                .await?;
        }
        anyhow::Ok(())
    })?;
    // It answers, is not asleep, and does its work.
    ground.is_sane("a flood of signals")?;
    ensure!(
        ground.bus.string("Mode") == "auto",
        "{}",
        ground.bus.string("Mode")
    );
    a_game_is_served()?;
    ground.works()
}

pub(in crate::tests) fn a_flood_of_questions_from_anybody_slows_no_decision() -> anyhow::Result<()>
{
    super::write_policy_with_a_game_and(&format!("metrics: {{listen: {}}}\n", flood::SOCKET))?;
    service::restart()?;
    let bus = Bus::connect()?;
    wait::until("mode", &"auto".to_owned(), || bus.string("Mode"))?;
    let ground = Ground::at_rest(bus)?;
    let three = || {
        let mut took = [
            a_game_is_served()?,
            a_game_is_served()?,
            a_game_is_served()?,
        ];
        took.sort();
        anyhow::Ok(took[1])
    };
    let quiet = three()?;
    let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    let asking = Command::new("sh")
        .args([
            "-c",
            &format!("exec {nobody} /usr/libexec/auto-ext/system-tests flood 40"),
        ])
        .stderr(Stdio::piped())
        .spawn()?;
    let flooded = three()?;
    // Who may ask is answered meanwhile.
    service::say("auto-ext status")?;
    ground.is_sane("a flood of questions")?;
    let output = asking.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    eprintln!(
        "\n  a game is served after {quiet:.1?}, in a flood after {flooded:.1?}; asked: {said}"
    );
    let counts: Vec<u64> = said
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .with_context(|| said.to_string())?;
    let [answered, refused, http_answered, http_refused] = counts[..] else {
        bail!("{said}");
    };
    ensure!(
        refused > answered && http_refused > http_answered,
        "nobody was told to ask less: {said}"
    );
    // The emulator has to share its CPUs with who asks.
    ensure!(
        flooded < 4 * quiet + Duration::from_secs(1),
        "{flooded:.1?} in a flood, {quiet:.1?} without"
    );
    ground.works()
}

/// Waits until the daemon is on the bus again.
fn back(what: &str, ground: &mut Ground) -> anyhow::Result<()> {
    let begun = Instant::now();
    ground
        .follow_the_bus()
        .with_context(|| format!("the bus {what}"))?;
    eprintln!(
        "  the bus {what}: on it again after {:.1?}",
        begun.elapsed()
    );
    Ok(())
}

/// The system bus is stopped until this is dropped.
struct Stopped;

impl Stopped {
    fn stop() -> anyhow::Result<Self> {
        service::say("systemctl stop dbus.socket dbus.service")?;
        Ok(Self)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // The next test will tell if this fails.
        let _ = service::say("systemctl start dbus.socket dbus.service");
    }
}

fn bus_process() -> anyhow::Result<Pid> {
    let pid = service::say("systemctl show --property=MainPID --value dbus.service")?;
    Ok(Pid::from_raw(pid.parse()?))
}
