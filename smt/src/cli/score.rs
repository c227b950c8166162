//! `auto-ext-smt score`: how fast two jobs are on one core.

use std::io::Write;

use anyhow::{Context as _, Result};

use crate::model::pair_score;
use crate::store::Store;

use super::look::shown;

/// Prints it.
pub(super) fn score(store: &Store, a: &str, b: &str, out: &mut dyn Write) -> Result<()> {
    let model = store
        .model()?
        .context("there is no model: `auto-ext-smt train` makes one")?;
    let jobs = store.jobs()?;
    let job = |name: &str| {
        jobs.get(name)
            .with_context(|| format!("nothing is known of {}", shown(name)))
    };
    let (one, other) = (job(a)?, job(b)?);
    let speeds = [
        model.compatibility(one, other)?,
        model.compatibility(other, one)?,
    ];
    for (job, beside, speed) in [(a, b, speeds[0]), (b, a, speeds[1])] {
        writeln!(
            out,
            "{} beside {}: {:.1} % of its speed alone",
            shown(job),
            shown(beside),
            100.0 * speed
        )?;
    }
    writeln!(
        out,
        "together: {:.3} (alone on two cores: 2)",
        pair_score([1.0, 1.0], speeds)
    )?;
    match model.error {
        Some(error) => writeln!(
            out,
            "the model's slowdowns err by {:.0} % on jobs that it was not trained on",
            100.0 * error
        )?,
        None => writeln!(out, "how much the model errs is not known")?,
    }
    Ok(())
}
