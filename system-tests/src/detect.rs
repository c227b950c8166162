//! The benchmark of detection, as far as it is done in the machine: starts every load several times,
//! and prints a line of JSON about each start. What the lines mean is worked out on the host.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::load::{self, Load};
use crate::policy::ONE_FOR_ALL;
use crate::service::{self, Bus};
use crate::{kernel, wait};

/// How often the class is asked for while a load runs, and for how long after its scheduler was enabled.
const LOOK: Duration = Duration::from_millis(50);
/// What passes between two loads.
const REST: Duration = Duration::from_secs(2);

/// Starts every load whose name contains the third word as often as the first one says, and watches each for
/// as many seconds as the second.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let [starts, seconds, only] = words else {
        anyhow::bail!("two numbers and a part of a name are wanted");
    };
    let starts: u32 = starts.parse().context("the starts of each load")?;
    let watched = Duration::from_secs(seconds.parse().context("the seconds of each start")?);
    let _server = load::prepare()?;
    // What is not in memory yet is read from the disk first, which is another load.
    for load in &load::ALL {
        let _running = load.start()?;
        sleep(REST);
    }
    ONE_FOR_ALL.install()?;
    service::restart()?;
    let bus = Bus::connect()?;
    for _ in 0..starts {
        // The demonstration comes back to its first load.
        let (_, loads) = load::ALL.split_last().expect("there are loads");
        for load in loads.iter().filter(|load| load.name.contains(only)) {
            at_rest(&bus)?;
            sleep(REST);
            writeln!(std::io::stdout(), "{}", once(load, &bus, watched)?)?;
        }
    }
    Ok(())
}

/// One start and one end of a load.
fn once(load: &Load, bus: &Bus, watched: Duration) -> anyhow::Result<Value> {
    let begin = Instant::now();
    let mut running = load.start()?;
    let what = format!("class of {}", load.name);
    let mut others = BTreeSet::new();
    let named = wait::until(&what, &load.class.to_owned(), || {
        let class = bus.string("Class");
        if class != load.class && class != "idle" {
            others.insert(class.clone());
        }
        class
    })?;
    let wanted = ONE_FOR_ALL.scheduler_for(load.class).to_owned();
    wait::until(load.name, &wanted, kernel::scheduler)?;
    let enabled = begin.elapsed();
    let end = Instant::now() + watched;
    while Instant::now() < end {
        sleep(LOOK);
        let class = bus.string("Class");
        if class != load.class {
            others.insert(class);
        }
    }
    ensure!(!running.has_ended(), "{} ended by itself", load.name);
    drop(running);
    let idle = at_rest(bus)?;
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    Ok(json!({
        "load": load.name,
        "class": load.class,
        "named_ms": milliseconds(named),
        "enabled_ms": milliseconds(enabled),
        "idle_ms": milliseconds(idle),
        "others": others,
    }))
}

/// How long it takes until there is no load; then waits for the kernel's scheduler.
fn at_rest(bus: &Bus) -> anyhow::Result<Duration> {
    let idle = wait::until("class at rest", &"idle".to_owned(), || bus.string("Class"))?;
    wait::until("scheduler at rest", &"kernel".to_owned(), kernel::scheduler)?;
    Ok(idle)
}
