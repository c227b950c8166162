//! `auto-ext-smt plan`: who had better share a core with whom.

use std::io::Write;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::groups::Group;
use crate::model::{Job, SlowdownModel};
use crate::plan::{Plan, Request, Room, Scores, plans};
use crate::store::Store;
use crate::topology::Domain;

use super::look::{Look, look, shown, topology};
use super::missing::{Means, NO_SMT};

/// What comes of one domain.
struct Planned<'g> {
    place: String,
    groups: Vec<&'g Group>,
    /// Jobs that nothing is known of.
    unknown: Vec<&'g Group>,
    result: Result<Best, &'static str>,
}

struct Best {
    plan: Plan,
    /// By which part it is worth more than what chance makes.
    gain: f64,
}

/// Prints the best plan of each domain.
pub(super) fn plan(
    store: &Store,
    arguments: &Look,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let topology = topology()?;
    if topology.cores() == 0 {
        if as_json {
            writeln!(out, "{}", json!({"domains": [], "reason": NO_SMT}))?;
        } else {
            writeln!(out, "{NO_SMT}")?;
        }
        return Ok(());
    }
    let means = Means::find(&topology);
    if !as_json && let Some(missing) = means.missing() {
        writeln!(out, "{missing}")?;
    }
    let model = store
        .model()?
        .context("there is no model: `auto-ext-smt train` makes one")?;
    let jobs = store.jobs()?;
    let groups = look(arguments, &topology)?;
    let planned = topology.domains.iter().enumerate().map(|(at, domain)| {
        let here = groups
            .iter()
            .filter(|group| group.eligible.is_ok() && group.home == Some(at));
        let (known, unknown) = here.partition(|group| jobs.contains_key(&group.job));
        of_domain(domain, known, unknown, &model, |group| jobs.get(&group.job))
    });
    let planned: Vec<Planned<'_>> = planned.collect();
    if as_json {
        let domains: Vec<Value> = planned.iter().map(Planned::json).collect();
        let missing = means.all_missing();
        let all = json!({"domains": domains, "error": model.error, "missing": missing});
        writeln!(out, "{all}")?;
        return Ok(());
    }
    for planned in &planned {
        planned.show(out)?;
    }
    if let Some(error) = model.error {
        writeln!(
            out,
            "the model's slowdowns err by {:.0} % on jobs that it was not trained on",
            100.0 * error
        )?;
    }
    Ok(())
}

fn of_domain<'g>(
    domain: &Domain,
    groups: Vec<&'g Group>,
    unknown: Vec<&'g Group>,
    model: &SlowdownModel,
    job: impl Fn(&Group) -> Option<&'g Job>,
) -> Planned<'g> {
    let workers: Vec<u32> = groups.iter().map(|group| group.workers).collect();
    let threads: Vec<usize> = domain.cores.iter().map(|core| core.cpus.len()).collect();
    let speed = |one: usize, other: usize| {
        let (one, other) = (job(groups[one])?, job(groups[other])?);
        model.compatibility(one, other).ok()
    };
    let is_complete =
        (0..groups.len()).all(|one| (0..groups.len()).all(|other| speed(one, other).is_some()));
    let result = match Room::of(&workers, &threads) {
        _ if !is_complete => Err("the model asks for what is not known of all jobs"),
        Room::TooFew => Err("each worker can have a core for itself: nothing to choose"),
        Room::TooMany => Err("more workers than CPUs: nothing to choose"),
        Room::Open => {
            let both = |one, other| Some(speed(one, other)? + speed(other, one)?);
            let scores = Scores::new(
                groups.len(),
                |one, other| both(one, other).unwrap_or(0.0),
                |_| 1.0,
            );
            let request = Request {
                workers: &workers,
                threads: &threads,
                scores: &scores,
            };
            let by_chance = scores.by_chance(&workers, threads.len());
            let best = plans(request, None, 1).into_iter().next();
            best.map(|plan| Best {
                gain: plan.total / by_chance - 1.0,
                plan,
            })
            .ok_or("there is no plan")
        }
    };
    Planned {
        place: domain.place.to_string(),
        groups,
        unknown,
        result,
    }
}

impl Planned<'_> {
    /// Who is on each core.
    fn cores(&self, plan: &Plan) -> Vec<Vec<String>> {
        let name =
            |slot: &Option<usize>| slot.and_then(|at| Some(shown(&self.groups.get(at)?.job)));
        let of_core = |core: &Vec<Option<usize>>| core.iter().filter_map(name).collect();
        plan.cores.iter().map(of_core).collect()
    }

    fn show(&self, out: &mut dyn Write) -> Result<()> {
        for group in &self.unknown {
            writeln!(
                out,
                "{}: nothing is known of {}, which takes no part",
                self.place,
                shown(&group.job)
            )?;
        }
        match &self.result {
            Err(why) => writeln!(out, "{}: {why}", self.place)?,
            Ok(best) => {
                writeln!(
                    out,
                    "{}: {:.1} % better than chance",
                    self.place,
                    100.0 * best.gain
                )?;
                for core in self.cores(&best.plan) {
                    let core = if core.is_empty() {
                        "(idle)".to_owned()
                    } else {
                        core.join(" beside ")
                    };
                    writeln!(out, "  {core}")?;
                }
            }
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let unknown: Vec<String> = self.unknown.iter().map(|group| shown(&group.job)).collect();
        match &self.result {
            Err(why) => json!({"place": self.place, "unknown": unknown, "reason": why}),
            Ok(best) => json!({
                "place": self.place,
                "unknown": unknown,
                "gain": best.gain,
                "total": best.plan.total,
                "cores": self.cores(&best.plan),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::groups::Key;
    use crate::model::{Characteristics, Feature, Resource};
    use crate::topology::{Core, Place};

    use super::*;

    /// A job that uses so much of a cache.
    fn job(usage: f64) -> Job {
        let characteristics = Characteristics {
            sensitivity: 0.9,
            usage,
            intensity: 0.9,
            base_slowdown: 0.1,
        };
        Job {
            solo: 1.0,
            scale: 1.0,
            characteristics: BTreeMap::from([(Resource::L2Cache, characteristics)]),
        }
    }

    fn group(job: &str) -> Group {
        Group {
            key: Key::Cgroup(job.to_owned()),
            job: job.to_owned(),
            pids: vec![1],
            busy: 1.0,
            workers: 1,
            home: Some(0),
            eligible: Ok(()),
        }
    }

    #[test]
    fn jobs_that_want_the_same_cache_are_put_apart() {
        let core = |cpus: [u32; 2]| Core { cpus: cpus.into() };
        let domain = Domain {
            place: Place {
                package: None,
                node: Some(1),
            },
            cores: vec![core([0, 2]), core([1, 3])],
        };
        let features = vec![Feature::Base, Feature::Resource(Resource::L2Cache)];
        let model = SlowdownModel::new(features, vec![1.0, 0.5], 0.0).unwrap();
        let jobs = BTreeMap::from([
            ("a", job(0.9)),
            ("b", job(0.9)),
            ("c", job(0.1)),
            ("d", job(0.1)),
        ]);
        let groups = ["a", "b", "c", "d"].map(group);
        let other = group("other");
        let known: Vec<&Group> = groups.iter().collect();
        let known_job = |group: &Group| jobs.get(group.job.as_str());
        let planned = of_domain(&domain, known.clone(), vec![&other], &model, known_job);
        let best = planned.result.as_ref().unwrap();
        assert!(best.gain > 0.0);
        for core in planned.cores(&best.plan) {
            assert!(core != ["a", "b"] && core != ["c", "d"], "{core:?}");
            assert_eq!(core.len(), 2);
        }
        let mut out = Vec::new();
        planned.show(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with("node 1: nothing is known of other, which takes no part\n"),
            "{text}"
        );
        assert_eq!(planned.json()["cores"].as_array().unwrap().len(), 2);
        let few = of_domain(&domain, known[..2].to_vec(), Vec::new(), &model, known_job);
        assert_eq!(
            few.result.err(),
            Some("each worker can have a core for itself: nothing to choose")
        );
    }
}
