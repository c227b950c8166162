//! A model of slowdowns, as it is kept in a file, and what it says of two jobs on a core.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::activation::activation;
use super::characteristics::Absent;
use super::job::Job;
use super::resource::Resource;

/// How large the text of a model may be, in bytes.
const MAX_TEXT: usize = 64 << 10;
/// How many jobs a model may say that it was trained on.
const MAX_TRAINED_ON: usize = 4096;

/// What a slowdown is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Feature {
    /// That there is another thread on the core at all.
    Base,
    /// That both want this.
    Resource(Resource),
}

/// Which CPU a model is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuModel {
    /// Who makes it.
    pub vendor: String,
    /// Its family.
    pub family: u32,
    /// Its model.
    pub model: u32,
    /// Its stepping.
    pub stepping: u32,
    /// How many hardware threads a core has.
    pub threads: u32,
}

/// The slowdown of a job beside another, linear in its features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct SlowdownModel {
    #[serde(rename = "feature_list")]
    features: Vec<Feature>,
    coefficients: Vec<f64>,
    intercept: f64,
    /// Which CPU it is of; what the original writes does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuModel>,
    /// The jobs that it was trained on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trained_on: Vec<String>,
    /// Its mean relative error for jobs that it was not trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
}

/// What a file says, which may be anything.
#[derive(Deserialize)]
struct Unchecked {
    feature_list: Vec<Feature>,
    coefficients: Vec<f64>,
    intercept: f64,
    #[serde(default)]
    cpu: Option<CpuModel>,
    #[serde(default)]
    trained_on: Vec<String>,
    #[serde(default)]
    error: Option<f64>,
}

/// Why something is no model.
#[derive(Debug, thiserror::Error)]
pub enum InvalidModel {
    /// It is larger than any model.
    #[error("a model of {0} bytes is too large")]
    TooLarge(usize),
    /// Its text is not that of a model.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// There is not one coefficient for each feature.
    #[error("{features} features have {coefficients} coefficients")]
    Lengths {
        /// How many features there are.
        features: usize,
        /// How many coefficients.
        coefficients: usize,
    },
    /// There is a feature twice.
    #[error("a feature is there twice")]
    Twice,
    /// A number is not finite.
    #[error("a number is not finite")]
    NotFinite,
    /// More jobs than anybody measures.
    #[error("trained on {0} jobs, which are too many")]
    TooManyJobs(usize),
}

impl Feature {
    /// Its name in a model.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Resource(resource) => resource.name(),
        }
    }

    /// What this feature of `job` is beside `other`.
    pub(super) fn of(self, job: &Job, other: &Job) -> Result<f64, Absent> {
        let missing = || Absent::Missing(self.name().to_owned());
        let Self::Resource(resource) = self else {
            return job.base_slowdown().ok_or_else(missing);
        };
        let of = |job: &Job| job.characteristics.get(&resource).copied();
        let (one, two) = of(job).zip(of(other)).ok_or_else(missing)?;
        Ok(one.sensitivity * two.intensity * activation(resource.kind(), one.usage, two.usage))
    }
}

impl From<Feature> for String {
    fn from(feature: Feature) -> Self {
        feature.name().to_owned()
    }
}

impl TryFrom<String> for Feature {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "base" => Ok(Self::Base),
            name => Resource::named(name)
                .map(Self::Resource)
                .ok_or_else(|| format!("there is no feature {name:?}")),
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TryFrom<Unchecked> for SlowdownModel {
    type Error = InvalidModel;

    fn try_from(unchecked: Unchecked) -> Result<Self, InvalidModel> {
        if unchecked.trained_on.len() > MAX_TRAINED_ON {
            return Err(InvalidModel::TooManyJobs(unchecked.trained_on.len()));
        }
        if unchecked.error.is_some_and(|error| !error.is_finite()) {
            return Err(InvalidModel::NotFinite);
        }
        let model = Self::new(
            unchecked.feature_list,
            unchecked.coefficients,
            unchecked.intercept,
        )?;
        Ok(Self {
            cpu: unchecked.cpu,
            trained_on: unchecked.trained_on,
            error: unchecked.error,
            ..model
        })
    }
}

impl SlowdownModel {
    /// A model of no known CPU.
    ///
    /// # Errors
    /// When there is not one finite coefficient for each of different features.
    pub fn new(
        features: Vec<Feature>,
        coefficients: Vec<f64>,
        intercept: f64,
    ) -> Result<Self, InvalidModel> {
        if features.len() != coefficients.len() {
            return Err(InvalidModel::Lengths {
                features: features.len(),
                coefficients: coefficients.len(),
            });
        }
        if features.iter().collect::<BTreeSet<_>>().len() != features.len() {
            return Err(InvalidModel::Twice);
        }
        if !intercept.is_finite() || !coefficients.iter().all(|number| number.is_finite()) {
            return Err(InvalidModel::NotFinite);
        }
        Ok(Self {
            features,
            coefficients,
            intercept,
            cpu: None,
            trained_on: Vec::new(),
            error: None,
        })
    }

    /// From the text of a file, ours or the original's.
    ///
    /// # Errors
    /// When that is no model.
    pub fn read(text: &str) -> Result<Self, InvalidModel> {
        if text.len() > MAX_TEXT {
            return Err(InvalidModel::TooLarge(text.len()));
        }
        Ok(serde_json::from_str(text)?)
    }

    /// What it asks of jobs.
    #[must_use]
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// One for each feature.
    #[must_use]
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// The slowdown of two jobs that have no feature.
    #[must_use]
    pub fn intercept(&self) -> f64 {
        self.intercept
    }

    /// Which share of its speed `job` loses beside `other`; may be below 0 or above 1.
    ///
    /// # Errors
    /// When one of them has no characteristics for a feature.
    pub fn slowdown(&self, job: &Job, other: &Job) -> Result<f64, Absent> {
        let mut slowdown = self.intercept;
        for (feature, coefficient) in self.features.iter().zip(&self.coefficients) {
            slowdown += coefficient * feature.of(job, other)?;
        }
        Ok(slowdown)
    }

    /// How fast `job` is beside `other`, from 0 to 1, where 1 is alone on a machine.
    ///
    /// # Errors
    /// As [`Self::slowdown`].
    pub fn compatibility(&self, job: &Job, other: &Job) -> Result<f64, Absent> {
        let speed = job.scale * (1.0 - self.slowdown(job, other)?);
        Ok(speed.clamp(0.0, 1.0))
    }
}

/// What a pair is worth of which one, of the first weight, is as fast as the first number beside the other, and the other way
/// round. Alone a job is worth its weight.
#[must_use]
pub fn pair_score(weights: [f64; 2], speeds: [f64; 2]) -> f64 {
    weights[0] * speeds[0] + weights[1] * speeds[1]
}
