//! How long threads wait for CPUs, by what the kernel adds up for each.

use std::collections::BTreeMap;
use std::path::Path;

use auto_ext_service::bounded_file::Root;

use crate::groups::{MAX_THREADS, tids};

/// How large /proc/PID/schedstat may be, in bytes.
const MAX_TEXT: usize = 256;

/// How long each thread has run and waited, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waits(BTreeMap<u32, (u64, u64)>);

impl Waits {
    /// Of the threads of these processes on the machine below `root`.
    pub(crate) fn read(root: &Path, pids: &[u32]) -> Self {
        let files = Root::new(root);
        let mut threads = BTreeMap::new();
        for pid in pids {
            let left = MAX_THREADS.saturating_sub(threads.len());
            for tid in tids(root, &[*pid], left).unwrap_or_default() {
                let text = files.text(&format!("proc/{pid}/task/{tid}/schedstat"), MAX_TEXT);
                threads.extend(text.and_then(|text| times(&text)).map(|times| (tid, times)));
            }
        }
        Self(threads)
    }

    /// How long they waited since `before`, in parts of the time in which they ran; `None` where none ran that was there before.
    pub(crate) fn since(&self, before: &Self) -> Option<f64> {
        let (mut ran, mut waited) = (0, 0);
        for (tid, now) in &self.0 {
            if let Some(before) = before.0.get(tid) {
                ran += now.0.saturating_sub(before.0);
                waited += now.1.saturating_sub(before.1);
            }
        }
        (ran > 0).then(|| waited as f64 / ran as f64)
    }
}

/// The first two of the three numbers of schedstat: time on a CPU, and time in a run queue.
fn times(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split_ascii_whitespace();
    let ran = numbers.next()?.parse().ok()?;
    Some((ran, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(threads: &[(u32, &str)]) -> Waits {
        let threads = threads
            .iter()
            .map(|(tid, text)| (*tid, times(text).unwrap()));
        Waits(threads.collect())
    }

    #[test]
    fn what_was_waited_counts_against_what_ran_of_threads_that_were_there() {
        let before = waits(&[(1, "1000 100 3\n"), (2, "50 50 1\n")]);
        let now = waits(&[(1, "2000 350 4\n"), (3, "9000 9000 9\n")]);
        assert_eq!(now.since(&before), Some(0.25));
        assert_eq!(before.since(&before), None);
        assert_eq!(times("1 x"), None);
    }

    #[test]
    fn the_kernel_tells_it_of_a_thread_that_runs() {
        let this = [std::process::id()];
        let before = Waits::read(Path::new("/"), &this);
        let begun = std::time::Instant::now();
        while Waits::read(Path::new("/"), &this).since(&before).is_none() {
            assert!(begun.elapsed().as_secs() < 600, "nothing ran");
        }
    }
}
