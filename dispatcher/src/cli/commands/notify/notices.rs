//! Which notice follows from how things are and what was told before. Pure. All text from elsewhere is made fit for a notice
//! here.

use std::collections::BTreeMap;

use auto_ext_service::duration::span;
use auto_ext_service::markup::escape;
use auto_ext_service::sanitize::sanitize;

use crate::cli::commands::client::{Properties, property};
use crate::persistence::history::{Entry, Kind};

/// How many failures and quarantines a notice names; of more it says only how many.
const NAMED: usize = 3;
/// How long a text from elsewhere may be in a notice, in characters.
const MAX_TEXT: usize = 200;
/// Times of quarantines that differ by no more than this are the same, in microseconds: they are told in seconds, by a
/// clock that may be adjusted.
const SAME_TIME: u64 = 2_000_000;
/// How `Reason` begins in the safe mode.
const SAFE_MODE: &str = "safe mode";

/// How things are, as far as notices are about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    /// CLOCK_REALTIME in microseconds.
    pub(super) now: u64,
    /// What the kernel runs.
    pub(super) current: String,
    pub(super) mode: String,
    pub(super) reason: String,
    /// The schedulers that are quarantined, and until when (as `now`).
    pub(super) quarantined: BTreeMap<String, u64>,
    /// The last entries of the history, the newest first.
    pub(super) history: Vec<Entry>,
}

/// What was told, or happened before anybody was to be told.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    /// The newest entry of the history.
    newest: Option<Entry>,
    /// As in [`Facts`]: also those that are not shown any more, as long as their time has not come.
    quarantined: BTreeMap<String, u64>,
    /// The reason for the safe mode, as long as it lasts.
    safe_mode: Option<String>,
}

/// What a person is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    /// Plain text.
    pub(super) summary: String,
    /// Markup of org.freedesktop.Notifications.
    pub(super) body: String,
}

impl Facts {
    /// Those in `properties` of the daemon and in its history.
    pub(super) fn of(now: u64, properties: &Properties, history: Vec<Entry>) -> Self {
        let text = |name| {
            let text = property(properties, name);
            text.as_str().unwrap_or_default().to_owned()
        };
        let quarantined = property(properties, "Quarantined");
        let quarantined = quarantined.as_object().into_iter().flatten();
        Self {
            now,
            current: text("CurrentScheduler"),
            mode: text("Mode"),
            reason: text("Reason"),
            quarantined: quarantined
                .map(|(name, until)| (name.clone(), until.as_u64().unwrap_or_default()))
                .collect(),
            history,
        }
    }
}

/// The one notice that follows, if any, and what then has been told. At first (`told` is none) nothing is told of what is
/// past, only of the safe mode, which lasts: it may have begun before there was anybody to be told.
pub(super) fn notice(told: Option<&Told>, facts: &Facts) -> (Option<Notice>, Told) {
    let failed = told.and_then(|told| {
        let failures = failures(told, facts);
        let quarantined = quarantined(told, facts, !failures.is_empty());
        of_failures(&failures, &quarantined, facts)
    });
    let before = told.cloned().unwrap_or_default();
    let safe_mode = safe_mode(&before, facts);
    let begun = safe_mode.as_ref().filter(|_| safe_mode != before.safe_mode);
    let notice = match (failed, begun) {
        (failed, None) => failed,
        (failed, Some(reason)) => Some(of_safe_mode(reason, failed)),
    };
    let mut quarantined = before.quarantined;
    quarantined.retain(|_, until| *until > facts.now);
    quarantined.extend(facts.quarantined.clone());
    let newest = facts.history.first().cloned().or(before.newest);
    let told = Told {
        newest,
        quarantined,
        safe_mode,
    };
    (notice, told)
}

/// The schedulers that failed since then, and how; the newest first.
fn failures<'f>(told: &Told, facts: &'f Facts) -> Vec<(&'f str, &'f str)> {
    let newest = told.newest.as_ref();
    let known = facts
        .history
        .iter()
        .position(|entry| Some(entry) == newest)
        .or_else(|| {
            // The history is another one, or went on for long. By the clock, which may have been set, it is known as well
            // as it can be.
            let newest = newest?;
            facts.history.iter().position(|entry| entry.at <= newest.at)
        });
    let new = &facts.history[..known.unwrap_or(facts.history.len())];
    new.iter()
        .filter_map(|entry| match entry.event {
            Kind::Failed => Some((entry.to.as_str(), entry.error.as_str())),
            Kind::Exited => Some((entry.from.as_str(), entry.error.as_str())),
            Kind::Started
            | Kind::Stopped
            | Kind::Switched
            | Kind::Foreign
            | Kind::Refused
            | Kind::Trial => None,
        })
        .collect()
}

/// The schedulers that were quarantined since then, and until when. One scheduler may have several names, and get others
/// with an edit of the policy: by its time it is known to be the same. When the clock is set, all times change, which is no
/// news unless something has `failed`.
fn quarantined<'f>(told: &Told, facts: &'f Facts, failed: bool) -> Vec<(&'f str, u64)> {
    let is_told = |name: &str, until: u64| {
        let same_time = |told: &u64| told.abs_diff(until) <= SAME_TIME;
        told.quarantined.values().any(same_time) || (!failed && told.quarantined.contains_key(name))
    };
    let shown = facts.quarantined.iter();
    shown
        .map(|(name, until)| (name.as_str(), *until))
        .filter(|&(name, until)| until > facts.now && !is_told(name, until))
        .collect()
}

/// The reason for the safe mode while it lasts. A pin and a kernel that cannot be read hide whether it does.
fn safe_mode(told: &Told, facts: &Facts) -> Option<String> {
    match facts.mode.as_str() {
        "observe" if facts.reason.starts_with(SAFE_MODE) => Some(facts.reason.clone()),
        "auto" | "held" | "yielded" => None,
        _ => told.safe_mode.clone(),
    }
}

/// One notice for what happened at once: a failure, the quarantine for it, and others that followed.
fn of_failures(
    failures: &[(&str, &str)],
    quarantined: &[(&str, u64)],
    facts: &Facts,
) -> Option<Notice> {
    let summary = match (failures, quarantined) {
        ([], []) => return None,
        ([], [(name, _)]) => format!("CPU scheduler {} is quarantined", plain(name)),
        ([], _) => format!("{} CPU schedulers are quarantined", quarantined.len()),
        ([(name, _)], _) => format!("CPU scheduler {} failed", plain(name)),
        (_, _) => format!("CPU schedulers failed {} times", failures.len()),
    };
    let failed = failures.iter().map(|(name, error)| match failures.len() {
        1 => markup(error),
        _ => format!("{}: {}", markup(name), markup(error)),
    });
    let waits = quarantined.iter().map(|(name, until)| {
        let lasts = span(until.saturating_sub(facts.now));
        format!("{} is quarantined for {lasts}", markup(name))
    });
    let mut lines = named(failed);
    lines.extend(named(waits));
    lines.push(match facts.current.as_str() {
        "kernel" => "The kernel's own scheduler runs now.".to_owned(),
        other => format!("{} runs now.", markup(other)),
    });
    let body = lines.join("\n");
    Some(Notice { summary, body })
}

/// The safe mode has begun, at once with what `failed`.
fn of_safe_mode(reason: &str, failed: Option<Notice>) -> Notice {
    let failed = failed.map(|failed| format!("{}\n{}\n", escape(&failed.summary), failed.body));
    let body = failed.unwrap_or_default() + &markup(reason);
    let summary = "CPU schedulers: safe mode".to_owned();
    Notice { summary, body }
}

fn named(all: impl ExactSizeIterator<Item = String>) -> Vec<String> {
    let more = all.len().saturating_sub(NAMED);
    let mut lines: Vec<String> = all.take(NAMED).collect();
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

fn plain(text: &str) -> String {
    sanitize(&cut(text))
}

fn markup(text: &str) -> String {
    escape(&cut(text))
}

/// As much of `text` as has room.
fn cut(text: &str) -> String {
    let mut chars = text.chars();
    let mut cut: String = chars.by_ref().take(MAX_TEXT).collect();
    if chars.next().is_some() {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn entry(at: u64, event: Kind, from: &str, to: &str, error: &str) -> Entry {
        Entry {
            at,
            event,
            from: from.into(),
            to: to.into(),
            class: "game".into(),
            reason: String::new(),
            error: error.into(),
            way: None,
            gap_us: None,
            trial: false,
        }
    }

    fn exited(at: u64, name: &str) -> Entry {
        entry(at, Kind::Exited, name, "kernel", "crashed")
    }

    fn facts(now: u64, history: &[Entry]) -> Facts {
        let mut history = history.to_vec();
        history.reverse();
        Facts {
            now,
            current: "kernel".into(),
            mode: "auto".into(),
            reason: "class game".into(),
            quarantined: BTreeMap::new(),
            history,
        }
    }

    fn safe(now: u64) -> Facts {
        Facts {
            mode: "observe".into(),
            reason: "safe mode, because of <SysRq-S>".into(),
            ..facts(now, &[])
        }
    }

    /// The summaries of what is told of one after the other, at first nothing being known; empty where nothing is told.
    fn told(all: &[Facts]) -> Vec<String> {
        let mut told = None;
        all.iter()
            .map(|facts| {
                let (notice, now) = notice(told.as_ref(), facts);
                told = Some(now);
                notice.map_or(String::new(), |notice| notice.summary)
            })
            .collect()
    }

    fn one(history: &[Entry], quarantined: &[(&str, u64)]) -> Notice {
        let (_, before) = notice(None, &facts(0, &[]));
        let mut now = facts(100 * SECOND, history);
        now.quarantined = quarantined
            .iter()
            .map(|&(name, until)| (name.to_owned(), until))
            .collect();
        notice(Some(&before), &now).0.unwrap()
    }

    #[test]
    fn each_failure_is_told_once_and_nothing_of_what_was_before() {
        let old = exited(1, "scx_old");
        let new = exited(2, "scx_new");
        let failed = entry(3, Kind::Failed, "kernel", "scx_lavd", "refused");
        let all = [
            facts(10, std::slice::from_ref(&old)),
            facts(11, &[old.clone(), new.clone()]),
            facts(12, &[old.clone(), new.clone()]),
            facts(13, &[old, new, failed]),
        ];
        let expected = [
            "",
            "CPU scheduler scx_new failed",
            "",
            "CPU scheduler scx_lavd failed",
        ];
        assert_eq!(told(&all), expected);
    }

    #[test]
    fn switches_and_what_people_do_are_no_failures() {
        let others = [
            Kind::Started,
            Kind::Stopped,
            Kind::Switched,
            Kind::Foreign,
            Kind::Refused,
            Kind::Trial,
        ];
        let history: Vec<Entry> = others
            .into_iter()
            .map(|event| entry(5, event, "scx_a", "scx_b", "why"))
            .collect();
        assert!(told(&[facts(1, &[]), facts(9, &history)])[1].is_empty());
    }

    #[test]
    fn a_history_that_was_lost_or_went_on_for_long_tells_what_is_newer() {
        let gone = [exited(5, "scx_a")];
        let other = [exited(3, "scx_b"), exited(8, "scx_c")];
        let all = [facts(6, &gone), facts(9, &other), facts(9, &[])];
        assert_eq!(told(&all), ["", "CPU scheduler scx_c failed", ""]);
        // Also when the clock was set back in between.
        let back = [gone[0].clone(), exited(2, "scx_d")];
        let all = [facts(6, &gone), facts(3, &back)];
        assert_eq!(told(&all), ["", "CPU scheduler scx_d failed"]);
    }

    #[test]
    fn a_failure_and_its_quarantine_are_one_notice() {
        let history = [exited(50 * SECOND, "scx_bpfland")];
        let notice = one(&history, &[("bpfland", 160 * SECOND)]);
        assert_eq!(notice.summary, "CPU scheduler scx_bpfland failed");
        let body =
            "crashed\nbpfland is quarantined for 1m 0s\nThe kernel's own scheduler runs now.";
        assert_eq!(notice.body, body);
    }

    #[test]
    fn a_quarantine_is_told_alone_unless_it_is_known_by_its_name_or_its_time() {
        let with = |now: u64, quarantined: &[(&str, u64)]| Facts {
            quarantined: quarantined
                .iter()
                .map(|&(name, until)| (name.to_owned(), until * SECOND))
                .collect(),
            ..facts(now * SECOND, &[])
        };
        let all = [
            with(1, &[("lavd", 50)]),
            with(2, &[("lavd", 50), ("flash", 80)]),
            // Restarts, edits of the policy, and clocks.
            with(3, &[]),
            with(4, &[("scx_flash -x", 81), ("lavd", 50)]),
            with(5, &[("flash", 90)]),
            // Its time had come in between.
            with(200, &[]),
            with(201, &[("flash", 250)]),
        ];
        let flash = "CPU scheduler flash is quarantined";
        let expected = ["", flash, "", "", "", "", flash];
        assert_eq!(told(&all), expected);
    }

    #[test]
    fn the_safe_mode_is_told_when_it_begins_or_is_found_and_once() {
        let hidden = Facts {
            mode: "pinned".into(),
            ..safe(3)
        };
        let all = [
            safe(1),
            safe(2),
            hidden,
            safe(4),
            facts(5, &[]),
            safe(6),
            safe(7),
        ];
        let safe_mode = "CPU schedulers: safe mode";
        assert_eq!(told(&all), [safe_mode, "", "", "", "", safe_mode, ""]);
        let found = notice(None, &safe(1)).0.unwrap();
        assert_eq!(found.body, "safe mode, because of &lt;SysRq-S&gt;");
        let other = Facts {
            reason: "observing: started with --observe".into(),
            ..safe(1)
        };
        assert!(told(&[facts(0, &[]), other])[1].is_empty());
    }

    #[test]
    fn the_failure_that_begins_the_safe_mode_is_told_with_it() {
        let (_, before) = notice(None, &facts(0, &[]));
        let mut now = safe(10);
        now.history = vec![exited(9, "scx_<a>")];
        let told = notice(Some(&before), &now).0.unwrap();
        assert_eq!(told.summary, "CPU schedulers: safe mode");
        let body = "CPU scheduler scx_&lt;a&gt; failed\ncrashed\n\
                    The kernel's own scheduler runs now.\nsafe mode, because of &lt;SysRq-S&gt;";
        assert_eq!(told.body, body);
    }

    #[test]
    fn what_comes_from_elsewhere_is_text_and_bounded() {
        let error = format!("<b>\u{1b}[2J & {}", "x".repeat(5000));
        let history: Vec<Entry> = (1..=40)
            .map(|at| entry(at, Kind::Exited, "scx_<i>\n", "kernel", &error))
            .collect();
        let notice = one(&history, &[]);
        assert_eq!(notice.summary, "CPU schedulers failed 40 times");
        assert!(notice.body.contains("and 37 more"), "{}", notice.body);
        assert!(!notice.body.contains(['<', '\u{1b}']), "{}", notice.body);
        assert!(notice.body.chars().count() < 1000, "{}", notice.body);
        let notice = one(&history[..1], &[]);
        assert_eq!(notice.summary, "CPU scheduler scx_<i>\u{fffd} failed");
        assert!(notice.body.starts_with("&lt;b&gt;\u{fffd}[2J &amp; xxx"));
    }
}
