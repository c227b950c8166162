//! The file with every turn, as comma-separated values (RFC 4180).

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write};

use super::measures::MEASURES;
use super::turn::Turn;

/// The columns before those of what is measured, and after them.
const FIRST: [&str; 4] = ["pair", "challenger", "turn", "scheduler"];
const LAST: &str = "dropped";

/// The file, to which pairs are written as they end.
pub(super) struct Csv<W = File> {
    out: W,
    pairs: usize,
}

/// A turn, or why there is none.
pub(super) struct Row<'a> {
    pub(super) scheduler: &'a str,
    pub(super) turn: Option<Turn>,
}

impl<W: Write> Csv<W> {
    /// Writes what the columns are.
    pub(super) fn begin(mut out: W) -> io::Result<Self> {
        let measures = MEASURES.iter().map(|measure| measure.key);
        let columns: Vec<&str> = FIRST.into_iter().chain(measures).chain([LAST]).collect();
        writeln!(out, "{}", columns.join(","))?;
        Ok(Self { out, pairs: 0 })
    }

    /// Writes the turns of a pair of this challenger in their order; `dropped` says why they do not count, if so.
    pub(super) fn pair(
        &mut self,
        challenger: &str,
        rows: &[Row<'_>],
        dropped: Option<&str>,
    ) -> io::Result<()> {
        self.pairs += 1;
        let mut lines = String::new();
        for (number, row) in rows.iter().enumerate() {
            let mut fields = vec![
                self.pairs.to_string(),
                field(challenger).into_owned(),
                (number + 1).to_string(),
                field(row.scheduler).into_owned(),
            ];
            let turn = row.turn.as_ref();
            fields.extend(MEASURES.iter().map(|measure| {
                let number = turn.and_then(|turn| measure.of(turn));
                // Rust writes as many digits as tell a number from all others.
                number.map(|number| number.to_string()).unwrap_or_default()
            }));
            fields.push(field(dropped.unwrap_or_default()).into_owned());
            lines.push_str(&fields.join(","));
            lines.push('\n');
        }
        // At once, so that the file ends with a whole pair.
        self.out.write_all(lines.as_bytes())
    }
}

/// A text as a field: between quotes where it would be more than one.
fn field(text: &str) -> Cow<'_, str> {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\"")).into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::compare::comparison::tests::{turn, waits};

    #[test]
    fn every_turn_has_a_line_and_no_text_makes_another_field() {
        let mut out = Vec::new();
        let mut csv = Csv::begin(&mut out).unwrap();
        let row = |scheduler, wall| Row {
            scheduler,
            turn: wall,
        };
        let turns = [
            row("kernel", Some(turn(1.5))),
            row("a,b", Some(turn(0.1 + 0.2))),
        ];
        csv.pair("a,b", &turns, None).unwrap();
        csv.pair("a,b", &[row("a,b", None)], Some("said \"no\""))
            .unwrap();
        csv.pair("b", &[row("b", Some(waits(turn(1.0), 2e6)))], None)
            .unwrap();
        let expected = "pair,challenger,turn,scheduler,wall_s,user_s,system_s,wait_mean_s,wait_p50_s,wait_p95_s,\
                        wait_p99_s,long_wait_share,longest_wait_s,wakes_per_s,stretch,canary_p99_s,migrations_per_s,\
                        machine_user_cpus,machine_system_cpus,instructions_per_s,completions_per_s,energy_j,energy_per_instruction_j,value,dropped\n\
                        1,\"a,b\",1,kernel,1.5,3,0,,,,,,,,,,,,,,,,,,\n\
                        1,\"a,b\",2,\"a,b\",0.30000000000000004,0.6000000000000001,0,,,,,,,,,,,,,,,,,,\n\
                        2,\"a,b\",1,\"a,b\",,,,,,,,,,,,,,,,,,,,,\"said \"\"no\"\"\"\n\
                        3,b,1,b,1,2,0,0.002,0.002,0.002,0.002,0,,1000,1.25,,,1.5,0.25,,,,,,\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
