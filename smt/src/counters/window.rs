//! How fast a group ran in a window, and whether what was counted in it can tell. Pure.

use super::reading::Reading;

/// In less than this part of its time a group was not counted enough, as others were counted in its place.
const COUNTED: f64 = 0.2;
/// Fewer cycles say nothing.
const MIN_CYCLES: u64 = 1_000_000;

/// What speed is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metric {
    /// Instructions per cycle.
    #[default]
    Ipc,
    /// Instructions per nanosecond of CPU time, which the clock of the processor shows in.
    Rate,
}

/// Why a window says nothing of a group's speed.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum NoSpeed {
    /// It did not run.
    #[error("it hardly ran")]
    Idle,
    /// Others were counted in its place.
    #[error("counted only {:.0} % of its time", 100.0 * .0)]
    Starved(f64),
    /// The instructions stand still though it ran.
    #[error("its counter of instructions stands still")]
    Stuck,
    /// What was counted is less than it was.
    #[error("its counters went backwards")]
    Backwards,
}

/// How fast a group was between two readings.
///
/// # Errors
/// When they cannot tell.
pub fn speed(metric: Metric, before: &Reading, now: &Reading) -> Result<f64, NoSpeed> {
    let since = |now: u64, before: u64| now.checked_sub(before).ok_or(NoSpeed::Backwards);
    let cycles = since(now.cycles, before.cycles)?;
    let instructions = since(now.instructions, before.instructions)?;
    let enabled = since(now.enabled, before.enabled)?;
    let running = since(now.running, before.running)?;
    if enabled == 0 {
        return Err(NoSpeed::Idle);
    }
    let counted = running as f64 / enabled as f64;
    if counted < COUNTED {
        return Err(NoSpeed::Starved(counted));
    }
    if cycles < MIN_CYCLES {
        return Err(NoSpeed::Idle);
    }
    if instructions == 0 {
        return Err(NoSpeed::Stuck);
    }
    Ok(match metric {
        Metric::Ipc => instructions as f64 / cycles as f64,
        // What was counted, in the time in which it was.
        Metric::Rate => instructions as f64 / running as f64,
    })
}
