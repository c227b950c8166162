//! Which cgroups that use CPU time have limits or weights for it, which most sched_ext schedulers do not follow: somebody would lose
//! what they were given (Documentation/admin-guide/cgroup-v2.rst). Unequal weights in `background.slice` are what is in the background anyway.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// More cgroups, and deeper ones, are not looked at.
const MAX_CGROUPS: usize = 4096;
const MAX_DEPTH: usize = 32;
/// The weight of a cgroup that has none of its own.
const USUAL_WEIGHT: &str = "100";
const BACKGROUND: &str = "background.slice";
/// The share of a CPU from which on a cgroup is active.
const ACTIVE: f64 = 0.01;

/// The CPU time that limited cgroups had used when they were last looked at.
#[derive(Debug, Default)]
pub(super) struct CgroupLimits {
    used: BTreeMap<PathBuf, Duration>,
    at: Option<Instant>,
}

impl CgroupLimits {
    /// The active ones below `root`, /sys/fs/cgroup but in tests, by their paths there; `None` where that cannot be known. What is
    /// limited and seen for the first time is active if it ever was.
    pub(super) fn look(&mut self, root: &Path, now: Instant) -> Option<Vec<String>> {
        // Version 1 has its limits elsewhere.
        if !root.join("cgroup.controllers").exists() {
            return None;
        }
        let mut limited = Vec::new();
        let mut left = vec![(root.to_owned(), 0)];
        let mut seen = 0;
        while let Some((directory, depth)) = left.pop() {
            seen += 1;
            if seen > MAX_CGROUPS || depth > MAX_DEPTH {
                return None;
            }
            if is_limited(&directory) {
                limited.push(directory.clone());
            }
            // It may have gone meanwhile.
            let Ok(entries) = fs::read_dir(&directory) else {
                continue;
            };
            let below = entries
                .flatten()
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            left.extend(below.map(|entry| (entry.path(), depth + 1)));
        }
        let time = self.at.replace(now);
        let time = time.map(|before| now.saturating_duration_since(before));
        let before = std::mem::take(&mut self.used);
        let mut active = Vec::new();
        for cgroup in limited {
            let Some(used) = used(&cgroup) else {
                continue;
            };
            let is_active = match (before.get(&cgroup), time) {
                (Some(before), Some(time)) => {
                    used.saturating_sub(*before)
                        >= time.mul_f64(ACTIVE).max(Duration::from_nanos(1))
                }
                _ => !used.is_zero(),
            };
            if is_active {
                let path = cgroup.strip_prefix(root).unwrap_or(&cgroup);
                active.push(path.display().to_string());
            }
            self.used.insert(cgroup, used);
        }
        active.sort();
        Some(active)
    }
}

/// Whether this cgroup has a limit, or a weight that is not the usual one.
fn is_limited(cgroup: &Path) -> bool {
    let first = |file| {
        let text = fs::read_to_string(cgroup.join(file)).ok()?;
        Some(text.split_whitespace().next()?.to_owned())
    };
    let in_background = || {
        let mut names = cgroup.components();
        names.any(|name| name.as_os_str() == BACKGROUND)
    };
    first("cpu.max").is_some_and(|max| max != "max")
        || (first("cpu.weight").is_some_and(|weight| weight != USUAL_WEIGHT) && !in_background())
}

/// The CPU time that it has used.
fn used(cgroup: &Path) -> Option<Duration> {
    let stat = fs::read_to_string(cgroup.join("cpu.stat")).ok()?;
    let used = stat
        .lines()
        .find_map(|line| line.strip_prefix("usage_usec "))?;
    Some(Duration::from_micros(used.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn limits_of_who_uses_cpu_time_count() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let (mut limits, now) = (CgroupLimits::default(), Instant::now());
        assert_eq!(limits.look(root, now), None, "version 1");
        write("cgroup.controllers", "cpu\n");
        for (cgroup, max, weight) in [
            ("a.slice", "max 100000\n", "100\n"),
            ("a.slice/limited", "50000 100000\n", "100\n"),
            ("a.slice/heavy", "max 100000\n", "200\n"),
            ("user.slice/background.slice", "max 100000\n", "30\n"),
            (
                "user.slice/background.slice/limited",
                "1000 100000\n",
                "100\n",
            ),
        ] {
            write(&format!("{cgroup}/cpu.max"), max);
            write(&format!("{cgroup}/cpu.weight"), weight);
            write(&format!("{cgroup}/cpu.stat"), "usage_usec 0\nuser_usec 0\n");
        }
        let none: [&str; 0] = [];
        assert_eq!(limits.look(root, now).unwrap(), none);
        for cgroup in ["a.slice", "a.slice/limited", "user.slice/background.slice"] {
            write(&format!("{cgroup}/cpu.stat"), "usage_usec 20000\n");
        }
        write("a.slice/heavy/cpu.stat", "usage_usec 5000\n");
        let active = limits.look(root, now + SECOND).unwrap();
        assert_eq!(active, ["a.slice/limited"]);
        // It does nothing any more.
        assert_eq!(limits.look(root, now + 2 * SECOND).unwrap(), none);
        write("new/cpu.max", "50000 100000\n");
        write("new/cpu.stat", "usage_usec 1\n");
        assert_eq!(limits.look(root, now + 3 * SECOND).unwrap(), ["new"]);
    }
}
