//! Rules about applications and power, and edits of the policy while it is in force.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::load::{self, Load, Running};
use crate::service::{self, Bus};
use crate::{kernel, policy, wait};

const POLICY: &str = "version: 1\nrules:\n\
    \x20 - {class: idle, use: [kernel]}\n\
    \x20 - {class: battery, when: {power: battery}, use: [kernel]}\n\
    \x20 - {class: game, when: {process: ['Foo.exe']}, use: [scx_bpfland, kernel]}\n\
    \x20 - {class: tool, when: {process: ['/root/tools/*']}, use: [scx_cosmos, kernel]}\n\
    \x20 - {class: database, when: {cgroup: [database.service]}, use: [scx_cosmos, kernel]}\n\
    stability: {min_run: 1s, max_switches_per_hour: 1000}\n";

const GAME: &str = "/root/games/Foo.exe";
const TOOL: &str = "/root/tools/worker";

/// Starts a program that does nothing, at its path.
fn start(program: &str) -> anyhow::Result<Running> {
    let path = Path::new(program);
    if !path.exists() {
        fs::create_dir_all(path.parent().context("a path without a directory")?)?;
        fs::copy("/usr/bin/sleep", path)?;
    }
    load::start(&format!("{program} 1000"))
}

pub(super) fn applications_bring_their_scheduler_by_name_path_and_cgroup() -> anyhow::Result<()> {
    policy::write(POLICY)?;
    service::restart()?;
    let bus = Bus::connect()?;
    wait::until("class", &"idle".to_owned(), || bus.string("Class"))?;
    for (program, class, scheduler) in [(GAME, "game", "scx_bpfland"), (TOOL, "tool", "scx_cosmos")]
    {
        let application = start(program)?;
        let noticed = wait::until("class", &class.to_owned(), || bus.string("Class"))?;
        eprintln!("\n  class {class} {noticed:.1?} after the start");
        wait::until("scheduler", &scheduler.to_owned(), kernel::scheduler)?;
        drop(application);
        wait::until("class after it", &"idle".to_owned(), || bus.string("Class"))?;
        wait::until(
            "scheduler after it",
            &"kernel".to_owned(),
            kernel::scheduler,
        )?;
    }
    service::say("systemd-run --unit=database --collect --quiet sleep 1000")?;
    wait::until("class", &"database".to_owned(), || bus.string("Class"))?;
    wait::until("scheduler", &"scx_cosmos".to_owned(), kernel::scheduler)?;
    let why = service::say("auto-ext why")?;
    ensure!(why.contains("cgroup database.service"), "{why}");
    service::say("systemctl stop database.service")?;
    wait::until(
        "scheduler after it",
        &"kernel".to_owned(),
        kernel::scheduler,
    )?;
    Ok(())
}

/// A launcher starts its game through a program that ends at once, as wine and many launchers do: then the game's parent, as
/// /proc has it, is another one.
pub(super) fn a_program_is_known_by_its_launcher_through_one_that_ended() -> anyhow::Result<()> {
    const LAUNCHER: &str = "/root/games/test-launcher";
    const BETWEEN: &str = "/root/games/test-between";
    const GAME: &str = "/root/games/nobody-knows-its-name";
    fs::create_dir_all("/root/games")?;
    fs::copy("/usr/bin/sleep", GAME)?;
    let scripts = [
        (LAUNCHER, format!("#!/bin/sh\n{BETWEEN}\nsleep 1000\n")),
        (BETWEEN, format!("#!/bin/sh\n{GAME} 1000 &\n")),
    ];
    for (path, script) in scripts {
        fs::write(path, script)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    policy::write(
        "version: 1\nrules:\n\
        \x20 - {class: idle, use: [kernel]}\n\
        \x20 - {class: game, when: {process: {descends: Test-Launcher.exe}}, use: [scx_cosmos, kernel]}\n\
        \x20 - {class: launched, when: {process: {descends: test-launcher}, except: [sleep, 'test-*']}, \
        use: [scx_bpfland, kernel]}\n\
        \x20 - {class: followed, when: {process: [system-tests]}, use: [kernel]}\n\
        stability: {min_run: 1s, max_switches_per_hour: 1000}\n",
    )?;
    service::restart()?;
    let bus = Bus::connect()?;
    // What ends before the daemon follows processes has no descendants for it.
    let followed = "followed".to_owned();
    wait::until("class", &followed, || bus.string("Class"))?;
    let launcher = load::start(LAUNCHER)?;
    let noticed = wait::until("class", &"launched".to_owned(), || bus.string("Class"))?;
    eprintln!("\n  class launched {noticed:.1?} after the start");
    wait::until("scheduler", &"scx_bpfland".to_owned(), kernel::scheduler)?;
    let said = service::say("pgrep -x nobody-knows-it")?;
    let game = said.trim();
    let stat = fs::read_to_string(format!("/proc/{game}/stat"))?;
    ensure!(
        !stat.contains(&format!(") S {} ", launcher.id())),
        "the game is the launcher's own child: {stat}"
    );
    let why = service::say("auto-ext why")?;
    ensure!(
        why.contains("descendant of test-launcher") && why.contains(", of test-launcher, process"),
        "{why}"
    );
    // It stays known when records are lost, or the policy is read anew.
    service::say("auto-ext reload")?;
    ensure!(bus.string("Class") == "launched");
    service::say(&format!("kill {game}"))?;
    wait::until("class after it", &followed, || bus.string("Class"))?;
    wait::until(
        "scheduler after it",
        &"kernel".to_owned(),
        kernel::scheduler,
    )?;
    Ok(())
}

/// A file in the directory beside the policy; dropped, it and what was made for it are gone.
struct Part {
    file: &'static str,
    made_directory: bool,
}

impl Part {
    fn write(file: &'static str, text: &str) -> anyhow::Result<Self> {
        let directory = Path::new(file)
            .parent()
            .context("a path without a directory")?;
        let made_directory = !directory.exists();
        fs::create_dir_all(directory)?;
        fs::write(file, text)?;
        Ok(Self {
            file,
            made_directory,
        })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = fs::remove_file(self.file);
        if let Some(directory) = Path::new(self.file)
            .parent()
            .filter(|_| self.made_directory)
        {
            let _ = fs::remove_dir(directory);
        }
    }
}

pub(super) fn a_file_beside_the_policy_brings_a_list_of_programs_and_takes_it_along()
-> anyhow::Result<()> {
    const LISTED: &str = "/root/games/game-with-a-very-long-name";
    const EXCEPTED: &str = "/root/games/game-with-a-very-long-launcher";
    policy::write(POLICY)?;
    service::restart()?;
    let bus = Bus::connect()?;
    wait::until("class", &"idle".to_owned(), || bus.string("Class"))?;
    let _excepted = start(EXCEPTED)?;
    let listed = start(LISTED)?;
    let part = Part::write(
        "/etc/auto-ext/policies.d/50-listed.yaml",
        "version: 1\nlists: {listed: [game-with-a-very-long-name, game-with-a-very-long-launcher]}\nrules:\n\
        \x20 - {class: listed, when: {process: {list: listed}, except: '*-launcher'}, use: [scx_cosmos, kernel]}\n",
    )?;
    wait::until("class", &"listed".to_owned(), || bus.string("Class"))?;
    wait::until("scheduler", &"scx_cosmos".to_owned(), kernel::scheduler)?;
    let why = service::say("auto-ext why")?;
    ensure!(
        why.contains("process list listed, but not *-launcher"),
        "{why}"
    );
    let said = service::say("auto-ext check")?;
    ensure!(said.contains("with one file beside it: valid"), "{said}");
    drop(listed);
    wait::until("class after it", &"idle".to_owned(), || bus.string("Class"))?;
    // Else the one that is about to leave would pass for the one that comes.
    kernel::runs("kernel")?;
    let _listed = start(LISTED)?;
    kernel::runs("scx_cosmos")?;

    // An invalid file changes nothing, and it is told in which file it is.
    let broken = Part::write(
        "/etc/auto-ext/policies.d/60-broken.yaml",
        "version: 1\nsignals: {}\n",
    )?;
    wait::until("the error is said", &true, || {
        bus.string("LastError")
            .contains("/etc/auto-ext/policies.d/60-broken.yaml:2:1: error:")
    })?;
    ensure!(
        kernel::scheduler() == "scx_cosmos",
        "an invalid file changed something"
    );
    drop(broken);
    wait::until("no error", &String::new(), || bus.string("LastError"))?;

    drop(part);
    wait::until("class without it", &"idle".to_owned(), || {
        bus.string("Class")
    })?;
    wait::until(
        "scheduler without it",
        &"kernel".to_owned(),
        kernel::scheduler,
    )?;
    Ok(())
}

pub(super) fn the_battery_overrules_the_load_and_a_game_the_battery() -> anyhow::Result<()> {
    // The machine has no battery: the service gets other files in the place of the kernel's.
    let supply = "/root/power_supply/BAT0";
    fs::create_dir_all(supply)?;
    fs::write(format!("{supply}/type"), "Battery\n")?;
    fs::write(format!("{supply}/status"), "Full\n")?;
    let drop_in = "/run/systemd/system/auto-ext.service.d";
    fs::create_dir_all(drop_in)?;
    fs::write(
        format!("{drop_in}/power.conf"),
        "[Service]\nBindReadOnlyPaths=/root/power_supply:/sys/class/power_supply\n",
    )?;
    service::say("systemctl daemon-reload")?;
    policy::write(POLICY)?;
    service::restart()?;
    let bus = Bus::connect()?;
    wait::until("class", &"idle".to_owned(), || bus.string("Class"))?;
    fs::write(format!("{supply}/status"), "Discharging\n")?;
    wait::until("class", &"battery".to_owned(), || bus.string("Class"))?;
    let game = start(GAME)?;
    wait::until("class", &"game".to_owned(), || bus.string("Class"))?;
    wait::until("scheduler", &"scx_bpfland".to_owned(), kernel::scheduler)?;
    service::say("auto-ext pin cosmos")?;
    ensure!(bus.string("Class") == "game" && bus.string("Mode") == "pinned");
    ensure!(kernel::scheduler() == "scx_cosmos", "a pin is above all");
    service::say("auto-ext unpin")?;
    wait::until("scheduler", &"scx_bpfland".to_owned(), kernel::scheduler)?;
    drop(game);
    wait::until("class", &"battery".to_owned(), || bus.string("Class"))?;
    fs::write(format!("{supply}/status"), "Charging\n")?;
    wait::until("class", &"idle".to_owned(), || bus.string("Class"))?;
    fs::remove_dir_all(drop_in)?;
    service::say("systemctl daemon-reload")?;
    wait::until("scheduler at rest", &"kernel".to_owned(), kernel::scheduler)?;
    Ok(())
}

pub(super) fn edits_are_in_force_at_once_and_twenty_a_second_restart_nothing() -> anyhow::Result<()>
{
    // Not scx_bpfland, which leaves and comes back by itself when it hears of another power profile.
    let policy = |comment: usize| {
        format!(
            "version: 1\n# edit {comment}\nrules:\n  - {{class: tool, when: {{process: ['/root/tools/*', 'edit{comment}']}}, use: [scx_flash, kernel]}}\n  \
             - {{class: hogs, when: {{process: [stress-ng, 'stress-ng-*']}}, use: [scx_cosmos, kernel]}}\n  \
             - {{class: idle, use: [kernel]}}\nstability: {{min_run: 1s, max_switches_per_hour: 1000}}\n"
        )
    };
    policy::write(&policy(0))?;
    service::restart()?;
    let bus = Bus::connect()?;
    // Known by their name: what is measured may change for a moment.
    let _hogs = Load::of_class("cpu").start()?;
    wait::until("scheduler", &"scx_cosmos".to_owned(), kernel::scheduler)?;
    wait::until("switches", &1, || {
        bus.number("Switches").unwrap_or_default()
    })?;
    let before = (kernel::enable_seq(), bus.number("SchedulerPid")?);
    let begun = Instant::now();
    for edit in 1..=60 {
        match edit % 3 {
            // As editors do, and as they should not.
            0 => {
                fs::write("/etc/auto-ext/.policies.yaml.new", policy(edit))?;
                fs::rename(
                    "/etc/auto-ext/.policies.yaml.new",
                    "/etc/auto-ext/policies.yaml",
                )?;
            }
            1 => policy::write(&policy(edit))?,
            _ => policy::write("version: 1\nrules: [nonsense\n")?,
        }
        std::thread::sleep(Duration::from_millis(50).saturating_sub(begun.elapsed() / 1000));
    }
    policy::write("version: 1\nrules: [{class: nonsense}]\n")?;
    wait::until("the error is said", &true, || {
        bus.string("LastError")
            .contains("/etc/auto-ext/policies.yaml:2:")
    })?;
    ensure!(
        kernel::scheduler() == "scx_cosmos",
        "an invalid edit changed something"
    );
    let said = "/etc/auto-ext/policies.yaml:2:";
    let status = service::say("auto-ext status")?;
    ensure!(status.contains(said), "{status}");
    let journal = service::say("journalctl --unit=auto-ext.service --output=cat --lines=20")?;
    ensure!(journal.contains(said), "{journal}");
    policy::write(&policy(61))?;
    wait::until("no error", &String::new(), || bus.string("LastError"))?;
    let after = (kernel::enable_seq(), bus.number("SchedulerPid")?);
    ensure!(
        before == after,
        "enable_seq and process were {before:?}, are {after:?}: {:#?}",
        service::history(6)?
    );
    policy::write(&policy(62).replace("scx_cosmos", "scx_bpfland"))?;
    wait::until(
        "another policy",
        &"scx_bpfland".to_owned(),
        kernel::scheduler,
    )?;
    // After as many edits as that, programs are still heard of.
    let _tool = start(TOOL)?;
    wait::until("class", &"tool".to_owned(), || bus.string("Class"))?;
    Ok(())
}
