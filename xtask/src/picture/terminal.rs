//! Text with the escape sequences of colours (ECMA-48 SGR), as tmux prints a screen, as cells.

/// How a cell looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Look {
    /// One of the eight colours, or the terminal's own.
    pub(super) colour: Option<u8>,
    pub(super) bold: bool,
    pub(super) dim: bool,
    pub(super) reversed: bool,
}

/// One character of a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) char: char,
    pub(super) look: Look,
}

/// The rows of the screen in `text`.
pub(super) fn read(text: &str) -> Vec<Vec<Cell>> {
    let mut look = Look::default();
    text.lines()
        .map(|line| {
            let mut row = Vec::new();
            let mut rest = line;
            while let Some(char) = rest.chars().next() {
                rest = &rest[char.len_utf8()..];
                if char != '\u{1b}' {
                    row.extend((!char.is_control()).then_some(Cell { char, look }));
                    continue;
                }
                // Other sequences (tmux shifts charsets) show nothing.
                let end = rest.find(|char: char| char.is_ascii_alphabetic());
                let (sequence, after) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
                if let Some(codes) = sequence
                    .strip_prefix('[')
                    .and_then(|it| it.strip_suffix('m'))
                {
                    look.change(codes);
                }
                rest = after;
            }
            row
        })
        .collect()
}

impl Look {
    fn change(&mut self, codes: &str) {
        let mut codes = codes.split(';').map(|code| code.parse().unwrap_or(0));
        while let Some(code) = codes.next() {
            match code {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                7 => self.reversed = true,
                22 => (self.bold, self.dim) = (false, false),
                27 => self.reversed = false,
                colour @ 30..=37 => self.colour = Some(colour - 30),
                // One of 256, of which the first eight are the same, and the next eight brighter.
                38 if codes.next() == Some(5) => {
                    let colour = codes.next().filter(|colour: &u8| *colour < 16);
                    self.colour = colour.map(|colour| colour % 8);
                }
                colour @ 90..=97 => self.colour = Some(colour - 90),
                39 => self.colour = None,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_last_until_they_are_changed() {
        let rows = read("a\u{1b}[1;33mb\u{1b}[39mc\u{1b}[0md\n\u{1b}[7m█\u{1b}[2m\u{1b}[22;27m ");
        let bold = Look {
            bold: true,
            ..Look::default()
        };
        let yellow = Look {
            colour: Some(3),
            ..bold
        };
        let reversed = Look {
            reversed: true,
            ..Look::default()
        };
        let cell = |char, look| Cell { char, look };
        let plain = Look::default();
        assert_eq!(
            rows,
            [
                vec![
                    cell('a', plain),
                    cell('b', yellow),
                    cell('c', bold),
                    cell('d', plain)
                ],
                vec![cell('█', reversed), cell(' ', plain)],
            ]
        );
    }

    #[test]
    fn colours_of_256_are_not_taken_for_other_looks() {
        let rows = read("\u{1b}[38;5;2ma\u{1b}[38;5;11mb\u{1b}[38;5;200mc");
        let looks = [Some(2), Some(3), None].map(|colour| Look {
            colour,
            ..Look::default()
        });
        assert_eq!(
            rows.concat()
                .iter()
                .map(|cell| cell.look)
                .collect::<Vec<_>>(),
            looks
        );
    }

    #[test]
    fn sequences_that_end_nowhere_show_nothing() {
        assert_eq!(read("\u{1b}[1;"), [vec![]]);
        assert_eq!(read("\u{1b}"), [vec![]]);
    }
}
