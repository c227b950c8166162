//! Keeps the ports of integer and of floating-point units busy: six chains that do not wait for each other.

use std::hint::black_box;

use super::load::Load;

const CHAINS: usize = 6;
/// How often all chains go on, for about a millisecond.
const ROUNDS: u32 = 500_000;

/// Integer units. The rotations keep the compiler from adding everything up beforehand, or from doing several at once.
pub(super) fn integers() -> Load {
    let mut chains: [u64; CHAINS] = black_box([1, 2, 3, 4, 5, 6]);
    Box::new(move || {
        let mut all = chains;
        let add = black_box(0x9e37_79b9_7f4a_7c15);
        for _ in 0..ROUNDS {
            for chain in &mut all {
                *chain = chain.rotate_left(7).wrapping_add(add);
            }
        }
        chains = black_box(all);
    })
}

/// Floating-point units. Each chain stays near the same number: extreme ones take longer.
pub(super) fn floats() -> Load {
    let mut chains: [f64; CHAINS] = black_box([1.0, 1.1, 1.2, 1.3, 1.4, 1.5]);
    Box::new(move || {
        let mut all = chains;
        let (factor, add) = black_box((0.5, 0.75));
        for _ in 0..ROUNDS / 2 {
            for chain in &mut all {
                *chain = *chain * factor + add;
            }
        }
        chains = black_box(all);
    })
}
