//! Owns the records that the guest's `run.sh` sends about the command of the run, over a port that
//! nothing else in the guest uses.

use std::time::Duration;

/// One record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Record {
    /// The command starts now, so long after the kernel did.
    Started(Duration),
    /// The command ended with this status, as a shell has it: 128 + N after signal N.
    Exit(u8),
}

impl Record {
    /// Reads one line; anything that is not a whole record is none.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (what, value) = line.strip_suffix('\n')?.split_once(' ')?;
        match what {
            "started" => {
                let seconds: f64 = value.parse().ok()?;
                Duration::try_from_secs_f64(seconds).ok().map(Self::Started)
            }
            "exit" => value.parse().ok().map(Self::Exit),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read() {
        assert_eq!(Record::parse("exit 0\n"), Some(Record::Exit(0)));
        assert_eq!(Record::parse("exit 137\n"), Some(Record::Exit(137)));
        let started = Record::Started(Duration::from_millis(12_340));
        assert_eq!(Record::parse("started 12.34\n"), Some(started));
    }

    #[test]
    fn half_a_record_is_none() {
        // The machine died while it wrote: "exit 1" could have become "exit 137".
        for line in [
            "exit 1",
            "exit \n",
            "exit 256\n",
            "exit -1\n",
            "exit\n",
            "started x\n",
            "\n",
        ] {
            assert_eq!(Record::parse(line), None, "{line:?}");
        }
    }
}
