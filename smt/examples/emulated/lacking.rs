//! What keeps groups from being observed or placed on a machine: each command that looks at it says so in one line, and changes
//! nothing. What the service does on such machines is tested with its own code (`smt/src/daemon/tests.rs`).

use std::any::Any;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::PROGRAM;
use crate::pretended::Pretended;
use crate::work::Offline;

const STATE: &str = "/tmp/lacking";
const RUN: &str = "/run/lacking";
const NOBODY: u32 = 65_534;
const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";
/// What podman leaves in a container.
const MARK: &str = "/run/.containerenv";

const COMMANDS: [&[&str]; 7] = [
    &["status"],
    &["observe", "--for", "1s"],
    &["plan", "--for", "1s"],
    &["profile", "nobody", "--for", "1s"],
    &["profile", "nobody", "--for", "1s", "--inject"],
    &["profile", "nobody", "--for", "1s", "--inject", "--dry-run"],
    &["doctor"],
];

/// A machine that lacks something until this is dropped.
struct Lacking {
    says: &'static str,
    user: u32,
    _made: Box<dyn Any>,
}

/// A file that is there until this is dropped.
struct Marked;

impl Drop for Marked {
    fn drop(&mut self) {
        // The next test will tell if it is left.
        let _ = fs::remove_file(MARK);
    }
}

pub(crate) fn what_the_machine_lacks_each_command_says_in_one_line() -> anyhow::Result<()> {
    fs::create_dir_all("/run")?;
    for machine in [
        without_smt,
        without_counters,
        in_a_container,
        beside_a_scheduler,
    ] {
        let lacking = machine()?;
        for arguments in COMMANDS {
            one(&lacking, arguments).with_context(|| format!("{arguments:?}: {}", lacking.says))?;
        }
    }
    Ok(())
}

fn one(lacking: &Lacking, arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(PROGRAM);
    command
        .args(["--state", STATE, "--run", RUN])
        .args(arguments);
    let output = command.uid(lacking.user).output().context(PROGRAM)?;
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8(said)?;
    let lines = said.lines().filter(|line| line.contains(lacking.says));
    ensure!(lines.count() == 1, "{said}");
    if arguments.contains(&"--inject") {
        ensure!(output.status.code() == Some(1), "{:?}", output.status);
        ensure!(said.lines().count() == 1, "{said}");
    }
    ensure!(!Path::new(STATE).exists() && !Path::new(RUN).exists());
    Ok(())
}

fn without_smt() -> anyhow::Result<Lacking> {
    Ok(Lacking {
        says: "no core has two hardware threads",
        user: 0,
        _made: Box::new(Offline::switch(vec![1, 3])?),
    })
}

/// For whoever may not count there are none.
fn without_counters() -> anyhow::Result<Lacking> {
    fs::write(PARANOID, "3")?;
    Ok(Lacking {
        says: "instructions per cycle: unavailable: not permitted",
        user: NOBODY,
        _made: Box::new(()),
    })
}

fn in_a_container() -> anyhow::Result<Lacking> {
    fs::write(MARK, "").context(MARK)?;
    Ok(Lacking {
        says: "this is a container",
        user: 0,
        _made: Box::new(Marked),
    })
}

fn beside_a_scheduler() -> anyhow::Result<Lacking> {
    Ok(Lacking {
        says: "a sched_ext scheduler (bpfland_1.1) runs",
        user: 0,
        _made: Box::new(Pretended::scheduler("bpfland_1.1")?),
    })
}
