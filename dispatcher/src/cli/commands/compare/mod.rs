//! `auto-ext compare A B -- COMMAND`: runs a command under one scheduler and the other, in turns by a coin, and says whether
//! one is better.
//!
//! `session` makes turn after turn: `runner` has schedulers run, by `leased` of the daemon or by `direct` without one, `turn` runs the
//! command, or `live` waits under the load that runs, and `meter`, with `looks` each second, measures the machine meanwhile. `comparison` knows and
//! judges by what `measures` lists, and `guards` say what may not get worse. `keep` has what was found kept with what trials find. `report`, with `plot`, `percent` and `rule`, tells
//! what came of it, and `csv` every turn. Before that, `tuning` may find which of the arguments in a `tuning_file` are best.

mod comparison;
mod contender;
mod csv;
mod direct;
mod end;
mod guards;
mod instance;
mod keep;
mod leased;
mod live;
mod looks;
mod measure;
mod measures;
mod meter;
mod options;
mod percent;
mod plot;
mod report;
mod rule;
mod runner;
mod sentence;
mod session;
#[cfg(test)]
mod tests;
mod tuning;
mod tuning_file;
mod turn;

use std::io::Write as _;
use std::process::ExitCode;

use auto_ext_evidence::Halving;

use super::child;
use super::grant::warn;
use super::style;
use super::theme::Theme;
use end::End;
pub(crate) use options::Options;
use report::Report;
use session::Session;
use tuning::Tuning;

/// Compares, and prints the answer, or what is known where it could not go on.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let sets = options.tune.as_deref().map(tuning_file::read).transpose()?;
    let mut session = Session::begin(&options).await?;
    let mut tuning = sets.map(|sets| {
        let halving = Halving::new(session.seed, sets.len(), options.better());
        Tuning::new(sets, halving)
    });
    let tuned = match &mut tuning {
        Some(tuning) => tuning::tune(&mut session, tuning).await,
        None => Ok(()),
    };
    let end = match tuned {
        Ok(()) => session.compare().await,
        Err(end) => end,
    };
    let back = session.go_back().await;
    let report = Report {
        comparison: &session.comparison,
        tuning: tuning.as_ref(),
        command: &options.command,
        end: &end,
        took: session.begun.elapsed(),
        seed: session.seed,
        class: session.could_keep_for().await,
        unicode: Theme::of_terminal().unicode,
    };
    let out = &mut style::stdout();
    if options.json {
        writeln!(out, "{}", report.to_json())?;
    } else if session.comparison.has_pairs() || tuning.is_some() {
        report.write_text(out)?;
    }
    match (end, back) {
        (End::Failed(error), Err(back)) => {
            warn(&format!("{back:#}"));
            Err(error)
        }
        (End::Failed(error), Ok(())) | (_, Err(error)) => Err(error),
        (End::Decided | End::Runs | End::Time, Ok(())) => {
            session.keep().await?;
            Ok(ExitCode::SUCCESS)
        }
        (End::Signal(signal), Ok(())) => Ok(child::ended_by(signal)),
    }
}
