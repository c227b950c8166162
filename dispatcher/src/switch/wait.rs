//! Waiting for the kernel to be ready for a scheduler, and to enable one.

use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::Failure;
use crate::children::Children;
use crate::core::{Cause, Fault};
use crate::kernel::{KernelState, SchedExt};

/// How long the kernel may take to let go of a scheduler that was asked to leave.
pub(crate) const DISABLE_WITHIN: Duration = Duration::from_secs(20);
/// How long after the kernel has enabled a scheduler its process may take to have its link.
const LINKED_WITHIN: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(5);

/// Waits until the kernel has no scheduler, and is not about to have one or to lose one.
pub(super) async fn settled(sched_ext: &SchedExt) -> Result<(), Failure> {
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

/// Waits until the kernel says that the scheduler of the process `child` is enabled, as the first since `enabled_before`,
/// and returns the moment in which it first said something other than `disabled`.
pub(super) async fn confirmed(
    sched_ext: &SchedExt,
    children: &Children,
    child: u32,
    enabled_before: Option<u64>,
    within: Duration,
) -> Result<Instant, Failure> {
    let begun = Instant::now();
    let mut left_disabled = None;
    let mut another_since = None;
    loop {
        let (look, owner) = children.look(sched_ext);
        if look.state != KernelState::Disabled {
            left_disabled.get_or_insert_with(Instant::now);
        }
        match &look.state {
            KernelState::Enabled { ops } if owner.is_some_and(|owner| owner.child == child) => {
                // The kernel counts a moment after it says `enabled`.
                let more = look.enable_seq.zip(enabled_before);
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
                return Err(Failure::of(Fault::New(Cause::Unseated), error));
            }
            _ => sleep(POLL).await,
        }
    }
}
