//! Text from elsewhere, such as the names of processes and what a failed scheduler wrote, made safe to print on a
//! terminal: nothing in it moves the cursor, changes colours or reverses the direction of text.

use serde_json::Value;

/// `text` with each control character, and each that is invisible or changes the direction of text, replaced by U+FFFD.
/// Line breaks are replaced too.
#[must_use]
pub fn sanitize(text: &str) -> String {
    text.chars()
        .map(|char| if is_hidden(char) { '\u{fffd}' } else { char })
        .collect()
}

/// Sanitizes all texts in `value`, but not the keys of its objects.
pub fn sanitize_json(value: &mut Value) {
    match value {
        Value::String(text) => *text = sanitize(text),
        Value::Array(values) => values.iter_mut().for_each(sanitize_json),
        Value::Object(fields) => fields.values_mut().for_each(sanitize_json),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Control characters, and those that change the direction of text or take no room.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(char, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_or_hides_is_replaced_and_all_else_stays() {
        assert_eq!(sanitize("scx_bpfland ünï 日本"), "scx_bpfland ünï 日本");
        let hostile = "a\u{1b}[2J\r\n\t\0b\u{7f}\u{9b}1m\u{202e}c\u{200b}";
        let clean = sanitize(hostile);
        assert_eq!(clean.chars().count(), hostile.chars().count());
        assert!(!clean.chars().any(is_hidden), "{clean:?}");
    }
}
