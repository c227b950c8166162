//! The configuration's format as a JSON Schema, by which editors complete and check it.

use auto_ext_service::config_file::json_schema::{
    choice, described, duration, mapping, or_empty, text, with_default,
};
use serde_json::{Value, json};

use super::parse::{
    ACTS, GROUPS, HOLD, KEYS, MARGIN, MAX_ITEMS, MAX_PATTERN, METRICS, NEVER, VERSION, WEIGHT,
    act_name, group_name, metric_name,
};
use super::settings::Config;

/// The JSON Schema (draft 7). What is valid is always valid by it; the reverse holds but for the ranges of times and shares.
#[must_use]
pub fn json_schema() -> Value {
    let default = Config::default();
    let list = |what: &str| {
        let list = json!({"type": "array", "items": text(MAX_PATTERN), "maxItems": MAX_ITEMS});
        or_empty(described(list, what))
    };
    let weight = json!({"type": "number", "minimum": WEIGHT.start(), "maximum": WEIGHT.end()});
    let weights = json!({
        "type": "object",
        "additionalProperties": weight,
        "maxProperties": MAX_ITEMS,
    });
    let margin = json!({"type": "string", "pattern": "^[0-9.]+%$"});
    let (least, most) = (MARGIN.start(), MARGIN.end());
    let beside = json!({"anyOf": [{"const": NEVER}, list("Names as the kernel has them")]});
    let hours = |time: &std::time::Duration| time.as_secs_f64() / 3600.0;
    let (soonest, latest) = (hours(HOLD.start()), hours(HOLD.end()));
    let version: Value = json!({"enum": [1, VERSION]});
    let mut root = mapping(
        KEYS,
        [
            described(version, "The version of this format"),
            with_default(
                choice(
                    &ACTS.map(act_name),
                    "Only look, or try what promises to be better and keep what proves so",
                ),
                act_name(default.act),
            ),
            with_default(
                choice(&GROUPS.map(group_name), "What belongs together"),
                group_name(default.group_by),
            ),
            duration(
                default.long_running,
                "How long a group has to run before it counts, up to 30 days",
            ),
            list("Jobs, programs and cgroups that are left alone"),
            list("Jobs whose speed counts four times"),
            or_empty(described(
                weights,
                "How much the speed of jobs counts; that of others, 1",
            )),
            with_default(
                described(
                    margin,
                    &format!("What has to be gained at least, {least}% to {most}%"),
                ),
                "2%",
            ),
            duration(
                default.hold,
                &format!(
                    "How long what was adopted stays until it is tried anew, {soonest:.1} to {latest} hours"
                ),
            ),
            with_default(
                described(
                    beside,
                    "The sched_ext schedulers beside which groups are placed",
                ),
                NEVER,
            ),
            with_default(
                choice(
                    &METRICS.map(metric_name),
                    "What speed is: instructions per cycle, or per second of CPU time",
                ),
                metric_name(default.metric),
            ),
        ],
        &["version"],
        "Which long-running groups of processes share a core",
    );
    root["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    root["title"] = json!("auto-ext-smt configuration");
    root
}
