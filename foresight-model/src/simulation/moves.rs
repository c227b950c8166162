//! Moves that are made up, of which it is known what is better.

use crate::fixed::ONE;
use crate::imitate;
use crate::moves::{AWAY, FAULTS, INPUTS, SAME_NODE, SRC_LOAD, flag};
use crate::samples::MoveSample;

/// So many, of which by chance one in ten stays. If it `matters`, what the rule with prices says is better, else all is the same.
#[must_use]
pub fn record_moves(count: u64, matters: bool, seed: u64) -> Vec<MoveSample> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let one = |number| {
        let mut x = [0; INPUTS];
        x[AWAY] = rng.i32(-8 * ONE..8 * ONE);
        x[FAULTS] = rng.i32(0..9 * ONE);
        x[SAME_NODE] = flag(rng.bool());
        x[SRC_LOAD] = rng.i32(-4 * ONE..5 * ONE);
        let moved = rng.u8(..10) > 0;
        let good = !matters || moved == imitate::moves(&x);
        MoveSample {
            at_ns: number,
            pid: 1,
            x,
            moved,
            propensity: if moved { 0.9 } else { 0.1 },
            waited_ns: if good { 100_000 } else { 2_000_000 } + rng.u64(..200_000),
            ran_ns: 0,
            predicted_ns: 0,
        }
    };
    (0..count).map(one).collect()
}
