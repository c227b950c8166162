//! What vCPUs did between two snapshots, and what CPUs carry beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::snapshot::{Guest, Snapshot, Vcpu, VcpuId};
use crate::topology::{Cpus, FULL_CAPACITY};

use super::known::Did;

/// What niced work keeps of a CPU that something else wants, of all that it takes: as a task of nice 10 does beside one of nice 0, by their
/// weights of 110 and 1024 (sched_prio_to_weight in kernel/sched/core.c). How niced it is the kernel does not tell.
const KEEPS: f64 = 0.1;

/// What a CPU can do, of one of full speed.
pub(super) fn capacity(of: u32) -> f64 {
    f64::from(of) / f64::from(FULL_CAPACITY)
}

/// What a CPU of these can do on average.
pub(super) fn mean_capacity(snapshot: &Snapshot, mask: &Cpus) -> f64 {
    let of_mask = snapshot.cpus.iter().filter(|cpu| mask.contains(&cpu.id));
    let capacities: Vec<f64> = of_mask.map(|cpu| capacity(cpu.capacity)).collect();
    if capacities.is_empty() {
        return 1.0;
    }
    capacities.iter().sum::<f64>() / capacities.len() as f64
}

/// Each vCPU of a snapshot.
pub(super) fn vcpus(snapshot: &Snapshot) -> impl Iterator<Item = (VcpuId, &Guest, &Vcpu)> {
    snapshot.guests.iter().flat_map(|guest| {
        guest.vcpus.iter().map(move |vcpu| {
            let id = VcpuId {
                guest: guest.id.clone(),
                index: vcpu.index,
            };
            (id, guest, vcpu)
        })
    })
}

fn percent(before: Option<Duration>, after: Option<Duration>, took: Duration) -> Option<f64> {
    let grown = after?.checked_sub(before?)?;
    let percent = 100.0 * grown.as_secs_f64() / took.as_secs_f64();
    percent.is_finite().then_some(percent)
}

/// What each vCPU did between two snapshots, which took so long. On a slow CPU less is done in the same time.
pub(super) fn did(before: &Snapshot, after: &Snapshot, took: Duration) -> BTreeMap<VcpuId, Did> {
    let earlier: BTreeMap<VcpuId, &Vcpu> = vcpus(before).map(|(id, _, vcpu)| (id, vcpu)).collect();
    let both = vcpus(after).filter_map(|(id, _, vcpu)| {
        let old = earlier.get(&id)?;
        let speed = mean_capacity(after, &vcpu.mask);
        let did = Did {
            run: speed * percent(old.run, vcpu.run, took)?,
            wait: speed * percent(old.wait, vcpu.wait, took)?,
        };
        Some((id, did))
    });
    both.collect()
}

/// What each CPU carried beside the vCPUs in `planned`, in percent of one of full speed; `None` where that is not known.
///
/// `did` says what each vCPU did. Who is pinned and not planned is counted by what it wants. Who is not pinned ran where the CPUs of
/// its mask were busy with nothing else. Niced work counts by what it keeps beside guests, unless one of those is niced itself.
pub(super) fn fixed(
    before: &Snapshot,
    after: &Snapshot,
    took: Duration,
    did: &BTreeMap<VcpuId, Did>,
    planned: &BTreeSet<VcpuId>,
) -> BTreeMap<u32, Option<f64>> {
    let mut rest = busy(before, after, took, |snapshot| &snapshot.busy);
    let mut niced = busy(before, after, took, |snapshot| &snapshot.niced);
    let ran = vcpus(after).filter_map(|(id, guest, vcpu)| {
        Some((did.get(&id)?, guest.niced, vcpu, planned.contains(&id)))
    });
    let (pinned, free): (Vec<_>, Vec<_>) = ran.partition(|(_, _, vcpu, _)| vcpu.mask.len() == 1);
    let free = free.into_iter().filter(|(.., is_planned)| *is_planned);
    for (did, is_niced, vcpu, _) in pinned.iter().copied().chain(free) {
        let of_mask = vcpu
            .mask
            .iter()
            .filter_map(|cpu| rest.get(cpu).copied().flatten());
        let all: f64 = of_mask.sum();
        let left = if all > 0.0 {
            (1.0 - did.run / all).max(0.0)
        } else {
            0.0
        };
        for cpu in &vcpu.mask {
            if let Some(Some(busy)) = rest.get_mut(cpu) {
                if let Some(Some(niced)) = niced.get_mut(cpu).filter(|_| is_niced) {
                    *niced -= *busy * (1.0 - left);
                }
                *busy *= left;
            }
        }
    }
    let yields = vcpus(after).all(|(id, guest, _)| !guest.niced || !planned.contains(&id));
    for (cpu, niced) in niced.into_iter().filter(|_| yields) {
        if let (Some(niced), Some(Some(busy))) = (niced, rest.get_mut(&cpu)) {
            *busy -= niced.clamp(0.0, *busy) * (1.0 - KEEPS);
        }
    }
    for (did, _, vcpu, _) in pinned.iter().filter(|(.., is_planned)| !is_planned) {
        for cpu in &vcpu.mask {
            if let Some(Some(busy)) = rest.get_mut(cpu) {
                *busy += did.demand(100.0 * mean_capacity(after, &vcpu.mask));
            }
        }
    }
    rest
}

/// How busy each CPU was by these times, in percent of one of full speed.
fn busy(
    before: &Snapshot,
    after: &Snapshot,
    took: Duration,
    times: fn(&Snapshot) -> &[Option<Duration>],
) -> BTreeMap<u32, Option<f64>> {
    let each = after.cpus.iter().enumerate().map(|(at, cpu)| {
        let is_same = before.cpus.get(at).is_some_and(|old| old.id == cpu.id);
        let old = times(before).get(at).copied().flatten().filter(|_| is_same);
        let busy = percent(old, times(after).get(at).copied().flatten(), took);
        (
            cpu.id,
            busy.map(|busy| busy.min(100.0) * capacity(cpu.capacity)),
        )
    });
    each.collect()
}
