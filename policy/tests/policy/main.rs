//! What a policy file may say, what it means, and the messages about one that is wrong.

mod choosing;
mod json_schema;
mod limits;
mod lists;
mod lookalike;
mod meaning;
mod messages;
mod parts;
mod shipped;
mod warnings;

use auto_ext_policy::Policy;

const SHIPPED: &str = include_str!("../../../policies.yaml");
const CONTRACT: &str = include_str!("files/contract.yaml");

/// What is said about `text` as the file `F`; empty if it is valid.
fn errors(text: &str) -> String {
    Policy::parse("F", text)
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default()
}

/// A policy with `lines` before its one rule.
fn with(lines: &str) -> String {
    format!("version: 1\n{lines}\nrules: [{{class: idle, use: [kernel]}}]\n")
}

/// The shipped policy with everything that is there to be used: what begins with `#` and no space.
fn uncommented() -> String {
    let uncomment = |line: &str| {
        let indent = line.len() - line.trim_start().len();
        match line.trim_start().strip_prefix('#') {
            Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => {
                format!("{}{rest}\n", &line[..indent])
            }
            _ => format!("{line}\n"),
        }
    };
    SHIPPED.lines().map(uncomment).collect()
}
