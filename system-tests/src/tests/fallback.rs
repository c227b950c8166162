//! When a scheduler does not load, the machine is no worse off than before.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread::sleep;
use std::time::Duration;

use anyhow::ensure;

use crate::load::Load;
use crate::policy::{self, FLASH_FOR_HOGS};
use crate::service::{self, Bus};
use crate::{kernel, wait};

pub(super) fn a_scheduler_that_cannot_start_gives_way() -> anyhow::Result<()> {
    let broken = "/usr/local/bin/scx_broken";
    fs::create_dir_all("/usr/local/bin")?;
    fs::write(
        broken,
        "#!/bin/sh\necho 'Error: no such luck' >&2\nexit 7\n",
    )?;
    fs::set_permissions(broken, fs::Permissions::from_mode(0o755))?;
    policy::write(
        "version: 1\nschedulers:\n  broken: {command: scx_broken}\nrules:\n\
         \x20 - {class: cpu, when: {cpu: high}, use: [broken, bpfland, kernel]}\n\
         \x20 - {class: idle, use: [kernel]}\n",
    )?;
    service::restart()?;
    let bus = Bus::connect()?;
    let _load = Load::of_class("cpu").start()?;
    wait::until("scheduler", &"scx_bpfland".to_owned(), kernel::scheduler)?;
    let error = bus.string("LastError");
    ensure!(
        error == "broken: exited with status 7: Error: no such luck",
        "{error}"
    );
    wait::until("reason", &true, || {
        bus.string("Reason").contains("broken is quarantined")
    })?;
    Ok(())
}

pub(super) fn where_no_scheduler_can_load_the_kernels_own_is_left_in_peace() -> anyhow::Result<()> {
    FLASH_FOR_HOGS.install()?;
    service::restart()?;
    let bus = Bus::connect()?;
    let _load = Load::of_class("cpu").start()?;
    wait::until("class", &"cpu".to_owned(), || bus.string("Class"))?;
    wait::until("error", &true, || {
        bus.string("LastError").starts_with("flash: ")
    })?;
    eprintln!("\n  said: {}", bus.string("LastError"));
    // The time in which a loop of attempts would show.
    let mut attempts = 0;
    let mut known = false;
    for _ in 0..100 {
        let running = service::output("pgrep scx_flash")?.status.success();
        attempts += u32::from(running && !known);
        known = running;
        ensure!(kernel::state() != "enabled");
        sleep(Duration::from_millis(100));
    }
    ensure!(
        attempts <= 1,
        "{attempts} attempts in 10 seconds after the first had failed"
    );
    ensure!(kernel::enable_seq() == 0);
    ensure!(service::busctl("CurrentScheduler")? == "s \"kernel\"");
    ensure!(bus.string("DesiredScheduler") == "kernel");
    ensure!(service::busctl("Quarantined")?.contains("flash"));
    let doctor = service::output("auto-ext doctor")?;
    let findings = String::from_utf8_lossy(&doctor.stdout).into_owned();
    ensure!(findings.contains("its last error: flash: "), "{findings}");
    Ok(())
}
