//! Whose a scheduler is does not depend on what its file is called, and whoever has no scheduler in the kernel is not taken
//! for one who has.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context as _, ensure};

use crate::pinning::{self, start_bpfland};
use crate::service::{self, Bus};
use crate::{broken, kernel, wait};

const SELF: &str = "/usr/libexec/auto-ext/system-tests";
/// Where schedulers may write.
const STATUS: &str = "/run/scx/status-of-cosmos";
/// Where it is looked for schedulers.
const CAKE: &str = "/usr/local/sbin/scx_cake";

pub(super) fn a_scheduler_may_be_a_link_a_copy_or_a_script_and_be_known_to_nobody()
-> anyhow::Result<()> {
    let copy = broken::copied_cosmos("scx_cosmos-git")?;
    let link = Path::new(&copy).with_file_name("scx_fast");
    let _ = fs::remove_file(&link);
    symlink("/usr/bin/scx_cosmos", &link)?;
    let exec = broken::script(
        "my_sched_1.0",
        "#!/bin/sh\nexec /usr/bin/scx_cosmos \"$@\"\n",
    )?;
    // The first shell does not wait once it is told to leave; the second says how the scheduler left.
    let shell = broken::script(
        "shells",
        &format!(
            "#!/bin/sh\nbash -c 'trap : INT; /usr/bin/scx_cosmos; echo $? >{STATUS}; true'\nexit $?\n"
        ),
    )?;
    let link = link.display();
    let bus = pinning::start_with(&format!(
        "link: {{command: {link}}}, copy: {{command: {copy}}}, exec: {{command: {exec}}}, shell: {{command: {shell}}}"
    ))?;
    fs::copy("/usr/bin/scx_cosmos", CAKE)?;
    let result = (|| {
        let listed = service::say("auto-ext schedulers")?;
        ensure!(listed.contains("scx_cake"), "{listed}");
        for name in ["link", "copy", "exec", "scx_cake", "shell"] {
            pin_cosmos(&bus, name).with_context(|| name.to_owned())?;
        }
        comes_back_with_the_cpus(&bus).context("the last one")?;
        let _ = fs::remove_file(STATUS);
        service::say("auto-ext pin kernel")?;
        let status = fs::read_to_string(STATUS).context("it was killed")?;
        ensure!(status.trim() == "0", "it left with {status}");
        ensure!(pinning::processes("scx_cosmos").is_empty());
        service::say("auto-ext unpin").map(drop)
    })();
    fs::remove_file(CAKE)?;
    let error = bus.string("LastError");
    result.with_context(|| format!("the last error was `{error}`"))
}

fn pin_cosmos(bus: &Bus, name: &str) -> anyhow::Result<()> {
    let enabled = kernel::enable_seq();
    service::say(&format!("auto-ext pin {name}"))?;
    is_ours(bus)?;
    ensure!(kernel::enable_seq() == enabled + 1, "it was enabled again");
    let last = &service::history(1)?[0];
    ensure!(last["way"] == "hot", "{last}");
    Ok(())
}

/// The kernel runs scx_cosmos, and D-Bus says that it is auto-ext's and which process has it.
fn is_ours(bus: &Bus) -> anyhow::Result<()> {
    ensure!(
        kernel::scheduler() == "scx_cosmos",
        "{}",
        kernel::scheduler()
    );
    let owner = bus.string("CurrentOwner");
    ensure!(owner == "auto-ext", "{owner}");
    ensure!(bus.string("CurrentScheduler") == "scx_cosmos");
    let files = format!("/proc/{}/fd", bus.number("SchedulerPid")?);
    let mut files = fs::read_dir(&files)
        .with_context(|| files.clone())?
        .flatten();
    let has_link = files.any(|file| {
        fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == "anon_inode:bpf_link")
    });
    ensure!(has_link, "the process has no link");
    Ok(())
}

fn comes_back_with_the_cpus(bus: &Bus) -> anyhow::Result<()> {
    for online in ["0", "1"] {
        let enabled = kernel::enable_seq();
        fs::write("/sys/devices/system/cpu/cpu3/online", online)?;
        wait::until("enabled again", &true, || kernel::enable_seq() > enabled)?;
        wait::until("owner", &"auto-ext".to_owned(), || {
            bus.string("CurrentOwner")
        })?;
        is_ours(bus)?;
        ensure!(bus.string("Mode") == "pinned", "{}", bus.string("Mode"));
    }
    Ok(())
}

pub(super) fn bpf_operations_that_are_no_scheduler_are_left_alone() -> anyhow::Result<()> {
    let attached = "/run/scx/attached";
    let _ = fs::remove_file(attached);
    // Before it loads its scheduler it puts something else into the kernel, and then takes its time.
    let two = broken::script(
        "two",
        &format!(
            "#!/bin/sh\n{SELF} congestion once && touch {attached} && sleep 3\nexec scx_cosmos\n"
        ),
    )?;
    let bus = pinning::start_with(&format!("two: {{command: {two}}}"))?;
    let before = start_bpfland(&bus)?;
    let pin = pinning::pin("two")?;
    wait::until("congestion control", &true, || Path::new(attached).exists())?;
    ensure!(
        kernel::scheduler() == "scx_bpfland" && kernel::enable_seq() == before.enabled,
        "the old scheduler had to leave for congestion control"
    );
    let pinned = pin.output()?;
    ensure!(
        pinned.status.success(),
        "{}",
        String::from_utf8_lossy(&pinned.stderr)
    );
    is_ours(&bus)?;
    service::say("auto-ext pin kernel")?;
    service::say("auto-ext unpin")?;
    // Somebody has congestion control and a name as schedulers have it, somebody else the scheduler and none.
    let innocent = Path::new(&two).with_file_name("scx_innocent");
    let _ = fs::remove_file(&innocent);
    symlink(SELF, &innocent)?;
    let innocent = innocent.display();
    service::say(&format!(
        "systemd-run --unit=innocent --collect --quiet {innocent} congestion"
    ))?;
    let known = "/proc/sys/net/ipv4/tcp_available_congestion_control";
    wait::until("congestion control", &true, || {
        fs::read_to_string(known).is_ok_and(|known| known.contains("auto_ext_test"))
    })?;
    let foreign = broken::copied_cosmos("by-hand")?;
    service::say(&format!(
        "systemd-run --unit=by-hand --collect --quiet {foreign}"
    ))?;
    wait::until("mode", &"yielded".to_owned(), || bus.string("Mode"))?;
    service::say("auto-ext pin bpfland")?;
    ensure!(kernel::scheduler() == "scx_bpfland");
    let alive = service::say("systemctl is-active innocent.service")?;
    service::say("auto-ext unpin")?;
    service::say("systemctl stop innocent.service")?;
    ensure!(alive == "active", "{alive}");
    Ok(())
}
