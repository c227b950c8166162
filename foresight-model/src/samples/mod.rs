//! What `scx_foresight` collects and trains on: JSON lines, a header and then bursts and moves. Owns the format, its limits and
//! what is wrong with a line; [`crate::disk`] reads files.

mod format;
mod reader;

pub use format::{BurstSample, Header, MAX_LINE, MAX_SAMPLES, MoveSample, Sample, VERSION};
pub use reader::{Problem, Reader};
