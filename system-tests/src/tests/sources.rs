//! Rules about the power profile, with the real power-profiles-daemon. It has no drivers for a virtual
//! machine, and offers `balanced` and `power-saver` all the same.

use anyhow::ensure;

use crate::service::{self, Bus};
use crate::{kernel, policy, wait};

const POLICY: &str = "version: 1\nrules:\n\
    \x20 - {class: saving, when: {profile: power-saver}, use: [scx_bpfland, kernel]}\n\
    \x20 - {class: idle, use: [kernel]}\n\
    stability: {min_run: 1s, max_switches_per_hour: 1000}\n";

const DAEMON: &str = "power-profiles-daemon.service";

pub(super) fn a_power_profile_counts_as_long_as_somebody_says_it() -> anyhow::Result<()> {
    stop()?;
    policy::write(POLICY)?;
    service::restart()?;
    let bus = Bus::connect()?;
    is(&bus, "idle", "kernel")?;
    let unknown = || -> anyhow::Result<()> {
        let why = service::say("auto-ext why")?;
        ensure!(why.contains("profile power-saver (unknown)"), "{why}");
        // Listening to it does not start it.
        let daemon = service::output(&format!("systemctl is-active {DAEMON}"))?;
        ensure!(!daemon.status.success(), "{DAEMON} runs");
        Ok(())
    };
    unknown()?;

    service::say(&format!("systemctl start {DAEMON}"))?;
    choose("power-saver")?;
    is(&bus, "saving", "scx_bpfland")?;
    choose("balanced")?;
    is(&bus, "idle", "kernel")?;
    let why = service::say("auto-ext why")?;
    ensure!(why.contains("profile power-saver (balanced)"), "{why}");

    choose("power-saver")?;
    is(&bus, "saving", "scx_bpfland")?;
    stop()?;
    is(&bus, "idle", "kernel")?;
    unknown()
}

/// Somebody else on the bus may just be starting it, which cancels the first attempt.
fn stop() -> anyhow::Result<()> {
    wait::until("the daemon of profiles stopped", &true, || {
        service::say(&format!("systemctl stop {DAEMON}")).is_ok()
    })
    .map(drop)
}

fn choose(profile: &str) -> anyhow::Result<()> {
    service::say(&format!("powerprofilesctl set {profile}")).map(drop)
}

fn is(bus: &Bus, class: &str, scheduler: &str) -> anyhow::Result<()> {
    wait::until("class", &class.to_owned(), || bus.string("Class"))?;
    wait::until("scheduler", &scheduler.to_owned(), kernel::scheduler).map(drop)
}
