//! The kinds of values of which the schema is made.

use humantime::format_duration;
use serde_json::{Map, Value, json};

use super::fields::MAX_NAME;

/// A mapping with these keys and no others; one value for each key, in the same order.
#[must_use]
pub fn mapping<const N: usize>(
    keys: [&str; N],
    values: [Value; N],
    required: &[&str],
    explanation: &str,
) -> Value {
    let properties: Map<_, _> = keys.map(str::to_owned).into_iter().zip(values).collect();
    json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "required": required,
        "description": explanation,
    })
}

/// One of a few words.
#[must_use]
pub fn choice(names: &[&str], explanation: &str) -> Value {
    described(json!({"enum": names}), explanation)
}

/// Text of up to `max` bytes. Where text is meant, `20000` and `true` are read as such.
#[must_use]
pub fn text(max: usize) -> Value {
    json!({"type": ["string", "number", "boolean"], "maxLength": max})
}

/// A duration with its unit.
#[must_use]
pub fn duration(default: std::time::Duration, explanation: &str) -> Value {
    let duration = json!({
        "anyOf": [
            {"type": "string", "pattern": r"^(\s*[0-9][0-9.\s]*[a-zA-Zµ]+)+\s*$|^0$"},
            {"const": 0},
        ],
        "default": format_duration(default).to_string(),
    });
    described(duration, explanation)
}

/// The names of schedulers and classes.
#[must_use]
pub fn name_pattern() -> String {
    format!("^[A-Za-z0-9][A-Za-z0-9_.-]{{0,{}}}$", MAX_NAME - 1)
}

/// With an explanation.
#[must_use]
pub fn described(mut value: Value, explanation: &str) -> Value {
    value["description"] = json!(explanation);
    value
}

/// With what it is where it is not given.
#[must_use]
pub fn with_default(mut value: Value, default: &str) -> Value {
    value["default"] = json!(default);
    value
}

/// A value that may be left out although its key is there.
#[must_use]
pub fn or_empty(mut value: Value) -> Value {
    let kind = value["type"].take();
    value["type"] = json!([kind, "null"]);
    value
}
