//! What a machine did, window by window, as `auto-ext record` writes it and `auto-ext replay` reads it.
//!
//! A trace is lines of JSON: a [`Header`], then an [`Entry`] per window. `format` has these and their limits, `writer` and
//! `reader` make lines of them and back, `input` unpacks them, `recorder` measures, `recording` writes all that the daemon decides on, `recent` keeps what it measured last, and `replay`
//! decides. The writer puts nothing into a line
//! that is not true at its time, so that a trace that was cut off is true up to its last full line. The reader relies on
//! nothing, but ignores what a newer version may have added.

mod format;
mod input;
mod reader;
pub(crate) mod recent;
pub(crate) mod recorder;
pub(crate) mod recording;
pub mod replay;
#[cfg(test)]
mod tests;
mod writer;

pub use format::{Entry, Header, MAX_LINE, MAX_TEXT, OLDEST_VERSION, Told, VERSION};
pub use input::Input;
pub use reader::{Problem, Reader, TraceError};
pub use writer::Writer;
