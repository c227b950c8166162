//! `auto-ext-smt restore`: lets everything run everywhere again that was placed. It needs nobody else: what was placed is
//! written down.

use std::io::Write;
use std::path::Path;

use anyhow::{Result, bail};
use auto_ext_service::affinity_owner::{self, AffinityOwner};

use crate::affinity::{
    Ledger, LedgerError, Masks, Pretend, Restored, SERVICE, System, restore as undo,
};

use super::ask;
use super::look::ROOT;

/// Undoes what is written down in this directory, or says what would be undone.
pub(super) fn restore(directory: &Path, dry_run: bool, out: &mut dyn Write) -> Result<()> {
    let ledger = match Ledger::existing(directory) {
        // The service has it, and undoes it when it is asked.
        Err(LedgerError::InUse(_)) if !dry_run => return ask::restore(out),
        ledger => ledger?,
    };
    let Some(ledger) = ledger else {
        writeln!(out, "nothing was placed")?;
        return Ok(());
    };
    let masks: &mut dyn Masks = if dry_run { &mut Pretend } else { &mut System };
    let result = undo(Path::new(ROOT), &ledger, masks);
    say(&result, dry_run, out)?;
    if let Some((tid, error)) = result.failed.first_key_value() {
        let others = match result.failed.len() - 1 {
            0 => String::new(),
            others => format!(", and {others} more"),
        };
        bail!("thread {tid} stays where it was placed: {error}{others}; try again as root");
    }
    if !dry_run {
        // Nobody places them any more.
        AffinityOwner::new(affinity_owner::DIRECTORY.as_ref(), SERVICE).release_all()?;
        ledger.close()?;
    }
    Ok(())
}

fn say(result: &Restored, dry_run: bool, out: &mut dyn Write) -> Result<()> {
    let may = if dry_run { "would" } else { "may" };
    writeln!(
        out,
        "{} threads {may} run everywhere again",
        result.restored.len()
    )?;
    if !result.foreign.is_empty() {
        let foreign = result.foreign.len();
        writeln!(
            out,
            "{foreign} threads were placed by somebody else since, and are left alone"
        )?;
    }
    for pid in &result.unclear {
        writeln!(
            out,
            "process {pid} may run only where a group was placed, and belongs to none: if nobody wants it there, \
             `taskset --all-tasks --cpu-list --pid 0-8191 {pid}` lets it run everywhere"
        )?;
    }
    Ok(())
}
