//! The main job: load appears, its class is named, its scheduler runs in the kernel.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::policy::{ALL_DIFFERENT, DEFAULT, Policy};
use crate::service::{self, Bus};
use crate::{kernel, load, wait};

pub(super) fn with_the_shipped_policy() -> anyhow::Result<()> {
    every_load_with(&DEFAULT)
}

pub(super) fn with_a_scheduler_per_class() -> anyhow::Result<()> {
    every_load_with(&ALL_DIFFERENT)
}

fn every_load_with(policy: &Policy) -> anyhow::Result<()> {
    let _server = load::prepare()?;
    policy.install()?;
    service::restart()?;
    let bus = Bus::connect()?;
    let idle = "idle".to_owned();
    wait::until("class before any load", &idle, || bus.string("Class"))?;
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
        let back = wait::until("class after the load", &idle, || bus.string("Class"))?;
        eprintln!(
            "  {:<34} {:<12} {:>6.2}  {:<13} {:>7.2} {:>6.2}",
            load.name,
            load.class,
            class.as_secs_f64(),
            scheduler,
            enabled.as_secs_f64(),
            back.as_secs_f64()
        );
        wait::until(
            "scheduler after the load",
            &"kernel".to_owned(),
            kernel::scheduler,
        )?;
    }
    Ok(())
}
