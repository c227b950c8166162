//! What the CPU half remembers between snapshots.

use std::collections::{BTreeMap, VecDeque};

use crate::moment::Moment;
use crate::snapshot::VcpuId;
use crate::topology::Cpus;

use super::known::Known;
use super::limits::Limits;
use super::plan::Plan;
use super::standing::Standing;
use super::verify::Verification;

/// After so many plans that were put back, pinning does no good on this host.
const MAX_PUT_BACK: u32 = 5;

/// Everything that is remembered of vCPUs and CPUs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpuState {
    pub(super) window: u64,
    pub(super) known: BTreeMap<VcpuId, Known>,
    /// What each CPU carries beside those that are planned, smoothed.
    pub(super) fixed: BTreeMap<u32, f64>,
    /// For how many windows in a row the CPUs were unevenly used.
    pub(super) uneven: u32,
    /// When nothing better was found, and for which standard deviation.
    pub(super) in_vain: Option<(u64, f64)>,
    /// What of a plan has yet to be done.
    pub(super) left: VecDeque<(VcpuId, u32)>,
    /// Where those of the plan under way could run that were moved so far.
    pub(super) moved: BTreeMap<VcpuId, Cpus>,
    pub(super) verification: Option<Verification>,
    pub(super) limits: Limits,
    pub(super) put_back: u32,
    /// The last plan, with what it is to bring, and what came of the last window.
    pub(super) plan: Plan,
    pub(super) standing: Standing,
}

impl CpuState {
    /// What is known of each vCPU.
    #[must_use]
    pub fn known(&self) -> &BTreeMap<VcpuId, Known> {
        &self.known
    }

    /// The last plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What came of the last window.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// What each CPU carries beside those that are planned, in percent of one of full speed.
    #[must_use]
    pub fn fixed(&self) -> &BTreeMap<u32, f64> {
        &self.fixed
    }

    /// Whether pins were put back too often to go on.
    #[must_use]
    pub fn does_no_good(&self) -> bool {
        self.put_back >= MAX_PUT_BACK
    }

    /// Forgets that, and whom others pinned, as a person wants.
    pub fn forgive(&mut self) {
        self.put_back = 0;
        for of in self.known.values_mut() {
            of.yielded = false;
        }
    }

    /// Leaves off what is under way.
    pub fn leave_off(&mut self) {
        self.left.clear();
        self.moved.clear();
        self.verification = None;
        self.uneven = 0;
    }

    /// Has a vCPU run where it could before, and leaves it to others from now on.
    pub fn give_back(&mut self, id: &VcpuId, mask: &Cpus) {
        let window = self.window;
        if let Some(of) = self.known.get_mut(id) {
            of.pin(mask.clone(), window);
            of.yielded = true;
        }
        self.left.retain(|(other, _)| other != id);
    }

    /// Has a vCPU run where it could before it was pinned in an earlier life, of which nobody is left alone for.
    pub fn put_right(&mut self, id: &VcpuId, mask: &Cpus) {
        let window = self.window;
        if let Some(of) = self.known.get_mut(id) {
            of.pin(mask.clone(), window);
        }
    }

    /// How many vCPUs are known that may be pinned at some time.
    pub(super) fn count(&self) -> usize {
        self.known.values().filter(|of| !of.yielded).count()
    }

    /// Whether vCPUs may be moved in this window, by what is known of them.
    pub(super) fn may_move(&self, id: &VcpuId, now: Moment) -> bool {
        let of = self.known.get(id);
        of.is_some_and(|of| of.may_move(self.window, now))
    }
}
