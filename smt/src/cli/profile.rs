//! `auto-ext-smt profile`: what is known of a job, or, if it may be slowed down for that, what it makes of each resource of a core.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use auto_ext_service::affinity_owner;
use auto_ext_service::bounded_file::Root;
use auto_ext_service::clock::now_us;
use auto_ext_service::cpu_list::List;
use auto_ext_service::duration;
use clap::Args;

use crate::core::Passive;
use crate::groups::{Group, MAX_THREADS, Processes, threads};
use crate::injector::{Injector, Sizes};
use crate::model::original::Measurements;
use crate::model::{Job, Resource};
use crate::profile::{Budget, JOB, Machine, Seats, Step, Workload, baselines, run, steps};
use crate::store::{Baseline, Store};
use crate::topology::{Domain, Topology};

use super::client::{is_absent, shown as shown_by_service};
use super::idle::idle_core;
use super::look::{Look, ROOT, look, shown, time, topology};
use super::missing::{Means, NO_SMT};
use super::placed::Placed;

/// In these modes the service places nothing.
const AT_REST: [&str; 4] = ["observe", "paused", "unavailable", "yielded"];

/// Of whom, and how.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The job or the group, as `auto-ext-smt observe` shows it
    group: String,
    /// Measure what it makes of each resource of a core, which slows it down meanwhile
    #[arg(long)]
    inject: bool,
    /// For how long at most
    #[arg(long, value_name = "T", default_value = "5m", value_parser = time)]
    budget: Duration,
    /// For how long it is counted beside each injector, from 1 s to 20 s: what is counted for less tells less
    #[arg(long, value_name = "T", default_value = "10s", value_parser = sample)]
    sample: Duration,
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    look: Look,
}

/// It is looked once a second whether the job is harmed, and an injector ends by itself after half a minute.
const SAMPLES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(20);

fn sample(text: &str) -> Result<Duration, String> {
    let sample = time(text)?;
    let is_one = SAMPLES.contains(&sample);
    is_one
        .then_some(sample)
        .ok_or_else(|| "less than 1 s or more than 20 s".to_owned())
}

/// What is done with a group.
struct Plan<'g> {
    group: &'g Group,
    sizes: Sizes,
    seats: Seats,
    steps: Vec<Step>,
    sample: Duration,
    injectors: Vec<Injector>,
    domain: &'g Domain,
}

/// Prints what is known, or measures it.
pub(super) fn profile(
    store: &Store,
    directory: &Path,
    arguments: &Arguments,
    out: &mut dyn Write,
) -> Result<()> {
    let topology = topology()?;
    let missing = if topology.cores() == 0 {
        Some(NO_SMT.to_owned())
    } else {
        Means::find(&topology).missing()
    };
    if let Some(missing) = missing {
        ensure!(!arguments.inject, "{missing}");
        writeln!(out, "{missing}")?;
        if topology.cores() == 0 {
            return Ok(());
        }
    }
    let groups = look(&arguments.look, &topology)?;
    let is_it =
        |group: &&Group| group.job == arguments.group || group.key.to_string() == arguments.group;
    let of_it = groups.iter().filter(is_it);
    let group = of_it.max_by(|one, other| one.busy.total_cmp(&other.busy));
    let group = group.with_context(|| {
        let name = shown(&arguments.group);
        format!("no group is called {name}: `auto-ext-smt observe` shows all")
    })?;
    let jobs = store.jobs()?;
    if !arguments.inject {
        return report(group, jobs.get(&group.job), &store.seen()?, now_s(), out);
    }
    let plan = plan(group, &topology, arguments.sample)?;
    consent(&plan, arguments.budget, out)?;
    if arguments.dry_run {
        writeln!(out, "would be measured")?;
        return Ok(());
    }
    inject(store, directory, &plan, Budget(arguments.budget), out)
}

/// What is known of a group without slowing it down.
fn report(
    group: &Group,
    job: Option<&Job>,
    seen: &Passive,
    now: u64,
    out: &mut dyn Write,
) -> Result<()> {
    let name = shown(&group.job);
    writeln!(
        out,
        "{name}: {:.2} CPUs, {} workers",
        group.busy, group.workers
    )?;
    let solo = seen.solo(&group.job, now);
    match (solo, job) {
        (Some(solo), _) => writeln!(
            out,
            "alone: {solo:.2} instructions per cycle, as it was seen"
        )?,
        (None, Some(job)) => writeln!(
            out,
            "alone: {:.2} instructions per cycle, as it was measured",
            job.solo
        )?,
        (None, None) => writeln!(
            out,
            "alone: not known: the service has not seen it so for three minutes"
        )?,
    }
    for series in seen.series() {
        let Some(beside) = series.beside.filter(|_| series.job == group.job) else {
            continue;
        };
        let ipc = seen.beside(&group.job, &beside, now);
        if let (Some(ipc), Some(solo)) = (ipc, solo.or(job.map(|job| job.solo))) {
            let lost = 100.0 * (1.0 - ipc / solo);
            writeln!(out, "beside {}: {lost:.0} % slower", shown(&beside))?;
        }
    }
    match job.filter(|job| !job.characteristics.is_empty()) {
        Some(job) => characteristics(job, out),
        None => {
            writeln!(
                out,
                "resources: not measured: `--inject` does, and slows it down meanwhile"
            )?;
            Ok(())
        }
    }
}

/// What a job makes of each resource.
fn characteristics(job: &Job, out: &mut dyn Write) -> Result<()> {
    writeln!(
        out,
        "{:<10} {:>11} {:>6} {:>9}",
        "resource", "sensitivity", "usage", "intensity"
    )?;
    for (resource, one) in &job.characteristics {
        let [sensitivity, usage, intensity] =
            [one.sensitivity, one.usage, one.intensity].map(|part| 100.0 * part);
        writeln!(
            out,
            "{:<10} {sensitivity:>9.0} % {usage:>4.0} % {intensity:>7.0} %",
            resource.name()
        )?;
    }
    Ok(())
}

/// What is to be done, or why it cannot be.
fn plan<'g>(group: &'g Group, topology: &'g Topology, sample: Duration) -> Result<Plan<'g>> {
    if let Err(why) = &group.eligible {
        bail!("it may not be placed: {why}");
    }
    match shown_by_service() {
        Ok(service) if !AT_REST.contains(&service.mode.as_str()) => bail!(
            "the service places groups: `auto-ext-smt pause 10m` keeps it from that meanwhile"
        ),
        Err(error) if !is_absent(&error) => return Err(error),
        _ => {}
    }
    let domain = group.home.and_then(|home| topology.domains.get(home));
    let domain = domain.context("it is not known where it runs")?;
    let all = threads(&Root::new(Path::new(ROOT)), &group.pids, MAX_THREADS)?;
    let mut used: BTreeMap<u32, u64> = BTreeMap::new();
    for thread in all.values() {
        *used.entry(thread.stat.cpu).or_default() += thread.stat.used;
    }
    let seats = Seats::new(domain, group.workers, &used)?;
    let cpu = seats.workload.first().copied().unwrap_or_default();
    let sizes = Sizes::read(Path::new(ROOT), cpu);
    let seats = seats.near(sizes.near());
    let injectors = Injector::all(&sizes);
    let has_last_cache = |one: &Injector| one.resource() == Resource::L3Cache;
    ensure!(
        injectors.iter().any(has_last_cache),
        "the size of the last cache is not known"
    );
    ensure!(
        !seats.others.is_empty(),
        "no other core shares the last cache, from which to load that"
    );
    Ok(Plan {
        group,
        sizes,
        steps: steps(&injectors, &seats, sample),
        sample,
        seats,
        injectors,
        domain,
    })
}

/// Says what is about to be done to whom.
fn consent(plan: &Plan<'_>, budget: Duration, out: &mut dyn Write) -> Result<()> {
    let lasts: Duration = plan.steps.iter().map(|step| step.lasts).sum();
    writeln!(
        out,
        "{} runs on CPUs {} alone for {}, and is slowed down: injectors run on CPUs {}, and for {} on CPUs {}. It ends at once when its tasks wait twice as long, when it leaves its CPUs, after {} at most, or when this is \
         interrupted; then it runs everywhere again.",
        shown(&plan.group.job),
        List(&plan.seats.workload),
        duration::span(micros(lasts)),
        List(&plan.seats.siblings),
        duration::span(micros(plan.sample)),
        List(&plan.seats.others),
        duration::span(micros(budget)),
    )?;
    out.flush()?;
    Ok(())
}

/// Measures, and keeps what comes of it.
fn inject(
    store: &Store,
    directory: &Path,
    plan: &Plan<'_>,
    budget: Budget,
    out: &mut dyn Write,
) -> Result<()> {
    let program = std::env::current_exe().context("this program cannot be found")?;
    let mut lab = Machine::new(Path::new(ROOT), &program);
    let mut said = Ok(());
    let mut say = |step: &str| {
        let written = writeln!(out, "  {step}").and_then(|()| out.flush());
        if said.is_ok() {
            said = written;
        }
    };
    let mut measured = Measurements::default();
    without_job(store, plan, budget, &mut lab, &mut measured, &mut say)?;
    let owners = Path::new(affinity_owner::DIRECTORY);
    let placed = Placed::begin(
        [directory, owners],
        &program,
        plan.group,
        &plan.seats.workload,
    )?;
    let oldest = plan.group.pids.first().copied().unwrap_or_default();
    let process = Processes::one(Path::new(ROOT), oldest).context("it has ended")?;
    lab.count(Workload {
        key: plan.group.key.clone(),
        pids: plan.group.pids.clone(),
        cgroup: process.cgroup,
        seats: plan.seats.clone(),
    })
    .map_err(anyhow::Error::msg)?;
    let ended = run(&mut lab, &plan.steps, budget, &mut measured, &mut say);
    drop(lab);
    placed.undo()?;
    ended?;
    said?;
    // A resource of which nothing can be told takes nothing from the others: the job was slowed down for all of them.
    let (job, absent) = measured.known(JOB, plan.sizes.machine())?;
    store.keep_jobs(&BTreeMap::from([(plan.group.job.clone(), job.clone())]))?;
    writeln!(out, "alone: {:.2} instructions per cycle", job.solo)?;
    characteristics(&job, out)?;
    for (resource, why) in absent {
        writeln!(out, "{}: not known: {why}", resource.name())?;
    }
    Ok(())
}

/// Measures the injectors themselves, once on each machine, on a core that is idle.
fn without_job(
    store: &Store,
    plan: &Plan<'_>,
    budget: Budget,
    lab: &mut Machine,
    measured: &mut Measurements,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    let expected = baselines(&plan.injectors, [0, 0]).len();
    if let Some(kept) = store.injectors()?
        && kept.cpu == plan.sizes.cpu()
        && kept.ipc.len() == expected
    {
        for one in kept.ipc {
            measured.add_injector(one.resource, one.beside, one.ipc);
        }
        return Ok(());
    }
    let core = idle_core(plan.domain, &plan.seats);
    let core = core.context("no core is idle, on which to measure the injectors themselves")?;
    let steps = baselines(&plan.injectors, core);
    run(lab, &steps, budget, measured, say)?;
    let ipc = measured.of_injectors().into_iter();
    store.keep_injectors(&Baseline {
        cpu: plan.sizes.cpu().to_owned(),
        ipc: ipc.collect(),
    })?;
    Ok(())
}

fn micros(time: Duration) -> u64 {
    auto_ext_service::clock::microseconds(time)
}

fn now_s() -> u64 {
    now_us() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::Key;
    use crate::model::Characteristics;

    fn group() -> Group {
        Group {
            key: Key::Cgroup("/a".to_owned()),
            job: "a.service".to_owned(),
            pids: vec![1],
            busy: 1.02,
            workers: 1,
            home: Some(0),
            eligible: Ok(()),
        }
    }

    fn said(job: Option<&Job>, seen: &Passive) -> String {
        let mut out = Vec::new();
        report(&group(), job, seen, 1_800_000_000, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_sample_is_bounded() {
        assert_eq!(sample("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(sample("20s"), Ok(Duration::from_secs(20)));
        for other in ["999ms", "21s", "x"] {
            assert!(sample(other).is_err(), "{other}");
        }
    }

    #[test]
    fn of_a_job_of_which_nothing_is_known_that_is_said() {
        let expected = "\
a.service: 1.02 CPUs, 1 workers
alone: not known: the service has not seen it so for three minutes
resources: not measured: `--inject` does, and slows it down meanwhile
";
        assert_eq!(said(None, &Passive::default()), expected);
    }

    #[test]
    fn what_was_seen_and_measured_of_a_job_is_shown() {
        let mut seen = Passive::default();
        for minute in 0..3 {
            let at = 1_800_000_000 - 60 * (3 - minute);
            seen.add("a.service", None, 1.5, at);
            seen.add("a.service", Some("b.service"), 1.2, at);
            seen.add("c.service", Some("a.service"), 1.0, at);
        }
        let one = Characteristics {
            sensitivity: 0.25,
            usage: 0.5,
            intensity: 0.1,
            base_slowdown: 0.05,
        };
        let job = Job {
            solo: 1.6,
            scale: 0.9,
            characteristics: [(Resource::L2Cache, one)].into(),
        };
        let expected = "\
a.service: 1.02 CPUs, 1 workers
alone: 1.50 instructions per cycle, as it was seen
beside b.service: 20 % slower
resource   sensitivity  usage intensity
l2_cache          25 %   50 %      10 %
";
        assert_eq!(said(Some(&job), &seen), expected);
    }
}
