//! Plans by chance, against the fewest pins that do and against others' ways.

use crate::cpu::{Placement, plan};
use crate::simulation::{CPU_PEERS, fewest_pins, small_problem};

#[test]
fn small_plans_have_as_few_pins_as_possible_and_one_more_at_most() {
    let (mut pins, mut optimum, mut of_peers) = (0, 0, [0; CPU_PEERS.len()]);
    for seed in 0..60 {
        let problem = small_problem(seed, 8);
        let Some(fewest) = fewest_pins(&problem) else {
            continue;
        };
        let plan = plan(&problem);
        assert!(plan.is_even(), "seed {seed}: {plan:?}");
        assert!(
            plan.pins.len() <= fewest + 1,
            "seed {seed}: {fewest}, {plan:?}"
        );
        pins += plan.pins.len();
        optimum += fewest;
        for ((_, peer), pins) in CPU_PEERS.iter().zip(&mut of_peers) {
            *pins += peer(&problem).pins();
        }
    }
    assert!(optimum > 40, "{optimum}");
    assert!(
        pins as f64 <= 1.03 * f64::from(u32::try_from(optimum).unwrap()),
        "{pins}, {optimum}"
    );
    // Who places all anew moves more.
    assert!(of_peers[1] > pins, "{of_peers:?}, {pins}");
}

#[test]
fn what_a_plan_promises_is_what_its_pins_bring() {
    for seed in 0..40 {
        let problem = small_problem(seed, 9);
        let plan = plan(&problem);
        let mut placement = Placement::present(&problem);
        assert!((placement.sigma() - plan.before).abs() < 1e-6);
        for (item, slot) in &plan.pins {
            placement.put(*item, *slot);
        }
        assert!((placement.sigma() - plan.after).abs() < 1e-6, "seed {seed}");
        assert_eq!(placement.pins(), plan.pins.len());
    }
}
