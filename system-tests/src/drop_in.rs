//! More settings for the service, for as long as a test wants them.

use std::fs;

use anyhow::Context as _;

use crate::service;

const FILE: &str = "/run/systemd/system/auto-ext.service.d/test.conf";

/// Settings that hold from the service's next start until this is dropped.
pub(crate) struct DropIn;

impl DropIn {
    /// Adds settings of the section `[Service]`, a line each.
    pub(crate) fn install(settings: &str) -> anyhow::Result<Self> {
        let directory = FILE.rsplit_once('/').context("a file in a directory")?.0;
        fs::create_dir_all(directory)?;
        fs::write(FILE, format!("[Service]\n{settings}\n"))
            .with_context(|| format!("failed to write {FILE}"))?;
        let installed = Self;
        service::say("systemctl daemon-reload")?;
        Ok(installed)
    }
}

impl Drop for DropIn {
    fn drop(&mut self) {
        // The next test will tell if this fails.
        let _ = fs::remove_file(FILE);
        let _ = service::say("systemctl daemon-reload");
    }
}
