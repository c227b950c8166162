//! Training by gradient descent (Adam: Kingma and Ba 2015). The same examples and seed make the same network.

use super::network::{Example, Network, PARAMETERS};
use crate::moves::INPUTS;

/// By which share the averages of gradients and of their squares forget.
const FORGET: [f64; 2] = [0.9, 0.999];
/// So that nothing is divided by zero.
const EPSILON: f64 = 1e-8;

/// How long and how fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// How often each example is looked at.
    pub rounds: usize,
    /// How many make a step.
    pub batch: usize,
    /// The size of the first step; it shrinks to zero.
    pub rate: f64,
    /// By how much weights shrink in steps of that size.
    pub decay: f64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            rounds: 40,
            batch: 64,
            rate: 0.01,
            decay: 0.01,
        }
    }
}

/// Trains a network. Features that are zero in all examples get no weight.
#[must_use]
pub fn train(examples: &[Example], schedule: &Schedule, seed: u64) -> Network {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut network = Network::by_chance(&mut rng);
    for feature in 0..INPUTS {
        if examples
            .iter()
            .all(|example| example.features[feature] == 0.0)
        {
            for weights in &mut network.w1 {
                weights[feature] = 0.0;
            }
        }
    }
    // The step's size does not depend on what a reward is counted in.
    let total: f64 = examples.iter().map(|example| example.weight).sum();
    if total <= 0.0 || !total.is_finite() {
        return Network::default();
    }
    #[expect(clippy::cast_precision_loss, reason = "so many examples are not held")]
    let mean = total / examples.len() as f64;
    let mut order: Vec<usize> = (0..examples.len()).collect();
    let mut averages = [[0.0; 2]; PARAMETERS];
    let batches = examples.len().div_ceil(schedule.batch.max(1));
    #[expect(clippy::cast_precision_loss, reason = "nor so many steps made")]
    let steps = (batches * schedule.rounds) as f64;
    let mut step = 0.0;
    for _ in 0..schedule.rounds {
        rng.shuffle(&mut order);
        for batch in order.chunks(schedule.batch.max(1)) {
            let gradient = network.gradient(batch.iter().map(|at| &examples[*at]));
            #[expect(clippy::cast_precision_loss, reason = "nor such batches")]
            let count = batch.len() as f64 * mean;
            let rate = schedule.rate * (1.0 - step / steps);
            step += 1.0;
            let bias = FORGET.map(|forget| 1.0 - forget.powf(step));
            let gradients = gradient.numbers().map(|slope| slope / count);
            for ((number, slope), average) in
                network.numbers_mut().zip(gradients).zip(&mut averages)
            {
                average[0] += (slope - average[0]) * (1.0 - FORGET[0]);
                average[1] += (slope * slope - average[1]) * (1.0 - FORGET[1]);
                let size = (average[1] / bias[1]).sqrt() + EPSILON;
                *number -= rate * (average[0] / bias[0] / size + schedule.decay * *number);
            }
        }
    }
    network
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moves if two features have the same sign, which no line can tell.
    fn examples(rng: &mut fastrand::Rng, count: usize) -> Vec<Example> {
        let example = |_| {
            let mut features: [f64; INPUTS] = std::array::from_fn(|_| rng.f64() * 2.0 - 1.0);
            features[7] = 0.0;
            Example {
                features,
                moves: features[0] * features[1] > 0.0,
                weight: 1.0,
            }
        };
        (0..count).map(example).collect()
    }

    #[test]
    fn it_learns_what_no_line_can_tell() {
        let mut rng = fastrand::Rng::with_seed(21);
        let (known, held_out) = (examples(&mut rng, 3000), examples(&mut rng, 500));
        let network = train(&known, &Schedule::default(), 1);
        let right = held_out.iter().filter(|example| {
            let moves = network.logit(&example.features) > 0.0;
            moves == example.moves
        });
        assert!(right.count() >= 450);
        assert!(network.w1.iter().all(|weights| weights[7] == 0.0));
    }

    #[test]
    fn the_same_seed_makes_the_same_network_and_another_another() {
        let known = examples(&mut fastrand::Rng::with_seed(22), 100);
        let schedule = Schedule {
            rounds: 3,
            ..Schedule::default()
        };
        let network = train(&known, &schedule, 1);
        assert_eq!(train(&known, &schedule, 1), network);
        assert_ne!(train(&known, &schedule, 2), network);
    }

    #[test]
    fn of_nothing_nothing_is_learned() {
        assert_eq!(train(&[], &Schedule::default(), 1), Network::default());
        let mut known = examples(&mut fastrand::Rng::with_seed(23), 10);
        known.iter_mut().for_each(|example| example.weight = 0.0);
        assert_eq!(train(&known, &Schedule::default(), 1), Network::default());
    }
}
