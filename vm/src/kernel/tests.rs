//! Texts of /proc and /sys as kernels wrote them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::topology::{Cpu, Cpus};

fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

const PROCESS: Process = Process {
    pid: 42,
    began: Duration::from_millis(12_340),
};

#[test]
fn cpus_have_cores_nodes_and_capacities() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let cpu = "sys/devices/system/cpu";
    write(
        root,
        &[
            (&format!("{cpu}/present"), "0-4\n"),
            (&format!("{cpu}/online"), "0-3\n"),
            (&format!("{cpu}/isolated"), "3\n"),
            (&format!("{cpu}/cpu0/topology/thread_siblings_list"), "0,2"),
            (&format!("{cpu}/cpu2/topology/thread_siblings_list"), "0,2"),
            (&format!("{cpu}/cpu1/topology/thread_siblings_list"), "1,3"),
            (&format!("{cpu}/cpu3/topology/thread_siblings_list"), "1,3"),
            ("sys/devices/system/node/online", "0-1\n"),
            ("sys/devices/system/node/node0/cpulist", "0,2\n"),
            ("sys/devices/system/node/node1/cpulist", "1,3\n"),
        ],
    );
    for (number, khz) in [
        (0, "4000000"),
        (1, "2000000"),
        (2, "4000000"),
        (3, "2000000"),
    ] {
        let path = format!("{cpu}/cpu{number}/cpufreq/cpuinfo_max_freq");
        write(root, &[(&path, khz)]);
    }
    let mut kernel = Kernel::new(root);
    let cpus = kernel.cpus().unwrap();
    let told: Vec<_> = cpus
        .iter()
        .map(|cpu| (cpu.id, cpu.core, cpu.node, cpu.capacity, cpu.is_usable()))
        .collect();
    assert_eq!(
        told,
        [
            (0, 0, 0, 1024, true),
            (1, 1, 1, 512, true),
            (2, 0, 0, 1024, true),
            (3, 1, 1, 512, false),
            (4, 4, 0, 1024, false),
        ]
    );
    // What the kernel itself says counts more, and is read again when a CPU comes.
    for number in 0..5 {
        write(
            root,
            &[(&format!("{cpu}/cpu{number}/cpu_capacity"), "768\n")],
        );
    }
    assert_eq!(kernel.cpus().unwrap(), cpus);
    write(root, &[(&format!("{cpu}/online"), "0-4\n")]);
    assert!(
        kernel
            .cpus()
            .unwrap()
            .iter()
            .all(|cpu| cpu.capacity == 1024 && cpu.online)
    );
    write(root, &[(&format!("{cpu}/online"), "\n")]);
    let error = kernel.cpus().unwrap_err().to_string();
    assert!(error.contains("cpu/online"), "{error}");
}

#[test]
fn busy_is_neither_idle_nor_stolen() {
    let directory = tempfile::tempdir().unwrap();
    let stat = "cpu  9 9 9 9 9 9 9 9 9 9\n\
                cpu0 100 20 3 70000 5000 40 600 999 50 0\n\
                cpu2 1 0 0 9 9\n\
                intr 1 2 3\n";
    write(directory.path(), &[("proc/stat", stat)]);
    let cpus = [Cpu::plain(0), Cpu::plain(1), Cpu::plain(2)];
    let [busy, niced] = Kernel::new(directory.path()).busy_and_niced(&cpus);
    assert_eq!(busy, [Some(Duration::from_millis(7630)), None, None]);
    assert_eq!(niced, [Some(Duration::from_millis(200)), None, None]);
}

#[test]
fn a_process_is_its_number_and_its_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let fields: Vec<String> = (3..53).map(|field| format!("{}", field * 10)).collect();
    let fields = fields.join(" ").replacen(" 220 ", " 1234 ", 1);
    write(
        directory.path(),
        &[
            ("proc/42/stat", &format!("42 (a) b) {fields}\n")),
            ("proc/42/status", "Name:\tqemu\nVmRSS:\t    2048 kB\n"),
            ("proc/42/cmdline", "qemu\0-uuid\0abc\0-name\0guest=x"),
        ],
    );
    let kernel = Kernel::new(directory.path());
    assert_eq!(kernel.process(42), Some(PROCESS));
    assert_eq!(kernel.process(43), None);
    let stat = kernel.stat(42).unwrap();
    assert!(stat.is_niced);
    assert_eq!(stat.threads, 200);
    assert_eq!(kernel.rss(PROCESS), Some(2.0));
    assert!(kernel.started_for(42).is("abc", "y"));
    assert!(!kernel.started_for(43).is("abc", "x"));
    assert_eq!(kernel.pids(), [42]);
    assert_eq!(PROCESS.to_be_owned().began, 1234);
}

#[test]
fn vcpus_are_the_threads_that_are_called_so() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let status = "Name:\tCPU 1/KVM\nCpus_allowed:\tf\nCpus_allowed_list:\t0-2,5\n";
    for (tid, comm) in [
        (42, "qemu-system-x86"),
        (43, "CPU 1/KVM"),
        (44, "CPU 0/TCG"),
        (45, "CPU x/KVM"),
        (46, "CPU 12345/HVF"),
    ] {
        let task = format!("proc/42/task/{tid}");
        write(
            root,
            &[
                (&format!("{task}/comm"), &format!("{comm}\n")),
                (&format!("{task}/status"), status),
            ],
        );
    }
    write(
        root,
        &[("proc/42/task/43/schedstat", "5000000000 7000000 99\n")],
    );
    let kernel = Kernel::new(root);
    let mut threads = Threads::default();
    let seen = threads.read(&kernel, PROCESS, 0);
    let [zero, one] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!((zero.tid, zero.vcpu, zero.run), (44, 0, None));
    assert_eq!((one.tid, one.vcpu), (43, 1));
    assert_eq!(one.run, Some(Duration::from_secs(5)));
    assert_eq!(one.wait, Some(Duration::from_millis(7)));
    assert_eq!(one.mask, Cpus::from([0, 1, 2, 5]));
    // As long as there are as many of them, they are not looked for again and again, but for who has no name yet.
    let mut few = Threads::default();
    let name = |tid: u32, name: &str| {
        let task = format!("proc/42/task/{tid}");
        write(
            root,
            &[
                (&format!("{task}/comm"), name),
                (&format!("{task}/status"), status),
            ],
        );
    };
    assert_eq!(few.read(&kernel, PROCESS, 5).len(), 2);
    name(47, "CPU 2/TCG");
    assert_eq!(few.read(&kernel, PROCESS, 5).len(), 3);
    name(48, "CPU 3/TCG");
    assert_eq!(few.read(&kernel, PROCESS, 5).len(), 3);
    assert_eq!(few.read(&kernel, PROCESS, 6).len(), 4);
    for tid in [47, 48] {
        fs::remove_dir_all(root.join(format!("proc/42/task/{tid}"))).unwrap();
    }
    assert_eq!(few.read(&kernel, PROCESS, 6).len(), 2);
    fs::remove_dir_all(root.join("proc/42/task/43")).unwrap();
    assert_eq!(threads.read(&kernel, PROCESS, 0).len(), 1);
}

#[test]
fn the_group_of_a_guest_says_where_it_may_run_and_not_those_below_by_which_it_is_pinned() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let guest = "sys/fs/cgroup/machine.slice/vm.scope";
    write(
        root,
        &[
            (
                "proc/42/cgroup",
                "0::/machine.slice/vm.scope/libvirt/emulator\n",
            ),
            (
                &format!("{guest}/libvirt/emulator/cpuset.cpus.effective"),
                "0\n",
            ),
            (&format!("{guest}/cpuset.cpus.effective"), "1-3\n"),
        ],
    );
    let kernel = Kernel::new(root);
    assert_eq!(
        kernel
            .cpuset(PROCESS)
            .and_then(|mut cpuset| kernel.allowed(&mut cpuset)),
        Some(Cpus::from([1, 2, 3]))
    );
    write(root, &[("proc/42/cgroup", "0::/../../x\n")]);
    assert_eq!(
        kernel
            .cpuset(PROCESS)
            .and_then(|mut cpuset| kernel.allowed(&mut cpuset)),
        None
    );
    write(root, &[("proc/42/cgroup", "1:cpuset:/x\n")]);
    assert_eq!(
        kernel
            .cpuset(PROCESS)
            .and_then(|mut cpuset| kernel.allowed(&mut cpuset)),
        None
    );
}

#[test]
fn home_is_where_most_pages_are() {
    let directory = tempfile::tempdir().unwrap();
    let maps = |text: &str| write(directory.path(), &[("proc/42/numa_maps", text)]);
    let kernel = Kernel::new(directory.path());
    // A huge page counts for what it holds.
    maps(
        "7f default anon=9 N0=600 kernelpagesize_kB=4\n\
         80 default huge anon=2 N1=2 kernelpagesize_kB=2048\n",
    );
    assert_eq!(kernel.home(PROCESS), Some(1));
    maps("7f default anon=9 N0=5 N1=5 kernelpagesize_kB=4\n");
    assert_eq!(kernel.home(PROCESS), None);
    maps("7f default\n");
    assert_eq!(kernel.home(PROCESS), None);
}

#[test]
fn what_is_available_is_told_in_kib() {
    let directory = tempfile::tempdir().unwrap();
    let text = "MemTotal: 1 kB\nMemAvailable:    524288 kB\n";
    write(directory.path(), &[("proc/meminfo", text)]);
    assert_eq!(Kernel::new(directory.path()).available(), Some(512.0));
}
