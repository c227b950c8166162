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

    /// Opens a file and keeps it, if there is room and it is small. Returns what it says.
    pub(super) fn keep(&self, kept: &mut Kept, path: &Path) -> Option<String> {
        if Arc::strong_count(&self.places) > self.most {
            return None;
        }
        let file = File::open(path).ok()?;
        let text = small_text(&file).ok()??;
        let _place = self.places.clone();
        kept.0 = Some(Held { file, _place });
        Some(text)
    }
}

impl Kept {
    /// What the file says that is kept; `None` if none is, or it is small no more.
    pub(super) fn text(&mut self) -> Option<Result<String, Unread>> {
        let text = small_text(&self.0.as_ref()?.file);
        if !matches!(text, Ok(Some(_))) {
            self.0 = None;
        }
        text.map_err(|_| Unread::Ended).transpose()
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
    use std::process::Command;

    use super::*;

    #[test]
    fn as_many_are_kept_as_there_is_room_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let room = Room::of(1);
        let [mut one, mut other] = [Kept::default(), Kept::default()];
        assert_eq!(room.keep(&mut one, &path("one")), None);
        for name in ["one", "other"] {
            fs::write(path(name), "a").unwrap();
        }
        assert_eq!(room.keep(&mut one, &path("one")).unwrap(), "a");
        assert_eq!(room.keep(&mut other, &path("other")), None);
        assert_eq!(other.text(), None);
        fs::write(path("one"), "b").unwrap();
        assert_eq!(one.text(), Some(Ok("b".to_owned())));
        // What is not small is not kept, and makes room.
        fs::write(path("one"), "x".repeat(SMALL)).unwrap();
        assert_eq!(one.text(), None);
        assert_eq!(room.keep(&mut one, &path("one")), None);
        assert_eq!(room.keep(&mut other, &path("other")).unwrap(), "a");
    }

    #[test]
    fn what_has_ended_says_so_and_nothing_else() {
        let mut sleeps = Command::new("sleep").arg("1000").spawn().unwrap();
        let stat = format!("/proc/{}/stat", sleeps.id());
        let room = Room::below(Path::new("/"));
        let mut kept = Kept::default();
        assert!(room.keep(&mut kept, Path::new(&stat)).is_some());
        assert!(kept.text().unwrap().unwrap().contains("(sleep)"));
        sleeps.kill().unwrap();
        sleeps.wait().unwrap();
        assert_eq!(kept.text(), Some(Err(Unread::Ended)));
        assert_eq!(kept.text(), None);
    }

    #[test]
    fn below_another_root_nothing_is_kept() {
        assert_eq!(Room::below(Path::new("/tmp")).most, 0);
        assert!(Room::below(Path::new("/")).most > 0);
    }
}
