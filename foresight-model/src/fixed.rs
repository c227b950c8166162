//! Numbers as BPF programs have them: Q16.16, a 32-bit integer that counts 65536ths. Owns logarithms, powers and conversions.
//!
//! Shifts to the right of negative numbers are arithmetic, as in BPF and in clang's C.

/// One.
pub const ONE: i32 = 1 << 16;
/// The greatest weight, either side of zero: with [`MAX_FEATURE`] a sum of 16 products stays below 2^47.
pub const MAX_WEIGHT: i32 = 64;
/// The greatest feature, either side of zero.
pub const MAX_FEATURE: i32 = 16;
/// Of the parabola that log2 between two powers of two is taken for, its height times four.
pub const LOG2_BEND: i64 = 22544;
/// The same of 2^x.
pub const EXP2_BEND: i64 = 22571;
/// The greatest exponent that [`exp2_q16`] takes; beyond it, it stays.
pub const MAX_EXPONENT: i32 = 40;

const ONE_64: i64 = ONE as i64;

/// The logarithm to base 2, 0.01 off at most; that of 0 is taken for that of 1.
#[must_use]
pub fn log2_q16(value: u64) -> i32 {
    let value = value.max(1);
    let exponent = value.ilog2();
    let mantissa = if exponent >= 16 {
        value >> (exponent - 16)
    } else {
        value << (16 - exponent)
    };
    // Below 2 * ONE, by the shift.
    let fraction = mantissa.cast_signed() - ONE_64;
    let bend = (((fraction * (ONE_64 - fraction)) >> 16) * LOG2_BEND) >> 16;
    narrow((i64::from(exponent) << 16) + fraction + bend)
}

/// 2 to the power of `exponent`, 0.5 % off at most but for rounding down to an integer; exponents below 0 are taken for 0.
#[must_use]
pub fn exp2_q16(exponent: i64) -> u64 {
    let exponent = exponent.clamp(0, i64::from(MAX_EXPONENT) << 16);
    let (whole, fraction) = (exponent >> 16, exponent & 0xffff);
    let bend = (((fraction * (ONE_64 - fraction)) >> 16) * EXP2_BEND) >> 16;
    let mantissa = (ONE_64 + fraction - bend).cast_unsigned();
    if whole >= 16 {
        mantissa << (whole - 16)
    } else {
        mantissa >> (16 - whole)
    }
}

/// `value`, or `most` if it is more, or less than its negative.
#[must_use]
pub fn clamp_q16(value: i64, most: i32) -> i32 {
    narrow(value.clamp(-i64::from(most), i64::from(most)))
}

/// The nearest number that there is; of what is no number, 0.
#[must_use]
pub fn to_q16(value: f64) -> i32 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it stops at the ends, which is what is wanted"
    )]
    let nearest = (value * f64::from(ONE)).round() as i32;
    nearest
}

/// As a floating point number, exactly.
#[must_use]
pub fn from_q16(value: i32) -> f64 {
    f64::from(value) / f64::from(ONE)
}

/// Sums of products, before they are shifted back.
#[must_use]
pub fn dot(weights: &[i32], features: &[i32]) -> i64 {
    let products = weights.iter().zip(features);
    products.map(|(w, x)| i64::from(*w) * i64::from(*x)).sum()
}

/// Of what fits.
fn narrow(value: i64) -> i32 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "logarithms of 64 bits, and what was clamped to 32"
    )]
    let narrow = value as i32;
    narrow
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn powers_of_two_are_exact() {
        for exponent in 0..64 {
            assert_eq!(log2_q16(1 << exponent), ONE * exponent);
        }
        for exponent in 0..=40 {
            assert_eq!(exp2_q16(exponent << 16), 1 << exponent);
        }
        assert_eq!(log2_q16(0), 0);
        assert_eq!(exp2_q16(-1), 1);
        assert_eq!(exp2_q16(i64::MAX), 1 << 40);
    }

    #[test]
    fn what_is_no_number_is_zero_and_what_is_too_large_stops() {
        assert_eq!(to_q16(f64::NAN), 0);
        assert_eq!(to_q16(f64::INFINITY), i32::MAX);
        assert_eq!(to_q16(-1.5), -ONE * 3 / 2);
    }

    proptest! {
        #[test]
        fn logarithms_are_close_and_grow(value in 1..u64::MAX) {
            #[expect(clippy::cast_precision_loss, reason = "of what is compared with 0.01")]
            let truth = (value as f64).log2();
            prop_assert!((from_q16(log2_q16(value)) - truth).abs() < 0.01);
            prop_assert!(log2_q16(value + 1) >= log2_q16(value));
        }

        #[test]
        fn powers_are_close_and_grow(exponent in 0_i64..(40 << 16)) {
            #[expect(clippy::cast_precision_loss, reason = "of what is compared to 1 %")]
            let (power, exact) = (exp2_q16(exponent) as f64, exponent as f64 / 65536.0);
            let truth = exact.exp2();
            prop_assert!((power - truth).abs() < truth * 0.005 + 1.0, "{power} {truth}");
            prop_assert!(exp2_q16(exponent + 1) >= exp2_q16(exponent));
        }

        #[test]
        fn a_number_that_fits_comes_back(value: i32) {
            prop_assert_eq!(to_q16(from_q16(value)), value);
        }
    }
}
