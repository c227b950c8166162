//! Makes plans better: exchanges between two cores until none helps, then among three.

use super::scores::Scores;

/// On more cores than this, exchanges among three are not tried: they are too many.
const MAX_OF_THREE: usize = 64;
/// What an exchange has to gain at least, so that rounding is no gain.
const GAIN: f64 = 1e-9;

/// Makes cores better until no exchange does, of two cores and, on cores of two threads, of three. It ends, as each makes them
/// better and there are only so many plans.
pub(super) fn improve(cores: &mut [Vec<usize>], scores: &Scores) {
    let of_three = cores.len() <= MAX_OF_THREE && cores.iter().all(|core| core.len() == 2);
    loop {
        while between_two(cores, scores) {}
        if !of_three || !among_three(cores, scores) {
            return;
        }
    }
}

/// One pass over all pairs of cores; whether it found anything.
fn between_two(cores: &mut [Vec<usize>], scores: &Scores) -> bool {
    let mut found = false;
    for first in 0..cores.len() {
        for second in first + 1..cores.len() {
            let (head, tail) = cores.split_at_mut(second);
            found |= exchange(&mut head[first], &mut tail[0], scores);
        }
    }
    found
}

/// Exchanges one worker of a core with one of another, the two that gain most; whether any do.
fn exchange(one: &mut [usize], other: &mut [usize], scores: &Scores) -> bool {
    let before = scores.core(one) + scores.core(other);
    let mut best = (GAIN, None);
    for mine in 0..one.len() {
        // A core of two is the same, whichever of its threads is which.
        let theirs = if one.len() == 2 && other.len() == 2 && mine == 1 {
            0..0
        } else {
            0..other.len()
        };
        for theirs in theirs {
            if one[mine] == other[theirs] {
                continue;
            }
            std::mem::swap(&mut one[mine], &mut other[theirs]);
            let gain = scores.core(one) + scores.core(other) - before;
            std::mem::swap(&mut one[mine], &mut other[theirs]);
            if gain > best.0 {
                best = (gain, Some((mine, theirs)));
            }
        }
    }
    let Some((mine, theirs)) = best.1 else {
        return false;
    };
    std::mem::swap(&mut one[mine], &mut other[theirs]);
    true
}

/// One pass over all triples of cores of two threads; whether it found anything.
fn among_three(cores: &mut [Vec<usize>], scores: &Scores) -> bool {
    let mut pairs: Vec<[usize; 2]> = Vec::with_capacity(cores.len());
    for core in &*cores {
        match core[..] {
            [one, other] => pairs.push([one, other]),
            _ => return false,
        }
    }
    let mut found = false;
    for first in 0..pairs.len() {
        for second in first + 1..pairs.len() {
            for third in second + 1..pairs.len() {
                let three = [pairs[first], pairs[second], pairs[third]];
                if let Some([one, other, another]) = regroup(three, scores) {
                    (pairs[first], pairs[second], pairs[third]) = (one, other, another);
                    found = true;
                }
            }
        }
    }
    for (core, pair) in cores.iter_mut().zip(pairs) {
        core.copy_from_slice(&pair);
    }
    found
}

/// The best of the eight ways in which none of three pairs stays together, if it is better.
fn regroup([one, two, three]: [[usize; 2]; 3], scores: &Scores) -> Option<[[usize; 2]; 3]> {
    let worth = |pairs: [[usize; 2]; 3]| -> f64 {
        pairs
            .iter()
            .map(|[one, other]| scores.pair(*one, *other))
            .sum()
    };
    let mut best = None;
    let mut most = worth([one, two, three]) + GAIN;
    // The first of the first pair goes to one of the four others, the second to one of the pair that is left whole.
    for (near, far) in [(two, three), (three, two)] {
        for [with, rest] in [near, [near[1], near[0]]] {
            for [second, last] in [far, [far[1], far[0]]] {
                let ways = [[one[0], with], [one[1], second], [rest, last]];
                let worth = worth(ways);
                if worth > most {
                    (most, best) = (worth, Some(ways));
                }
            }
        }
    }
    best
}
