//! What the kernel says, read here and nowhere else.

use std::fs;

use crate::wait;

/// The state of sched_ext, such as `enabled`; empty on a kernel without it.
pub(crate) fn state() -> String {
    attribute("state")
}

/// The name of the enabled scheduler's program, or `kernel`.
///
/// The kernel has `name_version_target`; a test machine runs only schedulers called that way.
pub(crate) fn scheduler() -> String {
    // Two files are not one moment; ask until the state was the same before and after.
    loop {
        let before = state();
        let ops = attribute("root/ops");
        if state() != before {
            continue;
        }
        return match ops.split('_').next() {
            Some(name) if before == "enabled" && !name.is_empty() => format!("scx_{name}"),
            _ => "kernel".to_owned(),
        };
    }
}

/// Waits until this is the scheduler.
pub(crate) fn runs(scheduler: &str) -> anyhow::Result<()> {
    wait::until("scheduler", &scheduler.to_owned(), self::scheduler)?;
    Ok(())
}

/// The name that the enabled scheduler gave itself, with its version; empty when none is.
pub(crate) fn ops() -> String {
    attribute("root/ops")
}

/// How many schedulers were enabled since boot.
pub(crate) fn enable_seq() -> u64 {
    attribute("enable_seq").parse().unwrap_or_default()
}

/// The release, such as `7.2.13+deb14-cloud-amd64`.
pub(crate) fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn attribute(name: &str) -> String {
    let path = format!("/sys/kernel/sched_ext/{name}");
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}
