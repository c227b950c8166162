//! What is measured in each turn: the one table of it, for people, scripts and the file with every turn. Pure.

use auto_ext_signals::Waits;

use super::turn::Turn;

/// Something that is measured in each turn.
#[derive(Debug)]
pub(super) struct Measure {
    /// Its key in JSON and its column in the file, with its unit.
    pub(super) key: &'static str,
    /// Its row in the table.
    pub(super) name: &'static str,
    /// What it is where a sentence says that it changed.
    pub(super) told: &'static str,
    unit: Unit,
    of: fn(&Turn) -> Option<f64>,
}

/// How a number is shown.
#[derive(Debug)]
enum Unit {
    Seconds,
    /// Of seconds, in milliseconds.
    Milliseconds,
    /// Of a share, in percent.
    Percent,
    PerSecond,
    /// In billions.
    GigaPerSecond,
    Joules,
    /// Of joules, in nanojoules.
    Nanojoules,
    None,
}

/// All of them, in the order of the table.
pub(super) static MEASURES: [&Measure; 20] = [
    &WALL,
    &USER,
    &SYSTEM,
    &WAIT_MEAN,
    &WAIT_P50,
    &WAIT_P95,
    &WAIT_P99,
    &LONG_WAITS,
    &LONGEST_WAIT,
    &WAKES,
    &STRETCH,
    &CANARY_P99,
    &MIGRATIONS,
    &MACHINE_USER,
    &MACHINE_SYSTEM,
    &INSTRUCTIONS,
    &COMPLETIONS,
    &ENERGY,
    &ENERGY_PER_INSTRUCTION,
    &VALUE,
];

pub(super) static WALL: Measure = Measure {
    key: "wall_s",
    name: "wall time",
    told: "the time that it takes",
    unit: Unit::Seconds,
    of: |turn| Some(turn.wall),
};
static USER: Measure = Measure {
    key: "user_s",
    name: "user time",
    told: "its time in user space",
    unit: Unit::Seconds,
    of: |turn| turn.user,
};
static SYSTEM: Measure = Measure {
    key: "system_s",
    name: "system time",
    told: "its time in the kernel",
    unit: Unit::Seconds,
    of: |turn| turn.system,
};
pub(super) static WAIT_MEAN: Measure = Measure {
    key: "wait_mean_s",
    name: "mean wait",
    told: "the mean wait for a CPU",
    unit: Unit::Milliseconds,
    of: |turn| wait(turn, |waits| waits.mean_ns),
};
static WAIT_P50: Measure = Measure {
    key: "wait_p50_s",
    name: "50 % wait",
    told: "the median wait for a CPU",
    unit: Unit::Milliseconds,
    of: |turn| wait(turn, |waits| waits.p50_ns),
};
pub(super) static WAIT_P95: Measure = Measure {
    key: "wait_p95_s",
    name: "95 % wait",
    told: "the wait for a CPU that one in twenty exceeds",
    unit: Unit::Milliseconds,
    of: |turn| wait(turn, |waits| waits.p95_ns),
};
static WAIT_P99: Measure = Measure {
    key: "wait_p99_s",
    name: "99 % wait",
    told: "the wait for a CPU that one in a hundred exceeds",
    unit: Unit::Milliseconds,
    of: |turn| wait(turn, |waits| waits.p99_ns),
};
static LONG_WAITS: Measure = Measure {
    key: "long_wait_share",
    name: "waits > 2 ms",
    told: "the share of waits longer than 2 ms",
    unit: Unit::Percent,
    of: |turn| Some(turn.machine.outcome?.waits?.long_share),
};
pub(super) static LONGEST_WAIT: Measure = Measure {
    key: "longest_wait_s",
    name: "longest wait",
    told: "the longest that a task was seen to wait",
    unit: Unit::Milliseconds,
    of: |turn| turn.machine.longest_wait,
};
pub(super) static WAKES: Measure = Measure {
    key: "wakes_per_s",
    name: "wake-ups",
    told: "the number of wake-ups",
    unit: Unit::PerSecond,
    of: |turn| Some(turn.machine.outcome?.wakes_per_second),
};
static STRETCH: Measure = Measure {
    key: "stretch",
    name: "stretch",
    told: "how many times as long as their work tasks need",
    unit: Unit::None,
    of: |turn| turn.machine.outcome?.stretch,
};
pub(super) static CANARY_P99: Measure = Measure {
    key: "canary_p99_s",
    name: "canary 99 %",
    told: "the wait that one in a hundred of the canary's exceeds",
    unit: Unit::Milliseconds,
    of: |turn| Some(turn.machine.canary?.waits?.p99_ns / 1e9),
};
static MIGRATIONS: Measure = Measure {
    key: "migrations_per_s",
    name: "migrations",
    told: "how often tasks come to another CPU",
    unit: Unit::PerSecond,
    of: |turn| turn.machine.migrations,
};
pub(super) static MACHINE_USER: Measure = Measure {
    key: "machine_user_cpus",
    name: "CPUs in user",
    told: "what the CPUs do for programs",
    unit: Unit::None,
    of: |turn| turn.machine.user,
};
static MACHINE_SYSTEM: Measure = Measure {
    key: "machine_system_cpus",
    name: "CPUs in kern",
    told: "what the CPUs do in the kernel",
    unit: Unit::None,
    of: |turn| turn.machine.system,
};
pub(super) static INSTRUCTIONS: Measure = Measure {
    key: "instructions_per_s",
    name: "instructions",
    told: "the instructions of programs",
    unit: Unit::GigaPerSecond,
    of: |turn| turn.machine.instructions,
};
pub(super) static COMPLETIONS: Measure = Measure {
    key: "completions_per_s",
    name: "completions",
    told: "the requests of disks and packets that are completed",
    unit: Unit::PerSecond,
    of: |turn| turn.machine.completions,
};
pub(super) static ENERGY: Measure = Measure {
    key: "energy_j",
    name: "energy",
    told: "the energy that the processors take",
    unit: Unit::Joules,
    of: |turn| turn.machine.energy,
};
pub(super) static ENERGY_PER_INSTRUCTION: Measure = Measure {
    key: "energy_per_instruction_j",
    name: "energy/instr",
    told: "the energy for each instruction of programs",
    unit: Unit::Nanojoules,
    of: |turn| {
        let done = turn.machine.instructions? * turn.wall;
        (done > 0.0).then_some(turn.machine.energy? / done)
    },
};
pub(super) static VALUE: Measure = Measure {
    key: "value",
    name: "number",
    told: "the number",
    unit: Unit::None,
    of: |turn| turn.value,
};

impl Measure {
    /// What was measured, if it was.
    pub(super) fn of(&self, turn: &Turn) -> Option<f64> {
        (self.of)(turn)
    }

    /// A number of it with its unit.
    pub(super) fn shown(&self, number: f64) -> String {
        match self.unit {
            Unit::Seconds => format!("{}s", amount(number)),
            Unit::Milliseconds => format!("{}ms", amount(1e3 * number)),
            Unit::Percent => format!("{:.2} %", 100.0 * number),
            Unit::PerSecond => format!("{}/s", amount(number)),
            Unit::GigaPerSecond => format!("{}G/s", amount(number / 1e9)),
            Unit::Joules => format!("{}J", amount(number)),
            Unit::Nanojoules => format!("{}nJ", amount(1e9 * number)),
            Unit::None => amount(number),
        }
    }
}

/// In seconds.
fn wait(turn: &Turn, of: fn(&Waits) -> f64) -> Option<f64> {
    Some(of(&turn.machine.outcome?.waits?) / 1e9)
}

/// With four digits or so.
fn amount(number: f64) -> String {
    let digits = match number.abs() {
        ..1.0 => 4,
        ..10.0 => 3,
        ..100.0 => 2,
        ..1000.0 => 1,
        _ => 0,
    };
    format!("{number:.digits$}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::commands::compare::comparison::tests::{turn, waits};

    #[test]
    fn each_has_a_key_and_a_row_of_its_own() {
        let keys: BTreeSet<_> = MEASURES.iter().map(|measure| measure.key).collect();
        let names: BTreeSet<_> = MEASURES.iter().map(|measure| measure.name).collect();
        assert_eq!((keys.len(), names.len()), (MEASURES.len(), MEASURES.len()));
    }

    #[test]
    fn what_was_not_measured_is_nothing_and_waits_are_shown_in_milliseconds() {
        let measured = |turn| {
            let all = MEASURES.iter();
            all.filter_map(move |measure| Some((measure.key, measure.of(&turn)?)))
                .collect::<Vec<_>>()
        };
        let without = measured(turn(1.5));
        let keys: Vec<_> = without.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, ["wall_s", "user_s", "system_s"]);
        let with = measured(waits(turn(1.5), 2.5e6));
        assert!(with.contains(&("wait_p95_s", 2.5e-3)), "{with:?}");
        assert_eq!(WAIT_P95.shown(2.5e-3), "2.500ms");
        assert_eq!(LONG_WAITS.shown(0.015), "1.50 %");
        assert_eq!(WAKES.shown(812.4), "812.4/s");
    }

    #[test]
    fn energy_is_told_for_a_turn_and_for_each_instruction() {
        let mut turn = turn(10.0);
        turn.machine.energy = Some(150.0);
        assert_eq!(ENERGY_PER_INSTRUCTION.of(&turn), None);
        turn.machine.instructions = Some(3e9);
        let of = |measure: &Measure| measure.shown(measure.of(&turn).unwrap());
        assert_eq!(of(&ENERGY), "150.0J");
        assert_eq!(of(&INSTRUCTIONS), "3.000G/s");
        assert_eq!(of(&ENERGY_PER_INSTRUCTION), "5.000nJ");
    }
}
