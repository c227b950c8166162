//! What the memory half does at the end of a window: it looks at each guest, gives to who needs more what the host can promise, and
//! takes from who has more than it needs.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::action::{Action, Notice};
use crate::config::{Config, Mode, Reclaim};
use crate::moment::Moment;
use crate::snapshot::{Guest, GuestId, Mib, Snapshot};

use super::budget::budget;
use super::known::{Known, least_change};
use super::state::{MemoryState, Standing};
use super::unmanaged::Unmanaged;

/// No guest has less.
const LEAST: Mib = 200.0;
/// And each has this much more than it uses.
const BESIDE: Mib = 100.0;
/// Memory is taken only from who has this much more than it needs, and so much of that stays. An idle guest of 2048 MiB, who needs 5 %
/// of them, then has less than 150 unused in the end.
const MORE: Mib = 45.0;
const STAYS: Mib = 25.0;
/// What is taken at once at most, in parts of what a guest has.
const AT_ONCE: f64 = 0.1;
/// A guest that has just begun takes what it needs first.
const BEGINS: Duration = Duration::from_secs(60);

/// What is known at the end of a window.
pub struct Window<'w> {
    /// What is configured.
    pub config: &'w Config,
    /// The snapshot.
    pub snapshot: &'w Snapshot,
    /// The time.
    pub now: Moment,
    /// Nothing is to be changed, for whatever reason.
    pub kept: bool,
}

/// A guest that needs more.
struct Needy<'s> {
    guest: &'s Guest,
    wanted: Mib,
}

impl MemoryState {
    /// Does what is to be done at the end of a window.
    pub fn window(&mut self, window: &Window<'_>) -> Vec<Action> {
        let mut actions = Vec::new();
        let present: BTreeSet<&GuestId> = window
            .snapshot
            .guests
            .iter()
            .map(|guest| &guest.id)
            .collect();
        if let Some(lost) = self.forget(&present) {
            let why = format!("{lost} was lost soon after memory was taken from it");
            actions.push(Action::Say(Notice::MemoryObserves(why)));
        }
        for guest in &window.snapshot.guests {
            let known = self.known.entry(guest.id.clone()).or_default();
            known.see(&window.config.memory, &guest.memory, window.now);
            let standing = match Unmanaged::why(window.config, guest) {
                Some(why) => Standing::Unmanaged(why),
                None if known.is_stale(&guest.memory, &window.config.memory, window.now) => {
                    Standing::Stale
                }
                None => Standing::Fine,
            };
            self.standing.insert(guest.id.clone(), standing);
        }
        let config = &window.config.memory;
        let target = |id: &GuestId| self.known.get(id).map(Known::target);
        self.budget = budget(window.snapshot, config.host_floor, target);
        if window.kept || config.mode == Mode::Observe || self.lost.is_some() {
            return actions;
        }
        let mut targets = self.stop_taking(window);
        let unmet = self.give(window, &mut targets);
        self.take(window, unmet, &mut targets);
        self.say_if_short(unmet, &mut actions);
        actions.extend(
            targets
                .into_iter()
                .map(|(id, target)| Action::Target(id, target)),
        );
        actions
    }

    fn is_managed(&self, guest: &Guest) -> bool {
        matches!(self.standing.get(&guest.id), Some(Standing::Fine))
    }

    /// Has whoever suffers, or has not spoken for long, keep what it has.
    fn stop_taking(&mut self, window: &Window<'_>) -> Vec<(GuestId, Mib)> {
        let mut targets = Vec::new();
        for guest in &window.snapshot.guests {
            let Some(known) = self.known.get_mut(&guest.id) else {
                continue;
            };
            let is_stale = self.standing.get(&guest.id) == Some(&Standing::Stale);
            let actual = guest.memory.actual;
            if (is_stale || known.needs_it_back()) && known.target() < actual {
                known.set_target(actual);
                targets.push((guest.id.clone(), actual));
            }
        }
        targets
    }

    /// Gives memory to whoever needs it, as far as the host can promise it. Returns what it could not.
    fn give(&mut self, window: &Window<'_>, targets: &mut Vec<(GuestId, Mib)>) -> Mib {
        let mut left = self.budget.unwrap_or(0.0);
        let mut unmet = (-left).max(0.0);
        for needy in self.needy(window) {
            let memory = &needy.guest.memory;
            let id = &needy.guest.id;
            let given = needy.wanted.min(left.max(0.0));
            let given = if given < least_change(memory.actual) {
                0.0
            } else {
                given
            };
            unmet += needy.wanted - given;
            left -= given;
            let standing = if given > 0.0 {
                // What was on its way already is counted in the budget.
                let Some(known) = self.known.get_mut(id) else {
                    continue;
                };
                let target = known.target().max(memory.actual) + given;
                known.set_target(target);
                targets.retain(|(other, _)| other != id);
                targets.push((id.clone(), target));
                Standing::Given(given)
            } else {
                Standing::Refused(needy.wanted)
            };
            self.standing.insert(id.clone(), standing);
        }
        unmet
    }

    /// Who needs more, and how much at once: who suffers first, then who has least for its weight.
    fn needy<'s>(&self, window: &Window<'s>) -> Vec<Needy<'s>> {
        let config = &window.config.memory;
        let managed = window
            .snapshot
            .guests
            .iter()
            .filter(|guest| self.is_managed(guest));
        let mut needy: Vec<Needy<'s>> = managed
            .filter_map(|guest| {
                let (memory, known) = (&guest.memory, self.known.get(&guest.id)?);
                let is_needy = known.is_needy(config, memory);
                let step = if known.suffers() {
                    2.0 * config.step
                } else {
                    config.step
                };
                // Never further ahead of what it has than a step.
                let from = known.target().max(memory.actual);
                let wanted = memory.max.min(memory.actual + step) - from;
                (is_needy && wanted >= least_change(memory.actual))
                    .then_some(Needy { guest, wanted })
            })
            .collect();
        let suffers = |guest: &Guest| self.known.get(&guest.id).is_some_and(Known::suffers);
        let share = |guest: &Guest| {
            let weight = window.config.of(&guest.id).weight.max(f64::MIN_POSITIVE);
            guest.memory.actual / weight
        };
        needy.sort_by(|one, other| {
            let by_share = share(one.guest).total_cmp(&share(other.guest));
            let by_suffering = suffers(other.guest).cmp(&suffers(one.guest));
            by_suffering
                .then(by_share)
                .then(one.guest.id.cmp(&other.guest.id))
        });
        needy
    }

    /// Takes memory from whoever has most to spare, as far as it is needed or always.
    fn take(&mut self, window: &Window<'_>, unmet: Mib, targets: &mut Vec<(GuestId, Mib)>) {
        let config = &window.config.memory;
        let under_way: f64 = self.under_way(window).sum();
        let mut needed = match config.reclaim {
            Reclaim::Needed => unmet - under_way,
            Reclaim::Always => f64::INFINITY,
        };
        let managed = window
            .snapshot
            .guests
            .iter()
            .filter(|guest| self.is_managed(guest));
        let mut donors: Vec<(&Guest, Mib, Mib)> = managed
            .filter_map(|guest| {
                let (spare, surplus) = self.surplus(window, guest)?;
                Some((guest, spare, surplus))
            })
            .collect();
        donors.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.id.cmp(&other.0.id)));
        for (guest, _, surplus) in donors {
            let actual = guest.memory.actual;
            let surplus = surplus.min(needed);
            if surplus < least_change(actual) {
                continue;
            }
            if let Some(known) = self.known.get_mut(&guest.id) {
                known.set_target(actual - surplus);
                targets.push((guest.id.clone(), actual - surplus));
                needed -= surplus;
                self.standing
                    .insert(guest.id.clone(), Standing::Gave(surplus));
            }
        }
    }

    /// What is being taken from guests.
    fn under_way(&self, window: &Window<'_>) -> impl Iterator<Item = Mib> {
        let guests = window.snapshot.guests.iter();
        guests.filter_map(|guest| {
            let target = self.known.get(&guest.id)?.target();
            Some((guest.memory.actual - target).max(0.0))
        })
    }

    /// What a guest has to spare and what of it can be taken at once, if anything.
    fn surplus(&self, window: &Window<'_>, guest: &Guest) -> Option<(Mib, Mib)> {
        let (config, memory) = (&window.config.memory, &guest.memory);
        let known = self.known.get(&guest.id)?;
        if guest.uptime < BEGINS || known.is_spared(window.now) {
            return None;
        }
        let reserve = known.reserve(config, memory);
        let spare = known
            .surely_spare()
            .filter(|spare| *spare > reserve + MORE)?;
        let floor = LEAST
            .max(window.config.of(&guest.id).min)
            .max(known.used() + BESIDE);
        let at_once = config.step.min(AT_ONCE * memory.actual);
        let most = at_once
            .min(spare - reserve - STAYS)
            .min(memory.actual - floor);
        (most >= least_change(memory.actual)).then_some((spare, most))
    }

    /// Says so when nobody can give what is needed.
    fn say_if_short(&mut self, unmet: Mib, actions: &mut Vec<Action>) {
        let gives = self
            .standing
            .values()
            .any(|of| matches!(of, Standing::Gave(_)));
        let is_giving = self
            .known
            .values()
            .any(|of| of.taken.is_some() && !of.has_reached_target());
        let is_short = unmet > least_change(0.0) && !gives && !is_giving;
        if is_short && !self.host_short {
            actions.push(Action::Say(Notice::HostShort));
        }
        self.host_short = is_short;
    }
}
