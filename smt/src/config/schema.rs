//! The configuration's format as a JSON Schema, by which editors complete and check it.

use serde_json::{Value, json};

use super::values::{HOLD, MARGIN, MAX_ITEMS, MAX_TEXT, NEVER, VERSION, WEIGHT};

/// The JSON Schema (draft 7). What is valid is always valid by it; the reverse holds but for the ranges of times and shares.
#[must_use]
pub fn json_schema() -> Value {
    let time = |what: &str| json!({"type": "string", "pattern": "^[0-9]", "description": what});
    let list = |what: &str| {
        let text = json!({"type": "string", "maxLength": MAX_TEXT});
        json!({"type": "array", "items": text, "maxItems": MAX_ITEMS, "description": what})
    };
    let one_of = |words: &[&str], what: &str| json!({"enum": words, "default": words[0], "description": what});
    let hold = format!(
        "How long what was adopted stays until it is tried anew, {} h to {} h",
        HOLD.start().as_secs_f64() / 3600.0,
        HOLD.end().as_secs() / 3600
    );
    let margin = format!(
        "What has to be gained at least, {}% to {}%",
        MARGIN.start(),
        MARGIN.end()
    );
    let weight =
        json!({"type": "number", "minimum": WEIGHT.start(), "maximum": WEIGHT.end()});
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "auto-ext-smt configuration",
        "description": "Which long-running groups of processes share a core",
        "type": "object",
        "additionalProperties": false,
        "required": ["version"],
        "properties": {
            "version": {"const": VERSION, "description": "The version of this format"},
            "act": one_of(&["observe", "trial"], "Only look, or try what promises to be better and keep what proves so"),
            "group_by": one_of(&["cgroup", "process-group"], "What belongs together"),
            "long_running": time("How long a group has to run before it counts, up to 30d"),
            "exclude": list("Jobs, programs and cgroups that are left alone"),
            "protect": list("Jobs whose speed counts four times"),
            "weights": {
                "type": "object",
                "additionalProperties": weight,
                "maxProperties": MAX_ITEMS,
                "description": "How much the speed of jobs counts; that of others, 1"
            },
            "margin": {"type": "string", "pattern": "^[0-9.]+%$", "default": "2%", "description": margin},
            "hold": time(&hold),
            "with_sched_ext": {
                "anyOf": [{"const": NEVER}, list("Names as the kernel has them")],
                "default": NEVER,
                "description": "The sched_ext schedulers beside which groups are placed"
            },
            "metric": one_of(&["ipc", "rate"], "What speed is: instructions per cycle, or per second of CPU time")
        }
    })
}
