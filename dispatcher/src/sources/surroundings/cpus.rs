//! Whether CPUs came or went a moment ago.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long that is a moment ago.
const AGO: Duration = Duration::from_mins(1);

/// What was online when it was last looked.
#[derive(Debug, Default)]
pub(super) struct Hotplug {
    online: Option<String>,
    changed_at: Option<Instant>,
}

impl Hotplug {
    /// Whether they did by `now`; `None` where that cannot be known. `online` is the kernel's list of the CPUs that are.
    pub(super) fn look(&mut self, online: &Path, now: Instant) -> Option<bool> {
        let online = fs::read_to_string(online).ok()?;
        let before = self.online.replace(online);
        if before.is_some() && before != self.online {
            self.changed_at = Some(now);
        }
        let is_recent = |at: Instant| now.saturating_duration_since(at) < AGO;
        Some(self.changed_at.is_some_and(is_recent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_a_minute_after_a_change_they_did() {
        let directory = tempfile::tempdir().unwrap();
        let online = directory.path().join("online");
        let (mut hotplug, now) = (Hotplug::default(), Instant::now());
        assert_eq!(hotplug.look(&online, now), None);
        fs::write(&online, "0-3\n").unwrap();
        assert_eq!(hotplug.look(&online, now), Some(false));
        fs::write(&online, "0-2\n").unwrap();
        assert_eq!(hotplug.look(&online, now), Some(true));
        assert_eq!(hotplug.look(&online, now + AGO / 2), Some(true));
        assert_eq!(hotplug.look(&online, now + AGO), Some(false));
    }
}
