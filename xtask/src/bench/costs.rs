//! What the scheduler of this repository costs, in user space and by BPF program, and what it costs more than its own baseline:
//! the text of it. It is counted in `system-tests/src/jobs/costs.rs`.

use std::fmt::Write as _;

use serde::Deserialize;

/// BPF programs as the kernel cuts their names: what runs at each wakeup, what predicts or learns of it, and what decides about moves.
const WAKES: &str = "foresight_runna";
const PREDICTS: &[&str] = &[
    "foresight_selec",
    WAKES,
    "foresight_enque",
    "foresight_runni",
    "foresight_stopp",
];
const DECIDES: &[&str] = &["foresight_selec", "foresight_dispa"];

/// What a mode of the scheduler costs.
#[derive(Debug, Deserialize)]
pub(super) struct Cost {
    pub(super) mode: String,
    cpu_share: f64,
    memory_kib: u64,
    /// Of how many moves it was decided.
    candidates: u64,
    programs: Vec<Program>,
}

/// A BPF program.
#[derive(Debug, Deserialize)]
struct Program {
    name: String,
    runs: u64,
    ns: u64,
    verified: Option<u32>,
}

impl Program {
    /// How long it took each time.
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of some minutes")]
    fn mean(&self) -> f64 {
        self.ns as f64 / self.runs.max(1) as f64
    }
}

impl Cost {
    fn program(&self, name: &str) -> Option<&Program> {
        self.programs.iter().find(|program| program.name == name)
    }

    /// By how many nanoseconds programs took longer each time than those of the baseline, in all: for each of so many.
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of some minutes")]
    fn over(&self, baseline: &Self, programs: &[&str], count: u64) -> Option<f64> {
        let over = programs.iter().filter_map(|name| {
            let (ours, theirs) = (self.program(name)?, baseline.program(name)?);
            Some((ours.mean() - theirs.mean()) * ours.runs as f64)
        });
        let over: f64 = over.sum();
        (count > 0).then(|| over / count as f64)
    }

    /// What it costs to predict and to decide, which the baseline does not.
    fn told_over(&self, baseline: &Self) -> String {
        let wakeups = self.program(WAKES).map_or(0, |program| program.runs);
        let told = [
            ("wakeups", PREDICTS, wakeups, 150),
            ("moves that came into question", DECIDES, self.candidates, 250),
        ]
        .map(|(what, programs, count, most)| {
            let over = self.over(baseline, programs, count);
            let over = over.map_or_else(|| "nothing".to_owned(), |over| format!("{over:.0} ns"));
            format!("\n    over the baseline for each of {count} {what}: {over}; on real CPUs at most {most} ns are wanted")
        });
        told.concat()
    }
}

/// In the kernel per program, and in user space.
#[expect(clippy::cast_precision_loss, reason = "some MiB")]
pub(super) fn told_costs(costs: &[&Cost]) -> String {
    let mut text =
        "\nCosts while each job is done once; BPF programs by bpf_stats, which is a part of them. What they take over the baseline's is
told by what they do: predict at each wakeup, decide about moves; selec does both, and counts in both. Timers are in neither.\n"
            .to_owned();
    let baseline = costs.iter().find(|cost| cost.mode == "baseline");
    for cost in costs {
        let programs = cost.programs.iter().map(|program| {
            let verified = program.verified.unwrap_or_default();
            format!(
                "\n    {:<16} {:>6.0} ns, {:>8} times, {verified} instructions verified",
                program.name,
                program.mean(),
                program.runs
            )
        });
        let over = baseline.filter(|baseline| baseline.mode != cost.mode);
        let over = over.map_or_else(String::new, |baseline| cost.told_over(baseline));
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{}: user space {:.1} % of a CPU, {:.1} MiB{}{over}",
            cost.mode,
            100.0 * cost.cpu_share,
            cost.memory_kib as f64 / 1024.0,
            programs.collect::<String>()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_told_and_what_is_over_the_baseline() {
        let act = r#"{"mode":"act","cpu_share":0.012,"memory_kib":2048,"candidates":4,"programs":[
            {"name":"foresight_runna","runs":10,"ns":1000,"verified":9},
            {"name":"foresight_dispa","runs":20,"ns":4000,"verified":9},
            {"name":"foresight_enque","runs":10,"ns":5000,"verified":936}]}"#;
        let baseline = r#"{"mode":"baseline","cpu_share":0.001,"memory_kib":1024,"candidates":0,"programs":[
            {"name":"foresight_runna","runs":20,"ns":1000,"verified":9},
            {"name":"foresight_dispa","runs":10,"ns":1000,"verified":9},
            {"name":"foresight_enque","runs":10,"ns":4000,"verified":936}]}"#;
        let costs = [baseline, act].map(|cost| serde_json::from_str::<Cost>(cost).unwrap());
        let said = told_costs(&[&costs[0], &costs[1]]);
        assert!(
            said.contains("act: user space 1.2 % of a CPU, 2.0 MiB"),
            "{said}"
        );
        assert!(said.contains("500 ns"), "{said}");
        // 50 ns and 100 ns more at each wakeup, 100 ns more in each of 20 dispatches.
        assert!(said.contains("each of 10 wakeups: 150 ns;"), "{said}");
        assert!(
            said.contains("each of 4 moves that came into question: 500 ns;"),
            "{said}"
        );
        assert_eq!(said.matches("over the baseline for each").count(), 2);
    }
}
