//! `auto-ext-smt check`: whether a configuration is valid; and its JSON Schema, for editors.

use std::io::Write;
use std::path::Path;

use anyhow::{Result, bail};

use crate::config::{Config, json_schema};

/// Says whether the file is valid; what is wrong is the error.
pub(super) fn check(path: &Path, out: &mut dyn Write) -> Result<()> {
    if !path.exists() {
        bail!("there is no {}: nothing is placed", path.display());
    }
    Config::read(path)?;
    writeln!(out, "{}: valid", path.display())?;
    Ok(())
}

/// Prints the schema.
pub(super) fn schema(out: &mut dyn Write) -> Result<()> {
    writeln!(out, "{:#}", json_schema())?;
    Ok(())
}
