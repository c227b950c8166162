//! The first plan, which others are made of: the best pairs first, as far as there are workers for them.

use super::request::Request;

/// A pair that could share a core, with what it is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pair {
    pub(super) slots: [usize; 2],
    pub(super) score: f64,
}

/// All pairs that there are workers and empty threads for, the best first.
pub(super) fn starts(request: Request<'_>) -> Vec<Pair> {
    let left = slots(request);
    let mut pairs = Vec::new();
    for (one, count) in left.iter().enumerate() {
        for (other, other_count) in left.iter().enumerate().skip(one) {
            let enough = if one == other {
                *count > 1
            } else {
                *count > 0 && *other_count > 0
            };
            if enough {
                pairs.push(Pair {
                    slots: [one, other],
                    score: request.scores.pair(one, other),
                });
            }
        }
    }
    pairs.sort_by(|one, other| other.score.total_cmp(&one.score));
    pairs
}

/// Cores of two threads, filled from the pair at `first` on and then from the beginning, with each pair as often as there are
/// workers for it.
pub(super) fn start(request: Request<'_>, pairs: &[Pair], first: usize) -> Vec<Vec<usize>> {
    let mut left = slots(request);
    let mut cores = Vec::with_capacity(request.threads.len());
    for pair in pairs[first..].iter().chain(&pairs[..first]) {
        let [one, other] = pair.slots;
        let times = if one == other {
            left[one] / 2
        } else {
            left[one].min(left[other])
        };
        left[one] -= times;
        left[other] -= times;
        for _ in 0..times {
            cores.push(vec![one, other]);
        }
    }
    cores
}

/// Cores of any number of threads, filled with one worker after the other, each where it adds most.
pub(super) fn fill(request: Request<'_>) -> Vec<Vec<usize>> {
    let scores = request.scores;
    let empty = scores.empty();
    let mut cores: Vec<Vec<usize>> = request
        .threads
        .iter()
        .map(|threads| vec![empty; *threads])
        .collect();
    let left = slots(request);
    for (group, count) in left.iter().enumerate().filter(|(group, _)| *group != empty) {
        for _ in 0..*count {
            let gain = |core: &Vec<usize>| {
                let place = core.iter().position(|slot| *slot == empty)?;
                let mut with = core.clone();
                with[place] = group;
                Some((place, scores.core(&with) - scores.core(core)))
            };
            let gains = cores.iter().enumerate();
            let gains = gains.filter_map(|(at, core)| Some((at, gain(core)?)));
            let best = gains.max_by(|(_, one), (_, other)| one.1.total_cmp(&other.1));
            if let Some((at, (place, _))) = best {
                cores[at][place] = group;
            }
        }
    }
    cores
}

/// How many workers each group has and, last, how many hardware threads stay empty.
fn slots(request: Request<'_>) -> Vec<usize> {
    let cpus: usize = request.threads.iter().sum();
    let workers = request.workers.iter().map(|count| *count as usize);
    let mut slots: Vec<usize> = workers.collect();
    slots.push(cpus.saturating_sub(slots.iter().sum()));
    slots
}
