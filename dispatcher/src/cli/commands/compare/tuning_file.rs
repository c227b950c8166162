//! The file of `--tune`: which arguments of a scheduler are to be tried. All of it is bounded and checked here.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use auto_ext_policy::{MAX_ARG, MAX_ARGS};
use serde::Deserialize;

use super::contender::Contender;
use crate::sources::bounded_file;

/// How large the file may be, in bytes, and how many sets of arguments it may come to.
const MAX_BYTES: usize = 64 * 1024;
const MAX_SETS: usize = 64;
/// How many values a range may have.
const MAX_STEPS: usize = 16;

/// What the file says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The scheduler, as in a rule's `use`.
    scheduler: Argument,
    /// The arguments that each set begins with.
    #[serde(default)]
    always: Vec<Argument>,
    /// The sets, each a list of arguments.
    #[serde(default)]
    sets: Vec<Vec<Argument>>,
    /// Options with a number, of which every combination is a set.
    #[serde(default)]
    ranges: Vec<Range>,
}

/// A word that can be passed to a program.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Argument(String);

impl TryFrom<String> for Argument {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() > MAX_ARG {
            return Err(format!("an argument is longer than {MAX_ARG} bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err("an argument contains a control character".to_owned());
        }
        Ok(Self(text))
    }
}

/// An option whose number is tried from one end to the other.
#[derive(Debug, Deserialize)]
#[serde(try_from = "RangeKeys")]
struct Range {
    option: String,
    numbers: Vec<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RangeKeys {
    /// Such as `--slice-us`, or with `=` at its end where the number is to follow at once.
    option: Argument,
    from: u64,
    to: u64,
    steps: usize,
}

impl TryFrom<RangeKeys> for Range {
    type Error = String;

    fn try_from(keys: RangeKeys) -> Result<Self, String> {
        let RangeKeys {
            option,
            from,
            to,
            steps,
        } = keys;
        if from == 0 || from >= to {
            return Err("a range goes from a number above 0 to a greater one".to_owned());
        }
        if !(2..=MAX_STEPS).contains(&steps) {
            return Err(format!("a range has 2 to {MAX_STEPS} steps"));
        }
        Ok(Self {
            option: option.0,
            numbers: numbers(from, to, steps),
        })
    }
}

impl Range {
    fn arguments(&self, number: u64) -> Vec<String> {
        if self.option.ends_with('=') {
            vec![format!("{}{number}", self.option)]
        } else {
            vec![self.option.clone(), number.to_string()]
        }
    }
}

/// So many numbers, each about as many times as large as the one before, with both ends.
fn numbers(from: u64, to: u64, steps: usize) -> Vec<u64> {
    #[expect(clippy::cast_precision_loss, reason = "it is rounded anyway")]
    let (low, high, last) = (from as f64, to as f64, (steps - 1) as f64);
    let mut numbers = BTreeSet::from([from, to]);
    for step in 1..steps - 1 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a number between both, of which the nearest whole one is meant"
        )]
        let number = (low * (high / low).powf(step as f64 / last)).round() as u64;
        numbers.insert(number.clamp(from, to));
    }
    numbers.into_iter().collect()
}

/// What is to be tried.
///
/// # Errors
/// With the place in the file where something is wrong.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Contender>> {
    let read = || {
        let bytes = bounded_file::read(path, MAX_BYTES).map_err(|error| anyhow!("{error}"))?;
        parse(std::str::from_utf8(&bytes)?)
    };
    read().with_context(|| path.display().to_string())
}

fn parse(text: &str) -> anyhow::Result<Vec<Contender>> {
    let options = serde_saphyr::options! { with_snippet: false };
    let file: File = serde_saphyr::from_str_with_options(text, options)?;
    let words = |words: &[Argument]| words.iter().map(|word| word.0.clone()).collect::<Vec<_>>();
    let always = words(&file.always);
    let mut sets: Vec<Vec<String>> = match (file.sets.is_empty(), file.ranges.is_empty()) {
        (false, true) => file.sets.iter().map(|set| words(set)).collect(),
        (true, false) => combinations(&file.ranges)?,
        _ => return Err(anyhow!("there are to be either `sets` or `ranges`")),
    };
    for set in &mut sets {
        set.splice(0..0, always.iter().cloned());
        if set.len() > MAX_ARGS {
            return Err(anyhow!("a set has more than {MAX_ARGS} arguments"));
        }
    }
    let different: BTreeSet<&Vec<String>> = sets.iter().collect();
    if different.len() < sets.len() {
        return Err(anyhow!("a set is there twice"));
    }
    if !(2..=MAX_SETS).contains(&sets.len()) {
        let count = sets.len();
        return Err(anyhow!(
            "there are {count} sets of arguments, and may be 2 to {MAX_SETS}"
        ));
    }
    let contender = |args| Contender {
        scheduler: file.scheduler.0.clone(),
        args,
    };
    Ok(sets.into_iter().map(contender).collect())
}

/// Every combination of a number for each option.
fn combinations(ranges: &[Range]) -> anyhow::Result<Vec<Vec<String>>> {
    let mut sets = vec![Vec::new()];
    for range in ranges {
        let count = sets.len() * range.numbers.len();
        if count > MAX_SETS {
            return Err(anyhow!("the ranges have more than {MAX_SETS} combinations"));
        }
        let longer = |set: &Vec<String>| {
            let set = set.clone();
            let numbers = range.numbers.iter();
            numbers.map(move |number| {
                let arguments = range.arguments(*number);
                set.iter().cloned().chain(arguments).collect::<Vec<_>>()
            })
        };
        sets = sets.iter().flat_map(longer).collect();
    }
    Ok(sets)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let contenders = parse(text).unwrap();
        contenders.iter().map(Contender::to_string).collect()
    }

    #[test]
    fn sets_are_lists_of_arguments() {
        let text = "scheduler: bpfland\nalways: [-v]\nsets:\n  - []\n  - [-m, performance]\n  - [-s, 20000]\n";
        let expected = [
            "bpfland -v",
            "bpfland -v -m performance",
            "bpfland -v -s 20000",
        ];
        assert_eq!(shown(text), expected);
    }

    #[test]
    fn ranges_are_tried_in_every_combination_by_ratios() {
        let text = "scheduler: lavd\nranges:\n  - {option: --slice-us, from: 1000, to: 16000, steps: 3}\n  \
                    - {option: \"--lag=\", from: 1, to: 2, steps: 5}\n";
        let expected = [
            "lavd --slice-us 1000 --lag=1",
            "lavd --slice-us 1000 --lag=2",
            "lavd --slice-us 4000 --lag=1",
            "lavd --slice-us 4000 --lag=2",
            "lavd --slice-us 16000 --lag=1",
            "lavd --slice-us 16000 --lag=2",
        ];
        assert_eq!(shown(text), expected);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let range = |rest: &str| format!("scheduler: a\nranges:\n  - {{option: -s, {rest}}}\n");
        let long = "x".repeat(MAX_ARG + 1);
        for (text, says) in [
            ("scheduler: a\nset: [[a], [b]]\n".to_owned(), "line 2"),
            (range("from: 1, to: 9, steps: 3, by: 2"), "line 3"),
            (
                range("from: 9, to: 1, steps: 3"),
                "a range goes from a number above 0 to a greater one",
            ),
            (range("from: 9, to: 1, steps: 3"), "line 3"),
            (
                range("from: 1, to: 9, steps: 99"),
                "a range has 2 to 16 steps",
            ),
            (range("from: -1, to: 9, steps: 3"), "line 3"),
            (
                format!("scheduler: a\nsets: [[b], [{long}]]\n"),
                "an argument is longer",
            ),
            (
                "scheduler: a\nsets: [[b], [\"c\\n\"]]\n".to_owned(),
                "a control character",
            ),
            (
                "scheduler: a\nsets: [[b], [b]]\n".to_owned(),
                "a set is there twice",
            ),
            ("scheduler: a\nsets: [[b]]\n".to_owned(), "may be 2 to 64"),
            ("scheduler: a\n".to_owned(), "either `sets` or `ranges`"),
            ("sets: [[a], [b]]\n".to_owned(), "scheduler"),
            ("scheduler: [".to_owned(), "line"),
        ] {
            let error = format!("{:#}", parse(&text).unwrap_err());
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn too_many_combinations_are_not_made() {
        let range = "  - {option: -s, from: 1, to: 100000, steps: 16}\n";
        let text = format!("scheduler: a\nranges:\n{}", range.repeat(50));
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains("more than 64 combinations"), "{error}");
    }

    #[test]
    fn a_file_that_is_none_is_refused() {
        let error = format!("{:#}", read(Path::new("/dev/null")).unwrap_err());
        assert!(
            error.contains("/dev/null") && error.contains("not a regular file"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn numbers_are_between_the_ends_and_grow(from in 1u64..u64::MAX / 2, more in 1u64..u64::MAX / 2, steps in 2..=MAX_STEPS) {
            let to = from + more;
            let numbers = numbers(from, to, steps);
            prop_assert!(numbers.len() <= steps.max(2));
            prop_assert_eq!((numbers[0], numbers[numbers.len() - 1]), (from, to));
            prop_assert!(numbers.windows(2).all(|two| two[0] < two[1]));
        }

        #[test]
        fn no_text_breaks_it(text in "(scheduler: a\n)?(sets|ranges)?[ -~\n]{0,80}") {
            if let Ok(contenders) = parse(&text) {
                prop_assert!((2..=MAX_SETS).contains(&contenders.len()));
            }
        }
    }
}
