//! Normal equations of least squares with a ridge, solved by Cholesky's decomposition.

/// How much weight the prior has, in samples of features of size one.
pub const RIDGE: f64 = 10.0;

/// The sums of a fit with `N` features: of their products, and of each with what is to be predicted.
#[derive(Clone, Debug, PartialEq)]
pub struct Equations<const N: usize> {
    /// The lower triangle.
    products: [[f64; N]; N],
    targets: [f64; N],
}

impl<const N: usize> Default for Equations<N> {
    fn default() -> Self {
        Self {
            products: [[0.0; N]; N],
            targets: [0.0; N],
        }
    }
}

impl<const N: usize> Equations<N> {
    /// Adds a sample.
    pub fn add(&mut self, features: &[f64; N], target: f64) {
        self.add_weighted(features, target, 1.0);
    }

    /// Adds a sample that counts as so many.
    pub fn add_weighted(&mut self, features: &[f64; N], target: f64, weight: f64) {
        for (row, x) in features.iter().enumerate() {
            for (sum, other) in self.products[row][..=row].iter_mut().zip(features) {
                *sum += weight * x * other;
            }
            self.targets[row] += weight * x * target;
        }
    }

    /// Adds all that `others` have.
    pub fn add_all(&mut self, others: &Self) {
        for (row, other) in self.products.iter_mut().zip(&others.products) {
            for (sum, more) in row.iter_mut().zip(other) {
                *sum += more;
            }
        }
        for (sum, more) in self.targets.iter_mut().zip(&others.targets) {
            *sum += more;
        }
    }

    /// Has all samples count for this share of what they did.
    pub fn keep(&mut self, share: f64) {
        let sums = self.products.iter_mut().flatten();
        sums.chain(&mut self.targets).for_each(|sum| *sum *= share);
    }

    /// The weights with the least squared errors, and not further from `prior` than samples warrant: the more `ridge`, the
    /// nearer. `None` if there are none, as of numbers that are none.
    #[must_use]
    pub fn solve(&self, ridge: f64, prior: &[f64; N]) -> Option<[f64; N]> {
        let root = self.root(ridge)?;
        let mut solution = [0.0; N];
        for row in 0..N {
            let target = self.targets[row] + ridge * prior[row];
            solution[row] = (target - dot(&root[row][..row], &solution)) / root[row][row];
        }
        for row in (0..N).rev() {
            let known = (row + 1..N).map(|below| root[below][row] * solution[below]);
            solution[row] = (solution[row] - known.sum::<f64>()) / root[row][row];
        }
        solution
            .iter()
            .all(|weight| weight.is_finite())
            .then_some(solution)
    }

    /// The lower triangle that, times its transpose, is the products with the ridge.
    fn root(&self, ridge: f64) -> Option<[[f64; N]; N]> {
        let mut root = [[0.0; N]; N];
        for row in 0..N {
            for column in 0..row {
                let known = dot(&root[row][..column], &root[column]);
                root[row][column] = (self.products[row][column] - known) / root[column][column];
            }
            let square = self.products[row][row] + ridge - dot(&root[row][..row], &root[row]);
            // Nor is what is no number.
            if square.is_nan() || square <= 0.0 {
                return None;
            }
            root[row][row] = square.sqrt();
        }
        Some(root)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLANTED: [f64; 8] = [0.5, -1.25, 0.75, 0.0, 2.0, -0.125, 3.0, -0.0625];

    fn samples(count: usize) -> Equations<8> {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut equations = Equations::default();
        for _ in 0..count {
            let mut features = [1.0; 8];
            features[1..].fill_with(|| rng.f64() * 8.0 - 4.0);
            equations.add(&features, dot(&features, &PLANTED));
        }
        equations
    }

    #[track_caller]
    fn assert_close(weights: &[f64; 8], within: f64) {
        for (weight, planted) in weights.iter().zip(PLANTED) {
            assert!((weight - planted).abs() < within, "{weights:?}");
        }
    }

    #[test]
    fn planted_weights_are_found() {
        assert_close(&samples(200).solve(1e-9, &[0.0; 8]).unwrap(), 1e-6);
        // With a ridge, as far as there are samples to outweigh it.
        assert_close(&samples(100).solve(RIDGE, &[0.0; 8]).unwrap(), 0.5);
        assert_close(&samples(100_000).solve(RIDGE, &[0.0; 8]).unwrap(), 1e-3);
    }

    #[test]
    fn without_samples_the_prior_is_the_answer_and_the_right_prior_stays() {
        let none = Equations::default();
        assert_close(&none.solve(RIDGE, &PLANTED).unwrap(), 1e-9);
        assert_close(&samples(20).solve(RIDGE, &PLANTED).unwrap(), 1e-6);
    }

    #[test]
    fn what_is_no_number_has_no_answer() {
        let mut equations = samples(20);
        equations.add(&[f64::NAN; 8], 1.0);
        assert_eq!(equations.solve(RIDGE, &[0.0; 8]), None);
        assert_eq!(Equations::<8>::default().solve(0.0, &[0.0; 8]), None);
    }

    proptest! {
        #[test]
        fn no_other_weights_do_better(
            samples in prop::collection::vec((prop::array::uniform3(-16.0..16.0), -6.0..6.0), 1..50),
            step in prop::array::uniform3(-0.1..0.1), prior in prop::array::uniform3(-1.0..1.0),
        ) {
            let mut equations = Equations::default();
            for (features, target) in &samples {
                equations.add(features, *target);
            }
            let loss = |weights: &[f64; 3]| {
                let errors = samples.iter().map(|(x, y)| (dot(x, weights) - y).powi(2));
                let far = weights.iter().zip(&prior).map(|(w, p)| RIDGE * (w - p).powi(2));
                errors.sum::<f64>() + far.sum::<f64>()
            };
            let best = equations.solve(RIDGE, &prior).unwrap();
            let other = std::array::from_fn(|i| best[i] + step[i]);
            prop_assert!(loss(&best) <= loss(&other) + 1e-6);
        }
    }
}
