//! Prints each bar with what was measured, as it becomes known.

use std::io::{self, Write};

use auto_ext_simulation::{Runs, bars};
use clap::Parser;

/// Has schedulers tried on machines that are made up, and says how far what is promised is kept
#[derive(Parser)]
struct Arguments {
    /// How many machines are made up for each question about one challenger
    #[arg(long, default_value_t = 1000)]
    comparisons: u64,
    /// How many are lived with for a week
    #[arg(long, default_value_t = 100)]
    lives: u64,
    /// The seed of the first machine; the others have the next ones
    #[arg(long, default_value_t = 0)]
    first_seed: u64,
}

fn main() -> io::Result<()> {
    let Arguments {
        comparisons,
        lives,
        first_seed,
    } = Arguments::parse();
    let mut out = io::stdout();
    let mut wrong = Ok(());
    let runs = Runs {
        comparisons,
        lives,
        first_seed,
    };
    bars(runs, |bar| {
        let mark = if bar.is_met { "met " } else { "MISSED" };
        let line = writeln!(
            out,
            "| {} | {} | {} | {} |",
            bar.what,
            bar.wanted,
            bar.measured,
            mark.trim()
        );
        if wrong.is_ok() {
            wrong = line.and_then(|()| out.flush());
        }
    });
    wrong
}
