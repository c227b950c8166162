//! How others share memory, from descriptions of what they do: the rules alone, without what reads and sets.

use crate::snapshot::{Guest, GuestId, Mib, Snapshot};

/// What another would have guests have, by what is seen of a host with so much memory.
type Rule = fn(&Snapshot, Mib) -> Vec<(GuestId, Mib)>;

/// Another's rules.
pub struct Peer {
    /// What it is called.
    pub name: &'static str,
    /// Its rules.
    pub rule: Rule,
}

/// All of them.
pub const MEMORY_PEERS: [Peer; 3] = [
    Peer {
        name: "naive +-100",
        rule: naive,
    },
    Peer {
        name: "oVirt MOM",
        rule: mom,
    },
    Peer {
        name: "Proxmox",
        rule: proxmox,
    },
];

/// Those with a balloon, with what they have unused.
fn guests(snapshot: &Snapshot) -> impl Iterator<Item = (&Guest, Mib)> {
    let guests = snapshot
        .guests
        .iter()
        .filter(|guest| guest.memory.fixed.is_none());
    guests.filter_map(|guest| Some((guest, guest.memory.stats.as_ref()?.unused)))
}

/// Gives 100 to who has less than 150 unused and takes 100 from who has more than 250, as long as the host has more than 200.
fn naive(snapshot: &Snapshot, _memory: Mib) -> Vec<(GuestId, Mib)> {
    let available = snapshot.available.unwrap_or_default();
    let change = |(guest, unused): (&Guest, Mib)| {
        let memory = &guest.memory;
        let target = if unused < 150.0 && available > 300.0 {
            (memory.actual + 100.0).min(memory.max)
        } else if unused > 250.0 {
            memory.actual - 100.0
        } else {
            return None;
        };
        Some((guest.id.clone(), target))
    };
    guests(snapshot).filter_map(change).collect()
}

/// MOM's balloon rules: under pressure (less than a fifth of the host free) each guest shrinks by at most 5 % of what it has, to
/// 20.1 % of it unused, and below that where the host is out of memory; else it grows by at most 5 %. Less than 0.25 % is no change.
fn mom(snapshot: &Snapshot, memory: Mib) -> Vec<(GuestId, Mib)> {
    let free = snapshot.available.unwrap_or_default() / memory;
    let change = |(guest, unused): (&Guest, Mib)| {
        let actual = guest.memory.actual;
        let used = actual - unused;
        let target = if free < 0.2 {
            let kept = if free < 0.05 {
                free - 0.05
            } else {
                0.201 * free / 0.2
            };
            (used + kept * actual).max(0.95 * actual).min(actual)
        } else {
            (1.05 * actual)
                .max(used + 0.201 * actual)
                .min(guest.memory.max)
        };
        ((target - actual).abs() > 0.0025 * actual).then(|| (guest.id.clone(), target))
    };
    guests(snapshot).filter_map(change).collect()
}

/// Proxmox has the host use 80 % of its memory: what is missing or too much is shared out, at most 100 a guest, and nobody goes
/// below a quarter of what they can have.
fn proxmox(snapshot: &Snapshot, memory: Mib) -> Vec<(GuestId, Mib)> {
    let used = memory - snapshot.available.unwrap_or_default();
    let goal = 0.8 * memory - used;
    let count = guests(snapshot).count().max(1) as f64;
    let change = |(guest, unused): (&Guest, Mib)| {
        let (actual, max) = (guest.memory.actual, guest.memory.max);
        let share = (goal / count).clamp(-100.0, 100.0);
        // Who has little free is not made smaller.
        if share < 0.0 && unused < actual / 4.0 {
            return None;
        }
        let target = (actual + share).clamp(0.25 * max, max);
        ((target - actual).abs() > 10.0).then(|| (guest.id.clone(), target))
    };
    guests(snapshot).filter_map(change).collect()
}
