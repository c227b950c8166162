//! The text that the bytes of a file are, or where they are none.

use super::error::{Location, Problem};

/// The text of these bytes.
///
/// # Errors
/// The first byte that is none.
pub fn utf8(bytes: Vec<u8>) -> Result<String, Problem> {
    String::from_utf8(bytes).map_err(|error| not_utf8(&error))
}

fn not_utf8(error: &std::string::FromUtf8Error) -> Problem {
    let (valid, rest) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
    let before = String::from_utf8_lossy(valid);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let at = Location {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    };
    let byte = rest.first().copied().unwrap_or_default();
    Problem::new(
        at,
        format!("byte 0x{byte:02x} is not UTF-8 text; save the file as UTF-8"),
    )
}
