//! What is known of the machine beside its load: power, power profile, sleep.
//!
//! Everything is told when it changes and nothing is asked for again and again. What cannot be had
//! is unknown, and does no harm.

mod power;
mod session;

use tokio::sync::mpsc;
use zbus::Connection;

use crate::policy::Profile;
pub(crate) use power::PowerSupplies;

/// How many changes may wait to be taken in.
const WAITING: usize = 16;

/// Something that is different now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// This power profile is active; `None`: no service says one.
    Profile(Option<Profile>),
    /// The machine is about to sleep or to shut down; or it woke up, or is none of both, as was known perhaps.
    Sleep { begins: bool },
}

/// What is told over the bus, as long as the result is kept. Power is told by the kernel (`uevent`).
pub(crate) fn listen(bus: Option<&Connection>) -> mpsc::Receiver<Change> {
    let (tell, changes) = mpsc::channel(WAITING);
    if let Some(bus) = bus {
        let profiles = session::profiles(bus.clone(), tell.clone());
        let sleep = session::sleeps(bus.clone(), tell);
        tokio::spawn(async move {
            if let Err(error) = profiles.await {
                tracing::warn!("power profiles are not known: {error}");
            }
        });
        tokio::spawn(async move {
            if let Err(error) = sleep.await {
                tracing::warn!("it is not known when the machine sleeps: {error}");
            }
        });
    }
    changes
}
