//! Typed access to the tree: each method returns the value, or reports what is wrong with it at
//! its place and returns `None`. Owns the limits on text; ranges of values belong to who reads the file.

use std::time::Duration;

use crate::duration;
use humantime::format_duration;

use super::error::{Location, Problems, quote, quote_all};
use super::suggest::{instead, nearest};
use super::yaml::{Node, Value};

/// The longest name of a scheduler or class, in characters.
pub const MAX_NAME: usize = 64;

/// The longest text that is compared with names, in bytes.
pub const MAX_WORD: usize = 256;

/// The longest path, in bytes: PATH_MAX of Linux without the final NUL.
pub const MAX_PATH: usize = 4095;

/// The longest name of a file, of which a program is one, in bytes: NAME_MAX of Linux.
pub const MAX_FILE_NAME: usize = 255;

/// The entries of a mapping in the order of the file, each key once.
pub struct Fields<'n> {
    /// Where the mapping begins.
    pub at: Location,
    /// Its entries.
    pub entries: Vec<Field<'n>>,
    /// The keys that have been reported as unknown.
    unknown: Vec<&'n str>,
}

/// A key and its value.
#[derive(Clone, Copy)]
pub struct Field<'n> {
    /// The key.
    pub key: &'n str,
    /// Where it stands.
    pub at: Location,
    /// Its value.
    pub node: &'n Node,
}

impl<'n> Fields<'n> {
    /// The value of `key`, be it empty.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries
            .iter()
            .find(|field| field.key == key)
            .map(|field| field.node)
    }

    /// The value of `key` unless nothing is written there, as when all lines of a section are
    /// commented out.
    #[must_use]
    pub fn get_filled(&self, key: &str) -> Option<&'n Node> {
        self.get(key)
            .filter(|node| !matches!(node.value, Value::Empty))
    }
}

impl Problems {
    /// The entries of a mapping, whatever its keys. `what` names it in messages.
    pub fn mapping<'n>(&mut self, node: &'n Node, what: &str, example: &str) -> Option<Fields<'n>> {
        let Value::Mapping(pairs) = &node.value else {
            self.wrong_kind(node, what, &format!("a mapping such as `{example}`"));
            return None;
        };
        let mut entries: Vec<Field<'n>> = Vec::with_capacity(pairs.len());
        let mut seen = std::collections::BTreeMap::new();
        for (key, value) in pairs {
            let Value::Text { text, .. } = &key.value else {
                self.add(
                    key.at,
                    format!("a key must be a name, but this is {}", key.value.shown()),
                );
                continue;
            };
            if let Some(line) = seen.get(text.as_str()) {
                let key_name = quote(text);
                let message =
                    format!("the key {key_name} is already given on line {line}; remove one");
                self.add(key.at, message);
                continue;
            }
            seen.insert(text.as_str(), key.at.line);
            entries.push(Field {
                key: text,
                at: key.at,
                node: value,
            });
        }
        Some(Fields {
            at: node.at,
            entries,
            unknown: Vec::new(),
        })
    }

    /// The entries of a mapping whose keys are among `valid`; others are reported.
    pub fn fields<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        example: &str,
        valid: &[&str],
    ) -> Option<Fields<'n>> {
        let mut fields = self.mapping(node, what, example)?;
        self.check_keys(&mut fields, valid);
        Some(fields)
    }

    /// Reports the keys that are not among `valid`.
    pub fn check_keys(&mut self, fields: &mut Fields<'_>, valid: &[&str]) {
        for field in &fields.entries {
            if !valid.contains(&field.key) {
                self.add_with(field.at, || {
                    let instead = instead(field.key, valid.iter().copied(), "valid here:");
                    format!("unknown key {}{instead}", quote(field.key))
                });
                fields.unknown.push(field.key);
            }
        }
    }

    /// The value of `key` in `fields`, which must have it.
    pub fn required<'n>(
        &mut self,
        fields: &Fields<'n>,
        key: &str,
        example: &str,
    ) -> Option<&'n Node> {
        let node = fields.get(key);
        // A key that is misspelled is reported as unknown, and not as missing too.
        if node.is_none()
            && !fields
                .unknown
                .iter()
                .any(|&other| nearest(other, [key]).is_some())
        {
            self.add(
                fields.at,
                format!("`{key}` is missing; add for example `{example}`"),
            );
        }
        node
    }

    /// The items of a list of at most `max`.
    pub fn list<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        max: usize,
        example: &str,
    ) -> Option<&'n [Node]> {
        let Value::List(items) = &node.value else {
            self.wrong_kind(node, what, &format!("a list such as `{example}`"));
            return None;
        };
        if let Some(excess) = items.get(max) {
            self.add(excess.at, format!("{what} has more than {max} items"));
            return None;
        }
        Some(items)
    }

    /// Text of at most `max` bytes without control characters. A number counts as its text.
    pub fn text<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        expected: &str,
        max: usize,
    ) -> Option<&'n str> {
        let Value::Text { text, .. } = &node.value else {
            self.wrong_kind(node, what, expected);
            return None;
        };

        let refusal = if text.len() > max {
            format!("is longer than {max} bytes")
        } else if text.chars().any(char::is_control) {
            "contains a control character or a line break".to_owned()
        } else {
            return Some(text);
        };
        self.add(node.at, format!("{what} {refusal}: {}", quote(text)));
        None
    }

    /// The name of a scheduler or class, found at `at`.
    pub fn name<'n>(&mut self, at: Location, text: &'n str, what: &str) -> Option<&'n str> {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let first = text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric());
        if first && text.bytes().all(inner) && text.len() <= MAX_NAME {
            return Some(text);
        }
        let text = quote(text);
        let message = format!(
            "{text} cannot be the name of {what}; use up to {MAX_NAME} letters, digits, `-`, `_` \
             or `.`, and begin with a letter or digit"
        );
        self.add(at, message);
        None
    }

    /// A finite number, written without quotes.
    pub fn number(&mut self, node: &Node, what: &str) -> Option<f64> {
        let Value::Text { text, plain } = &node.value else {
            self.wrong_kind(node, what, "a number such as `0.75` or `15`");
            return None;
        };
        let number = text
            .parse()
            .ok()
            .filter(|number: &f64| *plain && number.is_finite());
        if number.is_none() {
            let hint = if !plain {
                "remove its quotes"
            } else if text.ends_with('%') {
                "write `75%` as `0.75`"
            } else {
                "write it like `0.75` or `15`"
            };
            let shown = node.value.shown();
            self.add(
                node.at,
                format!("{what} must be a number, not {shown}; {hint}"),
            );
        }

        number
    }

    /// A duration with its unit, from `min` to `max`.
    pub fn duration(
        &mut self,
        node: &Node,
        what: &str,
        min: Duration,
        max: Duration,
    ) -> Option<Duration> {
        let Value::Text { text, .. } = &node.value else {
            self.wrong_kind(node, what, "a duration such as `250ms`");
            return None;
        };
        let (shown, example) = (
            quote(text),
            "write it with a unit, like `250ms`, `15s` or `30m`",
        );
        let message = match duration::parse(text) {
            Ok(duration) if (min..=max).contains(&duration) => return Some(duration),
            Ok(_) => {
                let (min, max) = (format_duration(min), format_duration(max));
                format!("{what} is {shown}; it must be from {min} to {max}")
            }
            Err(_) => format!("{what} must be a duration, not {shown}; {example}"),
        };
        self.add(node.at, message);
        None
    }

    /// One of a few words.
    pub fn choice<T: Copy>(
        &mut self,
        node: &Node,
        what: &str,
        choices: &[T],
        name: fn(T) -> &'static str,
    ) -> Option<T> {
        let names = || choices.iter().map(|&choice| name(choice));
        let expected = format!("one of {}", quote_all(names()));
        let text = self.text(node, what, &expected, MAX_WORD)?;
        let choice = choices.iter().copied().find(|&choice| name(choice) == text);
        if choice.is_none() {
            let instead = instead(text, names(), "valid here:");
            let message = format!("{what} cannot be {}{instead}", node.value.shown());
            self.add(node.at, message);
        }
        choice
    }

    fn wrong_kind(&mut self, node: &Node, what: &str, expected: &str) {
        let message = match &node.value {
            Value::Empty => format!("{what} has no value; it must be {expected}"),
            other => format!("{what} must be {expected}, not {}", other.shown()),
        };
        self.add(node.at, message);
    }
}
