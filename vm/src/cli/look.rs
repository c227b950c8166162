//! The host that a command looks at.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::Host;
use crate::libvirt::Libvirt;
use crate::whose;

use super::check::read;

/// How often the host is looked at, and where it is.
#[derive(Debug, clap::Args)]
pub(super) struct Look {
    /// How long a window is, in seconds
    #[arg(value_name = "INTERVAL", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=3600))]
    interval: u16,
    /// The socket of libvirt's daemon, if it is not where libvirt has it
    #[arg(long, value_name = "SOCKET")]
    connect: Option<PathBuf>,
    /// The QMP socket of a QEMU that libvirt does not run, or a directory of such sockets; may be given several times, and
    /// libvirt is not asked then. If neither is given it is as the configuration has it
    #[arg(long, value_name = "SOCKET", conflicts_with = "connect")]
    qmp: Vec<PathBuf>,
}

impl Look {
    pub(super) fn interval(&self) -> Duration {
        Duration::from_secs(self.interval.into())
    }

    /// The host that is meant; `config` is where it is said where none is given.
    pub(super) fn host(&self, config: &Path) -> anyhow::Result<Box<dyn Host + Send>> {
        let root = Path::new("/");
        if let Some(socket) = &self.connect {
            return Ok(Box::new(Libvirt::new(socket, root, self.interval())));
        }
        let mut qmp = self.qmp.clone();
        if qmp.is_empty()
            && let Some(checked) = read(config)?
        {
            qmp = checked.settings.qmp;
        }
        Ok(whose::host(&qmp, root, self.interval()))
    }
}
