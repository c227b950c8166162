//! `auto-ext-smt injector`: loads one resource of a core until it is killed, for half a minute at most.

use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::injector::{Injector, Level, run};
use crate::model::Resource;

use super::look::{ROOT, shown};

/// Runs one on a CPU.
pub(super) fn injector(kind: &str, level: &str, cpu: u32, out: &mut dyn Write) -> Result<()> {
    let resource = Resource::named(kind).with_context(|| {
        let all = Resource::ALL.map(Resource::name).join(", ");
        format!("there is no injector of {}, but of {all}", shown(kind))
    })?;
    let level = Level::named(level)
        .with_context(|| format!("{} is none of low, medium and high", shown(level)))?;
    run(Injector::new(resource, level)?, cpu, Path::new(ROOT), out)?;
    Ok(())
}
