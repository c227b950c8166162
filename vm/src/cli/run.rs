//! `auto-ext-vm run`: places vCPUs and gives and takes memory until it is told to end, and puts back what it found.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::config::{self, Config, CpuConfig, MemoryConfig, Mode, Reclaim};
use crate::controller::{Controller, Done};
use crate::core::{Event, explain};
use crate::host::Host;
use crate::kernel::make_room;
use crate::remembered::Remembered;
use crate::snapshot::GuestId;
use anyhow::Context as _;
use auto_ext_service::sanitize::sanitize;

use super::look::Look;
use super::ticks::{Tick, Ticks};
use super::words::{action_in_words, complain};

/// What is run.
#[derive(Debug, clap::Args)]
pub(super) struct Run {
    #[command(flatten)]
    look: Look,
    /// Place vCPUs alone
    #[arg(long, conflicts_with = "memory")]
    cpu: bool,
    /// Give and take memory alone
    #[arg(long)]
    memory: bool,
    /// Where it is kept what was found before it was changed
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/var/lib/auto-ext-vm/originals.json"
    )]
    originals: PathBuf,
}

impl Run {
    fn config(&self) -> Config {
        let mode = |other: bool| if other { Mode::Observe } else { Mode::Act };
        Config {
            cpu: CpuConfig {
                mode: mode(self.memory),
                ..CpuConfig::default()
            },
            memory: MemoryConfig {
                mode: mode(self.cpu),
                reclaim: Reclaim::Always,
                period: self.look.interval(),
                ..MemoryConfig::default()
            },
            ..Config::default()
        }
    }
}

/// Runs until it is told to end.
pub(super) fn run(options: &Run, out: &mut dyn Write) -> anyhow::Result<()> {
    let remembered = Remembered::hold(&options.originals)?;
    let mut ticks = Ticks::begin(options.look.interval()).context("cannot wait for signals")?;
    make_room();
    let host = options.look.host(Path::new(config::PATH))?;
    let mut controller = Controller::new(host, options.config(), Some(remembered))?;
    let mut shown = Shown::default();
    let done = controller.look()?;
    shown.window(&controller, 0, &done, out)?;
    let mut number = 0;
    while ticks.wait()? == Tick::Window {
        number += 1;
        match controller.look() {
            Ok(done) => shown.window(&controller, number, &done, out)?,
            // It may come again. Until then nothing is changed.
            Err(error) => complain(&error),
        }
    }
    let done = controller.event(Event::Exit);
    shown.window(&controller, number, &done, out)?;
    let failed = done.iter().filter(|done| done.result.is_err()).count();
    anyhow::ensure!(
        failed == 0,
        "{failed} things could not be put back; they are with the next start"
    );
    Ok(())
}

/// What was shown last.
#[derive(Default)]
struct Shown {
    cpus: String,
    /// What guests are called, those that are gone included.
    names: BTreeMap<GuestId, String>,
}

impl Shown {
    /// Shows what was done in a window, and how CPUs stand if that is news.
    fn window(
        &mut self,
        controller: &Controller<Box<dyn Host + Send>>,
        number: u64,
        done: &[Done],
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let seen = controller.snapshot().guests.iter();
        self.names
            .extend(seen.map(|guest| (guest.id.clone(), sanitize(&guest.name))));
        let names = &self.names;
        let name = |guest: &GuestId| {
            names
                .get(guest)
                .cloned()
                .unwrap_or_else(|| guest.to_string())
        };
        let told = explain(controller.state(), name);
        let acts = controller.config().cpu.mode == Mode::Act;
        let cpus = told.lines().next().filter(|_| acts).unwrap_or("memory");
        let lines = done.iter().filter_map(|done| line(done, name));
        let lines: String = lines.collect();
        if cpus != self.cpus || !lines.is_empty() {
            write!(out, "window {number}: {cpus}\n{lines}")
                .and_then(|()| out.flush())
                .context("cannot write")?;
            cpus.clone_into(&mut self.cpus);
        }
        if let Some(error) = controller.not_kept() {
            complain(&error);
        }
        Ok(())
    }
}

fn line(done: &Done, name: impl Fn(&GuestId) -> String) -> Option<String> {
    let words = action_in_words(&done.action, name)?;
    Some(match &done.result {
        Ok(()) => format!("  {words}\n"),
        Err(error) => format!("  {words}: {}\n", sanitize(&error.to_string())),
    })
}
