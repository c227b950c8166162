//! From a placement to the CPUs of each group: all hardware threads of its cores. The kernel may still move its workers among
//! them, and nobody has to wait for a CPU that one thread of the kernel has.

use crate::topology::Core;
use auto_ext_service::cpu_list::Cpus;

use super::place::Placement;

/// The CPUs of each of so many groups. `cores` are the machine's, in the placement's order.
///
/// As every worker has a hardware thread of its own in the placement, no two need share a CPU.
#[must_use]
pub fn masks(placement: &Placement, cores: &[Core], groups: usize) -> Vec<Cpus> {
    let mut masks = vec![Cpus::new(); groups];
    for (slots, core) in placement.cores.iter().zip(cores) {
        for group in slots.iter().flatten() {
            if let Some(mask) = masks.get_mut(*group) {
                mask.extend(&core.cpus);
            }
        }
    }
    masks
}
