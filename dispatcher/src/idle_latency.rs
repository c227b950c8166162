//! What schedulers ask of the CPUs' idle states, and do not always take back.
//!
//! Some (scx_flash always, scx_bpfland with `-I`) write how long a CPU may take to wake up to
//! `power/pm_qos_resume_latency_us` of each CPU, and write back what they found when they leave. One
//! that is killed leaves its value for good. One that leaves after its successor has come overwrites
//! the successor's value, and the successor has found, and will restore, the value of the one before.
//! So it is written down what was there before any of them, and put right when one has ended.
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

/// The CPUs' directory.
#[derive(Clone, Debug)]
pub(crate) struct IdleLatency {
    cpus: PathBuf,
}

/// What one scheduler found and changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// What it saw when it was started.
    saw: Values,
    /// What was there before any scheduler of ours.
    found: Values,
    /// What it asks for, where that is something else than what it saw.
    asks: Values,
}

impl Default for IdleLatency {
    fn default() -> Self {
        Self { cpus: CPUS.into() }
    }
}

impl IdleLatency {
    /// To be called before a scheduler is started while another of ours, `before`, may run.
    pub(crate) fn starts(&self, before: Option<&Marks>) -> Marks {
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
        Marks {
            saw,
            found,
            asks: Values::new(),
        }
    }

    /// To be called when the scheduler is loaded.
    pub(crate) fn loaded(&self, marks: &mut Marks) {
        marks.asks = self.read();
        marks
            .asks
            .retain(|cpu, value| marks.saw.get(cpu) != Some(value));
    }

    /// To be called when the process of a scheduler has ended; `next` is the one that runs now.
    /// Values that others wrote meanwhile stay.
    pub(crate) fn ended(&self, marks: &Marks, next: Option<&Marks>) {
        let none = Values::new();
        let asked_next = next.map_or(&none, |next| &next.asks);
        for (cpu, now) in self.read() {
            let of_ours = [&marks.asks, &marks.saw, &marks.found]
                .iter()
                .any(|values| values.get(&cpu) == Some(&now));
            let right = asked_next.get(&cpu).or_else(|| marks.found.get(&cpu));
            let touched = marks.asks.contains_key(&cpu) || asked_next.contains_key(&cpu);
            if let Some(right) = right.filter(|right| **right != now && of_ours && touched)
                && let Err(error) = fs::write(self.file(cpu), right)
            {
                tracing::warn!("the idle latency of CPU {cpu} cannot be set to {right}: {error}");
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
        latency: IdleLatency,
    }

    impl Machine {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let latency = IdleLatency {
                cpus: directory.path().to_owned(),
            };
            fs::create_dir_all(directory.path().join("cpufreq")).unwrap();
            for cpu in 0..2 {
                fs::create_dir_all(directory.path().join(format!("cpu{cpu}/power"))).unwrap();
            }
            let machine = Self {
                _directory: directory,
                latency,
            };
            machine.write("0");
            machine
        }

        fn write(&self, value: &str) {
            for cpu in 0..2 {
                fs::write(self.latency.file(cpu), format!("{value}\n")).unwrap();
            }
        }

        fn values(&self) -> Vec<String> {
            self.latency.read().into_values().collect()
        }

        /// A scheduler that asks for `value`, after `before`.
        fn start(&self, value: Option<&str>, before: Option<&Marks>) -> Marks {
            let mut marks = self.latency.starts(before);
            if let Some(value) = value {
                self.write(value);
            }
            self.latency.loaded(&mut marks);
            marks
        }
    }

    #[test]
    fn what_a_killed_scheduler_left_behind_is_undone() {
        let machine = Machine::new();
        let flash = machine.start(Some("32"), None);
        machine.latency.ended(&flash, None);
        assert_eq!(machine.values(), ["0", "0"]);
    }

    #[test]
    fn a_successor_keeps_what_it_asks_for_when_the_one_before_leaves() {
        let machine = Machine::new();
        let flash = machine.start(Some("32"), None);
        let bpfland = machine.start(Some("100"), Some(&flash));
        machine.write("0");
        machine.latency.ended(&flash, Some(&bpfland));
        assert_eq!(machine.values(), ["100", "100"]);
        // It found 32, and restores that.
        machine.write("32");
        machine.latency.ended(&bpfland, None);
        assert_eq!(machine.values(), ["0", "0"]);
    }

    #[test]
    fn a_successor_that_asks_for_nothing_gets_what_was_there_before() {
        let machine = Machine::new();
        let flash = machine.start(Some("32"), None);
        let cosmos = machine.start(None, Some(&flash));
        machine.latency.ended(&flash, Some(&cosmos));
        assert_eq!(machine.values(), ["0", "0"]);
        machine.latency.ended(&cosmos, None);
        assert_eq!(machine.values(), ["0", "0"]);
    }

    #[test]
    fn what_others_wrote_meanwhile_stays() {
        let machine = Machine::new();
        let flash = machine.start(Some("32"), None);
        machine.write("7");
        machine.latency.ended(&flash, None);
        assert_eq!(machine.values(), ["7", "7"]);
        let cosmos = machine.start(None, None);
        machine.write("9");
        machine.latency.ended(&cosmos, None);
        assert_eq!(machine.values(), ["9", "9"]);
    }

    #[test]
    fn a_machine_without_such_files_is_left_alone() {
        let latency = IdleLatency {
            cpus: "/nonexistent".into(),
        };
        let mut marks = latency.starts(None);
        latency.loaded(&mut marks);
        latency.ended(&marks, None);
        assert_eq!(marks, Marks::default());
    }
}
