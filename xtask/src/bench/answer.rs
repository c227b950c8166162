//! What `auto-ext compare --json` says, as far as benchmarks tell it.

use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    pub(super) challengers: Vec<Challenger>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Challenger {
    pub(super) scheduler: String,
    pub(super) verdict: String,
    pub(super) pairs: u32,
    pub(super) effect: Option<Effect>,
}

/// Logarithms of ratios; above 0 the challenger is better.
#[derive(Debug, Deserialize)]
pub(super) struct Effect {
    pub(super) median: f64,
    pub(super) low: Option<f64>,
    pub(super) high: Option<f64>,
}

/// Of such a logarithm, with its sign.
pub(super) fn percent(log: f64) -> String {
    format!("{:+.1}", 100.0 * log.exp_m1())
}
