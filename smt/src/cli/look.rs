//! Looks at the machine: its cores, and twice at its processes; and the options that say how.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use auto_ext_service::duration;
use auto_ext_service::sanitize::sanitize;
use clap::{Args, ValueEnum};
use glob::Pattern;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};

use crate::groups::{Given, Group, GroupBy, Processes, Rules, groups};
use crate::topology::Topology;

/// Where /sys and /proc are.
pub(super) const ROOT: &str = "/";

/// What groups are looked for, and for how long.
#[derive(Args, Clone, Debug)]
pub(super) struct Look {
    /// How long to look how busy they are, and to count how fast they run
    #[arg(long = "for", value_name = "T", default_value = "10s", value_parser = time)]
    time: Duration,
    /// How long a group has to run before it counts
    #[arg(long, value_name = "T", default_value = "1h", value_parser = time)]
    long_running: Duration,
    /// What belongs together
    #[arg(long, value_enum, default_value_t = By::Cgroup)]
    group_by: By,
    /// Leave these jobs, programs and cgroups alone
    #[arg(long, value_name = "PATTERN", value_parser = Pattern::new)]
    exclude: Vec<Pattern>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    /// What is in a cgroup: a service, a scope, a container
    Cgroup,
    /// What is in a process group
    ProcessGroup,
}

impl From<By> for GroupBy {
    fn from(by: By) -> Self {
        match by {
            By::Cgroup => Self::Cgroup,
            By::ProcessGroup => Self::ProcessGroup,
        }
    }
}

/// The longest time that is looked or asked for.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

pub(super) fn time(text: &str) -> Result<Duration, String> {
    let time = duration::parse(text).map_err(|error| error.to_string())?;
    if time > LONGEST {
        return Err("more than a week".to_owned());
    }
    Ok(time)
}

impl Look {
    /// How long to look.
    pub(super) fn time(&self) -> Duration {
        self.time
    }
}

/// The cores, with their reason where there is none to share.
pub(super) fn topology() -> Result<Topology> {
    Ok(Topology::read(Path::new(ROOT))?)
}

/// The groups, after as much time as was asked for.
pub(super) fn look(look: &Look, topology: &Topology) -> Result<Vec<Group>> {
    let ticks = sysconf(SysconfVar::CLK_TCK)?.and_then(|ticks| u64::try_from(ticks).ok());
    let ticks = ticks
        .filter(|ticks| *ticks > 0)
        .context("the length of a tick is not known")?;
    let now = || -> Result<u64> {
        let now = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME)?);
        Ok(now.as_secs() * ticks + u64::from(now.subsec_millis()) * ticks / 1000)
    };
    let root = Path::new(ROOT);
    let rules = Rules {
        group_by: look.group_by.into(),
        long_running: look.long_running.as_secs(),
        exclude: look.exclude.clone(),
        ticks,
    };
    let before = Processes::read(root, now()?);
    thread::sleep(look.time);
    let after = Processes::read(root, now()?);
    if after.at == before.at {
        bail!("too short to see who is busy");
    }
    Ok(groups(
        root,
        topology,
        &rules,
        &Given::new(),
        &before,
        &after,
    ))
}

/// What a job is called, for a terminal.
pub(super) fn shown(job: &str) -> String {
    if job.is_empty() {
        "(unknown)".to_owned()
    } else {
        sanitize(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_bounded() {
        assert!(time("10s").is_ok() && time("8d").is_err() && time("x").is_err());
    }

    #[test]
    fn a_name_steers_no_terminal() {
        assert_eq!(shown("nginx.service"), "nginx.service");
        assert!(!shown("a\u{1b}[2J").contains('\u{1b}'));
        assert_eq!(shown(""), "(unknown)");
    }
}
