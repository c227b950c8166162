//! Whether a placement is better than what was found, from what was counted in turns: found, candidate, found. Pure.
//!
//! Each group is compared with itself before and after, so that it need not be known how fast it is alone, and what changes
//! evenly meanwhile cancels out.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

/// So long is a turn, in seconds.
pub const TURN: u64 = 20;
/// What is counted in this time from a turn's beginning does not count: caches are still those of before.
pub const SETTLE: u64 = 4;
/// So long is a window, in seconds.
pub const WINDOW: u64 = 2;

/// A group may lose this much of its speed, and no more.
pub const MAX_LOSS: f64 = 0.05;
/// It may wait this much longer for a CPU, in parts of the time in which it runs, and no more.
const MAX_DELAY: f64 = 0.05;
/// A candidate that is so much worse is not tried to its end.
const CUT: f64 = 0.10;
/// Windows follow each other closely: how alike neighbours are is told no better than this by so few.
const MAX_CORRELATION: f64 = 0.9;
/// A group whose speed as it was found differs by more than this part between turns, and more than chance explains, does something else.
const MAX_CHANGE: f64 = 0.08;
/// A group of which fewer windows are there says nothing.
const MIN_WINDOWS: usize = 4;
/// Nor one whose windows differ by more than this part of their mean.
const MAX_SPREAD: f64 = 0.25;

/// What was counted in a turn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    /// Window after window, how fast each group was; `None` where that was not measured.
    pub speeds: Vec<Vec<Option<f64>>>,
    /// How long each group waited for CPUs, in parts of the time in which it ran; `None` where that is not known.
    pub delays: Vec<Option<f64>>,
}

/// What a candidate did.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// By which part of their speed the groups got faster, by weight.
    pub gain: f64,
    /// It is more than this with a probability of 95 %.
    pub lower: f64,
    /// How many times as fast each group was.
    pub speeds: Vec<f64>,
    /// What speaks against it whatever the gain.
    pub harm: Option<Harm>,
}

/// Whom a candidate harms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Harm {
    /// A group, by its place, that got slower by this part.
    Slower(usize, f64),
    /// A group, by its place, that waits longer, by this part of its time.
    Waits(usize, f64),
}

/// Why nothing can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Too little was counted of a group, by its place.
    #[error("too little was counted")]
    TooLittle(usize),
    /// A group, by its place, is now this fast and now that.
    #[error("what was counted differs too much")]
    TooNoisy(usize),
    /// A group, by its place, was not as fast in one turn of what was found as in another.
    #[error("it did something else meanwhile")]
    Changed(usize),
    /// There are no groups.
    #[error("there is nothing to compare")]
    Nothing,
}

/// A turn, and the part in which it counts.
type Part<'t> = (&'t Turn, f64);

/// The turns that a candidate is judged by.
struct Compared<'t> {
    found: Vec<Part<'t>>,
    tried: Vec<Part<'t>>,
}

/// The means of each turn, and the parts in which they count.
struct Means {
    found: Vec<(Mean, f64)>,
    tried: Vec<(Mean, f64)>,
}

/// A mean, its variance, and of how many numbers that are independent it is as good.
#[derive(Clone, Copy, Debug)]
struct Mean {
    mean: f64,
    variance: f64,
    freedom: f64,
}

impl Turn {
    /// The mean speed of a group.
    fn speed(&self, group: usize) -> Result<f64, Unusable> {
        let speeds: Vec<f64> = self.speeds_of(group).collect();
        let enough = speeds.len() >= MIN_WINDOWS.min(self.speeds.len().max(1));
        let mean = mean(&speeds).filter(|mean| enough && *mean > 0.0);
        mean.ok_or(Unusable::TooLittle(group))
    }

    fn speeds_of(&self, group: usize) -> impl Iterator<Item = f64> {
        self.speeds
            .iter()
            .filter_map(move |window| *window.get(group)?)
    }

    /// Window after window, how fast all groups were relative to `reference`, by weight. Of a window in which a group was not
    /// measured, the others stand for it.
    fn relative(&self, reference: &[f64], weights: &[f64]) -> Vec<f64> {
        let of_window = |window: &Vec<Option<f64>>| {
            let groups = window.iter().zip(reference).zip(weights);
            let known = groups.filter_map(|((speed, reference), weight)| {
                Some((weight * (*speed)? / reference, weight))
            });
            let (sum, weight) =
                known.fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
            (weight > 0.0).then(|| sum / weight)
        };
        self.speeds.iter().filter_map(of_window).collect()
    }
}

/// What a candidate did in its turns, each of which is between two of what was found.
///
/// `turns` begin with what was found, and every other one is a candidate's; `tried` are the places of this candidate's.
///
/// # Errors
/// When too little was counted of a group, or one did something else at the end than at the beginning.
pub fn effect(turns: &[Turn], tried: &[usize], weights: &[f64]) -> Result<Effect, Unusable> {
    let compared = Compared::of(turns, tried).ok_or(Unusable::Nothing)?;
    let reference = compared.reference(weights.len())?;
    let means = compared.means(|turn| turn.relative(&reference, weights));
    let Means { found, tried } = means.ok_or(Unusable::Nothing)?;
    let (found, tried) = (Mean::together(&found), Mean::together(&tried));
    let gain = tried.mean / found.mean - 1.0;
    let speed = |(group, reference): (usize, &f64)| Ok(compared.tried_speed(group)? / reference);
    let speeds = reference.iter().enumerate().map(speed);
    Ok(Effect {
        speeds: speeds.collect::<Result<_, _>>()?,
        gain,
        lower: gain - tried.margin(found),
        harm: compared.harm(&reference)?,
    })
}

impl Effect {
    /// Whether more than `margin` is gained for sure, and nobody is harmed.
    #[must_use]
    pub fn is_better(&self, margin: f64) -> bool {
        self.lower > margin && self.harm.is_none()
    }
}

/// Which part of the speed of before is gained so far, in a turn that is under way; `None` while nothing can be said.
#[must_use]
pub fn gain_so_far(before: &Turn, candidate: &Turn, weights: &[f64]) -> Option<f64> {
    let reference: Result<Vec<f64>, Unusable> = (0..weights.len())
        .map(|group| before.speed(group))
        .collect();
    let relative = candidate.relative(&reference.ok()?, weights);
    Some(mean(&relative)? - 1.0)
}

/// Whether a candidate is so bad that it is not tried to its end.
#[must_use]
pub fn is_to_be_cut(before: &Turn, candidate: &Turn, weights: &[f64]) -> bool {
    gain_so_far(before, candidate, weights).is_some_and(|gain| gain < -CUT)
}

impl<'t> Compared<'t> {
    /// Each turn of what was found counts as often as it is beside one of the candidate's, so that what changes evenly cancels
    /// out. `None` where one is missing.
    fn of(turns: &'t [Turn], tried: &[usize]) -> Option<Self> {
        let part = 1.0 / tried.len() as f64;
        let mut found = BTreeMap::new();
        for at in tried {
            for beside in [at.checked_sub(1)?, at + 1] {
                *found.entry(beside).or_insert(0.0) += part / 2.0;
            }
        }
        let turn = |(at, part): (usize, f64)| Some((turns.get(at)?, part));
        let of_tried: Option<Vec<_>> = tried.iter().map(|at| turn((*at, part))).collect();
        let of_found: Option<Vec<_>> = found.into_iter().map(turn).collect();
        Some(Self {
            found: of_found?,
            tried: of_tried.filter(|tried| !tried.is_empty())?,
        })
    }

    /// How fast each group was as it was found.
    fn reference(&self, groups: usize) -> Result<Vec<f64>, Unusable> {
        let reference: Result<Vec<f64>, Unusable> =
            (0..groups).map(|group| speed(&self.found, group)).collect();
        reference.and_then(|all| {
            if all.is_empty() {
                Err(Unusable::Nothing)
            } else {
                Ok(all)
            }
        })
    }

    /// How fast a group was in the candidate's turns.
    fn tried_speed(&self, group: usize) -> Result<f64, Unusable> {
        speed(&self.tried, group)
    }

    /// The means of such numbers of each turn.
    fn means(&self, numbers: impl Fn(&Turn) -> Vec<f64>) -> Option<Means> {
        let of = |turns: &[Part<'t>]| -> Vec<(Vec<f64>, f64)> {
            let numbers = turns.iter().map(|(turn, part)| (numbers(turn), *part));
            numbers.collect()
        };
        let (found, tried) = (of(&self.found), of(&self.tried));
        let all: Vec<&Vec<f64>> = found.iter().chain(&tried).map(|(all, _)| all).collect();
        let correlation = correlation(&all);
        let means = |series: &[(Vec<f64>, f64)]| -> Option<Vec<(Mean, f64)>> {
            let means = series
                .iter()
                .map(|(all, part)| Some((Mean::of(all, correlation)?, *part)));
            means.collect()
        };
        Some(Means {
            found: means(&found)?,
            tried: means(&tried)?,
        })
    }

    /// The first group that is harmed beyond what chance explains.
    fn harm(&self, reference: &[f64]) -> Result<Option<Harm>, Unusable> {
        for (group, reference) in reference.iter().enumerate() {
            self.tried_speed(group)?;
            let relative = |turn: &Turn| -> Vec<f64> {
                let speeds = turn.speeds_of(group);
                speeds.map(|speed| speed / reference).collect()
            };
            let mut turns = self.found.iter().chain(&self.tried);
            if turns.any(|(turn, _)| spread(&relative(turn)) > MAX_SPREAD) {
                return Err(Unusable::TooNoisy(group));
            }
            let means = self.means(relative).ok_or(Unusable::TooLittle(group))?;
            if means.has_changed() {
                return Err(Unusable::Changed(group));
            }
            let (found, tried) = (Mean::together(&means.found), Mean::together(&means.tried));
            let loss = found.mean - tried.mean;
            if loss - tried.margin(found) > MAX_LOSS {
                return Ok(Some(Harm::Slower(group, loss)));
            }
            if let Some(longer) = self.delay(group).filter(|longer| *longer > MAX_DELAY) {
                return Ok(Some(Harm::Waits(group, longer)));
            }
        }
        Ok(None)
    }

    /// By how much longer a group waited than in any turn of what was found, where that is known.
    fn delay(&self, group: usize) -> Option<f64> {
        let delays = |turns: &[Part<'t>]| -> Option<Vec<f64>> {
            let of = |(turn, _): &Part<'t>| turn.delays.get(group).copied().flatten();
            turns.iter().map(of).collect()
        };
        let found = delays(&self.found)?.into_iter().reduce(f64::max)?;
        Some(mean(&delays(&self.tried)?)? - found)
    }
}

/// How fast a group was in some turns.
fn speed(turns: &[Part<'_>], group: usize) -> Result<f64, Unusable> {
    let speeds = turns
        .iter()
        .map(|(turn, part)| Ok(part * turn.speed(group)?));
    speeds.sum()
}

impl Means {
    /// Whether turns of what was found differ by more than chance explains.
    fn has_changed(&self) -> bool {
        let differ =
            |one: Mean, other: Mean| (one.mean - other.mean).abs() - one.margin(other) > MAX_CHANGE;
        let mut rest = self.found.as_slice();
        while let [(one, _), others @ ..] = rest {
            if others.iter().any(|(other, _)| differ(*one, *other)) {
                return true;
            }
            rest = others;
        }
        false
    }
}

impl Mean {
    /// Of numbers of which neighbours are so alike. Of numbers that follow each other closely, the mean varies more than of
    /// as many independent ones, and their spread shows less of it.
    fn of(numbers: &[f64], correlation: f64) -> Option<Self> {
        let count = numbers.len() as f64;
        let mean = mean(numbers)?;
        if numbers.len() < 2 {
            return None;
        }
        let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
        let spread = squares / (count - 1.0);
        // By how much the variance of the mean is larger than that of independent numbers.
        let mut larger = 1.0;
        let mut power = 1.0;
        for lag in 1..numbers.len() {
            power *= correlation;
            larger += 2.0 * (1.0 - lag as f64 / count) * power;
        }
        let shown = 1.0 - (larger - 1.0) / (count - 1.0);
        Some(Self {
            mean,
            variance: spread / shown.max(0.1) * larger / count,
            freedom: (count / larger - 1.0).max(1.0),
        })
    }

    /// The mean of means, each of which counts in this part.
    fn together(means: &[(Self, f64)]) -> Self {
        let of = |number: fn(&(Self, f64)) -> f64| means.iter().map(number).sum();
        Self {
            mean: of(|(mean, part)| mean.mean * part),
            variance: of(|(mean, part)| mean.variance * part * part),
            freedom: of(|(mean, _)| mean.freedom),
        }
    }

    /// By how much the difference of two means may be larger by chance, with a probability of 5 % (Welch's test, of one side).
    fn margin(self, other: Self) -> f64 {
        let variance = self.variance + other.variance;
        if variance <= 0.0 {
            return 0.0;
        }
        let parts = self.variance.powi(2) / self.freedom + other.variance.powi(2) / other.freedom;
        student(variance.powi(2) / parts) * variance.sqrt()
    }
}

/// How alike neighbours are in some series, from 0, as of independent numbers, to 1.
fn correlation(series: &[&Vec<f64>]) -> f64 {
    let (mut together, mut squares, mut longest) = (0.0, 0.0, 0);
    for numbers in series {
        let Some(mean) = mean(numbers) else { continue };
        squares += numbers
            .iter()
            .map(|number| (number - mean).powi(2))
            .sum::<f64>();
        let neighbours = numbers.iter().zip(numbers.iter().skip(1));
        together += neighbours
            .map(|(one, next)| (one - mean) * (next - mean))
            .sum::<f64>();
        longest = longest.max(numbers.len());
    }
    let count = longest as f64;
    if squares <= 0.0 || count <= 4.0 {
        return 0.0;
    }
    // In short series neighbours seem less alike than they are (Kendall, 1954).
    let seen = together / squares;
    ((seen + 1.0 / count) / (1.0 - 4.0 / count)).clamp(0.0, MAX_CORRELATION)
}

/// The number that Student's t is below with a probability of 95 %, of so many degrees of freedom.
fn student(freedom: f64) -> f64 {
    /// Of 1, 2, 3 and 4.
    const FEW: [f64; 4] = [6.314, 2.920, 2.353, 2.132];
    /// That of the normal distribution.
    const Z: f64 = 1.644_853_6;
    let freedom = freedom.max(1.0);
    for (count, (this, next)) in FEW.iter().zip(&FEW[1..]).enumerate() {
        let part = freedom - (count + 1) as f64;
        if part < 1.0 {
            return this + part * (next - this);
        }
    }
    // Cornish's and Fisher's expansion.
    let first = (Z.powi(3) + Z) / (4.0 * freedom);
    let second = (5.0 * Z.powi(5) + 16.0 * Z.powi(3) + 3.0 * Z) / (96.0 * freedom.powi(2));
    Z + first + second
}

/// The standard deviation, in parts of the mean; 0 of fewer than two.
fn spread(numbers: &[f64]) -> f64 {
    let mean = mean(numbers).unwrap_or(1.0);
    let squares = numbers.iter().map(|number| (number / mean - 1.0).powi(2));
    (squares.sum::<f64>() / (numbers.len() as f64 - 1.0).max(1.0)).sqrt()
}

fn mean(numbers: &[f64]) -> Option<f64> {
    (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / numbers.len() as f64)
}
