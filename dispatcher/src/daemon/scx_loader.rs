//! org.scx.Loader's requests, and what its clients are told: begun and ended with the policy's `compat`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use auto_ext_core::{Event, Mode as Decider};
use auto_ext_policy::{Candidate, Scheduler, Switch, known};
use auto_ext_scx::process::executable;

use super::loader::Loader;
use super::requests::is_installed;
use super::state::{Daemon, runtime_directory};
use crate::api::request::{Answer, Refusal};
use crate::api::status::{LoaderStatus, scheduler_name};
use crate::scx_loader::clients::{Ask, Clients, How, Now, Outcome};
use crate::scx_loader::settings::Settings;
use crate::scx_loader::{Mode, SUPPORTED, supported};

/// While this file in the runtime directory exists, systemd does not start scx_loader: a drop-in for its unit says so.
const OFFERED: &str = "loader";

impl Daemon {
    /// Offers org.scx.Loader, or does not any more, as the policy has it.
    pub(super) async fn offer_scx_loader(&mut self) {
        let wanted = self.policy.compat.scx_loader == Switch::On && !self.beside;
        if wanted == self.loader.is_some() {
            return;
        }
        if wanted {
            self.begin_to_offer().await;
        } else {
            self.end_to_offer().await;
        }
    }

    async fn begin_to_offer(&mut self) {
        let settings = Settings::read("/".as_ref()).unwrap_or_else(|error| {
            tracing::warn!("the configuration of scx_loader is not used: {error}");
            Settings::default()
        });
        let path = settings.path.clone();
        let begins_with = settings
            .default
            .clone()
            .filter(|_| settings.is_of_the_administrator());
        let mode = settings.default_mode;
        self.loader = Some(Loader {
            settings: Arc::new(settings),
            clients: Clients::default(),
            supported: Vec::new(),
            pinned: None,
            modes: BTreeMap::new(),
        });
        self.find_supported();
        if let Err(error) = fs::write(offered(), "") {
            tracing::warn!("scx_loader may be started beside auto-ext: {error}");
        }
        tracing::info!("org.scx.Loader is offered");
        if let (Some(command), Some(path)) = (begins_with, path) {
            let by = path.display().to_string();
            if let Err(refusal) = self.pin_for(&by, command, How::Mode(mode)).await {
                tracing::warn!("what {by} begins with cannot be pinned: {refusal}");
            }
        }
        self.show().await;
    }

    /// Whoever asked for a pin that way could not end it any more.
    async fn end_to_offer(&mut self) {
        self.loader = None;
        remove_offered();
        self.apply_event(Event::ArgumentsAsked(BTreeMap::new()))
            .await;
        if self.state.pin().is_some_and(|pin| pin.by.is_some()) {
            self.apply_event(Event::Unpinned).await;
        }
    }

    /// Finds out which of the schedulers that its clients know are installed.
    pub(super) fn find_supported(&mut self) {
        if let Some(loader) = &mut self.loader {
            let installed = |command: &&str| executable::find(command).is_ok();
            loader.supported = SUPPORTED.into_iter().filter(installed).collect();
        }
    }

    /// What its clients are told.
    pub(super) fn loader_status(&self) -> Option<LoaderStatus> {
        let loader = self.loader.as_ref()?;
        let shown = |scheduler: &Scheduler| {
            let candidate = Candidate::Scheduler(scheduler.clone());
            (scheduler_name(&candidate), loader.how(scheduler))
        };
        let coming = match self.state.switching().map(|switch| &switch.to) {
            Some(Candidate::Scheduler(scheduler)) => Some(scheduler),
            Some(Candidate::Kernel) | None => None,
        };
        Some(LoaderStatus {
            settings: Arc::clone(&loader.settings),
            supported: loader.supported.clone(),
            running: self.state.running().map(shown),
            coming: coming.map(shown),
        })
    }

    /// A person leaves everything to the policy again: modes as well.
    pub(super) async fn forget_modes(&mut self) {
        if let Some(loader) = &mut self.loader
            && !loader.modes.is_empty()
        {
            loader.modes.clear();
            self.apply_event(Event::ArgumentsAsked(BTreeMap::new()))
                .await;
        }
    }

    /// Does what `client` asks for.
    pub(super) async fn ask_scx_loader(
        &mut self,
        client: String,
        ask: Ask,
    ) -> Result<Answer, Refusal> {
        if let Decider::Observe(cause) = self.state.mode()
            && !cause.leaves_room_for_a_pin()
        {
            return Err(Refusal::Unavailable(cause.to_string()));
        }
        let current = self.sched_ext.read().scheduler();
        let pinned = self.state.pin().is_some();
        let running = self.state.running();
        let Some(loader) = &mut self.loader else {
            let message = "org.scx.Loader is not offered any more".to_owned();
            return Err(Refusal::Unavailable(message));
        };
        let mode = running.map_or(Mode::Auto, |running| loader.how(running).mode());
        let shown = supported(&current).map(|command| (command.to_owned(), mode));
        let default = loader.settings.default.clone();
        let default = default.map(|command| (command, loader.settings.default_mode));
        let now = Now { shown, pinned };
        let outcome = loader.clients.decide(&client, ask, &now, default);
        match outcome.map_err(Refusal::Unavailable)? {
            Outcome::Pin { command, how } => self.pin_for(&client, command, how).await?,
            Outcome::PinKernel => self.pinned_by(&client, Candidate::Kernel).await,
            Outcome::Unpin => {
                tracing::info!("{client} puts back what ran before: nothing is pinned any more");
                self.apply_event(Event::Unpinned).await;
            }
            Outcome::SetMode { command, mode } => {
                tracing::info!("{client} asks for {command} in the mode {}", mode.name());
                match mode {
                    Mode::Auto => drop(loader.modes.remove(&command)),
                    _ => drop(loader.modes.insert(command, mode)),
                }
                let arguments = loader.arguments();
                self.apply_event(Event::ArgumentsAsked(arguments)).await;
            }
            Outcome::Restart if self.state.running().is_none() => {
                let message = format!("auto-ext did not start {current}");
                return Err(Refusal::Unavailable(message));
            }
            Outcome::Restart => self.apply_event(Event::RestartAsked).await,
            Outcome::Nothing => {}
        }
        Ok(Answer::Done)
    }

    /// Pins the scheduler of this program for `client`.
    async fn pin_for(&mut self, client: &str, command: String, how: How) -> Result<(), Refusal> {
        let Some(loader) = &mut self.loader else {
            return Ok(());
        };
        let args = match &how {
            How::Mode(mode) => loader.settings.arguments(&command, *mode),
            How::Arguments(args) => args.clone(),
        };
        let name = command.trim_start_matches(known::PREFIX).to_owned();
        let scheduler = Scheduler {
            name,
            command,
            args,
        };
        let to = Candidate::Scheduler(scheduler.clone());
        is_installed(&to)?;
        loader.pinned = Some((scheduler, how));
        self.pinned_by(client, to).await;
        Ok(())
    }

    async fn pinned_by(&mut self, client: &str, to: Candidate) {
        tracing::info!("{to} is pinned by {client}");
        self.apply_event(Event::Pinned {
            to,
            lasts: None,
            by: Some(client.to_owned()),
        })
        .await;
    }
}

fn offered() -> PathBuf {
    runtime_directory().join(OFFERED)
}

/// From now on scx_loader may be started.
pub(super) fn remove_offered() {
    // It exists only while the interface is offered.
    let _ = fs::remove_file(offered());
}
