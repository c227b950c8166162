//! Whether pins did any good: those who were moved, and those beside them, must not wait longer than before unless they want
//! more.

use std::collections::{BTreeMap, BTreeSet};

use crate::snapshot::VcpuId;
use crate::topology::Cpus;

use super::known::Known;

/// For how many windows it is watched; the first does not count.
const WINDOWS: u32 = 3;
/// Who waits this much longer is worse off: in parts, and in percent of a CPU over all of them.
const LONGER: f64 = 0.2;
const LONGER_BY: f64 = 10.0;
/// Unless they want this much more, in parts.
const MORE: f64 = 0.1;

/// What all those that are watched want and how long they wait, in percent of a CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sum {
    demand: f64,
    wait: f64,
}

/// What comes of watching.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// It goes on.
    Watching,
    /// They stay.
    Good,
    /// They go back to where these could run.
    Worse(BTreeMap<VcpuId, Cpus>),
}

/// Pins that are watched.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verification {
    moved: BTreeMap<VcpuId, Cpus>,
    watched: BTreeSet<VcpuId>,
    before: Sum,
    after: Sum,
    windows: u32,
}

impl Verification {
    /// Watches those in `moved`, who could run there before and can run at `to` now, and all that are on the same CPUs.
    pub(super) fn new(moved: BTreeMap<VcpuId, Cpus>, known: &BTreeMap<VcpuId, Known>) -> Self {
        let to = moved.keys().filter_map(|id| known.get(id)).map(Known::mask);
        let touched: Cpus = to.chain(moved.values()).flatten().copied().collect();
        let is_touched = |of: &Known| !of.mask().is_disjoint(&touched) && of.demand.is_some();
        let watched: Vec<_> = known.iter().filter(|(_, of)| is_touched(of)).collect();
        let mut before = Sum::default();
        for (_, of) in &watched {
            // Who waits longer since the last window does not do so for what comes after it.
            let last = of.did.unwrap_or_default();
            before.demand += of.demand.unwrap_or_default().max(last.run + last.wait);
            before.wait += of.wait.max(last.wait);
        }
        Self {
            watched: watched.into_iter().map(|(id, _)| id.clone()).collect(),
            moved,
            before,
            after: Sum::default(),
            windows: 0,
        }
    }

    /// Adds a window.
    pub(super) fn add(&mut self, known: &BTreeMap<VcpuId, Known>) -> Verdict {
        self.windows += 1;
        if self.windows > 1 {
            for id in &self.watched {
                // Who is gone can say nothing: those who are left are not to blame for less.
                let Some(did) = known.get(id).and_then(|of| of.did) else {
                    return Verdict::Good;
                };
                self.after.demand += did.run + did.wait;
                self.after.wait += did.wait;
            }
        }
        if self.windows < WINDOWS {
            return Verdict::Watching;
        }
        let counted = f64::from(self.windows - 1);
        let (demand, wait) = (self.after.demand / counted, self.after.wait / counted);
        let waits_longer = wait - self.before.wait > LONGER_BY.max(LONGER * self.before.wait);
        let wants_more = demand >= (1.0 + MORE) * self.before.demand;
        if waits_longer && !wants_more {
            Verdict::Worse(std::mem::take(&mut self.moved))
        } else {
            Verdict::Good
        }
    }
}
