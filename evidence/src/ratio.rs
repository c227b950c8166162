//! What a pair of turns says: the logarithm of the ratio of what was measured in them.

use std::fmt;

/// Which of two numbers is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// The lower, as of times.
    Lower,
    /// The higher, as of what was done in a time.
    Higher,
}

/// The logarithm of how many times as good a challenger was as the incumbent; above 0 it was better. Finite.
///
/// Logarithms, as what a scheduler does to a time is a factor, and as then neither of the two is the one to divide by.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct LogRatio(f64);

/// A number of which there is no logarithm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NotPositive(pub f64);

impl LogRatio {
    /// Of what was measured in the two turns of a pair.
    ///
    /// # Errors
    /// When one of them is not a finite number above 0.
    pub fn of(challenger: f64, incumbent: f64, better: Better) -> Result<Self, NotPositive> {
        let ln = |number: f64| {
            let is_positive = number.is_finite() && number > 0.0;
            is_positive.then(|| number.ln()).ok_or(NotPositive(number))
        };
        let ratio = ln(challenger)? - ln(incumbent)?;
        Ok(Self(match better {
            Better::Higher => ratio,
            Better::Lower => -ratio,
        }))
    }

    /// Of a logarithm that was kept; `None` unless it is finite.
    #[must_use]
    pub fn of_logarithm(logarithm: f64) -> Option<Self> {
        logarithm.is_finite().then_some(Self(logarithm))
    }

    /// The logarithm.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for NotPositive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is no number above 0", self.0)
    }
}

impl std::error::Error for NotPositive {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn half_the_time_is_twice_as_good() {
        let half = LogRatio::of(1.0, 2.0, Better::Lower).unwrap();
        assert!((half.get() - 2f64.ln()).abs() < 1e-12);
        let half = LogRatio::of(1.0, 2.0, Better::Higher).unwrap();
        assert!((half.get() + 2f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn there_is_no_ratio_of_what_is_not_above_zero() {
        for number in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(LogRatio::of(number, 1.0, Better::Lower).is_err());
            assert!(LogRatio::of(1.0, number, Better::Lower).is_err());
        }
    }

    #[test]
    fn a_logarithm_that_was_kept_is_what_it_was() {
        let kept = LogRatio::of(3.0, 2.0, Better::Higher).unwrap();
        assert_eq!(LogRatio::of_logarithm(kept.get()), Some(kept));
        assert_eq!(LogRatio::of_logarithm(f64::NAN), None);
    }

    proptest! {
        #[test]
        fn every_ratio_is_finite_and_turns_around_with_its_turns(
            a in prop::num::f64::POSITIVE, b in prop::num::f64::POSITIVE
        ) {
            if let Ok(ratio) = LogRatio::of(a, b, Better::Higher) {
                prop_assert!(ratio.get().is_finite());
                let turned = LogRatio::of(b, a, Better::Higher).unwrap();
                prop_assert_eq!(turned.get(), -ratio.get());
            }
        }
    }
}
