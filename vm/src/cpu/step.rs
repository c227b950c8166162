//! What the CPU half does at the end of a window.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::action::{Action, Notice};
use crate::config::Config;
use crate::moment::Moment;
use crate::snapshot::{Guest, GuestId, Snapshot, Vcpu, VcpuId};
use crate::topology::Cpus;

use super::known::Known;
use super::measure::{capacity, did, fixed, mean_capacity, vcpus};
use super::placement::Placement;
use super::plan::{Plan, plan};
use super::problem::{Item, Problem, Slot};
use super::standing::Standing;
use super::state::CpuState;
use super::verify::{Verdict, Verification};

/// For how many windows the CPUs have to be unevenly used.
const WINDOWS: u32 = 2;
/// Where nothing better was found it is looked for again after so many windows, or when the standard deviation has changed by so
/// much.
const AGAIN: u64 = 12;
const SAME: f64 = 2.0;

/// What is known at the end of a window.
pub struct Window<'w> {
    /// What is configured.
    pub config: &'w Config,
    /// The snapshot before, and how long ago that was.
    pub before: &'w Snapshot,
    /// See there.
    pub took: Duration,
    /// The snapshot now.
    pub after: &'w Snapshot,
    /// The time.
    pub now: Moment,
    /// Why nothing may be pinned.
    pub kept: Option<String>,
}

impl CpuState {
    /// Takes note of who is there and where they may run. Returns who was pinned by somebody else.
    ///
    /// `replaces`: nobody is yielded.
    pub fn see(&mut self, snapshot: &Snapshot, replaces: bool) -> Vec<VcpuId> {
        let online = snapshot.cpus.iter().filter(|cpu| cpu.online);
        let online: Cpus = online.map(|cpu| cpu.id).collect();
        let mut present = BTreeSet::new();
        let mut yielded = Vec::new();
        for (id, _, vcpu) in vcpus(snapshot) {
            present.insert(id.clone());
            let new = || Known::new(&vcpu.mask, &vcpu.allowed);
            let of = self.known.entry(id.clone()).or_insert_with(new);
            if of.see(&vcpu.mask, &vcpu.allowed, &online, self.window, replaces) {
                yielded.push(id);
            }
        }
        self.known.retain(|id, _| present.contains(id));
        self.left.retain(|(id, _)| present.contains(id));
        self.moved.retain(|id, _| present.contains(id));
        yielded
    }

    /// Does what is to be done at the end of a window.
    pub fn window(&mut self, window: &Window<'_>) -> Vec<Action> {
        self.window += 1;
        self.measure(window);
        if window.config.cpu.by_node {
            return self.put_on_nodes(window);
        }
        let Some((problem, ids)) = self.problem(window) else {
            self.standing = Standing::Unknown;
            return Vec::new();
        };
        let present = Placement::present(&problem);
        let is_new = problem
            .items
            .iter()
            .any(|item| item.movable && item.at.is_none());
        let is_uneven = is_new || present.sigma() > present.tolerance();
        self.uneven = if is_uneven { self.uneven + 1 } else { 0 };
        if let Some(why) = &window.kept {
            if self.is_time_to_plan(&present) {
                self.make_plan(&problem, &present);
            } else if self.uneven < WINDOWS {
                self.plan = Plan::default();
            }
            let (pins, uneven) = (self.plan.pins.len(), self.uneven);
            self.leave_off();
            self.uneven = uneven;
            self.standing = Standing::Kept(pins, why.clone());
            return Vec::new();
        }
        if let Some(verification) = &mut self.verification {
            match verification.add(&self.known) {
                Verdict::Watching => {
                    self.standing = Standing::Verifying;
                    return Vec::new();
                }
                Verdict::Good => self.verification = None,
                Verdict::Worse(moved) => return self.put_back(moved, window.now),
            }
        }
        if self.left.is_empty() {
            if !self.is_time_to_plan(&present) {
                let is_even = self.uneven < WINDOWS;
                self.standing = if is_even {
                    Standing::Even
                } else {
                    Standing::NothingBetter
                };
                return Vec::new();
            }
            self.make_plan(&problem, &present);
            let pins = self.plan.pins.iter();
            self.left = pins
                .map(|(item, slot)| (ids[*item].clone(), problem.slots[*slot].cpu))
                .collect();
        }
        self.carry_on(&problem, &ids, window.now)
    }

    /// Whether the CPUs have been unevenly used for long enough, and not as they were when nothing better was found.
    fn is_time_to_plan(&self, present: &Placement<'_>) -> bool {
        let is_as_before = self.in_vain.is_some_and(|(at, sigma)| {
            self.window < at + AGAIN && (present.sigma() - sigma).abs() < SAME
        });
        self.uneven >= WINDOWS && !is_as_before
    }

    fn make_plan(&mut self, problem: &Problem, present: &Placement<'_>) {
        self.plan = plan(problem);
        let is_in_vain = self.plan.pins.is_empty();
        self.in_vain = is_in_vain.then(|| (self.window, present.sigma()));
    }

    fn measure(&mut self, window: &Window<'_>) {
        let Window {
            before,
            after,
            took,
            ..
        } = *window;
        let did = did(before, after, took);
        for (id, _, vcpu) in vcpus(after) {
            let whole = 100.0 * mean_capacity(after, &vcpu.mask);
            if let Some(of) = self.known.get_mut(&id) {
                of.measure(did.get(&id).copied(), whole, self.window);
            }
        }
        let planned =
            vcpus(after).filter(|(id, guest, vcpu)| self.is_planned(window, id, guest, vcpu));
        let planned = planned.map(|(id, ..)| id).collect();
        let old = std::mem::take(&mut self.fixed);
        for (cpu, load) in fixed(before, after, took, &did, &planned) {
            if let Some(load) = load {
                let smooth = old.get(&cpu).map_or(load, |old| old.midpoint(load));
                self.fixed.insert(cpu, smooth);
            }
        }
    }

    /// Whether a vCPU is a part of plans. What is not is carried by its CPU anyway.
    pub(super) fn is_planned(
        &self,
        window: &Window<'_>,
        id: &VcpuId,
        guest: &Guest,
        vcpu: &Vcpu,
    ) -> bool {
        let of = self.known.get(id);
        let is_measured = of.is_some_and(|of| of.demand.is_some() && !of.yielded);
        is_measured && !vcpu.owners && window.config.of(&guest.id).cpu
    }

    /// What is to be planned; `None` where there is nothing or not all is known that it takes.
    fn problem(&self, window: &Window<'_>) -> Option<(Problem, Vec<VcpuId>)> {
        let mut planned: Vec<_> = vcpus(window.after)
            .filter(|(id, guest, vcpu)| self.is_planned(window, id, guest, vcpu))
            .collect();
        planned.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        let chosen = |cpu: u32| {
            window
                .config
                .cpu
                .cpus
                .as_ref()
                .is_none_or(|cpus| cpus.contains(&cpu))
        };
        let reached: Cpus = planned
            .iter()
            .flat_map(|(_, _, vcpu)| &vcpu.allowed)
            .copied()
            .collect();
        let usable = window
            .after
            .cpus
            .iter()
            .filter(|cpu| cpu.is_usable() && chosen(cpu.id) && reached.contains(&cpu.id));
        let slots: Option<Vec<Slot>> = usable
            .map(|cpu| {
                Some(Slot {
                    cpu: cpu.id,
                    capacity: capacity(cpu.capacity),
                    // Unknown is not idle.
                    fixed: self.fixed.get(&cpu.id).copied()?,
                    core: cpu.core,
                    node: cpu.node,
                })
            })
            .collect();
        let slots = slots?;
        let guests: BTreeSet<&GuestId> = planned.iter().map(|(_, guest, _)| &guest.id).collect();
        let numbers: BTreeMap<&GuestId, usize> = guests.into_iter().zip(0..).collect();
        let mut problem = Problem {
            slots,
            items: Vec::new(),
        };
        let mut ids = Vec::new();
        for (id, guest, vcpu) in planned {
            if let Some(item) = self.item(&problem.slots, &id, guest, vcpu, window.now) {
                problem.items.push(Item {
                    guest: numbers[&guest.id],
                    ..item
                });
                ids.push(id);
            }
        }
        problem.part_siblings();
        (!ids.is_empty()).then_some((problem, ids))
    }

    /// A vCPU as plans see it, but for whose it is; `None` if it may be on no CPU that there is.
    fn item(
        &self,
        slots: &[Slot],
        id: &VcpuId,
        guest: &Guest,
        vcpu: &Vcpu,
        now: Moment,
    ) -> Option<Item> {
        let of = self.known.get(id)?;
        let allowed: Vec<bool> = slots
            .iter()
            .map(|slot| vcpu.allowed.contains(&slot.cpu))
            .collect();
        let at = |cpu: &u32| slots.iter().position(|slot| slot.cpu == *cpu);
        let spread: Vec<usize> = of.mask().iter().filter_map(at).collect();
        let is_pinned = of.mask().len() == 1 && spread.len() == 1 && allowed[spread[0]];
        let may_move = self.may_move(id, now) && !guest.job && !guest.paused;
        allowed.contains(&true).then(|| Item {
            demand: of.demand.unwrap_or_default(),
            guest: 0,
            at: is_pinned.then(|| spread[0]),
            spread,
            allowed,
            movable: may_move,
            home: guest.home,
        })
    }

    /// Does as much of the plan as one window takes.
    fn carry_on(&mut self, problem: &Problem, ids: &[VcpuId], now: Moment) -> Vec<Action> {
        let room = self.limits.room(self.count(), now);
        let numbers: BTreeMap<&VcpuId, usize> = ids.iter().zip(0..).collect();
        let mut actions = Vec::new();
        while actions.len() < room {
            let Some((id, cpu)) = self.left.pop_front() else {
                break;
            };
            let slot = problem.slots.iter().position(|slot| slot.cpu == cpu);
            let item = numbers.get(&id).map(|item| &problem.items[*item]);
            let is_possible = item
                .zip(slot)
                .is_some_and(|(item, slot)| item.movable && item.allowed[slot]);
            // Who cannot go there any more is planned anew with the next plan.
            if let Some(of) = self.known.get_mut(&id).filter(|_| is_possible) {
                self.moved.insert(id.clone(), of.mask().clone());
                of.pin(Cpus::from([cpu]), self.window);
                actions.push(Action::Pin(id, Cpus::from([cpu])));
            }
        }
        self.limits.spend(actions.len(), now);
        self.standing = match (actions.len(), room) {
            (0, 0) => Standing::Kept(
                self.left.len(),
                "so many pins are enough for an hour".to_owned(),
            ),
            (0, _) => Standing::NothingBetter,
            (pins, _) => Standing::Pinned(pins, self.left.len()),
        };
        if room == 0 {
            self.left.clear();
        }
        if self.left.is_empty() {
            let moved = std::mem::take(&mut self.moved);
            if !moved.is_empty() {
                self.verification = Some(Verification::new(moved, &self.known));
                self.uneven = 0;
            }
        }
        actions
    }

    fn put_back(&mut self, moved: BTreeMap<VcpuId, Cpus>, now: Moment) -> Vec<Action> {
        self.verification = None;
        self.uneven = 0;
        self.put_back += 1;
        let mut actions = Vec::new();
        for (id, mask) in moved {
            let Some(of) = self.known.get_mut(&id).filter(|of| !of.yielded) else {
                continue;
            };
            of.pin(mask.clone(), self.window);
            of.leave_alone(now);
            actions.push(Action::Pin(id, mask));
        }
        self.limits.spend(actions.len(), now);
        self.standing = Standing::PutBack(actions.len());
        let ids = actions.iter().filter_map(|action| match action {
            Action::Pin(id, _) => Some(id.clone()),
            _ => None,
        });
        let notice = Notice::PutBack(ids.collect());
        actions.push(Action::Say(notice));
        actions
    }
}
