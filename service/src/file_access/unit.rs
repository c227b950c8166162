//! What the unit auto-ext.service hides from the service and what it makes for it, see systemd.exec(5).

use std::path::Path;

/// The directories that `ProtectHome=yes` hides.
pub(super) const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
/// The directories that `PrivateTmp=yes` replaces.
pub(super) const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];
/// The directories that systemd makes before it starts the service.
const MADE: [&str; 3] = ["/var/lib/auto-ext", "/run/auto-ext", "/run/scx"];
/// Where the shipped unit lets the service write as well.
pub(super) const SHIPPED_WRITABLE: [&str; 2] = [
    "/var/lib/prometheus/node-exporter",
    "/var/lib/node_exporter/textfile_collector",
];

/// Whether `directory` is there once the service has been started.
pub(super) fn is_made(directory: &Path) -> bool {
    MADE.iter().any(|made| directory.starts_with(made))
}

/// The directories in which the service may write whatever `ReadWritePaths=` says.
pub(super) fn always_writable() -> impl Iterator<Item = &'static str> {
    ["/dev/shm"].into_iter().chain(MADE)
}
