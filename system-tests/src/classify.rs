//! The benchmark of classification, as far as it is done where the loads run: runs them one after the other, and
//! prints the trace of each. Which class each window got is worked out by `cargo xtask`, by a replay with the
//! shipped policy.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::signal::unix::{SignalKind, signal};

use crate::load::{self, Running};
use crate::loads::{self, Labelled};
use crate::{kernel, service, trace, wait};

/// How long the machine rests before a load, how long the load runs if nothing else is said, and how long the machine
/// rests after.
const BEFORE: Duration = Duration::from_secs(2);
const DURING: &str = "7";
const AFTER: Duration = Duration::from_secs(1);

/// How long a scheduler may take until the kernel has it.
const ENABLED: Duration = Duration::from_secs(30);

/// What is to be recorded.
struct Wanted<'a> {
    /// Part of the names of the loads.
    part: &'a str,
    /// How long each load runs, in seconds.
    seconds: &'a str,
    /// The scheduler under which they run: `bpfland` is /usr/bin/scx_bpfland. The kernel's own without one.
    scheduler: Option<&'a str>,
    /// Not in the test machine: what is there is somebody's, and has no scratch disk and perhaps no systemd.
    bare: bool,
}

impl<'a> Wanted<'a> {
    fn from(words: &[&'a str]) -> anyhow::Result<Self> {
        let mut wanted = Self {
            part: "",
            seconds: DURING,
            scheduler: None,
            bare: false,
        };
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            match word {
                "--bare" => wanted.bare = true,
                "--seconds" => wanted.seconds = words.next().context("how many seconds?")?,
                "--scheduler" => wanted.scheduler = words.next(),
                part => wanted.part = part,
            }
        }
        Ok(wanted)
    }
}

/// Records every load whose name contains the word, all of them without one, and prints the traces, one after
/// the other; before each a line with the reason for its label, which begins with `#`. A line that begins with `!`
/// says of one why it has no trace.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let wanted = Wanted::from(words)?;
    if !wanted.bare {
        service::stop()?;
        drop(load::prepare()?);
    }
    let found = kernel::state();
    ensure!(
        found != "enabled",
        "a scheduler runs already: {}",
        kernel::ops()
    );
    let stdout = &mut io::stdout();
    let mut scheduler: Option<Running> = None;
    for load in loads::ALL {
        if !load.name.contains(wanted.part) {
            continue;
        }
        writeln!(stdout, "# {}: {}", load.name, load.why)?;
        if let Some(name) = wanted.scheduler.filter(|_| kernel::state() != "enabled") {
            drop(scheduler.take());
            match start_scheduler(name, &[]) {
                Ok(started) => scheduler = Some(started),
                Err(error) => {
                    writeln!(
                        stdout,
                        "! {} and all after: {}",
                        load.name,
                        one_line(&error)
                    )?;
                    return Ok(());
                }
            }
        }
        match record(load, &wanted) {
            Ok(trace) => stdout.write_all(&trace)?,
            Err(error) => writeln!(stdout, "! {}: {}", load.name, one_line(&error))?,
        }
    }
    if scheduler.take().is_some() {
        wait::until("the kernel's own", &"kernel".to_owned(), kernel::scheduler)?;
    }
    Ok(())
}

/// The trace of one.
fn record(load: &Labelled, wanted: &Wanted<'_>) -> anyhow::Result<Vec<u8>> {
    let file = trace_file();
    let recorded = load.prepare().and_then(|()| {
        let words = ["labelled", load.name, wanted.seconds];
        trace::record_as(&file, load.class, load.name, &words)
    });
    loads::tidy()?;
    recorded?;
    ensure!(
        wanted.scheduler.is_none() || kernel::state() == "enabled",
        "the scheduler did not last"
    );
    Ok(fs::read(file)?)
}

fn trace_file() -> PathBuf {
    loads::directory_of_files().join("trace.jsonl")
}

fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").replace('\n', " ")
}

/// Starts a scheduler by hand; the kernel has its own back when that is dropped.
pub(crate) fn start_scheduler(name: &str, arguments: &[&str]) -> anyhow::Result<Running> {
    let program = format!("/usr/bin/scx_{name}");
    ensure!(!kernel::state().is_empty(), "this kernel has no sched_ext");
    ensure!(Path::new(&program).exists(), "{program} is not installed");
    let words: Vec<&str> = [&*program]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    let mut scheduler = load::start_words(&words)?;
    let begin = Instant::now();
    while kernel::state() != "enabled" {
        ensure!(!scheduler.has_ended(), "{program} ended by itself");
        ensure!(begin.elapsed() < ENABLED, "{program} was not enabled");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(scheduler)
}

/// Rests, is the load of that name for so many seconds, and rests again. A signal ends that, and the load, at once.
pub(crate) fn be_load(name: &str, seconds: &str) -> anyhow::Result<()> {
    let load = Labelled::find(name)?;
    let during = Duration::try_from_secs_f64(seconds.parse().context("seconds")?)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        tokio::select! {
            result = rest_and_be(load, during) => result,
            _ = terminated.recv() => bail!("terminated"),
            _ = interrupted.recv() => bail!("interrupted"),
        }
    })
}

async fn rest_and_be(load: &Labelled, during: Duration) -> anyhow::Result<()> {
    let server = load.has("iperf3").then(load::serve_iperf3).transpose()?;
    tokio::time::sleep(BEFORE).await;
    let mut running = load::start_command(&mut load.command()?)?;
    tokio::time::sleep(during).await;
    ensure!(!running.has_ended(), "{} ended by itself", load.name);
    drop(running);
    tokio::time::sleep(AFTER).await;
    drop(server);
    Ok(())
}
