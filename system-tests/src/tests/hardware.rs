//! What the hardware does below a scheduler: CPUs that come and go, sleep.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use zbus::Connection;

use crate::load::Load;
use crate::service::{self, Bus};
use crate::{kernel, policy, stall, wait};

const CPU: &str = "/sys/devices/system/cpu/cpu3/online";

/// How long nothing is switched after the machine woke up, less what a slow machine adds between two
/// looks.
const AFTER_SLEEP: Duration = Duration::from_secs(4);

pub(super) fn a_scheduler_that_loads_itself_again_when_cpus_come_and_go_is_not_fought()
-> anyhow::Result<()> {
    stall::begin_anew_after(cpus_come_and_go)
}

fn cpus_come_and_go() -> anyhow::Result<()> {
    // It may be gone since the last time.
    fs::write(CPU, "1").with_context(|| format!("failed to write {CPU}"))?;
    policy::write("version: 1\nrules: [{class: idle, use: [scx_bpfland, kernel]}]\n")?;
    service::restart()?;
    let bus = Bus::connect()?;
    wait::until("scheduler", &"scx_bpfland".to_owned(), kernel::scheduler)?;
    // The kernel has the scheduler before the switch is over and counted.
    wait::until("switches", &1, || {
        bus.number("Switches").unwrap_or_default()
    })?;
    ensure!(bus.string("CurrentOwner") == "auto-ext");
    let shown = || -> anyhow::Result<_> {
        let switches = (bus.number("Switches")?, service::history(1)?);
        Ok((bus.number("SchedulerPid")?, bus.string("Mode"), switches))
    };
    let before = shown()?;
    let mut announced = bus.switches()?;
    for (round, online) in (1..).zip(["0", "1", "0", "1"]) {
        let enabled = kernel::enable_seq();
        fs::write(CPU, online).with_context(|| format!("failed to write {CPU}"))?;
        stall::wait_for("a scheduler enabled since", &bus, || {
            kernel::enable_seq() > enabled
        })?;
        stall::wait_for("scheduler", &bus, || {
            bus.string("CurrentScheduler") == "scx_bpfland"
        })?;
        let after = shown()?;
        ensure!(
            after == before,
            "round {round}: {before:?} became {after:?}"
        );
    }
    let error = bus.string("LastError");
    ensure!(error.is_empty(), "{error}");
    // That the kernel has none for a moment, and then has it again, is told all the same.
    let mut runs = "scx_bpfland".to_owned();
    for _ in 0..4 {
        loop {
            let next = bus.next_switch(&mut announced, Duration::from_secs(10))?;
            let next = next.context("a scheduler that loaded itself again was not announced")?;
            ensure!(next.from == runs, "{} leaves, {runs} was there", next.from);
            runs = next.to;
            if runs == "scx_bpfland" {
                break;
            }
        }
    }
    Ok(())
}

pub(super) fn nothing_is_decided_while_the_machine_sleeps() -> anyhow::Result<()> {
    policy::write(
        "version: 1\nrules:\n  - {class: cpu, when: {cpu: high}, use: [scx_flash, kernel]}\n  \
         - {class: idle, use: [kernel]}\nstability: {min_run: 1s, max_switches_per_hour: 100}\n",
    )?;
    service::restart()?;
    let bus = Bus::connect()?;
    let logind = Logind::take_its_place()?;
    // For that systemd was reloaded, a load of its own.
    wait::until_it_stays("class idle", &"idle".to_owned(), AFTER_SLEEP, || {
        bus.string("Class")
    })?;
    wait::until("scheduler", &"kernel".to_owned(), kernel::scheduler)?;
    logind.say_that_sleep_begins(true, None)?;
    let enabled = kernel::enable_seq();
    let _hogs = Load::of_class("cpu").start()?;
    // Not logind's word: sent by somebody else, straight to the daemon.
    let somebody = Logind::somebody_else()?;
    somebody.say_that_sleep_begins(false, Some("org.autoext.AutoExt1"))?;
    sleep(Duration::from_secs(8));
    ensure!(
        kernel::enable_seq() == enabled && bus.string("Class") == "idle",
        "asleep, it made the load {}",
        bus.string("Class")
    );
    logind.say_that_sleep_begins(false, None)?;
    let switched = wait::until("scheduler", &"scx_flash".to_owned(), kernel::scheduler)?;
    eprintln!("\n  switched {switched:.1?} after the machine woke up");
    ensure!(switched > AFTER_SLEEP, "it did not wait: {switched:?}");
    Ok(())
}

/// Who says what logind says: the machine has nothing that could make the real one sleep.
struct Logind {
    runtime: tokio::runtime::Runtime,
    connection: Connection,
    /// Whether the real one waits until this is dropped.
    real_one_waits: bool,
}

impl Logind {
    fn take_its_place() -> anyhow::Result<Self> {
        let mut this = Self::somebody_else()?;
        // Masked, else the next who asks for it starts it.
        service::say("systemctl mask --runtime --now systemd-logind.service")?;
        this.real_one_waits = true;
        this.runtime
            .block_on(this.connection.request_name("org.freedesktop.login1"))?;
        Ok(this)
    }

    fn somebody_else() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let connection = runtime.block_on(Connection::system())?;
        Ok(Self {
            runtime,
            connection,
            real_one_waits: false,
        })
    }

    fn say_that_sleep_begins(&self, begins: bool, to: Option<&str>) -> anyhow::Result<()> {
        let said = self.connection.emit_signal(
            to,
            "/org/freedesktop/login1",
            "org.freedesktop.login1.Manager",
            "PrepareForSleep",
            &begins,
        );
        Ok(self.runtime.block_on(said)?)
    }
}

impl Drop for Logind {
    fn drop(&mut self) {
        if self.real_one_waits {
            let release = self.connection.release_name("org.freedesktop.login1");
            let _ = self.runtime.block_on(release);
            // Whoever needs it misses it if this fails.
            let _ = service::say("systemctl unmask --runtime systemd-logind.service");
            let _ = service::say("systemctl start systemd-logind.service");
        }
    }
}
