//! What the host can promise.

use crate::snapshot::{GuestId, Mib, Snapshot};

/// What can be given to guests, or by how much too much was promised (negative): what the host has available, less what guests may
/// still touch of what they have been promised, less what the host keeps. `None` where it is not known what it has available.
///
/// `target` says what a guest is to have.
#[must_use]
pub fn budget(
    snapshot: &Snapshot,
    host_floor: Mib,
    target: impl Fn(&GuestId) -> Option<Mib>,
) -> Option<Mib> {
    let promised = snapshot.guests.iter().map(|guest| {
        let memory = &guest.memory;
        // A guest that is made smaller may still touch all that it has.
        let most = target(&guest.id)
            .unwrap_or(memory.actual)
            .max(memory.actual);
        (most - memory.rss).max(0.0)
    });
    Some(snapshot.available? - promised.sum::<f64>() - host_floor)
}
