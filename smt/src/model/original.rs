//! Reads what SMTcheck measures: its documents of jobs beside injectors and of jobs beside each other. Whatever they say is
//! bounded and checked here; files are read by others.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::characteristics::{Absent, Beside, Characteristics, Ipc, Parallel, Port, Sequential};
use super::job::Job;
use super::machine::Machine;
use super::resource::{Kind, Resource};
use super::train::{Combination, Pairwise};

/// How large a document may be, in bytes.
pub const MAX_TEXT: usize = 16 << 20;
/// How many measurements it may hold.
const MAX_MEASUREMENTS: usize = 200_000;
/// How many jobs were measured beside each other at most.
const MAX_JOBS: usize = 4096;

/// By what an injector that ran alone is known, in place of a job.
const ALONE: i64 = -1;
/// By what an injector at high pressure is known, beside another.
const AMONG_INJECTORS: i64 = -3;

/// How hard an injector loads its resource.
#[derive(Clone, Copy)]
enum Pressure {
    Low = 0,
    Medium = 1,
    High = 2,
}

/// By what a job alone is known, in place of a resource.
const SINGLE: &str = "single";
/// A cache has two pressures.
const HIGH_OF_TWO: u8 = 1;

/// Why a document cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is larger than any that was measured.
    #[error("{0} bytes are too many")]
    TooLarge(usize),
    /// It is not what it is to be.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// There is more in it than anybody measures.
    #[error("{0} measurements are too many")]
    TooMany(usize),
    /// What was measured of a job beside others is not told by their names.
    #[error("{0:?} was not measured alone")]
    NoSingle(String),
    /// A number that is none.
    #[error("{job:?}: {why}")]
    Ipc {
        /// Of which job.
        job: String,
        /// What is wrong with it.
        why: Absent,
    },
}

/// Whose instructions were counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Of {
    Workload,
    Injector,
}

/// One measurement, as it is in the document.
#[derive(Deserialize)]
struct Document {
    global_jobid: i64,
    feature: String,
    pressure: u8,
    run_type: Of,
    #[serde(rename = "IPC")]
    ipc: f64,
}

/// What was measured of an injector without a job.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alone {
    /// What it loads.
    pub resource: Resource,
    /// The pressure of another of its kind beside it; nothing: it was alone.
    pub beside: Option<u8>,
    /// Its instructions per cycle.
    pub ipc: f64,
}

/// What was measured of jobs beside injectors.
#[derive(Clone, Debug, Default)]
pub struct Measurements {
    counted: BTreeMap<(Of, i64, String, u8), f64>,
}

impl Measurements {
    /// From the text of a document. Of what was measured twice, the last counts.
    ///
    /// # Errors
    /// When it is none, or too large.
    pub fn read(text: &str) -> Result<Self, Unreadable> {
        let documents: Vec<Document> = bounded(text)?;
        if documents.len() > MAX_MEASUREMENTS {
            return Err(Unreadable::TooMany(documents.len()));
        }
        let counted = documents.into_iter().map(|document| {
            let of = document.run_type;
            let key = (
                of,
                document.global_jobid,
                document.feature,
                document.pressure,
            );
            (key, document.ipc)
        });
        Ok(Self {
            counted: counted.collect(),
        })
    }

    /// Adds what was measured of a job alone.
    pub fn add_alone(&mut self, job: i64, ipc: f64) {
        let key = (Of::Workload, job, SINGLE.to_owned(), Pressure::Low as u8);
        self.counted.insert(key, ipc);
    }

    /// Adds what was measured of a job and of the injector of a resource beside it, at the pressure of this place.
    pub fn add(&mut self, job: i64, resource: Resource, pressure: u8, ipc: f64, injector: f64) {
        let mut add = |of, ipc| {
            let key = (of, job, resource.name().to_owned(), pressure);
            self.counted.insert(key, ipc);
        };
        add(Of::Workload, ipc);
        add(Of::Injector, injector);
    }

    /// Adds what was measured of an injector without a job: alone at its lowest pressure, or at its highest beside another at this one.
    pub fn add_injector(&mut self, resource: Resource, beside: Option<u8>, ipc: f64) {
        let (job, pressure) = beside.map_or((ALONE, Pressure::Low as u8), |pressure| {
            (AMONG_INJECTORS, pressure)
        });
        let key = (Of::Injector, job, resource.name().to_owned(), pressure);
        self.counted.insert(key, ipc);
    }

    /// What was measured of injectors without a job, as [`Self::add_injector`] takes it.
    #[must_use]
    pub fn of_injectors(&self) -> Vec<Alone> {
        let all = self.counted.iter();
        let alone = all.filter_map(|((of, job, name, pressure), ipc)| {
            let beside = match (of, *job) {
                (Of::Injector, ALONE) => None,
                (Of::Injector, AMONG_INJECTORS) => Some(*pressure),
                _ => return None,
            };
            Some(Alone {
                resource: Resource::named(name)?,
                beside,
                ipc: *ipc,
            })
        });
        alone.collect()
    }

    /// The numbers of the jobs that were measured.
    pub fn jobs(&self) -> impl Iterator<Item = i64> {
        let numbers = self.counted.keys().map(|(_, job, _, _)| *job);
        let jobs: BTreeSet<i64> = numbers.filter(|job| *job >= 0).collect();
        jobs.into_iter()
    }

    /// What jobs were measured with. The last cache is only there to see how fast they are when others want it too.
    #[must_use]
    pub fn resources(&self) -> Vec<Resource> {
        let names = self.counted.keys();
        let names: BTreeSet<&str> = names
            .filter(|(of, ..)| *of == Of::Workload)
            .map(|(_, _, name, _)| name.as_str())
            .collect();
        let mut resources = Resource::ALL.to_vec();
        resources
            .retain(|resource| *resource != Resource::L3Cache && names.contains(resource.name()));
        resources
    }

    /// What is known of a job, as far as `resources` ask.
    ///
    /// # Errors
    /// When something was not measured or is no number to compare with.
    pub fn job(
        &self,
        job: i64,
        machine: impl Into<Option<Machine>>,
        resources: &[Resource],
    ) -> Result<Job, Absent> {
        let machine = machine.into();
        let solo = self.get(Of::Workload, job, SINGLE, Pressure::Low as u8)?;
        let l3 = Resource::L3Cache.name();
        let beside = self.get(Of::Workload, job, l3, Pressure::Low as u8)?;
        let of = |resource: &Resource| {
            let characteristics = self.characteristics(job, solo, machine, *resource)?;
            Ok((*resource, characteristics))
        };
        Ok(Job {
            solo: solo.get(),
            scale: beside.relative_to(solo, "the job alone")?,
            characteristics: resources.iter().map(of).collect::<Result<_, _>>()?,
        })
    }

    /// What is known of a job by all that it was measured with, and why the rest of that tells nothing.
    ///
    /// # Errors
    /// When it was not measured alone and beside the injector of the last cache.
    pub fn known(
        &self,
        job: i64,
        machine: Option<Machine>,
    ) -> Result<(Job, BTreeMap<Resource, Absent>), Absent> {
        let mut known = self.job(job, machine, &[])?;
        let mut absent = BTreeMap::new();
        for resource in self.resources() {
            match self.job(job, machine, &[resource]) {
                Ok(one) => known.characteristics.extend(one.characteristics),
                Err(why) => drop(absent.insert(resource, why)),
            }
        }
        Ok((known, absent))
    }

    fn characteristics(
        &self,
        job: i64,
        solo: Ipc,
        machine: Option<Machine>,
        resource: Resource,
    ) -> Result<Characteristics, Absent> {
        let name = resource.name();
        let low = Pressure::Low as u8;
        let workload = |pressure| self.get(Of::Workload, job, name, pressure);
        let injector = |beside, pressure| self.get(Of::Injector, beside, name, pressure);
        let both = Beside {
            alone: injector(ALONE, low)?,
            job: injector(job, low)?,
        };
        match resource.kind() {
            Kind::Sequential => Sequential {
                solo,
                job: [
                    workload(low)?,
                    workload(Pressure::Medium as u8)?,
                    workload(Pressure::High as u8)?,
                ],
                injector: both,
                queue: machine
                    .and_then(|machine| machine.queue(resource))
                    .ok_or(Absent::UnknownSize(name))?,
            }
            .characteristics(),
            Kind::Parallel => Parallel {
                solo,
                job: [workload(low)?, workload(HIGH_OF_TWO)?],
                injector: both,
                injector_high: injector(job, HIGH_OF_TWO)?,
                among_injectors: [
                    injector(AMONG_INJECTORS, low)?,
                    injector(AMONG_INJECTORS, HIGH_OF_TWO)?,
                ],
            }
            .characteristics(),
            Kind::Port => Port {
                solo,
                job: workload(low)?,
                injector: both,
            }
            .characteristics(),
        }
    }

    fn get(&self, of: Of, job: i64, name: &str, pressure: u8) -> Result<Ipc, Absent> {
        let key = (of, job, name.to_owned(), pressure);
        let Some(ipc) = self.counted.get(&key) else {
            let who = match of {
                Of::Workload => "the job",
                Of::Injector if job >= 0 => "the injector beside the job",
                Of::Injector => "the injector without the job",
            };
            return Err(Absent::Missing(format!(
                "{who} with {name} at pressure {pressure}"
            )));
        };
        Ipc::new(*ipc)
    }
}

/// From the text of a document of jobs beside each other: `{"a": {"single": 1.5, "b": 1.2}}`.
///
/// # Errors
/// When it is none, is too large, or has a number that is none.
pub fn combination(text: &str) -> Result<Combination, Unreadable> {
    let all: BTreeMap<String, BTreeMap<String, f64>> = bounded(text)?;
    if all.len() > MAX_JOBS {
        return Err(Unreadable::TooMany(all.len()));
    }
    let mut combination = Combination::new();
    for (job, mut beside) in all {
        for ipc in beside.values() {
            Ipc::new(*ipc).map_err(|why| Unreadable::Ipc {
                job: job.clone(),
                why,
            })?;
        }
        let single = beside.remove("single");
        let single = single.ok_or_else(|| Unreadable::NoSingle(job.clone()))?;
        combination.insert(job, Pairwise { single, beside });
    }
    Ok(combination)
}

fn bounded<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Unreadable> {
    if text.len() > MAX_TEXT {
        return Err(Unreadable::TooLarge(text.len()));
    }
    Ok(serde_json::from_str(text)?)
}
