//! The values of keys that are more than a word of a few: how they are written, and their limits.

use std::collections::BTreeMap;
use std::time::Duration;

use auto_ext_service::duration;
use glob::Pattern;
use serde::Deserialize;

/// The version of the format.
pub(super) const VERSION: u32 = 1;
/// How many items a list or mapping may have, and how long a text may be, in bytes.
pub(super) const MAX_ITEMS: usize = 256;
pub(super) const MAX_TEXT: usize = 4096;
/// What a job may count.
pub(super) const WEIGHT: std::ops::RangeInclusive<f64> = 0.1..=10.0;
/// What may be asked to be gained, in percent.
pub(super) const MARGIN: std::ops::RangeInclusive<f64> = 0.5..=50.0;
/// How long a group may have to run, at most.
pub(super) const MAX_LONG_RUNNING: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long what was adopted may stay. A trial takes two minutes and comes once an hour at most.
pub(super) const HOLD: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(600)..=Duration::from_secs(7 * 24 * 3600);
/// The word for no scheduler.
pub(super) const NEVER: &str = "never";

/// The version.
#[derive(Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct Version;

/// A part, written in percent.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Percent(pub(super) f64);

#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct LongRunning(pub(super) Duration);

#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Hold(pub(super) Duration);

/// Patterns as shells have them.
#[derive(Deserialize)]
#[serde(try_from = "Vec<String>")]
pub(super) struct Globs(pub(super) Vec<Pattern>);

/// What jobs count, by their names.
#[derive(Deserialize)]
#[serde(try_from = "BTreeMap<String, f64>")]
pub(super) struct Weights(pub(super) BTreeMap<String, f64>);

/// Names of schedulers.
#[derive(Deserialize)]
#[serde(try_from = "NeverOrNames")]
pub(super) struct Schedulers(pub(super) Vec<String>);

/// As these are written.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "must be `never` or a list of names such as `[bpfland]`"
)]
enum NeverOrNames {
    Word(String),
    Names(Vec<String>),
}

impl TryFrom<u32> for Version {
    type Error = String;

    fn try_from(version: u32) -> Result<Self, String> {
        if version == VERSION {
            return Ok(Self);
        }
        Err(format!("`version` is {version}; this is for {VERSION}"))
    }
}

impl TryFrom<String> for Percent {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = text.strip_suffix('%').and_then(|text| text.parse().ok());
        match number {
            Some(percent) if MARGIN.contains(&percent) => Ok(Self(percent / 100.0)),
            _ => Err(format!(
                "`margin` must be from {}% to {}%, such as `2%`",
                MARGIN.start(),
                MARGIN.end()
            )),
        }
    }
}

impl TryFrom<String> for LongRunning {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match duration::parse(&text) {
            Ok(time) if time <= MAX_LONG_RUNNING => Ok(Self(time)),
            _ => Err("`long_running` must be a time of up to 30d, such as `1h`".to_owned()),
        }
    }
}

impl TryFrom<String> for Hold {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match duration::parse(&text) {
            Ok(time) if HOLD.contains(&time) => Ok(Self(time)),
            _ => Err("`hold` must be a time from 10m to 7d, such as `1h`".to_owned()),
        }
    }
}

impl TryFrom<Vec<String>> for Globs {
    type Error = String;

    fn try_from(texts: Vec<String>) -> Result<Self, String> {
        are_few(texts.len())?;
        let glob = |text: &String| {
            is_short(text)?;
            Pattern::new(text).map_err(|error| format!("{text:?} is no pattern: {error}"))
        };
        texts.iter().map(glob).collect::<Result<_, _>>().map(Self)
    }
}

impl TryFrom<BTreeMap<String, f64>> for Weights {
    type Error = String;

    fn try_from(weights: BTreeMap<String, f64>) -> Result<Self, String> {
        are_few(weights.len())?;
        for (job, weight) in &weights {
            is_short(job)?;
            if !WEIGHT.contains(weight) {
                return Err(format!(
                    "the weight of {job:?} must be from {} to {}",
                    WEIGHT.start(),
                    WEIGHT.end()
                ));
            }
        }
        Ok(Self(weights))
    }
}

impl TryFrom<NeverOrNames> for Schedulers {
    type Error = String;

    fn try_from(written: NeverOrNames) -> Result<Self, String> {
        match written {
            NeverOrNames::Word(word) if word == NEVER => Ok(Self(Vec::new())),
            NeverOrNames::Word(word) => Err(format!(
                "`with_sched_ext` must be `{NEVER}` or a list of names, not {word:?}"
            )),
            NeverOrNames::Names(names) => {
                are_few(names.len())?;
                names.iter().try_for_each(|name| is_short(name))?;
                Ok(Self(names))
            }
        }
    }
}

fn are_few(count: usize) -> Result<(), String> {
    if count <= MAX_ITEMS {
        return Ok(());
    }
    Err(format!("there are more than {MAX_ITEMS} items"))
}

fn is_short(text: &str) -> Result<(), String> {
    if text.len() <= MAX_TEXT && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(format!(
        "a text is longer than {MAX_TEXT} bytes or has control characters"
    ))
}
