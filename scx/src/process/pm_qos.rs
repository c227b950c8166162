//! What schedulers ask of the CPUs' idle states (PM QoS), and do not always take back.
//!
//! Some (scx_flash always, scx_bpfland with `-I`) write how long a CPU may take to wake up to
//! `power/pm_qos_resume_latency_us` of each CPU, and write back what they found when they leave. One
//! that is killed leaves its value for good. One that leaves after its successor has come overwrites
//! the successor's value, and the successor has found, and will restore, the value of the one before.
//! So a snapshot is taken of what was there before any of them, and restored when one has ended.
//!
//! A successor that asks for the very same value as the one before cannot be told from one that asks
//! for nothing; it loses its value then, which costs it wake-up time and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

const CPUS: &str = "/sys/devices/system/cpu";
const FILE: &str = "power/pm_qos_resume_latency_us";

/// Each CPU's value, in microseconds or one of the kernel's words, as the kernel shows it.
type Values = BTreeMap<u32, String>;

/// The CPUs' limits for how long they may take to wake up: `power/pm_qos_resume_latency_us`, in microseconds or one of
/// the kernel's words. Writing them needs root.
#[derive(Clone, Debug)]
pub struct PmQos {
    cpus: PathBuf,
}

/// The limits that one scheduler found, and those that it asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PmQosSnapshot {
    /// What it saw when it was started.
    saw: Values,
    /// What was there before any scheduler of ours.
    found: Values,
    /// What it asks for, where that is something else than what it saw.
    asks: Values,
}

impl Default for PmQos {
    fn default() -> Self {
        Self { cpus: CPUS.into() }
    }
}

impl PmQos {
    /// To be called before a scheduler is started while another of ours, `before`, may run.
    #[must_use]
    pub(crate) fn starts(&self, before: Option<&PmQosSnapshot>) -> PmQosSnapshot {
        let saw = self.read();
        let mut found = saw.clone();
        if let Some(before) = before {
            for (cpu, value) in &mut found {
                if before.asks.get(cpu) == Some(value)
                    && let Some(original) = before.found.get(cpu)
                {
                    value.clone_from(original);
                }
            }
        }
        PmQosSnapshot {
            saw,
            found,
            asks: Values::new(),
        }
    }

    /// To be called when the scheduler is loaded.
    pub(crate) fn loaded(&self, snapshot: &mut PmQosSnapshot) {
        snapshot.asks = self.read();
        snapshot
            .asks
            .retain(|cpu, value| snapshot.saw.get(cpu) != Some(value));
    }

    /// To be called when the process of a scheduler has ended; `next` is the one that runs now.
    /// Restores what `snapshot`'s scheduler found, but for what `next` asks for and what others wrote meanwhile.
    /// A limit that cannot be written is logged.
    pub fn ended(&self, snapshot: &PmQosSnapshot, next: Option<&PmQosSnapshot>) {
        let none = Values::new();
        let asked_next = next.map_or(&none, |next| &next.asks);
        for (cpu, now) in self.read() {
            let of_ours = [&snapshot.asks, &snapshot.saw, &snapshot.found]
                .iter()
                .any(|values| values.get(&cpu) == Some(&now));
            let right = asked_next.get(&cpu).or_else(|| snapshot.found.get(&cpu));
            let touched = snapshot.asks.contains_key(&cpu) || asked_next.contains_key(&cpu);
            if let Some(right) = right.filter(|right| **right != now && of_ours && touched)
                && let Err(error) = fs::write(self.file(cpu), right)
            {
                tracing::warn!(
                    "the resume latency (PM QoS) of CPU {cpu} cannot be set to {right}: {error}"
                );
            }
        }
    }

    fn read(&self) -> Values {
        let cpus = fs::read_dir(&self.cpus).into_iter().flatten().flatten();
        cpus.filter_map(|entry| {
            let number = entry
                .file_name()
                .to_str()?
                .strip_prefix("cpu")?
                .parse()
                .ok()?;
            Some((number, self.value(number).ok()?))
        })
        .collect()
    }

    fn value(&self, cpu: u32) -> io::Result<String> {
        fs::read_to_string(self.file(cpu)).map(|text| text.trim().to_owned())
    }

    fn file(&self, cpu: u32) -> PathBuf {
        self.cpus.join(format!("cpu{cpu}")).join(FILE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Machine {
        _directory: tempfile::TempDir,
        pm_qos: PmQos,
    }

    impl Machine {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let pm_qos = PmQos {
                cpus: directory.path().to_owned(),
            };
            fs::create_dir_all(directory.path().join("cpufreq")).unwrap();
            for cpu in 0..2 {
                fs::create_dir_all(directory.path().join(format!("cpu{cpu}/power"))).unwrap();
            }
            let machine = Self {
                _directory: directory,
                pm_qos,
            };
            machine.write("0");
            machine
        }

        fn write(&self, value: &str) {
            for cpu in 0..2 {
                fs::write(self.pm_qos.file(cpu), format!("{value}\n")).unwrap();
            }
        }

        fn values(&self) -> Vec<String> {
            self.pm_qos.read().into_values().collect()
        }

        /// A scheduler that asks for `value`, after `before`.
        fn start(&self, value: Option<&str>, before: Option<&PmQosSnapshot>) -> PmQosSnapshot {
            let mut snapshot = self.pm_qos.starts(before);
            if let Some(value) = value {
                self.write(value);
            }
            self.pm_qos.loaded(&mut snapshot);
            snapshot
        }
    }

    #[test]
    fn what_a_killed_scheduler_left_behind_is_undone() {
        let machine = Machine::new();
        let flash = machine.start(Some("32"), None);
        machine.pm_qos.ended(&flash, None);
        assert_eq!(machine.values(), ["0", "0"]);
    }

    #[test]
    fn a_successor_keeps_what_it_asks_for_when_the_one_before_leaves() {
        let machine = Machine::new();
        let flash = machine.start(Some("32"), None);
        let bpfland = machine.start(Some("100"), Some(&flash));
        machine.write("0");
        machine.pm_qos.ended(&flash, Some(&bpfland));
        assert_eq!(machine.values(), ["100", "100"]);
        // It found 32, and restores that.
        machine.write("32");
        machine.pm_qos.ended(&bpfland, None);
        assert_eq!(machine.values(), ["0", "0"]);
    }

    #[test]
    fn a_successor_that_asks_for_nothing_gets_what_was_there_before() {
        let machine = Machine::new();
        let flash = machine.start(Some("32"), None);
        let cosmos = machine.start(None, Some(&flash));
        machine.pm_qos.ended(&flash, Some(&cosmos));
        assert_eq!(machine.values(), ["0", "0"]);
        machine.pm_qos.ended(&cosmos, None);
        assert_eq!(machine.values(), ["0", "0"]);
    }

    #[test]
    fn what_others_wrote_meanwhile_stays() {
        let machine = Machine::new();
        let flash = machine.start(Some("32"), None);
        machine.write("7");
        machine.pm_qos.ended(&flash, None);
        assert_eq!(machine.values(), ["7", "7"]);
        let cosmos = machine.start(None, None);
        machine.write("9");
        machine.pm_qos.ended(&cosmos, None);
        assert_eq!(machine.values(), ["9", "9"]);
    }

    #[test]
    fn a_machine_without_such_files_is_left_alone() {
        let pm_qos = PmQos {
            cpus: "/nonexistent".into(),
        };
        let mut snapshot = pm_qos.starts(None);
        pm_qos.loaded(&mut snapshot);
        pm_qos.ended(&snapshot, None);
        assert_eq!(snapshot, PmQosSnapshot::default());
    }
}
