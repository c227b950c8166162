//! Owns what the machine tells of one swap, and what that means: how long there was no scheduler,
//! and how sure that is. Times are in microseconds, since the command.

use std::fmt;

use serde::Deserialize;

/// One swap.
#[derive(Deserialize)]
pub(super) struct Record {
    pub(super) tool: String,
    pub(super) load: String,
    /// What the kernel ran before, and was to run.
    pub(super) from: String,
    pub(super) to: String,
    /// Why it failed.
    pub(super) error: Option<String>,
    /// How long the command took to return.
    returned_us: u64,
    /// The gap as the tool announced it.
    pub(super) reported_us: Option<u64>,
    pub(super) watched: Watched,
}

/// What the sampler saw.
#[derive(Deserialize)]
pub(super) struct Watched {
    changes: Vec<Change>,
    /// How long it watched, how often it read the state in that time, and the longest time from one
    /// reading to the next.
    pub(super) took_us: u64,
    pub(super) readings: u64,
    pub(super) blind_us: u64,
}

/// A state that was not there at the reading before.
#[derive(Deserialize)]
struct Change {
    state: String,
    /// The reading before, and this one.
    before_us: u64,
    at_us: u64,
}

/// What a swap from one scheduler to another did to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    /// How long there was no scheduler: the state was `disabled`.
    pub(super) disabled_us: u64,
    /// How long that was at least and can have been at most, between the readings.
    pub(super) at_least_us: u64,
    pub(super) at_most_us: u64,
    /// How long the state was anything but `enabled`: with the kernel's own work at both ends.
    pub(super) not_enabled_us: u64,
    /// When the command returned.
    pub(super) returned_us: u64,
    /// When the new scheduler was enabled.
    pub(super) enabled_us: u64,
}

impl Record {
    /// The gap, if this was a swap from one scheduler to another, and succeeded.
    pub(super) fn gap(&self) -> Option<Gap> {
        let both = self.from != "kernel" && self.to != "kernel" && self.from != self.to;
        (both && self.error.is_none()).then(|| self.watched.gap(self.returned_us))
    }
}

impl Watched {
    fn gap(&self, returned_us: u64) -> Gap {
        let ends = self.changes.iter().skip(1).map(|next| next.at_us);
        let stints = || self.changes.iter().zip(ends.clone().chain([self.took_us]));
        let disabled = || stints().filter(|(change, _)| change.state == "disabled");
        let ends_before = self.changes.iter().skip(1).map(|next| next.before_us);
        let at_least = self
            .changes
            .iter()
            .zip(ends_before.chain([self.took_us]))
            .filter(|(change, _)| change.state == "disabled")
            .map(|(change, end)| end.saturating_sub(change.at_us));
        // One that was over between two readings was never seen.
        let unseen = self.changes.iter().map(Change::uncertain).max();
        Gap {
            disabled_us: disabled().map(|(change, end)| end - change.at_us).sum(),
            at_least_us: at_least.sum(),
            at_most_us: disabled()
                .map(|(change, end)| end - change.before_us)
                .sum::<u64>()
                .max(unseen.unwrap_or_default()),
            not_enabled_us: stints()
                .filter(|(change, _)| change.state != "enabled")
                .map(|(change, end)| end - change.at_us)
                .sum(),
            returned_us,
            enabled_us: self
                .changes
                .iter()
                .rfind(|change| change.state == "enabled")
                .map_or(self.took_us, |change| change.at_us),
        }
    }
}

impl Gap {
    /// How far `reported_us` is from all that the sampler holds possible.
    pub(super) fn off_by(&self, reported_us: u64) -> u64 {
        reported_us.abs_diff(reported_us.clamp(self.at_least_us, self.at_most_us))
    }
}

impl Change {
    fn uncertain(&self) -> u64 {
        self.at_us - self.before_us
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tool,
            load,
            from,
            to,
            ..
        } = self;
        write!(f, "{tool}, {load}: {from} to {to}: ")?;
        match (&self.error, self.gap()) {
            (Some(error), _) => write!(f, "failed: {error}"),
            (None, None) => f.write_str("done"),
            (None, Some(gap)) => {
                write!(
                    f,
                    "{} us without a scheduler, {} to {} possible",
                    gap.disabled_us, gap.at_least_us, gap.at_most_us
                )?;
                match self.reported_us {
                    Some(reported) => write!(f, ", {reported} announced"),
                    None => Ok(()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(from: &str, to: &str, changes: &[(&str, u64, u64)]) -> Record {
        let changes: Vec<_> = changes
            .iter()
            .map(|(state, before, at)| {
                serde_json::json!({"state": state, "before_us": before, "at_us": at})
            })
            .collect();
        let line = serde_json::json!({
            "tool": "auto-ext", "load": "idle", "from": from, "to": to, "error": null,
            "returned_us": 5, "reported_us": null,
            "watched": {"changes": changes, "took_us": 9000, "readings": 90, "blind_us": 120},
        });
        serde_json::from_value(line).unwrap()
    }

    #[test]
    fn the_gap_is_the_time_disabled() {
        let seen = [
            ("disabling", 900, 1000),
            ("disabled", 1900, 2000),
            ("enabling", 2900, 3000),
            ("enabled", 3950, 4000),
        ];
        let gap = record("scx_a", "scx_b", &seen).gap().unwrap();
        let expected = Gap {
            disabled_us: 1000,
            at_least_us: 900,
            at_most_us: 1100,
            not_enabled_us: 3000,
            returned_us: 5,
            enabled_us: 4000,
        };
        assert_eq!(gap, expected);
    }

    #[test]
    fn a_gap_that_was_not_seen_was_no_longer_than_the_sampler_was_blind() {
        let seen = [
            ("disabling", 900, 1000),
            ("enabling", 1800, 2050),
            ("enabled", 2900, 3000),
        ];
        let gap = record("scx_a", "scx_b", &seen).gap().unwrap();
        assert_eq!((gap.disabled_us, gap.at_most_us), (0, 250));
    }

    #[test]
    fn every_time_without_a_scheduler_counts() {
        let seen = [
            ("disabled", 0, 100),
            ("enabled", 200, 300),
            ("disabled", 390, 400),
            ("enabled", 900, 1000),
        ];
        let gap = record("scx_a", "scx_b", &seen).gap().unwrap();
        assert_eq!((gap.disabled_us, gap.at_most_us), (800, 910));
        assert_eq!(gap.at_least_us, 600);
        assert_eq!(
            [500, 600, 910, 1000].map(|reported| gap.off_by(reported)),
            [100, 0, 0, 90]
        );
        assert_eq!((gap.not_enabled_us, gap.enabled_us), (800, 1000));
    }

    #[test]
    fn with_the_kernels_own_scheduler_at_an_end_there_is_no_gap() {
        assert_eq!(record("kernel", "scx_b", &[]).gap(), None);
        assert_eq!(record("scx_a", "kernel", &[]).gap(), None);
    }

    #[test]
    fn a_swap_that_failed_has_no_gap() {
        let mut failed = record("scx_a", "scx_b", &[("disabled", 0, 100)]);
        failed.error = Some("still kernel".into());
        assert_eq!(failed.gap(), None);
        assert_eq!(
            failed.to_string(),
            "auto-ext, idle: scx_a to scx_b: failed: still kernel"
        );
    }
}
