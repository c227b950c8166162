//! Holds `tests/golden/arithmetic.json` and `include/foresight_model.h` to this crate. BPF programs include the header, and are held
//! to the table, so that both sides compute the same.
//!
//! `FORESIGHT_GOLDEN=write cargo test -p foresight-model --test golden` writes both anew.

use std::path::Path;

use foresight_model::burst::{self, FEATURES, Task, Wakeup};
use foresight_model::fixed::{self, MAX_FEATURE, MAX_WEIGHT, ONE};
use foresight_model::moves::{self, INPUTS};
use foresight_model::quantise::{self, Quantised};
use foresight_model::{line, mlp};
use serde_json::{Value, json};

/// Numbers of any size, as many small ones as large ones.
fn any(rng: &mut fastrand::Rng) -> u64 {
    rng.u64(..) >> rng.u32(..64)
}

fn within(rng: &mut fastrand::Rng, most: i32) -> i32 {
    match rng.u8(..8) {
        0 => -most * ONE,
        1 => most * ONE,
        2 => 0,
        _ => rng.i32(-most * ONE..=most * ONE),
    }
}

fn many(count: usize, mut one: impl FnMut() -> Value) -> Vec<Value> {
    (0..count).map(|_| one()).collect()
}

fn numbers(rng: &mut fastrand::Rng) -> Value {
    let mut values: Vec<u64> = vec![0, 1, 2, 3, 65535, 65536, 65537, u64::MAX];
    values.extend((0..100).map(|_| any(rng)));
    let log2: Vec<_> = values
        .iter()
        .map(|value| json!([value, fixed::log2_q16(*value)]))
        .collect();
    let exponents = (-2_i64..44).flat_map(|whole| [whole << 16, (whole << 16) + 40_503]);
    let exp2: Vec<_> = exponents
        .map(|exponent| json!([exponent, fixed::exp2_q16(exponent)]))
        .collect();
    json!({ "log2": log2, "exp2": exp2 })
}

fn rules(rng: &mut fastrand::Rng) -> Value {
    let max = |rng: &mut fastrand::Rng| rng.u64(burst::SLICE_MIN_NS..20_000_000);
    let deviation = many(40, || {
        let w: [i32; FEATURES] = std::array::from_fn(|_| within(rng, MAX_WEIGHT));
        let x: [i32; FEATURES] = std::array::from_fn(|_| within(rng, MAX_FEATURE));
        // Of which many do not reach the ends.
        let w = if rng.bool() { w.map(|w| w >> 10) } else { w };
        json!([w, x, burst::deviation(&w, &x)])
    });
    let predict = many(60, || {
        let (average, deviation, max) = (rng.i32(0..64 * ONE), within(rng, 8), max(rng));
        json!([
            average,
            deviation,
            max,
            burst::predict_ns(average, deviation, max)
        ])
    });
    let request = many(60, || {
        let max = max(rng);
        let (predicted, ran) = (rng.u64(10_000..=max), any(rng) >> 40);
        let request = burst::request(predicted, ran, max);
        json!([predicted, ran, max, request.want_ns, request.slice_ns])
    });
    let charge = many(40, || {
        let (vruntime, used, weight) = (any(rng), any(rng) >> 24, rng.u32(1..=10_000));
        json!([
            vruntime,
            used,
            weight,
            burst::charge(vruntime, used, weight)
        ])
    });
    let bound = many(40, || {
        let now = any(rng);
        let vruntime = now
            .wrapping_add(any(rng) >> 34)
            .wrapping_sub(any(rng) >> 34);
        json!([vruntime, now, burst::bound(vruntime, now)])
    });
    let preempts = many(40, || {
        let deadline = any(rng);
        let running = deadline.wrapping_add(rng.u64(..600_000));
        json!([deadline, running, burst::preempts(deadline, running)])
    });
    json!({
        "deviation": deviation, "predict": predict, "request": request, "charge": charge, "bound": bound, "preempts": preempts,
    })
}

/// One task, burst after burst: what is told of each, and what is known then.
fn task(rng: &mut fastrand::Rng) -> Value {
    let mut task = Task::default();
    let bursts = many(80, || {
        let wakeup = Wakeup {
            slept_ns: any(rng),
            own_process: rng.bool(),
            from_idle: rng.bool(),
        };
        let features = task.wake(&wakeup);
        let line = (rng.u8(..4) > 0).then(|| within(rng, 2));
        let ran_ns = any(rng) >> 24;
        let burst = task.end(ran_ns, line);
        let (average_error, line_error) = task.errors();
        json!({
            "slept_ns": wakeup.slept_ns, "own_process": wakeup.own_process, "from_idle": wakeup.from_idle, "ran_ns": ran_ns,
            "line": line, "features": features, "length": burst.length, "deviation": burst.deviation, "average": task.average(),
            "average_error": average_error, "line_error": line_error, "uses_line": task.uses_line(),
        })
    });
    bursts.into()
}

fn network(rng: &mut fastrand::Rng) -> Value {
    let mut weight = || within(rng, MAX_WEIGHT) >> 5;
    let network = Quantised {
        w1: std::array::from_fn(|_| std::array::from_fn(|_| weight())),
        b1: std::array::from_fn(|_| weight()),
        w2: std::array::from_fn(|_| weight()),
        b2: weight(),
        threshold: weight(),
    };
    let cases = many(40, || {
        let x: [i32; INPUTS] = std::array::from_fn(|_| within(rng, MAX_FEATURE));
        json!([x, network.logit(&x), network.moves(&x)])
    });
    json!({
        "w1": network.w1, "b1": network.b1, "w2": network.w2, "b2": network.b2, "threshold": network.threshold, "cases": cases,
    })
}

fn table() -> String {
    let mut rng = fastrand::Rng::with_seed(1);
    let parts = [
        ("numbers", numbers(&mut rng)),
        ("rules", rules(&mut rng)),
        ("task", task(&mut rng)),
        ("network", network(&mut rng)),
    ];
    let lines = parts.map(|(name, part)| format!("{}:{part}", json!(name)));
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

fn header() -> String {
    let constants: [(&str, i128); 27] = [
        ("ONE", ONE.into()),
        ("MAX_WEIGHT", MAX_WEIGHT.into()),
        ("MAX_FEATURE", MAX_FEATURE.into()),
        ("MAX_EXPONENT", fixed::MAX_EXPONENT.into()),
        ("LOG2_BEND", fixed::LOG2_BEND.into()),
        ("EXP2_BEND", fixed::EXP2_BEND.into()),
        ("FEATURES", FEATURES as i128),
        ("LEVEL", burst::LEVEL.into()),
        ("MAX_DEVIATION", burst::MAX_DEVIATION.into()),
        ("AVERAGE_SHIFT", burst::AVERAGE_SHIFT.into()),
        ("ERROR_SHIFT", burst::ERROR_SHIFT.into()),
        ("FIRST_AVERAGE", burst::FIRST_AVERAGE.into()),
        ("MIN_JUDGED", burst::MIN_JUDGED.into()),
        ("MIN_BURST_NS", burst::MIN_BURST_NS.into()),
        ("MIN_PREDICTION_NS", burst::MIN_PREDICTION_NS.into()),
        ("SLICE_MIN_NS", burst::SLICE_MIN_NS.into()),
        ("SLICE_MAX_NS", burst::SLICE_MAX_NS.into()),
        ("LAG_NS", burst::LAG_NS.into()),
        ("LEAD_NS", burst::LEAD_NS.into()),
        ("PACE", burst::PACE.into()),
        ("PREEMPT_NS", burst::PREEMPT_NS.into()),
        ("SLOTS", line::SLOTS as i128),
        ("INPUTS", INPUTS as i128),
        ("HIDDEN", mlp::HIDDEN as i128),
        ("MAX_BIAS", quantise::MAX_BIAS.into()),
        ("MAX_UNIT", quantise::MAX_UNIT.into()),
        ("AWAY_LEVEL", moves::AWAY_LEVEL.into()),
    ];
    let mut text = String::from(
        "/* SPDX-License-Identifier: GPL-2.0 */\n/* What the crate foresight-model says, whose test `golden` writes this. Q16.16 where it counts 65536ths. */\n\
         #ifndef __FORESIGHT_MODEL_H\n#define __FORESIGHT_MODEL_H\n\n",
    );
    let inputs = moves::NAMES.iter().enumerate();
    let inputs = inputs.map(|(at, name)| (format!("IN_{}", name.to_uppercase()), at as i128));
    let constants = constants.map(|(name, value)| (name.to_owned(), value));
    for (name, value) in constants.into_iter().chain(inputs) {
        let long = if value.abs() > i128::from(i32::MAX) {
            "LL"
        } else {
            ""
        };
        text += &format!("#define FM_{name} {value}{long}\n");
    }
    text.push_str("\n#endif\n");
    text
}

#[track_caller]
fn assert_kept(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("FORESIGHT_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&path, text).expect("the repository can be written");
    }
    let kept = std::fs::read_to_string(&path).expect("it is in the repository");
    let lines = kept.lines().zip(text.lines());
    let differs = lines.enumerate().find(|(_, (kept, text))| kept != text);
    assert!(
        kept == text,
        "{}: line {:?} is something else now",
        path.display(),
        differs.map(|(at, _)| at + 1)
    );
}

#[test]
fn the_table_is_what_is_computed() {
    assert_kept("tests/golden/arithmetic.json", &table());
}

#[test]
fn the_header_has_these_constants() {
    assert_kept("include/foresight_model.h", &header());
}
