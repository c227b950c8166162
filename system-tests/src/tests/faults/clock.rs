//! The wall clock jumps by hours, forth and back: nothing that lasts is measured by it.

use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::ensure;

use super::Ground;
use crate::load::{self, Load};
use crate::service::{self, Bus};
use crate::{kernel, policy, wait};

const POLICY: &str = "version: 1\nrules:\n  - {class: cpu, when: {cpu: high}, use: [bpfland, kernel]}\n  \
                      - {class: idle, use: [kernel]}\nstability: {min_run: 8s}\n";

/// How long the pin is to last, in seconds.
const PIN: Duration = Duration::from_secs(6);

pub(in crate::tests) fn clock_jumps_change_nothing_that_lasts() -> anyhow::Result<()> {
    policy::write(POLICY)?;
    service::restart()?;
    let bus = Bus::connect()?;
    wait::until("mode", &"auto".to_owned(), || bus.string("Mode"))?;
    let ground = Ground::at_rest(bus)?;
    let clock = Clock::at_its_time();

    let hogs = Load::of_class("cpu").start()?;
    wait::until("scheduler", &"scx_bpfland".to_owned(), kernel::scheduler)?;
    let enabled_at = Instant::now();
    drop(hogs);
    clock.shift(5)?;
    wait::until("min_run is waited for", &true, || {
        ground
            .bus
            .string("Reason")
            .contains("stays until it has run")
    })?;
    clock.shift(-5)?;
    wait::until("state after min_run", &"disabled".to_owned(), kernel::state)?;
    let ran = enabled_at.elapsed();
    ensure!(
        ran > Duration::from_secs(7),
        "min_run was over after {ran:?}"
    );

    let holder = load::start("auto-ext hold -- sleep 1000")?;
    wait::until("mode", &"held".to_owned(), || ground.bus.string("Mode"))?;
    clock.shift(12)?;
    sleep(Duration::from_secs(1));
    ensure!(ground.bus.string("Mode") == "held");
    drop(holder);
    wait::until("mode", &"auto".to_owned(), || ground.bus.string("Mode"))?;

    let seconds = PIN.as_secs();
    let pinned = Instant::now();
    service::say(&format!("auto-ext pin cosmos --for {seconds}s"))?;
    clock.shift(-12)?;
    sleep(Duration::from_secs(1));
    ensure!(ground.bus.string("Mode") == "pinned" || pinned.elapsed() >= PIN);
    wait::until("mode", &"auto".to_owned(), || ground.bus.string("Mode"))?;
    ensure!(pinned.elapsed() >= PIN, "the pin ended early");
    drop(clock);
    ground.is_as_before("the clock jumps")?;

    // What happened later comes first, whatever the clock said then.
    let history = service::history(4)?;
    let to: Vec<_> = history.iter().map(|entry| entry["to"].clone()).collect();
    ensure!(
        to == ["scx_bpfland", "kernel", "scx_cosmos", "kernel"],
        "{history:?}"
    );
    ground.works()
}

/// The wall clock, which is right again when this is dropped.
struct Clock {
    time: SystemTime,
    at: Instant,
}

impl Clock {
    fn at_its_time() -> Self {
        Self {
            time: SystemTime::now(),
            at: Instant::now(),
        }
    }

    /// Has it go wrong by so many hours.
    fn shift(&self, hours: i64) -> anyhow::Result<()> {
        let right = (self.time + self.at.elapsed()).duration_since(UNIX_EPOCH)?;
        let seconds = i64::try_from(right.as_secs())? + hours * 3600;
        service::say(&format!("date --utc --set=@{seconds}")).map(drop)
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        let _ = self.shift(0);
    }
}
