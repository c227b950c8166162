//! Text from elsewhere, such as the names of processes and what a failed scheduler said, made fit
//! for a terminal: nothing in it moves the cursor, changes colours or turns lines around.

use serde_json::Value;

/// `text` with each character that is not to be seen replaced by one that is.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|char| if is_hidden(char) { '\u{fffd}' } else { char })
        .collect()
}

/// All texts of `value` made [`plain`].
pub(crate) fn plain_json(value: &mut Value) {
    match value {
        Value::String(text) => *text = plain(text),
        Value::Array(values) => values.iter_mut().for_each(plain_json),
        Value::Object(fields) => fields.values_mut().for_each(plain_json),
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
        assert_eq!(plain("scx_bpfland ünï 日本"), "scx_bpfland ünï 日本");
        let hostile = "a\u{1b}[2J\r\n\t\0b\u{7f}\u{9b}1m\u{202e}c\u{200b}";
        let clean = plain(hostile);
        assert_eq!(clean.chars().count(), hostile.chars().count());
        assert!(!clean.chars().any(is_hidden), "{clean:?}");
    }
}
