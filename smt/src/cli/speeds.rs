//! How fast groups run, counted for a while. Owns the counters while it lasts; nothing is counted afterwards.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::counters::{Counters, Metric, NotCounted, Perf, raise_file_limit, speed};
use crate::groups::{Group, Key, MAX_THREADS};

/// Instructions per cycle of each group that was counted, or why that is not known.
pub(super) type Speeds = BTreeMap<Key, Result<f64, String>>;

/// The counters of a group, or why it has none.
type Opened = Result<Box<dyn Counters>, NotCounted>;

/// Counts those that may be placed, on the machine below `root`, for so long.
pub(super) fn count(root: &Path, groups: &[Group], time: Duration) -> Speeds {
    raise_file_limit();
    let mut left = MAX_THREADS;
    let eligible = groups.iter().filter(|group| group.eligible.is_ok());
    let counters = eligible.map(|group| {
        let counters = Perf::of_processes(root, &group.pids, left)
            .inspect(|counters| left -= counters.threads());
        (
            group.key.clone(),
            counters.map(|counters| Box::new(counters) as Box<dyn Counters>),
        )
    });
    measure(counters.collect(), || thread::sleep(time))
}

/// What passes between two readings.
fn measure(mut counters: Vec<(Key, Opened)>, wait: impl FnOnce()) -> Speeds {
    let mut read = || -> Vec<_> {
        let counters = counters.iter_mut();
        let read = counters.map(|(_, counters)| match counters {
            Ok(counters) => counters.read(),
            Err(why) => Err(*why),
        });
        read.collect()
    };
    let before = read();
    wait();
    let now = read();
    let keys = counters.into_iter().map(|(key, _)| key);
    let speeds = before.into_iter().zip(now).map(|(before, now)| {
        let before = before.map_err(|why| why.to_string())?;
        let now = now.map_err(|why| why.to_string())?;
        speed(Metric::Ipc, &before, &now).map_err(|why| why.to_string())
    });
    keys.zip(speeds).collect()
}

#[cfg(test)]
mod tests {
    use crate::counters::replay::Recording;

    use super::*;

    #[test]
    fn the_speed_of_each_group_is_what_was_counted_between_two_readings() {
        let recording = Recording::parse(
            r#"{"group":"db","cycles":1000,"instructions":1000,"enabled":10,"running":10}
{"group":"db","cycles":4001000,"instructions":6001000,"enabled":20,"running":20}
{"group":"web","cycles":1000,"instructions":1000,"enabled":10,"running":10}
{"group":"web","cycles":4001000,"instructions":6001000,"enabled":20,"running":11}
{"group":"cron","cycles":1000,"instructions":1000,"enabled":10,"running":10}"#,
        );
        let recording = recording.unwrap();
        let key = |name: &str| Key::Cgroup(name.to_owned());
        let replayed = ["db", "web", "cron"].map(|name| {
            let counters: Box<dyn Counters> = Box::new(recording.of(name));
            (key(name), Ok(counters))
        });
        let refused = (key("vm"), Err(NotCounted::TooManyFiles));
        let mut waited = false;
        let counters = replayed.into_iter().chain([refused]).collect();
        let speeds = measure(counters, || waited = true);
        assert!(waited);
        assert_eq!(speeds[&key("db")], Ok(1.5));
        let why = |name: &str| speeds[&key(name)].clone().unwrap_err();
        assert_eq!(why("web"), "counted only 10 % of its time");
        assert_eq!(why("cron"), "it has ended");
        assert_eq!(why("vm"), "too many open files");
    }
}
