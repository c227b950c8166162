//! Tasks that are made up, of which it is known how far their bursts can be predicted, with learner and gate as they are: what the
//! kernel does between is [`crate::burst::Task`]. The same seed leads to the same run.

mod run;
mod source;

#[cfg(test)]
mod tests;
