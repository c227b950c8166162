//! `auto-ext compare A B -- COMMAND`: runs a command under one scheduler and the other, in turns by a coin, and says whether
//! one is better. `comparison` knows and judges by what `measures` lists, and `guards` say what may not get worse; `runner` has
//! schedulers run, by `leased` of the daemon or by `direct` without one, and `turn` the command, or `live` waits under the load that runs, while `meter` measures the machine; `report`, with `plot`, `percent` and `rule`, tells
//! what came of it, and `csv` every turn.

mod comparison;
mod contender;
mod csv;
mod direct;
mod end;
mod guards;
mod instance;
mod leased;
mod live;
mod measure;
mod measures;
mod meter;
mod options;
mod percent;
mod plot;
mod report;
mod rule;
mod runner;
mod session;
#[cfg(test)]
mod tests;
mod turn;

use std::io::Write as _;
use std::process::ExitCode;

use report::Report;
use session::Session;

use super::child;
use super::grant::warn;
use super::style;
use super::theme::Theme;
use end::End;
pub(crate) use options::Options;

/// Compares, and prints the answer, or what is known where it could not go on.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let mut session = Session::begin(&options).await?;
    let end = session.compare().await;
    let back = session.go_back().await;
    let report = Report {
        comparison: &session.comparison,
        command: &options.command,
        end: &end,
        took: session.begun.elapsed(),
        seed: session.seed,
        unicode: Theme::of_terminal().unicode,
    };
    let out = &mut style::stdout();
    if options.json {
        writeln!(out, "{}", report.to_json())?;
    } else if session.comparison.has_pairs() {
        report.write_text(out)?;
    }
    match (end, back) {
        (End::Failed(error), Err(back)) => {
            warn(&format!("{back:#}"));
            Err(error)
        }
        (End::Failed(error), Ok(())) | (_, Err(error)) => Err(error),
        (End::Decided | End::Runs | End::Time, Ok(())) => Ok(ExitCode::SUCCESS),
        (End::Signal(signal), Ok(())) => Ok(child::ended_by(signal)),
    }
}
