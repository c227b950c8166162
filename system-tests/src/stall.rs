//! Schedulers that stall by themselves. Some do now and then when a CPU goes: the kernel's own threads
//! then wait for more than five seconds, and the kernel takes the scheduler away. That is theirs, and
//! no reason to doubt the daemon; what it makes of it is looked at, and the test begins anew.

use anyhow::{Context as _, bail, ensure};

use crate::kernel;
use crate::service::Bus;
use crate::wait;

/// What the kernel calls it.
const STALL: &str = "runnable task stall";
/// How often a test may begin.
const TIMES: usize = 6;

/// Waits until `condition` holds; it fails at once when a scheduler has stalled.
pub(crate) fn wait_for(
    what: &str,
    bus: &Bus,
    mut condition: impl FnMut() -> bool,
) -> anyhow::Result<()> {
    wait::until(what, &true, || has_stalled(bus) || condition()).with_context(|| {
        let (current, enabled) = (kernel::scheduler(), kernel::enable_seq());
        let error = bus.string("LastError");
        format!("{current} is in the kernel, the {enabled}th; the last error was `{error}`")
    })?;
    ensure!(!has_stalled(bus), "{what}: {}", bus.string("LastError"));
    Ok(())
}

/// Runs a test until no scheduler stalls in it.
pub(crate) fn begin_anew_after(test: fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    for _ in 0..TIMES {
        let Err(error) = test() else { return Ok(()) };
        let bus = Bus::connect()?;
        if !has_stalled(&bus) {
            return Err(error);
        }
        eprintln!(
            "\n  it stalled by itself, once more: {}",
            bus.string("LastError")
        );
        wait::until("the kernel's own", &"kernel".to_owned(), kernel::scheduler)?;
        wait::until("what D-Bus says", &"kernel".to_owned(), || {
            bus.string("CurrentScheduler")
        })?;
    }
    bail!("it stalled {TIMES} times");
}

fn has_stalled(bus: &Bus) -> bool {
    // What was to replace it may have failed since.
    ["LastError", "Reason"]
        .iter()
        .any(|property| bus.string(property).contains(STALL))
}
