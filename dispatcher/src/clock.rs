//! The clocks that are asked in more than one place.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// CLOCK_REALTIME in microseconds.
pub(crate) fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, microseconds)
}

/// The last moment that has a form in RFC 3339, which ends with the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

/// Microseconds of CLOCK_REALTIME as UTC, to the second. They may come from a file or from the bus: whatever is
/// later than the year 9999 is shown as its end.
pub(crate) fn utc(us: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs((us / 1_000_000).min(LAST_SECOND));
    humantime::format_rfc3339_seconds(time).to_string()
}

/// As a number of microseconds.
pub(crate) fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The CPU time that the program has used. Every Linux has this clock; without it, nothing seems to
/// cost anything.
pub(crate) fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_microseconds_has_a_text() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(1_700_000_000_999_999), "2023-11-14T22:13:20Z");
        assert_eq!(utc(253_402_300_800_000_000), "9999-12-31T23:59:59Z");
        assert_eq!(utc(u64::MAX), "9999-12-31T23:59:59Z");
    }
}
