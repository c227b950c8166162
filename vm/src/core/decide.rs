//! From an event to the next state and what is to be done.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::action::{Action, Notice, Originals};
use crate::config::{Config, Mode};
use crate::moment::Moment;
use crate::snapshot::{Guest, GuestId, Snapshot, VcpuId};
use crate::topology::Cpus;
use crate::{cpu, memory};

use super::event::{End, Event};
use super::state::{Pause, State};

/// Applies `event`, which happened at `now`, to `state`, and says what is to be done.
///
/// `now` must not be less than in an earlier call.
#[must_use]
pub fn decide(config: &Config, state: &State, event: Event, now: Moment) -> (State, Vec<Action>) {
    let mut step = Step {
        config,
        next: state.clone(),
        actions: Vec::new(),
        now,
    };
    step.apply(event);
    step.remember(&state.originals);
    (step.next, step.actions)
}

/// What becomes of one event.
struct Step<'c> {
    config: &'c Config,
    next: State,
    actions: Vec<Action>,
    now: Moment,
}

impl Step<'_> {
    fn apply(&mut self, event: Event) {
        match event {
            Event::Snapshot(snapshot) if !self.next.exits => self.snapshot(&snapshot),
            Event::Snapshot(_) => {}
            Event::Ended(guest, End::InOrder) => self.next.memory.ends_well(guest),
            // It is missed when it is not in the next snapshot.
            Event::Ended(_, End::Lost) => {}
            Event::PlacedByOthers(who) => {
                if who.is_some() && self.next.placed_by.is_none() {
                    self.release_vcpus(None, false);
                }
                self.next.placed_by = who;
            }
            Event::Paused(lasts) => self.next.pause = Pause::begin(lasts, self.now),
            Event::Resumed => {
                self.next.pause = Pause::None;
                self.next.cpu.forgive();
                self.next.memory.forgive();
            }
            Event::Released(guest) => self.release(guest.as_ref()),
            Event::Remembered(originals) => self.next.to_put_right = originals,
            Event::Exit => {
                self.release(None);
                self.next.exits = true;
            }
        }
    }

    /// The end of a window, or the first look.
    fn snapshot(&mut self, snapshot: &Arc<Snapshot>) {
        let now = self.now;
        let last = self.next.last.replace((now, snapshot.clone()));
        let did_no_good = self.next.cpu.does_no_good();
        let replaces = self.config.cpu.replace_foreign;
        for id in self.next.cpu.see(snapshot, replaces) {
            // What they found is what they made of it.
            self.next.originals.masks.remove(&id);
            self.actions.push(Action::Say(Notice::Yielded(id)));
        }
        self.forget(snapshot);
        self.put_right(snapshot);
        self.set_periods(snapshot);
        let took = last.as_ref().map(|(at, _)| now.saturating_sub(*at));
        if let Some(((_, before), took)) =
            last.as_ref().zip(took).filter(|(_, took)| !took.is_zero())
        {
            let window = cpu::Window {
                config: self.config,
                before,
                took,
                after: snapshot,
                now,
                kept: self.why_vcpus_are_kept(),
            };
            let actions = self.next.cpu.window(&window);
            self.note_masks(snapshot, &actions);
            self.actions.extend(actions);
        }
        if !did_no_good && self.next.cpu.does_no_good() {
            let why = "pins were put back too often".to_owned();
            self.actions.push(Action::Say(Notice::CpuObserves(why)));
        }
        let window = memory::Window {
            config: self.config,
            snapshot,
            now,
            kept: !self.next.pause.is_over(now),
        };
        let actions = self.next.memory.window(&window);
        self.actions.extend(actions);
    }

    fn why_vcpus_are_kept(&self) -> Option<String> {
        let why = if self.config.cpu.mode == Mode::Observe {
            "only observing"
        } else if !self.next.pause.is_over(self.now) {
            "paused"
        } else if let Some(who) = &self.next.placed_by {
            who
        } else if self.next.cpu.does_no_good() {
            "pins were put back too often"
        } else {
            return None;
        };
        Some(why.to_owned())
    }

    /// Keeps nothing of who is gone.
    fn forget(&mut self, snapshot: &Snapshot) {
        let there = snapshot.by_id();
        let known = self.next.cpu.known();
        self.next
            .originals
            .masks
            .retain(|id, _| known.contains_key(id));
        self.next
            .originals
            .periods
            .retain(|guest, _| there.contains_key(guest));
    }

    /// Undoes what an earlier life left behind.
    fn put_right(&mut self, snapshot: &Snapshot) {
        let Originals { masks, periods } = std::mem::take(&mut self.next.to_put_right);
        let there = snapshot.by_id();
        for (id, mask) in masks {
            if mask_of(&there, &id).is_some_and(|now| *now != mask) {
                self.next.cpu.put_right(&id, &mask);
                self.actions.push(Action::Pin(id, mask));
            }
        }
        for (guest, period) in periods {
            if there.contains_key(&guest) {
                self.actions.push(Action::Period(guest.clone(), period));
                // It is set anew below, and is not what it was found as.
                self.next.originals.periods.insert(guest, period);
            }
        }
    }

    /// Has balloons speak as often as it takes, once.
    fn set_periods(&mut self, snapshot: &Snapshot) {
        if self.config.memory.mode == Mode::Observe || !self.next.pause.is_over(self.now) {
            return;
        }
        let wanted = self.config.memory.period;
        for guest in &snapshot.guests {
            let memory = &guest.memory;
            let is_due = memory
                .period
                .is_none_or(|period| period.is_zero() || period > wanted);
            let is_managed = self.config.of(&guest.id).memory && memory.fixed.is_none();
            if is_due && is_managed && !self.next.originals.periods.contains_key(&guest.id) {
                self.next
                    .originals
                    .periods
                    .insert(guest.id.clone(), memory.period);
                self.actions
                    .push(Action::Period(guest.id.clone(), Some(wanted)));
            }
        }
    }

    /// Keeps where those could run that are pinned for the first time.
    fn note_masks(&mut self, snapshot: &Snapshot, actions: &[Action]) {
        if actions.is_empty() {
            return;
        }
        let there = snapshot.by_id();
        for action in actions {
            if let Action::Pin(id, _) = action
                && !self.next.originals.masks.contains_key(id)
                && let Some(mask) = mask_of(&there, id)
            {
                self.next.originals.masks.insert(id.clone(), mask.clone());
            }
        }
    }

    /// Has everything be as it was found; of vCPUs and periods, that is: memory that was taken is not free any more.
    fn release(&mut self, guest: Option<&GuestId>) {
        self.release_vcpus(guest, true);
        let is_meant = |id: &GuestId| guest.is_none_or(|guest| guest == id);
        let periods = std::mem::take(&mut self.next.originals.periods);
        for (id, period) in periods {
            if is_meant(&id) {
                self.actions.push(Action::Period(id, period));
            } else {
                self.next.originals.periods.insert(id, period);
            }
        }
    }

    fn release_vcpus(&mut self, guest: Option<&GuestId>, for_good: bool) {
        self.next.cpu.leave_off();
        let masks = std::mem::take(&mut self.next.originals.masks);
        for (id, mask) in masks {
            if guest.is_some_and(|guest| *guest != id.guest) {
                self.next.originals.masks.insert(id, mask);
                continue;
            }
            if for_good {
                self.next.cpu.give_back(&id, &mask);
            } else {
                self.next.cpu.put_right(&id, &mask);
            }
            self.actions.push(Action::Pin(id, mask));
        }
    }

    /// Has what was found kept before it is changed, and forgotten after it was put back.
    fn remember(&mut self, before: &Originals) {
        let now = &self.next.originals;
        if now == before {
            return;
        }
        let is_more = now.masks.keys().any(|id| !before.masks.contains_key(id))
            || now
                .periods
                .keys()
                .any(|id| !before.periods.contains_key(id));
        let at = if is_more { 0 } else { self.actions.len() };
        self.actions.insert(at, Action::Remember(now.clone()));
    }
}

fn mask_of<'s>(guests: &BTreeMap<&GuestId, &'s Guest>, id: &VcpuId) -> Option<&'s Cpus> {
    let guest = guests.get(&id.guest)?;
    let vcpu = guest.vcpus.iter().find(|vcpu| vcpu.index == id.index)?;
    Some(&vcpu.mask)
}
