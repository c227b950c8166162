//! The network, its loss and the loss's gradient.

use crate::moves::INPUTS;

/// How many hidden units there are.
pub const HIDDEN: usize = 10;
/// How many numbers a network is made of.
pub const PARAMETERS: usize = HIDDEN * INPUTS + HIDDEN + HIDDEN + 1;

/// A network, of features with mean 0 and variance 1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Network {
    /// From features to units.
    pub w1: [[f64; INPUTS]; HIDDEN],
    /// What is added there.
    pub b1: [f64; HIDDEN],
    /// From units to the answer.
    pub w2: [f64; HIDDEN],
    /// What is added there.
    pub b2: f64,
}

/// What a network learns from.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The features, with mean 0 and variance 1.
    pub features: [f64; INPUTS],
    /// The right answer.
    pub moves: bool,
    /// How much it counts; not below 0.
    pub weight: f64,
}

impl Network {
    /// By chance, as is proven for rectified units (He et al. 2015).
    #[must_use]
    pub fn by_chance(rng: &mut fastrand::Rng) -> Self {
        let mut network = Self::default();
        #[expect(clippy::cast_precision_loss, reason = "16 and 10")]
        let spread = [INPUTS, HIDDEN].map(|inputs| (2.0 / inputs as f64).sqrt());
        for weight in network.w1.iter_mut().flatten() {
            *weight = normal(rng) * spread[0];
        }
        for weight in &mut network.w2 {
            *weight = normal(rng) * spread[1];
        }
        network
    }

    /// The logarithm of the odds that the task should move.
    #[must_use]
    pub fn logit(&self, features: &[f64; INPUTS]) -> f64 {
        let units = self.units(features);
        let products = units
            .iter()
            .zip(&self.w2)
            .map(|(unit, w)| unit.max(0.0) * w);
        products.sum::<f64>() + self.b2
    }

    fn units(&self, features: &[f64; INPUTS]) -> [f64; HIDDEN] {
        std::array::from_fn(|unit| {
            let products = self.w1[unit].iter().zip(features).map(|(w, x)| w * x);
            products.sum::<f64>() + self.b1[unit]
        })
    }

    /// The sum of the examples' losses (cross entropy).
    #[must_use]
    pub fn loss(&self, examples: &[Example]) -> f64 {
        let loss = |example: &Example| {
            let logit = self.logit(&example.features);
            let right = if example.moves { logit } else { -logit };
            // ln(1 + e^-x), which does not overflow.
            example.weight * ((-right.abs()).exp().ln_1p() + (-right).max(0.0))
        };
        examples.iter().map(loss).sum()
    }

    /// By how much that grows with each number.
    #[must_use]
    pub fn gradient<'e>(&self, examples: impl IntoIterator<Item = &'e Example>) -> Self {
        let mut gradient = Self::default();
        for example in examples {
            let units = self.units(&example.features);
            let outputs = units.iter().zip(&self.w2).map(|(u, w)| u.max(0.0) * w);
            let logit = outputs.sum::<f64>() + self.b2;
            let probability = 1.0 / (1.0 + (-logit).exp());
            let label = if example.moves { 1.0 } else { 0.0 };
            let error = example.weight * (probability - label);
            gradient.b2 += error;
            for (unit, value) in units.iter().enumerate().filter(|(_, value)| **value > 0.0) {
                gradient.w2[unit] += error * value;
                let back = error * self.w2[unit];
                gradient.b1[unit] += back;
                for (sum, x) in gradient.w1[unit].iter_mut().zip(&example.features) {
                    *sum += back * x;
                }
            }
        }
        gradient
    }

    /// All of its numbers, in order.
    pub fn numbers_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        let weights = self.w1.iter_mut().flatten();
        weights
            .chain(&mut self.b1)
            .chain(&mut self.w2)
            .chain(std::iter::once(&mut self.b2))
    }

    /// The same, to read.
    pub fn numbers(&self) -> impl Iterator<Item = &f64> {
        let weights = self.w1.iter().flatten();
        weights
            .chain(&self.b1)
            .chain(&self.w2)
            .chain(std::iter::once(&self.b2))
    }
}

/// From the normal distribution (Box and Muller).
fn normal(rng: &mut fastrand::Rng) -> f64 {
    // Above 0, of which there is a logarithm.
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples(rng: &mut fastrand::Rng, count: usize) -> Vec<Example> {
        let example = |_| Example {
            features: std::array::from_fn(|_| normal(rng)),
            moves: rng.bool(),
            weight: rng.f64() * 3.0,
        };
        (0..count).map(example).collect()
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let mut rng = fastrand::Rng::with_seed(11);
        for _ in 0..5 {
            let network = Network::by_chance(&mut rng);
            let examples = examples(&mut rng, 20);
            let gradient = network.gradient(&examples);
            assert_eq!(gradient.numbers().count(), PARAMETERS);
            for (at, slope) in gradient.numbers().enumerate() {
                let moved = |by: f64| {
                    let mut network = network.clone();
                    *network.numbers_mut().nth(at).unwrap() += by;
                    network.loss(&examples)
                };
                let expected = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                let difference = (slope - expected).abs();
                assert!(
                    difference < 1e-4 * (1.0 + slope.abs()),
                    "{at}: {slope} {expected}"
                );
            }
        }
    }

    #[test]
    fn a_loss_stays_finite() {
        let network = Network {
            b2: 1e6,
            ..Network::default()
        };
        let wrong = Example {
            features: [0.0; INPUTS],
            moves: false,
            weight: 1.0,
        };
        assert!((network.loss(&[wrong]) - 1e6).abs() < 1.0);
    }
}
