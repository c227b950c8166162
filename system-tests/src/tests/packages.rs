//! The packages, from the first installation to the last file that goes, on a machine that has
//! never had auto-ext. In the middle of it the machine is booted anew; what was before is in a file.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};

use crate::{kernel, policy, service, wait};

/// Where the runner puts them.
const DEB: &str = "/root/auto-ext.deb";
const ARCHIVE: &str = "/root/auto-ext.tar.gz";

/// What is remembered of schedulers that failed, and of the machine.
const STATE: &str = "/var/lib/auto-ext";

/// What there was before anything was installed.
const BEFORE: &str = "/var/tmp/files-before";

/// Left out of the comparison: what is not in files, what the tests and the running system write,
/// and what dpkg writes about itself.
const OTHERS: &[&str] = &[
    "/dev",
    "/proc",
    "/root",
    "/run/auto-ext-machine-output",
    "/run/dbus",
    "/run/log",
    "/run/systemd",
    "/sys",
    "/tmp",
    "/var/lib/dpkg",
    "/var/lib/power-profiles-daemon",
    "/var/log",
    "/var/tmp",
];

/// Whether the machine has been booted anew.
pub(super) fn is_second_boot() -> bool {
    Path::new(BEFORE).exists()
}

/// Boots the machine anew, without its kernel, which keeps the files. The machine then runs this
/// program again, so that this returns only when that fails.
pub(super) fn reboot() -> anyhow::Result<()> {
    service::say("systemctl soft-reboot")?;
    std::thread::sleep(std::time::Duration::from_secs(60));
    anyhow::bail!("the machine was not booted anew")
}

pub(super) fn the_deb_starts_and_enables_nothing() -> anyhow::Result<()> {
    fs::write(BEFORE, serde_json::to_vec(&files()?)?)?;
    dpkg("--install")?;
    let enabled = service::output("systemctl is-enabled auto-ext.service")?;
    ensure!(enabled.stdout.starts_with(b"disabled"), "{enabled:?}");
    let active = service::output("systemctl is-active auto-ext.service")?;
    ensure!(active.stdout.starts_with(b"inactive"), "{active:?}");
    service::say("auto-ext check")?;
    Ok(())
}

pub(super) fn the_service_of_the_deb_starts() -> anyhow::Result<()> {
    service::say("systemctl enable --now auto-ext.service")?;
    it_runs()
}

pub(super) fn install_sh_leaves_the_deb_to_dpkg() -> anyhow::Result<()> {
    unpack()?;
    let before = files()?;
    for options in ["", "--prefix /usr/local", "--uninstall --purge"] {
        let said = service::output(&format!("{} {options}", installer()?))?;
        let text = String::from_utf8_lossy(&said.stderr);
        let says = text.contains("belongs to the package auto-ext; nothing was changed.")
            && text.contains("apt remove auto-ext");
        ensure!(said.status.code() == Some(1) && says, "{options}: {said:?}");
    }
    ensure!(files()? == before, "it changed files");
    Ok(())
}

pub(super) fn the_service_of_the_deb_runs_after_a_reboot() -> anyhow::Result<()> {
    it_runs()
}

pub(super) fn an_upgrade_of_the_deb_restarts_the_service_and_keeps_the_policy() -> anyhow::Result<()>
{
    policy::write(policy::QUIET)?;
    let before = service::process()?;
    dpkg("--install")?;
    it_runs()?;
    ensure!(service::process()? != before, "it was not restarted");
    ensure!(fs::read_to_string("/etc/auto-ext/policies.yaml")? == policy::QUIET);
    Ok(())
}

pub(super) fn removing_the_deb_stops_everything_and_keeps_the_policy() -> anyhow::Result<()> {
    policy::write(policy::FLASH)?;
    wait::until("scheduler", &"scx_flash".to_owned(), kernel::scheduler)?;
    dpkg("--remove")?;
    nothing_runs()?;
    ensure!(Path::new("/etc/auto-ext/policies.yaml").exists());
    ensure!(!Path::new("/usr/bin/auto-ext").exists());
    ensure!(Path::new(STATE).exists(), "{STATE} is gone");
    Ok(())
}

pub(super) fn purging_the_deb_leaves_nothing() -> anyhow::Result<()> {
    dpkg("--purge")?;
    nothing_is_left()
}

pub(super) fn a_deb_that_runs_is_purged_without_a_trace() -> anyhow::Result<()> {
    dpkg("--install")?;
    service::say("systemctl enable --now auto-ext.service")?;
    dpkg("--purge")?;
    nothing_is_left()
}

pub(super) fn the_archive_installs_what_runs() -> anyhow::Result<()> {
    unpack()?;
    // Twice: the second changes nothing.
    for _ in 0..2 {
        install_sh("")?;
    }
    service::say("systemctl enable --now auto-ext.service")?;
    it_runs()
}

pub(super) fn uninstalling_the_archive_leaves_nothing() -> anyhow::Result<()> {
    policy::write(policy::FLASH)?;
    service::restart()?;
    wait::until("scheduler", &"scx_flash".to_owned(), kernel::scheduler)?;
    install_sh("--uninstall")?;
    for kept in ["/etc/auto-ext/policies.yaml", STATE] {
        ensure!(Path::new(kept).exists(), "{kept} is gone");
    }
    install_sh("--uninstall --purge")?;
    nothing_is_left()
}

fn dpkg(action: &str) -> anyhow::Result<()> {
    let package = if action == "--install" {
        DEB
    } else {
        "auto-ext"
    };
    // The machine's own dpkg leaves out what nobody reads there.
    service::say(&format!(
        "dpkg --path-include=/usr/share/* {action} {package}"
    ))
    .map(drop)
}

fn unpack() -> anyhow::Result<()> {
    service::say(&format!("tar --extract --file {ARCHIVE} --directory /root")).map(drop)
}

/// install.sh of the archive.
fn installer() -> anyhow::Result<String> {
    let directory = fs::read_dir("/root")?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.join("install.sh").exists())
        .context("the archive has no install.sh")?;
    Ok(directory.join("install.sh").display().to_string())
}

fn install_sh(options: &str) -> anyhow::Result<()> {
    service::say(&format!("{} {options}", installer()?)).map(drop)
}

fn it_runs() -> anyhow::Result<()> {
    service::say("systemctl is-enabled auto-ext.service")?;
    ensure!(service::say("systemctl is-active auto-ext.service")? == "active");
    let status = service::say("auto-ext status")?;
    ensure!(status.starts_with("Scheduler   kernel\n"), "{status}");
    ensure!(service::busctl("CurrentOwner")? == "s \"none\"");
    Ok(())
}

fn nothing_runs() -> anyhow::Result<()> {
    ensure!(
        kernel::state() == "disabled",
        "sched_ext: {}",
        kernel::state()
    );
    let left = service::processes()?;
    ensure!(left.is_empty(), "processes: {left:?}");
    let names = service::say("busctl list --no-legend")?;
    ensure!(!names.contains("autoext"), "on the bus: {names}");
    Ok(())
}

fn nothing_is_left() -> anyhow::Result<()> {
    nothing_runs()?;
    for list in ["list-unit-files", "list-units --all"] {
        // It fails when it finds none.
        let units = service::output(&format!("systemctl {list} --no-legend auto-ext*"))?;
        ensure!(units.stdout.is_empty(), "{list}: {units:?}");
    }
    let before: BTreeMap<String, String> = serde_json::from_slice(&fs::read(BEFORE)?)?;
    let after = files()?;
    let differs = |one: &BTreeMap<String, String>, other: &BTreeMap<String, String>| {
        let lines = one
            .iter()
            .filter(|(path, what)| other.get(*path) != Some(what));
        let lines = lines.map(|(path, what)| format!("{path} {what}"));
        lines.collect::<Vec<_>>()
    };
    let (gone, left) = (differs(&before, &after), differs(&after, &before));
    ensure!(
        gone.is_empty() && left.is_empty(),
        "there was:\n{}\nnow there is:\n{}",
        gone.join("\n"),
        left.join("\n")
    );
    Ok(())
}

/// What each file and directory is: its mode, and of a file size and time.
fn files() -> anyhow::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut directories = vec!["/".to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).with_context(|| directory.clone())? {
            let path = entry?.path();
            let name = path.to_string_lossy().into_owned();
            if OTHERS.contains(&name.as_str()) {
                continue;
            }
            let about = fs::symlink_metadata(&path).with_context(|| name.clone())?;
            if about.is_dir() {
                found.insert(name.clone(), format!("{:o}", about.mode()));
                directories.push(name);
            } else {
                let (mode, size, time) = (about.mode(), about.size(), about.mtime());
                found.insert(name, format!("{mode:o} {size} {time}"));
            }
        }
    }
    Ok(found)
}
