//! What the kernel was built without although schedulers or the profiler need it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

/// How much of a configuration is read, in bytes; they have some 300 KB.
const MAX_BYTES: u64 = 4 << 20;

/// Each option with what is missing without it.
const WANTED: [(&str, &str); 2] = [
    (
        "CONFIG_HIGH_RES_TIMERS",
        "the kernel has no high-resolution timers (CONFIG_HIGH_RES_TIMERS, or it was booted with \
         highres=off), so that its tick is not seen and parallel and interactive are hardly sampled: boot \
         one that has them",
    ),
    (
        "CONFIG_FAIR_GROUP_SCHED",
        "the kernel is built without CONFIG_FAIR_GROUP_SCHED, so that cpu, parallel and interactive cannot \
         be measured and no rule about them matches: boot one that has it",
    ),
];

/// What is missing on the machine whose files are below `root`. Of the kernel's configuration nothing is said where it
/// cannot be read, as it is compressed (/proc/config.gz) or there is none.
pub(super) fn missing(root: &Path, release: &str) -> Vec<&'static str> {
    let coarse = fs::read_to_string(root.join("proc/cmdline")).unwrap_or_default();
    let coarse = coarse.split_whitespace().any(|word| word == "highres=off");
    let set = options_that_are_set(root, release);
    let missed = WANTED.iter().enumerate().filter(|(index, (option, _))| {
        set.as_ref().is_some_and(|set| !set.contains(option)) || (*index == 0 && coarse)
    });
    missed.map(|(_, (_, why))| *why).collect()
}

/// Those of [`WANTED`] that the kernel's configuration sets; `None` when there is none to be read.
fn options_that_are_set(root: &Path, release: &str) -> Option<Vec<&'static str>> {
    let places = [
        format!("boot/config-{release}"),
        format!("usr/lib/modules/{release}/config"),
        format!("lib/modules/{release}/config"),
    ];
    let file = places
        .iter()
        .find_map(|place| File::open(root.join(place)).ok())?;
    let lines = BufReader::new(file.take(MAX_BYTES)).lines();
    let mut set = Vec::new();
    let mut is_configuration = false;
    for line in lines.map_while(Result::ok) {
        is_configuration |= line.starts_with("CONFIG_");
        let option = WANTED.iter().map(|(option, _)| *option);
        set.extend(option.filter(|option| line.strip_prefix(*option) == Some("=y")));
    }
    // An empty file, or one of another kind, is no configuration.
    is_configuration.then_some(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing_in(configuration: &str) -> Vec<&'static str> {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("boot")).unwrap();
        fs::write(root.path().join("boot/config-7.2.13"), configuration).unwrap();
        missing(root.path(), "7.2.13")
    }

    #[test]
    fn an_option_that_is_not_set_is_missed_and_named() {
        let all = "# a comment\nCONFIG_HIGH_RES_TIMERS=y\nCONFIG_FAIR_GROUP_SCHED=y\n";
        assert_eq!(missing_in(all), [""; 0]);
        let some = "CONFIG_HIGH_RES_TIMERS=y\n# CONFIG_FAIR_GROUP_SCHED is not set\n";
        let missing = missing_in(some);
        assert_eq!(missing.len(), 1);
        assert!(
            missing[0].contains("CONFIG_FAIR_GROUP_SCHED"),
            "{missing:?}"
        );
        assert_eq!(missing_in("CONFIG_FAIR_GROUP_SCHED_OTHER=y\n").len(), 2);
    }

    #[test]
    fn where_there_is_no_configuration_only_what_it_was_booted_with_is_known() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(missing(root.path(), "7.2.13"), [""; 0]);
        fs::create_dir(root.path().join("proc")).unwrap();
        fs::write(
            root.path().join("proc/cmdline"),
            "root=/dev/sda1 highres=off\n",
        )
        .unwrap();
        let missing = missing(root.path(), "7.2.13");
        assert_eq!(missing.len(), 1);
        assert!(missing[0].contains("highres=off"), "{missing:?}");
        assert_eq!(missing_in(""), [""; 0]);
        assert_eq!(missing_in("\u{fffd}\u{1}\n"), [""; 0]);
    }
}
