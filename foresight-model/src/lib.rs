//! What scx_foresight computes, without BPF: how the next burst of a task is predicted ([`burst`], [`line`]), in numbers that the
//! kernel can work with ([`fixed`]), and whether a move from one LLC to another should be made ([`moves`]): by a network ([`mlp`],
//! [`quantise`]) that learns from a rule ([`imitate`]) or from what came of moves, as far as that is worth it ([`value`]).
//!
//! What is in integers is computed by BPF programs too, bit for bit: `tests/golden/` holds both sides to it.

pub mod burst;
pub mod fixed;
pub mod imitate;
pub mod line;
pub mod mlp;
pub mod moves;
pub mod quantise;
#[cfg(test)]
mod simulation;
pub mod value;
