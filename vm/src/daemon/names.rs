//! What guests are called, and what was done to them in words.

use std::collections::BTreeMap;

use auto_ext_service::cpu_list::List;
use auto_ext_service::sanitize::sanitize;

use crate::action::Action;
use crate::snapshot::{Guest, GuestId};

/// The names of guests, as they may be shown.
pub(super) struct Names(BTreeMap<GuestId, String>);

impl Names {
    /// Those of these guests.
    pub(super) fn of(guests: &[Guest]) -> Self {
        let named = guests.iter();
        Self(
            named
                .map(|guest| (guest.id.clone(), sanitize(&guest.name)))
                .collect(),
        )
    }

    /// What one is called: by its UUID if it is none of them.
    pub(super) fn get(&self, id: &GuestId) -> String {
        let name = self.0.get(id);
        name.cloned().unwrap_or_else(|| id.to_string())
    }

    /// What was to be done.
    pub(super) fn in_words(&self, action: &Action) -> String {
        match action {
            Action::Pin(id, cpus) => {
                format!("{}/{} to {}", self.get(&id.guest), id.index, List(cpus))
            }
            Action::Target(id, target) => format!("{} to {target:.0} MiB", self.get(id)),
            Action::Period(id, Some(period)) => {
                format!(
                    "the balloon of {} speaks every {} s",
                    self.get(id),
                    period.as_secs()
                )
            }
            Action::Period(id, None) => format!("the balloon of {} does not speak", self.get(id)),
            Action::Remember(_) => "what was found is kept".to_owned(),
            Action::Say(_) => "a notice".to_owned(),
        }
    }
}
