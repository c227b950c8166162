//! What is known of one challenger under one load: its pairs, what was proven by them, and whether it may be tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use auto_ext_evidence::{
    Design, Effect, Evidence, LogRatio, MAX_PAIRS, MIN_PAIRS, SETTLE, Verdict, still_shows,
};
use serde::{Deserialize, Serialize};

use crate::compared::Compared;
use crate::since_1970;
use crate::yardstick::{Metric, Yardstick};

/// In so many trials at least nothing is proven: what a machine is like for an hour it need not be like tomorrow.
const MIN_EPISODES: u32 = 2;
/// What a pair says in which the candidate had to leave at once: half as good, at best.
const LOST: f64 = -std::f64::consts::LN_2;
const DAY: Duration = Duration::from_hours(24);
const LONGEST_BENCH: Duration = Duration::from_hours(24 * 32);
/// More turns that were dropped under the candidate than under the incumbent are harm, from this difference on, and twice as many.
const DROPS: u32 = 5;
/// The longest text that is kept, in bytes.
pub(crate) const MAX_TEXT: usize = 4096;

/// What is known of a challenger. Moments are times since 1970.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// The logarithms of the ratios of the pairs that count now; above 0 the candidate was better.
    pub(crate) ratios: Vec<f64>,
    /// Those of their guards.
    pub(crate) guards: BTreeMap<Metric, Vec<f64>>,
    /// Those of the first and the second halves of their turns.
    pub(crate) halves: Vec<[f64; 2]>,
    /// In how many trials they were made.
    pub(crate) episodes: u32,
    /// Turns that nothing came of.
    pub(crate) drops: Drops,
    /// How many pairs there ever were.
    pub(crate) pairs: u32,
    /// It was proven to be better.
    pub(crate) proven: Option<Proven>,
    /// It is not tried any more, for this.
    pub(crate) closed: Option<Closed>,
    /// The comparison that said so, or that it is better; `None` where trials did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compared: Option<Compared>,
    /// How often it had to leave at once.
    pub(crate) benched: u32,
    /// Until when it is not tried for that.
    #[serde(with = "since_1970")]
    pub(crate) benched_until: Duration,
    /// Why, for people.
    pub(crate) benched_for: String,
    /// Which of the times the machine settles for.
    pub(crate) settle: usize,
    /// When its last pair ended.
    #[serde(with = "since_1970")]
    pub(crate) last: Duration,
}

/// Turns of which nothing came, by whose they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// The candidate's.
    pub candidate: u32,
    /// The incumbent's.
    pub incumbent: u32,
}

/// That a challenger is better.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proven {
    /// By how much, as the logarithm of a ratio.
    pub effect: f64,
    /// By so many pairs.
    pub pairs: u32,
    /// The e-value that they had.
    #[serde(default)]
    pub e_better: f64,
    /// Since when.
    #[serde(with = "since_1970")]
    pub since: Duration,
}

/// Why a challenger is not tried any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Closed {
    /// It is worse.
    Worse,
    /// There is no difference worth having.
    NoDifference,
}

/// What came of a pair for what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Not enough yet.
    Open,
    /// It is better, or still is.
    Better,
    /// It is not, or is not any more.
    Closed(Closed),
}

/// What was found by a pair and those before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Judged {
    pub(crate) finding: Finding,
    /// The e-values for that the candidate is better, and worse.
    pub(crate) e_better: f64,
    pub(crate) e_worse: f64,
}

/// What a pair says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Says {
    pub(crate) ratio: f64,
    pub(crate) guards: Vec<(Metric, f64)>,
    pub(crate) halves: Option<[f64; 2]>,
}

impl Record {
    /// By how much it is better, as the logarithm of a ratio: what was proven, or what the pairs say by now.
    #[must_use]
    pub fn effect(&self) -> Option<f64> {
        let proven = self.proven.map(|proven| proven.effect);
        let proven = proven.or_else(|| self.compared.map(|compared| compared.effect));
        proven.or_else(|| Effect::of(&self.ratios()).map(|effect| effect.median))
    }

    /// The pairs that count now.
    #[must_use]
    pub fn ratios(&self) -> Vec<LogRatio> {
        let ratios = self.ratios.iter().copied();
        ratios.filter_map(LogRatio::of_logarithm).collect()
    }

    /// What the pairs that count now say.
    #[must_use]
    pub fn evidence(&self, design: Design) -> Evidence {
        let mut evidence = Evidence::new(design);
        for ratio in self.ratios() {
            evidence.add(ratio);
        }
        evidence
    }

    /// What was proven.
    #[must_use]
    pub fn proven(&self) -> Option<Proven> {
        self.proven
    }

    /// Why it is not tried any more.
    #[must_use]
    pub fn closed(&self) -> Option<Closed> {
        self.closed
    }

    /// The comparison by which it was found.
    #[must_use]
    pub fn compared(&self) -> Option<Compared> {
        self.compared
    }

    /// Until when it is not tried at `at`, and why.
    #[must_use]
    pub fn on_bench(&self, at: Duration) -> Option<(Duration, &str)> {
        (at < self.benched_until).then_some((self.benched_until, self.benched_for.as_str()))
    }

    /// How many pairs there ever were.
    #[must_use]
    pub fn pairs(&self) -> u32 {
        self.pairs
    }

    /// The turns of which nothing came.
    #[must_use]
    pub fn drops(&self) -> Drops {
        self.drops
    }

    /// For how long the machine settles in its turns.
    #[must_use]
    pub fn settle(&self) -> Duration {
        SETTLE[self.settle.min(SETTLE.len() - 1)]
    }

    /// The guard that is nearest to being lost, and how near it is: 1 is lost.
    #[must_use]
    pub fn nearest_guard(&self, yardstick: &Yardstick) -> Option<(Metric, f64)> {
        let nearness = |(metric, margin): &(Metric, f64)| {
            let ratios = self.guards.get(metric)?.iter().copied();
            let ratios: Vec<LogRatio> = ratios.filter_map(LogRatio::of_logarithm).collect();
            Some((*metric, -Effect::of(&ratios)?.median / margin))
        };
        let guards = yardstick.guards.iter().filter_map(nearness);
        guards.max_by(|(_, one), (_, other)| one.total_cmp(other))
    }

    /// Takes in a pair of a trial, the first of that trial if `begins`, and judges.
    pub(crate) fn add(
        &mut self,
        says: &Says,
        yardstick: &Yardstick,
        challengers: usize,
        begins: bool,
        at: Duration,
    ) -> Judged {
        self.episodes = self.episodes.saturating_add(u32::from(begins));
        self.pairs = self.pairs.saturating_add(1);
        self.last = at;
        self.ratios.push(says.ratio);
        for (metric, ratio) in &says.guards {
            self.guards.entry(*metric).or_default().push(*ratio);
        }
        if let Some(halves) = says.halves {
            self.halves.push(halves);
            self.settle_longer();
        }
        let mut judged = self.judge(yardstick, challengers);
        if judged.finding == Finding::Closed(Closed::NoDifference)
            && self.is_proven_by_other_than(yardstick)
        {
            // Trials cannot see what it is better at; that it is no worse is all they can say.
            self.begin_anew();
            judged.finding = Finding::Open;
        }
        if judged.finding != Finding::Open {
            self.compared = None;
        }
        match judged.finding {
            Finding::Open => {}
            Finding::Better => {
                let effect = Effect::of(&self.ratios()).map(|effect| effect.median);
                self.proven = Some(Proven {
                    effect: effect.unwrap_or_default(),
                    pairs: u32::try_from(self.ratios.len()).unwrap_or(u32::MAX),
                    e_better: judged.e_better,
                    since: self.proven.map_or(at, |proven| proven.since),
                });
                self.begin_anew();
            }
            Finding::Closed(why) => {
                self.proven = None;
                self.closed = Some(why);
            }
        }
        judged
    }

    /// What is found by the pairs that count now.
    pub(crate) fn judge(&self, yardstick: &Yardstick, challengers: usize) -> Judged {
        let design = match self.proven {
            None => yardstick.design(challengers),
            Some(_) => yardstick.design_of_proven(),
        };
        let evidence = self.evidence(design);
        let lost = self
            .nearest_guard(yardstick)
            .is_some_and(|(_, nearness)| nearness >= 1.0);
        let (e_better, e_worse) = (evidence.e_better(), evidence.e_worse());
        let suffices = evidence.ratios().len() >= MIN_PAIRS && self.episodes >= MIN_EPISODES;
        let finding = if e_better >= design.better_at() && suffices && !lost {
            Finding::Better
        } else if e_worse >= design.worse_at() {
            Finding::Closed(Closed::Worse)
        } else if evidence.ratios().len() >= MAX_PAIRS {
            Finding::Closed(Closed::NoDifference)
        } else {
            Finding::Open
        };
        Judged {
            finding,
            e_better,
            e_worse,
        }
    }

    /// Records that the candidate had to leave at once: its pair is lost, and it is not tried for a while.
    pub(crate) fn lose(
        &mut self,
        why: &str,
        yardstick: &Yardstick,
        challengers: usize,
        begins: bool,
        at: Duration,
    ) -> Judged {
        self.bench(why, at);
        let says = Says {
            ratio: LOST,
            ..Says::default()
        };
        self.add(&says, yardstick, challengers, begins, at)
    }

    /// Does not try it for a day, and each further time for twice as long.
    pub(crate) fn bench(&mut self, why: &str, at: Duration) {
        let doublings = self.benched.min(5);
        self.benched = self.benched.saturating_add(1);
        self.benched_until = at + (DAY * (1 << doublings)).min(LONGEST_BENCH);
        self.benched_for = why.replace(char::is_control, " ");
        let end = self.benched_for.floor_char_boundary(MAX_TEXT);
        self.benched_for.truncate(end);
    }

    /// Records that nothing came of a turn: the candidate's, or the incumbent's. That nothing comes of the candidate's more often is
    /// harm, too.
    pub(crate) fn drop_turn(&mut self, of_candidate: bool, at: Duration) {
        let Drops {
            candidate,
            incumbent,
        } = &mut self.drops;
        let drops = if of_candidate { candidate } else { incumbent };
        *drops = drops.saturating_add(1);
        if of_candidate && self.drops.candidate >= DROPS + 2 * self.drops.incumbent {
            self.drops = Drops::default();
            let why = "its turns end early more often than those of the kernel's own";
            self.bench(why, at);
        }
    }

    /// Takes in what a comparison found, in place of what was found before.
    pub(crate) fn compare(&mut self, verdict: Verdict, compared: Compared) {
        let Compared {
            effect,
            pairs,
            e_better,
            at,
            ..
        } = compared;
        self.closed = match verdict {
            Verdict::Open => return,
            Verdict::Better => None,
            Verdict::Worse => Some(Closed::Worse),
            Verdict::NoDifference => Some(Closed::NoDifference),
        };
        self.proven = (verdict == Verdict::Better).then_some(Proven {
            effect,
            pairs,
            e_better,
            since: at,
        });
        self.compared = Some(compared);
        self.last = at;
        self.begin_anew();
    }

    /// Whether a comparison proved it by what this yardstick does not measure.
    fn is_proven_by_other_than(&self, yardstick: &Yardstick) -> bool {
        let by = self.compared.map(|compared| compared.by.metric());
        self.proven.is_some() && by.is_some_and(|metric| metric != Some(yardstick.primary))
    }

    /// What was proven is to be proven anew by the next pairs.
    fn begin_anew(&mut self) {
        self.ratios.clear();
        self.guards.clear();
        self.episodes = 0;
    }

    /// Has the machine settle for longer, if in the first halves of turns the other scheduler still shows.
    fn settle_longer(&mut self) {
        if self.settle + 1 < SETTLE.len() && still_shows(&self.halves) {
            self.settle += 1;
            self.halves.clear();
        }
    }

    /// What somebody kept, if it can be: all numbers finite, none of them too many.
    pub(crate) fn is_sound(&self) -> bool {
        let numbers = self.guards.values().flatten().chain(&self.ratios);
        let mut numbers = numbers.chain(self.halves.iter().flatten());
        let lists = self.guards.values().map(Vec::len);
        let longest = lists.chain([self.ratios.len(), self.halves.len()]).max();
        let proven = self
            .proven
            .is_none_or(|proven| proven.effect.is_finite() && proven.e_better.is_finite());
        numbers.all(|number| number.is_finite())
            && longest.is_none_or(|longest| longest <= MAX_PAIRS)
            && proven
            && self.compared.is_none_or(|compared| compared.is_sound())
            && self.benched_for.len() <= MAX_TEXT
    }
}

#[cfg(test)]
mod tests {
    use auto_ext_policy::Goal;

    use super::*;
    use crate::compared::JudgedBy;
    use crate::outcome::Measured;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn yardstick() -> Yardstick {
        let measured = Measured {
            demand: 100.0,
            wait_ns: Some(1.0),
            user: Some(1.0),
            ..Measured::default()
        };
        Yardstick::new(Goal::Latency, &measured).unwrap()
    }

    fn says(ratio: f64, user: f64) -> Says {
        Says {
            ratio,
            guards: vec![(Metric::User, user)],
            halves: None,
        }
    }

    /// What was found after each pair like this, in trials of four.
    fn findings(record: &mut Record, says: &Says, pairs: usize) -> Vec<Finding> {
        let yardstick = yardstick();
        let mut add = |n: usize| {
            let judged = record.add(says, &yardstick, 1, n.is_multiple_of(4), NOW);
            judged.finding
        };
        (0..pairs).map(&mut add).collect()
    }

    #[test]
    fn what_is_better_is_so_after_six_pairs_and_two_trials() {
        let mut record = Record::default();
        let found = findings(&mut record, &says(0.4, 0.0), 6);
        assert_eq!(found[..5], [Finding::Open; 5]);
        assert_eq!(found[5], Finding::Better);
        let proven = record.proven().unwrap();
        assert!((proven.effect - 0.4).abs() < 1e-9 && proven.pairs == 6);
        let mut once = Record::default();
        let yardstick = yardstick();
        for n in 0..12 {
            let judged = once.add(&says(0.4, 0.0), &yardstick, 1, n == 0, NOW);
            assert_eq!(judged.finding, Finding::Open, "all in one trial");
        }
    }

    #[test]
    fn nothing_is_won_where_something_is_lost() {
        let mut record = Record::default();
        let found = findings(&mut record, &says(0.4, -0.05), MAX_PAIRS);
        assert!(!found.contains(&Finding::Better));
        assert_eq!(found[MAX_PAIRS - 1], Finding::Closed(Closed::NoDifference));
        let (metric, nearness) = record.nearest_guard(&yardstick()).unwrap();
        assert!(metric == Metric::User && nearness > 1.0);
    }

    #[test]
    fn what_was_proven_is_demoted_when_it_is_worse_or_no_better_any_more() {
        for (ratio, why) in [(-0.4, Closed::Worse), (0.0, Closed::NoDifference)] {
            let mut record = Record::default();
            findings(&mut record, &says(0.4, 0.0), 6);
            let found = findings(&mut record, &says(ratio, 0.0), MAX_PAIRS);
            assert!(found.contains(&Finding::Closed(why)), "{ratio}");
            assert_eq!((record.proven(), record.closed()), (None, Some(why)));
        }
        let mut record = Record::default();
        findings(&mut record, &says(0.4, 0.0), 6);
        let found = findings(&mut record, &says(0.3, 0.0), 12);
        assert!(found.contains(&Finding::Better) && record.proven().is_some());
    }

    fn compared(by: JudgedBy, effect: f64) -> Compared {
        Compared {
            by,
            effect,
            pairs: 9,
            e_better: 50.0,
            e_worse: 0.1,
            at: NOW,
        }
    }

    #[test]
    fn what_a_comparison_found_stands_until_trials_find_otherwise() {
        let by_waits = compared(JudgedBy::Metric(Metric::Wait), 0.2);
        let by_time = compared(JudgedBy::Time, 0.2);
        for compared in [by_waits, by_time] {
            let mut record = Record::default();
            record.compare(Verdict::Better, compared);
            assert_eq!(record.proven().unwrap().pairs, 9);
            assert_eq!(record.effect(), Some(0.2));
            // Trials that see no difference say so of what they measure alone.
            let found = findings(&mut record, &says(0.0, 0.0), MAX_PAIRS);
            let stands = compared == by_time;
            assert_eq!(record.proven().is_some(), stands, "{found:?}");
            assert_eq!(record.compared().is_some(), stands);
            let mut record = Record::default();
            record.compare(Verdict::Better, compared);
            findings(&mut record, &says(-0.4, 0.0), MAX_PAIRS);
            assert_eq!(
                (record.proven(), record.closed()),
                (None, Some(Closed::Worse))
            );
        }
        let mut record = Record::default();
        findings(&mut record, &says(0.4, 0.0), 6);
        record.compare(Verdict::Worse, compared(JudgedBy::Time, -0.1));
        assert_eq!(
            (record.proven(), record.closed(), record.effect()),
            (None, Some(Closed::Worse), Some(-0.1))
        );
        assert!(record.is_sound());
    }

    #[test]
    fn who_had_to_leave_is_benched_for_a_day_and_then_for_twice_as_long() {
        let mut record = Record::default();
        record.lose("a task waited", &yardstick(), 1, true, NOW);
        assert_eq!(record.on_bench(NOW), Some((NOW + DAY, "a task waited")));
        assert_eq!(record.on_bench(NOW + DAY), None);
        let again = NOW + 2 * DAY;
        record.lose("a task waited", &yardstick(), 1, true, again);
        assert_eq!(record.on_bench(again).unwrap().0, again + 2 * DAY);
        assert!(record.effect().unwrap() < -0.5);
    }

    #[test]
    fn whatever_a_scheduler_said_what_is_kept_can_be_read_again() {
        let mut record = Record::default();
        record.bench(&"\u{1b}[2Jä\n".repeat(MAX_TEXT), NOW);
        assert!(record.is_sound());
        let (_, why) = record.on_bench(NOW).unwrap();
        assert!(why.starts_with(" [2Jä ") && !why.contains(char::is_control));
    }

    #[test]
    fn turns_that_end_early_under_the_candidate_alone_are_harm() {
        let mut record = Record::default();
        for _ in 0..20 {
            record.drop_turn(true, NOW);
            record.drop_turn(false, NOW);
        }
        assert_eq!(record.on_bench(NOW), None);
        let mut record = Record::default();
        for _ in 0..5 {
            assert_eq!(record.on_bench(NOW), None);
            record.drop_turn(true, NOW);
        }
        assert!(record.on_bench(NOW).is_some());
    }

    #[test]
    fn the_machine_settles_for_longer_while_the_other_scheduler_still_shows() {
        let settle_of = |halves: [f64; 2]| {
            let mut record = Record::default();
            for n in 0..8 {
                let wobble = if n % 2 == 0 { 0.01 } else { -0.01 };
                let halves = Some([halves[0] + wobble, halves[1] - wobble]);
                let says = Says {
                    halves,
                    ..says(0.0, 0.0)
                };
                record.add(&says, &yardstick(), 1, false, NOW);
            }
            record.settle()
        };
        assert_eq!(settle_of([0.2, 0.2]), SETTLE[0]);
        assert_eq!(settle_of([0.1, 0.3]), SETTLE[2]);
        assert_eq!(settle_of([-0.1, -0.3]), SETTLE[2]);
    }
}
