//! The styles of the commands' output. `stdout` leaves them out where there is no terminal or `NO_COLOR` is set, so nothing
//! is said by colour alone.

use std::fmt::{self, Display};
use std::io::StdoutLock;

use anstyle::{AnsiColor, Style};

/// The most important part of an output.
pub(crate) const STRONG: Style = Style::new().bold();
/// Something works, but not as well as it could or as one may think.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default();
/// Something does not work.
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();

/// Standard output, for text with styles.
pub(crate) fn stdout() -> anstream::AutoStream<StdoutLock<'static>> {
    anstream::stdout().lock()
}

/// A text in a style. Formatting such as widths applies to the text alone.
pub(crate) struct Styled<T>(pub(crate) Style, pub(crate) T);

impl<T: Display> Display for Styled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(style, text) = self;
        write!(f, "{style}")?;
        text.fmt(f)?;
        write!(f, "{style:#}")
    }
}

/// What `write` writes, without styles.
#[cfg(test)]
pub(crate) fn without_styles(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut text = Vec::new();
    write(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    anstream::adapter::strip_str(&text).to_string()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_text() {
        let styled = format!("{:<6}|", Styled(WARNING, "abc"));
        assert_eq!(styled, "\u{1b}[33mabc   \u{1b}[0m|");
        assert_eq!(
            without_styles(|out| out.write_all(styled.as_bytes())),
            "abc   |"
        );
    }
}
