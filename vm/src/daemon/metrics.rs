//! What is counted and measured, in Prometheus' text format.

use std::fmt::Write as _;

use super::status::{Mode, Status};
use crate::action::Action;
use crate::controller::Done;

/// All modes, so that each has a line whichever holds.
const MODES: [Mode; 4] = [Mode::Unavailable, Mode::Observe, Mode::Act, Mode::Paused];

/// What was done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) windows: u64,
    pub(super) pins: u64,
    pub(super) targets: u64,
    pub(super) refused: u64,
}

impl Counters {
    /// Counts what was done.
    pub(super) fn count(&mut self, done: &Done) {
        match (&done.result, &done.action) {
            (Err(_), _) => self.refused += 1,
            (Ok(()), Action::Pin(..)) => self.pins += 1,
            (Ok(()), Action::Target(..)) => self.targets += 1,
            (Ok(()), _) => {}
        }
    }
}

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing into memory does not fail.
        let _ = write!(
            self.0,
            "# HELP auto_ext_vm_{name} {help}\n# TYPE auto_ext_vm_{name} {kind}\n"
        );
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.0, "auto_ext_vm_{name}");
        for (at, (label, of)) in labels.iter().enumerate() {
            let begin = if at == 0 { '{' } else { ',' };
            let of = of
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(self.0, "{begin}{label}=\"{of}\"");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }
}

/// The metrics.
pub(super) fn metrics(status: &Status, counters: &Counters, sigma: Option<f64>) -> String {
    let mut text = Text(String::new());
    text.family("build_info", "gauge", "The version of the service");
    text.sample("build_info", &[("version", &status.version)], 1.0);
    text.family("mode", "gauge", "1 for what the service does");
    for mode in MODES {
        let is_so = f64::from(u8::from(mode == status.mode));
        text.sample("mode", &[("mode", mode.name())], is_so);
    }
    text.family("guests", "gauge", "Guests that run");
    text.sample("guests", &[], status.guests.len() as f64);
    if let Some(sigma) = sigma {
        let help =
            "Standard deviation of the CPUs' demand when a plan was last made, in percent of a CPU";
        text.family("cpu_demand_stddev_percent", "gauge", help);
        text.sample("cpu_demand_stddev_percent", &[], sigma);
    }
    const MIB: f64 = 1048576.0;
    if let Some(can) = status.host_can_promise {
        let help = "Memory that the host can promise to guests";
        text.family("host_promisable_bytes", "gauge", help);
        text.sample("host_promisable_bytes", &[], can * MIB);
    }
    text.family("guest_memory_bytes", "gauge", "Memory that a guest has");
    for guest in &status.guests {
        let labels = [
            ("guest", guest.name.as_str()),
            ("uuid", guest.uuid.as_str()),
        ];
        text.sample("guest_memory_bytes", &labels, guest.memory * MIB);
    }
    for (name, help, value) in [
        (
            "windows_total",
            "Windows that were looked at",
            counters.windows,
        ),
        (
            "pins_total",
            "vCPUs that were pinned or put back",
            counters.pins,
        ),
        (
            "memory_changes_total",
            "Guests that were told to have other memory",
            counters.targets,
        ),
        (
            "refused_total",
            "What was to be done and was refused",
            counters.refused,
        ),
    ] {
        text.family(name, "counter", help);
        text.sample(name, &[], value as f64);
    }
    text.0
}

#[cfg(test)]
mod tests {
    use super::super::status::Guest;
    use super::*;

    #[test]
    fn every_sample_has_a_description_and_names_are_escaped() {
        let guest = Guest {
            name: "a\"b\\c".to_owned(),
            uuid: "7".to_owned(),
            memory: 512.0,
            ..Guest::default()
        };
        let status = Status {
            version: "1".to_owned(),
            guests: vec![guest],
            host_can_promise: Some(-1.0),
            ..Status::default()
        };
        let text = metrics(&status, &Counters::default(), Some(2.5));
        let escaped = r#"auto_ext_vm_guest_memory_bytes{guest="a\"b\\c",uuid="7"} 536870912"#;
        assert!(text.contains(escaped), "{text}");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            assert!(text.contains(&format!("# TYPE {name} ")), "{line}");
        }
        assert!(
            text.contains("auto_ext_vm_mode{mode=\"unavailable\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("auto_ext_vm_pins_total 0\n"), "{text}");
    }
}
