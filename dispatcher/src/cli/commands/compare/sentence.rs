//! The sentence that a comparison comes to, for one challenger: what a person can act on. Pure.

use auto_ext_evidence::{Effect, Interval};

use super::comparison::{Challenger, Comparison, Primary};
use super::guards::{Conclusion, check, conclusion};
use super::percent::{change_in_percent, interval, interval_of_less, percent};

/// What a person can act on.
pub(super) fn sentence(comparison: &Comparison, challenger: &Challenger) -> String {
    let (name, incumbent) = (&challenger.name, &comparison.incumbent);
    let primary = &comparison.primary;
    let Some(effect) = challenger.effect() else {
        return format!("{name}: nothing is known, as there is no pair.");
    };
    let pairs = match challenger.pairs.len() {
        1 => "1 pair".to_owned(),
        pairs => format!("{pairs} pairs"),
    };
    let is_small = is_small(primary, effect);
    let effect = as_told(primary, effect);
    let (size, is_less) = size(primary, effect);
    let of = if is_less { interval_of_less } else { interval };
    let range = effect.interval.map(|range| format!("95 %: {}", of(range)));
    let range = range.unwrap_or_else(|| "too few pairs for an interval".to_owned());
    match conclusion(primary, challenger) {
        Conclusion::Better => {
            format!("{name}: {size} than {incumbent} ({range}), {pairs}. Worth it.")
        }
        Conclusion::AtACost => {
            let cost = cost(primary, challenger);
            format!(
                "{name}: {size} than {incumbent} ({range}), {pairs}, but {cost}. Keep {incumbent}, unless that is of no account."
            )
        }
        Conclusion::Worse => {
            format!("{name}: {size} than {incumbent} ({range}), {pairs}. Keep {incumbent}.")
        }
        Conclusion::NoDifference if !is_small => format!(
            "{name}: {size} than {incumbent} ({range}), but {pairs} do not prove it. Keep {incumbent}."
        ),
        Conclusion::NoDifference => format!(
            "{name}: no difference from {incumbent} worth having, {size} ({range}), {pairs}. Keep {incumbent}."
        ),
        Conclusion::Open => format!(
            "{name}: not decided. So far {size} than {incumbent} ({range}), {pairs}; more may tell."
        ),
    }
}

/// Whether all that it may be is less than what is worth having.
fn is_small(primary: &Primary, effect: Effect) -> bool {
    let margin = primary.judged_by().margin().ln_1p();
    let interval = effect.interval;
    interval.is_some_and(|Interval { low, high }| -margin < low && high < margin)
}

/// The effect as the sentence tells it: of waits and energy, how much more there is, and else how much better it is.
fn as_told(primary: &Primary, effect: Effect) -> Effect {
    match primary {
        Primary::Wall | Primary::Number { .. } | Primary::Instructions | Primary::Completions => {
            effect
        }
        Primary::Waits | Primary::Energy | Primary::EnergyPerInstruction => Effect {
            median: -effect.median,
            interval: effect.interval.map(|Interval { low, high }| Interval {
                low: -high,
                high: -low,
            }),
        },
    }
}

/// `4.1 % faster`, and whether that is a word for less.
fn size(primary: &Primary, effect: Effect) -> (String, bool) {
    let size = percent(effect.median);
    let (more, less) = match primary {
        Primary::Wall => ("faster", "slower"),
        Primary::Number { .. } => ("better", "worse"),
        Primary::Waits => ("longer waits", "shorter waits"),
        Primary::Instructions => ("more instructions", "fewer instructions"),
        Primary::Completions => ("more completions", "fewer completions"),
        Primary::Energy => ("more energy", "less energy"),
        Primary::EnergyPerInstruction => (
            "more energy for each instruction",
            "less energy for each instruction",
        ),
    };
    match size.strip_prefix('-') {
        Some(size) => (format!("{size} % {less}"), true),
        None => (format!("{size} % {more}"), false),
    }
}

/// What got worse that may not.
fn cost(primary: &Primary, challenger: &Challenger) -> String {
    let lost = check(primary, challenger)
        .into_iter()
        .filter(|it| it.is_lost);
    let lost: Vec<String> = lost
        .map(|checked| {
            let measure = checked.guard.measure;
            match (checked.once, checked.change) {
                (Some(most), _) => format!("{} was {}", measure.told, measure.shown(most)),
                (None, change) => {
                    let change = change.map_or_else(|| "some".to_owned(), change_in_percent);
                    format!("{} changed by {change}", measure.told)
                }
            }
        })
        .collect();
    lost.join(" and ")
}
