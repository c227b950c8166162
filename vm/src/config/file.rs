//! The file `vm.yaml`: what its keys mean and their ranges. What is wrong is told with its place, all of it at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auto_ext_service::config_file::error::{ConfigError, Problem, Problems, Warning, judge, quote};
use auto_ext_service::config_file::fields::Fields;
use auto_ext_service::config_file::format::Format;
use auto_ext_service::config_file::utf8::utf8;
use auto_ext_service::config_file::yaml::{Node, Value};
use auto_ext_service::config_file::{lookalike, tree};
use auto_ext_service::cpu_list;

use super::settings::{CpuMode, Foreign, MemoryMode, PinBy, Settings, Switch, UnderScx};
use super::values::{GuestConfig, Reclaim};
use crate::snapshot::Mib;

/// Where it is.
pub const PATH: &str = "/etc/auto-ext/vm.yaml";
/// The largest file, in bytes.
pub const MAX_BYTES: usize = 1 << 18;
/// The version of the format that is read.
pub(super) const VERSION: u32 = 1;

pub(super) const KEYS: [&str; 6] = ["version", "interval", "qmp", "cpu", "memory", "guests"];
pub(super) const CPU_KEYS: [&str; 5] = ["mode", "pin_by", "foreign", "cpus", "under_scx"];
pub(super) const MEMORY_KEYS: [&str; 7] = [
    "mode",
    "interval",
    "reserve",
    "host_floor",
    "step",
    "reclaim",
    "count_cache",
];
pub(super) const GUEST_KEYS: [&str; 4] = ["name", "cpu", "memory", "weight"];
pub(super) const GUEST_MEMORY_KEYS: [&str; 1] = ["min"];

pub(super) const INTERVALS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
pub(super) const RESERVE: [u32; 2] = [100, 1 << 20];
pub(super) const HOST_FLOOR: [u32; 2] = [200, 1 << 24];
pub(super) const STEP: [u32; 2] = [16, 4096];
pub(super) const MIN: [u32; 2] = [200, 1 << 24];
pub(super) const WEIGHT: [f64; 2] = [0.1, 10.0];
pub(super) const MAX_GUESTS: usize = 4096;
pub(super) const MAX_NAME: usize = 255;
pub(super) const MAX_SOCKETS: usize = 1024;
/// The longest path of a socket, in bytes (unix(7)).
pub(super) const MAX_SOCKET: usize = 107;
/// The longest list of CPUs, in bytes.
pub(super) const MAX_LIST: usize = 4096;

const FORMAT: Format = Format {
    name: "a configuration",
    least: "`version: 1`",
};

/// Valid settings, and the warnings about the file that they came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The settings.
    pub settings: Settings,
    /// Characters that look like others.
    pub warnings: Vec<Warning>,
}

/// Reads the contents of a file; `path` only names it in errors. Of a longer file than [`MAX_BYTES`], one byte more is enough.
///
/// # Errors
/// All that is wrong with it, with lines and columns.
pub fn parse(path: &Path, bytes: Vec<u8>) -> Result<Checked, ConfigError> {
    let mut all = Problems::of_each(vec![path.to_owned()]);
    let problems = &mut all[0];
    let mut settings = Settings::default();
    match text(bytes) {
        Ok(text) => {
            match tree(&text, FORMAT) {
                Ok(root) => {
                    read(problems, &root, &mut settings);
                    lookalike::warn(problems, &root);
                }
                Err(problem) => problems.add_problem(problem),
            }
            lookalike::explain(problems, &text);
        }
        Err(problem) => problems.add_problem(problem),
    }
    let warnings = judge(all)?;
    Ok(Checked { settings, warnings })
}

fn text(bytes: Vec<u8>) -> Result<String, Problem> {
    if bytes.len() > MAX_BYTES {
        let message = "the file is larger than 256 KiB, which no configuration needs";
        return Err(Problem::with_file(message));
    }
    utf8(bytes)
}

fn read(problems: &mut Problems, root: &Node, settings: &mut Settings) {
    let Some(mut fields) = problems.mapping(root, "a configuration", "version: 1") else {
        return;
    };
    if let Some(node) = fields.get("version")
        && !matches!(&node.value, Value::Text { text, plain: true } if *text == VERSION.to_string())
    {
        let shown = node.value.shown();
        let message =
            format!("`version` is {shown}, but this auto-ext-vm reads `version: {VERSION}`");
        problems.add(node.at, message);
        return;
    }
    problems.check_keys(&mut fields, &KEYS);
    problems.required(&fields, "version", "version: 1");
    if let Some(node) = fields.get("interval") {
        set(&mut settings.interval, interval(problems, node));
    }
    if let Some(node) = fields.get_filled("qmp") {
        qmp(problems, node, &mut settings.qmp);
    }
    if let Some(node) = fields.get_filled("cpu") {
        cpu(problems, node, settings);
    }
    if let Some(node) = fields.get_filled("memory") {
        memory(problems, node, settings);
    }
    if let Some(node) = fields.get_filled("guests") {
        guests(problems, node, &mut settings.guests);
    }
}

fn set<T>(to: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *to = value;
    }
}

fn interval(problems: &mut Problems, node: &Node) -> Option<Duration> {
    let [min, max] = INTERVALS;
    problems.duration(node, "`interval`", min, max)
}

/// Paths of sockets and of directories of them.
fn qmp(problems: &mut Problems, node: &Node, sockets: &mut Vec<PathBuf>) {
    let Some(items) = problems.list(node, "`qmp`", MAX_SOCKETS, "[/run/vms]") else {
        return;
    };
    for item in items {
        let what = "a path such as `/run/vms`";
        let Some(text) = problems.text(item, "a socket in `qmp`", what, MAX_SOCKET) else {
            continue;
        };
        let path = PathBuf::from(text);
        if !path.is_absolute() {
            let message = format!("the path {} does not begin with `/`", quote(text));
            problems.add(item.at, message);
        } else if sockets.contains(&path) {
            problems.add(item.at, format!("{} is given twice", quote(text)));
        } else {
            sockets.push(path);
        }
    }
}

fn cpu(problems: &mut Problems, node: &Node, settings: &mut Settings) {
    let Some(fields) = problems.fields(node, "`cpu`", "{mode: observe}", &CPU_KEYS) else {
        return;
    };
    let cpu = &mut settings.cpu;
    if let Some(node) = fields.get("mode") {
        set(
            &mut cpu.mode,
            problems.choice(node, "`mode`", &CpuMode::ALL, CpuMode::name),
        );
    }
    if let Some(node) = fields.get("pin_by") {
        set(
            &mut cpu.pin_by,
            problems.choice(node, "`pin_by`", &PinBy::ALL, PinBy::name),
        );
    }
    if let Some(node) = fields.get("foreign") {
        set(
            &mut cpu.foreign,
            problems.choice(node, "`foreign`", &Foreign::ALL, Foreign::name),
        );
    }
    if let Some(node) = fields.get("under_scx") {
        set(
            &mut cpu.under_scx,
            problems.choice(node, "`under_scx`", &UnderScx::ALL, UnderScx::name),
        );
    }
    if let Some(node) = fields.get_filled("cpus")
        && let Some(text) = problems.text(node, "`cpus`", "a list such as `2-7,10`", MAX_LIST)
    {
        match cpu_list::parse(text) {
            Ok(cpus) if !cpus.is_empty() => cpu.cpus = Some(cpus),
            Ok(_) => problems.add(node.at, "`cpus` has none; leave it out for all"),
            Err(_) => {
                let message = format!("`cpus` is {}; write a list such as `2-7,10`", quote(text));
                problems.add(node.at, message);
            }
        }
    }
}

fn memory(problems: &mut Problems, node: &Node, settings: &mut Settings) {
    let Some(fields) = problems.fields(node, "`memory`", "{mode: observe}", &MEMORY_KEYS) else {
        return;
    };
    let memory = &mut settings.memory;
    if let Some(node) = fields.get("mode") {
        set(
            &mut memory.mode,
            problems.choice(node, "`mode`", &MemoryMode::ALL, MemoryMode::name),
        );
    }
    if let Some(node) = fields.get("interval") {
        set(&mut memory.interval, interval(problems, node));
    }
    let mut size = |key, range, to: &mut Mib| {
        if let Some(node) = fields.get(key) {
            set(to, mib(problems, node, key, range));
        }
    };
    size("reserve", RESERVE, &mut memory.reserve);
    size("host_floor", HOST_FLOOR, &mut memory.host_floor);
    size("step", STEP, &mut memory.step);
    if let Some(node) = fields.get("reclaim") {
        set(
            &mut memory.reclaim,
            problems.choice(node, "`reclaim`", &Reclaim::ALL, Reclaim::name),
        );
    }
    if let Some(node) = fields.get("count_cache") {
        set(
            &mut memory.count_cache,
            switch(problems, node, "`count_cache`"),
        );
    }
}

fn switch(problems: &mut Problems, node: &Node, what: &str) -> Option<bool> {
    let switch = problems.choice(node, what, &Switch::ALL, Switch::name)?;
    Some(switch == Switch::On)
}

/// Whole MiB in a range.
fn mib(problems: &mut Problems, node: &Node, key: &str, [min, max]: [u32; 2]) -> Option<Mib> {
    let what = quote(key);
    let number = problems.number(node, &what)?;
    if number.fract() == 0.0 && (f64::from(min)..=f64::from(max)).contains(&number) {
        return Some(number);
    }
    let shown = node.value.shown();
    let message =
        format!("{what} is {shown}; it must be a whole number of MiB from {min} to {max}");
    problems.add(node.at, message);
    None
}

fn guests(problems: &mut Problems, node: &Node, guests: &mut BTreeMap<String, GuestConfig>) {
    let example = "[{name: mail, cpu: off}]";
    let Some(items) = problems.list(node, "`guests`", MAX_GUESTS, example) else {
        return;
    };
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    for item in items {
        let Some(fields) = problems.fields(item, "a guest", "{name: mail}", &GUEST_KEYS) else {
            continue;
        };
        let Some(node) = problems.required(&fields, "name", "name: mail") else {
            continue;
        };
        let Some(name) = problems.text(node, "`name`", "the name of a guest", MAX_NAME) else {
            continue;
        };
        if name.is_empty() {
            problems.add(node.at, "`name` is empty");
        } else if let Some(line) = lines.insert(name.to_owned(), node.at.line) {
            let message = format!("the guest {} is already given on line {line}", quote(name));
            problems.add(node.at, message);
        } else {
            guests.insert(name.to_owned(), guest(problems, &fields));
        }
    }
}

fn guest(problems: &mut Problems, fields: &Fields<'_>) -> GuestConfig {
    let mut guest = GuestConfig::default();
    if let Some(node) = fields.get("cpu") {
        set(&mut guest.cpu, switch(problems, node, "`cpu`"));
    }
    if let Some(node) = fields.get("memory") {
        guest_memory(problems, node, &mut guest);
    }
    if let Some(node) = fields.get("weight") {
        let [min, max] = WEIGHT;
        match problems.number(node, "`weight`") {
            Some(weight) if (min..=max).contains(&weight) => guest.weight = weight,
            Some(weight) => {
                let message = format!("`weight` is `{weight}`; it must be from {min} to {max}");
                problems.add(node.at, message);
            }
            None => {}
        }
    }
    guest
}

/// `on`, `off`, or what it has at least.
fn guest_memory(problems: &mut Problems, node: &Node, guest: &mut GuestConfig) {
    if matches!(node.value, Value::Text { .. }) {
        set(&mut guest.memory, switch(problems, node, "`memory`"));
        return;
    }
    let fields = problems.fields(node, "`memory`", "{min: 512}", &GUEST_MEMORY_KEYS);
    if let Some(node) = fields.and_then(|fields| fields.get("min")) {
        set(&mut guest.min, mib(problems, node, "min", MIN));
    }
}
