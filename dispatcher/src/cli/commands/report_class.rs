//! `auto-ext report-class`: packs a trace whose class was wrong, to be sent.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use auto_ext_service::sanitize::sanitize;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::labelled::{self, Programs, class_of, require_class};
use super::new_file;
use crate::sources::read_policy;
use crate::trace::Reader;

/// Where it may be sent.
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The trace, made by `label` or by `record --label CLASS`
    #[arg(value_name = "F")]
    trace: PathBuf,
    /// The file to write: a new one; by default the trace's name with .gz, in this directory
    #[arg(long, value_name = "F")]
    out: Option<PathBuf>,
    /// Leave the programs in that ran, with their paths and control groups
    #[arg(long)]
    with_programs: bool,
    /// The policy that has the class
    #[arg(long, value_name = "P", default_value = read_policy::INSTALLED)]
    policy: PathBuf,
}

/// Packs it, and says what is in it.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let Options {
        trace,
        out,
        with_programs,
        policy: path,
    } = options;
    let policy = read_policy::load(path)?;
    let mut reader = Reader::open(trace)?;
    let header = reader.header().clone();
    let Some(label) = &header.label else {
        bail!(
            "{}: the trace has no label: `auto-ext label` and `auto-ext record --label` make traces that have one",
            trace.display()
        );
    };
    require_class(&policy, path, class_of(label)).with_context(|| trace.display().to_string())?;
    let out = match out {
        Some(out) => out.clone(),
        None => packed_name(trace)?,
    };
    let programs = if *with_programs {
        Programs::Stay
    } else {
        Programs::AreLeftOut
    };
    let mut packed = GzEncoder::new(new_file::create(&out)?, Compression::default());
    let summary = labelled::copy(&mut reader, &header, &mut packed, programs, &policy)?;
    packed
        .finish()
        .with_context(|| format!("{}: cannot be written", out.display()))?;
    let programs = match programs {
        Programs::Stay => "the programs that ran with their paths and control groups",
        Programs::AreLeftOut => "nothing of programs",
    };
    let out = out.display();
    writeln!(
        io::stderr(),
        "{out}: labelled `{}`: {}",
        sanitize(label),
        labelled::in_words(&summary)
    )?;
    writeln!(
        io::stderr(),
        "in it: the label, counters of CPUs, disks, network and memory, the scheduler that ran, the kernel's release; \
         {programs}\nattach it to a new issue: {REPOSITORY}/issues"
    )?;
    Ok(ExitCode::SUCCESS)
}

/// The name of the trace with `.gz`, in this directory.
fn packed_name(trace: &Path) -> anyhow::Result<PathBuf> {
    let name = trace.file_name();
    let name = name.with_context(|| format!("{}: `--out` is needed", trace.display()))?;
    let mut name = name.to_owned();
    name.push(".gz");
    Ok(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_packed_where_one_is_and_not_where_the_trace_is() {
        let name = packed_name(Path::new("/var/tmp/cpu.jsonl")).unwrap();
        assert_eq!(name, Path::new("cpu.jsonl.gz"));
        assert!(packed_name(Path::new("/")).is_err());
    }
}
