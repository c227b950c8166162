//! What the running scheduler says of itself, as JSON and for people.

use std::fmt::{self, Display, Formatter};

use auto_ext_service::sanitize::sanitize;
use foresight_model::burst::FEATURES;
use foresight_model::fixed::exp2_q16;
use foresight_model::line::Fit;
use serde::{Deserialize, Serialize};

use crate::bpf::types;
use crate::learning::Learning;
use crate::moves::{MoveLearning, MoveSummary};
use crate::options::Mode;
use crate::sample::Sample;
use crate::scores::{Score, Summary};

/// How many of a task's last bursts are shown.
const BURSTS: usize = 16;

/// What the scheduler does as a whole.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stats {
    pub(crate) mode: Mode,
    /// Whether lines count, or are only watched.
    pub(crate) acting: bool,
    pub(crate) counted: Counted,
    /// Tasks that are learned from.
    pub(crate) tasks: usize,
    /// Those of them that have a line.
    pub(crate) lines: usize,
    /// How well bursts are predicted, of late.
    pub(crate) recent: Option<Summary>,
    /// And since the scheduler was loaded.
    pub(crate) total: Option<Summary>,
    /// What decides about moves between last-level caches.
    pub(crate) moves: Option<MoveSummary>,
}

/// What was counted since the scheduler was loaded.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counted {
    /// Bursts that ended in sleep.
    pub(crate) bursts: u64,
    /// Wakeups that found an idle CPU.
    pub(crate) idle: u64,
    /// Tasks that had to wait.
    pub(crate) queued: u64,
    /// Tasks that ran in another last-level cache than they waited in.
    pub(crate) stolen: u64,
    /// Running tasks that had to go for one that woke.
    pub(crate) preempted: u64,
    /// Bursts that were learned from.
    pub(crate) samples: u64,
    /// Bursts that there was no room for.
    pub(crate) lost: u64,
    /// Tasks of which it was decided whether they go to another last-level cache.
    pub(crate) candidates: u64,
    /// Those of them that had to stay.
    pub(crate) vetoes: u64,
    /// And those of these that went all the same, as they had waited for long enough.
    pub(crate) forced: u64,
    /// Vetoes that are over: who was kept may go, or runs.
    pub(crate) ended: u64,
    /// How long they lasted, in all and at most.
    pub(crate) kept_ns: u64,
    pub(crate) kept_max_ns: u64,
    /// At most, but for what the timer was late by which they end.
    pub(crate) held_max_ns: u64,
    /// The most that this left out.
    pub(crate) excused_max_ns: u64,
    /// The latest that such a timer was when it came.
    pub(crate) late_max_ns: u64,
    /// Decisions that were looked at.
    pub(crate) moves: u64,
    /// Decisions that there was no room for.
    pub(crate) lost_moves: u64,
}

/// What is known of one task.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Why {
    pub(crate) pid: u32,
    pub(crate) name: Option<String>,
    /// How many bursts its line was fitted to.
    pub(crate) bursts: u64,
    /// Its line's weights.
    pub(crate) line: Option<[f64; FEATURES]>,
    /// Whether that may be used: it did better than the average when it was last judged.
    pub(crate) published: bool,
    /// Its last bursts, the latest first.
    pub(crate) last: Vec<Burst>,
}

/// A burst, and what was predicted.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Burst {
    pub(crate) took_ns: u64,
    pub(crate) average_ns: u64,
    /// What the line said, if there was one.
    pub(crate) line_ns: Option<u64>,
    /// The line had done better so far.
    pub(crate) chosen: bool,
    /// It was what the scheduler went by.
    pub(crate) used: bool,
}

impl Counted {
    /// Of all CPUs.
    pub(crate) fn sum(cpus: &[types::counters]) -> Self {
        let of = |counter: fn(&types::counters) -> u64| cpus.iter().map(counter).sum();
        let most = |counter: fn(&types::counters) -> u64| {
            cpus.iter().map(counter).max().unwrap_or_default()
        };
        Self {
            bursts: of(|cpu| cpu.bursts),
            idle: of(|cpu| cpu.idle),
            queued: of(|cpu| cpu.queued),
            stolen: of(|cpu| cpu.stolen),
            preempted: of(|cpu| cpu.preempted),
            samples: of(|cpu| cpu.samples),
            lost: of(|cpu| cpu.lost),
            candidates: of(|cpu| cpu.candidates),
            vetoes: of(|cpu| cpu.vetoes),
            forced: of(|cpu| cpu.forced),
            ended: of(|cpu| cpu.ended),
            kept_ns: of(|cpu| cpu.kept_ns),
            kept_max_ns: most(|cpu| cpu.kept_max_ns),
            held_max_ns: most(|cpu| cpu.held_max_ns),
            excused_max_ns: most(|cpu| cpu.excused_max_ns),
            late_max_ns: most(|cpu| cpu.late_max_ns),
            moves: of(|cpu| cpu.moves),
            lost_moves: of(|cpu| cpu.lost_moves),
        }
    }

    /// How long tasks were kept back, if any was.
    fn write_kept(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(mean) = self.kept_ns.checked_div(self.ended) else {
            return Ok(());
        };
        let [mean, most, held, late] =
            [mean, self.kept_max_ns, self.held_max_ns, self.late_max_ns].map(millis);
        writeln!(
            f,
            "kept back for {mean} ms, at most {most} ms, {held} ms but for timers that were late, the latest by {late} ms"
        )
    }
}

/// Milliseconds, to the hundredth.
fn millis(ns: u64) -> String {
    format!("{}.{:02}", ns / 1_000_000, ns / 10_000 % 100)
}

impl Stats {
    /// Of a scheduler in this mode that counted this and learned that.
    pub(crate) fn of(
        mode: Mode,
        counted: Counted,
        learning: Option<&Learning>,
        moves: Option<&MoveLearning>,
    ) -> Self {
        let (tasks, lines) = learning.map(Learning::tasks).unwrap_or_default();
        let scores = learning.map(Learning::scores);
        Self {
            mode,
            acting: learning.is_some_and(Learning::acting),
            counted,
            tasks,
            lines,
            recent: scores.and_then(|(recent, _)| recent.summary()),
            total: scores.and_then(|(_, total)| total.summary()),
            moves: moves.map(MoveLearning::summary),
        }
    }
}

impl Why {
    /// Of this task.
    pub(crate) fn of(pid: u32, learning: Option<&Learning>) -> Self {
        let fit = learning.and_then(|learning| learning.fit(pid));
        let last = learning.into_iter().flat_map(|learning| learning.last(pid));
        let last: Vec<&Sample> = last.take(BURSTS).collect();
        Self {
            pid,
            name: last.first().map(|sample| sample.name.clone()),
            bursts: fit.map_or(0, Fit::bursts),
            line: fit.and_then(|fit| fit.line().copied()),
            published: fit.is_some_and(Fit::is_published),
            last: last.into_iter().map(Burst::of).collect(),
        }
    }
}

impl Burst {
    fn of(sample: &Sample) -> Self {
        let average = i64::from(sample.average);
        let line = |deviation| exp2_q16(average + i64::from(deviation));
        Self {
            took_ns: sample.ran_ns,
            average_ns: exp2_q16(average),
            line_ns: sample.deviation.map(line),
            chosen: sample.chosen,
            used: sample.used,
        }
    }
}

impl Display for Stats {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let lines = match (self.mode, self.acting) {
            (Mode::Baseline, _) => "nothing is learned",
            (_, true) => "lines count where they do better than averages",
            (_, false) => "lines are only watched",
        };
        let counted = &self.counted;
        writeln!(f, "mode {}: {lines}", self.mode)?;
        writeln!(
            f,
            "bursts {}, wakeups to an idle CPU {}, queued {}, stolen {}, preempted {}",
            counted.bursts, counted.idle, counted.queued, counted.stolen, counted.preempted
        )?;
        if self.mode == Mode::Baseline {
            return Ok(());
        }
        writeln!(
            f,
            "tasks {}, with a line {}; bursts learned from {}, lost {}",
            self.tasks, self.lines, counted.samples, counted.lost
        )?;
        for (when, summary) in [("of late", &self.recent), ("over all", &self.total)] {
            if let Some(summary) = summary {
                writeln!(f, "{when}: {summary}")?;
            }
        }
        writeln!(
            f,
            "moves to other caches: decided {}, kept back {}, let go in the end {}; looked at {}, lost {}",
            counted.candidates, counted.vetoes, counted.forced, counted.moves, counted.lost_moves
        )?;
        counted.write_kept(f)?;
        if let Some(moves) = &self.moves {
            writeln!(f, "{moves}")?;
        }
        Ok(())
    }
}

impl Display for MoveSummary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let what = match (self.network, self.acting, self.trusted) {
            (false, _, _) => "no network decides about moves: all are made",
            (_, true, _) => "a network decides about moves",
            (_, false, true) => "a network is only watched: all moves are made",
            (_, false, false) => "a network has not proven itself: all moves are made",
        };
        f.write_str(what)?;
        if self.network {
            write!(f, "; asked of {}", self.asked)?;
        }
        if let (Some(goes), Some(agreement)) = (self.goes, self.agreement) {
            let [goes, agreement] = [goes, agreement].map(|share| 100.0 * share);
            write!(
                f,
                ", says go in {goes:.0} %, as floating point in {agreement:.2} %"
            )?;
        }
        if self.learned > 0 {
            write!(f, "; learned {} times", self.learned)?;
        }
        Ok(())
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let score = |score: &Score| format!("{:.2} (R2 {:.2})", score.mae, score.r2);
        write!(
            f,
            "off by doublings as the last burst {}, the average {}, a line where chosen {}; a line for {:.0} %, chosen for {:.0} %",
            score(&self.last),
            score(&self.average),
            score(&self.line),
            100.0 * self.with_line,
            100.0 * self.chosen
        )
    }
}

impl Display for Why {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = sanitize(self.name.as_deref().unwrap_or("?"));
        writeln!(
            f,
            "task {} ({name}), {} bursts learned from",
            self.pid, self.bursts
        )?;
        match (&self.line, self.published) {
            (None, _) => writeln!(f, "no line: its average is what is predicted")?,
            (Some(_), false) => writeln!(
                f,
                "its line did worse than its average, which is what is predicted"
            )?,
            (Some(line), true) => writeln!(f, "its line: {line:.2?}")?,
        }
        if !self.last.is_empty() {
            writeln!(f, "{:>12} {:>12} {:>12}", "took", "average", "line")?;
        }
        for burst in &self.last {
            let us = |ns: u64| format!("{} us", ns / 1000);
            let line = burst.line_ns.map_or_else(|| "-".to_owned(), us);
            let what = match (burst.chosen, burst.used) {
                (_, true) => "  used",
                (true, false) => "  would be used",
                (false, false) => "",
            };
            writeln!(
                f,
                "{:>12} {:>12} {line:>12}{what}",
                us(burst.took_ns),
                us(burst.average_ns)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use foresight_model::fixed::ONE;

    use super::*;
    use crate::learning::tests::learning;
    use crate::moves::tests::planted;
    use crate::sample::tests::sample;

    #[test]
    fn what_is_said_comes_back_and_can_be_read() {
        let mut learning = learning(Mode::Act).unwrap();
        learning.take(sample(7, Some(ONE), true));
        let counted = Counted {
            bursts: 3,
            ended: 2,
            kept_ns: 3_000_000,
            kept_max_ns: 2_050_000,
            ..Counted::default()
        };
        let moves = MoveLearning::new(Mode::Act, Some((planted(false), true)), false);
        let stats = Stats::of(Mode::Act, counted, Some(&learning), moves.as_ref());
        let json = serde_json::to_string(&stats).unwrap();
        assert_eq!(serde_json::from_str::<Stats>(&json).unwrap(), stats);
        let text = stats.to_string();
        assert!(text.starts_with("mode act: lines count where"), "{text}");
        assert!(
            text.contains("the average 1.00 (R2 0.00), a line where chosen 0.00"),
            "{text}"
        );
        assert!(
            text.contains("\nkept back for 1.50 ms, at most 2.05 ms, "),
            "{text}"
        );
        assert!(
            text.ends_with("a network is only watched: all moves are made; asked of 0\n"),
            "{text}"
        );
        let why = Why::of(7, Some(&learning));
        let json = serde_json::to_string(&why).unwrap();
        assert_eq!(serde_json::from_str::<Why>(&json).unwrap(), why);
        let text = why.to_string();
        assert!(
            text.contains("task 7 (make), 1 bursts learned from"),
            "{text}"
        );
        assert!(
            text.contains("2097 us      1048 us      2097 us  would be used"),
            "{text}"
        );
    }

    #[test]
    fn of_who_is_not_known_that_is_said() {
        let why = Why::of(8, None).to_string();
        assert!(
            why.contains("task 8 (?)") && why.contains("no line"),
            "{why}"
        );
        let stats = Stats::of(Mode::Baseline, Counted::default(), None, None).to_string();
        assert!(
            stats.starts_with("mode baseline: nothing is learned\n"),
            "{stats}"
        );
    }
}
