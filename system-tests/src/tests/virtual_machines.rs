//! The service for virtual machines, on a machine that has none.

use std::fs;
use std::path::Path;

use anyhow::ensure;
use serde_json::Value;

use crate::{service, wait};

const UNIT: &str = "auto-ext-vm.service";
const CONFIG: &str = "/etc/auto-ext/vm.yaml";

/// Where it would be said that it decides where a process runs, and what was found before it was changed.
const TRACES: [&str; 2] = [
    "/run/auto-ext/affinity",
    "/var/lib/auto-ext-vm/originals.json",
];

/// The exit code of a command, and all that it says.
fn ends(command: &str) -> anyhow::Result<(i32, String)> {
    let output = service::output(command)?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok((output.status.code().unwrap_or(-1), text))
}

fn must_end(command: &str, code: i32, words: &str) -> anyhow::Result<()> {
    let (ended, text) = ends(command)?;
    ensure!(
        ended == code && text.contains(words),
        "`{command}`: {ended}: {text}"
    );
    Ok(())
}

fn status() -> String {
    ends("auto-ext-vm status").map_or_else(|error| format!("{error:#}"), |(_, text)| text)
}

/// Where the threads of the first process may run, and whether anything was kept.
fn traces() -> anyhow::Result<(Option<String>, [bool; 2])> {
    let of_init = fs::read_to_string("/proc/1/status")?;
    let mut lines = of_init.lines();
    let allowed = lines.find(|line| line.starts_with("Cpus_allowed:"));
    let entries = |path: &str| {
        let is_empty = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        Path::new(path).exists() && !is_empty
    };
    Ok((allowed.map(str::to_owned), TRACES.map(entries)))
}

pub(super) fn without_libvirt_the_service_says_so_in_one_line_and_changes_nothing()
-> anyhow::Result<()> {
    must_end("auto-ext-vm status", 3, "systemctl start auto-ext-vm")?;
    must_end(
        "auto-ext-vm doctor",
        1,
        "stops: libvirt does not answer at ",
    )?;
    must_end("auto-ext-vm check", 0, "valid, 0 guests")?;
    must_end(&format!("systemctl is-enabled {UNIT}"), 1, "disabled")?;
    let before = traces()?;
    // Whatever the owner wants: there is nobody to do it to.
    let shipped = fs::read_to_string(CONFIG)?;
    fs::write(
        CONFIG,
        "version: 1\ninterval: 1s\ncpu: {mode: pin}\nmemory: {mode: balloon}\n",
    )?;
    service::say(&format!("systemctl start {UNIT}"))?;
    let expected = "unavailable: nothing is changed, as nothing can be seen: ";
    wait::until("that nothing can be seen", &true, || {
        let said = status();
        said.starts_with(expected) && said.contains("libvirt") && said.lines().count() == 1
    })?;
    it_answers()?;
    it_keeps_what_persons_say()?;
    it_reads_its_configuration_again()?;
    ensure!(traces()? == before, "{:?} and not {before:?}", traces()?);
    service::say(&format!("systemctl stop {UNIT}"))?;
    must_end("auto-ext-vm status", 3, "systemctl start auto-ext-vm")?;
    fs::write(CONFIG, "version: 1\ncpu: {mode: pni}\n")?;
    must_end(
        "auto-ext-vm check",
        1,
        "/etc/auto-ext/vm.yaml:2:13: error: ",
    )?;
    // It is not known what the owner wants: it runs, and changes nothing.
    service::say(&format!("systemctl start {UNIT}"))?;
    wait::until("the service on the bus", &true, || {
        status().starts_with(expected)
    })?;
    service::say(&format!("systemctl stop {UNIT}"))?;
    fs::write(CONFIG, shipped)?;
    ensure!(traces()? == before, "{:?} and not {before:?}", traces()?);
    Ok(())
}

/// Whoever may asks, by the command line and by D-Bus.
fn it_answers() -> anyhow::Result<()> {
    let json: Value = serde_json::from_str(&service::say("auto-ext-vm status --json")?)?;
    ensure!(
        json["mode"] == "unavailable" && json["guests"] == Value::Array(Vec::new()),
        "{json}"
    );
    let mode = "busctl get-property org.autoext.Vm1 /org/autoext/Vm1 org.autoext.Vm1 Mode";
    must_end(mode, 0, "\"unavailable\"")?;
    must_end(
        "auto-ext-vm metrics",
        0,
        "auto_ext_vm_mode{mode=\"unavailable\"} 1\n",
    )?;
    must_end("auto-ext-vm why mail", 1, "libvirt")?;
    must_end(
        "auto-ext-vm release mail",
        1,
        "no guest that runs is called mail",
    )?;
    must_end(
        "auto-ext-vm daemon",
        1,
        "another auto-ext-vm runs already, as process ",
    )?;
    let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    must_end(&format!("{nobody} auto-ext-vm status"), 0, "unavailable: ")?;
    must_end(
        &format!("{nobody} auto-ext-vm pause"),
        4,
        "not permitted (org.autoext.Vm1.manage)",
    )
}

/// What is invalid changes nothing, and with `qmp` libvirt is not needed.
fn it_reads_its_configuration_again() -> anyhow::Result<()> {
    let before = fs::read_to_string(CONFIG)?;
    let json = |name: &str| -> anyhow::Result<String> {
        let json: Value = serde_json::from_str(&service::say("auto-ext-vm status --json")?)?;
        Ok(json[name].as_str().unwrap_or_default().to_owned())
    };
    let reload = |text: &str| {
        fs::write(CONFIG, text)?;
        service::say(&format!("systemctl reload {UNIT}"))
    };
    reload("version: 1\ncpu: {mode: pni}\n")?;
    wait::until("the place of what is invalid", &true, || {
        json("last_error").is_ok_and(|error| error.contains("/etc/auto-ext/vm.yaml:2:13: error: "))
    })?;
    ensure!(json("mode")? == "unavailable", "{}", status());
    reload("version: 1\ninterval: 1s\nqmp: [/run/vms]\n")?;
    let is_in_mode = |mode: &str| json("mode").is_ok_and(|is| is == mode);
    wait::until("that QEMUs are looked for", &true, || is_in_mode("observe"))?;
    reload(&before)?;
    wait::until("that libvirt is missed", &true, || {
        is_in_mode("unavailable")
    })?;
    Ok(())
}

/// Also when it is killed.
fn it_keeps_what_persons_say() -> anyhow::Result<()> {
    service::say("auto-ext-vm pause --for 1h")?;
    service::say("auto-ext-vm exclude mail")?;
    let process = || service::say(&format!("systemctl show --property=MainPID --value {UNIT}"));
    let killed = process()?;
    service::say(&format!("systemctl kill --signal=KILL {UNIT}"))?;
    wait::until("another process of the service", &true, || {
        let now = process().unwrap_or_default();
        now != killed && now != "0" && status().starts_with("unavailable: ")
    })?;
    let json: Value = serde_json::from_str(&service::say("auto-ext-vm status --json")?)?;
    ensure!(json["excluded"] == serde_json::json!(["mail"]), "{json}");
    ensure!(json["paused_until"].as_u64() > Some(0), "{json}");
    service::say("auto-ext-vm exclude mail --undo")?;
    service::say("auto-ext-vm resume")?;
    must_end("auto-ext-vm history", 0, "mail is excluded")
}
