//! What a model is, and how it is written:
//!
//! ```json
//! {"format":1, "features":1, "made_by":"...", "made_us":1, "kernel":"...", "machine":{...}, "shadow_only":false,
//!  "burst":{"groups":{"make":{"w":[8 numbers],"bursts":1,"mae":1.0,"mae_ewma":1.0}}},
//!  "move":{"mean":[16],"scale":[16],"w1":[10 times 16],"b1":[10],"w2":[10],"b2":0.0,"threshold":0.0,
//!          "holdout":{"n":1,"value":0.0,"gain":0.0,"low":0.0,"agreement":1.0}},
//!  "sha256":"of all before its comma"}
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::burst::FEATURES;
use crate::line::{Group, Programs};
use crate::mlp::{HIDDEN, Network, Standard};
use crate::moves::INPUTS;
use crate::origin::{self, Machine, Origin};
use crate::quantise::{Quantised, TooLarge};

/// The version of the format. Others are not read.
pub const FORMAT: u32 = 1;

/// What was learned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// Where.
    pub origin: Origin,
    /// Whether it lost and was kept all the same, not to be acted on before it wins.
    pub shadow_only: bool,
    /// What is remembered of programs, by name.
    pub programs: BTreeMap<String, Group>,
    /// The network for moves, if there is one.
    pub moves: Option<Moves>,
}

/// The network, and how it did.
#[derive(Clone, Debug, PartialEq)]
pub struct Moves {
    /// It.
    pub network: Network,
    /// Of which features.
    pub standard: Standard,
    /// Above which answer a task moves.
    pub threshold: f64,
    /// On decisions that it had not seen.
    pub holdout: Holdout,
}

/// How a network did on decisions that it had not seen, in milliseconds a decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holdout {
    /// How many.
    pub n: u64,
    /// What it is worth.
    pub value: f64,
    /// How much more than what was done before.
    pub gain: f64,
    /// Above which that is, as sure as [`crate::value::CONFIDENCE`].
    pub low: f64,
    /// How often integers say what floating point says.
    pub agreement: f64,
}

impl Model {
    /// What is remembered of programs, as a learner begins with it.
    #[must_use]
    pub fn to_programs(&self) -> Programs {
        let mut programs = Programs::default();
        for (name, group) in &self.programs {
            programs.insert(name, group.clone());
        }
        programs
    }
}

impl Moves {
    /// As the kernel has it.
    ///
    /// # Errors
    /// When a number is too large.
    pub fn quantised(&self) -> Result<Quantised, TooLarge> {
        Quantised::of(&self.network, &self.standard, self.threshold)
    }
}

/// As it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub(super) format: u32,
    pub(super) features: u32,
    made_by: String,
    made_us: u64,
    kernel: String,
    machine: Machine,
    #[serde(default)]
    shadow_only: bool,
    burst: WrittenBurst,
    #[serde(rename = "move", skip_serializing_if = "Option::is_none")]
    moves: Option<WrittenMoves>,
    /// Checked before this is read, and added behind it.
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "so that it is a key that may be there")]
    sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenBurst {
    groups: BTreeMap<String, WrittenGroup>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenGroup {
    w: [f64; FEATURES],
    bursts: u64,
    mae: f64,
    mae_ewma: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMoves {
    mean: [f64; INPUTS],
    scale: [f64; INPUTS],
    w1: [[f64; INPUTS]; HIDDEN],
    b1: [f64; HIDDEN],
    w2: [f64; HIDDEN],
    b2: f64,
    threshold: f64,
    holdout: Holdout,
}

impl From<&Model> for Written {
    fn from(model: &Model) -> Self {
        let origin = model.origin.clone();
        let groups = model.programs.iter().map(|(name, group)| {
            let written = WrittenGroup {
                w: group.line,
                bursts: group.bursts,
                mae: group.error,
                mae_ewma: group.average_error,
            };
            (name.clone(), written)
        });
        Self {
            format: FORMAT,
            features: origin::FEATURES,
            made_by: origin.made_by,
            made_us: origin.made_us,
            kernel: origin.kernel,
            machine: origin.machine,
            shadow_only: model.shadow_only,
            burst: WrittenBurst {
                groups: groups.collect(),
            },
            moves: model.moves.as_ref().map(|moves| WrittenMoves {
                mean: moves.standard.mean,
                scale: moves.standard.scale,
                w1: moves.network.w1,
                b1: moves.network.b1,
                w2: moves.network.w2,
                b2: moves.network.b2,
                threshold: moves.threshold,
                holdout: moves.holdout,
            }),
            sha256: String::new(),
        }
    }
}

impl From<Written> for Model {
    fn from(written: Written) -> Self {
        let groups = written.burst.groups.into_iter().map(|(name, written)| {
            let group = Group {
                line: written.w,
                bursts: written.bursts,
                error: written.mae,
                average_error: written.mae_ewma,
            };
            (name, group)
        });
        Self {
            origin: Origin {
                made_by: written.made_by,
                made_us: written.made_us,
                kernel: written.kernel,
                machine: written.machine,
            },
            shadow_only: written.shadow_only,
            programs: groups.collect(),
            moves: written.moves.map(|written| Moves {
                network: Network {
                    w1: written.w1,
                    b1: written.b1,
                    w2: written.w2,
                    b2: written.b2,
                },
                standard: Standard {
                    mean: written.mean,
                    scale: written.scale,
                },
                threshold: written.threshold,
                holdout: written.holdout,
            }),
        }
    }
}
