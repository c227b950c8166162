//! The time by which decisions are made.

use std::time::Duration;

/// A moment: the time since some fixed one, for instance the start of the daemon or of a trace. It goes on
/// while the machine sleeps; what counts only while it is awake is moved on by [`Event::Slept`](crate::Event::Slept).
pub type Moment = Duration;
