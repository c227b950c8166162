//! What the processors took since measuring began, as their counters below /sys/class/powercap say
//! (Documentation/power/powercap/powercap.rst).
//!
//! Owns which counters are those of the processors, and that they wrap around: who reads them has to do so about once a minute, as the
//! smallest ones are full after two minutes of a large processor's full load.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Below the root.
const POWERCAP: &str = "sys/class/powercap";
/// What the kernel calls the counters of Intel's and AMD's processors. `intel-rapl-mmio:0` is the same again.
const PREFIX: &str = "intel-rapl:";
/// A processor; `psys` is the whole machine, with the processors in it.
const PROCESSOR: &str = "package-";

/// Why energy is not measured.
#[derive(Debug, thiserror::Error)]
pub enum EnergyError {
    /// There are no such counters, as in virtual machines.
    #[error("no processor says what it takes")]
    NoCounter,
    /// The caller may not read them.
    #[error("reading it is not permitted: run as root")]
    NotPermitted,
    /// A counter cannot be read otherwise.
    #[error("{}: {error}", .file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The counters, and what they counted by the last reading.
#[derive(Debug)]
pub struct Energy {
    processors: Vec<Processor>,
}

#[derive(Debug)]
struct Processor {
    counter: PathBuf,
    /// The counter at the last reading, and the highest value that it can have.
    last: u64,
    highest: u64,
    total_uj: u64,
}

impl Energy {
    /// Begins to measure; `root` is / but in tests.
    ///
    /// # Errors
    /// When there is nothing to read, or it cannot be read.
    pub fn begin(root: &Path) -> Result<Self, EnergyError> {
        let Ok(zones) = fs::read_dir(root.join(POWERCAP)) else {
            return Err(EnergyError::NoCounter);
        };
        let mut processors = Vec::new();
        for zone in zones.flatten() {
            if is_whole(&zone.file_name().to_string_lossy()) && is_processor(&zone.path()) {
                processors.push(Processor::begin(&zone.path())?);
            }
        }
        if processors.is_empty() {
            return Err(EnergyError::NoCounter);
        }
        Ok(Self { processors })
    }

    /// What all processors took since it began, in microjoules; `None` when one cannot be read.
    pub fn read(&mut self) -> Option<u64> {
        let totals = self.processors.iter_mut().map(Processor::read);
        totals.sum()
    }

    /// The same as of the last reading.
    #[must_use]
    pub fn last_uj(&self) -> u64 {
        let totals = self.processors.iter().map(|processor| processor.total_uj);
        totals.fold(0, u64::saturating_add)
    }
}

impl Processor {
    fn begin(zone: &Path) -> Result<Self, EnergyError> {
        let counter = zone.join("energy_uj");
        Ok(Self {
            last: number(&counter)?,
            highest: number(&zone.join("max_energy_range_uj"))?,
            counter,
            total_uj: 0,
        })
    }

    fn read(&mut self) -> Option<u64> {
        let now = number(&self.counter).ok()?;
        self.total_uj = self
            .total_uj
            .saturating_add(grown(self.last, now, self.highest));
        self.last = now;
        Some(self.total_uj)
    }
}

/// By how much a counter grew that goes on with 0 after its highest value.
fn grown(before: u64, now: u64, highest: u64) -> u64 {
    if now >= before {
        now - before
    } else {
        highest.saturating_sub(before).saturating_add(now)
    }
}

/// Of `intel-rapl:0:1`, which is a part of one, this is not.
fn is_whole(zone: &str) -> bool {
    let number = zone.strip_prefix(PREFIX);
    number.is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_processor(zone: &Path) -> bool {
    let name = fs::read_to_string(zone.join("name"));
    name.is_ok_and(|name| name.starts_with(PROCESSOR))
}

fn number(file: &Path) -> Result<u64, EnergyError> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => EnergyError::NotPermitted,
        _ => EnergyError::Unreadable {
            file: file.to_owned(),
            error,
        },
    };
    let text = fs::read_to_string(file).map_err(unreadable)?;
    let number = text.trim().parse();
    number.map_err(|error| unreadable(io::Error::new(io::ErrorKind::InvalidData, error)))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn machine(zones: &[(&str, &str, u64)]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        for (zone, name, uj) in zones {
            let zone = root.path().join(POWERCAP).join(zone);
            fs::create_dir_all(&zone).unwrap();
            fs::write(zone.join("name"), format!("{name}\n")).unwrap();
            fs::write(zone.join("energy_uj"), format!("{uj}\n")).unwrap();
            fs::write(zone.join("max_energy_range_uj"), "1000\n").unwrap();
        }
        root
    }

    fn set(root: &TempDir, zone: &str, text: &str) {
        let zone = root.path().join(POWERCAP).join(zone);
        fs::write(zone.join("energy_uj"), text).unwrap();
    }

    #[test]
    fn processors_count_and_neither_their_parts_nor_what_counts_them_again() {
        let root = machine(&[
            ("intel-rapl:0", "package-0", 100),
            ("intel-rapl:0:0", "core", 100),
            ("intel-rapl:1", "package-1", 200),
            ("intel-rapl:2", "psys", 100),
            ("intel-rapl-mmio:0", "package-0", 100),
        ]);
        fs::create_dir(root.path().join(POWERCAP).join("intel-rapl")).unwrap();
        let mut energy = Energy::begin(root.path()).unwrap();
        assert_eq!(energy.read(), Some(0));
        for zone in ["intel-rapl:0", "intel-rapl:0:0", "intel-rapl:2"] {
            set(&root, zone, "150\n");
        }
        set(&root, "intel-rapl:1", "201\n");
        assert_eq!((energy.last_uj(), energy.read()), (0, Some(51)));
        assert_eq!(energy.last_uj(), 51);
    }

    #[test]
    fn a_counter_that_is_full_goes_on_with_nothing() {
        let root = machine(&[("intel-rapl:0", "package-0", 900)]);
        let mut energy = Energy::begin(root.path()).unwrap();
        for (now, total) in [("950", 50), ("30", 130), ("40", 140), ("20", 1120)] {
            set(&root, "intel-rapl:0", now);
            assert_eq!(energy.read(), Some(total));
        }
    }

    #[test]
    fn where_there_are_none_or_they_say_nothing_that_is_said() {
        let none = tempfile::tempdir().unwrap();
        assert!(matches!(
            Energy::begin(none.path()),
            Err(EnergyError::NoCounter)
        ));
        let root = machine(&[("intel-rapl:2", "psys", 1)]);
        assert!(matches!(
            Energy::begin(root.path()),
            Err(EnergyError::NoCounter)
        ));
        let root = machine(&[("intel-rapl:0", "package-0", 1)]);
        let mut energy = Energy::begin(root.path()).unwrap();
        set(&root, "intel-rapl:0", "much");
        assert_eq!(energy.read(), None);
        let error = Energy::begin(root.path()).unwrap_err().to_string();
        assert!(error.contains("energy_uj: invalid digit"), "{error}");
    }
}
