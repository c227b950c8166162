//! Waiting for something to become true.

use std::fmt::Debug;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::bail;

/// Ends a test that would hang. Far beyond what anything takes: it judges no speed.
pub(crate) const HANG: Duration = Duration::from_secs(300);

/// The time between two questions, at first and at most: a wait that lasts is not to be a rhythm itself, which is what a quarter
/// of a second is the longest period of. In an emulated machine each question takes milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(300);

/// Asks until the answer is `expected`, and returns how long that took.
pub(crate) fn until<T: PartialEq + Debug>(
    what: &str,
    expected: &T,
    mut ask: impl FnMut() -> T,
) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let answer = ask();
        if answer == *expected {
            return Ok(start.elapsed());
        }
        if start.elapsed() > HANG {
            bail!("{what}: still {answer:?} after {HANG:?}, not {expected:?}");
        }
        sleep(pause);
        pause = LONGEST_PAUSE.min(2 * pause);
    }
}

/// Asks until the answer has been `expected` for so long.
pub(crate) fn until_it_stays<T: PartialEq + Debug>(
    what: &str,
    expected: &T,
    length: Duration,
    mut ask: impl FnMut() -> T,
) -> anyhow::Result<()> {
    let mut since = Instant::now();
    let stays = || {
        if ask() != *expected {
            since = Instant::now();
        }
        since.elapsed() >= length
    };
    until(&format!("{what} for {length:?}"), &true, stays).map(drop)
}
