//! Traces, as bytes of a file.

use auto_ext_policy::Policy;
use auto_ext_signals::Signals;

use crate::trace::replay::Replay;
use crate::trace::{Reader, Writer};

/// The bytes of a trace give entries, whose time does not run backwards and whose numbers are within
/// their limits, and then at most one error, which has a line of the trace. The entries can be replayed
/// and written, and are read again as they were.
pub fn trace(data: &[u8]) {
    let lines = data.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
    let mut reader = match Reader::new("F", data) {
        Ok(reader) => reader,
        Err(error) => return assert_eq!(error.line, 1),
    };
    let policy = Policy::default();
    let mut replay = Replay::new(&policy);
    let (mut entries, mut before) = (Vec::new(), 0);
    for entry in &mut reader {
        match entry {
            Ok(entry) => {
                assert!(entry.at_us >= before);
                before = entry.at_us;
                let values = entry.signals.iter().flat_map(Signals::iter);
                for value in values.filter_map(|(_, value)| value) {
                    assert!(value.is_finite() && value >= 0.0);
                }
                replay.apply(entry.clone());
                entries.push(entry);
            }
            Err(error) => {
                assert!((2..=lines).contains(&error.line), "{error}");
                assert!(!error.to_string().contains(char::is_control), "{error}");
            }
        }
    }
    assert!(reader.next().is_none(), "an entry after the end");
    assert!(reader.cut_off().is_none_or(|line| line == lines));
    // A number with more digits than a recording has may be another one in its last bit.
    for entry in &mut entries {
        (entry.dt_us, entry.signals, entry.totals) = (None, None, None);
        entry.trials = None;
    }
    let mut written = Vec::new();
    let mut writer = Writer::new(&mut written, reader.header()).expect("memory takes everything");
    for entry in &entries {
        let entry = entry.clone();
        writer.write(entry).expect("memory takes everything");
    }
    let again = Reader::new("F", &written[..]).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    assert_eq!(again.expect("what was written"), entries);
}
