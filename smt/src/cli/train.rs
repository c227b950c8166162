//! `auto-ext-smt train`: from jobs and pairs to a model.

use std::io::Write;

use anyhow::{Result, bail};
use auto_ext_service::clock::now_us;

use crate::model::{self, Feature, Resource};
use crate::store::Store;

/// What slowdowns are made of: what is known of all jobs.
fn features(store: &Store) -> Result<Vec<Feature>> {
    let jobs = store.jobs()?;
    let is_known = |resource: &Resource| {
        jobs.values()
            .all(|job| job.characteristics.contains_key(resource))
    };
    let known = Resource::ALL
        .into_iter()
        .filter(is_known)
        .map(Feature::Resource);
    Ok([Feature::Base].into_iter().chain(known).collect())
}

/// Trains, prints what came of it, and keeps the model unless it is not to be used.
pub(super) fn train(store: &Store, dry_run: bool, out: &mut dyn Write) -> Result<()> {
    let jobs = store.jobs()?;
    if jobs.is_empty() {
        bail!("nothing is known of any job: `auto-ext-smt import` takes over what was measured");
    }
    let training = model::train(&features(store)?, &jobs, &store.pairs()?)?;
    let model = &training.model;
    writeln!(
        out,
        "{} pairs of {} jobs",
        training.rows,
        model.trained_on.len()
    )?;
    for (feature, coefficient) in model.features().iter().zip(model.coefficients()) {
        let depends = if training.dependent.contains(feature) {
            "  (means nothing by itself)"
        } else {
            ""
        };
        writeln!(out, "  {:<10} {coefficient:.4}{depends}", feature.name())?;
    }
    writeln!(out, "  {:<10} {:.4}", "intercept", model.intercept())?;
    writeln!(
        out,
        "errs by {:.1} % on these pairs",
        100.0 * training.mean_relative_error
    )?;
    if let Some(error) = training.left_out_error {
        writeln!(
            out,
            "errs by {:.1} % on pairs with a job that was left out",
            100.0 * error
        )?;
    }
    if let Err(why) = training.check() {
        bail!("not to be used: {why}");
    }
    if dry_run {
        writeln!(out, "would be kept")?;
        return Ok(());
    }
    let path = store.keep_model(model, now_us() / 1_000_000)?;
    writeln!(out, "kept as {}", path.display())?;
    Ok(())
}
