//! Owns the few numbers that stand for many.

/// Lowest, median and highest of at least one value.
pub(super) fn spread(values: &[f64]) -> (f64, f64, f64) {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    let median = if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    };
    (sorted[0], median, sorted[sorted.len() - 1])
}

/// The lowest of at least one value that `percent` of 100 of them do not exceed.
pub(super) fn percentile(values: &[f64], percent: usize) -> f64 {
    let sorted = sorted(values);
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted[rank.clamp(1, sorted.len()) - 1]
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(spread(&[3.0, 1.0, 2.0]), (1.0, 2.0, 3.0));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), (1.0, 2.5, 4.0));
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=24).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, 95), 23.0);
        assert_eq!(percentile(&values, 100), 24.0);
        assert_eq!(percentile(&values, 0), 1.0);
        assert_eq!(percentile(&[7.0], 95), 7.0);
    }
}
