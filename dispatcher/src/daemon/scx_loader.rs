//! org.scx.Loader's requests, and what its clients are told: begun and ended with the policy's `compat`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use auto_ext_core::{Event, Mode as Decider, ObserveCause};
use auto_ext_policy::{Candidate, KERNEL, Scheduler, Switch, known};
use auto_ext_scx::process::executable;

use super::loader::Loader;
use super::requests::is_installed;
use super::state::{Daemon, runtime_directory};
use crate::api::request::{Answer, Refusal};
use crate::api::status::{LoaderStatus, scheduler_name};
use crate::persistence::loader_clients;
use crate::scx_loader::clients::{Ask, How, Now, Outcome};
use crate::scx_loader::settings::Settings;
use crate::scx_loader::{Mode, SUPPORTED, supported};

/// While this file in the runtime directory exists, systemd does not start scx_loader: a drop-in for its unit says so.
const OFFERED: &str = "loader";

impl Daemon {
    /// Offers org.scx.Loader, or does not any more, as the policy has it; its configuration is read anew.
    pub(super) async fn offer_scx_loader(&mut self) {
        let observes = matches!(self.state.mode(), Decider::Observe(ObserveCause::Asked));
        let wanted = self.policy.compat.scx_loader == Switch::On && !self.beside && !observes;
        match (wanted, self.loader.is_some()) {
            (true, false) => self.begin_to_offer().await,
            (true, true) => self.read_settings().await,
            (false, true) => self.end_to_offer().await,
            // A daemon that was killed may have left it.
            (false, false) if !self.beside => remove_offered(),
            (false, false) => {}
        }
    }

    async fn begin_to_offer(&mut self) {
        let settings = settings();
        let path = settings.path.clone();
        let begins_with = settings
            .default
            .clone()
            .filter(|_| settings.is_of_the_administrator());
        let mode = settings.default_mode;
        self.loader = Some(Loader {
            settings: Arc::new(settings),
            clients: loader_clients::read(&runtime_directory()),
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

    /// A program may have written other settings.
    async fn read_settings(&mut self) {
        let Some(loader) = &mut self.loader else {
            return;
        };
        let settings = settings();
        if settings != *loader.settings {
            loader.settings = Arc::new(settings);
            let arguments = loader.arguments();
            self.apply_event(Event::ArgumentsAsked(arguments)).await;
        }
    }

    /// Whoever asked for a pin that way could not end it any more.
    async fn end_to_offer(&mut self) {
        self.loader = None;
        remove_offered();
        self.apply_event(Event::ArgumentsAsked(BTreeMap::new()))
            .await;
        self.apply_event(Event::UnpinnedBy { program: None }).await;
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
            && *cause != ObserveCause::NoScheduler
        {
            return Err(Refusal::Unavailable(cause.to_string()));
        }
        let current = self.sched_ext.read().scheduler();
        let pinned_by = self.state.pin().map(|pin| pin.by.clone());
        let running = self.state.running();
        let is_ours = running.is_some() || current == KERNEL;
        let by_rule = is_ours && *self.state.mode() == Decider::Auto;
        let Some(loader) = &mut self.loader else {
            let message = "org.scx.Loader is not offered any more".to_owned();
            return Err(Refusal::Unavailable(message));
        };
        let mode = running.map_or(Mode::Auto, |running| loader.how(running).mode());
        let shown = supported(&current).map(|command| (command.to_owned(), mode));
        let default = loader.settings.default.clone();
        let default = default.map(|command| (command, loader.settings.default_mode));
        let now = Now {
            shown,
            by_rule,
            is_theirs: pinned_by == Some(Some(client.clone())),
        };
        let outcome = loader.clients.decide(&client, ask, &now, default);
        loader_clients::write(&runtime_directory(), &loader.clients);
        self.carry_out(client, outcome.map_err(Refusal::Unavailable)?)
            .await
    }

    /// Does what comes of a request of `client`.
    async fn carry_out(&mut self, client: String, outcome: Outcome) -> Result<Answer, Refusal> {
        match outcome {
            Outcome::Pin { command, how } => {
                self.has_not_failed(&command)?;
                self.pin_for(&client, command, how).await?;
            }
            Outcome::PinKernel => self.pinned_by(&client, Candidate::Kernel).await,
            Outcome::Unpin => {
                tracing::info!("{client} ends all pins");
                self.apply_event(Event::Unpinned).await;
            }
            Outcome::PutBack => {
                tracing::info!("{client} puts back what ran before: what it asked for has ended");
                self.change_modes(|modes| modes.retain(|_, (_, by)| *by != client))
                    .await;
                let program = Some(client);
                self.apply_event(Event::UnpinnedBy { program }).await;
            }
            Outcome::SetMode { command, mode } => {
                tracing::info!("{client} asks for {command} in the mode {}", mode.name());
                self.change_modes(|modes| match mode {
                    Mode::Auto => drop(modes.remove(&command)),
                    _ => drop(modes.insert(command, (mode, client))),
                })
                .await;
            }
            Outcome::Restart if self.state.running().is_none() => {
                let message = "auto-ext did not start what runs".to_owned();
                return Err(Refusal::Unavailable(message));
            }
            Outcome::Restart => self.apply_event(Event::RestartAsked).await,
            Outcome::Nothing => {}
        }
        Ok(Answer::Done)
    }

    /// A program cannot have what failed tried again; a person can.
    fn has_not_failed(&self, command: &str) -> Result<(), Refusal> {
        let scheduler = Scheduler {
            name: command.trim_start_matches(known::PREFIX).to_owned(),
            command: command.to_owned(),
            args: Vec::new(),
        };
        let to = Candidate::Scheduler(scheduler);
        match self.state.quarantine(&to, self.now()) {
            None => Ok(()),
            Some(why) => Err(Refusal::Unavailable(format!(
                "{to} {why}; `auto-ext schedulers --reset-failed {command}` has it tried again"
            ))),
        }
    }

    /// Changes in which modes schedulers are to run.
    async fn change_modes(&mut self, change: impl FnOnce(&mut BTreeMap<String, (Mode, String)>)) {
        if let Some(loader) = &mut self.loader {
            change(&mut loader.modes);
            let arguments = loader.arguments();
            self.apply_event(Event::ArgumentsAsked(arguments)).await;
        }
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

/// The configuration of scx_loader, or an empty one when it cannot be used.
fn settings() -> Settings {
    Settings::read("/".as_ref()).unwrap_or_else(|error| {
        tracing::warn!("the configuration of scx_loader is not used: {error}");
        Settings::default()
    })
}

fn offered() -> PathBuf {
    runtime_directory().join(OFFERED)
}

/// From now on scx_loader may be started.
pub(super) fn remove_offered() {
    // It exists only while the interface is offered.
    let _ = fs::remove_file(offered());
}
