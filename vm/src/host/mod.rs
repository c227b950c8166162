//! A host with its guests, as what decides needs it: looked at, and changed.
//!
//! Who implements [`Host`] says what is and does what it is told, and decides nothing. None of its methods waits for a guest that
//! hangs for longer than a window.

mod error;

pub use error::HostError;

use auto_ext_service::affinity_owner::Process;

use crate::action::Action;
use crate::core::Event;
use crate::moment::Moment;
use crate::snapshot::{GuestId, Snapshot};

/// A host.
pub trait Host {
    /// The time.
    fn now(&self) -> Moment;

    /// What has happened to guests since the last call. It is asked before each snapshot: a guest that is not in it any more
    /// was lost, unless its end in order was told before.
    ///
    /// # Errors
    /// When nothing can be known of the host.
    fn events(&mut self) -> Result<Vec<Event>, HostError>;

    /// All that is seen now. What cannot be known of one guest is unknown in it.
    ///
    /// # Errors
    /// When nothing can be known of the host.
    fn snapshot(&mut self) -> Result<Snapshot, HostError>;

    /// In which process a guest of the last snapshot runs; `None` where that was not found.
    fn process(&self, guest: &GuestId) -> Option<Process>;

    /// Does one thing that is to be done. To remember and to tell people is the caller's, and does nothing here.
    ///
    /// # Errors
    /// When it was refused, or is not known to be done yet.
    fn apply(&mut self, action: &Action) -> Result<(), HostError>;
}

impl<H: Host + ?Sized> Host for Box<H> {
    fn now(&self) -> Moment {
        (**self).now()
    }

    fn events(&mut self) -> Result<Vec<Event>, HostError> {
        (**self).events()
    }

    fn snapshot(&mut self) -> Result<Snapshot, HostError> {
        (**self).snapshot()
    }

    fn process(&self, guest: &GuestId) -> Option<Process> {
        (**self).process(guest)
    }

    fn apply(&mut self, action: &Action) -> Result<(), HostError> {
        (**self).apply(action)
    }
}
