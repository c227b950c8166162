//! The one table of the schedulers auto-ext knows by name. Adding one is one line here.
//!
//! Owns their names and whether they may be picked without a person asking. Whether one is
//! installed, quarantined or running is found out elsewhere; arguments belong to the policy.

use crate::candidate::{Candidate, KERNEL, Scheduler, file_name};

/// One scheduler that exists in the scx project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The file name of its program, such as `scx_bpfland`.
    pub command: &'static str,
    /// Whether it is fit to be picked without a person asking for it by name: it runs without
    /// configuration and its authors call it ready for production as it is.
    pub automatic: bool,
    /// What it is for, or why it is not picked by itself, in a few words.
    pub note: &'static str,
}

impl Known {
    /// The short name, such as `bpfland`: the command without `scx_`. It is also what the
    /// scheduler calls itself in the kernel, before the version.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.command.strip_prefix(PREFIX).unwrap_or(self.command)
    }
}

/// How long the name of a scheduler that is not known may be, in bytes.
const MAX_NAME: usize = 64;

/// How the name of every program of the scx project begins.
pub const PREFIX: &str = "scx_";

/// Every known scheduler. Purposes and readiness are those of the READMEs at version 1.1.4.
pub const ALL: &[Known] = &[
    known("scx_bpfland", true, "interactive tasks beside CPU hogs"),
    known("scx_lavd", true, "low tail latency, gaming"),
    known(
        "scx_cosmos",
        true,
        "general purpose, keeps tasks on their CPU; servers",
    ),
    known(
        "scx_flash",
        true,
        "predictable latency under overcommit; audio",
    ),
    known("scx_beerland", true, "cache-heavy loads on many CPUs"),
    known(
        "scx_rusty",
        false,
        "several last-level caches; wants tuning, assumes equal CPUs",
    ),
    known(
        "scx_layered",
        false,
        "does not start without a configuration of layers",
    ),
    known(
        "scx_p2dq",
        false,
        "general purpose; wants tuning, weak at full load",
    ),
    known(
        "scx_tickless",
        false,
        "cloud and HPC; experimental, not for latency",
    ),
    known(
        "scx_rustland",
        false,
        "decides in user space; slow under load",
    ),
    known("scx_foresight", false, "learns CPU bursts; on trial"),
    known("scx_simple", false, "an example to learn from"),
];

const fn known(command: &'static str, automatic: bool, note: &'static str) -> Known {
    Known {
        command,
        automatic,
        note,
    }
}

/// The scheduler of that name, short (`bpfland`) or full (`scx_bpfland`).
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Known> {
    ALL.iter()
        .find(|known| known.command == name || known.name() == name)
}

/// Programs of the scx project whose names begin like those of schedulers, but that are none.
const NO_SCHEDULERS: [&str; 1] = ["scx_loader"];

/// The file name of the program of a scheduler that is called `name`, short or full, and is not known;
/// `None` when that is no name as schedulers have it.
#[must_use]
pub fn unknown_command(name: &str) -> Option<String> {
    let short = name.strip_prefix(PREFIX).unwrap_or(name);
    let fits = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == '-';
    let command = format!("{PREFIX}{short}");
    let is_name = (1..=MAX_NAME).contains(&short.len()) && short.chars().all(fits);
    let is_scheduler = short != KERNEL && !NO_SCHEDULERS.contains(&command.as_str());
    (is_name && is_scheduler && by_name(name).is_none()).then_some(command)
}

/// The scheduler that shows itself as `ops` in `/sys/kernel/sched_ext/root/ops`.
///
/// `scx_ops_open!` of `scx_utils` appends `_VERSION[_COMMIT]_TRIPLE` to the name in the BPF
/// program: `bpfland_1.1.4_x86_64_unknown_linux_gnu` (`build_id::ops_version_suffix`). Builds of
/// before that, and the kernel's own examples, show the bare name. A known name with something else behind it is
/// that of another scheduler.
#[must_use]
pub fn by_ops(ops: &str) -> Option<&'static Known> {
    ALL.iter().find(|known| {
        let rest = ops.strip_prefix(known.name());
        rest.is_some_and(|rest| {
            let version = rest.strip_prefix('_').unwrap_or_default();
            rest.is_empty() || version.starts_with(|first: char| first.is_ascii_digit())
        })
    })
}

/// The known schedulers that decide in user space; all others decide in the kernel.
const IN_USER_SPACE: [&str; 1] = ["scx_rustland"];

/// Whether the program at this path may decide in user space. One that is not known may.
#[must_use]
pub fn may_decide_in_user_space(command: &str) -> bool {
    by_name(file_name(command)).is_none_or(|known| IN_USER_SPACE.contains(&known.command))
}

/// The candidate called `name`, among those `declared` and those that are known; `Some(None)` when it
/// is declared but wrong.
pub(crate) fn candidate(
    name: &str,
    declared: impl Fn(&str) -> Option<Option<Scheduler>>,
) -> Option<Option<Candidate>> {
    if name == KERNEL {
        return Some(Some(Candidate::Kernel));
    }
    let known = by_name(name);
    let names = [
        Some(name),
        known.map(Known::name),
        known.map(|known| known.command),
    ];
    if let Some(scheduler) = names.into_iter().flatten().find_map(declared) {
        return Some(scheduler.map(Candidate::Scheduler));
    }
    known.map(|known| {
        Some(Candidate::Scheduler(Scheduler {
            name: known.name().to_owned(),
            command: known.command.to_owned(),
            args: Vec::new(),
        }))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_scheduler_is_in_the_table_twice() {
        let names: BTreeSet<_> = ALL.iter().map(Known::name).collect();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn every_command_has_the_prefix_and_a_name_that_fits_before_an_underscore() {
        for known in ALL {
            assert_eq!(known.command, format!("{PREFIX}{}", known.name()));
            assert!(
                !known.name().is_empty() && !known.name().contains('_'),
                "{known:?}"
            );
            assert!(
                known.name() != "kernel" && !known.note.is_empty(),
                "{known:?}"
            );
        }
    }

    #[test]
    fn both_names_and_every_form_of_ops_lead_to_the_same_scheduler() {
        let bpfland = by_name("bpfland").unwrap();
        assert_eq!(bpfland.command, "scx_bpfland");
        assert_eq!(by_name("scx_bpfland"), Some(bpfland));
        assert_eq!(by_ops("bpfland"), Some(bpfland));
        assert_eq!(
            by_ops("bpfland_1.1.4_x86_64_unknown_linux_gnu"),
            Some(bpfland)
        );
        assert_eq!(
            by_ops("bpfland_1.1.4_g0123abc_x86_64_unknown_linux_gnu"),
            Some(bpfland)
        );
    }

    #[test]
    fn one_that_is_not_known_has_the_file_name_that_schedulers_have() {
        for name in ["cake", "scx_cake"] {
            assert_eq!(unknown_command(name).as_deref(), Some("scx_cake"));
        }
        for name in [
            "",
            "scx_",
            "kernel",
            "bpfland",
            "scx_bpfland",
            "loader",
            "scx_loader",
            "../sh",
            "scx_/sh",
            "a b",
            "a.sh",
        ] {
            assert_eq!(unknown_command(name), None, "{name:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_guessed_from_what_its_name_begins_with() {
        for name in [
            "",
            "kernel",
            "bpf",
            "BPFLAND",
            "scx_",
            "scx_scx_bpfland",
            "bpfland ",
        ] {
            assert_eq!(by_name(name), None, "{name:?}");
        }
        for ops in [
            "",
            "_",
            "bpfland2",
            "bpfland-1.1.4",
            "scx_bpfland",
            "kernel",
            "bpfland_",
            "bpfland_mine",
            "bpfland_mine_1.0",
            "simple_sched_1.0",
            "my_bpfland_1.0",
        ] {
            assert_eq!(by_ops(ops), None, "{ops:?}");
        }
    }

    #[test]
    fn what_is_not_known_may_decide_in_user_space() {
        for command in ["scx_rustland", "/usr/bin/scx_rustland", "/opt/mine", ""] {
            assert!(may_decide_in_user_space(command), "{command}");
        }
        assert!(!may_decide_in_user_space("/usr/bin/scx_bpfland"));
    }
}
