//! The format as a JSON Schema, by which editors complete, explain and check a policy while it is
//! written. Owns the explanations; keys, names and limits are those of the modules that read them,
//! so that a key cannot be added there and forgotten here.
//!
//! A valid policy is always valid by the schema. The reverse holds as far as a schema can say it:
//! it knows nothing of durations' ranges, of `low` below `high`, or of names that are not defined.

use auto_ext_signals::{Level, Signal, Threshold, Thresholds};
use humantime::format_duration;
use serde_json::{Value, json};

use crate::candidate::KERNEL;
use crate::compat::Switch;
use crate::conditions::{Power, Profile};
use crate::known::Known;
use crate::policy::{Foreign, NO_CLASS, Policy};
use crate::trials::{Goal, TrialMode};
use crate::{compat, known, lists, metrics, rules, schedulers, schema, trials as section, when};
use auto_ext_service::config_file::fields::{MAX_FILE_NAME, MAX_NAME, MAX_PATH};
use auto_ext_service::config_file::json_schema::{
    choice, described, duration, mapping, name_pattern, or_empty, text, with_default,
};

/// The JSON Schema (draft 7) of a policy.
#[must_use]
pub fn json_schema() -> Value {
    let default = Policy::default();
    let mut root = mapping(
        schema::KEYS,
        [
            described(
                json!({"const": schema::VERSION}),
                "The version of this format",
            ),
            duration(
                default.window,
                &format!(
                    "How often the load is measured, {} to {}",
                    format_duration(schema::MIN_WINDOW),
                    format_duration(schema::MAX_WINDOW)
                ),
            ),
            with_default(
                choice(
                    &Foreign::ALL.map(Foreign::name),
                    "What to do about a sched_ext scheduler that auto-ext did not start: leave \
                     the machine to it, or take its place",
                ),
                default.foreign.name(),
            ),
            signals(&default.signals),
            schedulers(),
            lists(),
            rules(),
            stability(),
            metrics(),
            compat(),
            trials(),
        ],
        &["version"],
        "A policy of auto-ext: which CPU scheduler runs under which load",
    );
    // A file beside the policy may hold schedulers or lists alone.
    root["anyOf"] = schema::PART_KEYS[1..]
        .iter()
        .map(|key| json!({"required": [key]}))
        .collect();
    root["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    root["title"] = json!("auto-ext policy");
    root
}

fn signals(defaults: &Thresholds) -> Value {
    let thresholds = Signal::ALL.map(|signal| threshold(signal, defaults.get(signal)));
    let explanation = "When each signal is high and when it is low again";
    or_empty(mapping(
        Signal::ALL.map(Signal::name),
        thresholds,
        &[],
        explanation,
    ))
}

fn threshold(signal: Signal, default: Threshold) -> Value {
    let number = |default: f64, explanation: &str| {
        let max = schema::max_threshold(signal);
        let number = json!({"type": "number", "minimum": 0, "maximum": max, "default": default});
        described(number, explanation)
    };
    mapping(
        schema::THRESHOLD_KEYS,
        [
            number(default.high, "The signal is high from here on"),
            number(default.low, "It is low again from here down"),
            duration(
                default.mean_over,
                &format!(
                    "The time over which its mean is taken, up to {}",
                    format_duration(schema::MAX_SETTLE)
                ),
            ),
        ],
        &[],
        about(signal),
    )
}

fn about(signal: Signal) -> &'static str {
    match signal {
        Signal::Cpu => "All cores: the share of their time in which they ran a task",
        Signal::Parallel => "Tasks that wait for a CPU, per CPU in use",
        Signal::Contended => "CPUs in use: the share of their time in which a task waits for them",
        Signal::Io => "The share of the time in which somebody waits for disks",
        Signal::Net => "The share of used CPU time that the network took",
        Signal::Mem => "Page faults, as a share of used CPU time, and memory that runs short",
        Signal::Interactive => {
            "CPU time for frames, sound, input and the like; 1 is a tenth of a CPU"
        }
    }
}

fn schedulers() -> Value {
    let scheduler = mapping(
        schedulers::KEYS,
        [
            described(
                json!({"type": "string", "pattern": r"^(scx_[^/\s]+|/\S+)$", "maxLength": MAX_PATH}),
                "The program: a name that begins with `scx_`, or the absolute path of any",
            ),
            or_empty(described(
                json!({
                    "type": "array",
                    "items": text(schedulers::MAX_ARG),
                    "maxItems": schedulers::MAX_ARGS,
                    "examples": [["-m", "performance"]],
                }),
                "Its arguments",
            )),
        ],
        &["command"],
        "A program and its arguments",
    );
    or_empty(described(
        json!({
            "type": "object",
            "propertyNames": {"pattern": name_pattern(), "not": {"const": KERNEL}},
            "additionalProperties": scheduler,
            "maxProperties": schedulers::MAX_SCHEDULERS,
        }),
        "The schedulers that rules may use, by names of your choice",
    ))
}

fn lists() -> Value {
    let mut name = text(MAX_FILE_NAME);
    name["minLength"] = json!(1);
    let inline = json!({
        "type": "array",
        "items": name,
        "maxItems": lists::MAX_INLINE,
        "examples": [["hl2_linux", "SPEED2.EXE"]],
    });
    let mut path = text(MAX_PATH);
    path["examples"] = json!(["games.txt"]);
    let file = mapping(
        lists::KEYS,
        [described(
            path,
            "A file with a name in each line; a path that is not absolute is relative to the policy's directory",
        )],
        &lists::KEYS,
        "Names in a file of their own",
    );
    or_empty(described(
        json!({
            "type": "object",
            "propertyNames": {"pattern": name_pattern()},
            "additionalProperties": {"anyOf": [inline, file]},
            "maxProperties": lists::MAX_LISTS,
        }),
        "Exact names of programs, by a name for all of them that `process` and `except` use; those that end in \
         `.exe` are the same in upper and lower case",
    ))
}

fn rules() -> Value {
    let known = || known::ALL.iter().map(Known::name);
    let one_of = |names: Vec<&str>| json!({"anyOf": [{"enum": names}, text(MAX_NAME)]});
    let candidate = one_of(std::iter::once(KERNEL).chain(known()).collect());
    let mut challenger = one_of(known().collect());
    challenger["not"] = json!({"const": KERNEL});
    let mut class = text(MAX_NAME);
    class["pattern"] = json!(name_pattern());
    class["not"] = json!({"const": NO_CLASS});
    let rule = mapping(
        rules::KEYS,
        [
            described(class, "A name for the load, each once"),
            conditions(),
            described(
                json!({
                    "type": "array",
                    "items": candidate,
                    "minItems": 1,
                    "maxItems": rules::MAX_CANDIDATES,
                    "examples": [[KERNEL]],
                }),
                "What to run, best first: the first that is installed and has not failed lately",
            ),
            described(
                json!({
                    "type": "array",
                    "items": challenger,
                    "maxItems": rules::MAX_CANDIDATES,
                    "examples": [["flash"]],
                }),
                "What else to try in trials; does nothing where these are off",
            ),
            choice(
                &Goal::ALL.map(Goal::name),
                "What a scheduler has to be better at in trials; without it what the conditions suggest",
            ),
        ],
        &["class", "use"],
        "What to run when",
    );
    described(
        json!({"type": "array", "items": rule, "minItems": 1, "maxItems": rules::MAX_RULES}),
        "The first rule that matches wins: first of those with `process` or `cgroup`, then of \
         those with `power` or `profile`, then of all others",
    )
}

fn conditions() -> Value {
    let explanation = "Conditions that must all hold; without `when` a rule always matches";
    let mut conditions = mapping(
        when::KEYS,
        [
            programs(
                "A program that runs: the name of the process or of the program's file, or with \
                 a `/` its path; `*` stands for anything; one that ends in `.exe` for upper and \
                 lower case, and not for what wine runs by itself; or a list by its name, or what \
                 descends from another program",
            ),
            programs("Programs that do not count although `process` matches, written like that"),
            patterns(
                "A cgroup in which a program runs: its name, or with a `/` its path; `*` stands \
                 for anything",
            ),
            choice(&Power::ALL.map(Power::name), "What the machine runs on"),
            choice(
                &Profile::ALL.map(Profile::name),
                "The power profile that is chosen",
            ),
        ],
        &[],
        explanation,
    );
    for signal in Signal::ALL {
        let level = choice(&when::LEVELS.map(Level::name), about(signal));
        conditions["properties"][signal.name()] = level;
    }
    conditions["minProperties"] = json!(1);
    conditions["dependencies"] = json!({"except": ["process"]});
    conditions
}

/// Patterns for programs, and lists of them.
fn programs(explanation: &str) -> Value {
    let mut name = text(MAX_NAME);
    name["examples"] = json!(["games"]);
    let list = described(name, "One of `lists`");
    let listed = mapping(
        ["list"],
        [list.clone()],
        &["list"],
        "The programs of a list",
    );
    let by_name = json!({"anyOf": [pattern(), listed]});
    let descendants = mapping(
        when::PROGRAM_KEYS,
        [
            list,
            one_or_several(&by_name, "Only those of them that are called like that"),
            one_or_several(
                &by_name,
                "A program that led to them: what they ran before, what started them, and so on, also \
                 when it has ended; itself it does not count",
            ),
        ],
        &["descends"],
        "Programs told by what started them",
    );
    let program = json!({"anyOf": [pattern(), listed, descendants]});
    one_or_several(&program, explanation)
}

fn patterns(explanation: &str) -> Value {
    one_or_several(&pattern(), explanation)
}

fn pattern() -> Value {
    let mut pattern = text(when::MAX_PATTERN);
    pattern["minLength"] = json!(1);
    pattern
}

fn one_or_several(item: &Value, explanation: &str) -> Value {
    let list = json!({
        "type": "array",
        "items": item,
        "minItems": 1,
        "maxItems": when::MAX_PATTERNS,
    });
    described(
        json!({"anyOf": [list, item], "examples": [["name*"]]}),
        explanation,
    )
}

fn stability() -> Value {
    let default = Policy::default().stability;
    let switches = json!({
        "type": "integer",
        "minimum": schema::MIN_SWITCHES,
        "maximum": schema::MAX_SWITCHES,
        "default": default.max_switches_per_hour,
    });
    let up_to = |what: &str, max| format!("{what}, up to {}", format_duration(max));
    or_empty(mapping(
        schema::STABILITY_KEYS,
        [
            duration(
                default.min_run,
                &up_to(
                    "How long a scheduler stays before the next one",
                    schema::MAX_MIN_RUN,
                ),
            ),
            duration(
                default.settle,
                &up_to(
                    "How long a class stays after its conditions ceased to hold, when only a later rule applies",
                    schema::MAX_SETTLE,
                ),
            ),
            described(
                switches,
                "A scheduler takes two: its start, and the way back",
            ),
        ],
        &[],
        "How reluctant to switch",
    ))
}

fn compat() -> Value {
    or_empty(mapping(
        compat::KEYS,
        [with_default(
            described(
                // What reads YAML 1.1 takes them for truth values.
                json!({"enum": ["on", "off", true, false]}),
                "org.scx.Loader, by which scxctl, scx-manager, falcond and others ask for a scheduler",
            ),
            Switch::default().name(),
        )],
        &[],
        "Interfaces of other services that auto-ext offers to their clients",
    ))
}

fn trials() -> Value {
    let default = Policy::default().trials;
    // What reads YAML 1.1 takes two of them for truth values.
    let names = TrialMode::ALL.map(TrialMode::name).map(Value::from);
    let modes: Vec<Value> = names
        .into_iter()
        .chain([json!(true), json!(false)])
        .collect();
    let (least, most) = (section::MIN_EXPOSURE, section::MAX_EXPOSURE);
    or_empty(mapping(
        section::KEYS,
        [
            with_default(
                described(
                    json!({"enum": modes}),
                    "Whether schedulers are tried: never; only measured how far two turns of the same one differ; while a \
                     person consents; or always",
                ),
                default.mode.name(),
            ),
            with_default(
                described(
                    json!({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? *%$"}),
                    &format!(
                        "Which share of a day may run on schedulers of which nothing is proven, {least}% to {most}%"
                    ),
                ),
                &format!("{}%", default.exposure * 100.0),
            ),
            duration(
                default.arm,
                &format!(
                    "For how long each of two schedulers that are compared is measured, {} to {}",
                    format_duration(section::MIN_ARM),
                    format_duration(section::MAX_ARM)
                ),
            ),
        ],
        &[],
        "Trials: whether other schedulers would be better on this machine",
    ))
}

fn metrics() -> Value {
    or_empty(mapping(
        metrics::KEYS,
        [
            described(
                json!({
                    "type": "string",
                    "pattern": r"^/.*\.prom$",
                    "maxLength": MAX_PATH,
                    "examples": ["/var/lib/prometheus/node-exporter/auto-ext.prom"],
                }),
                "A file for the textfile collector of node_exporter",
            ),
            duration(
                Policy::default().metrics.every,
                &format!(
                    "How often that file is written, {} to {}",
                    format_duration(metrics::MIN_EVERY),
                    format_duration(metrics::MAX_EVERY)
                ),
            ),
            described(
                json!({
                    "type": "string",
                    "pattern": r"^(/.*[^/]|127(\.[0-9]+){3}:[0-9]+|\[[0:]+1\]:[0-9]+)$",
                    "maxLength": metrics::MAX_SOCKET,
                    "examples": ["/run/auto-ext/metrics.sock", "127.0.0.1:9797"],
                }),
                "Where to be asked by HTTP: the path of a socket, or a loopback address",
            ),
        ],
        &[],
        "Where Prometheus can read what is counted and measured",
    ))
}
