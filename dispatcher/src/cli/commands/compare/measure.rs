//! The number that a command prints: found while the output is read, of which no more than a line is kept.

use regex::Regex;

/// What of a longer line is looked at, in bytes.
const MAX_LINE: usize = 16 * 1024;

/// The search in an output.
pub(super) struct Search<'r> {
    expression: &'r Regex,
    line: Vec<u8>,
    last: Option<String>,
}

impl<'r> Search<'r> {
    pub(super) fn new(expression: &'r Regex) -> Self {
        Self {
            expression,
            line: Vec::new(),
            last: None,
        }
    }

    /// Reads on. What draws over its line with carriage returns writes a line each time.
    pub(super) fn read(&mut self, output: &[u8]) {
        let mut lines = output.split(|byte| matches!(byte, b'\n' | b'\r'));
        let first = lines.next().unwrap_or_default();
        self.append(first);
        for line in lines {
            self.end_line();
            self.append(line);
        }
    }

    /// What was found last, when all is read: a number, or why there is none.
    pub(super) fn number(mut self) -> Result<f64, String> {
        self.end_line();
        let text = self
            .last
            .ok_or_else(|| format!("`{}` is not in its output", self.expression))?;
        let number = text
            .trim()
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite());
        match number {
            Some(number) if number > 0.0 => Ok(number),
            Some(number) => Err(format!("{number} is no number above 0")),
            None => Err(format!("`{}` in its output is no number", short(&text))),
        }
    }

    fn append(&mut self, part: &[u8]) {
        let room = MAX_LINE - self.line.len();
        self.line.extend(part.iter().take(room));
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.line);
        if let Some(found) = self.expression.captures_iter(&line).last() {
            let found = found.get(1).or_else(|| found.get(0));
            self.last = found.map(|found| found.as_str().to_owned());
        }
        self.line.clear();
    }
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(expression: &str, output: &[&str]) -> Result<f64, String> {
        let expression = Regex::new(expression).unwrap();
        let mut search = Search::new(&expression);
        for part in output {
            search.read(part.as_bytes());
        }
        search.number()
    }

    #[test]
    fn the_last_match_counts_and_its_first_group() {
        assert_eq!(
            found("([0-9.]+) fps", &["59.5 fps\n60.25 fps\nbye\n"]),
            Ok(60.25)
        );
        assert_eq!(found("[0-9.]+$", &["total: 12.5"]), Ok(12.5));
        assert_eq!(found("a([0-9])", &["a1 a2\ra3 a4"]), Ok(4.0));
        // However it arrives.
        assert_eq!(found("([0-9.]+) fps", &["60.", "25 f", "ps\n"]), Ok(60.25));
    }

    #[test]
    fn what_is_no_number_above_zero_is_said() {
        for (output, says) in [
            ("nothing", "is not in its output"),
            ("fps: many", "`many` in its output is no number"),
            ("fps: -1", "-1 is no number above 0"),
            ("fps: 0", "0 is no number above 0"),
            ("fps: inf", "`inf` in its output is no number"),
        ] {
            let why = found("fps: (.*)", &[output]).unwrap_err();
            assert!(why.contains(says), "{output}: {why}");
        }
    }

    #[test]
    fn of_a_line_without_end_the_beginning_is_kept() {
        let expression = Regex::new("fps: ([0-9]+)").unwrap();
        let mut search = Search::new(&expression);
        search.read(b"fps: 5 ");
        for _ in 0..100 {
            search.read(&[b'x'; 1000]);
        }
        assert!(search.line.len() <= MAX_LINE);
        assert_eq!(search.number(), Ok(5.0));
    }

    proptest! {
        #[test]
        fn no_output_breaks_it(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8)) {
            let expression = Regex::new("[0-9]+").unwrap();
            let mut search = Search::new(&expression);
            for part in &parts {
                search.read(part);
            }
            if let Ok(number) = search.number() {
                prop_assert!(number.is_finite() && number > 0.0);
            }
        }
    }
}
