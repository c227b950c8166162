//! Finds the name that was probably meant.

use super::error::{quote, quote_all};

/// Longer words are not compared: no valid name is as long, and comparing costs length squared.
const MAX_LENGTH: usize = 64;

/// What to add to a message about `word`, which is none of `names`: `, did you mean …?` when one
/// of them is near, else `; LABEL …` with all of them.
pub fn instead<'a>(
    word: &str,
    names: impl Iterator<Item = &'a str> + Clone,
    label: &str,
) -> String {
    match nearest(word, names.clone()) {
        Some(name) => format!(", did you mean {}?", quote(name)),
        None => format!("; {label} {}", quote_all(names)),
    }
}

/// The name that differs from `word` by case and at most a third of its letters.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    if length > MAX_LENGTH {
        return None;
    }
    let word = word.to_lowercase();
    let tolerance = |name: &str| (length.max(name.chars().count()) / 3).max(1);
    names
        .into_iter()
        // Names that differ too much in length already need no comparison.
        .filter(|name| length.abs_diff(name.chars().count()) <= tolerance(name))
        .map(|name| {
            (
                strsim::damerau_levenshtein(&word, &name.to_lowercase()),
                name,
            )
        })
        .filter(|(distance, name)| *distance <= tolerance(name))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
