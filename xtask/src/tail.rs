//! Owns the end of what a step said: its last lines, and before them those that tell what failed. However much it
//! says, only so much is kept.

use std::collections::VecDeque;

/// How many lines are kept: of the last ones, of those that tell, and of the text of one failure.
const LAST: usize = 25;
const TELLING: usize = 100;
const OF_A_FAILURE: usize = 25;

/// What of a line is kept.
const LENGTH: usize = 1000;

/// What stands for lines that are not kept.
const LEFT_OUT: &str = "...";

/// A line and which one it is.
type Numbered = (u64, String);

/// The end of what a step said.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    said: u64,
    last: VecDeque<Numbered>,
    telling: VecDeque<Numbered>,
    /// The test that runs, if it says something itself: its name's line.
    test: Option<Numbered>,
    /// How many lines of a failure's text may still come.
    left: usize,
}

impl Tail {
    /// Takes a line that is shown behind `prefix`.
    pub(crate) fn note(&mut self, prefix: &str, line: &str) {
        let tells = self.tells(line);
        self.keep(prefix, line, tells);
    }

    /// Takes a line that tells what failed, whatever it looks like.
    pub(crate) fn note_failure(&mut self, prefix: &str, line: &str) {
        self.keep(prefix, line, true);
    }

    /// What is kept, in the order in which it was said.
    pub(crate) fn lines(&self) -> Vec<&str> {
        let begin = self.last.front().map_or(self.said, |(number, _)| *number);
        let earlier = self.telling.iter().filter(|(number, _)| *number < begin);
        let mut earlier: Vec<&Numbered> = earlier.collect();
        // That a test's name tells something is known only at its end.
        earlier.sort_by_key(|(number, _)| *number);
        let mut lines = Vec::new();
        let mut next = 0;
        for (number, line) in earlier.into_iter().chain(&self.last) {
            if *number > next {
                lines.push(LEFT_OUT);
            }
            lines.push(line);
            next = number + 1;
        }
        lines
    }

    fn keep(&mut self, prefix: &str, line: &str, tells: bool) {
        let text: String = prefix.chars().chain(line.chars()).take(LENGTH).collect();
        let numbered = (self.said, text);
        self.said += 1;
        if is_begin(line) {
            self.test = Some(numbered.clone());
        }
        if tells {
            // How it ended may be lines behind its name.
            if line.trim() == "FAILED"
                && let Some(test) = self.test.take()
            {
                push(&mut self.telling, TELLING, test);
            }
            push(&mut self.telling, TELLING, numbered.clone());
        }
        push(&mut self.last, LAST, numbered);
    }

    /// Whether `line` tells what failed: in the words of libtest and libtest-mimic, in ours, and of the soak, which
    /// fails by all that it did.
    fn tells(&mut self, line: &str) -> bool {
        let line = line.trim_end();
        if line.starts_with("---- ") && line.ends_with(" ----") {
            self.left = OF_A_FAILURE;
        } else if line == "failures:" || line == "FAILED" || line.starts_with("test result: ") {
            self.left = 0;
        }
        if self.left > 0 {
            self.left -= 1;
            return true;
        }
        line.trim() == "FAILED"
            || line.contains(" ... FAILED")
            || line.starts_with("seed ")
            || line.contains(" s  step ")
    }
}

/// Whether a test's name is all that `line` says as yet.
fn is_begin(line: &str) -> bool {
    line.starts_with("test ") && line.trim_end().ends_with(" ...")
}

fn push(lines: &mut VecDeque<Numbered>, most: usize, line: Numbered) {
    if lines.len() == most {
        lines.pop_front();
    }
    lines.push_back(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted<'a>(prefix: &str, lines: impl IntoIterator<Item = &'a str>) -> Tail {
        let mut tail = Tail::default();
        for line in lines {
            tail.note(prefix, line);
        }
        tail
    }

    fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
        range.map(|number| format!("line {number}")).collect()
    }

    #[test]
    fn little_is_kept_as_it_was_shown_and_of_much_the_end() {
        assert_eq!(
            noted("[a] ", ["one", "", "two"]).lines(),
            ["[a] one", "[a] ", "[a] two"]
        );
        let lines = numbers(0..1000);
        let tail = noted("", lines.iter().map(String::as_str));
        assert_eq!(tail.lines()[0], LEFT_OUT);
        assert_eq!(tail.lines()[1..], lines[1000 - LAST..]);
        let long = "x".repeat(3 * LENGTH);
        assert_eq!(noted("[a] ", [&*long]).lines()[0].len(), LENGTH);
    }

    #[test]
    fn what_failed_is_kept_before_the_end() {
        let others = numbers(0..100);
        let others = || others.iter().map(String::as_str);
        let lines = others()
            .chain([
                "test a ... ok",
                "test b ... ",
                "  it is talkative",
                "FAILED",
            ])
            .chain([
                "failures:",
                "",
                "---- b ----",
                "no scheduler",
                "  Caused by: none",
                "",
            ])
            .chain([
                "failures:",
                "    b",
                "",
                "test result: FAILED. 1 passed; 1 failed",
            ])
            .chain(others());
        let tail = noted("[oldest] ", lines);
        let shown = tail.lines();
        let expected = [
            "...",
            "[oldest] test b ... ",
            "...",
            "[oldest] FAILED",
            "...",
            "[oldest] ---- b ----",
            "[oldest] no scheduler",
            "[oldest]   Caused by: none",
            "[oldest] ",
            "...",
        ];
        assert_eq!(shown[..expected.len()], expected);
        assert_eq!(shown.len(), expected.len() + LAST);
        assert_eq!(shown.last(), Some(&"[oldest] line 99"));
    }

    #[test]
    fn what_a_failure_says_at_once_is_kept_and_what_the_next_test_says_is_not() {
        let others = numbers(0..100);
        let lines = [
            "test a ... ",
            "",
            "---- a ----",
            "no scheduler",
            "FAILED",
            "test b ... ok",
        ];
        let tail = noted(
            "",
            lines.into_iter().chain(others.iter().map(String::as_str)),
        );
        let expected = [
            "test a ... ",
            "...",
            "---- a ----",
            "no scheduler",
            "FAILED",
            "...",
        ];
        assert_eq!(tail.lines()[..expected.len()], expected);
    }

    #[test]
    fn however_much_fails_there_is_an_end_to_what_is_kept() {
        let text = numbers(0..200);
        let mut tail = Tail::default();
        for test in 0..200 {
            tail.note("", &format!("---- test {test} stdout ----"));
            for line in &text {
                tail.note("", line);
            }
        }
        assert_eq!((tail.telling.len(), tail.last.len()), (TELLING, LAST));
        let shown = tail.lines();
        let names = shown.iter().filter(|line| line.contains("----"));
        assert_eq!(names.count(), TELLING / OF_A_FAILURE);
    }

    #[test]
    fn a_soak_that_failed_is_told_by_its_seed_and_its_steps() {
        let mut tail = noted("[soak] ", ["seed 5577006791947779410"]);
        let steps: Vec<_> = (1..=60)
            .map(|step| format!("{:>5} s  step {step}: daemon killed", 2 * step))
            .collect();
        for step in &steps {
            tail.note("[soak] ", step);
            tail.note(
                "[soak] ",
                "         9000 KiB, 3 switches that nobody asked for",
            );
        }
        tail.note_failure("xtask: ", "soak: the kernel panicked");
        for line in numbers(0..40) {
            tail.note("", &line);
        }
        let shown = tail.lines();
        assert_eq!(shown[0], "[soak] seed 5577006791947779410");
        for step in &steps {
            assert!(shown.contains(&&*format!("[soak] {step}")), "{step}");
        }
        assert!(shown.contains(&"xtask: soak: the kernel panicked"));
        assert_eq!(shown.last(), Some(&"line 39"));
    }
}
