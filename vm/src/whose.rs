//! Who runs the guests of this machine, and is asked about them: libvirt, or QEMUs by their own sockets.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::Host;
use crate::libvirt::{self, Libvirt};
use crate::qmp::Qmp;

/// The host whose QEMUs have these QMP sockets, or directories of such; with none, that of libvirt. It is looked at once in an interval.
#[must_use]
pub fn host(qmp: &[PathBuf], root: &Path, interval: Duration) -> Box<dyn Host + Send> {
    if qmp.is_empty() {
        let socket = libvirt::socket(root);
        Box::new(Libvirt::new(&socket, root, interval))
    } else {
        Box::new(Qmp::new(qmp, root, interval))
    }
}
