//! Where a group was placed, when somebody changes the CPUs of its cgroup. Until Linux 6.2 the kernel forgets masks then, and since
//! then it takes them up again when the CPUs are back: either may leave a thread where nobody wants it any more.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, ensure};
use auto_ext_service::cpu_list::{self, Cpus};
use auto_ext_smt::affinity::{DIRECTORY, Ledger, Standing, System, check, pin, restore};
use auto_ext_smt::groups::Key;
use nix::sys::utsname::uname;

use crate::root;
use crate::work::{start, succeeded};

const CONTROLLERS: &str = "/sys/fs/cgroup/cgroup.subtree_control";
const CGROUP: &str = "/sys/fs/cgroup/group";
const ALL: &str = "0-3";
/// A core.
const PLACED: &str = "0-1";

/// What somebody does, and where threads may run by then that were placed before.
struct Case {
    cpusets: &'static [&'static str],
    /// Where the kernel forgets masks.
    forgotten: &'static str,
    /// Where it keeps them.
    kept: &'static str,
    /// Whether these are still where they were placed, as far as the cgroup lets them.
    stands: bool,
}

const CASES: [Case; 3] = [
    Case {
        cpusets: &["0,2-3"],
        forgotten: "0,2-3",
        kept: "0",
        stands: true,
    },
    Case {
        cpusets: &["0,2-3", ALL],
        forgotten: ALL,
        kept: PLACED,
        stands: true,
    },
    Case {
        cpusets: &["2-3"],
        forgotten: "2-3",
        kept: "2-3",
        stands: false,
    },
];

pub(crate) fn no_mask_outlives_a_change_of_the_cpuset() -> anyhow::Result<()> {
    fs::write(CONTROLLERS, "+cpuset").context(CONTROLLERS)?;
    fs::create_dir(CGROUP).context(CGROUP)?;
    let (mut ends, mut end) = std::io::pipe()?;
    let child = start(|| {
        let other = std::thread::spawn(move || ends.read_exact(&mut [0]));
        other.join().expect("it does not panic").context("the pipe")
    })?;
    let pid = u32::try_from(child.as_raw())?;
    fs::write(Path::new(CGROUP).join("cgroup.procs"), pid.to_string())?;
    while threads(pid)?.len() < 2 {
        std::thread::yield_now();
    }
    for case in &CASES {
        one(case, pid).with_context(|| format!("{:?}", case.cpusets))?;
    }
    end.write_all(&[0])?;
    succeeded(child)?;
    fs::remove_dir(CGROUP).context(CGROUP)
}

fn one(case: &Case, pid: u32) -> anyhow::Result<()> {
    let (group, placed) = (Key::Cgroup("/group".to_owned()), cpu_list::parse(PLACED)?);
    let mut ledger = Ledger::open(Path::new(DIRECTORY))?;
    let pinned = pin(root(), &mut ledger, &mut System, &group, &[pid], &placed, 2)?;
    ensure!(pinned == 2, "{pinned} threads are placed");
    all_run_on(pid, PLACED)?;
    let standing = check(root(), &ledger, &group, &[pid], &placed)?;
    ensure!(standing == Standing::default(), "{standing:?}");

    for cpus in case.cpusets {
        set_cpuset(cpus)?;
    }
    let forgets = uname()?.release().to_string_lossy().starts_with("6.1.");
    let by_now = if forgets { case.forgotten } else { case.kept };
    all_run_on(pid, by_now).context("before it is undone")?;
    let standing = check(root(), &ledger, &group, &[pid], &placed)?;
    let stands = case.stands && !forgets;
    ensure!(standing.foreign.is_none() == stands, "{standing:?}");

    let restored = restore(root(), &ledger, &mut System);
    ensure!(restored.restored == threads(pid)?, "{restored:?}");
    ledger.close()?;
    all_run_on(pid, case.cpusets.last().context("a cpuset")?).context("undone")?;
    set_cpuset(ALL)?;
    all_run_on(pid, ALL).context("with all CPUs again")
}

fn set_cpuset(cpus: &str) -> anyhow::Result<()> {
    let file = Path::new(CGROUP).join("cpuset.cpus");
    fs::write(&file, cpus).with_context(|| format!("{cpus} into {}", file.display()))
}

fn threads(pid: u32) -> anyhow::Result<BTreeSet<u32>> {
    let mut tids = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        tids.insert(entry?.file_name().to_string_lossy().parse()?);
    }
    Ok(tids)
}

fn all_run_on(pid: u32, cpus: &str) -> anyhow::Result<()> {
    for tid in threads(pid)? {
        let status = fs::read_to_string(format!("/proc/{pid}/task/{tid}/status"))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let allowed: Cpus = cpu_list::parse(line.context("Cpus_allowed_list")?)?;
        ensure!(
            allowed == cpu_list::parse(cpus)?,
            "thread {tid} on {allowed:?} instead of {cpus}"
        );
    }
    Ok(())
}
