//! What is remembered of org.scx.Loader's clients while it is offered to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use auto_ext_policy::Scheduler;

use crate::scx_loader::Mode;
use crate::scx_loader::clients::{Clients, How};
use crate::scx_loader::settings::Settings;

/// The interface, while it is offered.
pub(super) struct Loader {
    pub(super) settings: Arc<Settings>,
    pub(super) clients: Clients,
    /// The schedulers that its clients know and that are installed.
    pub(super) supported: Vec<&'static str>,
    /// What was pinned last, and how that was asked for.
    pub(super) pinned: Option<(Scheduler, How)>,
    /// In which mode a scheduler is to run where a rule asks for it, and which client wants that.
    pub(super) modes: BTreeMap<String, (Mode, String)>,
}

impl Loader {
    /// How this scheduler was asked for.
    pub(super) fn how(&self, scheduler: &Scheduler) -> How {
        let pinned = self.pinned.as_ref();
        if let Some((_, how)) = pinned.filter(|(pinned, _)| pinned.is_same_as(scheduler)) {
            return how.clone();
        }
        let mode = self.modes.get(&scheduler.command).map(|(mode, _)| *mode);
        let mode = mode
            .filter(|mode| self.settings.arguments(&scheduler.command, *mode) == scheduler.args);
        How::Mode(mode.unwrap_or_default())
    }

    /// The arguments of the modes that were asked for.
    pub(super) fn arguments(&self) -> BTreeMap<String, Vec<String>> {
        let modes = self.modes.iter();
        modes
            .map(|(command, (mode, _))| (command.clone(), self.settings.arguments(command, *mode)))
            .collect()
    }
}
