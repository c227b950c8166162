//! scx_loader as its users meet it: systemd, and scxctl.

use crate::service;

/// The loader, which runs until this is dropped.
pub(crate) struct Loader {
    /// Whether it believes to run a scheduler: it believes that of whatever it was asked for last.
    /// scxctl has another word for switching then.
    believes: bool,
}

impl Loader {
    /// Starts the service.
    pub(crate) fn start() -> anyhow::Result<Self> {
        service::say("systemctl restart scx_loader.service")?;
        Ok(Self { believes: false })
    }

    /// Asks for a scheduler, with the arguments that the loader takes by itself, or for `kernel`.
    pub(crate) fn switch_to(&mut self, scheduler: &str) -> anyhow::Result<()> {
        let command = match (scheduler, self.believes) {
            ("kernel", _) => "scxctl stop".to_owned(),
            (_, false) => format!("scxctl start --sched {scheduler}"),
            (_, true) => format!("scxctl switch --sched {scheduler}"),
        };
        service::say(&command)?;
        self.believes = scheduler != "kernel";
        Ok(())
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // Its scheduler ends with it. What fails here is missed by whoever wants to run one.
        let _ = service::say("systemctl stop scx_loader.service");
    }
}
