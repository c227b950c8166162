//! Durations as people write them, in a policy and on the command line: `250ms`, `15s`, `30m`. And as they are shown to
//! people.

use std::time::Duration;

use humantime::DurationError;

/// The longest text that is read, in bytes.
const MAX_LENGTH: usize = 64;
/// The longest number before or after a unit or point.
const MAX_DIGITS: usize = 10;

/// Reads a duration with its unit, such as `250ms` or `1m 30s`, or `0`.
///
/// # Errors
/// When `text` is no duration, is longer than 64 bytes or has a number of more than ten digits.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    // humantime 2.4 panics where the nanoseconds of what it adds up carry into u64::MAX seconds.
    // What fits in here is less than u64::MAX / 10 seconds.
    let digits = |part: &str| part.chars().filter(char::is_ascii_digit).count();
    let too_large = text
        .split(|character: char| !character.is_ascii_digit() && !character.is_whitespace())
        .any(|number| digits(number) > MAX_DIGITS);
    if too_large || text.len() > MAX_LENGTH {
        return Err(DurationError::NumberOverflow);
    }
    humantime::parse_duration(text)
}

/// A time of so many microseconds in its two largest units, such as `3m 12s`.
#[must_use]
pub fn span(us: u64) -> String {
    let seconds = us / 1_000_000;
    let (days, hours) = (seconds / 86400, seconds / 3600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {seconds}s"),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_duration_has_a_number_and_a_unit() {
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("0"), Ok(Duration::ZERO));
        assert!(parse("250").is_err() && parse("s").is_err() && parse("-1s").is_err());
    }

    #[test]
    fn a_time_is_shown_in_its_two_largest_units() {
        for (seconds, shown) in [
            (59, "59s"),
            (192, "3m 12s"),
            (3600, "1h 0m"),
            (90_000, "1d 1h"),
        ] {
            assert_eq!(span(seconds * 1_000_000 + 999_999), shown);
        }
    }

    #[test]
    fn numbers_that_make_humantime_panic_are_refused() {
        assert!(parse("18446744073709551615s 1000ms").is_err());
        assert!(parse("1844674407370 9551615s 1000ms").is_err());
        assert!(parse(&"9999999999y".repeat(6)).is_err());
        assert!(parse("9999999999y9999999999y9999999999y9999999999y9999999999y").is_ok());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([0-9]{1,12}[. ]?[0-9]{0,11} ?(y|M|w|d|h|m|s|ms|us|µs|ns) ?){0,6}|\\PC{0,70}") {
            let _ = parse(&text);
        }
    }
}
