//! What persons said, and what waits for one of them to say otherwise, in a file: it holds over restarts.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auto_ext_service::atomic_file;
use auto_ext_service::clock::{microseconds, now_us};
use serde::{Deserialize, Serialize};

/// How large the file may be, in bytes.
const MAX_BYTES: u64 = 4 << 20;
/// How many guests may be excluded.
pub(super) const MAX_EXCLUDED: usize = 4096;

/// For how long nothing is to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Pause {
    /// Until this time: CLOCK_REALTIME in microseconds.
    Until(u64),
    /// Until a person says otherwise.
    Always,
}

/// What was said and waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Orders {
    /// Nothing is to be changed.
    pub pause: Option<Pause>,
    /// Guests that are left alone, by their names.
    pub excluded: BTreeSet<String>,
    /// Why vCPUs are only watched until a person says otherwise.
    pub cpu_observes: Option<String>,
    /// Why memory is.
    pub memory_observes: Option<String>,
}

/// The file.
#[derive(Debug)]
pub(super) struct OrdersFile {
    path: PathBuf,
}

impl Pause {
    /// One that begins now.
    pub(super) fn begin(lasts: Option<Duration>) -> Self {
        lasts.map_or(Self::Always, |lasts| {
            Self::Until(now_us().saturating_add(microseconds(lasts)))
        })
    }

    /// What is left of it: `None` inside where it has no end.
    pub(super) fn left(self) -> Option<Option<Duration>> {
        match self {
            Self::Always => Some(None),
            Self::Until(until) => {
                let left = until.checked_sub(now_us()).filter(|left| *left > 0)?;
                Some(Some(Duration::from_micros(left)))
            }
        }
    }
}

impl OrdersFile {
    /// In this directory.
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            path: directory.join("orders.json"),
        }
    }

    /// What is in it. Where that cannot be known, a person may have wanted nothing to be done: then nothing is.
    pub(super) fn read(&self) -> Orders {
        let doubt = |why: String| {
            let why = format!("{}: {why}", self.path.display());
            Orders {
                cpu_observes: Some(why.clone()),
                memory_observes: Some(why),
                ..Orders::default()
            }
        };
        match atomic_file::read(&self.path, MAX_BYTES) {
            Ok(bytes) if bytes.is_empty() => Orders::default(),
            Ok(bytes) => {
                serde_json::from_slice(&bytes).unwrap_or_else(|error| doubt(error.to_string()))
            }
            Err(error) => doubt(error.to_string()),
        }
    }

    /// Keeps them.
    ///
    /// # Errors
    /// When the disk takes nothing.
    pub(super) fn keep(&self, orders: &Orders) -> io::Result<()> {
        let text = serde_json::to_string(orders)?;
        atomic_file::replace(&self.path, [text.as_str(), "\n"])
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn orders_hold_over_restarts_and_garbled_ones_are_doubted() {
        let directory = tempfile::tempdir().unwrap();
        let file = OrdersFile::new(directory.path());
        assert_eq!(file.read(), Orders::default());
        let orders = Orders {
            pause: Some(Pause::begin(Some(Duration::from_secs(600)))),
            excluded: ["mail".to_owned()].into(),
            cpu_observes: Some("because".to_owned()),
            memory_observes: None,
        };
        file.keep(&orders).unwrap();
        assert_eq!(file.read(), orders);
        for garbled in ["{", r#"{"excluded": 7}"#, r#"{"included": []}"#] {
            fs::write(directory.path().join("orders.json"), garbled).unwrap();
            let doubt = file.read();
            assert!(doubt.cpu_observes.unwrap().contains("orders.json"));
            assert!(doubt.memory_observes.is_some());
        }
    }

    #[test]
    fn a_pause_has_an_end_or_none() {
        assert_eq!(Pause::begin(None).left(), Some(None));
        let left = Pause::begin(Some(Duration::from_secs(600))).left();
        assert!(left.unwrap().unwrap() > Duration::from_secs(590));
        assert_eq!(Pause::Until(now_us() - 1).left(), None);
    }
}
