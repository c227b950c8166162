//! What would be collected of such tasks.

use super::source::{Kind, Source};
use crate::burst::Task;
use crate::samples::BurstSample;

/// So many bursts of each task, without the first, before which there is no average; by the name of its program. In
/// the order in which they end.
#[must_use]
pub fn record(tasks: &[(&str, Kind)], bursts: u32, seed: u64) -> Vec<BurstSample> {
    let mut samples = Vec::new();
    for (pid, (comm, kind)) in (1_u32..).zip(tasks) {
        let mut source = Source::new(*kind, seed ^ (u64::from(pid) << 32));
        let mut task = Task::default();
        let mut now_ns = 0;
        for number in 0..bursts {
            let (wakeup, ran_ns) = source.next();
            now_ns += wakeup.slept_ns + ran_ns;
            let x = task.wake(&wakeup);
            let burst = task.end(ran_ns, None);
            if number > 0 {
                samples.push(BurstSample {
                    at_ns: now_ns,
                    pid,
                    comm: (*comm).to_owned(),
                    x,
                    y: burst.length,
                    ewma: burst.length - burst.deviation,
                });
            }
        }
    }
    samples.sort_by_key(|sample| sample.at_ns);
    samples
}
