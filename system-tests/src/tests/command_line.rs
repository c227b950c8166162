//! The command line, its exit codes included.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::load::{self, Load};
use crate::policy::{DEFAULT, FLASH_FOR_HOGS};
use crate::service::{self, Bus};
use crate::trace::{self, FILE};
use crate::{broken, kernel, policy, wait};

pub(super) fn what_is_not_possible_is_said_in_one_line() -> anyhow::Result<()> {
    DEFAULT.install()?;
    service::stop()?;
    let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    let no_bus = "env DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent";
    let cases = [
        ("auto-ext status".to_owned(), 3, "the daemon does not run"),
        (
            "auto-ext status --json".to_owned(),
            3,
            "the daemon does not run",
        ),
        (
            format!("{no_bus} auto-ext status"),
            3,
            "the system bus cannot be reached",
        ),
        (format!("{nobody} auto-ext levels --once"), 4, "run as root"),
        (format!("{nobody} auto-ext daemon"), 4, "run as root"),
        (
            "unshare --mount sh -c 'mount -t tmpfs none /sys/kernel/btf && auto-ext levels'".into(),
            1,
            "built without BTF",
        ),
        (
            "auto-ext check /nonexistent".to_owned(),
            1,
            "/nonexistent:1:1: error: ",
        ),
        ("auto-ext nonsense".to_owned(), 2, "unrecognized subcommand"),
    ];
    for (command, code, words) in cases {
        let output = std::process::Command::new("sh")
            .args(["-c", &command])
            .output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(code),
            "`{command}`: {}: {error}",
            output.status
        );
        ensure!(error.contains(words), "`{command}`: {error}");
        ensure!(
            code == 2 || error.lines().count() == 1,
            "`{command}`: {error}"
        );
    }
    let status = service::output("auto-ext status --json")?;
    let status: serde_json::Value = serde_json::from_slice(&status.stdout)?;
    ensure!(
        status["current_scheduler"] == "kernel" && status["daemon"] == false,
        "{status}"
    );

    service::restart()?;
    let second = service::output("auto-ext daemon")?;
    let error = String::from_utf8_lossy(&second.stderr);
    ensure!(
        second.status.code() == Some(1) && error.contains("already"),
        "{error}"
    );
    Ok(())
}

pub(super) fn colours_are_for_terminals_where_no_color_is_not_set() -> anyhow::Result<()> {
    const ESCAPE: char = '\u{1b}';
    service::restart()?;
    for command in [
        "auto-ext status",
        "auto-ext why",
        "auto-ext doctor",
        "auto-ext history",
        "auto-ext schedulers",
        "auto-ext levels --once",
        "auto-ext status --json",
    ] {
        let piped = service::output(command)?;
        let piped = String::from_utf8_lossy(&piped.stdout).into_owned();
        ensure!(!piped.contains(ESCAPE), "`{command}`: {piped:?}");
        ensure!(!piped.is_empty(), "`{command}` says nothing");
        let on_terminal = |variables: &str| -> anyhow::Result<String> {
            let output = std::process::Command::new("script")
                .args(["--quiet", "--command"])
                .arg(format!("env {variables} {command}"))
                .arg("/dev/null")
                .stdin(std::process::Stdio::null())
                .output()?;
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let plain = on_terminal("TERM=xterm NO_COLOR=1")?;
        ensure!(
            !plain.contains(ESCAPE) && !plain.is_empty(),
            "`{command}` where NO_COLOR is set: {plain:?}"
        );
        // What every one of these pages has in another style, whatever the machine does.
        if ["auto-ext status", "auto-ext why"].contains(&command) {
            let coloured = on_terminal("-u NO_COLOR TERM=xterm")?;
            ensure!(coloured.contains("\u{1b}[1m"), "`{command}`: {coloured:?}");
        }
    }
    Ok(())
}

pub(super) fn a_recorded_load_is_replayed_by_anybody() -> anyhow::Result<()> {
    DEFAULT.install()?;
    // Only the load is to be recorded.
    service::stop()?;
    let load = Load::of_class("interactive");
    trace::record(load)?;
    let replay =
        format!("setpriv --reuid=65534 --regid=65534 --clear-groups auto-ext replay {FILE}");
    let replayed = service::say(&replay)?;
    let classes: Vec<_> = replayed
        .lines()
        .filter(|line| line.trim_start().starts_with("0:00:"))
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    let begun = classes.iter().position(|class| *class == load.class);
    let idle_again = classes.iter().rposition(|class| *class == "idle");
    ensure!(begun.is_some() && begun < idle_again, "{replayed}");
    let again = service::output(&format!("auto-ext record --out {FILE} -- true"))?;
    let error = String::from_utf8_lossy(&again.stderr);
    ensure!(
        again.status.code() == Some(1) && error.contains("nothing is overwritten"),
        "{error}"
    );
    fs::remove_file(FILE)?;
    let failing = service::output(&format!("auto-ext record --out {FILE} -- false"))?;
    ensure!(failing.status.code() == Some(1), "{}", failing.status);
    ensure!(
        service::say(&replay)?.contains("switches   0"),
        "a short trace is one too"
    );
    Ok(())
}

pub(super) fn what_was_measured_can_be_labelled_and_sent() -> anyhow::Result<()> {
    const LABELLED: &str = "/run/labelled.jsonl";
    const PACKED: &str = "/run/labelled.jsonl.gz";
    for file in [LABELLED, PACKED] {
        fs::remove_file(file).ok();
    }
    DEFAULT.install()?;
    service::restart()?;
    let bus = Bus::connect()?;
    let at_rest = Duration::from_secs(2);
    wait::until_it_stays("class idle", &"idle".to_owned(), at_rest, || {
        bus.string("Class")
    })?;
    let load = Load::of_class("cpu");
    let running = load.start()?;
    wait::until("class", &load.class.to_owned(), || bus.string("Class"))?;
    sleep(Duration::from_secs(10));
    let label = |class: &str| {
        let command = format!("auto-ext label {class} --last 8s --note hogs --out {LABELLED}");
        service::output(&command)
    };
    let refused = label("hogs")?;
    let error = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        refused.status.code() == Some(1) && error.contains("`hogs` is no class of"),
        "{error}"
    );
    let labelled = label("cpu")?;
    let said = String::from_utf8_lossy(&labelled.stderr);
    ensure!(
        labelled.status.success() && said.contains("the policy says cpu "),
        "{said}"
    );
    drop(running);
    service::say(&format!("auto-ext report-class {LABELLED} --out {PACKED}"))?;
    for file in [LABELLED, PACKED] {
        let replayed = service::say(&format!("auto-ext replay {file}"))?;
        ensure!(
            replayed.starts_with("cpu: hogs: Linux ") && replayed.contains("class      cpu "),
            "{file}: {replayed}"
        );
    }
    ensure!(!fs::read_to_string(LABELLED)?.contains("stress-ng"));
    Ok(())
}

pub(super) fn levels_prints_every_signal() -> anyhow::Result<()> {
    let line = service::say("auto-ext levels --once")?;
    let json: serde_json::Value =
        serde_json::from_str(&service::say("auto-ext levels --once --json")?)?;
    for signal in [
        "cpu",
        "parallel",
        "contended",
        "io",
        "net",
        "mem",
        "interactive",
    ] {
        ensure!(line.contains(signal), "{line}");
        ensure!(json["signals"][signal].is_f64(), "{json}");
        ensure!(json["levels"][signal].is_string(), "{json}");
    }
    Ok(())
}

/// Whether that is true is the profiler's own tests' business.
pub(super) fn levels_tells_how_long_tasks_wait() -> anyhow::Result<()> {
    let line = service::say("auto-ext levels --once --window 1s --waits")?;
    ensure!(line.contains("waits") && line.contains("stretch"), "{line}");
    let json: serde_json::Value = serde_json::from_str(&service::say(
        "auto-ext levels --once --window 1s --waits --json",
    )?)?;
    ensure!(json["outcome"]["wakes_per_second"].is_f64(), "{json}");
    let json: serde_json::Value =
        serde_json::from_str(&service::say("auto-ext levels --once --json")?)?;
    ensure!(json.get("outcome").is_none(), "{json}");
    Ok(())
}

pub(super) fn observing_starts_nothing() -> anyhow::Result<()> {
    FLASH_FOR_HOGS.install()?;
    service::stop()?;
    let enabled = kernel::enable_seq();
    let _daemon = load::start("auto-ext daemon --observe")?;
    let bus = wait_for_bus()?;
    let _load = Load::of_class("cpu").start()?;
    wait::until("class", &"cpu".to_owned(), || bus.string("Class"))?;
    wait::until("desired", &"scx_flash".to_owned(), || {
        bus.string("DesiredScheduler")
    })?;
    ensure!(bus.string("Mode") == "observe");
    sleep(Duration::from_secs(2));
    ensure!(kernel::enable_seq() == enabled && kernel::scheduler() == "kernel");
    Ok(())
}

pub(super) fn without_sched_ext_it_observes_and_says_so() -> anyhow::Result<()> {
    FLASH_FOR_HOGS.install()?;
    service::stop()?;
    // A kernel without sched_ext has no such directory; an empty one in its place is the same to all
    // who look for the files in it.
    let hidden = "mount -t tmpfs none /sys/kernel/sched_ext && exec auto-ext daemon";
    let _daemon = load::start_words(&["unshare", "--mount", "sh", "-c", hidden])?;
    let bus = wait_for_bus()?;
    let _load = Load::of_class("cpu").start()?;
    wait::until("class", &"cpu".to_owned(), || bus.string("Class"))?;
    let reason = bus.string("Reason");
    ensure!(
        reason.starts_with("observing: this kernel has no sched_ext; "),
        "{reason}"
    );
    ensure!(bus.string("DesiredScheduler") == "scx_flash");
    ensure!(bus.string("CurrentScheduler") == "kernel" && kernel::scheduler() == "kernel");
    Ok(())
}

fn wait_for_bus() -> anyhow::Result<Bus> {
    let bus = Bus::connect()?;
    wait::until("mode", &"observe".to_owned(), || bus.string("Mode"))?;
    Ok(bus)
}

/// A scheduler where `cargo install` puts it, in a home directory.
const IN_A_HOME: &str = "/root/.cargo/bin/scx_cosmos";
/// As old Debian systems have it: root's and the group's.
const OF_A_GROUP: &str = "/usr/local/lib/of-a-group";

pub(super) fn what_the_service_cannot_use_all_commands_say_in_the_same_words() -> anyhow::Result<()>
{
    let shared = format!("{OF_A_GROUP}/scx_cosmos");
    let script = broken::script("scx_flash", "#!/bin/sh\nexec /usr/bin/scx_flash\n")?;
    for path in [IN_A_HOME, &shared] {
        let directory = path.rsplit_once('/').context("an absolute path")?.0;
        fs::create_dir_all(directory)?;
        fs::copy("/usr/bin/scx_cosmos", path)?;
    }
    service::say(&format!("chmod 2775 {OF_A_GROUP}"))?;
    policy::write(&format!(
        "version: 1\nschedulers:\n  home: {{command: {IN_A_HOME}}}\n  shared: {{command: {shared}}}\n  \
         wrapped: {{command: {script}}}\nrules: [{{class: idle, when: {{cpu: low}}, \
         use: [kernel, home, shared, wrapped]}}]\n"
    ))?;
    service::restart()?;
    let enabled = kernel::enable_seq();
    let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    for (name, words) in [
        (
            "home",
            "the service does not see /root, as its unit hides home directories",
        ),
        ("shared", "of-a-group can be written by its group (0)"),
    ] {
        for command in [
            format!("auto-ext pin {name}"),
            "auto-ext check".to_owned(),
            format!("{nobody} auto-ext check"),
            "auto-ext doctor".to_owned(),
            "auto-ext schedulers".to_owned(),
            format!("{nobody} auto-ext schedulers"),
        ] {
            let output = service::output(&command)?;
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            ensure!(said.contains(words), "`{command}`: {said}");
        }
    }
    // Listing them started none, neither the script nor what it runs; known ones said their version.
    let list = service::say("auto-ext schedulers --json")?;
    let list: Vec<serde_json::Value> = serde_json::from_str(&list)?;
    let version = |name: &str| {
        let line = list.iter().find(|line| line["name"] == name);
        line.map(|line| line["version"].clone()).unwrap_or_default()
    };
    ensure!(version("bpfland").is_string(), "{list:?}");
    ensure!(version("wrapped").is_null(), "{list:?}");
    ensure!(kernel::enable_seq() == enabled && kernel::scheduler() == "kernel");

    // A policy of somebody else.
    let file = "/etc/auto-ext/policies.yaml";
    service::say(&format!("chown 65534:65534 {file}"))?;
    service::say(&format!("chmod 640 {file}"))?;
    let words = "belongs to user 65534";
    let check = service::output("auto-ext check")?;
    let warned = String::from_utf8_lossy(&check.stderr);
    ensure!(check.status.success() && warned.contains(words), "{warned}");
    ensure!(service::output("auto-ext reload")?.status.code() == Some(1));
    let error = service::busctl("LastError")?;
    ensure!(
        error.contains(words) && error.contains("chown root"),
        "{error}"
    );
    service::say(&format!("chown root:root {file}"))?;
    service::say(&format!("chmod 644 {file}"))?;
    for path in [IN_A_HOME, &shared] {
        fs::remove_file(path)?;
    }
    fs::remove_dir(OF_A_GROUP)?;
    Ok(())
}
