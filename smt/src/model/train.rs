//! From measured pairs to a model of slowdowns, and how far that may be trusted.

use std::collections::{BTreeMap, BTreeSet};

use super::characteristics::Absent;
use super::job::Job;
use super::nnls::{dependent, nnls};
use super::score::{Feature, InvalidModel, SlowdownModel};

/// A model of fewer jobs is not used.
pub const MIN_JOBS: usize = 8;
/// Nor one that errs more than this, relative to the slowdown, on jobs that it was not trained on.
const MAX_ERROR: f64 = 0.15;
/// How many jobs are trained on at most.
const MAX_JOBS: usize = 512;

/// What was counted of a job, in instructions per cycle.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pairwise {
    /// Alone.
    pub single: f64,
    /// Beside each other job, and beside itself.
    pub beside: BTreeMap<String, f64>,
}

/// What was counted of all jobs.
pub type Combination = BTreeMap<String, Pairwise>;

/// A model with what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// The model.
    pub model: SlowdownModel,
    /// Of how many pairs it was made.
    pub rows: usize,
    /// How much it errs on those pairs, relative to each slowdown.
    pub mean_relative_error: f64,
    /// The same of pairs with a job that was left out of the training; `None` where that left too little to train on.
    pub left_out_error: Option<f64>,
    /// Features that are 0 everywhere or follow from those before them: their coefficients mean nothing by themselves.
    pub dependent: Vec<Feature>,
}

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
pub enum NotTrained {
    /// There are no pairs that were measured.
    #[error("no pairs were measured")]
    NoPairs,
    /// There are more jobs than this is made for.
    #[error("{0} jobs are too many")]
    TooManyJobs(usize),
    /// A job lacks what the features ask for.
    #[error("{job}: {why}")]
    Job {
        /// Which.
        job: String,
        /// What it lacks.
        why: Absent,
    },
    /// The fit came to no end.
    #[error("the coefficients cannot be told from rounding errors")]
    NoEnd,
    /// The fit is no model.
    #[error(transparent)]
    Invalid(#[from] InvalidModel),
}

/// Why a model is not to be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unfit {
    /// It is made of too few jobs.
    #[error("{0} jobs are too few: a model needs {MIN_JOBS}")]
    TooFewJobs(usize),
    /// It errs too much.
    #[error("it errs by {:.0} % on jobs that it was not trained on, more than {:.0} %", 100.0 * .0, 100.0 * MAX_ERROR)]
    Errs(f64),
}

/// One pair that was measured.
struct Row<'j> {
    jobs: [&'j str; 2],
    features: Vec<f64>,
    slowdown: f64,
}

/// The coefficients and the intercept of a fit.
struct Fit {
    coefficients: Vec<f64>,
    intercept: f64,
}

impl Fit {
    fn of(rows: &[&Row<'_>]) -> Option<Self> {
        let (columns, means) = centred(rows);
        let slowdowns: Vec<f64> = rows.iter().map(|row| row.slowdown).collect();
        let mean = mean(slowdowns.iter().copied())?;
        let target: Vec<f64> = slowdowns.iter().map(|slowdown| slowdown - mean).collect();
        let coefficients = nnls(&columns, &target)?;
        let all = means.iter().zip(&coefficients);
        let intercept = mean
            - all
                .map(|(mean, coefficient)| mean * coefficient)
                .sum::<f64>();
        Some(Self {
            coefficients,
            intercept,
        })
    }

    /// How far it is from what was measured, relative to that. `None` where nothing was slowed down.
    fn relative_error(&self, row: &Row<'_>) -> Option<f64> {
        let all = row.features.iter().zip(&self.coefficients);
        let expected = self.intercept + all.map(|(one, other)| one * other).sum::<f64>();
        let error = ((expected - row.slowdown) / row.slowdown).abs();
        error.is_finite().then_some(error)
    }
}

/// The features of each row as columns, without their means, and these.
fn centred(rows: &[&Row<'_>]) -> (Vec<Vec<f64>>, Vec<f64>) {
    let count = rows.first().map_or(0, |row| row.features.len());
    let column = |at: usize| {
        let numbers = rows.iter().map(|row| row.features[at]);
        let mean = mean(numbers.clone()).unwrap_or(0.0);
        (numbers.map(|number| number - mean).collect(), mean)
    };
    (0..count).map(column).unzip()
}

/// Trains a model with these features on all pairs of `jobs` that were measured.
///
/// # Errors
/// When there is nothing to train on, or a job lacks what the features ask for.
pub fn train(
    features: &[Feature],
    jobs: &BTreeMap<String, Job>,
    combination: &Combination,
) -> Result<Training, NotTrained> {
    if jobs.len() > MAX_JOBS {
        return Err(NotTrained::TooManyJobs(jobs.len()));
    }
    let rows = rows(features, jobs, combination)?;
    let all: Vec<&Row<'_>> = rows.iter().collect();
    if all.is_empty() {
        return Err(NotTrained::NoPairs);
    }
    let fit = Fit::of(&all).ok_or(NotTrained::NoEnd)?;
    let errors = all.iter().filter_map(|row| fit.relative_error(row));
    let mean_relative_error = mean(errors).unwrap_or(0.0);
    let left_out_error = left_out_error(&rows);
    let (columns, _) = centred(&all);
    let dependent = dependent(&columns);
    let mut model = SlowdownModel::new(features.to_vec(), fit.coefficients, fit.intercept)?;
    let trained_on: BTreeSet<&str> = rows.iter().flat_map(|row| row.jobs).collect();
    model.trained_on = trained_on.into_iter().map(str::to_owned).collect();
    model.error = left_out_error;
    Ok(Training {
        model,
        rows: rows.len(),
        mean_relative_error,
        left_out_error,
        dependent: dependent.into_iter().map(|at| features[at]).collect(),
    })
}

/// The pairs that were measured, each job beside itself too.
fn rows<'j>(
    features: &[Feature],
    jobs: &'j BTreeMap<String, Job>,
    combination: &Combination,
) -> Result<Vec<Row<'j>>, NotTrained> {
    let mut rows = Vec::new();
    for (name, job) in jobs {
        let Some(measured) = combination.get(name) else {
            continue;
        };
        for (beside, other) in jobs {
            let Some(ipc) = measured.beside.get(beside) else {
                continue;
            };
            let of = |feature: &Feature| {
                feature.of(job, other).map_err(|why| NotTrained::Job {
                    job: name.clone(),
                    why,
                })
            };
            let slowdown = 1.0 - ipc / measured.single;
            if slowdown.is_finite() {
                rows.push(Row {
                    jobs: [name, beside],
                    features: features.iter().map(of).collect::<Result<_, _>>()?,
                    slowdown,
                });
            }
        }
    }
    Ok(rows)
}

/// How much fits err that were made without one job, on the pairs with that job.
fn left_out_error(rows: &[Row<'_>]) -> Option<f64> {
    let jobs: BTreeSet<&str> = rows.iter().flat_map(|row| row.jobs).collect();
    let mut errors = Vec::new();
    for job in jobs {
        let (without, with): (Vec<_>, Vec<_>) =
            rows.iter().partition(|row| !row.jobs.contains(&job));
        let fit = Fit::of(&without)?;
        errors.extend(with.iter().filter_map(|row| fit.relative_error(row)));
    }
    mean(errors.into_iter())
}

impl Training {
    /// Whether the model may be used.
    ///
    /// # Errors
    /// When it is made of too few jobs or errs too much.
    pub fn check(&self) -> Result<(), Unfit> {
        let jobs = self.model.trained_on.len();
        if jobs < MIN_JOBS {
            return Err(Unfit::TooFewJobs(jobs));
        }
        // Where it cannot be told, it is as if it erred without bounds.
        let error = self.left_out_error.unwrap_or(f64::INFINITY);
        if error > MAX_ERROR {
            return Err(Unfit::Errs(error));
        }
        Ok(())
    }
}

fn mean(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = numbers.fold((0.0, 0.0), |(sum, count), number| {
        (sum + number, count + 1.0)
    });
    (count > 0.0).then(|| sum / count)
}
