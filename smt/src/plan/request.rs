//! What is to be planned, and what a plan is.

use super::scores::Scores;

/// Plans whose totals are nearer than this are the same one, as far as anybody can measure.
pub const SAME: f64 = 0.005;

/// What is to be planned.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// How many workers each group has.
    pub workers: &'a [u32],
    /// How many hardware threads each core has; at least two.
    pub threads: &'a [usize],
    /// What pairings are worth, by the places of groups in `workers`.
    pub scores: &'a Scores,
}

/// Which groups' workers are on each core, some hardware threads being left empty. The cores are those of the request, but
/// which one of those with as many threads is which means nothing yet: see [`super::place()`].
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The workers of each core, by the places of their groups; the empty ones come last.
    pub cores: Vec<Vec<Option<usize>>>,
    /// What all of it is worth.
    pub total: f64,
}
