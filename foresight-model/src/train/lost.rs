//! How what was learned lost, and what it takes to win.

use crate::quantise::TooLarge;
use crate::value::MIN_SEEN;

/// How many bursts must be held out before anything is said.
pub const MIN_HELD_OUT: u64 = 100;
/// For which share integers must say what floating point says.
pub const MIN_AGREEMENT: f64 = 0.99;

/// How something lost.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Lost {
    /// There were too few bursts to say.
    #[error("only {0} bursts were held out, of which {MIN_HELD_OUT} say something")]
    FewBursts(u64),
    /// Lines are no better than averages.
    #[error("lines have a mean error of {line:.3}, the average alone {average:.3}")]
    Bursts {
        /// The mean error of lines.
        line: f64,
        /// That of the average.
        average: f64,
    },
    /// The network does not fit the kernel.
    #[error("the network does not fit: {0}")]
    TooLarge(TooLarge),
    /// In integers it says something else.
    #[error("integers say what floating point says in {:.2} % only, not {:.0} %", .0 * 100.0, MIN_AGREEMENT * 100.0)]
    Disagrees(f64),
    /// Of what it would do, too little was tried.
    #[error("where it would do something else, fewer than {MIN_SEEN} moves were tried by chance")]
    Untried,
    /// It may be no better than the incumbent.
    #[error("moves would gain {gain:+.4} ms each, but no more than {low:+.4} ms for sure")]
    Unproven {
        /// What it gains.
        gain: f64,
        /// What it gains at least.
        low: f64,
    },
}
