//! How far two turns of the same scheduler differ, and whether a difference worth having would show beside that.

use auto_ext_evidence::Design;

use crate::record::Record;

/// So many pairs without a switch tell.
pub(crate) const SHAM_PAIRS: usize = 3;
/// In so many pairs a challenger has to be found that is better by twice what counts, or by this if it is more.
const FOUND_IN: f64 = 20.0;
const WORTH_FINDING: f64 = 0.15;
/// So few pairs do not tell the deviation well: with 95 % it is at least this part of what they say (chi-squared of three). A load is left alone
/// only if it is noisy for sure.
const AT_LEAST: f64 = 0.62;

/// The standard deviation of pairs of the same scheduler, as their mean is known to be 0; `None` while there are too few.
#[must_use]
pub(crate) fn sigma(shams: &Record) -> Option<f64> {
    if shams.ratios.len() < SHAM_PAIRS {
        return None;
    }
    let squares = shams.ratios.iter().map(|ratio| ratio * ratio);
    Some((squares.sum::<f64>() / shams.ratios.len() as f64).sqrt())
}

/// Whether so few pairs suffice. Ratios are divided by about the deviation and bet on as far as they are over `delta`: of the best bet on one
/// that is `over` it, the capital grows by over^2 / 2 sigma^2 a pair, as a logarithm.
#[must_use]
pub(crate) fn can_show(sigma: f64, delta: f64, design: &Design) -> bool {
    let over = WORTH_FINDING.max(2.0 * delta).ln_1p() - delta.ln_1p();
    let sigma = AT_LEAST * sigma;
    FOUND_IN * over * over >= 2.0 * sigma * sigma * design.better_at().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worth_finding_shows_beside_some_noise_and_not_beside_more() {
        let design = Design::new(0.1, 1);
        assert!(can_show(0.05, 0.1, &design) && can_show(0.15, 0.1, &design));
        assert!(!can_show(0.31, 0.1, &design));
        assert!(can_show(0.10, 0.03, &Design::new(0.03, 1)));
        assert!(!can_show(0.35, 0.03, &Design::new(0.03, 1)));
    }

    #[test]
    fn the_deviation_is_about_0() {
        let mut shams = Record::default();
        assert_eq!(sigma(&shams), None);
        shams.ratios = vec![0.1, 0.1, -0.1];
        assert!((sigma(&shams).unwrap() - 0.1).abs() < 1e-12);
    }
}
