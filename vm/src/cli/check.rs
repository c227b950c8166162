//! `auto-ext-vm check`: whether a configuration is valid.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write};
use std::path::Path;

use crate::config::{Checked, MAX_BYTES, json_schema, parse};
use anyhow::Context as _;
use auto_ext_service::exit_code::{Code, WithCode};
use auto_ext_service::sanitize::sanitize;

/// The configuration in a file; `None` where there is none.
pub(super) fn read(path: &Path) -> anyhow::Result<Option<Checked>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(|| path.display().to_string())?;
    Ok(Some(parse(path, bytes)?))
}

/// Says whether it is, and what is probably not meant. What is wrong is told with its places.
pub(super) fn check(path: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let shown = path.display();
    let Some(checked) = read(path)? else {
        let message = format!("{shown}: there is no such file");
        return Err(WithCode::error(Code::Failed, message));
    };
    for warning in checked.warnings {
        writeln!(io::stderr(), "{}", sanitize(&warning.to_string()))?;
    }
    let guests = checked.settings.guests.len();
    writeln!(out, "{shown}: valid, {guests} guests")?;
    Ok(())
}

/// Prints the JSON Schema of configurations.
pub(super) fn schema(out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "{:#}", json_schema())?;
    Ok(())
}
