//! How much two jobs meet in a resource, from how much of it each uses.

use super::resource::Kind;

/// From 0, they do not meet, to 1, both want all of it; of two shares from 0 to 1. Whoever shares a queue meets once both
/// together want more than there is; in a cache or at a port even little use meets now and then.
#[must_use]
pub fn activation(kind: Kind, one: f64, other: f64) -> f64 {
    match kind {
        Kind::Sequential => (one + other - 1.0).max(0.0),
        Kind::Parallel | Kind::Port => one * other * (one + other) / 2.0,
    }
}
