//! Tasks that are made up, of which it is known how far their bursts can be predicted, with learner and gate as they are: what the
//! kernel does between is [`crate::burst::Task`]. The same seed leads to the same run.

mod moves;
mod record;
#[cfg(test)]
mod run;
mod source;

pub use moves::record_moves;
pub use record::record;
pub use source::Kind;

#[cfg(test)]
mod tests;
