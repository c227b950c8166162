//! The files of the programs: where they are, one that is read past the page cache, a log that is written.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use nix::errno::Errno;
use nix::libc;

use super::NotPossible;

/// The variables that say where the files are that are meant for a disk, and the others.
pub(super) const SCRATCH: &str = "SCRATCH";
pub(super) const FILES: &str = "FILES";
/// Where they are if nothing says so: on the test machine's scratch disk, if it is there.
const DISK: &str = "/mnt/scratch";
const DEFAULT: &str = "/var/tmp";

/// The size of the file that is read.
const SIZE: u64 = 256 << 20;
/// How buffers for direct reads must be aligned, and what is read: the largest that any disk asks for.
const ALIGNMENT: usize = 4096;
/// The size of the log, which is written from its beginning again and again, and of what is written at a time.
const LOG: u64 = 64 << 20;
const ENTRY: usize = 8192;

/// Where the files are that are meant for a disk.
pub(crate) fn directory_on_disk() -> PathBuf {
    let disk = Path::new(DISK);
    let default = if disk.exists() {
        disk
    } else {
        Path::new(DEFAULT)
    };
    env::var_os(SCRATCH).map_or_else(|| default.into(), PathBuf::from)
}

/// Where all others are.
pub(crate) fn directory_of_files() -> PathBuf {
    env::var_os(FILES).map_or_else(|| DEFAULT.into(), PathBuf::from)
}

fn data() -> PathBuf {
    directory_on_disk().join("auto-ext-load-data")
}

/// Makes the file that is read, if it is not there: that is not part of any load.
pub(super) fn prepare() -> anyhow::Result<()> {
    let path = data();
    let there = fs::metadata(&path).is_ok_and(|metadata| metadata.len() == SIZE);
    if !there {
        let mut file = File::create(&path).with_context(|| path.display().to_string())?;
        let mut chance = fastrand::Rng::with_seed(1);
        let mut piece = vec![0; 1 << 20];
        for _ in 0..SIZE >> 20 {
            chance.fill(&mut piece);
            file.write_all(&piece)?;
        }
        file.sync_all()?;
    }
    Direct::open().map(drop)
}

/// The file, read past the page cache.
pub(super) struct Direct {
    file: File,
    buffer: Vec<u8>,
    offset: u64,
}

impl Direct {
    /// Opens it.
    ///
    /// # Errors
    /// [`NotPossible`] where the file system has no such reads.
    pub(super) fn open() -> anyhow::Result<Self> {
        let path = data();
        let mut options = OpenOptions::new();
        let options = options.read(true).custom_flags(libc::O_DIRECT);
        let file = match options.open(&path) {
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
                return Err(NotPossible::because(format!(
                    "{} is on a file system without direct reads",
                    path.display()
                )));
            }
            opened => opened.with_context(|| path.display().to_string())?,
        };
        Ok(Self {
            file,
            buffer: Vec::new(),
            offset: 0,
        })
    }

    /// Reads so many bytes, a multiple of the alignment, after those that were read before.
    pub(super) fn read_next(&mut self, size: usize) -> anyhow::Result<()> {
        let offset = self.offset;
        self.read(size, offset)?;
        self.offset = (offset + size as u64) % SIZE;
        Ok(())
    }

    /// Reads so many bytes, a multiple of the alignment, from a place that is a multiple of that.
    pub(super) fn read_anywhere(
        &mut self,
        size: usize,
        chance: &mut fastrand::Rng,
    ) -> anyhow::Result<()> {
        let size_64 = size as u64;
        self.read(size, chance.u64(0..SIZE / size_64) * size_64)
    }

    fn read(&mut self, size: usize, offset: u64) -> anyhow::Result<()> {
        self.buffer.resize(size + ALIGNMENT, 0);
        let begin = self.buffer.as_ptr().align_offset(ALIGNMENT);
        let aligned = self.buffer.get_mut(begin..begin + size);
        let read = self
            .file
            .read_at(aligned.context("no aligned buffer")?, offset)
            .context("reading")?;
        ensure!(read == size, "{read} bytes read instead of {size}");
        Ok(())
    }
}

/// Opens the log of the database.
pub(super) fn log() -> anyhow::Result<File> {
    let path = directory_on_disk().join("auto-ext-load-log");
    let mut options = OpenOptions::new();
    let log = options.create(true).write(true).truncate(false).open(&path);
    let log = log.with_context(|| path.display().to_string())?;
    log.set_len(LOG)?;
    Ok(log)
}

/// Writes to the log and waits until it is on the disk.
pub(super) fn write_to_log(log: &File, chance: &mut fastrand::Rng) -> anyhow::Result<()> {
    let offset = chance.u64(0..LOG / ENTRY as u64) * ENTRY as u64;
    log.write_all_at(&[1; ENTRY], offset)?;
    log.sync_data().context("the log")
}
