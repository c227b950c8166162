//! What is known of jobs and kept over restarts: one file for each job, the pairs that were measured, what was seen of jobs as they
//! ran, and models. Whatever is
//! read is bounded and checked; files are replaced as a whole.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use auto_ext_service::atomic_file;
use serde::{Deserialize, Serialize};

use crate::core::{Fruitless, Passive};
use crate::model::original::Alone;
use crate::model::{Combination, InvalidModel, Job, SlowdownModel};

#[cfg(test)]
mod tests;

/// Where it is.
pub const DIRECTORY: &str = "/var/lib/auto-ext-smt";

/// How large each kind of file may be, in bytes; all of them together are less than 16 MB.
const MAX_JOB: u64 = 16 << 10;
const MAX_PAIRS: u64 = 8 << 20;
const MAX_MODEL: u64 = 64 << 10;
const MAX_INJECTORS: u64 = 64 << 10;
const MAX_FRUITLESS: u64 = 2 << 20;
const MAX_SEEN: u64 = 1 << 20;
/// How many models are kept.
const MAX_MODELS: usize = 8;
/// How many jobs are kept, and how many files a directory may have that is looked through.
const MAX_JOBS: usize = 256;
const MAX_FILES: usize = 4096;
/// How long the name of a job may be, in bytes: as a path.
const MAX_NAME: usize = 4096;

/// What a model's file is called, around the time at which it was made.
const MODEL: (&str, &str) = ("prediction_model_", ".json");

/// A directory with what is known.
#[derive(Clone, Debug)]
pub struct Store(PathBuf);

/// Why something cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A file is not what it is to be.
    #[error("{}: {error}", path.display())]
    Garbled {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// A model is none.
    #[error("{}: {error}", path.display())]
    Model {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        error: InvalidModel,
    },
    /// There is more than is kept.
    #[error("{0} jobs are more than are kept")]
    TooManyJobs(usize),
    /// A name that no job has.
    #[error("a name of {0} bytes is too long")]
    LongName(usize),
}

/// A job with its name, as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    job: String,
    #[serde(flatten)]
    known: Job,
}

/// What was measured of injectors on a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Which processor it has.
    pub cpu: String,
    /// What was measured.
    pub ipc: Vec<Alone>,
}

/// A line of the pairs.
#[derive(Serialize, Deserialize)]
struct Pair {
    job: String,
    /// Nothing: alone.
    beside: Option<String>,
    ipc: f64,
}

impl Store {
    /// In this directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// When any of it was last replaced; `None` while there is nothing. Each file is replaced by renaming another.
    #[must_use]
    pub fn changed(&self) -> Option<SystemTime> {
        let directories = [self.0.clone(), self.0.join("jobs"), self.0.join("models")];
        let changed = directories.iter().filter_map(|path| path.metadata().ok());
        changed
            .filter_map(|metadata| metadata.modified().ok())
            .max()
    }

    /// What was tried in vain, by jobs; none where nothing was.
    ///
    /// # Errors
    /// When the file cannot be read or is garbled.
    pub fn fruitless(&self) -> Result<Vec<Fruitless>, StoreError> {
        let path = self.0.join("fruitless.json");
        let text = text(&path, MAX_FRUITLESS)?;
        if text.is_empty() {
            return Ok(Vec::new());
        }
        serde_json::from_str(&text).map_err(|error| StoreError::Garbled { path, error })
    }

    /// Keeps what was tried in vain, in place of what was.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep_fruitless(&self, sets: &[Fruitless]) -> Result<(), StoreError> {
        replace(&made(self.0.clone())?.join("fruitless.json"), &sets)
    }

    /// What was measured of injectors; nothing where nothing was.
    ///
    /// # Errors
    /// When the file cannot be read or is garbled.
    pub fn injectors(&self) -> Result<Option<Baseline>, StoreError> {
        let path = self.0.join("injectors.json");
        let text = text(&path, MAX_INJECTORS)?;
        if text.is_empty() {
            return Ok(None);
        }
        let baseline = serde_json::from_str(&text);
        baseline.map_err(|error| StoreError::Garbled { path, error })
    }

    /// Keeps what was measured of injectors, in place of what was.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep_injectors(&self, baseline: &Baseline) -> Result<(), StoreError> {
        replace(&made(self.0.clone())?.join("injectors.json"), baseline)
    }

    /// What was seen of jobs as they ran; nothing where nothing was.
    ///
    /// # Errors
    /// When the file cannot be read or is garbled.
    pub fn seen(&self) -> Result<Passive, StoreError> {
        let path = self.0.join("seen.json");
        let text = text(&path, MAX_SEEN)?;
        if text.is_empty() {
            return Ok(Passive::default());
        }
        let series = serde_json::from_str(&text);
        let series = series.map_err(|error| StoreError::Garbled { path, error })?;
        Ok(Passive::new(series))
    }

    /// Keeps what was seen of jobs, in place of what was.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep_seen(&self, passive: &Passive) -> Result<(), StoreError> {
        let path = made(self.0.clone())?.join("seen.json");
        replace(&path, &passive.series())
    }

    /// All jobs, by their names.
    ///
    /// # Errors
    /// When a file cannot be read or is garbled.
    pub fn jobs(&self) -> Result<BTreeMap<String, Job>, StoreError> {
        let mut jobs = BTreeMap::new();
        let files = files(&self.0.join("jobs"))?;
        for path in files.into_iter().filter(|path| is_json(path)) {
            let kept: Kept = serde_json::from_str(&text(&path, MAX_JOB)?)
                .map_err(|error| StoreError::Garbled { path, error })?;
            jobs.insert(kept.job, kept.known);
            if jobs.len() > MAX_JOBS {
                return Err(StoreError::TooManyJobs(jobs.len()));
            }
        }
        Ok(jobs)
    }

    /// Keeps what is known of jobs, in place of what was.
    ///
    /// # Errors
    /// When there are too many, or a file cannot be written.
    pub fn keep_jobs(&self, jobs: &BTreeMap<String, Job>) -> Result<(), StoreError> {
        let mut all: BTreeMap<String, Job> = self.jobs()?;
        all.extend(jobs.clone());
        if all.len() > MAX_JOBS {
            return Err(StoreError::TooManyJobs(all.len()));
        }
        let directory = made(self.0.join("jobs"))?;
        for (name, known) in jobs {
            if name.len() > MAX_NAME {
                return Err(StoreError::LongName(name.len()));
            }
            let kept = Kept {
                job: name.clone(),
                known: known.clone(),
            };
            replace(&directory.join(format!("{:016x}.json", hash(name))), &kept)?;
        }
        Ok(())
    }

    /// The pairs that were measured.
    ///
    /// # Errors
    /// When the file cannot be read or is garbled.
    pub fn pairs(&self) -> Result<Combination, StoreError> {
        let path = self.0.join("pairs.jsonl");
        let mut combination = Combination::new();
        for line in text(&path, MAX_PAIRS)?.lines() {
            let pair: Pair = serde_json::from_str(line).map_err(|error| StoreError::Garbled {
                path: path.clone(),
                error,
            })?;
            let job = combination.entry(pair.job).or_default();
            match pair.beside {
                None => job.single = pair.ipc,
                Some(beside) => drop(job.beside.insert(beside, pair.ipc)),
            }
        }
        Ok(combination)
    }

    /// Keeps pairs, in place of all that were.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep_pairs(&self, combination: &Combination) -> Result<(), StoreError> {
        let path = made(self.0.clone())?.join("pairs.jsonl");
        let mut lines = Vec::new();
        for (job, measured) in combination {
            let alone = [(None, measured.single)].into_iter();
            let beside = measured
                .beside
                .iter()
                .map(|(beside, ipc)| (Some(beside.clone()), *ipc));
            for (beside, ipc) in alone.chain(beside) {
                let pair = Pair {
                    job: job.clone(),
                    beside,
                    ipc,
                };
                lines.push(json(&path, &pair)? + "\n");
            }
        }
        let lines = lines.iter().map(String::as_str);
        atomic_file::replace(&path, lines).map_err(|error| StoreError::File { path, error })
    }

    /// The newest model; `None` while there is none.
    ///
    /// # Errors
    /// When it cannot be read or is none.
    pub fn model(&self) -> Result<Option<SlowdownModel>, StoreError> {
        let Some((_, path)) = self.models()?.pop() else {
            return Ok(None);
        };
        let model = SlowdownModel::read(&text(&path, MAX_MODEL)?);
        model
            .map(Some)
            .map_err(|error| StoreError::Model { path, error })
    }

    /// Keeps a model that was made at a time in seconds since 1970, and says where.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_model(&self, model: &SlowdownModel, at: u64) -> Result<PathBuf, StoreError> {
        let directory = made(self.0.join("models"))?;
        let path = directory.join(format!("{}{at}{}", MODEL.0, MODEL.1));
        replace(&path, model)?;
        let models = self.models()?;
        for (_, old) in &models[..models.len().saturating_sub(MAX_MODELS)] {
            fs::remove_file(old).map_err(|error| StoreError::File {
                path: old.clone(),
                error,
            })?;
        }
        Ok(path)
    }

    /// All models with when they were made, the newest last.
    fn models(&self) -> Result<Vec<(u64, PathBuf)>, StoreError> {
        let made_at = |path: &PathBuf| -> Option<u64> {
            let name = path.file_name()?.to_str()?;
            name.strip_prefix(MODEL.0)?
                .strip_suffix(MODEL.1)?
                .parse()
                .ok()
        };
        let files = files(&self.0.join("models"))?.into_iter();
        let mut models: Vec<_> = files
            .filter_map(|path| Some((made_at(&path)?, path)))
            .collect();
        models.sort();
        Ok(models)
    }
}

fn is_json(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "json")
}

/// The files of a directory; none where there is no directory.
fn files(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |error| StoreError::File {
        path: directory.to_owned(),
        error,
    };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let paths = entries.take(MAX_FILES).map(|entry| Ok(entry?.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<Result<_, _>>().map_err(failed)?;
    paths.sort();
    Ok(paths)
}

/// What a file says; nothing where there is none.
fn text(path: &Path, limit: u64) -> Result<String, StoreError> {
    let failed = |error| StoreError::File {
        path: path.to_owned(),
        error,
    };
    let bytes = atomic_file::read(path, limit + 1).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(failed(io::Error::other("it is too large")));
    }
    String::from_utf8(bytes).map_err(|_| failed(io::Error::other("it is no text")))
}

fn made(directory: PathBuf) -> Result<PathBuf, StoreError> {
    match fs::create_dir_all(&directory) {
        Ok(()) => Ok(directory),
        Err(error) => Err(StoreError::File {
            path: directory,
            error,
        }),
    }
}

fn json(path: &Path, value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Garbled {
        path: path.to_owned(),
        error,
    })
}

fn replace(path: &Path, value: &impl Serialize) -> Result<(), StoreError> {
    let text = json(path, value)?;
    atomic_file::replace(path, [text.as_str(), "\n"]).map_err(|error| StoreError::File {
        path: path.to_owned(),
        error,
    })
}

/// FNV-1a, which stays what it is: names of files are made of it.
fn hash(name: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    name.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}
