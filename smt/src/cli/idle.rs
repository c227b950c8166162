//! Which core is idle, by looking for a second.

use std::path::Path;
use std::thread;
use std::time::Duration;

use auto_ext_service::cpu_list::Cpus;

use crate::profile::Seats;
use crate::topology::{Core, Domain};
use crate::usage::{Occupancy, Occupied};

use super::look::ROOT;

const TIME: Duration = Duration::from_secs(1);
/// What is busy for less than this part of the time is idle.
const BUSY: f64 = 0.05;

/// Two hardware threads of a core that is idle and that is none of these seats'.
pub(super) fn idle_core(domain: &Domain, seats: &Seats) -> Option<[u32; 2]> {
    let root = Path::new(ROOT);
    let before = Occupancy::read(root, [].into_iter());
    thread::sleep(TIME);
    let now = Occupancy::read(root, [].into_iter());
    let taken = &seats.workload | &seats.siblings;
    find(&domain.cores, &taken, &now.since(&before))
}

fn find(cores: &[Core], taken: &Cpus, times: &Occupied) -> Option<[u32; 2]> {
    let is_idle = |cpu: &u32| {
        let busy = times.cpus.get(cpu).and_then(|time| time.busy_part());
        busy.is_some_and(|busy| busy < BUSY)
    };
    let mut free = cores.iter().filter(|core| core.cpus.is_disjoint(taken));
    let core = free.find(|core| core.cpus.iter().all(is_idle))?;
    let mut cpus = core.cpus.iter().copied();
    Some([cpus.next()?, cpus.next()?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::CpuTime;

    #[test]
    fn a_core_is_idle_on_which_nothing_runs_and_that_nobody_has() {
        let core = |first: u32| Core {
            cpus: [first, first + 4].into(),
        };
        let cores: Vec<Core> = (0..4).map(core).collect();
        let cpu = |cpu: u32| {
            let busy = if cpu == 5 { 50 } else { 1 };
            let idle = 100 - busy;
            (cpu, CpuTime { busy, idle })
        };
        let times = |count: u32| Occupied {
            cpus: (0..count).map(cpu).collect(),
            groups: [].into(),
        };
        let taken = Cpus::from([0, 4]);
        assert_eq!(find(&cores, &taken, &times(8)), Some([2, 6]));
        assert_eq!(find(&cores[..2], &taken, &times(8)), None);
        assert_eq!(
            find(&cores, &taken, &times(4)),
            None,
            "nothing is known of it"
        );
    }
}
