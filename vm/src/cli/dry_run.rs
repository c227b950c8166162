//! `auto-ext-vm plan --dry-run`: what would be done to the guests of this host if both halves were to act. It changes nothing.

use std::io::Write;
use std::path::Path;

use crate::action::Action;
use crate::config::{Mode, Settings};
use crate::controller::{Controller, Done};
use crate::core::{Event, explain};
use crate::host::{Host, HostError};
use crate::moment::Moment;
use crate::snapshot::{GuestId, Snapshot};
use anyhow::{Context as _, bail};
use auto_ext_service::affinity_owner::Process;
use auto_ext_service::sanitize::sanitize;

use super::check::read;
use super::look::Look;
use super::ticks::{Tick, Ticks};
use super::words::action_in_words;

/// For so many windows CPUs have to be unevenly used before anything is done about it.
const WINDOWS: u32 = 2;

/// A host to which nothing is done.
struct Untouched(Box<dyn Host + Send>);

/// Looks, and tells what would be done.
pub(super) fn dry_run(look: &Look, config: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut ticks = Ticks::begin(look.interval()).context("cannot wait for signals")?;
    let settings = read(config)?.map_or_else(Settings::default, |checked| checked.settings);
    let host = Untouched(look.host(config)?);
    let mut controller = Controller::new(host, settings.config([].into_iter()), None)?;
    let mut done = controller.look()?;
    for _ in 0..WINDOWS {
        if ticks.wait()? == Tick::End {
            bail!("it was to end before there was anything to tell");
        }
        configure(&mut controller, &settings);
        done.extend(controller.look()?);
    }
    let told = tell(&controller, &done, look.interval().as_secs());
    out.write_all(told.as_bytes()).context("cannot write")
}

/// What the owner wants of those who are there, but for both halves acting.
fn configure(controller: &mut Controller<Untouched>, settings: &Settings) {
    let guests = controller.snapshot().guests.iter();
    let mut config = settings.config(guests.map(|guest| (&guest.id, &*guest.name)));
    config.cpu.mode = Mode::Act;
    config.memory.mode = Mode::Act;
    controller.configure(config);
}

fn tell(controller: &Controller<Untouched>, done: &[Done], seconds: u64) -> String {
    let snapshot = controller.snapshot();
    let Snapshot { guests, cpus, .. } = snapshot;
    let there = snapshot.by_id();
    let name = |id: &GuestId| sanitize(there.get(id).map_or("?", |guest| &guest.name));
    let online = cpus.iter().filter(|cpu| cpu.online).count();
    let mut told = format!(
        "{} guests on {online} CPUs, {WINDOWS} windows of {seconds} s; nothing was changed, this would be done:\n",
        guests.len()
    );
    for Done { action, .. } in done {
        let words = action_in_words(action, name);
        told.extend(words.map(|words| format!("  {words}\n")));
    }
    told + &explain(controller.state(), name)
}

impl Host for Untouched {
    fn now(&self) -> Moment {
        self.0.now()
    }

    fn events(&mut self) -> Result<Vec<Event>, HostError> {
        self.0.events()
    }

    fn snapshot(&mut self) -> Result<Snapshot, HostError> {
        self.0.snapshot()
    }

    fn process(&self, guest: &GuestId) -> Option<Process> {
        self.0.process(guest)
    }

    fn apply(&mut self, _: &Action) -> Result<(), HostError> {
        Ok(())
    }
}
