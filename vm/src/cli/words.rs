//! What is done, and what goes wrong, in words.

use std::fmt::Display;
use std::io::{self, Write as _};

use crate::action::Action;
use crate::snapshot::GuestId;
use auto_ext_service::cpu_list::List;
use auto_ext_service::sanitize::sanitize;

/// What is done, if it is something that people want to know. `name` says what a guest is called.
pub(super) fn action_in_words(
    action: &Action,
    name: impl Fn(&GuestId) -> String,
) -> Option<String> {
    match action {
        Action::Pin(vcpu, cpus) => {
            let cpus = List(cpus);
            Some(format!(
                "{}/{}: to CPU {cpus}",
                name(&vcpu.guest),
                vcpu.index
            ))
        }
        Action::Target(guest, target) => Some(format!("{}: {target:.0} MiB", name(guest))),
        Action::Say(notice) => Some(notice.in_words(name)),
        Action::Remember(_) | Action::Period(..) => None,
    }
}

/// Tells people of something that went wrong, after which things go on.
pub(super) fn complain(error: &dyn Display) {
    // Where that cannot be said there is nobody to say it to.
    let _ = writeln!(io::stderr(), "{}", sanitize(&error.to_string()));
}
