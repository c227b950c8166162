//! What scx_foresight computes, without BPF: how the next burst of a task is predicted ([`burst`], [`mod@line`]) and how well
//! ([`score`]), in numbers that the kernel can work with ([`fixed`]); and whether a move from one LLC to another should be made
//! ([`moves`]): by a network ([`mlp`], [`quantise`]) that learns from a rule ([`imitate`]) or from what came of moves, as far as
//! that is worth it ([`value`]).
//!
//! What is collected ([`samples`]) and what is learned from it ([`train`], [`mod@file`], [`export`]) is kept in files ([`disk`]), with
//! where it comes from ([`origin`]).
//!
//! What is in integers is computed by BPF programs too, bit for bit: `tests/golden/` holds both sides to it.

pub mod burst;
pub mod disk;
pub mod export;
pub mod file;
pub mod fixed;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod imitate;
pub mod line;
pub mod mlp;
pub mod moves;
pub mod origin;
pub mod quantise;
pub mod samples;
pub mod score;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
pub mod train;
pub mod value;
