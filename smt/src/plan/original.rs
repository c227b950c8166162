//! The original's way to plan, of the same first plan and the same pairs: two passes of exchanges, of which it leaves out those
//! between two pairs whose scores add up to a number at which it found nothing to exchange before.

use super::greedy::{Pair, start};
use super::request::Request;
use super::scores::Scores;

/// From how many pairs it begins, and how many different plans it keeps.
const TRIES: usize = 100;
const CANDIDATES: usize = 3;
/// How often it goes over all pairs.
const PASSES: usize = 2;

/// A plan, and at which attempt it was found.
pub(super) struct Candidate {
    pub(super) attempt: usize,
    pub(super) cores: Vec<Vec<usize>>,
    pub(super) total: f64,
}

/// What it found with pairs in this order, and how many attempts it made.
pub(super) fn candidates(request: Request<'_>, pairs: &[Pair]) -> (Vec<Candidate>, usize) {
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut attempt = 0;
    while attempt < TRIES && candidates.len() < CANDIDATES && !pairs.is_empty() {
        let mut cores = start(request, pairs, attempt % pairs.len());
        attempt += 1;
        exchange(&mut cores, request.scores);
        let total = request.scores.total(&cores);
        let is_new = |other: &Candidate| (other.total - total).abs() > 1e-9;
        if candidates.iter().all(is_new) {
            candidates.push(Candidate {
                attempt,
                cores,
                total,
            });
        }
    }
    (candidates, attempt)
}

fn exchange(cores: &mut [Vec<usize>], scores: &Scores) {
    let mut fruitless: Vec<u64> = Vec::new();
    for _ in 0..PASSES {
        for first in 0..cores.len() {
            for second in first + 1..cores.len() {
                let [a, b] = [cores[first][0], cores[first][1]];
                let [c, d] = [cores[second][0], cores[second][1]];
                let now = scores.pair(a, b) + scores.pair(c, d);
                if fruitless.contains(&now.to_bits()) {
                    continue;
                }
                let crossed = scores.pair(a, c) + scores.pair(b, d);
                let turned = scores.pair(a, d) + scores.pair(b, c);
                if crossed > now && crossed >= turned {
                    (cores[first], cores[second]) = (vec![a, c], vec![b, d]);
                } else if turned > now {
                    (cores[first], cores[second]) = (vec![a, d], vec![b, c]);
                } else {
                    fruitless.push(now.to_bits());
                }
            }
        }
    }
}
