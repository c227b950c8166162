//! Groups of processes that are written into a directory as /proc has them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use glob::Pattern;
use tempfile::TempDir;

use super::process::{TooMany, threads};
use super::*;
use crate::topology::Topology;
use auto_ext_service::bounded_file::Root;

const HOUR: u64 = 3600;
/// Ticks of a second.
const TICKS: u64 = 100;

/// A machine with two cores of two threads each, of which the second begins with CPU 1.
struct Machine {
    root: TempDir,
}

/// A process that is to be shown.
#[derive(Clone, Copy)]
struct Shown<'a> {
    pid: u32,
    group: u32,
    began: u64,
    used: u64,
    cgroup: &'a str,
    program: &'a str,
    allowed: &'a str,
    policy: u32,
    flags: u32,
    threads: u32,
}

const NGINX: Shown<'static> = Shown {
    pid: 10,
    group: 10,
    began: 100,
    used: 1000,
    cgroup: "/system.slice/nginx.service",
    program: "/usr/sbin/nginx",
    allowed: "0-7",
    policy: 0,
    flags: 0,
    threads: 1,
};

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let machine = Self { root };
        machine.write("sys/devices/system/cpu/online", "0-3");
        for cpu in 0..4 {
            let file = format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
            let first = cpu % 2;
            machine.write(&file, &format!("{first},{}", first + 2));
        }
        machine
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn show(&self, shown: Shown<'_>) {
        let Shown { pid, policy, .. } = shown;
        let mut line = format!("{pid} (a (b) c) S 1 {} 1 0 -1 {}", shown.group, shown.flags);
        write!(
            line,
            " 0 0 0 0 {} 0 0 0 20 0 1 0 {}",
            shown.used, shown.began
        )
        .unwrap();
        write!(line, "{} 3 0 {policy} 0 0 0", " 0".repeat(16)).unwrap();
        self.write(&format!("proc/{pid}/stat"), &line);
        self.write(
            &format!("proc/{pid}/cgroup"),
            &format!("1:cpu:/x\n0::{}\n", shown.cgroup),
        );
        let exe = self.root.path().join(format!("proc/{pid}/exe"));
        drop(fs::remove_file(&exe));
        std::os::unix::fs::symlink(shown.program, exe).unwrap();
        for thread in 0..shown.threads {
            let task = format!("proc/{pid}/task/{}", pid + thread);
            self.write(&format!("{task}/stat"), &line);
            let status = format!("Name:\ta\nCpus_allowed_list:\t{}\n", shown.allowed);
            self.write(&format!("{task}/status"), &status);
        }
    }

    fn look(&self, at: u64) -> Processes {
        Processes::read(self.root.path(), at * TICKS)
    }

    /// The groups after five minutes in which a process used CPU time, in seconds.
    fn after(&self, shown: Shown<'_>, seconds: u64, rules: &Rules) -> Vec<Group> {
        self.show(shown);
        let before = self.look(2 * HOUR);
        let used = shown.used + seconds * TICKS;
        self.show(Shown { used, ..shown });
        let now = self.look(2 * HOUR + 300);
        let topology = Topology::read(self.root.path()).unwrap();
        groups(self.root.path(), &topology, rules, &before, &now)
    }

    /// Why such a process, which is busy, is left alone.
    fn judge(shown: Shown<'_>) -> Result<(), NotEligible> {
        let groups = Self::new().after(shown, 300, &rules());
        let [group] = &groups[..] else {
            panic!("{groups:?}");
        };
        group.eligible.clone()
    }
}

fn rules() -> Rules {
    Rules {
        group_by: GroupBy::Cgroup,
        long_running: HOUR,
        exclude: vec![Pattern::new("backup*").unwrap()],
        ticks: TICKS,
    }
}

#[test]
fn a_service_is_a_group_with_as_many_workers_as_it_keeps_cpus_busy() {
    let machine = Machine::new();
    let helper = Shown {
        pid: 20,
        began: 200,
        used: 0,
        ..NGINX
    };
    machine.show(helper);
    let groups = machine.after(NGINX, 450, &rules());
    let [group] = &groups[..] else {
        panic!("{groups:?}");
    };
    assert_eq!(group.job, "nginx.service");
    assert_eq!(group.pids, [10, 20]);
    assert_eq!((group.busy, group.workers), (1.5, 2));
    assert_eq!(group.eligible, Ok(()));
    assert_eq!(group.home, Some(0));
}

#[test]
fn process_groups_of_a_session_are_called_after_their_programs() {
    let machine = Machine::new();
    let shown = Shown {
        cgroup: "/user.slice/user-0.slice/session-1.scope",
        program: "/usr/bin/ffmpeg (deleted)",
        group: 7,
        ..NGINX
    };
    let by_group = Rules {
        group_by: GroupBy::ProcessGroup,
        ..rules()
    };
    let groups = machine.after(shown, 300, &by_group);
    assert_eq!(groups[0].key, Key::ProcessGroup(7));
    assert_eq!(groups[0].job, "/usr/bin/ffmpeg");
}

#[test]
fn who_runs_shortly_hardly_or_by_rules_of_its_own_is_left_alone() {
    let judge = Machine::judge;
    let young = Shown {
        began: (HOUR + 400) * TICKS,
        ..NGINX
    };
    assert_eq!(judge(NGINX), Ok(()));
    assert_eq!(
        judge(Shown {
            began: (2 * HOUR - 60) * TICKS,
            ..young
        }),
        Err(NotEligible::Young(360))
    );
    let idle = &Machine::new().after(NGINX, 60, &rules())[0]
        .eligible
        .clone();
    assert_eq!(*idle, Err(NotEligible::Idle(0.2)));
    let named = |cgroup, program| {
        judge(Shown {
            cgroup,
            program,
            ..NGINX
        })
    };
    assert_eq!(
        named("/system.slice/backup.service", "/bin/x"),
        Err(NotEligible::Excluded)
    );
    assert_eq!(
        named("/a.scope", "/usr/bin/qemu-system-x86_64"),
        Err(NotEligible::Hypervisor)
    );
    assert_eq!(
        named("/machine.slice/vm.scope", "/bin/x"),
        Err(NotEligible::Hypervisor)
    );
    assert_eq!(
        named("/system.slice/auto-ext.service", "/bin/x"),
        Err(NotEligible::Own)
    );
    assert_eq!(named("/a.scope", "/usr/bin/firecracker-tools"), Ok(()));
}

#[test]
fn who_was_placed_by_somebody_else_is_left_alone() {
    let judge = Machine::judge;
    let fifo = Shown { policy: 1, ..NGINX };
    assert_eq!(judge(fifo), Err(NotEligible::Policy { tid: 10, policy: 1 }));
    let fixed = Shown {
        flags: 0x0400_0000,
        ..NGINX
    };
    assert_eq!(judge(fixed), Err(NotEligible::Fixed(10)));
    let pinned = Shown {
        allowed: "0-2",
        ..NGINX
    };
    assert_eq!(judge(pinned), Err(NotEligible::Pinned(10)));
    let garbled = Shown {
        allowed: "all",
        ..NGINX
    };
    assert_eq!(judge(garbled), Err(NotEligible::Pinned(10)));
    // The mask of one that was never pinned is exactly what is online, or more.
    assert_eq!(
        judge(Shown {
            allowed: "0-3",
            ..NGINX
        }),
        Ok(())
    );
}

#[test]
fn a_cgroup_that_has_not_the_whole_machine_is_left_alone() {
    let machine = Machine::new();
    let file = "sys/fs/cgroup/system.slice/cpuset.cpus.effective";
    machine.write(file, "0-3\n");
    let eligible = |machine: &Machine| machine.after(NGINX, 300, &rules())[0].eligible.clone();
    assert_eq!(eligible(&machine), Ok(()));
    machine.write(file, "0-1\n");
    assert_eq!(eligible(&machine), Err(NotEligible::Confined));
}

#[test]
fn no_more_threads_are_looked_at_than_may_be() {
    let machine = Machine::new();
    machine.show(Shown {
        threads: 3,
        ..NGINX
    });
    let root = Root::new(machine.root.path());
    assert_eq!(threads(&root, &[10], 3).unwrap().len(), 3);
    assert_eq!(threads(&root, &[10], 2), Err(TooMany));
}

#[test]
fn threads_of_the_kernel_are_no_groups_and_a_number_that_began_anew_is_another_process() {
    let machine = Machine::new();
    machine.show(Shown {
        pid: 2,
        flags: 0x0020_0000,
        ..NGINX
    });
    machine.show(NGINX);
    let before = machine.look(2 * HOUR);
    assert_eq!(before.all.keys().copied().collect::<Vec<_>>(), [10]);
    // Of a process that took over a number, all of its own time counts.
    machine.show(Shown {
        began: 500,
        used: 30_000,
        ..NGINX
    });
    let now = machine.look(2 * HOUR + 300);
    let topology = Topology::read(machine.root.path()).unwrap();
    let groups = groups(machine.root.path(), &topology, &rules(), &before, &now);
    assert_eq!(groups[0].busy, 1.0);
}

#[test]
fn nothing_to_read_is_no_group() {
    let processes = Processes::read(Path::new("/nonexistent"), 0);
    assert!(processes.all.is_empty());
}
