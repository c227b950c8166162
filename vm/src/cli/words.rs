//! What is done, and what goes wrong, in words.

use std::fmt::Display;
use std::io::{self, Write as _};

use auto_ext_service::cpu_list::List;
use auto_ext_service::sanitize::sanitize;
use auto_ext_vm::action::{Action, Notice};
use auto_ext_vm::snapshot::GuestId;

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
        Action::Say(notice) => Some(notice_in_words(notice, name)),
        Action::Remember(_) | Action::Period(..) => None,
    }
}

fn notice_in_words(notice: &Notice, name: impl Fn(&GuestId) -> String) -> String {
    match notice {
        Notice::Yielded(vcpu) => {
            format!("somebody else pinned {}/{}", name(&vcpu.guest), vcpu.index)
        }
        Notice::PutBack(vcpus) => format!("{} vCPUs were put back", vcpus.len()),
        Notice::HostShort => "guests need memory, and nobody can give it".to_owned(),
        Notice::CpuObserves(why) => format!("vCPUs are only watched from now on: {why}"),
        Notice::MemoryObserves(why) => format!("memory is only watched from now on: {why}"),
    }
}

/// Tells people of something that went wrong, after which things go on.
pub(super) fn complain(error: &dyn Display) {
    // Where that cannot be said there is nobody to say it to.
    let _ = writeln!(io::stderr(), "{}", sanitize(&error.to_string()));
}
