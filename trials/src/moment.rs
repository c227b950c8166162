//! The time by which trials go on.

use std::time::Duration;

/// A moment: the time since some fixed one, as the decisions count it. What is kept over restarts is in times since 1970.
pub type Moment = Duration;
