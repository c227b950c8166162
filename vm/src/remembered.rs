//! What hosts' guests were like before anything was changed, in a file, so that it can be put back by who comes after one that
//! was killed. Owns the file's format, and that a guest that was started anew meanwhile is another.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auto_ext_service::atomic_file;
use auto_ext_service::cpu_list::{self, List, NoCpuList};
use serde::{Deserialize, Serialize};

use crate::action::Originals;
use crate::moment::Moment;
use crate::snapshot::{GuestId, Snapshot, VcpuId};

/// How large the file may be, in bytes: some 100,000 vCPUs.
const MAX_BYTES: u64 = 16 << 20;
/// A guest that began at another time by more than this is another. It is known in ticks of 10 ms, and two clocks are read.
const SAME: Duration = Duration::from_secs(1);
/// Another number for each boot (random(4)).
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Where it is kept.
#[derive(Debug)]
pub struct Remembered {
    path: PathBuf,
    boot: String,
    /// Held as long as this is.
    _lock: Option<File>,
}

/// What was kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    originals: Originals,
    /// When each guest began.
    began: BTreeMap<GuestId, Moment>,
}

/// Why it cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum RememberedError {
    /// The file cannot be used.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It says something else.
    #[error("{}: {error}", path.display())]
    Garbled {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// Somebody else changes the guests of this host.
    #[error("{}: held by another auto-ext-vm, which runs", path.display())]
    Held {
        /// What they hold.
        path: PathBuf,
    },
    /// A mask is none.
    #[error("{}: {error}", path.display())]
    Cpus {
        /// In which file.
        path: PathBuf,
        /// What is wrong with it.
        error: NoCpuList,
    },
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: Version,
    /// In which boot it was written.
    boot: String,
    guests: Vec<WrittenGuest>,
}

/// The one version there is.
#[derive(Debug, Serialize, Deserialize)]
enum Version {
    #[serde(rename = "1")]
    One,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenGuest {
    uuid: String,
    /// When it began, in milliseconds since the boot.
    began: u64,
    /// Where each of its vCPUs that were pinned could run.
    masks: BTreeMap<u32, String>,
    /// How often its balloon spoke, in seconds, if that was changed; 0: never.
    period: Option<u64>,
}

impl Remembered {
    /// In this file.
    ///
    /// # Errors
    /// When it is not known which boot this is.
    pub fn new(path: &Path) -> Result<Self, RememberedError> {
        let boot = fs::read_to_string(BOOT).map_err(|error| RememberedError::File {
            path: BOOT.into(),
            error,
        })?;
        Ok(Self::of_boot(path, boot.trim_ascii()))
    }

    fn of_boot(path: &Path, boot: &str) -> Self {
        Self {
            path: path.to_owned(),
            boot: boot.to_owned(),
            _lock: None,
        }
    }

    /// As [`Self::new`], for the only one that may change guests: two would each undo what the other does.
    ///
    /// # Errors
    /// When somebody else has it.
    pub fn hold(path: &Path) -> Result<Self, RememberedError> {
        let remembered = Self::new(path)?;
        remembered.make_directory()?;
        let path = path.with_added_extension("lock");
        let failed = |path, error| RememberedError::File { path, error };
        let lock = File::create(&path).map_err(|error| failed(path.clone(), error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                _lock: Some(lock),
                ..remembered
            }),
            Err(TryLockError::WouldBlock) => Err(RememberedError::Held { path }),
            Err(TryLockError::Error(error)) => Err(failed(path, error)),
        }
    }

    fn make_directory(&self) -> Result<(), RememberedError> {
        let parent = self.path.parent();
        parent
            .map_or(Ok(()), fs::create_dir_all)
            .map_err(|error| self.failed(error))
    }

    /// What was kept in this boot; nothing where there is no file.
    ///
    /// # Errors
    /// When it cannot be read or is garbled.
    pub fn read(&self) -> Result<Kept, RememberedError> {
        let bytes = atomic_file::read(&self.path, MAX_BYTES).map_err(|error| self.failed(error))?;
        if bytes.is_empty() {
            return Ok(Kept::default());
        }
        let written: Written =
            serde_json::from_slice(&bytes).map_err(|error| self.garbled(error))?;
        let mut kept = Kept::default();
        if written.boot != self.boot {
            return Ok(kept);
        }
        for guest in written.guests {
            let id = GuestId::new(&guest.uuid);
            kept.began
                .insert(id.clone(), Duration::from_millis(guest.began));
            for (index, cpus) in guest.masks {
                let cpus = cpu_list::parse(&cpus).map_err(|error| RememberedError::Cpus {
                    path: self.path.clone(),
                    error,
                })?;
                let guest = id.clone();
                kept.originals.masks.insert(VcpuId { guest, index }, cpus);
            }
            if let Some(seconds) = guest.period {
                let period = (seconds > 0).then(|| Duration::from_secs(seconds));
                kept.originals.periods.insert(id, period);
            }
        }
        Ok(kept)
    }

    /// Keeps it, in place of what was, and waits until the disk has it. Where there is nothing to keep, and nothing was, no file is made.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, kept: &Kept) -> Result<(), RememberedError> {
        let mut guests: BTreeMap<&GuestId, WrittenGuest> = BTreeMap::new();
        for (id, cpus) in &kept.originals.masks {
            let guest = guests.entry(&id.guest).or_default();
            guest.masks.insert(id.index, List(cpus).to_string());
        }
        for (id, period) in &kept.originals.periods {
            let seconds = period.map_or(0, |period| period.as_secs());
            guests.entry(id).or_default().period = Some(seconds);
        }
        if guests.is_empty() && !self.path.exists() {
            return Ok(());
        }
        let guests = guests.into_iter().map(|(id, guest)| {
            let began = kept.began.get(id).copied().unwrap_or_default();
            WrittenGuest {
                uuid: id.to_string(),
                began: u64::try_from(began.as_millis()).unwrap_or(u64::MAX),
                ..guest
            }
        });
        let written = Written {
            version: Version::One,
            boot: self.boot.clone(),
            guests: guests.collect(),
        };
        let text = serde_json::to_string(&written).map_err(|error| self.garbled(error))?;
        self.make_directory()?;
        atomic_file::replace(&self.path, [text.as_str(), "\n"]).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> RememberedError {
        let path = self.path.clone();
        RememberedError::File { path, error }
    }

    fn garbled(&self, error: serde_json::Error) -> RememberedError {
        let path = self.path.clone();
        RememberedError::Garbled { path, error }
    }
}

impl Kept {
    /// What guests were like that are seen now.
    #[must_use]
    pub fn new(originals: Originals, snapshot: &Snapshot, now: Moment) -> Self {
        let guests = snapshot.guests.iter();
        Self {
            originals,
            began: guests
                .map(|guest| (guest.id.clone(), now.saturating_sub(guest.uptime)))
                .collect(),
        }
    }

    /// What of it is of guests that have run since, and not of others that have the same UUID.
    #[must_use]
    pub fn of_those_who_run(mut self, snapshot: &Snapshot, now: Moment) -> Originals {
        let is_same = |id: &GuestId| {
            let guest = snapshot.guests.iter().find(|guest| guest.id == *id);
            guest.zip(self.began.get(id)).is_some_and(|(guest, began)| {
                now.saturating_sub(guest.uptime).abs_diff(*began) <= SAME
            })
        };
        self.originals.masks.retain(|id, _| is_same(&id.guest));
        self.originals.periods.retain(|id, _| is_same(id));
        self.originals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::{Host, SimGuest, SimVcpu, id};
    use crate::topology::Cpus;

    fn originals() -> Originals {
        let vcpu = |guest, index| VcpuId {
            guest: id(guest),
            index,
        };
        Originals {
            masks: BTreeMap::from([
                (vcpu(0, 0), Cpus::from([0, 1, 2, 5])),
                (vcpu(0, 1), Cpus::from([7])),
                (vcpu(1, 0), Cpus::from([0])),
            ]),
            periods: BTreeMap::from([(id(1), None), (id(2), Some(Duration::from_secs(10)))]),
        }
    }

    fn snapshot() -> Snapshot {
        let guest = |number| SimGuest::new(number, vec![SimVcpu::new(50.0, 4); 2]);
        let mut host = Host::new(4, vec![guest(0), guest(1), guest(2)]);
        host.step = 20;
        host.snapshot()
    }

    #[test]
    fn what_is_kept_is_read_again_until_the_next_boot() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/originals.json");
        let kept = Kept::new(originals(), &snapshot(), Duration::from_secs(200));
        let file = Remembered::of_boot(&path, "a");
        assert_eq!(file.read().unwrap(), Kept::default());
        file.keep(&Kept::default()).unwrap();
        assert!(!path.exists());
        file.keep(&kept).unwrap();
        assert_eq!(file.read().unwrap(), kept);
        let next = Remembered::of_boot(&path, "b");
        assert_eq!(next.read().unwrap(), Kept::default());
    }

    #[test]
    fn a_guest_that_was_started_anew_is_another() {
        let at = Duration::from_secs(200);
        let mut seen = snapshot();
        let kept = Kept::new(originals(), &seen, at);
        // Some time later.
        let now = at + Duration::from_millis(5200);
        for guest in &mut seen.guests {
            guest.uptime += Duration::from_millis(5190);
        }
        assert_eq!(kept.clone().of_those_who_run(&seen, now), originals());
        seen.guests[0].uptime = Duration::from_secs(3);
        seen.guests.remove(2);
        let left = kept.of_those_who_run(&seen, now);
        assert_eq!(left.masks.len(), 1);
        assert_eq!(left.periods, BTreeMap::from([(id(1), None)]));
    }

    #[test]
    fn only_one_may_change_guests() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/originals.json");
        let held = Remembered::hold(&path).unwrap();
        let error = Remembered::hold(&path).unwrap_err().to_string();
        assert!(error.contains("originals.json.lock: held"), "{error}");
        drop(held);
        Remembered::hold(&path).unwrap();
    }

    #[test]
    fn what_is_garbled_is_refused_by_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("originals.json");
        let file = Remembered::of_boot(&path, "a");
        for wrong in [
            "{",
            r#"{"version":"2","boot":"a","guests":[]}"#,
            r#"{"version":"1","boot":"a","guests":[{"uuid":"x","began":1,"masks":{"0":"3-1"},"period":null}]}"#,
        ] {
            fs::write(&path, wrong).unwrap();
            let error = file.read().unwrap_err().to_string();
            assert!(error.contains("originals.json"), "{error}");
        }
    }
}
