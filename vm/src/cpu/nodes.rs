//! Has each vCPU run on all CPUs of the node whose memory its guest has, and leaves it to the kernel on which of them.

use crate::action::Action;
use crate::snapshot::{Guest, Vcpu};
use crate::topology::Cpus;

use super::measure::vcpus;
use super::standing::Standing;
use super::state::CpuState;
use super::step::Window;

impl CpuState {
    /// Does as much of that as one window takes. A guest that is spread over nodes runs where it was found.
    pub(super) fn put_on_nodes(&mut self, window: &Window<'_>) -> Vec<Action> {
        self.leave_off();
        let wanted: Vec<_> = vcpus(window.after)
            .filter(|(id, guest, vcpu)| self.is_planned(window, id, guest, vcpu))
            .filter(|(id, guest, _)| self.may_move(id, window.now) && !guest.job && !guest.paused)
            .filter_map(|(id, guest, vcpu)| Some((id, of_node(window, guest, vcpu)?)))
            .collect();
        if let Some(why) = &window.kept {
            self.standing = Standing::Kept(wanted.len(), why.clone());
            return Vec::new();
        }
        let room = self.limits.room(self.count(), window.now);
        let later = wanted.len().saturating_sub(room);
        let mut actions = Vec::new();
        for (id, cpus) in wanted.into_iter().take(room) {
            if let Some(of) = self.known.get_mut(&id) {
                of.pin(cpus.clone(), self.window);
                actions.push(Action::Pin(id, cpus));
            }
        }
        self.limits.spend(actions.len(), window.now);
        self.standing = match (actions.len(), later) {
            (0, 0) => Standing::OnTheirNodes,
            (0, later) => Standing::Kept(later, "so many pins are enough for an hour".to_owned()),
            (pins, later) => Standing::PinnedToNodes(pins, later),
        };
        actions
    }
}

/// The CPUs of its guest's node that a vCPU may run on, if it does not run on them all, and on no others, by now.
fn of_node(window: &Window<'_>, guest: &Guest, vcpu: &Vcpu) -> Option<Cpus> {
    let home = guest.home?;
    let chosen = &window.config.cpu.cpus;
    let of_node = window.after.cpus.iter().filter(|cpu| {
        let is_chosen = chosen.as_ref().is_none_or(|cpus| cpus.contains(&cpu.id));
        cpu.node == home && cpu.is_usable() && is_chosen && vcpu.allowed.contains(&cpu.id)
    });
    let of_node: Cpus = of_node.map(|cpu| cpu.id).collect();
    (!of_node.is_empty() && of_node != vcpu.mask).then_some(of_node)
}
