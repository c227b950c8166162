//! The format as a JSON Schema, by which editors complete, explain and check the file while it is written. Keys, words and limits
//! are those of the modules that read them. A valid file is always valid by it; the reverse holds as far as a schema can say it.

use auto_ext_service::config_file::json_schema::{
    choice, described, duration, mapping, or_empty, with_default,
};
use serde_json::{Value, json};

use super::file::{
    CPU_KEYS, GUEST_KEYS, GUEST_MEMORY_KEYS, HOST_FLOOR, KEYS, MAX_GUESTS, MAX_LIST, MAX_NAME,
    MAX_SOCKET, MAX_SOCKETS, MEMORY_KEYS, MIN, RESERVE, STEP, VERSION, WEIGHT,
};
use super::settings::{CpuMode, Foreign, MemoryMode, PinBy, Settings, UnderScx};
use super::values::Reclaim;
use crate::snapshot::Mib;

/// The JSON Schema (draft 7) of the file.
#[must_use]
pub fn json_schema() -> Value {
    let default = Settings::default();
    let version = json!({"const": VERSION});
    let mut root = mapping(
        KEYS,
        [
            described(version, "The version of this format"),
            duration(default.interval, "How long a window is, 1s to 1m"),
            qmp(),
            cpu(),
            memory(&default),
            guests(),
        ],
        &["version"],
        "What auto-ext-vm does about the virtual machines of this host",
    );
    root["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    root["title"] = json!("auto-ext-vm");
    root
}

/// One of these words, of which the first is the default.
fn words<T: Copy>(all: &[T], name: fn(T) -> &'static str, explanation: &str) -> Value {
    let names: Vec<&str> = all.iter().map(|word| name(*word)).collect();
    with_default(choice(&names, explanation), names[0])
}

/// Editors that read YAML 1.1 take `on` and `off` for `true` and `false`.
fn switch(explanation: &str) -> Value {
    let either = json!({"enum": ["on", "off", true, false]});
    described(either, explanation)
}

fn mib([min, max]: [u32; 2], default: Mib, explanation: &str) -> Value {
    let size = json!({"type": "integer", "minimum": min, "maximum": max, "default": default});
    described(size, explanation)
}

fn qmp() -> Value {
    let path = json!({"type": "string", "pattern": "^/", "maxLength": MAX_SOCKET});
    json!({
        "type": ["array", "null"],
        "items": path,
        "uniqueItems": true,
        "maxItems": MAX_SOCKETS,
        "description": "The QMP sockets of guests that libvirt does not run, and directories of such; libvirt is not asked then",
    })
}

fn cpu() -> Value {
    let cpus = json!({"type": ["string", "integer", "null"], "maxLength": MAX_LIST});
    or_empty(mapping(
        CPU_KEYS,
        [
            words(
                &CpuMode::ALL,
                CpuMode::name,
                "What is done about vCPUs: nothing but saying what would be done, pin each to a CPU, or let each run on the CPUs \
                 of its guest's node",
            ),
            words(
                &PinBy::ALL,
                PinBy::name,
                "Who is told where a vCPU runs: libvirt, which then shows it too, or the kernel alone",
            ),
            words(
                &Foreign::ALL,
                Foreign::name,
                "What becomes of a vCPU that somebody else pins: it is left to them, or pinned here again",
            ),
            described(
                cpus,
                "The CPUs that vCPUs may be pinned to, such as 2-7,10; all if it is left out",
            ),
            words(
                &UnderScx::ALL,
                UnderScx::name,
                "What is done while a sched_ext scheduler runs, which places vCPUs itself",
            ),
        ],
        &[],
        "On which CPUs vCPUs run",
    ))
}

fn memory(default: &Settings) -> Value {
    let memory = &default.memory;
    or_empty(mapping(
        MEMORY_KEYS,
        [
            words(
                &MemoryMode::ALL,
                MemoryMode::name,
                "What is done about memory: nothing but saying what would be done, or give and take it by the balloon",
            ),
            duration(
                memory.interval,
                "How often balloons' drivers speak, 1s to 1m",
            ),
            mib(
                RESERVE,
                memory.reserve,
                "What each guest has unused at least, in MiB",
            ),
            mib(HOST_FLOOR, memory.host_floor, "What the host keeps, in MiB"),
            mib(
                STEP,
                memory.step,
                "What is given or taken at once at most, in MiB; twice that is given in distress",
            ),
            words(
                &Reclaim::ALL,
                Reclaim::name,
                "When memory is taken from guests that have some to spare: when somebody needs it, or always",
            ),
            with_default(
                switch("Whether what caches use is used memory, which is not taken"),
                "on",
            ),
        ],
        &[],
        "How much memory guests have",
    ))
}

fn guests() -> Value {
    let name =
        json!({"type": ["string", "number", "boolean"], "minLength": 1, "maxLength": MAX_NAME});
    let min = json!({"type": "integer", "minimum": MIN[0], "maximum": MIN[1]});
    let memory = mapping(
        GUEST_MEMORY_KEYS,
        [described(min, "What it has at least, in MiB")],
        &[],
        "Its memory",
    );
    let weight =
        json!({"type": "number", "minimum": WEIGHT[0], "maximum": WEIGHT[1], "default": 1});
    let guest = mapping(
        GUEST_KEYS,
        [
            described(name, "Its name, as libvirt has it"),
            switch("Whether its vCPUs may be pinned"),
            json!({"anyOf": [memory, switch("Whether its memory may be changed")]}),
            described(weight, "How much it counts where memory is short"),
        ],
        &["name"],
        "A guest",
    );
    json!({
        "type": ["array", "null"],
        "items": guest,
        "maxItems": MAX_GUESTS,
        "description": "What is other for single guests",
    })
}
