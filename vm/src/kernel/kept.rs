//! Small files of the kernel that are read again and again and stay open for that: to open and to close them takes several times as long as to
//! read them. Owns how many may be; what they say is for others to understand.
//!
//! A file that is kept is also safer than its path: once the task or the cgroup that it is of has ended, it says that and nothing else
//! (ESRCH by proc_single_show in fs/proc/base.c, ENODEV by kernfs_seq_start in fs/kernfs/file.c), though another may have the number or the
//! name by then.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use auto_ext_service::open_files;

use super::texts::{Kernel, MAX_TEXT};

/// How many are kept at most. Each takes five KiB of the kernel's memory (a page of that as the buffer of fs/seq_file.c), which counts as the
/// service's: all of them are a third of what it may have.
const MOST: u64 = 4096;
/// How many other files may be open beside them.
const OTHERS: u64 = 256;
/// How large a text is at most that is kept open, in bytes.
const SMALL: usize = 2048;

/// A file that may be kept open.
#[derive(Debug, Default)]
pub struct Kept(Option<Held>);

#[derive(Debug)]
struct Held {
    file: File,
    /// Counts as long as it is there.
    _place: Arc<()>,
}

/// How many files may be kept open.
#[derive(Debug)]
pub(super) struct Room {
    places: Arc<()>,
    most: usize,
}

/// Why nothing was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// What it is of has ended.
    Ended,
    /// It cannot be opened, or is no text.
    Missing,
}

/// Lets this program have as many files open as it takes to keep all that may be kept, as far as the system lets it.
pub fn make_room() {
    open_files::raise_limit(MOST + OTHERS);
}

impl Room {
    /// Room for as many as this program may have open; for none below a `root` that is not the kernel's own: files there do not say that
    /// what they are of has ended.
    pub(super) fn below(root: &Path) -> Self {
        let most = if root == Path::new("/") {
            open_files::limit().saturating_sub(OTHERS).min(MOST)
        } else {
            0
        };
        Self::of(usize::try_from(most).unwrap_or(usize::MAX))
    }

    /// Room for so many.
    pub(super) fn of(most: usize) -> Self {
        Self {
            places: Arc::default(),
            most,
        }
    }

    fn place(&self) -> Option<Arc<()>> {
        (Arc::strong_count(&self.places) <= self.most).then(|| self.places.clone())
    }
}

impl Kernel {
    /// The text of a file that is kept open from now on, if there is room; else it is opened each time.
    pub(super) fn text_again(
        &self,
        kept: &mut Kept,
        path: impl FnOnce() -> String,
    ) -> Result<String, Unread> {
        if let Some(held) = &kept.0 {
            match small_text(&held.file) {
                Ok(Some(text)) => return Ok(text),
                // It has grown.
                Ok(None) => kept.0 = None,
                Err(_) => {
                    kept.0 = None;
                    return Err(Unread::Ended);
                }
            }
        }
        let path = path();
        if let Some(place) = self.room.place() {
            let file = File::open(self.path.join(&path)).map_err(|_| Unread::Missing)?;
            if let Some(text) = small_text(&file).map_err(|_| Unread::Missing)? {
                kept.0 = Some(Held {
                    file,
                    _place: place,
                });
                return Ok(text);
            }
        }
        self.root.text(&path, MAX_TEXT).ok_or(Unread::Missing)
    }
}

/// All that a file says, from its beginning; `None` if that is not small or no text. The kernel gives a small text as a whole (fs/seq_file.c).
fn small_text(file: &File) -> io::Result<Option<String>> {
    let mut bytes = [0; SMALL];
    let length = file.read_at(&mut bytes, 0)?;
    let text = str::from_utf8(&bytes[..length]).ok();
    Ok(text.filter(|_| length < SMALL).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn as_many_are_kept_as_there_is_room_for_and_the_others_are_opened_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let kernel = Kernel {
            room: Room::of(1),
            ..Kernel::new(directory.path())
        };
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        let read = |kept: &mut Kept, name: &str| kernel.text_again(kept, || name.to_owned());
        let [mut one, mut other] = [Kept::default(), Kept::default()];
        assert_eq!(read(&mut one, "one"), Err(Unread::Missing));
        for text in ["a", "b"] {
            write("one", text);
            write("other", text);
            assert_eq!(read(&mut one, "one").unwrap(), text);
            assert_eq!(read(&mut other, "other").unwrap(), text);
        }
        assert!(one.0.is_some() && other.0.is_none());
        // What is not small is not kept, and makes room.
        let large = "x".repeat(SMALL);
        write("one", &large);
        assert_eq!(read(&mut one, "one").unwrap(), large);
        assert!(one.0.is_none());
        assert_eq!(read(&mut other, "other").unwrap(), "b");
        assert!(other.0.is_some());
    }

    #[test]
    fn below_another_root_nothing_is_kept() {
        assert_eq!(Room::below(Path::new("/tmp")).most, 0);
        assert!(Room::below(Path::new("/")).most > 0);
    }
}
