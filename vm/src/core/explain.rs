//! What is done and why, in words.

use std::fmt::Write as _;

use crate::cpu;
use crate::memory;
use crate::snapshot::GuestId;

use super::state::State;

/// What came of the last window, a line for the vCPUs and one for each guest's memory. `name` says what a guest is called.
#[must_use]
pub fn explain(state: &State, name: impl Fn(&GuestId) -> String) -> String {
    let mut text = of_vcpus(state);
    text.push('\n');
    let memory = state.memory();
    for (guest, standing) in memory.standing() {
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "{}: {}",
            name(guest),
            in_words(state, guest, standing)
        );
    }
    if memory.is_host_short() {
        text.push_str("the host is short of memory: guests need more, and nobody can give it\n");
    }
    if let Some(lost) = memory.lost() {
        let _ = writeln!(
            text,
            "memory is only watched: {} was lost soon after memory was taken from it",
            name(lost)
        );
    }
    text
}

/// What came of the last window for the vCPUs, and why, in a line.
#[must_use]
pub fn of_vcpus(state: &State) -> String {
    let state = state.cpu();
    let plan = state.plan();
    match state.standing() {
        cpu::Standing::Unknown => "vCPUs: too little was measured to tell".to_owned(),
        cpu::Standing::Even => "vCPUs: the CPUs are evenly used".to_owned(),
        cpu::Standing::Pinned(pins, left) => format!(
            "vCPUs: {pins} pinned and {left} to come: the standard deviation of use is to fall from {:.1} to {:.1}",
            plan.before, plan.after
        ),
        cpu::Standing::OnTheirNodes => {
            "vCPUs: all that may be pinned run on the CPUs of their guests' nodes".to_owned()
        }
        cpu::Standing::PinnedToNodes(pins, left) => {
            format!("vCPUs: {pins} put on the CPUs of their guests' nodes and {left} to come")
        }
        cpu::Standing::Verifying => {
            "vCPUs: it is watched whether the last pins did any good".to_owned()
        }
        cpu::Standing::PutBack(pins) => {
            format!("vCPUs: {pins} put back, as they waited longer on their new CPUs")
        }
        cpu::Standing::NothingBetter => format!(
            "vCPUs: the standard deviation of use is {:.1}, above {:.1}, and no pins would make enough of a difference",
            plan.before, plan.tolerance
        ),
        cpu::Standing::Kept(pins, why) => format!("vCPUs: {pins} would be pinned, but: {why}"),
    }
}

/// What was done about the memory of one guest in the last window, and why.
#[must_use]
pub fn of_guest(state: &State, guest: &GuestId) -> String {
    let standing = state.memory().standing().get(guest);
    standing.map_or_else(
        || "nothing is known of its memory yet".to_owned(),
        |standing| in_words(state, guest, standing),
    )
}

fn in_words(state: &State, guest: &GuestId, standing: &memory::Standing) -> String {
    let spare = state.memory().known().get(guest).map(memory::Known::spare);
    let spare = spare.unwrap_or_default();
    match standing {
        memory::Standing::Unmanaged(why) => format!("its memory is left alone: {why}"),
        memory::Standing::Stale => "its memory is left alone: its numbers are too old".to_owned(),
        memory::Standing::Fine => format!("{spare:.0} MiB to spare"),
        memory::Standing::Given(more) => {
            format!("was given {more:.0} MiB, and has {spare:.0} to spare with them")
        }
        memory::Standing::Gave(less) => {
            format!("gave {less:.0} MiB, and has {spare:.0} to spare without them")
        }
        memory::Standing::Refused(wanted) => {
            let budget = state.memory().budget().unwrap_or_default();
            format!("needs {wanted:.0} MiB more, and the host can promise {budget:.0}")
        }
    }
}
