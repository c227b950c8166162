//! The main job: load appears, its class is named, its scheduler runs in the kernel.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::load::Load;
use crate::policy::{DEFAULT, ONE_PER_CLASS, Policy};
use crate::service::{self, Bus};
use crate::{kernel, load, wait};

/// How often a load may be started: whatever else the host of an emulated machine does is a load in it.
const TRIES: u32 = 3;

pub(super) fn with_the_shipped_policy() -> anyhow::Result<()> {
    every_load_with(&DEFAULT)
}

pub(super) fn with_a_scheduler_per_class() -> anyhow::Result<()> {
    every_load_with(&ONE_PER_CLASS)
}

fn every_load_with(policy: &Policy) -> anyhow::Result<()> {
    let _server = load::prepare()?;
    policy.install()?;
    service::restart()?;
    let bus = Bus::connect()?;
    at_rest(&bus)?;
    eprintln!(
        "\n{} on {}, seconds after start or end of the load:",
        policy.name,
        kernel::release()
    );
    eprintln!(
        "  {:<34} {:<12} {:>6}  {:<13} {:>7} {:>6}",
        "load", "class", "named", "scheduler", "enabled", "idle"
    );
    for load in &load::ALL {
        let mut tries = 1;
        while let Err(error) = one_load_with(policy, load, &bus) {
            if tries == TRIES {
                return Err(error);
            }
            eprintln!("  once more, as the host may have disturbed it: {error:#}");
            tries += 1;
            at_rest(&bus)?;
        }
    }
    Ok(())
}

fn one_load_with(policy: &Policy, load: &Load, bus: &Bus) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut running = load.start()?;
    let class = wait::until(
        &format!("class of {}", load.name),
        &load.class.to_owned(),
        || bus.string("Class"),
    )?;
    let scheduler = policy.scheduler_for(load.class);
    wait::until(load.name, &scheduler.to_owned(), kernel::scheduler)?;
    let enabled = start.elapsed();
    // It must stay that way.
    sleep(Duration::from_secs(2));
    anyhow::ensure!(
        !running.has_ended(),
        "the load `{}` ended by itself",
        load.name
    );
    let now = (bus.string("Class"), kernel::scheduler());
    anyhow::ensure!(
        now == (load.class.to_owned(), scheduler.to_owned()),
        "{}: two seconds later it is {now:?}; {}",
        load.name,
        bus.string("Reason")
    );
    drop(running);
    let back = at_rest(bus)?;
    eprintln!(
        "  {:<34} {:<12} {:>6.2}  {:<13} {:>7.2} {:>6.2}",
        load.name,
        load.class,
        class.as_secs_f64(),
        scheduler,
        enabled.as_secs_f64(),
        back.as_secs_f64()
    );
    Ok(())
}

fn at_rest(bus: &Bus) -> anyhow::Result<Duration> {
    let idle = "idle".to_owned();
    let back = wait::until("class without a load", &idle, || bus.string("Class"))?;
    wait::until(
        "scheduler without a load",
        &"kernel".to_owned(),
        kernel::scheduler,
    )?;
    Ok(back)
}
