//! The file `vm.yaml`: what it means, and what is said of what is wrong with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use auto_ext_vm::config::{
    Checked, CpuMode, Foreign, MAX_BYTES, MemoryMode, Mode, PinBy, Reclaim, Settings, UnderScx,
    json_schema, parse,
};
use auto_ext_vm::snapshot::GuestId;
use serde_json::Value;

const SHIPPED: &str = include_str!("../../vm.yaml");

const ALL: &str = "version: 1
interval: 10s
qmp: [/run/vms, /run/other.sock]
cpu: {mode: pin, pin_by: kernel, foreign: replace, cpus: '2-4,7', under_scx: pin}
memory:
  mode: balloon
  interval: 2s
  reserve: 128
  host_floor: 1024
  step: 64
  reclaim: always
  count_cache: off
guests:
  - {name: mail, cpu: off, memory: {min: 512}, weight: 2}
  - name: build
    memory: off
";

/// Files with what is said of them.
const WRONG: &[(&str, &str)] = &[
    (
        "",
        "1:1: error: the file is empty; a configuration needs at least `version: 1`",
    ),
    ("cpu: {mode: pin}", "1:1: error: `version` is missing"),
    (
        "version: 2",
        "1:10: error: `version` is `2`, but this auto-ext-vm reads `version: 1`",
    ),
    (
        "version: 1\ncpus: 3",
        "2:1: error: unknown key `cpus`, did you mean `cpu`?",
    ),
    (
        "version: 1\ninterval: 5",
        "2:11: error: `interval` must be a duration, not `5`",
    ),
    (
        "version: 1\ninterval: 1h",
        "2:11: error: `interval` is `1h`; it must be from 1s to 1m",
    ),
    (
        "version: 1\nqmp: /run/vms",
        "2:6: error: `qmp` must be a list such as `[/run/vms]`",
    ),
    (
        "version: 1\nqmp: [/run/a, vm.sock]",
        "2:15: error: the path `vm.sock` does not begin with `/`",
    ),
    (
        "version: 1\nqmp: [/run/a, /run/a]",
        "2:15: error: `/run/a` is given twice",
    ),
    (
        "version: 1\ncpu: {mode: pinned}",
        "2:13: error: `mode` cannot be `pinned`; valid here: `observe`, `pin`, `node`",
    ),
    (
        "version: 1\ncpu: {cpus: 4-2}",
        "2:13: error: `cpus` is `4-2`; write a list such as `2-7,10`",
    ),
    (
        "version: 1\ncpu: {cpus: ''}",
        "2:13: error: `cpus` has none",
    ),
    (
        "version: 1\nmemory: {reserve: 50}",
        "2:19: error: `reserve` is `50`; it must be a whole number of MiB from 100",
    ),
    (
        "version: 1\nmemory: {reserve: 100.5}",
        "must be a whole number of MiB",
    ),
    (
        "version: 1\nmemory: {host_floor: 199}",
        "2:22: error: `host_floor` is `199`",
    ),
    (
        "version: 1\nmemory: {step: 100MiB}",
        "2:16: error: `step` must be a number, not `100MiB`",
    ),
    (
        "version: 1\nmemory: {count_cache: maybe}",
        "2:23: error: `count_cache` cannot be `maybe`",
    ),
    (
        "version: 1\nguests: {mail: 1}",
        "2:9: error: `guests` must be a list such as",
    ),
    (
        "version: 1\nguests: [{cpu: off}]",
        "2:10: error: `name` is missing",
    ),
    (
        "version: 1\nguests: [{name: a}, {name: a}]",
        "2:28: error: the guest `a` is already given on line 2",
    ),
    (
        "version: 1\nguests: [{name: a, weight: 0}]",
        "`weight` is `0`; it must be from 0.1 to 10",
    ),
    (
        "version: 1\nguests: [{name: a, memory: {min: 100}}]",
        "`min` is `100`",
    ),
    (
        "version: 1\nguests: [{name: a, memory: {max: 300}}]",
        "unknown key `max`",
    ),
    (
        "version: 1\ncpu: &a {}",
        "2:6: error: `&a` is a YAML anchor, which a configuration cannot use",
    ),
    ("version: 1\n\tcpu:", "2:1: error: a tab indents this line"),
    (
        "version: 1\ncpu: {mode: “pin”}",
        "line 2 has a typographic quote",
    ),
];

fn read(text: &str) -> Result<Checked, String> {
    let read = parse(Path::new("vm.yaml"), text.as_bytes().to_vec());
    read.map_err(|error| error.to_string())
}

/// The shipped file with all that is commented out.
fn uncommented() -> String {
    let lines = SHIPPED
        .lines()
        .map(|line| match line.trim_start().strip_prefix('#') {
            Some(rest)
                if !rest.starts_with(' ')
                    || rest.starts_with("  -")
                    || rest.starts_with("    ") =>
            {
                let indent = &line[..line.len() - line.trim_start().len()];
                format!("{indent}{rest}\n")
            }
            _ => format!("{line}\n"),
        });
    lines.collect()
}

#[test]
fn what_is_shipped_changes_nothing_and_shows_the_defaults() {
    let checked = read(SHIPPED).unwrap();
    assert_eq!(checked.settings, Settings::default());
    assert_eq!(checked.warnings, []);
    let config = checked.settings.config(std::iter::empty());
    assert_eq!(
        (config.cpu.mode, config.memory.mode),
        (Mode::Observe, Mode::Observe)
    );
    let uncommented = read(&uncommented()).unwrap().settings;
    assert_eq!(uncommented.guests.len(), 2);
    assert_eq!(uncommented.cpu.cpus.unwrap().len(), 6);
}

#[test]
fn every_key_means_what_it_says() {
    let settings = read(ALL).unwrap().settings;
    assert_eq!(settings.interval, Duration::from_secs(10));
    let qmp = ["/run/vms", "/run/other.sock"].map(PathBuf::from);
    assert_eq!(settings.qmp, qmp);
    let cpu = &settings.cpu;
    assert_eq!((cpu.mode, cpu.pin_by), (CpuMode::Pin, PinBy::Kernel));
    assert_eq!(
        (cpu.foreign, cpu.under_scx),
        (Foreign::Replace, UnderScx::Pin)
    );
    assert_eq!(cpu.cpus, Some([2, 3, 4, 7].into()));
    assert_eq!(settings.memory.mode, MemoryMode::Balloon);
    let ids = ["1", "2", "3"].map(GuestId::new);
    let config = settings.config(ids.iter().zip(["mail", "build", "web"]));
    assert!(config.cpu.replace_foreign && !config.cpu.by_node);
    let memory = &config.memory;
    assert_eq!((memory.mode, memory.reclaim), (Mode::Act, Reclaim::Always));
    assert_eq!(memory.period, Duration::from_secs(2));
    assert_eq!(
        [memory.reserve, memory.host_floor, memory.step],
        [128.0, 1024.0, 64.0]
    );
    assert!(!memory.count_cache);
    let [mail, build, web] = ids.map(|id| config.of(&id));
    assert!(!mail.cpu && mail.memory && build.cpu && !build.memory && web.cpu && web.memory);
    assert_eq!((mail.min, mail.weight, web.min), (512.0, 2.0, 0.0));
    let by_node = read("version: 1\ncpu: {mode: node}").unwrap().settings;
    assert!(by_node.config(std::iter::empty()).cpu.by_node);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, said) in WRONG {
        let error = read(text).unwrap_err();
        assert!(
            error.starts_with("vm.yaml:") && error.contains(said),
            "{text}: {error}"
        );
    }
    let two = read("version: 1\ncpu: {mode: x}\nmemory: {mode: y}").unwrap_err();
    assert_eq!(two.lines().count(), 2, "{two}");
    let long = vec![b'#'; MAX_BYTES + 1];
    let error = parse(Path::new("vm.yaml"), long).unwrap_err().to_string();
    assert!(error.contains("larger than 256 KiB"), "{error}");
}

#[test]
fn the_schema_takes_what_is_read_and_marks_what_it_can_of_what_is_not() {
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("vm", json_schema()).unwrap();
    let index = compiler.compile("vm", &mut schemas).unwrap();
    let is_valid = |text: &str| {
        let value: Value = serde_saphyr::from_str(text).unwrap();
        schemas
            .validate(&value, index)
            .map_err(|error| error.to_string())
    };
    for text in [
        SHIPPED,
        &uncommented(),
        ALL,
        "version: 1",
        "version: 1\ncpu:",
    ] {
        is_valid(text).unwrap();
    }
    // What no schema sees: how a text looks inside, and names that are given twice.
    let beyond = [
        "it must be from 1s",
        "write a list",
        "already given",
        "has none",
        "line 2 has",
    ];
    let mut marked = 0;
    for (text, said) in WRONG {
        let is_beyond = beyond.iter().any(|beyond| said.contains(beyond));
        if !is_beyond
            && serde_saphyr::from_str::<Value>(text).is_ok()
            && !text.is_empty()
            && !text.contains('&')
        {
            assert!(is_valid(text).is_err(), "{text}");
            marked += 1;
        }
    }
    assert!(marked > 12, "{marked}");
}
