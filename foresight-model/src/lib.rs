//! What scx_foresight computes, without BPF: how the next burst of a task is predicted ([`burst`], [`line`]), in numbers that the
//! kernel can work with ([`fixed`]).
//!
//! What is in integers is computed by BPF programs too, bit for bit: `tests/golden/` holds both sides to it.

pub mod burst;
pub mod fixed;
pub mod line;
