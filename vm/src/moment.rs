//! A time since the boot.

use std::time::Duration;

/// A time since the boot, which goes on while the machine sleeps.
pub type Moment = Duration;
