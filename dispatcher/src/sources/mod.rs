//! Where the daemon and the recorder get to know of what happens beside the load: processes, power, power profile, sleep,
//! what keeps the machine from becoming idle, edits of the policy; and what is around a trial (`surroundings`, `here`).
//!
//! Everything is reported when it changes; nothing is polled that can be waited for. What cannot be found out is unknown,
//! and nothing depends on it.

pub(crate) mod bounded_file;
mod bus_signals;
mod change;
pub(crate) mod conditions;
pub(crate) mod here;
mod inhibitors;
pub(crate) mod load;
pub(crate) mod policy_directory;
pub(crate) mod policy_file;
mod power;
pub(crate) mod processes;
pub(crate) mod randomness;
pub(crate) mod read_policy;
mod session;
pub(crate) mod surroundings;
pub(crate) mod window_timer;

use tokio::sync::mpsc;
use zbus::Connection;

pub(crate) use change::Change;
pub(crate) use power::PowerSupplies;

/// How many changes may wait to be received.
const WAITING: usize = 16;

/// What services on `bus` report, until the receiver is dropped; nothing without a bus. Of power the kernel itself reports
/// changes (`uevent`).
pub(crate) fn listen(bus: Option<&Connection>) -> mpsc::Receiver<Change> {
    let (sender, changes) = mpsc::channel(WAITING);
    if let Some(bus) = bus {
        let profiles = session::profiles(bus.clone(), sender.clone());
        let sleep = session::sleeps(bus.clone(), sender.clone());
        let inhibitors = inhibitors::follow(bus.clone(), sender);
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
        tokio::spawn(async move {
            if let Err(error) = inhibitors.await {
                tracing::warn!(
                    "it is not known what keeps the machine from becoming idle: {error}"
                );
            }
        });
    }
    changes
}
