//! What is told of a comparison, as text and as JSON. Pure.

use std::ffi::OsString;
use std::io::{self, Write};
use std::time::Duration;

use anstyle::Style;
use auto_ext_evidence::{Better, Effect, LogRatio};
use auto_ext_service::duration::span;
use auto_ext_service::sanitize::sanitize;
use serde_json::{Value as Json, json};

use super::comparison::{Challenger, Comparison, Measured, Primary};
use super::end::End;
use super::guards::{Checked, Conclusion, check, conclusion};
use super::measures::{MEASURES, Measure};
use super::percent::{change_in_percent, signed};
use super::plot::plot;
use super::rule::{Rule, rule, scheduler};
use super::sentence::sentence;
use super::tuning::Tuning;
use crate::cli::commands::style::{STRONG, Styled};

/// How wide the columns of the table are at least.
const COLUMN: usize = 12;

/// What there is to tell.
pub(super) struct Report<'a> {
    pub(super) comparison: &'a Comparison,
    /// Which arguments were tried before, if any.
    pub(super) tuning: Option<&'a Tuning>,
    pub(super) command: &'a [OsString],
    pub(super) end: &'a End,
    pub(super) took: Duration,
    pub(super) seed: u64,
    /// For which class `--keep` would keep what was found.
    pub(super) class: Option<String>,
    /// Glyphs beyond ASCII can be shown.
    pub(super) unicode: bool,
}

impl Report<'_> {
    /// Writes it for people.
    pub(super) fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        if let Some(tuning) = self.tuning {
            write_standings(out, tuning)?;
        }
        for challenger in &self.comparison.challengers {
            let sentence = Styled(
                self.style(challenger),
                sanitize(&sentence(self.comparison, challenger)),
            );
            writeln!(out, "{sentence}")?;
            if let Some(dropped) = self.dropped(challenger) {
                writeln!(out, "{}", sanitize(&dropped))?;
            }
            self.write_table(out, challenger)?;
            for line in plot(challenger.evidence.ratios(), self.unicode) {
                writeln!(out, "  {line}")?;
            }
            writeln!(out)?;
        }
        if let Some(Rule { text, is_known }) = self.rule() {
            writeln!(
                out,
                "To have that, among `rules` of /etc/auto-ext/policies.yaml:\n    {text}"
            )?;
            if !is_known {
                writeln!(out, "where PROGRAM is the name of what does the work")?;
            }
        }
        if let Some(best) = self.best().filter(|_| self.is_live()) {
            writeln!(
                out,
                "To have that, put {} first in `use` of the class that this load has (`auto-ext why`).",
                sanitize(&best.name)
            )?;
        }
        if let (Some(_), Some(class)) = (self.best(), &self.class) {
            writeln!(
                out,
                "With --keep it would be remembered for class {}.",
                sanitize(class)
            )?;
        }
        if let (Some(best), Some(tuning)) = (self.best(), self.tuning) {
            let standings = tuning.standings();
            let set = standings
                .iter()
                .find(|(set, _)| set.to_string() == best.name);
            if let Some((set, _)) = set {
                writeln!(
                    out,
                    "To have that, in /etc/auto-ext/policies.yaml, and then in `use` of a rule:\n    {}",
                    sanitize(&scheduler(set))
                )?;
            }
        }
        let (took, seed) = (span(micros(self.took)), self.seed);
        writeln!(
            out,
            "It took {took}; --seed {seed} has the same order of turns."
        )
    }

    fn style(&self, challenger: &Challenger) -> Style {
        match conclusion(&self.comparison.primary, challenger) {
            Conclusion::Open => Style::new(),
            Conclusion::Better
            | Conclusion::AtACost
            | Conclusion::Worse
            | Conclusion::NoDifference => STRONG,
        }
    }

    fn dropped(&self, challenger: &Challenger) -> Option<String> {
        let dropped = challenger.dropped;
        let (of_incumbent, of_challenger) = (dropped.incumbent, dropped.challenger);
        (of_incumbent + of_challenger > 0).then(|| {
            format!(
                "  pairs that did not count: {of_incumbent} for a turn of {}, {of_challenger} for one of {}",
                self.comparison.incumbent, challenger.name
            )
        })
    }

    fn write_table(&self, out: &mut impl Write, challenger: &Challenger) -> io::Result<()> {
        let rows: Vec<(&Measure, Measured)> = MEASURES
            .into_iter()
            .filter_map(|measure| Some((measure, challenger.measured(measure)?)))
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        let (incumbent, name) = (
            sanitize(&self.comparison.incumbent),
            sanitize(&challenger.name),
        );
        let width = |name: &str| name.chars().count().max(COLUMN);
        let (left, right) = (width(&incumbent), width(&name));
        writeln!(
            out,
            "  {:<COLUMN$} {incumbent:>left$} {name:>right$}  change",
            "median"
        )?;
        for (measure, Measured { medians, change }) in rows {
            let change = change.map_or_else(|| "-".to_owned(), change_in_percent);
            let (name, before) = (measure.name, measure.shown(medians.incumbent));
            let after = measure.shown(medians.challenger);
            writeln!(
                out,
                "  {name:<COLUMN$} {before:>left$} {after:>right$}  {change}"
            )?;
        }
        Ok(())
    }

    /// The load was the one that ran, and no command.
    fn is_live(&self) -> bool {
        self.command.is_empty()
    }

    /// The best of all that are better.
    fn best(&self) -> Option<&Challenger> {
        let better = self.comparison.challengers.iter();
        let better = better.filter(|challenger| {
            conclusion(&self.comparison.primary, challenger) == Conclusion::Better
        });
        let size =
            |challenger: &&Challenger| challenger.effect().map_or(0.0, |effect| effect.median);
        better.max_by(|a, b| size(a).total_cmp(&size(b)))
    }

    /// The rule for that; of arguments there has to be a scheduler of the policy first.
    fn rule(&self) -> Option<Rule> {
        let best = self.best().filter(|_| self.tuning.is_none())?;
        rule(self.command, &best.name, &self.comparison.incumbent)
    }

    /// It as an object, on which scripts rely.
    pub(super) fn to_json(&self) -> Json {
        let command: Vec<_> = self
            .command
            .iter()
            .map(|word| word.to_string_lossy())
            .collect();
        let error = match self.end {
            End::Failed(error) => Some(format!("{error:#}")),
            _ => None,
        };
        let primary = &self.comparison.primary;
        let better = match primary.better() {
            Better::Lower => "lower",
            Better::Higher => "higher",
        };
        let expression = match primary {
            Primary::Number { expression, .. } => Some(expression),
            Primary::Wall
            | Primary::Waits
            | Primary::Instructions
            | Primary::Completions
            | Primary::Energy
            | Primary::EnergyPerInstruction => None,
        };
        let challengers = self.comparison.challengers.iter();
        let challengers: Vec<Json> = challengers
            .map(|challenger| self.challenger(challenger))
            .collect();
        json!({
            "incumbent": self.comparison.incumbent,
            "command": command,
            "live": self.is_live(),
            "judged_by": primary.measure().key,
            "better": better,
            "expression": expression,
            "ended": self.end.word(),
            "error": error,
            "took_s": self.took.as_secs_f64(),
            "seed": self.seed,
            "e_better_at": self.comparison.design.better_at(),
            "e_worse_at": self.comparison.design.worse_at(),
            "challengers": challengers,
            "rule": self.rule().map(|rule| rule.text),
            "tuned": self.tuning.map(standings),
        })
    }

    fn challenger(&self, challenger: &Challenger) -> Json {
        let evidence = &challenger.evidence;
        let verdict = match conclusion(&self.comparison.primary, challenger) {
            Conclusion::Open => "open",
            Conclusion::Better => "better",
            Conclusion::AtACost => "better at a cost",
            Conclusion::Worse => "worse",
            Conclusion::NoDifference => "no difference",
        };
        let measures: serde_json::Map<String, Json> = MEASURES
            .iter()
            .filter_map(|measure| {
                let it = challenger.measured(measure)?;
                Some((measure.key.to_owned(), measured(it)))
            })
            .collect();
        let guards: Vec<Json> = check(&self.comparison.primary, challenger)
            .into_iter()
            .map(|checked| {
                let Checked {
                    guard,
                    change,
                    is_lost,
                    once: _,
                } = checked;
                json!({
                    "measure": guard.measure.key,
                    "margin": guard.margin,
                    "change": change.map(effect),
                    "lost": is_lost,
                })
            })
            .collect();
        let ratios: Vec<f64> = evidence
            .ratios()
            .iter()
            .copied()
            .map(LogRatio::get)
            .collect();
        json!({
            "scheduler": challenger.name,
            "verdict": verdict,
            "sentence": sentence(self.comparison, challenger),
            "pairs": challenger.pairs.len(),
            "effect": challenger.effect().map(effect),
            "e_better": evidence.e_better(),
            "e_worse": evidence.e_worse(),
            "sigma": evidence.sigma(),
            "log_ratios": ratios,
            "measures": measures,
            "guards": guards,
            "dropped": { "incumbent": challenger.dropped.incumbent, "challenger": challenger.dropped.challenger },
        })
    }
}

/// Writes how the sets of arguments did in their rounds.
fn write_standings(out: &mut impl Write, tuning: &Tuning) -> io::Result<()> {
    writeln!(out, "  rounds  against the best  arguments")?;
    for (set, standing) in tuning.standings() {
        let score = match standing.score {
            None => "does not run".to_owned(),
            Some(score) if score.is_finite() => signed(score),
            Some(_) => "failed".to_owned(),
        };
        let (rounds, set) = (standing.rounds, sanitize(&set.to_string()));
        writeln!(out, "  {rounds:>6}  {score:>16}  {set}")?;
    }
    writeln!(out)
}

/// The same as a list of objects.
fn standings(tuning: &Tuning) -> Json {
    let standings = tuning.standings().into_iter();
    let standings = standings.map(|(set, standing)| {
        json!({
            "scheduler": set.scheduler,
            "args": set.args,
            "rounds": standing.rounds,
            "score": standing.score.filter(|score| score.is_finite()),
            "left": standing.is_left,
        })
    });
    standings.collect()
}

fn measured(Measured { medians, change }: Measured) -> Json {
    json!({ "incumbent": medians.incumbent, "challenger": medians.challenger, "change": change.map(effect) })
}

/// As logarithms.
fn effect(effect: Effect) -> Json {
    let (low, high) = (
        effect.interval.map(|it| it.low),
        effect.interval.map(|it| it.high),
    );
    json!({ "median": effect.median, "low": low, "high": high })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
