//! Owns counting what libtest and libtest-mimic say about the tests they ran.

use std::ops::AddAssign;

/// How many tests passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) passed: u64,
    pub(super) failed: u64,
    /// Of those that passed, how many had failed at first.
    pub(super) second: u64,
}

impl Count {
    pub(super) const PASSED: Self = Self {
        passed: 1,
        failed: 0,
        second: 0,
    };
    pub(super) const FAILED: Self = Self {
        passed: 0,
        failed: 1,
        second: 0,
    };

    /// Reads the line with which a test program ends; any other line is none.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let count = |what: &str| {
            let mut fields = counts.split("; ");
            fields.find_map(|field| field.trim().strip_suffix(what)?.trim().parse().ok())
        };
        Some(Self {
            passed: count("passed")?,
            failed: count("failed")?,
            second: 0,
        })
    }

    /// With at least one failure if the program that counted did not succeed: it may have failed
    /// before, between or after its tests.
    pub(super) fn ended(self, success: bool) -> Self {
        if success || self.failed > 0 {
            self
        } else {
            Self { failed: 1, ..self }
        }
    }

    /// Whether nothing was counted.
    pub(super) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.second += other.second;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_test_program_is_read() {
        let line = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; \
                    finished in 0.02s";
        assert_eq!(
            Count::parse(line),
            Some(Count {
                passed: 12,
                failed: 0,
                second: 0
            })
        );
        let line = "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out";
        assert_eq!(
            Count::parse(line),
            Some(Count {
                passed: 3,
                failed: 2,
                second: 0
            })
        );
    }

    #[test]
    fn other_lines_are_not_counted() {
        for line in [
            "test a_test ... ok",
            "test result",
            "5 passed, 0 failed",
            "",
            "test result: ?",
        ] {
            assert_eq!(Count::parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_program_that_fails_without_a_failed_test_counts_as_one() {
        let passed = Count {
            passed: 4,
            failed: 0,
            second: 0,
        };
        assert_eq!(passed.ended(true), passed);
        assert_eq!(
            passed.ended(false),
            Count {
                passed: 4,
                failed: 1,
                second: 0
            }
        );
        assert_eq!(
            Count {
                passed: 4,
                failed: 2,
                second: 0
            }
            .ended(false),
            Count {
                passed: 4,
                failed: 2,
                second: 0
            }
        );
        assert_eq!(Count::default().ended(false), Count::FAILED);
    }
}
