//! The host that a command looks at.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::Host;
use crate::libvirt::{self, Libvirt};
use crate::qmp::Qmp;

/// How often the host is looked at, and where it is.
#[derive(Debug, clap::Args)]
pub(super) struct Look {
    /// How long a window is, in seconds
    #[arg(value_name = "INTERVAL", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=3600))]
    interval: u16,
    /// The socket of libvirt's daemon, if it is not where libvirt has it
    #[arg(long, value_name = "SOCKET")]
    connect: Option<PathBuf>,
    /// The QMP socket of a QEMU that libvirt does not run; may be given several times, and libvirt is not asked then
    #[arg(long, value_name = "SOCKET", conflicts_with = "connect")]
    qmp: Vec<PathBuf>,
}

impl Look {
    pub(super) fn interval(&self) -> Duration {
        Duration::from_secs(self.interval.into())
    }

    pub(super) fn host(&self) -> Box<dyn Host> {
        let root = Path::new("/");
        if !self.qmp.is_empty() {
            return Box::new(Qmp::new(&self.qmp, root, self.interval()));
        }
        let socket = self.connect.clone();
        let socket = socket.unwrap_or_else(|| libvirt::socket(root));
        Box::new(Libvirt::new(&socket, root, self.interval()))
    }
}
