//! The format of the file.

use serde::Deserialize;

use crate::config::Reclaim;

/// How large a file may be, in bytes.
pub const MAX_BYTES: u64 = 64 * 1024;
/// How much there may be of each.
const MAX_CPUS: usize = 256;
const MAX_GUESTS: usize = 512;
const MAX_VCPUS: usize = 64;
const MAX_WINDOWS: u32 = 10_000;
const MAX_SECONDS: u32 = 3600;
/// In MiB: a thousand times what hosts have.
const MAX_MEMORY: u32 = 1 << 30;

/// What is wrong with a scenario, and where.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// It is not written as scenarios are.
    #[error("{0}")]
    Syntax(#[from] serde_saphyr::Error),
    /// It says what cannot be.
    #[error("{0}")]
    Meaning(String),
}

/// A scenario.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// How long a window is, in seconds.
    #[serde(default = "five")]
    pub(super) interval: u32,
    /// How many windows there are.
    pub(super) windows: u32,
    /// The host's memory in MiB; enough for all if it is not given.
    pub(super) memory: Option<u32>,
    /// When memory is taken from guests.
    #[serde(default)]
    pub(super) reclaim: When,
    /// The CPUs.
    pub(super) cpus: Vec<CpuLine>,
    /// The guests.
    pub(super) guests: Vec<GuestLine>,
}

fn five() -> u32 {
    5
}

/// When memory is taken from guests.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum When {
    #[default]
    Needed,
    Always,
}

impl From<When> for Reclaim {
    fn from(when: When) -> Self {
        match when {
            When::Needed => Self::Needed,
            When::Always => Self::Always,
        }
    }
}

/// A CPU.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CpuLine {
    pub(super) capacity: Option<u32>,
    pub(super) core: Option<u32>,
    #[serde(default)]
    pub(super) node: u32,
    /// What runs on it beside guests, in percent.
    #[serde(default)]
    pub(super) task: u32,
}

/// A guest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GuestLine {
    pub(super) name: String,
    /// What each of its vCPUs wants, in percent of a CPU.
    pub(super) vcpus: Vec<u32>,
    /// The CPU that each is pinned to; none of them if it is not given.
    pub(super) at: Option<Vec<u32>>,
    pub(super) home: Option<u32>,
    pub(super) memory: Option<MemoryLine>,
}

/// A guest's memory, in MiB.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MemoryLine {
    pub(super) max: u32,
    pub(super) actual: u32,
    pub(super) used: u32,
    #[serde(default)]
    pub(super) swap: u32,
    pub(super) grows: Option<RampLine>,
}

/// More memory, window by window.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RampLine {
    pub(super) from: u32,
    pub(super) until: u32,
    pub(super) by: u32,
    pub(super) most: u32,
}

/// Reads a scenario.
///
/// # Errors
/// With the place where something is wrong, or what cannot be.
pub fn parse(text: &str) -> Result<Scenario, ScenarioError> {
    let options = serde_saphyr::options! { with_snippet: false };
    let scenario: Scenario = serde_saphyr::from_str_with_options(text, options)?;
    scenario.check().map_err(ScenarioError::Meaning)?;
    Ok(scenario)
}

fn within(what: &str, count: usize, most: usize) -> Result<(), String> {
    if (1..=most).contains(&count) {
        Ok(())
    } else {
        Err(format!("{what}: 1 to {most}, and not {count}"))
    }
}

impl Scenario {
    fn check(&self) -> Result<(), String> {
        within("cpus", self.cpus.len(), MAX_CPUS)?;
        within("guests", self.guests.len(), MAX_GUESTS)?;
        within("windows", self.windows as usize, MAX_WINDOWS as usize)?;
        within("interval", self.interval as usize, MAX_SECONDS as usize)?;
        within(
            "memory",
            self.memory.unwrap_or(1) as usize,
            MAX_MEMORY as usize,
        )?;
        for (at, cpu) in self.cpus.iter().enumerate() {
            let capacity = cpu.capacity.unwrap_or(1024) as usize;
            within(&format!("cpus[{at}].capacity"), capacity, 1024)?;
            within(&format!("cpus[{at}].task"), cpu.task as usize + 1, 101)?;
        }
        let mut names: Vec<&str> = self
            .guests
            .iter()
            .map(|guest| guest.name.as_str())
            .collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("two guests are called {:?}", pair[0]));
        }
        self.guests
            .iter()
            .try_for_each(|guest| guest.check(self.cpus.len()))
    }
}

impl GuestLine {
    fn check(&self, cpus: usize) -> Result<(), String> {
        let of = |key: &str| format!("{key} of guest {:?}", self.name);
        within(&of("name"), self.name.len(), 64)?;
        within(&of("vcpus"), self.vcpus.len(), MAX_VCPUS)?;
        for wants in &self.vcpus {
            within(&of("vcpus"), *wants as usize + 1, 101)?;
        }
        if let Some(at) = &self.at {
            if at.len() != self.vcpus.len() {
                return Err(format!("{}: as many as vcpus", of("at")));
            }
            if let Some(cpu) = at.iter().find(|cpu| **cpu as usize >= cpus) {
                return Err(format!("{}: there is no CPU {cpu}", of("at")));
            }
        }
        let Some(memory) = &self.memory else {
            return Ok(());
        };
        within(&of("memory.max"), memory.max as usize, MAX_MEMORY as usize)?;
        within(
            &of("memory.actual"),
            memory.actual as usize,
            memory.max as usize,
        )?;
        within(
            &of("memory.used"),
            memory.used as usize,
            memory.actual as usize,
        )?;
        within(
            &of("memory.swap"),
            memory.swap as usize + 1,
            MAX_MEMORY as usize,
        )
    }
}
