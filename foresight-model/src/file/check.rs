//! From text to a model and back. A file may be damaged, or from anybody: what is odd about it is told with its key.

use std::fmt::Write as _;

use auto_ext_service::sanitize::sanitize;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::format::{FORMAT, Model, Moves, Written};
use crate::fixed::MAX_WEIGHT;
use crate::line::{MAX_GROUPS, group_name};
use crate::origin;
use crate::quantise::MAX_BIAS;

/// How large a file may be, in bytes.
pub const MAX_FILE: usize = 1 << 20;
/// Between the model and its sum, and behind that.
const SUM: &str = ",\"sha256\":\"";
const END: &str = "\"}\n";
/// How many digits a sum has.
const DIGITS: usize = 64;
/// How long a message is at most, in characters.
const MAX_MESSAGE: usize = 200;
/// The greatest mean, deviation or error: of features within 16, and logarithms within 64.
const MAX_NUMBER: f64 = 64.0;

/// What is wrong with a model. Displays as `` `KEY`: MESSAGE ``.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("`{key}`: {problem}")]
pub struct Invalid {
    /// Where: `move.w1[3][2]`; `.` is all of it.
    pub key: String,
    /// What.
    pub problem: Problem,
}

/// What can be wrong.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Problem {
    /// It is larger than [`MAX_FILE`].
    #[error("it is larger than {MAX_FILE} bytes")]
    TooLarge,
    /// There is no sum at its end.
    #[error("there is none at the end: this is no model, or not all of one")]
    NoSum,
    /// The sum is that of something else.
    #[error("it is not that of what comes before: the file was changed, or is damaged")]
    WrongSum,
    /// It is no JSON, or has not what a model has.
    #[error("{0}")]
    Json(String),
    /// It is of another version.
    #[error("it is {found}; this reads {read}")]
    Version {
        /// Which.
        found: u32,
        /// The one that is read.
        read: u32,
    },
    /// A number that there is not.
    #[error("{value} is not between {least} and {most}")]
    Number {
        /// It.
        value: f64,
        /// What it is at least.
        least: f64,
        /// What it is at most.
        most: f64,
    },
    /// A text that is too long or would steer a terminal.
    #[error("it is too long, or has characters that cannot be shown")]
    Text,
    /// There is more than is kept.
    #[error("there are {0}, more than {MAX_GROUPS}")]
    TooMany(usize),
}

/// The model in such a text.
///
/// # Errors
/// When it is none, or one that must not be used.
pub fn parse(bytes: &[u8]) -> Result<Model, Invalid> {
    let text = unsealed(bytes)?;
    let versions: Versions = read(text)?;
    let versions = [
        ("format", versions.format, FORMAT),
        ("features", versions.features, origin::FEATURES),
    ];
    for (key, found, read) in versions {
        if found != read {
            return Err(invalid(key, Problem::Version { found, read }));
        }
    }
    let model: Model = read::<Written>(text)?.into();
    check(&model)?;
    Ok(model)
}

/// The text of a model.
///
/// # Errors
/// When it would not be read again.
pub fn to_text(model: &Model) -> Result<String, Invalid> {
    check(model)?;
    let body = serde_json::to_string(&Written::from(model));
    let text = sealed(&body.expect("numbers and texts under names that are texts"));
    if text.len() > MAX_FILE {
        return Err(invalid(".", Problem::TooLarge));
    }
    Ok(text)
}

/// What says which version it is, whatever else there is.
#[derive(Deserialize)]
struct Versions {
    format: u32,
    features: u32,
}

fn read<'t, T: Deserialize<'t>>(text: &'t str) -> Result<T, Invalid> {
    let mut json = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let message = sanitize(&error.inner().to_string());
        let message = message.chars().take(MAX_MESSAGE).collect();
        let key: String = sanitize(&error.path().to_string())
            .chars()
            .take(MAX_MESSAGE)
            .collect();
        invalid(key, Problem::Json(message))
    })
}

/// A model, which is an object, with its sum at its end.
pub(crate) fn sealed(object: &str) -> String {
    let body = object.strip_suffix('}').unwrap_or(object);
    format!("{body}{SUM}{}{END}", sum(body))
}

/// The whole text, if its sum is right.
fn unsealed(bytes: &[u8]) -> Result<&str, Invalid> {
    if bytes.len() > MAX_FILE {
        return Err(invalid(".", Problem::TooLarge));
    }
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|error| invalid(".", Problem::Json(error.to_string())))?;
    let none = || invalid("sha256", Problem::NoSum);
    let rest = text.strip_suffix(END).ok_or_else(none)?;
    let at = rest.len().checked_sub(DIGITS).ok_or_else(none)?;
    let (rest, digits) = rest.split_at_checked(at).ok_or_else(none)?;
    let body = rest.strip_suffix(SUM).ok_or_else(none)?;
    if sum(body) != digits {
        return Err(invalid("sha256", Problem::WrongSum));
    }
    Ok(text)
}

fn sum(body: &str) -> String {
    let mut digits = String::with_capacity(DIGITS);
    for byte in Sha256::digest(body.as_bytes()) {
        write!(digits, "{byte:02x}").expect("texts take all that is written");
    }
    digits
}

fn check(model: &Model) -> Result<(), Invalid> {
    if let Some(key) = model.origin.fault() {
        return Err(invalid(key, Problem::Text));
    }
    if model.programs.len() > MAX_GROUPS {
        return Err(invalid(
            "burst.groups",
            Problem::TooMany(model.programs.len()),
        ));
    }
    for (name, group) in &model.programs {
        let key = format!("burst.groups.{}", group_name(name));
        if group_name(name) != *name {
            return Err(invalid(key, Problem::Text));
        }
        let weights = group.line.iter().enumerate();
        for (at, weight) in weights {
            let most = f64::from(MAX_WEIGHT);
            number(|| format!("{key}.w[{at}]"), *weight, -most, most)?;
        }
        number(|| format!("{key}.mae"), group.error, 0.0, MAX_NUMBER)?;
        number(
            || format!("{key}.mae_ewma"),
            group.average_error,
            0.0,
            MAX_NUMBER,
        )?;
    }
    model.moves.as_ref().map_or(Ok(()), check_moves)
}

fn check_moves(moves: &Moves) -> Result<(), Invalid> {
    let standard = moves.standard.mean.iter().zip(&moves.standard.scale);
    for (at, (mean, scale)) in standard.enumerate() {
        number(
            || format!("move.mean[{at}]"),
            *mean,
            -MAX_NUMBER,
            MAX_NUMBER,
        )?;
        number(|| format!("move.scale[{at}]"), *scale, 1e-3, MAX_NUMBER)?;
    }
    if let Err(error) = moves.quantised() {
        let most = f64::from(error.most);
        return number(|| format!("move.{}", error.key), error.value, -most, most);
    }
    let holdout = &moves.holdout;
    let most = f64::from(MAX_BIAS);
    for (key, value, least, most) in [
        ("value", holdout.value, -most, most),
        ("gain", holdout.gain, -most, most),
        ("low", holdout.low, -most, most),
        ("agreement", holdout.agreement, 0.0, 1.0),
    ] {
        number(|| format!("move.holdout.{key}"), value, least, most)?;
    }
    Ok(())
}

fn number(key: impl Fn() -> String, value: f64, least: f64, most: f64) -> Result<(), Invalid> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let problem = Problem::Number { value, least, most };
    Err(invalid(key(), problem))
}

fn invalid(key: impl Into<String>, problem: Problem) -> Invalid {
    Invalid {
        key: key.into(),
        problem,
    }
}

#[cfg(test)]
mod tests;
