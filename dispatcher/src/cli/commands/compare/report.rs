//! What is told of a comparison, as text and as JSON. Pure.

use std::ffi::OsString;
use std::io::{self, Write};
use std::time::Duration;

use anstyle::Style;
use auto_ext_evidence::{Effect, LogRatio, Verdict};
use auto_ext_service::duration::span;
use auto_ext_service::sanitize::sanitize;
use serde_json::{Value as Json, json};

use super::comparison::{Challenger, Comparison, Measured, Primary};
use super::end::End;
use super::percent::{interval, interval_of_less, percent, signed};
use super::plot::plot;
use super::rule::{Rule, rule};
use super::turn::Turn;
use crate::cli::commands::style::{STRONG, Styled};

/// What there is to tell.
pub(super) struct Report<'a> {
    pub(super) comparison: &'a Comparison,
    pub(super) command: &'a [OsString],
    pub(super) end: &'a End,
    pub(super) took: Duration,
    pub(super) seed: u64,
    /// Glyphs beyond ASCII can be shown.
    pub(super) unicode: bool,
}

/// Something that is measured in each turn.
struct Measure {
    /// Its key in JSON.
    key: &'static str,
    /// Its row in the table.
    name: &'static str,
    of: fn(&Turn) -> f64,
}

const MEASURES: [Measure; 3] = [
    Measure {
        key: "wall_s",
        name: "wall time",
        of: |turn| turn.wall,
    },
    Measure {
        key: "user_s",
        name: "user time",
        of: |turn| turn.user,
    },
    Measure {
        key: "system_s",
        name: "system time",
        of: |turn| turn.system,
    },
];

impl Report<'_> {
    /// Writes it for people.
    pub(super) fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        for challenger in &self.comparison.challengers {
            let sentence = Styled(self.style(challenger), sanitize(&self.sentence(challenger)));
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
        let (took, seed) = (span(micros(self.took)), self.seed);
        writeln!(
            out,
            "It took {took}; --seed {seed} has the same order of turns."
        )
    }

    fn style(&self, challenger: &Challenger) -> Style {
        match challenger.evidence.verdict() {
            Verdict::Open => Style::new(),
            Verdict::Better | Verdict::Worse | Verdict::NoDifference => STRONG,
        }
    }

    /// What a person can act on.
    pub(super) fn sentence(&self, challenger: &Challenger) -> String {
        let (name, incumbent) = (&challenger.name, &self.comparison.incumbent);
        let Some(effect) = challenger.effect() else {
            return format!("{name}: nothing is known, as there is no pair.");
        };
        let pairs = match challenger.pairs.len() {
            1 => "1 pair".to_owned(),
            pairs => format!("{pairs} pairs"),
        };
        let (size, is_less) = self.size(effect);
        let of = if is_less { interval_of_less } else { interval };
        let range = effect.interval.map(|range| format!("95 %: {}", of(range)));
        let range = range.unwrap_or_else(|| "too few pairs for an interval".to_owned());
        match challenger.evidence.verdict() {
            Verdict::Better => {
                format!("{name}: {size} than {incumbent} ({range}), {pairs}. Worth it.")
            }
            Verdict::Worse => {
                format!("{name}: {size} than {incumbent} ({range}), {pairs}. Keep {incumbent}.")
            }
            Verdict::NoDifference => format!(
                "{name}: no difference from {incumbent} worth having, {size} ({range}), {pairs}. Keep {incumbent}."
            ),
            Verdict::Open => format!(
                "{name}: not decided. So far {size} than {incumbent} ({range}), {pairs}; more may tell."
            ),
        }
    }

    /// `4.1 % faster`, and whether that is a word for less.
    fn size(&self, effect: Effect) -> (String, bool) {
        let size = percent(effect.median);
        let (more, less) = match self.comparison.primary {
            Primary::Wall => ("faster", "slower"),
            Primary::Number { .. } => ("better", "worse"),
        };
        match size.strip_prefix('-') {
            Some(size) => (format!("{size} % {less}"), true),
            None => (format!("{size} % {more}"), false),
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
        let mut rows = Vec::new();
        for Measure { name, of, .. } in MEASURES {
            rows.extend(
                challenger
                    .measured(of)
                    .map(|measured| (name, "s", measured)),
            );
        }
        rows.extend(number(&self.comparison.primary, challenger).map(|it| ("number", "", it)));
        if rows.is_empty() {
            return Ok(());
        }
        let (incumbent, name) = (
            sanitize(&self.comparison.incumbent),
            sanitize(&challenger.name),
        );
        writeln!(out, "  {:<12} {incumbent:>12} {name:>12}  change", "median")?;
        for (name, unit, Measured { medians, change }) in rows {
            let change = match change {
                Some(Effect {
                    median,
                    interval: Some(range),
                }) => {
                    format!("{} (95 %: {})", signed(median), interval(range))
                }
                Some(effect) => signed(effect.median),
                None => "-".to_owned(),
            };
            let shown = |number: f64| format!("{}{unit}", amount(number));
            let (before, after) = (shown(medians.incumbent), shown(medians.challenger));
            writeln!(out, "  {name:<12} {before:>12} {after:>12}  {change}")?;
        }
        Ok(())
    }

    /// The rule for what is best of all that are better.
    fn rule(&self) -> Option<Rule> {
        let better = self.comparison.challengers.iter();
        let better = better.filter(|challenger| challenger.evidence.verdict() == Verdict::Better);
        let size =
            |challenger: &&Challenger| challenger.effect().map_or(0.0, |effect| effect.median);
        let best = better.max_by(|a, b| size(a).total_cmp(&size(b)))?;
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
        let (measure, better) = match &self.comparison.primary {
            Primary::Wall => ("wall_s", "lower"),
            Primary::Number { better, .. } => (
                "value",
                match better {
                    auto_ext_evidence::Better::Lower => "lower",
                    auto_ext_evidence::Better::Higher => "higher",
                },
            ),
        };
        let expression = match &self.comparison.primary {
            Primary::Wall => None,
            Primary::Number { expression, .. } => Some(expression),
        };
        let challengers = self.comparison.challengers.iter();
        let challengers: Vec<Json> = challengers
            .map(|challenger| self.challenger(challenger))
            .collect();
        json!({
            "incumbent": self.comparison.incumbent,
            "command": command,
            "judged_by": measure,
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
        })
    }

    fn challenger(&self, challenger: &Challenger) -> Json {
        let evidence = &challenger.evidence;
        let verdict = match evidence.verdict() {
            Verdict::Open => "open",
            Verdict::Better => "better",
            Verdict::Worse => "worse",
            Verdict::NoDifference => "no difference",
        };
        let mut measures: serde_json::Map<String, Json> = MEASURES
            .into_iter()
            .filter_map(|Measure { key, of, .. }| {
                Some((key.to_owned(), measured(challenger.measured(of)?)))
            })
            .collect();
        if let Some(it) = number(&self.comparison.primary, challenger) {
            measures.insert("value".to_owned(), measured(it));
        }
        let ratios: Vec<f64> = evidence
            .ratios()
            .iter()
            .copied()
            .map(LogRatio::get)
            .collect();
        json!({
            "scheduler": challenger.name,
            "verdict": verdict,
            "sentence": self.sentence(challenger),
            "pairs": challenger.pairs.len(),
            "effect": challenger.effect().map(effect),
            "e_better": evidence.e_better(),
            "e_worse": evidence.e_worse(),
            "sigma": evidence.sigma(),
            "log_ratios": ratios,
            "measures": measures,
            "dropped": { "incumbent": challenger.dropped.incumbent, "challenger": challenger.dropped.challenger },
        })
    }
}

fn number(primary: &Primary, challenger: &Challenger) -> Option<Measured> {
    match primary {
        Primary::Wall => None,
        Primary::Number { .. } => challenger.measured(|turn| turn.value.unwrap_or(f64::NAN)),
    }
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

/// With four digits or so.
fn amount(number: f64) -> String {
    let digits = match number.abs() {
        ..1.0 => 4,
        ..10.0 => 3,
        ..100.0 => 2,
        ..1000.0 => 1,
        _ => 0,
    };
    format!("{number:.digits$}")
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
