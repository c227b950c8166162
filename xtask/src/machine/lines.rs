//! Owns the lines in a stream of bytes that comes in pieces.

use anyhow::Result;

/// Calls something with every whole line of what it is fed.
pub(crate) struct Lines<F> {
    each: F,
    begun: Vec<u8>,
}

impl<F: FnMut(&str) -> Result<()>> Lines<F> {
    /// Calls `each` with every line, without its end.
    pub(crate) fn new(each: F) -> Self {
        Self {
            each,
            begun: Vec::new(),
        }
    }

    /// Takes the next piece.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        self.begun.extend_from_slice(bytes);
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.begun.drain(..=end).collect();
            (self.each)(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']))?;
        }
        Ok(())
    }

    /// Takes what is left as the last line.
    pub(crate) fn finish(mut self) -> Result<()> {
        if self.begun.is_empty() {
            Ok(())
        } else {
            self.feed(b"\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_whole_however_it_is_cut() {
        let mut seen = Vec::new();
        let mut lines = Lines::new(|line: &str| {
            seen.push(line.to_owned());
            Ok(())
        });
        for piece in ["on", "e\ntw", "o\r\n\n", "\u{e9}nd"] {
            lines.feed(piece.as_bytes()).unwrap();
        }
        lines.finish().unwrap();
        assert_eq!(seen, ["one", "two", "", "\u{e9}nd"]);
    }
}
