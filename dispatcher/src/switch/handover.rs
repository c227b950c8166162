//! The moment between two schedulers, in a thread of its own: notices that the kernel has let go of the old
//! one, opens the gate for the new one, and measures.
//!
//! Every delay here is time without a scheduler, so nothing else waits in this thread, and it goes first.
//! It sleeps between two looks: who yields instead loses its turn for long beside busy tasks (since
//! Linux 6.18), and who does neither takes the CPU from those it waits for.

use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::children::Children;
use crate::gate::{GateError, Opener};
use crate::kernel::{KernelState, Look, SchedExt};
use crate::priority::First;
use crate::uevent::BlockingUevents;

/// How long it waits at most for the kernel's word before it looks by itself, in milliseconds.
const LOOK_EVERY_MS: u8 = 1;
/// The same when the end is near: the kernel announces that a scheduler goes shortly before it has gone.
const NEAR: Duration = Duration::from_micros(100);
/// How long the one that was let in is watched until the kernel says that something is on its way.
const WATCHED: Duration = Duration::from_millis(200);

/// What came of it.
#[derive(Debug)]
pub(super) enum Handover {
    /// The kernel let go at this moment.
    Freed {
        at: Instant,
        /// When the kernel was first seen to take the next one, if that was let in.
        taken: Option<Instant>,
    },
    /// It let go, but somebody else was faster at this moment.
    Lost { at: Instant },
    /// The gate did not open.
    Shut(GateError),
    /// It did not let go; what the kernel still says.
    Kept(KernelState),
}

/// Waits until the kernel has let go of the scheduler of the process `old`, which is asked to leave meanwhile, and lets the
/// next one in; for at most `within`.
pub(super) async fn hand_over(
    sched_ext: SchedExt,
    children: Children,
    old: u32,
    opener: Option<Opener>,
    within: Duration,
) -> Handover {
    let (tell, told) = oneshot::channel();
    let (again, name) = (sched_ext.clone(), "handover".to_owned());
    let thread = thread::Builder::new().name(name).spawn(move || {
        let _first = First::this();
        // Nobody listens any more only when the daemon ends.
        let _ = tell.send(watch(&sched_ext, &children, old, opener, within));
    });
    match thread {
        // Without an answer it has panicked, and said so.
        Ok(_) => told.await.unwrap_or_else(|_| Handover::Kept(again.read())),
        Err(error) => Handover::Kept(KernelState::Unknown(format!(
            "no thread to watch it: {error}"
        ))),
    }
}

fn watch(
    sched_ext: &SchedExt,
    children: &Children,
    old: u32,
    opener: Option<Opener>,
    within: Duration,
) -> Handover {
    let uevents = BlockingUevents::open();
    // Whose it is takes too long to find out to do it with every look.
    let (first, owner) = children.look(sched_ext);
    let has_seat = owner.is_some_and(|owner| owner.child == old);
    let begun = Instant::now();
    let mut near = false;
    let mut last_look = begun;
    let at = loop {
        let look = Instant::now();
        let Look {
            state, instance, ..
        } = sched_ext.look();
        match state {
            KernelState::Disabled | KernelState::Unsupported => break between(last_look),
            KernelState::Enabled { .. } if !has_seat || instance != first.instance => {
                return Handover::Lost { at: Instant::now() };
            }
            state if begun.elapsed() >= within => return Handover::Kept(state),
            KernelState::Disabling if near => thread::sleep(NEAR),
            _ => near |= uevents.wait(LOOK_EVERY_MS),
        }
        last_look = look;
    };
    let taken = match opener.map(Opener::open) {
        None => None,
        Some(Err(error)) => return Handover::Shut(error),
        Some(Ok(())) => taken(sched_ext, at),
    };
    Handover::Freed { at, taken }
}

/// When the kernel does not say `disabled` any more.
fn taken(sched_ext: &SchedExt, since: Instant) -> Option<Instant> {
    let mut last_look = Instant::now();
    while since.elapsed() < WATCHED {
        // Whoever was let in goes on here, on this CPU, meanwhile.
        thread::sleep(NEAR);
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
