//! What can happen.

use std::sync::Arc;
use std::time::Duration;

use crate::action::Originals;
use crate::snapshot::{GuestId, Snapshot};

/// Everything that the decisions depend on.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The host and its guests, as they are now: the end of a window.
    Snapshot(Arc<Snapshot>),
    /// A guest ends.
    Ended(GuestId, End),
    /// Somebody else places vCPUs, such as a sched_ext scheduler, and this is to be said of them; `None`: nobody does any more.
    PlacedByOthers(Option<String>),
    /// A person wants nothing to be changed for so long; `None`: until they say otherwise.
    Paused(Option<Duration>),
    /// A person wants things to be done again, whatever was in the way.
    Resumed,
    /// A person wants back what was found: of one guest, or of all.
    Released(Option<GuestId>),
    /// What the host was like before an earlier life changed it, which that could not put back.
    Remembered(Originals),
    /// The service ends.
    Exit,
}

/// How a guest ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By its own or somebody's will, or on another host.
    InOrder,
    /// It crashed, was killed, or nobody knows.
    Lost,
}
