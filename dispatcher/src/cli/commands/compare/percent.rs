//! Logarithms of ratios as people read them: in percent.

use auto_ext_evidence::{Effect, Interval};

/// By how many percent what is multiplied by this gets more, with its sign if that is minus.
pub(super) fn percent(logarithm: f64) -> String {
    shown(100.0 * logarithm.exp_m1())
}

/// The same with its sign in any case.
pub(super) fn signed(logarithm: f64) -> String {
    let text = percent(logarithm);
    let sign = if text.starts_with('-') || text == "0.0" {
        ""
    } else {
        "+"
    };
    format!("{sign}{text} %")
}

/// `+4.1 % (95 %: 0.9 to 7.2)`.
pub(super) fn change_in_percent(
    Effect {
        median,
        interval: range,
    }: Effect,
) -> String {
    let range = range.map(|range| format!(" (95 %: {})", interval(range)));
    format!("{}{}", signed(median), range.unwrap_or_default())
}

/// `0.9 to 7.2`: by how much more.
pub(super) fn interval(Interval { low, high }: Interval) -> String {
    format!("{} to {}", percent(low), percent(high))
}

/// The same where it says by how much less.
pub(super) fn interval_of_less(Interval { low, high }: Interval) -> String {
    let less = |logarithm: f64| shown(-100.0 * logarithm.exp_m1());
    format!("{} to {}", less(high), less(low))
}

fn shown(percent: f64) -> String {
    let text = format!("{percent:.1}");
    // Not `-0.0`.
    if text == "-0.0" {
        "0.0".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_shown_as_what_they_add() {
        assert_eq!(percent(1.041f64.ln()), "4.1");
        assert_eq!(signed(0.9f64.ln()), "-10.0 %");
        assert_eq!(signed(2f64.ln()), "+100.0 %");
        assert_eq!(
            (percent(-1e-9), signed(1e-9)),
            ("0.0".into(), "0.0 %".into())
        );
    }
}
