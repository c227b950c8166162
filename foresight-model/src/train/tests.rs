use super::*;
use crate::burst::FEATURES;
use crate::fixed::{ONE, to_q16};
use crate::origin::Machine;
use crate::samples::{BurstSample, Sample};
use crate::simulation::record_moves;

/// What the bursts of some tasks are.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// A long one after a short one and so on.
    Alternating,
    /// As it happens.
    Random,
    /// What the average says.
    Constant,
}

fn bursts(count: u64, kind: Kind) -> Recording {
    let mut rng = fastrand::Rng::with_seed(61);
    let mut recording = Recording::default();
    for number in 0..count {
        let (before, sign) = match kind {
            Kind::Alternating if number / 4 % 2 == 0 => (-2, 2),
            Kind::Alternating => (2, -2),
            Kind::Random => (2 - 4 * rng.i32(0..=1), 2 - 4 * rng.i32(0..=1)),
            Kind::Constant => (0, 0),
        };
        let noise = if kind == Kind::Constant { 0.0 } else { 0.2 };
        let mut x = [0; FEATURES];
        x[0] = ONE;
        x[1] = before * ONE;
        recording.add(Sample::Burst(BurstSample {
            at_ns: number * 2_000_000,
            pid: u32::try_from(number % 4).unwrap() + 1,
            comm: "make".to_owned(),
            x,
            y: 18 * ONE + sign * ONE + to_q16(rng.f64() * noise),
            ewma: 18 * ONE,
        }));
    }
    recording
}

fn moves(count: u64, matters: bool) -> Recording {
    Recording {
        moves: record_moves(count, matters, 62),
        ..Recording::default()
    }
}

fn origin() -> Origin {
    Origin {
        made_by: "test".to_owned(),
        made_us: 1,
        kernel: "6.18".to_owned(),
        machine: Machine::default(),
    }
}

fn learn(recording: Recording, teacher: Teacher) -> Trained {
    train(&[recording], origin(), teacher, None, 7)
}

#[test]
fn what_can_be_predicted_is_learned_and_kept() {
    let trained = learn(bursts(6000, Kind::Alternating), Teacher::Outcomes);
    let report = trained.report.bursts.clone().unwrap();
    let scores = &report.scores;
    let r2 = [scores.last, scores.average, scores.predicted].map(|score| score.r2.unwrap());
    assert!(r2[0] < 0.0 && r2[1] <= 0.2 && r2[2] >= 0.8, "{report}");
    assert_eq!((report.tasks, report.worse), (4, 0));
    let model = trained.accept(false).unwrap();
    assert!(!model.shadow_only && model.moves.is_none());
    assert!(model.to_programs().prior("make").unwrap()[1] < -0.8);
}

#[test]
fn what_cannot_be_predicted_is_refused_unless_it_is_forced() {
    let constant = learn(bursts(3000, Kind::Constant), Teacher::Outcomes);
    let lost = constant.report.lost();
    assert!(matches!(lost[..], [Lost::Bursts { .. }]), "{lost:?}");
    let refused = constant.clone().accept(false).unwrap_err();
    assert_eq!(refused, Refused::Lost(lost));
    assert!(constant.accept(true).unwrap().shadow_only);
    // The gate keeps it from harm.
    let random = learn(bursts(3000, Kind::Random), Teacher::Outcomes);
    let report = random.report.bursts.unwrap();
    assert!(report.scores.ratio() < 1.02, "{report}");
    let few = learn(bursts(30, Kind::Alternating), Teacher::Outcomes);
    assert!(matches!(
        few.clone().accept(false),
        Err(Refused::Lost(lost)) if matches!(lost[0], Lost::FewBursts(10))
    ));
    assert!(few.accept(true).unwrap().shadow_only);
    let nothing = learn(Recording::default(), Teacher::Outcomes);
    assert_eq!(nothing.accept(true), Err(Refused::Nothing));
}

#[test]
fn the_rule_is_imitated_and_integers_agree() {
    let trained = learn(moves(6000, true), Teacher::Rule);
    let report = trained.report.moves.unwrap();
    assert!(report.as_rule >= 0.95, "{report}");
    assert!(report.agreement >= MIN_AGREEMENT, "{report}");
}

#[test]
fn what_came_of_moves_teaches_what_is_better_and_proves_it() {
    let trained = learn(moves(6000, true), Teacher::Outcomes);
    let report = trained.report.moves.clone().unwrap();
    let worth = report.worth.unwrap();
    assert!(worth.is_proven() && report.as_rule >= 0.85, "{report}");
    let model = trained.accept(false).unwrap();
    let holdout = model.moves.as_ref().unwrap().holdout;
    assert!(holdout.low > 0.0 && holdout.gain > holdout.low);
    let text = crate::file::to_text(&model).unwrap();
    assert_eq!(crate::file::parse(text.as_bytes()), Ok(model.clone()));
    // It does not beat itself.
    let itself = model.moves.unwrap().quantised().unwrap();
    let again = train(
        &[moves(6000, true)],
        origin(),
        Teacher::Outcomes,
        Some(&itself),
        7,
    );
    assert_eq!(again.report.moves.unwrap().lost(), Some(Lost::Untried));
}

#[test]
fn moves_that_make_no_difference_are_refused() {
    let trained = learn(moves(6000, false), Teacher::Outcomes);
    assert!(trained.report.moves.as_ref().unwrap().lost().is_some());
    let text = trained.report.to_string();
    assert!(
        text.contains("lost: ") && text.contains("moves: 6000"),
        "{text}"
    );
    assert!(matches!(
        trained.clone().accept(false),
        Err(Refused::Lost(_))
    ));
    let model = trained.accept(true).unwrap();
    assert!(model.shadow_only && model.moves.is_some());
}

#[test]
fn the_same_seed_makes_the_same_model() {
    let model = |seed| {
        let trained = train(&[moves(300, true)], origin(), Teacher::Rule, None, seed);
        trained.accept(true).unwrap()
    };
    assert_eq!(model(1), model(1));
    assert_ne!(model(1), model(2));
}

#[test]
fn a_network_that_is_right_is_worth_more_than_always_moving_and_one_that_says_the_opposite_less() {
    let all = record_moves(20_000, true, 63);
    let (known, later) = all.split_at(10_000);
    let learned = train_moves(known, Teacher::Outcomes, None, 1).unwrap();
    let mut network = learned.moves.unwrap().quantised().unwrap();
    let [gain, loss] = beside_always_moving(&network, later, 1).map(Option::unwrap);
    assert!(gain.is_proven() && !loss.is_proven(), "{gain:?} {loss:?}");
    network.w2 = network.w2.map(|weight| -weight);
    network.b2 = -network.b2;
    let [gain, loss] = beside_always_moving(&network, later, 1).map(Option::unwrap);
    assert!(!gain.is_proven() && loss.is_proven(), "{gain:?} {loss:?}");
    assert_eq!(beside_always_moving(&network, &[], 1), [None, None]);
}
