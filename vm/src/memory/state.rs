//! What the memory half remembers between snapshots.

use std::collections::{BTreeMap, BTreeSet};

use crate::snapshot::{GuestId, Mib};

use super::known::Known;
use super::unmanaged::Unmanaged;

/// A guest that is lost so few windows after memory was taken from it was perhaps lost by that.
const BLAMED: u32 = 3;

/// What came of the last window for a guest.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// Its memory is left alone.
    Unmanaged(Unmanaged),
    /// Its numbers are too old to do anything by.
    Stale,
    /// It has what it needs.
    Fine,
    /// It was given so much.
    Given(Mib),
    /// It gave so much.
    Gave(Mib),
    /// It needs so much more than the host could give.
    Refused(Mib),
}

/// Everything that is remembered of memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemoryState {
    pub(super) known: BTreeMap<GuestId, Known>,
    /// Whose end was in good order.
    pub(super) ended: BTreeSet<GuestId>,
    pub(super) standing: BTreeMap<GuestId, Standing>,
    pub(super) budget: Option<Mib>,
    pub(super) host_short: bool,
    pub(super) lost: Option<GuestId>,
}

impl MemoryState {
    /// What is known of each guest.
    #[must_use]
    pub fn known(&self) -> &BTreeMap<GuestId, Known> {
        &self.known
    }

    /// What came of the last window for each guest.
    #[must_use]
    pub fn standing(&self) -> &BTreeMap<GuestId, Standing> {
        &self.standing
    }

    /// What the host could promise in the last window.
    #[must_use]
    pub fn budget(&self) -> Option<Mib> {
        self.budget
    }

    /// Whether guests need memory that nobody can give.
    #[must_use]
    pub fn is_host_short(&self) -> bool {
        self.host_short
    }

    /// The guest that was lost soon after memory was taken from it, after which nothing is taken or given any more.
    #[must_use]
    pub fn lost(&self) -> Option<&GuestId> {
        self.lost.as_ref()
    }

    /// Forgets that, as a person wants.
    pub fn forgive(&mut self) {
        self.lost = None;
    }

    /// Takes note that a guest ends, and not for want of memory.
    pub fn ends_well(&mut self, guest: GuestId) {
        self.ended.insert(guest);
    }

    /// Forgets who is not there any more. Returns who was lost soon after memory was taken from it.
    pub(super) fn forget(&mut self, present: &BTreeSet<&GuestId>) -> Option<GuestId> {
        let gone = self.known.iter().filter(|(id, _)| !present.contains(id));
        let is_blamed = |(id, of): &(&GuestId, &Known)| {
            !self.ended.contains(*id) && of.taken.is_some_and(|windows| windows < BLAMED)
        };
        let lost = gone.clone().find(is_blamed).map(|(id, _)| id.clone());
        self.known.retain(|id, _| present.contains(id));
        self.standing.retain(|id, _| present.contains(id));
        self.ended.retain(|id| present.contains(id));
        if self.lost.is_none() {
            self.lost.clone_from(&lost);
        }
        lost
    }
}
