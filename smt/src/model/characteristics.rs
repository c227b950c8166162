//! What a job makes of a resource, from what was counted while it ran beside injectors that load the resource.

use serde::{Deserialize, Serialize};

use super::machine::Queue;

/// What a job makes of one resource; each from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Characteristics {
    /// How much slower it gets when the resource is loaded.
    pub sensitivity: f64,
    /// How much of the resource it uses.
    pub usage: f64,
    /// How much it slows down others that use the resource.
    pub intensity: f64,
    /// How much slower it gets beside another thread that hardly loads the resource.
    pub base_slowdown: f64,
}

/// Why a job has no characteristics.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Absent {
    /// Nobody measured this.
    #[error("{0} was not measured")]
    Missing(String),
    /// Nothing can be said relative to this.
    #[error("{0} was measured as 0")]
    Zero(&'static str),
    /// A measurement that is no count of instructions per cycle.
    #[error("{0} is no number of instructions per cycle")]
    NotIpc(f64),
    /// The injector slows itself down no more at high pressure than at low.
    #[error("the injector is the same beside itself at high pressure and at low")]
    NoPressure,
    /// The size of this queue is not known for the CPU.
    #[error("the size of {0} is not known for this CPU")]
    UnknownSize(&'static str),
}

/// Instructions per cycle: finite and not negative.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
pub struct Ipc(f64);

/// What an injector did alone and beside the job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beside {
    /// Alone.
    pub alone: Ipc,
    /// Beside the job.
    pub job: Ipc,
}

/// What was measured with a queue's injector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sequential {
    /// The job alone.
    pub solo: Ipc,
    /// The job beside the injector at low, medium and high pressure.
    pub job: [Ipc; 3],
    /// The injector at low pressure.
    pub injector: Beside,
    /// The queue.
    pub queue: Queue,
}

/// What was measured with a cache's injector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parallel {
    /// The job alone.
    pub solo: Ipc,
    /// The job beside the injector at low and high pressure.
    pub job: [Ipc; 2],
    /// The injector at low pressure.
    pub injector: Beside,
    /// The injector at high pressure beside the job.
    pub injector_high: Ipc,
    /// The injector at high pressure beside another at low and at high pressure.
    pub among_injectors: [Ipc; 2],
}

/// What was measured with the injector of a port, which has one pressure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Port {
    /// The job alone.
    pub solo: Ipc,
    /// The job beside the injector.
    pub job: Ipc,
    /// The injector.
    pub injector: Beside,
}

/// A job has to be this sensitive to a queue before it is said to use any of it.
const SENSITIVE: f64 = 0.05;
/// What the sensitivity to a queue is at least.
const LEAST_SENSITIVITY: f64 = 1e-7;

impl Ipc {
    /// So many instructions per cycle.
    ///
    /// # Errors
    /// When that is negative or no number.
    pub fn new(ipc: f64) -> Result<Self, Absent> {
        let is_ipc = ipc.is_finite() && ipc >= 0.0;
        is_ipc.then_some(Self(ipc)).ok_or(Absent::NotIpc(ipc))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }

    /// How many times as fast this is as `whole`.
    pub(super) fn relative_to(self, whole: Self, what: &'static str) -> Result<f64, Absent> {
        if whole.0 == 0.0 {
            return Err(Absent::Zero(what));
        }
        Ok(self.0 / whole.0)
    }

    /// Which share of `whole` is lost, from 0 to 1.
    fn lost_of(self, whole: Self, what: &'static str) -> Result<f64, Absent> {
        Ok(share(1.0 - self.relative_to(whole, what)?))
    }
}

impl Beside {
    fn lost(self) -> Result<f64, Absent> {
        self.job.lost_of(self.alone, "the injector alone")
    }
}

impl Sequential {
    /// What the job makes of the queue.
    ///
    /// # Errors
    /// When something is to be compared with what was measured as 0.
    pub fn characteristics(&self) -> Result<Characteristics, Absent> {
        let [low, _, high] = self.job;
        let sensitivity = high.lost_of(low, "the job beside an injector at low pressure")?;
        Ok(Characteristics {
            sensitivity: sensitivity.max(LEAST_SENSITIVITY),
            usage: if sensitivity > SENSITIVE {
                self.usage()
            } else {
                0.0
            },
            intensity: self.injector.lost()?,
            base_slowdown: low.lost_of(self.solo, "the job alone")?,
        })
    }

    /// How much of the queue the injector may take until the job gets slower than at low pressure: where the line through
    /// what the job does at medium and at high pressure meets that. The rest is what the job uses.
    fn usage(&self) -> f64 {
        let [low, medium, high] = self.job.map(Ipc::get);
        let [_, at_medium, at_high] = self.queue.pressures().map(f64::from);
        let size = f64::from(self.queue.size);
        let watermark = f64::from(self.queue.watermark);
        let slope = (high - medium) / (at_high - at_medium);
        let drop = if slope < 0.0 {
            at_medium + (low - medium) / slope
        } else {
            size - watermark
        };
        let most = size - watermark;
        (size - drop.clamp(watermark.min(most), most)) / size
    }
}

impl Parallel {
    /// What the job makes of the cache.
    ///
    /// # Errors
    /// When something is to be compared with what was measured as 0, or the injector does not press.
    pub fn characteristics(&self) -> Result<Characteristics, Absent> {
        let [low, high] = self.job;
        let [beside_low, beside_high] = self.among_injectors.map(Ipc::get);
        if beside_low == beside_high {
            return Err(Absent::NoPressure);
        }
        let pressed = beside_low - self.injector_high.get();
        Ok(Characteristics {
            sensitivity: high.lost_of(low, "the job beside an injector at low pressure")?,
            usage: share(pressed / (beside_low - beside_high)),
            intensity: self.injector.lost()?,
            base_slowdown: low.lost_of(self.solo, "the job alone")?,
        })
    }
}

impl Port {
    /// What the job makes of the port.
    ///
    /// # Errors
    /// When something is to be compared with what was measured as 0.
    pub fn characteristics(&self) -> Result<Characteristics, Absent> {
        let lost = self.job.lost_of(self.solo, "the job alone")?;
        let taken = self.injector.lost()?;
        Ok(Characteristics {
            sensitivity: lost,
            usage: taken,
            intensity: taken,
            base_slowdown: lost,
        })
    }
}

fn share(number: f64) -> f64 {
    number.clamp(0.0, 1.0)
}
