//! What makes features' mean 0 and their variance 1, for training.

use crate::moves::INPUTS;

/// A feature that varies less is taken for one that does not.
const LEAST_DEVIATION: f64 = 1e-3;

/// The features' means and standard deviations.
#[derive(Clone, Debug, PartialEq)]
pub struct Standard {
    /// The means.
    pub mean: [f64; INPUTS],
    /// The standard deviations; 1 of what does not vary.
    pub scale: [f64; INPUTS],
}

impl Standard {
    /// Of these; of none, means 0 and deviations 1.
    #[must_use]
    pub fn of(all: &[[f64; INPUTS]]) -> Self {
        #[expect(
            clippy::cast_precision_loss,
            reason = "no such numbers of samples are held"
        )]
        let count = all.len().max(1) as f64;
        // Not -0, of nothing.
        let mean = std::array::from_fn(|i| all.iter().map(|x| x[i]).sum::<f64>() / count + 0.0);
        let scale = std::array::from_fn(|i: usize| {
            let squares = all.iter().map(|x| (x[i] - mean[i]).powi(2));
            let deviation = (squares.sum::<f64>() / count).sqrt();
            if deviation < LEAST_DEVIATION {
                1.0
            } else {
                deviation
            }
        });
        Self { mean, scale }
    }

    /// These features with mean 0 and variance 1.
    #[must_use]
    pub fn apply(&self, features: &[f64; INPUTS]) -> [f64; INPUTS] {
        std::array::from_fn(|i| (features[i] - self.mean[i]) / self.scale[i])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_vary_is_zero_and_the_rest_has_variance_one() {
        let mut all = vec![[3.0; INPUTS]; 4];
        for (x, value) in all.iter_mut().zip([1.0, 5.0, 1.0, 5.0]) {
            x[0] = value;
        }
        let standard = Standard::of(&all);
        let features = standard.apply(&all[1]);
        assert!((features[0] - 1.0).abs() < 1e-12 && features[1..].iter().all(|x| *x == 0.0));
        assert_eq!(Standard::of(&[]).apply(&[1.0; INPUTS]), [1.0; INPUTS]);
    }
}
