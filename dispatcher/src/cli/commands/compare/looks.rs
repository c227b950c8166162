//! What has to be looked at again and again while a turn lasts: once a second, for how long somebody has waited by now, as that
//! is only seen while it lasts, and what the processors took, as their counters wrap around. In a thread, as the turn itself waits.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use auto_ext_profiler::{Energy, LongestWait};

/// The time between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// The thread; it ends when this is dropped. Nobody waits for that: it may be kept from its CPU.
pub(super) struct Looks {
    seen: Arc<Mutex<Seen>>,
    /// What ends it when it is gone.
    _lasts: Sender<()>,
}

struct Seen {
    longest_wait: Option<LongestWait>,
    /// The longest of all looks; none without any.
    longest: Option<Duration>,
    energy: Option<Energy>,
}

impl Looks {
    /// Begins to look, at what can be; `None` where nothing can.
    pub(super) fn begin(longest_wait: Option<LongestWait>, energy: Option<Energy>) -> Option<Self> {
        if longest_wait.is_none() && energy.is_none() {
            return None;
        }
        let seen = Arc::new(Mutex::new(Seen {
            longest_wait,
            longest: None,
            energy,
        }));
        let (lasts, over) = mpsc::channel();
        let its = Arc::clone(&seen);
        let thread = thread::Builder::new().name("auto-ext-looks".to_owned());
        let started = thread.spawn(move || {
            while over.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                lock(&its).look();
            }
        });
        started.is_ok().then_some(Self {
            seen,
            _lasts: lasts,
        })
    }

    /// The longest that somebody had waited for by one of the looks; `None` without any.
    pub(super) fn longest_wait(&self) -> Option<Duration> {
        lock(&self.seen).longest
    }

    /// What the processors took until now, in microjoules.
    pub(super) fn energy_uj(&self) -> Option<u64> {
        lock(&self.seen).energy.as_mut()?.read()
    }
}

impl Seen {
    fn look(&mut self) {
        if let Some(longest_wait) = &mut self.longest_wait {
            self.longest = self.longest.max(longest_wait.look());
        }
        if let Some(energy) = &mut self.energy {
            // It keeps what it read.
            let _ = energy.read();
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    // Whoever panicked left numbers.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_wraps_around_between_the_ends_of_a_turn_is_seen() {
        assert!(Looks::begin(None, None).is_none());
        let root = tempfile::tempdir().unwrap();
        let zone = root.path().join("sys/class/powercap/intel-rapl:0");
        fs::create_dir_all(&zone).unwrap();
        fs::write(zone.join("name"), "package-0\n").unwrap();
        fs::write(zone.join("max_energy_range_uj"), "1000\n").unwrap();
        let set = |uj: &str| fs::write(zone.join("energy_uj"), uj).unwrap();
        set("100");
        let energy = Energy::begin(root.path()).unwrap();
        let looks = Looks::begin(None, Some(energy)).unwrap();
        let waits = |total| {
            // Nobody but the thread reads.
            while lock(&looks.seen).energy.as_ref().unwrap().last_uj() != total {
                thread::sleep(Duration::from_millis(20));
            }
        };
        set("900");
        waits(800);
        set("50");
        waits(950);
        set("200");
        assert_eq!(looks.energy_uj(), Some(1100));
        assert_eq!(looks.longest_wait(), None);
    }
}
