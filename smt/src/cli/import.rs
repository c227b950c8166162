//! `auto-ext-smt import`: takes over what SMTcheck measured.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::model::original::{MAX_TEXT, Measurements, combination};
use crate::model::{Kind, Machine, Resource};
use crate::store::Store;

/// Reads both documents, prints what is in them, and keeps it.
pub(super) fn import(
    store: &Store,
    measurement: &Path,
    pairs: &Path,
    cpu: &str,
    dry_run: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let machine =
        Machine::named(cpu).with_context(|| format!("the sizes of {cpu:?} are not known"))?;
    let measured = Measurements::read(&text(measurement)?)
        .with_context(|| measurement.display().to_string())?;
    let combination = combination(&text(pairs)?).with_context(|| pairs.display().to_string())?;
    let resources = measured.resources();
    let is_known = |resource: &Resource| {
        resource.kind() != Kind::Sequential || machine.queue(*resource).is_some()
    };
    let resources: Vec<Resource> = resources.into_iter().filter(is_known).collect();
    let mut jobs = BTreeMap::new();
    for number in measured.jobs() {
        match measured.job(number, machine, &resources) {
            Ok(job) => drop(jobs.insert(number.to_string(), job)),
            Err(why) => writeln!(out, "job {number} is left out: {why}")?,
        }
    }
    let names: Vec<&str> = resources.iter().map(|resource| resource.name()).collect();
    writeln!(out, "{} jobs, with {}", jobs.len(), names.join(", "))?;
    let count: usize = combination
        .values()
        .map(|measured| measured.beside.len())
        .sum();
    writeln!(out, "{count} pairs")?;
    ensure!(!jobs.is_empty(), "there is no job to take over");
    if dry_run {
        writeln!(out, "would be kept")?;
        return Ok(());
    }
    store.keep_jobs(&jobs)?;
    store.keep_pairs(&combination)?;
    Ok(())
}

fn text(path: &Path) -> Result<String> {
    let cannot = || format!("cannot read {}", path.display());
    let mut text = String::new();
    let file = File::open(path).with_context(cannot)?;
    file.take(MAX_TEXT as u64 + 1)
        .read_to_string(&mut text)
        .with_context(cannot)?;
    Ok(text)
}
