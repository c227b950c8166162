//! Where a file comes from: what made it, when, and on which machine.

use auto_ext_service::sanitize::sanitize;
use serde::{Deserialize, Serialize};

/// The longest text, in bytes.
pub const MAX_TEXT: usize = 256;
/// Which features files have: another number, others.
pub const FEATURES: u32 = 1;

/// A machine, as far as what was learned on one may be wrong on another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// What its processor is called.
    pub cpu: String,
    /// How many CPUs it has.
    pub cpus: u32,
    /// How many last-level caches.
    pub llcs: u32,
    /// How many nodes of memory.
    pub nodes: u32,
    /// Whether a core has more than one hardware thread.
    pub smt: bool,
}

/// What made a file, when and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The program with its version.
    pub made_by: String,
    /// When: microseconds since 1970.
    pub made_us: u64,
    /// The kernel's release, as `uname -r` has it.
    pub kernel: String,
    /// The machine.
    pub machine: Machine,
}

impl Origin {
    /// The key of the first text that is too long, or would steer a terminal.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        let texts = [
            ("made_by", &self.made_by),
            ("kernel", &self.kernel),
            ("machine.cpu", &self.machine.cpu),
        ];
        let odd = |text: &str| text.len() > MAX_TEXT || sanitize(text) != *text;
        texts
            .into_iter()
            .find_map(|(key, text)| odd(text).then_some(key))
    }
}
