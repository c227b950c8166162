//! The network as the kernel has it: integers, with the features' means and deviations folded in.

use crate::fixed::{MAX_WEIGHT, dot, from_q16, to_q16};
use crate::mlp::{HIDDEN, Network, Standard};
use crate::moves::INPUTS;

/// What may be added to a unit or to the answer, either side of zero.
pub const MAX_BIAS: i32 = 16384;
/// At what a unit stops, in Q16.16.
pub const MAX_UNIT: i64 = 1 << 30;

/// A network of integers in Q16.16, of features as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quantised {
    /// From features to units.
    pub w1: [[i32; INPUTS]; HIDDEN],
    /// What is added there.
    pub b1: [i32; HIDDEN],
    /// From units to the answer.
    pub w2: [i32; HIDDEN],
    /// What is added there.
    pub b2: i32,
    /// Above which answer the task moves.
    pub threshold: i32,
}

/// A number that is too large for the kernel, or none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("`{key}` is {value}, not between -{most} and {most}, with means and deviations folded in")]
pub struct TooLarge {
    /// Which, as model files call it.
    pub key: String,
    /// What it is.
    pub value: f64,
    /// What it may be.
    pub most: i32,
}

impl Quantised {
    /// Of this network, for features of these means and deviations.
    ///
    /// # Errors
    /// When a number is too large.
    pub fn of(network: &Network, standard: &Standard, threshold: f64) -> Result<Self, TooLarge> {
        let mut quantised = Self::default();
        for unit in 0..HIDDEN {
            let mut bias = network.b1[unit];
            for input in 0..INPUTS {
                let weight = network.w1[unit][input] / standard.scale[input];
                bias -= weight * standard.mean[input];
                quantised.w1[unit][input] =
                    number(weight, MAX_WEIGHT, || format!("w1[{unit}][{input}]"))?;
            }
            quantised.b1[unit] = number(bias, MAX_BIAS, || format!("b1[{unit}]"))?;
            quantised.w2[unit] = number(network.w2[unit], MAX_WEIGHT, || format!("w2[{unit}]"))?;
        }
        quantised.b2 = number(network.b2, MAX_BIAS, || "b2".to_owned())?;
        quantised.threshold = number(threshold, MAX_BIAS, || "threshold".to_owned())?;
        Ok(quantised)
    }

    /// The answer, in Q16.16. With features within [`crate::fixed::MAX_FEATURE`], nothing overflows.
    #[must_use]
    pub fn logit(&self, features: &[i32; INPUTS]) -> i64 {
        let mut sum = i64::from(self.b2) << 16;
        for ((weights, bias), weight) in self.w1.iter().zip(&self.b1).zip(&self.w2) {
            let unit = ((i64::from(*bias) << 16) + dot(weights, features)) >> 16;
            sum += i64::from(*weight) * unit.clamp(0, MAX_UNIT);
        }
        sum >> 16
    }

    /// Whether the task moves.
    #[must_use]
    pub fn moves(&self, features: &[i32; INPUTS]) -> bool {
        self.logit(features) > i64::from(self.threshold)
    }
}

/// For which share of these features it says what the network says; 1 of none.
#[must_use]
pub fn agreement(
    quantised: &Quantised,
    network: &Network,
    standard: &Standard,
    all: &[[i32; INPUTS]],
) -> f64 {
    let agrees = |features: &&[i32; INPUTS]| {
        let exact = features.map(from_q16);
        let moves = network.logit(&standard.apply(&exact)) > from_q16(quantised.threshold);
        moves == quantised.moves(features)
    };
    #[expect(clippy::cast_precision_loss, reason = "so many are not held")]
    let share = all.iter().filter(agrees).count() as f64 / all.len() as f64;
    if all.is_empty() { 1.0 } else { share }
}

fn number(value: f64, most: i32, key: impl Fn() -> String) -> Result<i32, TooLarge> {
    if value.abs() <= f64::from(most) {
        Ok(to_q16(value))
    } else {
        Err(TooLarge {
            key: key(),
            value,
            most,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixed::{MAX_FEATURE, ONE};

    #[test]
    fn integers_say_what_floating_point_says() {
        let mut rng = fastrand::Rng::with_seed(31);
        let feature = |rng: &mut fastrand::Rng| rng.i32(-MAX_FEATURE * ONE..=MAX_FEATURE * ONE);
        for _ in 0..20 {
            let all: Vec<[i32; INPUTS]> = (0..500)
                .map(|_| std::array::from_fn(|_| feature(&mut rng)))
                .collect();
            let exact: Vec<_> = all.iter().map(|x| x.map(from_q16)).collect();
            let standard = Standard::of(&exact);
            let network = Network::by_chance(&mut rng);
            let quantised = Quantised::of(&network, &standard, 0.1).unwrap();
            assert!(agreement(&quantised, &network, &standard, &all) >= 0.99);
            // Another network does not agree.
            let other = Network::by_chance(&mut rng);
            assert!(agreement(&quantised, &other, &standard, &all) < 0.9);
        }
    }

    #[test]
    fn what_is_too_large_is_refused_by_its_name() {
        let standard = Standard::of(&[]);
        let mut network = Network::default();
        network.w1[3][2] = 64.5;
        let error = Quantised::of(&network, &standard, 0.0).unwrap_err();
        assert_eq!(error.key, "w1[3][2]");
        network.w1[3][2] = f64::NAN;
        assert!(Quantised::of(&network, &standard, 0.0).is_err());
        let mut narrow = Standard::of(&[]);
        narrow.scale[2] = 0.001;
        network.w1[3][2] = 1.0;
        let error = Quantised::of(&network, &narrow, 0.0).unwrap_err();
        assert_eq!(error.key, "w1[3][2]");
    }

    proptest! {
        #[test]
        fn nothing_overflows(
            w in prop::sample::select(vec![-1, 0, 1]), w2 in prop::sample::select(vec![-1, 1]),
            x in prop::array::uniform16(prop::sample::select(vec![-MAX_FEATURE * ONE, 0, MAX_FEATURE * ONE])),
            bias in -MAX_BIAS..=MAX_BIAS,
        ) {
            // Overflows panic in tests.
            let network = Quantised {
                w1: [[w * MAX_WEIGHT * ONE; INPUTS]; HIDDEN],
                b1: [bias * ONE; HIDDEN],
                w2: [w2 * MAX_WEIGHT * ONE; HIDDEN],
                b2: bias * ONE,
                threshold: 0,
            };
            prop_assert!(network.logit(&x).abs() < 1 << 47);
        }
    }
}
