//! What the machine has not, as if it had it: files mounted over those of /sys until this is dropped.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nix::mount::{MsFlags, mount, umount};

use crate::work::CPUS;

/// Directories that others are mounted over.
pub(crate) struct Pretended(Vec<PathBuf>);

impl Pretended {
    /// Caches, of which the emulated processor does not tell the sizes: two for each core, and a last one for all of them.
    pub(crate) fn caches() -> anyhow::Result<Self> {
        let mut pretended = Self(Vec::new());
        for cpu in 0..CPUS {
            let first = cpu / 2 * 2;
            let core = format!("{first}-{}", first + 1);
            let all = format!("0-{}", CPUS - 1);
            let caches = [
                ["1", "Data", "32K", &core],
                ["2", "Unified", "256K", &core],
                ["3", "Unified", "2048K", &all],
            ];
            let directory = PathBuf::from(format!("/sys/devices/system/cpu/cpu{cpu}/cache"));
            pretended.cover(&directory)?;
            for (index, texts) in caches.into_iter().enumerate() {
                let names = ["level", "type", "size", "shared_cpu_list"];
                for (name, text) in names.into_iter().zip(texts) {
                    write(&directory.join(format!("index{index}/{name}")), text)?;
                }
            }
        }
        Ok(pretended)
    }

    /// A sched_ext scheduler that is loaded.
    pub(crate) fn scheduler(name: &str) -> anyhow::Result<Self> {
        let mut pretended = Self(Vec::new());
        let directory = Path::new("/sys/kernel");
        pretended.cover(directory)?;
        write(&directory.join("sched_ext/state"), "enabled")?;
        write(&directory.join("sched_ext/root/ops"), name)?;
        Ok(pretended)
    }

    fn cover(&mut self, directory: &Path) -> anyhow::Result<()> {
        let kind = Some("tmpfs");
        let covered = mount(kind, directory, kind, MsFlags::empty(), None::<&str>);
        covered.with_context(|| format!("a tmpfs on {}", directory.display()))?;
        self.0.push(directory.to_owned());
        Ok(())
    }
}

impl Drop for Pretended {
    fn drop(&mut self) {
        for directory in &self.0 {
            // The next test will tell if one is left.
            let _ = umount(directory);
        }
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let directory = path.parent().context("a file in a directory")?;
    fs::create_dir_all(directory)?;
    fs::write(path, format!("{text}\n")).with_context(|| path.display().to_string())
}
