//! C1 to C24.

use crate::simulation::{CPU_CASES, CpuCase, Pins};

fn faults(case: &CpuCase) -> Vec<String> {
    let mut faults = Vec::new();
    let mut run = case.run();
    let last = case
        .pins
        .iter()
        .map(|(steps, _)| *steps.end())
        .max()
        .unwrap();
    for step in 0..=last {
        if let Some((at, sigma)) = case.sigma
            && at == step
            && run.host.sigma() > sigma + 1e-3
        {
            faults.push(format!("sigma is {} in step {step}", run.host.sigma()));
        }
        run.steps(1, case.happens);
        if !(case.holds)(&run) {
            faults.push(format!("it does not hold after step {}", run.host.step));
        }
    }
    for (steps, expected) in case.pins {
        let pins = run.pins(steps.clone());
        let is_so = match expected {
            Pins::Are(exactly) => pins == *exactly,
            Pins::AtMost(most) => pins <= *most,
        };
        if !is_so {
            faults.push(format!("{pins} pins in steps {steps:?}, not {expected:?}"));
        }
    }
    if !faults.is_empty() {
        let pins = run.host.pins.iter();
        let pins = pins.map(|(step, id, cpus)| format!("{step}: {id} to {cpus:?}"));
        faults.extend(pins.take(40));
    }
    faults
}

#[test]
fn every_case_takes_as_many_pins_as_expected() {
    let mut all = String::new();
    for case in CPU_CASES {
        let faults = faults(case);
        if !faults.is_empty() {
            all += &format!("{}: {faults:#?}\n", case.name);
        }
    }
    assert!(all.is_empty(), "{all}");
}
