//! `auto-ext watch` in a real terminal.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::load::{self, Load};
use crate::pinning;
use crate::service::{self, Bus};
use crate::terminal::Terminal;
use crate::{kernel, policy, process, wait};

/// What is watched. What a terminal in an emulated machine costs is a load of memory too, and no part of this.
const LOADS: &str = "version: 1
rules:
  - {class: network, when: {net: high}, use: [scx_cosmos, kernel]}
  - {class: cpu, when: {cpu: high}, use: [scx_rusty, kernel]}
  - {class: idle, use: [kernel]}
stability: {min_run: 2s, max_switches_per_hour: 1000}
";

/// How long its share of a CPU is measured.
const MEASURED: Duration = Duration::from_secs(10);
/// What it takes if it draws without a pause. It is to take a hundredth at most, which depends on the
/// machine and is only printed.
const NO_PAUSE: f64 = 0.2;

pub(super) fn watch_shows_loads_switches_and_restarts_on_terminals_of_any_size()
-> anyhow::Result<()> {
    policy::write(LOADS)?;
    service::restart()?;
    let bus = Bus::connect()?;
    wait::until("class", &"idle".to_owned(), || bus.string("Class"))?;
    let terminal = Terminal::open(80, 24)?;
    terminal.line("auto-ext watch")?;
    terminal.wait_for("the policy decides")?;

    // A load that what the test itself does cannot hide.
    let _server = load::prepare()?;
    let load = Load::of_class("network").start()?;
    terminal.wait_for("scx_cosmos  started by auto-ext")?;
    let screen = terminal.wait_for("-> scx_cosmos (hot")?;
    ensure!(screen.contains("HIGH"), "{screen}");
    ensure!(screen.contains("its rule: net high"), "{screen}");

    for (width, height) in [(160, 50), (40, 8), (20, 5), (80, 24)] {
        terminal.resize(&width.to_string(), &height.to_string())?;
        let fits = |screen: &str| {
            let title = screen.lines().next().unwrap_or_default();
            let small = title.starts_with("too small");
            (small == (width < 40)) && screen.lines().count() <= height
        };
        terminal.wait_until("a view of the new size", fits)?;
    }

    pinning::send(
        Signal::SIGKILL,
        Pid::from_raw(i32::try_from(bus.number("SchedulerPid")?)?),
    )?;
    terminal.wait_for("Quarantined cosmos for")?;
    terminal.wait_for("scx_cosmos ended by itself: was killed by")?;
    drop(load);
    terminal.wait_for("class idle")?;
    terminal.key("w")?;
    terminal.wait_for("Rules, the first that holds wins")?;
    terminal.key("Escape")?;
    terminal.key("?")?;
    terminal.wait_for("leave the choice to the policy")?;
    terminal.key("q")?;

    // The second after the kernel's own is that of the second rule.
    terminal.key("p")?;
    terminal.wait_for("Pin a scheduler")?;
    for key in ["Down", "Down", "Enter"] {
        terminal.key(key)?;
    }
    terminal.wait_for("a person decided")?;
    wait::until("pinned", &"scx_rusty".to_owned(), kernel::scheduler)?;
    terminal.wait_for("scx_rusty  started by auto-ext")?;
    terminal.key("u")?;
    terminal.wait_for("the policy decides")?;

    service::stop()?;
    terminal.wait_for("the daemon does not run")?;
    terminal.wait_for("measured here")?;
    service::restart()?;
    terminal.wait_for("the policy decides")?;
    terminal.key("q")?;
    terminal.is_sane()
}

pub(super) fn watch_takes_little_and_gives_the_terminal_back() -> anyhow::Result<()> {
    policy::write(LOADS)?;
    service::restart()?;
    let terminal = Terminal::open(80, 24)?;
    terminal.line("auto-ext watch")?;
    terminal.wait_for("the policy decides")?;
    // The beginning is not what it takes in the long run.
    sleep(Duration::from_secs(5));
    let before = cpu_time()?;
    sleep(MEASURED);
    let share = (cpu_time()? - before) / MEASURED.as_secs_f64();
    eprintln!("\n  watch takes {:.2} % of a CPU", 100.0 * share);
    ensure!(share < NO_PAUSE, "{:.2} % of a CPU", 100.0 * share);

    for signal in ["TERM", "HUP", "INT"] {
        service::say(&format!("pkill -{signal} -f ^auto-ext.watch$"))?;
        terminal
            .is_sane()
            .with_context(|| format!("after SIG{signal}"))?;
        terminal.line("clear; auto-ext watch")?;
        terminal.wait_for("the policy decides")?;
    }
    terminal.key("C-z")?;
    terminal.is_sane().context("stopped")?;
    terminal.line("clear; fg")?;
    terminal.wait_for("the policy decides")?;
    terminal.key("C-c")?;
    terminal.is_sane()?;
    let piped = service::output("auto-ext watch")?;
    ensure!(
        piped.status.code() == Some(1),
        "without a terminal: {piped:?}"
    );
    Ok(())
}

/// The CPU time of `auto-ext watch`, in seconds.
fn cpu_time() -> anyhow::Result<f64> {
    let pid = service::say("pgrep -f ^auto-ext.watch$")?;
    process::cpu_time(pid.parse()?)
}
