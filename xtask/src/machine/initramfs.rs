//! Owns the form of an initramfs: the archive of files that a kernel begins with, of which busybox is always one. What the
//! others are is said by who boots it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use cpio::newc;

/// The directories of each, beside those for its files.
const DIRECTORIES: [&str; 7] = ["bin", "dev", "proc", "sys", "modules", "layers", "root"];

/// One that is being written.
pub(super) struct Initramfs {
    archive: File,
}

impl Initramfs {
    /// Begins one at `path` with this busybox, and with the shell script `init` as its first program.
    pub(super) fn create(path: &Path, busybox: &Path, init: &str) -> Result<Self> {
        let archive =
            File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        let mut initramfs = Self { archive };
        for directory in DIRECTORIES {
            initramfs.add(directory, 0o040_755, &[])?;
        }
        let busybox =
            fs::read(busybox).with_context(|| format!("cannot read {}", busybox.display()))?;
        initramfs.program("bin/busybox", &busybox)?;
        initramfs.program("init", init.as_bytes())?;
        Ok(initramfs)
    }

    /// Adds a program.
    pub(super) fn program(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.add(name, 0o100_755, bytes)
    }

    /// Adds a file that is only read.
    pub(super) fn file(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.add(name, 0o100_644, bytes)
    }

    fn add(&mut self, name: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        let mut write = || -> io::Result<()> {
            let size = u32::try_from(bytes.len()).map_err(io::Error::other)?;
            let mut entry = newc::Builder::new(name)
                .mode(mode)
                .write(&mut self.archive, size);
            entry.write_all(bytes)?;
            entry.finish().map(drop)
        };
        write().with_context(|| format!("cannot add {name} to the initramfs"))
    }

    /// Ends it.
    pub(super) fn finish(self) -> Result<()> {
        newc::trailer(self.archive).context("cannot finish the initramfs")?;
        Ok(())
    }
}
