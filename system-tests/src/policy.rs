//! The policies that the tests install.

use std::fs;

use anyhow::Context as _;

const INSTALLED: &str = "/etc/auto-ext/policies.yaml";
const SHIPPED: &str = "/usr/share/auto-ext/policies.yaml";

/// A policy under test, with the scheduler it wants for each class.
pub(crate) struct Policy {
    /// Its name, for people.
    pub(crate) name: &'static str,
    rules: Option<&'static [(&'static str, &'static str, &'static str)]>,
}

/// Nothing brings anything.
pub(crate) const QUIET: &str = "version: 1\nrules: [{class: idle, use: [kernel]}]\n";

/// A scheduler whatever the machine does.
pub(crate) const FLASH: &str = "version: 1\nrules: [{class: idle, use: [scx_flash, kernel]}]\n";

/// The one that is shipped.
pub(crate) const DEFAULT: Policy = Policy {
    name: "shipped policy",
    rules: None,
};

/// A scheduler for what a few hogs are, and nothing else: whatever an emulated machine does besides changes nothing.
pub(crate) const FLASH_FOR_HOGS: Policy = Policy {
    name: "flash for hogs",
    rules: Some(&[("cpu", "cpu: high", "scx_flash")]),
};

/// A real scheduler for every class, in the order of the shipped policy; another one each but for the two that come far
/// apart. Not scx_lavd, which needs a minute to load in an emulated machine: that one is pinned in `people`.
pub(crate) const ONE_PER_CLASS: Policy = Policy {
    name: "a scheduler per class",
    rules: Some(&[
        ("interactive", "interactive: high", "scx_bpfland"),
        ("network", "net: high", "scx_cosmos"),
        ("io", "io: high", "scx_rusty"),
        ("memory", "mem: high", "scx_beerland"),
        ("parallel", "parallel: high", "scx_cosmos"),
        ("cpu", "cpu: high", "scx_flash"),
    ]),
};

/// The same scheduler, which loads quickly, for every class.
pub(crate) const ONE_FOR_ALL: Policy = Policy {
    name: "one scheduler for all classes",
    rules: Some(&[
        ("interactive", "interactive: high", "scx_cosmos"),
        ("network", "net: high", "scx_cosmos"),
        ("io", "io: high", "scx_cosmos"),
        ("memory", "mem: high", "scx_cosmos"),
        ("parallel", "parallel: high", "scx_cosmos"),
        ("cpu", "cpu: high", "scx_cosmos"),
    ]),
};

impl Policy {
    /// Puts the policy where the service reads it.
    pub(crate) fn install(&self) -> anyhow::Result<()> {
        match self.rules {
            None => write(
                &fs::read_to_string(SHIPPED)
                    .with_context(|| format!("failed to read {SHIPPED}"))?,
            ),
            Some(rules) => {
                let rules = rules.iter().map(|(class, when, scheduler)| {
                    format!(
                        "  - {{class: {class}, when: {{{when}}}, use: [{scheduler}, kernel]}}\n"
                    )
                });
                write(&format!(
                    "version: 1\nrules:\n{}  - {{class: idle, use: [kernel]}}\n\
                     stability: {{min_run: 2s, max_switches_per_hour: 1000}}\n",
                    rules.collect::<String>()
                ))
            }
        }
    }

    /// The scheduler that the policy wants for a class, in the words of `kernel::scheduler`.
    pub(crate) fn scheduler_for(&self, class: &str) -> &'static str {
        match self.rules {
            None => match class {
                "interactive" => "scx_bpfland",
                "network" => "scx_cosmos",
                _ => "kernel",
            },
            Some(rules) => rules
                .iter()
                .find(|(name, ..)| *name == class)
                .map_or("kernel", |(_, _, scheduler)| scheduler),
        }
    }
}

/// Puts `text` where the service reads its policy.
pub(crate) fn read() -> anyhow::Result<String> {
    fs::read_to_string(INSTALLED).with_context(|| format!("failed to read {INSTALLED}"))
}

pub(crate) fn write(text: &str) -> anyhow::Result<()> {
    fs::write(INSTALLED, text).with_context(|| format!("failed to write {INSTALLED}"))
}
