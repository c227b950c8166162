//! Waiting for the kernel to be ready for a scheduler, and to enable one.

use std::time::{Duration, Instant};

use auto_ext_core::{Cause, Fault, KernelState};
use tokio::time::{sleep, timeout};

use super::outcome::Failure;
use crate::process::registry::ProcessRegistry;
use crate::sysfs::SchedExt;

/// How long the kernel may take to detach a scheduler that was asked to leave.
pub const DISABLE_WITHIN: Duration = Duration::from_secs(20);
/// How long after the kernel has enabled a scheduler its process may take to have its link.
const LINKED_WITHIN: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(5);

/// Waits until the kernel has no scheduler, and is not about to have one or to lose one.
pub(super) async fn wait_until_settled(sched_ext: &SchedExt) -> Result<(), Failure> {
    let settled = async {
        while matches!(
            sched_ext.read(),
            KernelState::Enabling | KernelState::Disabling
        ) {
            sleep(POLL).await;
        }
    };
    timeout(DISABLE_WITHIN, settled)
        .await
        .map_err(|_| Failure::of(Fault::Nobody, "the kernel is busy with another scheduler"))
}

/// Waits until the kernel says that the scheduler of the process `child` is enabled, as the first since
/// `enabled_before`, and returns the moment in which it first said something other than `disabled`.
pub(super) async fn wait_until_enabled(
    sched_ext: &SchedExt,
    registry: &ProcessRegistry,
    child: u32,
    enabled_before: Option<u64>,
    within: Duration,
) -> Result<Instant, Failure> {
    let begun = Instant::now();
    let mut left_disabled = None;
    let mut another_since = None;
    loop {
        let (snapshot, owner) = registry.look(sched_ext);
        if snapshot.state != KernelState::Disabled {
            left_disabled.get_or_insert_with(Instant::now);
        }
        match &snapshot.state {
            KernelState::Enabled { ops } if owner.is_some_and(|owner| owner.child == child) => {
                // The kernel counts a moment after it says `enabled`.
                let more = snapshot.enable_seq.zip(enabled_before);
                match more.map(|(now, before)| now.wrapping_sub(before)) {
                    Some(0) if begun.elapsed() < within => sleep(POLL).await,
                    Some(0 | 1) | None => return Ok(left_disabled.unwrap_or_else(Instant::now)),
                    Some(_) => {
                        let error = format!("`{ops}` is enabled, but it is not the first since");
                        return Err(Failure::of(Fault::Nobody, error));
                    }
                }
            }
            KernelState::Enabled { ops } => {
                // Where the kernel does not say whose operations are whose, its process has its link in a moment.
                let since = *another_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= LINKED_WITHIN {
                    let error = format!("another scheduler, `{ops}`, was faster");
                    return Err(Failure::of(Fault::Nobody, error));
                }
                sleep(POLL).await;
            }
            _ if begun.elapsed() >= within => {
                let limit = humantime::format_duration(within);
                let error = format!("not enabled {limit} after it could have been");
                return Err(Failure::of(Fault::New(Cause::Detached), error));
            }
            _ => sleep(POLL).await,
        }
    }
}
