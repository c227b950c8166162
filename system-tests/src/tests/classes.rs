//! The main job: load appears, its class is named, its scheduler runs in the kernel.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::load::Load;
use crate::policy::{DEFAULT, ONE_PER_CLASS, Policy};
use crate::service::{self, Bus};
use crate::{kernel, load, wait};

/// How long a class and its scheduler must last, once they are there. Whatever else the host of an emulated machine does is
/// a load in it, which may be in between before.
const LASTS: Duration = Duration::from_secs(2);

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
        one_load_with(policy, load, &bus)?;
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
    let now = || (bus.string("Class"), kernel::scheduler());
    let expected = (load.class.to_owned(), scheduler.to_owned());
    wait::until_it_stays(load.name, &expected, LASTS, now)
        .with_context(|| format!("it is {:?}; {}", now(), bus.string("Reason")))?;
    anyhow::ensure!(
        !running.has_ended(),
        "the load `{}` ended by itself",
        load.name
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
