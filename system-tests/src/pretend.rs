//! auto-ext-smt with counters that are made up, as no test machine has any: each group is as fast as a file says, one speed where it
//! was found, another where it was placed. All else is the service that is installed.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use auto_ext_bus::join::BusKind;
use auto_ext_smt::counters::{Counters, NotCounted, Reading};
use auto_ext_smt::daemon::{Options, Source, run};
use auto_ext_smt::groups::Group;
use auto_ext_smt::{affinity, config, store};
use serde_json::Value;

/// How many cycles each nanosecond has.
const CYCLES: f64 = 2.0;
/// Nothing that is made up takes minutes to be known.
const ENOUGH: Duration = Duration::from_secs(5);

/// What is made up: where a group was found, and where it was placed.
#[derive(Clone, Copy)]
struct Speeds {
    found: f64,
    placed: f64,
}

struct Pretended(BTreeMap<String, Speeds>);

/// A group that is counted.
struct Counted {
    pid: u32,
    speeds: Speeds,
    last: Instant,
    sum: Reading,
}

/// Runs the service with the speeds in the file: an object of jobs, each with `found` and `placed`.
pub(crate) fn serve(file: &str) -> anyhow::Result<()> {
    let all: BTreeMap<String, Value> = serde_json::from_str(&fs::read_to_string(file)?)?;
    let speeds = all.into_iter().map(|(job, speeds)| {
        let speed = |key: &str| {
            speeds[key]
                .as_f64()
                .with_context(|| format!("{job}: no {key}"))
        };
        let (found, placed) = (speed("found")?, speed("placed")?);
        Ok((job, Speeds { found, placed }))
    });
    let speeds: anyhow::Result<_> = speeds.collect();
    run(Options {
        config: config::FILE.into(),
        observe: false,
        bus: BusKind::System,
        state: store::DIRECTORY.into(),
        run: affinity::DIRECTORY.into(),
        source: Box::new(Pretended(speeds?)),
        enough: ENOUGH,
    })
    .map_err(|error| anyhow!(error))
}

impl Source for Pretended {
    fn check(&mut self, _cpu: u32) -> Result<(), (&'static str, String)> {
        Ok(())
    }

    fn open(&mut self, group: &Group, _most: usize) -> Result<(Box<dyn Counters>, usize), String> {
        let speeds = self.0.get(&group.job).ok_or("it is not in the file")?;
        let pid = group.pids.first().ok_or("it has ended")?;
        let counted = Counted {
            pid: *pid,
            speeds: *speeds,
            last: Instant::now(),
            sum: Reading::default(),
        };
        Ok((Box::new(counted), 1))
    }
}

impl Counters for Counted {
    fn open(&mut self, _tid: u32) -> Result<(), NotCounted> {
        Ok(())
    }

    fn read(&mut self) -> Result<Reading, NotCounted> {
        let all = fs::read_to_string("/sys/devices/system/cpu/online");
        let all = all.map_err(|_| NotCounted::Garbled)?;
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid));
        let status = status.map_err(|_| NotCounted::Ended)?;
        let is_found = status.contains(&format!("Cpus_allowed_list:\t{}", all.trim()));
        let speed = if is_found {
            self.speeds.found
        } else {
            self.speeds.placed
        };
        let now = Instant::now();
        let passed = u64::try_from((now - self.last).as_nanos()).unwrap_or(u64::MAX);
        self.last = now;
        let cycles = passed as f64 * CYCLES;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "of a few seconds"
        )]
        let [cycles, instructions] = [cycles, cycles * speed].map(|count| count as u64);
        self.sum.cycles += cycles;
        self.sum.instructions += instructions;
        self.sum.enabled += passed;
        self.sum.running += passed;
        Ok(self.sum)
    }
}
