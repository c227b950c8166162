//! Owns the trial of the .rpm: it is installed, upgraded and erased in a little system, with its scriptlets.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::little::{DATABASE, Root, same};
use crate::command::run_quietly;
use crate::dist::Packages;

const POLICY: &str = "etc/auto-ext/policies.yaml";

/// What the service leaves there, and what of it stays.
const STATE: &str = "var/lib/auto-ext/failures.json";
const RUNTIME: &str = "run/auto-ext/counters.json";

/// From the first installation to the last file that goes.
pub(super) fn is_installed_upgraded_and_erased(packages: &Packages) -> Result<()> {
    let root = Root::new()?;
    let before = root.files()?;

    rpm(&root, &["--install", "--nodeps"], &packages.rpm)?;
    ensure!(root.told()? == ["daemon-reload"], "{:?}", root.told()?);
    root.holds(&packages.tree)?;

    // As the service and an administrator leave it.
    let edited = root.read(POLICY)? + "# edited\n";
    root.write(POLICY, &edited)?;
    root.write(STATE, "{}")?;
    root.write(RUNTIME, "{}")?;
    rpm(
        &root,
        &["--upgrade", "--nodeps", "--replacepkgs"],
        &packages.rpm,
    )?;
    let told = root.told()?;
    ensure!(
        told.contains(&"try-restart auto-ext.service".to_owned()),
        "{told:?}"
    );
    ensure!(root.read(POLICY)? == edited, "the policy was overwritten");
    ensure!(root.path(STATE).exists(), "/{STATE} is gone");

    rpm(&root, &["--erase"], Path::new("auto-ext"))?;
    let told = root.told()?;
    ensure!(
        told.contains(&"--no-reload disable --now auto-ext.service".to_owned()),
        "{told:?}"
    );
    let saved = format!("{POLICY}.rpmsave");
    ensure!(root.read(&saved)? == edited, "/{saved}");
    let mut expected = before;
    let kept = ["etc/auto-ext", &saved, "var/lib/auto-ext", STATE];
    let after = root.files()?;
    for path in kept {
        let file = after
            .get(path)
            .with_context(|| format!("/{path} is gone"))?;
        expected.insert(path.to_owned(), file.clone());
    }
    same(&expected, &after)
}

/// Does something to a package of the system.
fn rpm(root: &Root, action: &[&str], package: &Path) -> Result<()> {
    let mut rpm = Root::command_as_root("rpm", &[])?;
    // Debian's rpm warns that dpkg knows nothing of what it installs, which is so here.
    if Path::new("/etc/debian_version").exists() {
        rpm.arg("--force-debian");
    }
    rpm.arg("--root").arg(root.path(""));
    rpm.arg(format!("--dbpath=/{DATABASE}"));
    run_quietly(rpm.arg("--noplugins").args(action).arg(package))
}
