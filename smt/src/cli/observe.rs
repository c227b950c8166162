//! `auto-ext-smt observe`: the groups that run, how busy each is, how fast it runs, whether it may be placed.

use std::io::Write;
use std::path::Path;

use anyhow::Result;

use crate::groups::Group;
use crate::plan::Room;
use crate::topology::Topology;

use super::look::{Look, ROOT, look, shown, topology};
use super::missing::{Means, NO_SMT};
use super::speeds::{Speeds, count};

/// Prints them, the busiest first.
pub(super) fn observe(arguments: &Look, out: &mut dyn Write) -> Result<()> {
    let topology = topology()?;
    if topology.cores() == 0 {
        writeln!(out, "{NO_SMT}")?;
        return Ok(());
    }
    let means = Means::find(&topology);
    if let Some(missing) = means.missing() {
        writeln!(out, "{missing}")?;
    }
    let groups = look(arguments, &topology)?;
    let speeds = match means.pmu {
        Ok(()) => count(Path::new(ROOT), &groups, arguments.time()),
        Err(_) => Speeds::new(),
    };
    show(&topology, groups, &speeds, out)
}

/// Shows the domains, the groups, and where there is anything to choose.
fn show(
    topology: &Topology,
    mut groups: Vec<Group>,
    speeds: &Speeds,
    out: &mut dyn Write,
) -> Result<()> {
    for domain in &topology.domains {
        let approximate = if domain.is_approximate() {
            "; more than two threads a core: scores are approximate"
        } else {
            ""
        };
        writeln!(
            out,
            "{}: {} cores, {} CPUs{approximate}",
            domain.place,
            domain.cores.len(),
            domain.cpus()
        )?;
    }
    groups.sort_by(|one, other| other.busy.total_cmp(&one.busy));
    writeln!(
        out,
        "{:>6} {:>7} {:>6}  {:<32} may be placed",
        "busy", "workers", "IPC", "job"
    )?;
    for group in groups
        .iter()
        .filter(|group| group.eligible.is_ok() || group.busy >= 0.01)
    {
        let mut may = match &group.eligible {
            Ok(()) => "yes".to_owned(),
            Err(why) => format!("no: {why}"),
        };
        let speed = match speeds.get(&group.key) {
            Some(Ok(speed)) => format!("{speed:.2}"),
            Some(Err(why)) => {
                may.push_str(&format!("; not counted: {why}"));
                "-".to_owned()
            }
            None => "-".to_owned(),
        };
        writeln!(
            out,
            "{:>6.2} {:>7} {speed:>6}  {:<32} {may}",
            group.busy,
            group.workers,
            shown(&group.job)
        )?;
    }
    for (at, domain) in topology.domains.iter().enumerate() {
        let here = groups
            .iter()
            .filter(|group| group.eligible.is_ok() && group.home == Some(at));
        let workers: Vec<u32> = here.map(|group| group.workers).collect();
        let threads: Vec<usize> = domain.cores.iter().map(|core| core.cpus.len()).collect();
        let room = match Room::of(&workers, &threads) {
            Room::TooFew => "each worker can have a core for itself: nothing to choose",
            Room::Open => "some have to share a core: see `auto-ext-smt plan`",
            Room::TooMany => "more workers than CPUs: nothing to choose",
        };
        writeln!(out, "{}: {room}", domain.place)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::groups::{Key, NotEligible};
    use crate::topology::{Core, Domain, Place};

    use super::*;

    #[test]
    fn each_group_is_shown_with_what_speaks_against_placing_it() {
        let core = |cpus: [u32; 2]| Core { cpus: cpus.into() };
        let place = Place {
            package: Some(0),
            node: None,
        };
        let topology = Topology {
            online: (0..4).collect(),
            isolated: [].into(),
            domains: vec![Domain {
                place,
                cores: vec![core([0, 2]), core([1, 3])],
            }],
        };
        let group = |job: &str, busy, workers, eligible| Group {
            key: Key::Cgroup(job.to_owned()),
            job: job.to_owned(),
            pids: vec![1],
            busy,
            workers,
            home: Some(0),
            eligible,
        };
        let groups = vec![
            group("idle.service", 0.0, 1, Err(NotEligible::Idle(0.0))),
            group("db.service", 1.2, 1, Ok(())),
            group("web.service", 2.1, 2, Ok(())),
            group("vm", 3.0, 3, Err(NotEligible::Hypervisor)),
        ];
        let mut out = Vec::new();
        let speeds = Speeds::from([
            (Key::Cgroup("web.service".to_owned()), Ok(1.234)),
            (
                Key::Cgroup("db.service".to_owned()),
                Err("it hardly ran".to_owned()),
            ),
        ]);
        show(&topology, groups, &speeds, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let expected = "\
package 0: 2 cores, 4 CPUs
  busy workers    IPC  job                              may be placed
  3.00       3      -  vm                               no: a virtual machine
  2.10       2   1.23  web.service                      yes
  1.20       1      -  db.service                       yes; not counted: it hardly ran
package 0: some have to share a core: see `auto-ext-smt plan`
";
        assert_eq!(text, expected);
    }
}
