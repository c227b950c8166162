//! Which class the windows of many labelled loads get: in the test machine with few and many CPUs, or on this
//! machine; under the kernel's own scheduler and under others. The loads are in `system-tests/src/loads`, and
//! `system-tests/src/classify.rs` prints their traces; this module records them, `outcome.rs` replays each with the
//! shipped policy, `report.rs` counts, and `held_out.rs` judges each program by thresholds that were chosen without it.

mod held_out;
mod outcome;
mod report;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::command::{Running, command, say, search_path};
use crate::machine::{Kernel, Lines, Machine, Role, SYSTEM_TESTS};
use crate::{debian, ebpf, workspace};

/// The numbers of CPUs on which it is measured.
const CPUS: [u32; 4] = [1, 2, 4, 8];
/// The schedulers under which it is measured too, if that is asked for: /usr/bin/scx_NAME.
const SCHEDULERS: [&str; 3] = ["bpfland", "cosmos", "lavd"];
/// What is said where the kernel's own scheduler runs.
const KERNEL: &str = "kernel";

/// How long a test machine may take, were all loads short, and how many loads there are at most.
const TIMEOUT: Duration = Duration::from_secs(90 * 60);
const LOADS: u32 = 100;

/// How long each load runs if nothing else is said.
const DURING: f64 = 7.0;

/// How the files of traces end, and what is called what was said beside them.
const TRACE: &str = "jsonl";
const NOTES: &str = "notes.txt";

/// Where the files of the loads are on this machine: on a disk.
const FILES: &str = "/var/tmp";

/// How much is measured.
#[derive(clap::Args, Default)]
pub(super) struct Arguments {
    /// On how many CPUs; can be given several times; 1, 2, 4 and 8 if it is not
    #[arg(long)]
    cpus: Vec<u32>,
    /// Only the loads with this in their name
    #[arg(long)]
    only: Option<String>,
    /// On this machine instead of in the test machine (needs root); loads whose programs are not installed are
    /// left out
    #[arg(long, conflicts_with = "cpus")]
    bare: bool,
    /// Under bpfland, cosmos and lavd too
    #[arg(long)]
    schedulers: bool,
    /// How long each load runs, instead of 7 s; the changes of the class are counted too
    #[arg(long)]
    minutes: Option<f64>,
    /// Judge each program by thresholds that are chosen by all others, too; takes some minutes
    #[arg(long)]
    held_out: bool,
    /// A directory in which the traces are kept
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Replay the traces in a directory in which they were kept, and record none
    #[arg(long, conflicts_with_all = ["cpus", "only", "bare", "schedulers", "minutes", "keep"])]
    kept: Option<PathBuf>,
}

/// Under what a trace is recorded.
#[derive(Clone, Debug, PartialEq)]
struct Setting {
    /// On this machine, not in the test machine.
    bare: bool,
    /// The scheduler, or [`KERNEL`].
    scheduler: String,
    /// How long the load runs.
    seconds: f64,
}

/// Measures.
pub(super) fn classify(arguments: &Arguments, quick: bool, out: &mut dyn Write) -> Result<()> {
    if arguments.bare {
        // The owner of what is there of a process is its user.
        ensure!(
            fs::metadata("/proc/self")?.uid() == 0,
            "bench classify --bare attaches BPF programs to this machine's kernel: run it as root"
        );
    } else if arguments.kept.is_none() {
        debian::ensure_packages()?;
    }
    ebpf::build_release()?;
    let temporary = tempfile::tempdir().context("no place for traces")?;
    let directory = match (&arguments.kept, &arguments.keep) {
        (Some(kept), _) => kept,
        (None, keep) => {
            let directory = keep.as_deref().unwrap_or(temporary.path());
            fs::create_dir_all(directory)?;
            record_all(arguments, quick, directory)?;
            directory
        }
    };
    report::report(out, &outcome::all(directory)?, &notes(directory)?)?;
    if arguments.held_out {
        writeln!(
            out,
            "\nheld out: each program is judged by thresholds chosen without it\n"
        )?;
        report::report(out, &held_out::all(directory)?, &BTreeSet::new())?;
    }
    Ok(())
}

fn record_all(arguments: &Arguments, quick: bool, directory: &Path) -> Result<()> {
    let cpus = match &arguments.cpus[..] {
        [] if quick => &[4][..],
        [] => &CPUS[..],
        cpus => cpus,
    };
    let only = arguments.only.as_deref().or(quick.then_some("--cpu"));
    let others = if arguments.schedulers {
        &SCHEDULERS[..]
    } else {
        &[]
    };
    for scheduler in [KERNEL].iter().chain(others) {
        let setting = Setting {
            bare: arguments.bare,
            scheduler: (*scheduler).to_owned(),
            seconds: arguments.minutes.map_or(DURING, |minutes| 60.0 * minutes),
        };
        let mut words = vec!["classify".to_owned()];
        words.extend(["--seconds".to_owned(), setting.seconds.to_string()]);
        if setting.scheduler != KERNEL {
            words.extend(["--scheduler".to_owned(), setting.scheduler.clone()]);
        }
        words.extend(only.map(ToOwned::to_owned));
        if setting.bare {
            record_bare(&setting, words, directory)?;
        } else {
            for &cpus in cpus {
                record_in_machine(cpus, &setting, &words, directory)?;
            }
        }
    }
    Ok(())
}

/// Has a machine record the loads. The traces go into `directory`, and what it says beside them into
/// a file there.
fn record_in_machine(
    cpus: u32,
    setting: &Setting,
    words: &[String],
    directory: &Path,
) -> Result<()> {
    let machine = Machine::new(Kernel::Role(Role::Newest))
        .cpus(cpus)
        .memory("3G")
        .with_programs()
        .timeout(TIMEOUT + Duration::try_from_secs_f64(setting.seconds)? * LOADS);
    let mut traces = Traces::new(setting, cpus, directory)?;
    let mut lines = Lines::new(|line: &str| traces.take(line));
    let mut command = vec![SYSTEM_TESTS.to_owned()];
    command.extend_from_slice(words);
    let exit = machine.run(&command, &mut |bytes| lines.feed(bytes));
    lines.finish()?;
    ensure!(
        exit?.status == 0,
        "the machine with {cpus} CPUs did not come to its end"
    );
    Ok(())
}

/// Records the loads on this machine, with their files in a directory that is removed at the end.
fn record_bare(setting: &Setting, words: Vec<String>, directory: &Path) -> Result<()> {
    let cpus = std::thread::available_parallelism()?.get();
    let files = tempfile::Builder::new()
        .prefix("auto-ext-bench-")
        .tempdir_in(FILES)
        .with_context(|| format!("no directory in {FILES}"))?;
    let program = workspace::release("system-tests");
    let built = program.parent().context("a program without a directory")?;
    let mut classify = command(&program);
    classify.args(words).arg("--bare");
    classify.env("PATH", format!("{}:{}", built.display(), search_path()));
    for place in ["SCRATCH", "FILES"] {
        classify.env(place, files.path());
    }
    classify.stdout(Stdio::piped());
    let mut running = Running::start(&mut classify)?;
    let stdout = running.0.stdout.take().context("it has no output")?;
    let mut traces = Traces::new(setting, u32::try_from(cpus)?, directory)?;
    for line in BufReader::new(stdout).lines() {
        traces.take(&line?)?;
    }
    let status = running.0.wait()?;
    ensure!(status.success(), "system-tests classify --bare: {status}");
    Ok(files.close()?)
}

/// Makes files of what `system-tests classify` says.
struct Traces<'a> {
    setting: &'a Setting,
    cpus: u32,
    directory: &'a Path,
    notes: File,
    trace: Option<File>,
}

impl<'a> Traces<'a> {
    fn new(setting: &'a Setting, cpus: u32, directory: &'a Path) -> Result<Self> {
        let notes = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(directory.join(NOTES))?;
        Ok(Self {
            setting,
            cpus,
            directory,
            notes,
            trace: None,
        })
    }

    fn take(&mut self, line: &str) -> Result<()> {
        if let Some(reason) = line.strip_prefix("# ") {
            say(reason);
            writeln!(self.notes, "{reason}")?;
        } else if let Some(why) = line.strip_prefix("! ") {
            say(why);
            let place = self.setting.place(self.cpus.into());
            writeln!(self.notes, "not measured: {place}, {why}")?;
        } else if line.starts_with('{') {
            let mut line = line.to_owned();
            if line.contains("\"label\"") {
                let path = self
                    .directory
                    .join(self.setting.file_name(&line, self.cpus)?);
                self.trace = Some(File::create(path)?);
                line = self.setting.put_into(&line);
            }
            let trace = self.trace.as_mut().context("a trace without a header")?;
            writeln!(trace, "{line}")?;
        } else {
            say(line);
        }
        Ok(())
    }
}

impl Setting {
    /// What the file of the trace with this header is called.
    fn file_name(&self, header: &str, cpus: u32) -> Result<String> {
        let name: String = label(&serde_json::from_str(header)?)?
            .chars()
            .map(|char| match char {
                'a'..='z' | 'A'..='Z' | '0'..='9' => char,
                _ => '-',
            })
            .collect();
        let scheduler = match &self.scheduler[..] {
            KERNEL => String::new(),
            name => format!("-{name}"),
        };
        let bare = if self.bare { "-bare" } else { "" };
        Ok(format!("{name}{scheduler}{bare}-{cpus}.{TRACE}"))
    }

    /// A trace's header with this in it, which replays pass over.
    fn put_into(&self, header: &str) -> String {
        let Self {
            bare,
            scheduler,
            seconds,
        } = self;
        let own = json!({"bare": bare, "scheduler": scheduler, "seconds": seconds});
        header.replacen('{', &format!("{{\"bench\":{own},"), 1)
    }

    /// What a trace's header has of it. One of `auto-ext label` has nothing: it is of a machine of somebody's.
    fn from(header: &Value) -> Self {
        let own = &header["bench"];
        Self {
            bare: own["bare"].as_bool().unwrap_or(true),
            scheduler: own["scheduler"].as_str().unwrap_or(KERNEL).to_owned(),
            seconds: own["seconds"].as_f64().unwrap_or(DURING),
        }
    }

    /// Where, and under what, in words.
    fn place(&self, cpus: u64) -> String {
        let bare = if self.bare { "bare, " } else { "" };
        match &self.scheduler[..] {
            KERNEL => format!("{bare}{cpus} CPUs"),
            name => format!("{bare}{cpus} CPUs under {name}"),
        }
    }
}

fn label(header: &Value) -> Result<&str> {
    header["label"].as_str().context("a trace without a label")
}

/// What was said beside the traces, each once.
fn notes(directory: &Path) -> Result<BTreeSet<String>> {
    let path = directory.join(NOTES);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(text.lines().map(ToOwned::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_says_under_what_it_was_recorded() {
        let setting = Setting {
            bare: true,
            scheduler: "lavd".to_owned(),
            seconds: 120.0,
        };
        let header = r#"{"trace":1,"label":"cpu: a {hog}"}"#;
        let name = setting.file_name(header, 2).unwrap();
        assert_eq!(name, "cpu--a--hog--lavd-bare-2.jsonl");
        let header: Value = serde_json::from_str(&setting.put_into(header)).unwrap();
        assert_eq!(header["label"], "cpu: a {hog}");
        assert_eq!(Setting::from(&header), setting);
    }

    #[test]
    fn a_trace_of_the_test_machine_under_the_kernels_own_scheduler_has_no_more_in_its_name() {
        let setting = Setting {
            bare: false,
            scheduler: KERNEL.to_owned(),
            seconds: DURING,
        };
        let name = setting.file_name(r#"{"label":"io: dd"}"#, 8).unwrap();
        assert_eq!(name, "io--dd-8.jsonl");
        assert_eq!(setting.place(8), "8 CPUs");
    }

    #[test]
    fn a_trace_of_a_machine_of_somebodys_is_no_trace_of_the_test_machine() {
        let setting = Setting::from(&json!({"label": "io: a database"}));
        assert_eq!(setting.place(8), "bare, 8 CPUs");
    }
}
