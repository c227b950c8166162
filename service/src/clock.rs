//! The clocks that are read in more than one place, and their times as numbers and text.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// The least time of sleep that is noticed. Two clocks cannot be read at once: the thread may have to wait for a CPU
/// in between.
const SLEEP: Duration = Duration::from_secs(1);

/// CLOCK_REALTIME in microseconds since 1970; 0 when the clock is set to before that.
#[must_use]
pub fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, microseconds)
}

/// The last moment that has a form in RFC 3339, which ends with the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

/// Microseconds of CLOCK_REALTIME as UTC to the second, such as `2023-11-14T22:13:20Z`. They may come from a file or from
/// the bus: whatever is later than the year 9999 is shown as its end.
#[must_use]
pub fn utc(us: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs((us / 1_000_000).min(LAST_SECOND));
    humantime::format_rfc3339_seconds(time).to_string()
}

/// `duration` in microseconds; `u64::MAX` when it is longer.
#[must_use]
pub fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The CPU time that this process has used. Zero without the clock for it, which every Linux has.
#[must_use]
pub fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Times since a beginning that go on while the machine sleeps (CLOCK_BOOTTIME): what is to end in half an hour ends
/// then, even if the lid is closed meanwhile.
#[derive(Debug)]
pub struct Moments {
    begun: Duration,
    /// How long the machine has slept since its boot, as far as `slept` has returned it.
    slept: Duration,
}

/// The two clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// CLOCK_BOOTTIME, which goes on during sleep.
    since_boot: Duration,
    /// CLOCK_MONOTONIC, which does not; read after the other, so that the difference is never too large.
    awake: Duration,
}

impl Moments {
    /// Begins now.
    #[must_use]
    pub fn begin() -> Self {
        Self::begin_at(Reading::now())
    }

    /// The time since the beginning.
    #[must_use]
    pub fn now(&self) -> Duration {
        since_boot().saturating_sub(self.begun)
    }

    /// How long the machine slept since this was last called; `None` when that was less than a second.
    pub fn slept(&mut self) -> Option<Duration> {
        self.slept_at(Reading::now())
    }

    fn begin_at(reading: Reading) -> Self {
        Self {
            begun: reading.since_boot,
            slept: reading.slept(),
        }
    }

    fn slept_at(&mut self, reading: Reading) -> Option<Duration> {
        let slept = reading.slept().saturating_sub(self.slept);
        if slept < SLEEP {
            return None;
        }
        self.slept += slept;
        Some(slept)
    }
}

impl Reading {
    fn now() -> Self {
        let since_boot = since_boot();
        Self {
            since_boot,
            awake: clock(ClockId::CLOCK_MONOTONIC),
        }
    }

    fn slept(self) -> Duration {
        self.since_boot.saturating_sub(self.awake)
    }
}

/// CLOCK_BOOTTIME: the time since the boot, which goes on while the machine sleeps.
#[must_use]
pub fn since_boot() -> Duration {
    clock(ClockId::CLOCK_BOOTTIME)
}

fn clock(id: ClockId) -> Duration {
    clock_gettime(id)
        .expect("every Linux has these clocks and the argument is valid")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn reading(since_boot: u32, awake: u32) -> Reading {
        Reading {
            since_boot: since_boot * SECOND,
            awake: awake * SECOND,
        }
    }

    #[test]
    fn sleep_is_noticed_once_and_a_moment_between_two_readings_is_none() {
        let mut moments = Moments::begin_at(reading(500, 400));
        assert_eq!(moments.slept_at(reading(510, 410)), None);
        let mut late = reading(520, 420);
        late.awake += SECOND / 2;
        assert_eq!(moments.slept_at(late), None);
        assert_eq!(moments.slept_at(reading(1130, 430)), Some(600 * SECOND));
        assert_eq!(moments.slept_at(reading(1140, 440)), None);
    }

    #[test]
    fn moments_follow_the_clock_that_goes_on_during_sleep() {
        let moments = Moments::begin();
        let before = since_boot();
        let now = moments.now();
        let after = since_boot();
        assert!(before - moments.begun <= now && now <= after - moments.begun);
    }

    #[test]
    fn every_number_of_microseconds_has_a_text() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(1_700_000_000_999_999), "2023-11-14T22:13:20Z");
        assert_eq!(utc(253_402_300_800_000_000), "9999-12-31T23:59:59Z");
        assert_eq!(utc(u64::MAX), "9999-12-31T23:59:59Z");
    }
}
