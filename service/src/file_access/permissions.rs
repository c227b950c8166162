//! Who may do what to a file, by its owner, group and mode. Access control lists are not looked at.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::obstacle::Obstacle;

/// Capabilities by their numbers in linux/capability.h; see capabilities(7).
pub(super) const DAC_OVERRIDE: u64 = 1 << 1;
pub(super) const DAC_READ_SEARCH: u64 = 1 << 2;
const SYS_PTRACE: u64 = 1 << 19;
const SYS_NICE: u64 = 1 << 23;
const SYSLOG: u64 = 1 << 34;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

/// What the shipped unit gives the service.
pub(super) const SHIPPED_CAPABILITIES: u64 = BPF | PERFMON | SYS_PTRACE | SYS_NICE | SYSLOG;

/// What may be done to a file or directory: the bits of a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    Read = 4,
    /// To go through a directory, or to execute a program.
    Pass = 1,
    /// To make files in a directory.
    Fill = 3,
}

/// A user with groups and capabilities.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) user: u32,
    pub(super) groups: Vec<u32>,
    pub(super) capabilities: u64,
}

impl Identity {
    /// Whether this is root without the capability to ignore permissions, as the service is.
    pub(super) fn is_limited_root(&self) -> bool {
        self.user == 0 && self.capabilities & DAC_OVERRIDE == 0
    }

    /// Whether `metadata` or a capability gives `right`.
    pub(super) fn has(&self, right: Right, metadata: &Metadata) -> bool {
        let overriding = match right {
            Right::Read => DAC_OVERRIDE | DAC_READ_SEARCH,
            Right::Pass if metadata.is_dir() => DAC_OVERRIDE | DAC_READ_SEARCH,
            // Even root executes only what somebody may execute.
            Right::Pass if metadata.mode() & 0o111 == 0 => 0,
            Right::Pass | Right::Fill => DAC_OVERRIDE,
        };
        let bits = if metadata.uid() == self.user {
            metadata.mode() >> 6
        } else if self.groups.contains(&metadata.gid()) {
            metadata.mode() >> 3
        } else {
            metadata.mode()
        };
        let wanted = right as u32;
        bits & wanted == wanted || self.capabilities & overriding != 0
    }
}

/// The obstacle for who lacks `right`, with the command that gives it to the service.
pub(super) fn closed(right: Right, path: &Path, metadata: &Metadata) -> Obstacle {
    let shown = path.display();
    let (right, remedy) = match right {
        Right::Read => ("read it", format!("chown root {shown}")),
        Right::Pass if metadata.is_dir() => ("look into it", format!("chmod o+x {shown}")),
        Right::Pass => ("execute it", format!("chmod 755 {shown}")),
        Right::Fill => (
            "write into it",
            format!("chgrp root {shown} && chmod g+w {shown}"),
        ),
    };
    Obstacle::Closed {
        path: path.to_owned(),
        user: metadata.uid(),
        group: metadata.gid(),
        mode: metadata.mode() & 0o7777,
        right,
        remedy,
    }
}
