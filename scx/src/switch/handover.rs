//! The moment between two schedulers, in a thread of its own: notices that the kernel has detached the old
//! one, permits the new one to attach, and measures.
//!
//! Every delay here is time without a scheduler, so nothing else waits in this thread, and it has a realtime
//! priority. It sleeps between two looks: a thread that yields instead loses its turn for long beside busy tasks
//! (since Linux 6.18), and one that does neither takes the CPU from those it waits for.

use std::thread;
use std::time::{Duration, Instant};

use auto_ext_core::KernelState;
use tokio::sync::oneshot;

use crate::attach_barrier::{AttachPermit, BarrierError};
use crate::process::registry::ProcessRegistry;
use crate::realtime::RealtimeGuard;
use crate::sysfs::{SchedExt, Snapshot};
use crate::uevent::BlockingUevents;

/// How long it waits at most for an event of the kernel before it looks by itself, in milliseconds.
const LOOK_EVERY_MS: u8 = 1;
/// The same when the end is near: the kernel announces that a scheduler goes shortly before it has gone.
const LOOK_EVERY_NEAR: Duration = Duration::from_micros(100);
/// For how long it is watched when the kernel takes the scheduler that was permitted to attach.
const WATCH_NEXT_FOR: Duration = Duration::from_millis(200);

/// What came of it.
#[derive(Debug)]
pub(super) enum Handover {
    /// The kernel detached the old scheduler at this moment.
    Detached {
        at: Instant,
        /// When the kernel was first seen to take the next one, if that was permitted to attach.
        next_at: Option<Instant>,
    },
    /// It did, but somebody else's scheduler was faster at this moment.
    Overtaken { at: Instant },
    /// The attach barrier did not open.
    BarrierBroke(BarrierError),
    /// The old scheduler is still attached; what the kernel says.
    StillAttached(KernelState),
}

/// Waits until the kernel has detached the scheduler of the process `old`, which is asked to leave meanwhile, and
/// permits the next one to attach. Waits at most `within`.
pub(super) async fn hand_over(
    sched_ext: SchedExt,
    registry: ProcessRegistry,
    old: u32,
    permit: Option<AttachPermit>,
    within: Duration,
) -> Handover {
    let (sender, result) = oneshot::channel();
    let (again, name) = (sched_ext.clone(), "handover".to_owned());
    let thread = thread::Builder::new().name(name).spawn(move || {
        let _realtime = RealtimeGuard::this();
        // It is received, unless the runtime ends.
        let _ = sender.send(watch(&sched_ext, &registry, old, permit, within));
    });
    match thread {
        // Without an answer it has panicked, and said so.
        Ok(_) => result
            .await
            .unwrap_or_else(|_| Handover::StillAttached(again.read())),
        Err(error) => Handover::StillAttached(KernelState::Unknown(format!(
            "no thread to watch it: {error}"
        ))),
    }
}

fn watch(
    sched_ext: &SchedExt,
    registry: &ProcessRegistry,
    old: u32,
    permit: Option<AttachPermit>,
    within: Duration,
) -> Handover {
    let uevents = BlockingUevents::open();
    // To find out whose it is takes too long to do it with every look.
    let (first, owner) = registry.look(sched_ext);
    let is_active = owner.is_some_and(|owner| owner.child == old);
    let begun = Instant::now();
    let mut near = false;
    let mut last_look = begun;
    let at = loop {
        let look = Instant::now();
        let Snapshot {
            state, instance, ..
        } = sched_ext.snapshot();
        match state {
            KernelState::Disabled | KernelState::Unsupported => break between(last_look),
            KernelState::Enabled { .. } if !is_active || instance != first.instance => {
                return Handover::Overtaken { at: Instant::now() };
            }
            state if begun.elapsed() >= within => return Handover::StillAttached(state),
            KernelState::Disabling if near => thread::sleep(LOOK_EVERY_NEAR),
            _ => near |= uevents.wait(LOOK_EVERY_MS),
        }
        last_look = look;
    };
    let next_at = match permit.map(AttachPermit::open) {
        None => None,
        Some(Err(error)) => return Handover::BarrierBroke(error),
        Some(Ok(())) => when_taken(sched_ext, at),
    };
    Handover::Detached { at, next_at }
}

/// When the kernel does not say `disabled` any more.
fn when_taken(sched_ext: &SchedExt, since: Instant) -> Option<Instant> {
    let mut last_look = Instant::now();
    while since.elapsed() < WATCH_NEXT_FOR {
        // The one that was permitted goes on here, on this CPU, meanwhile.
        thread::sleep(LOOK_EVERY_NEAR);
        let look = Instant::now();
        if sched_ext.read() != KernelState::Disabled {
            return Some(between(last_look));
        }
        last_look = look;
    }
    None
}

/// The best guess at when something happened that was not so at the last look, and is now.
fn between(last_look: Instant) -> Instant {
    last_look + last_look.elapsed() / 2
}
