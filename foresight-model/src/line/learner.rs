//! The lines of all tasks: one slot for each task, shared by tasks whose numbers meet, of which the one with more bursts has it.
//! Memory is bounded by the number of slots.

use super::fit::{Fit, Verdict, quantised};
use super::programs::Programs;
use crate::burst::FEATURES;

/// How many slots there are.
pub const SLOTS: usize = 4096;
/// After how many refits without a burst a task is taken to have ended: at two a second, ten minutes.
pub const MAX_IDLE: u32 = 1200;

/// A burst of a task, as it is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    /// Its thread.
    pub pid: u32,
    /// The thread's name.
    pub comm: &'a str,
    /// With which it was predicted.
    pub features: [i32; FEATURES],
    /// Of what the prediction is: how far from the average it was.
    pub deviation: i32,
}

/// What is to be written into a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which.
    pub slot: usize,
    /// Whose line it is.
    pub pid: u32,
    /// Nothing: the task has none, and the slot is nobody's.
    pub weights: Option<[i32; FEATURES]>,
}

#[derive(Clone, Debug)]
struct Owner {
    pid: u32,
    comm: String,
    fit: Fit,
    /// How many bursts it had since the last refit.
    recent: u32,
    idle: u32,
    /// Whether the slot still has the line of who had it before.
    inherited: bool,
    rival: Option<Rival>,
}

/// A task that would have the same slot.
#[derive(Clone, Debug)]
struct Rival {
    pid: u32,
    comm: String,
    recent: u32,
}

/// All tasks that are learned from.
#[derive(Debug)]
pub struct Learner {
    slots: Vec<Option<Box<Owner>>>,
    /// Those whose tasks are new.
    new: Vec<usize>,
    programs: Programs,
    takes_priors: bool,
}

/// The slot of a task.
#[must_use]
pub fn slot(pid: u32) -> usize {
    // By fewer bits than any usize has.
    pid as usize % SLOTS
}

impl Owner {
    fn new(pid: u32, comm: &str, programs: Option<&Programs>) -> Self {
        Self {
            pid,
            comm: comm.to_owned(),
            fit: Fit::new(programs.and_then(|programs| programs.prior(comm))),
            recent: 0,
            idle: 0,
            inherited: false,
            rival: None,
        }
    }

    /// Counts a burst of another task; of several, the one with the most stays.
    fn challenge(&mut self, seen: &Seen<'_>) {
        match &mut self.rival {
            Some(rival) if rival.pid == seen.pid => rival.recent += 1,
            Some(rival) if rival.recent > 1 => rival.recent -= 1,
            rival => {
                *rival = Some(Rival {
                    pid: seen.pid,
                    comm: seen.comm.to_owned(),
                    recent: 1,
                });
            }
        }
    }
}

impl Learner {
    /// With what is remembered of programs; new tasks begin with that if `takes_priors`.
    #[must_use]
    pub fn new(programs: Programs, takes_priors: bool) -> Self {
        Self {
            slots: vec![None; SLOTS],
            new: Vec::new(),
            programs,
            takes_priors,
        }
    }

    /// Learns from a burst.
    pub fn add(&mut self, seen: &Seen<'_>) {
        let programs = self.takes_priors.then_some(&self.programs);
        let place = &mut self.slots[slot(seen.pid)];
        let owner = place.get_or_insert_with(|| {
            self.new.push(slot(seen.pid));
            Box::new(Owner::new(seen.pid, seen.comm, programs))
        });
        if owner.pid != seen.pid {
            owner.challenge(seen);
            return;
        }
        // Another program, or another task of a number that was free again.
        if owner.comm != seen.comm {
            **owner = Owner::new(seen.pid, seen.comm, programs);
            owner.inherited = true;
            self.new.push(slot(seen.pid));
        }
        owner.recent += 1;
        owner.fit.add(&seen.features, seen.deviation);
    }

    /// What those begin with that are new since this was asked last: to be written without waiting for a period to end, as many
    /// tasks do not last for one.
    pub fn begin(&mut self) -> Vec<Write> {
        let mut writes = Vec::new();
        for slot in std::mem::take(&mut self.new) {
            let Some(owner) = &mut self.slots[slot] else {
                continue;
            };
            let weights = match owner.fit.begin() {
                Verdict::Publish(line) => Some(quantised(&line)),
                _ if owner.inherited => None,
                _ => continue,
            };
            owner.inherited = false;
            writes.push(Write {
                slot,
                pid: owner.pid,
                weights,
            });
        }
        writes
    }

    /// Ends the period of each task that has had enough bursts. Returns what of the slots changes.
    pub fn refit(&mut self) -> Vec<Write> {
        let mut writes = Vec::new();
        // Who was not asked about until now is one of all.
        self.new.clear();
        for (slot, place) in self.slots.iter_mut().enumerate() {
            let Some(owner) = place else { continue };
            let mut write = |pid, weights| writes.push(Write { slot, pid, weights });
            let recent = std::mem::take(&mut owner.recent);
            if let Some(rival) = owner.rival.take_if(|rival| rival.recent > recent) {
                let programs = self.takes_priors.then_some(&self.programs);
                **owner = Owner::new(rival.pid, &rival.comm, programs);
                write(rival.pid, None);
                continue;
            }
            owner.rival = None;
            owner.idle = if recent == 0 { owner.idle + 1 } else { 0 };
            if owner.idle > MAX_IDLE {
                write(owner.pid, None);
                *place = None;
                continue;
            }
            let line = owner.fit.line().copied();
            let verdict = owner.fit.refit();
            if let (Some(line), Some(losses), false) =
                (line, owner.fit.last(), verdict == Verdict::TooFew)
            {
                self.programs.learn(&owner.comm, &line, losses);
            }
            match verdict {
                Verdict::TooFew if owner.inherited => write(owner.pid, None),
                Verdict::TooFew => {}
                Verdict::Publish(line) => write(owner.pid, Some(quantised(&line))),
                Verdict::Withdraw => write(owner.pid, None),
            }
            owner.inherited = false;
        }
        writes
    }

    /// What is known of a task; `None` if its slot is another's, or nothing was seen of it.
    #[must_use]
    pub fn fit(&self, pid: u32) -> Option<&Fit> {
        let owner = self.slots[slot(pid)].as_ref()?;
        (owner.pid == pid).then_some(&owner.fit)
    }

    /// All tasks that have a slot, with their names.
    pub fn tasks(&self) -> impl Iterator<Item = (u32, &str, &Fit)> {
        let owners = self.slots.iter().flatten();
        owners.map(|owner| (owner.pid, owner.comm.as_str(), &owner.fit))
    }

    /// What is remembered of programs.
    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// That alone, with no tasks.
    #[must_use]
    pub fn into_programs(self) -> Programs {
        self.programs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed::ONE;

    /// A task of which each burst is as far from the average as the last one, on the other side.
    fn seen(pid: u32, comm: &str, turn: i32) -> Seen<'_> {
        let mut features = [0; FEATURES];
        features[0] = ONE;
        features[1] = if turn % 2 == 0 { 2 * ONE } else { -2 * ONE };
        Seen {
            pid,
            comm,
            features,
            deviation: -features[1],
        }
    }

    fn run(learner: &mut Learner, pid: u32, comm: &str, periods: u32) -> Vec<Write> {
        let mut writes = Vec::new();
        for _ in 0..periods {
            for turn in 0..16 {
                learner.add(&seen(pid, comm, turn));
            }
            writes = learner.refit();
        }
        writes
    }

    #[test]
    fn each_task_has_its_own_line_in_its_slot() {
        let mut learner = Learner::new(Programs::default(), true);
        let writes = run(&mut learner, 5000, "make", 5);
        assert_eq!(writes.len(), 1);
        assert_eq!((writes[0].slot, writes[0].pid), (5000 - SLOTS, 5000));
        let weights = writes[0].weights.unwrap();
        assert!((weights[1] + ONE).abs() < ONE / 10, "{weights:?}");
        assert!(learner.fit(5000).unwrap().is_published());
        assert!(learner.fit(5000 - 4096).is_none());
    }

    #[test]
    fn new_tasks_begin_with_what_those_of_their_name_did() {
        let mut learner = Learner::new(Programs::default(), true);
        run(&mut learner, 1, "make", 5);
        learner.add(&seen(2, "make", 0));
        learner.add(&seen(3, "cc", 0));
        let writes = learner.refit();
        assert_eq!(writes.len(), 1);
        assert!(writes[0].pid == 2 && writes[0].weights.is_some());
        // At once, if that is asked for.
        learner.add(&seen(4, "make", 0));
        let at_once = learner.begin();
        assert_eq!((at_once.len(), at_once[0].pid), (1, 4));
        assert!(at_once[0].weights == writes[0].weights);
        assert!(learner.begin().is_empty() && learner.refit().is_empty());
        let mut without = Learner::new(learner.programs().clone(), false);
        without.add(&seen(2, "make", 0));
        assert!(without.refit().is_empty());
    }

    #[test]
    fn of_two_tasks_with_one_slot_the_busier_has_it() {
        let mut learner = Learner::new(Programs::default(), false);
        let (first, second) = (7, 7 + 4096);
        run(&mut learner, first, "a", 3);
        for turn in 0..16 {
            learner.add(&seen(first, "a", turn));
            learner.add(&seen(second, "b", turn));
        }
        assert!(learner.refit()[0].weights.is_some());
        assert!(learner.fit(first).is_some());
        let nobody = Write {
            slot: 7,
            pid: second,
            weights: None,
        };
        learner.add(&seen(first, "a", 0));
        learner.add(&seen(second, "b", 0));
        learner.add(&seen(second, "b", 1));
        assert_eq!(learner.refit(), [nobody]);
        assert!(learner.fit(first).is_none());
        assert!(run(&mut learner, second, "b", 2)[0].weights.is_some());
    }

    #[test]
    fn who_is_called_something_else_begins_anew() {
        let mut learner = Learner::new(Programs::default(), false);
        run(&mut learner, 1, "sh", 5);
        learner.add(&seen(1, "make", 0));
        assert_eq!(learner.fit(1).unwrap().bursts(), 1);
        // Nor does the kernel go on with the line of what it was.
        let nothing = Write {
            slot: 1,
            pid: 1,
            weights: None,
        };
        assert_eq!(learner.refit(), [nothing]);
        assert_eq!(learner.refit(), []);
    }

    #[test]
    fn tasks_that_ended_leave_their_slots() {
        let mut learner = Learner::new(Programs::default(), false);
        run(&mut learner, 1, "make", 2);
        let last = (0..MAX_IDLE).map(|_| learner.refit()).last().unwrap();
        assert!(last.is_empty());
        assert_eq!(learner.refit()[0].weights, None);
        assert!(learner.refit().is_empty() && learner.tasks().next().is_none());
    }
}
