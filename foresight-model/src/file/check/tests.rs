use proptest::prelude::*;

use super::super::format::Holdout;
use super::*;
use crate::line::Group;
use crate::mlp::{Network, Standard};
use crate::origin::{Machine, Origin};

fn model() -> Model {
    let group = Group {
        line: [0.1, -0.2, 0.3, 1.0 / 3.0, 0.0, 64.0, -64.0, 1e-300],
        bursts: 1000,
        error: 0.5,
        average_error: 1.5,
    };
    let mut rng = fastrand::Rng::with_seed(51);
    Model {
        origin: Origin {
            made_by: "scx_foresight 0.1.0".to_owned(),
            made_us: 1,
            kernel: "6.18.15".to_owned(),
            machine: Machine {
                cpu: "EPYC".to_owned(),
                cpus: 2,
                llcs: 1,
                nodes: 1,
                smt: false,
            },
        },
        shadow_only: false,
        programs: [("make".to_owned(), group)].into(),
        moves: Some(Moves {
            network: Network::by_chance(&mut rng),
            standard: Standard::of(&[]),
            threshold: 0.1,
            holdout: Holdout {
                n: 5,
                value: -1.0,
                gain: 0.2,
                low: 0.1,
                agreement: 1.0,
            },
        }),
    }
}

/// What a model's text is with this changed in it, and the sum of that.
fn changed(from: &str, to: &str) -> Result<Model, Invalid> {
    let body = serde_json::to_string(&Written::from(&model())).unwrap();
    assert!(body.contains(from), "{body}");
    parse(sealed(&body.replacen(from, to, 1)).as_bytes())
}

#[test]
fn what_was_written_is_read_to_the_last_digit() {
    for model in [model(), Model::default()] {
        let text = to_text(&model).unwrap();
        assert_eq!(parse(text.as_bytes()), Ok(model));
    }
}

#[test]
fn a_sum_that_another_program_made_is_right() {
    let text = include_bytes!("../../../../fuzz/corpus/foresight/model.json");
    let model = parse(text).unwrap();
    assert!(model.programs.contains_key("make") && model.moves.is_some());
}

#[test]
fn a_model_that_was_cut_off_or_changed_is_refused() {
    let text = to_text(&model()).unwrap();
    for length in 0..text.len() {
        assert!(parse(&text.as_bytes()[..length]).is_err(), "{length}");
    }
    let error = parse(text.replacen("1000", "1001", 1).as_bytes()).unwrap_err();
    assert_eq!(
        (error.key.as_str(), error.problem),
        ("sha256", Problem::WrongSum)
    );
    let error = parse(b"{}").unwrap_err();
    assert_eq!(error.problem, Problem::NoSum);
    assert_eq!(
        parse(&vec![b' '; MAX_FILE + 1]).unwrap_err().problem,
        Problem::TooLarge
    );
}

#[test]
fn what_is_odd_is_told_with_its_key() {
    let key = |from, to| changed(from, to).unwrap_err().key;
    assert_eq!(key("\"format\":1", "\"format\":2"), "format");
    assert_eq!(key("\"features\":1", "\"features\":2"), "features");
    assert_eq!(key("-0.2,", "-64.5,"), "burst.groups.make.w[1]");
    assert_eq!(key("-0.2,", "null,"), "burst.groups.make.w[1]");
    assert_eq!(key("-0.2,", ""), "burst.groups.make.w");
    assert_eq!(key("\"mae\":0.5", "\"mae\":-0.5"), "burst.groups.make.mae");
    assert_eq!(
        key("\"threshold\":0.1", "\"threshold\":1e9"),
        "move.threshold"
    );
    assert_eq!(key("\"scale\":[1.0", "\"scale\":[0.0"), "move.scale[0]");
    assert_eq!(key("\"gain\":0.2", "\"gain\":1e99"), "move.holdout.gain");
    assert_eq!(key("6.18.15", "\\u001b[2J"), "kernel");
    assert_eq!(
        key("\"make\"", "\"a name too long\\u0007\""),
        "burst.groups.a name too long"
    );
    let error = changed("\"made_us\"", "\"made_ms\"").unwrap_err();
    assert!(
        error.to_string().contains("unknown field `made_ms`"),
        "{error}"
    );
    // What a network has of means and deviations counts.
    let folded = changed("\"mean\":[0.0", "\"mean\":[64.0");
    assert!(folded.is_ok(), "{folded:?}");
    let mut large = model();
    large.moves.as_mut().unwrap().standard.scale[2] = 1e-3;
    let error = to_text(&large).unwrap_err();
    assert!(error.key.starts_with("move.w1["), "{error}");
}

#[test]
fn what_would_not_be_read_is_not_written() {
    let mut odd = model();
    odd.programs.get_mut("make").unwrap().error = f64::NAN;
    assert_eq!(to_text(&odd).unwrap_err().key, "burst.groups.make.mae");
    let mut many = Model::default();
    for number in 0..=MAX_GROUPS {
        many.programs.insert(number.to_string(), Group::default());
    }
    assert!(matches!(
        to_text(&many).unwrap_err().problem,
        Problem::TooMany(513)
    ));
}

#[test]
fn the_greatest_model_fits() {
    let mut full = model();
    let group = Group {
        line: [-1.234_567_890_123_456_7e-300; 8],
        bursts: u64::MAX,
        error: 1.234_567_890_123_456_7e-300,
        average_error: 1.234_567_890_123_456_7e-300,
    };
    full.programs = (0..MAX_GROUPS)
        .map(|number| (format!("{number:\u{fffd}>7}"), group.clone()))
        .collect();
    full.programs = full
        .programs
        .into_iter()
        .map(|(name, group)| (group_name(&name), group))
        .collect();
    assert!(to_text(&full).unwrap().len() < MAX_FILE / 2);
}

proptest! {
    #[test]
    fn any_text_is_refused_or_read_without_a_panic(text in any::<Vec<u8>>()) {
        prop_assert!(parse(&text).is_err());
        let text = String::from_utf8_lossy(&text);
        prop_assert!(parse(sealed(&text).as_bytes()).is_err());
    }
}
