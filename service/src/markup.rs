//! Text from elsewhere made fit to stand in HTML, XML and what looks like them: it is text there, whatever is in it.

use crate::sanitize::sanitize;

/// `text` sanitized and escaped: as content, or as the value of an attribute within double quotes.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in sanitize(text).chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            char => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_would_be_markup_is_text() {
        assert_eq!(escape("scx_bpfland ünï 日本"), "scx_bpfland ünï 日本");
        let hostile = "<b onload=\"x\">&amp;\u{202e}\n";
        let text = "&lt;b onload=&quot;x&quot;&gt;&amp;amp;\u{fffd}\u{fffd}";
        assert_eq!(escape(hostile), text);
    }

    proptest! {
        #[test]
        fn nothing_begins_or_ends_an_element_or_a_value(text in "[<>&\"'a;\\PC]{0,50}") {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains(['<', '>', '"']));
            let back = escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
            prop_assert_eq!(back.replace("&amp;", "&"), sanitize(&text));
        }
    }
}
