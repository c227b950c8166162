//! Notices when the policy may have changed.
//!
//! The file itself is not watched, as editors replace it: watched are the directories on its way,
//! those that symbolic links lead through, and where the way ends early, the last directory that
//! exists. A file that is being written is none yet: it counts once whoever writes it has closed it, and what takes
//! its place at once. Whether anything changed is found out by reading the policy.
//!
//! Where the kernel gives no watches, the file is looked at now and then until it does.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::lock::lock;
use crate::reach::steps;

/// Editors write in several steps; it is read when they are done.
const QUIET: Duration = Duration::from_millis(50);
/// Whoever has written nothing for so long is not waited for when the file is another one in the meantime: that it was
/// closed may not have been told.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is done where the file is not watched.
const PACE: Pace = Pace {
    look_every: Duration::from_secs(5),
    try_first: Duration::from_secs(1),
    try_at_most: Duration::from_secs(60),
};
/// Links that are followed; as many as the kernel does (MAXSYMLINKS).
const MAX_LINKS: usize = 40;

/// Watches one file's way.
pub(crate) struct PolicyWatch {
    path: PathBuf,
    start: Start,
    pace: Pace,
    sight: Sight,
}

#[derive(Clone, Copy, Debug)]
struct Pace {
    /// How often it is looked at.
    look_every: Duration,
    /// How soon it is tried again to watch it, and how long at most until the next time.
    try_first: Duration,
    try_at_most: Duration,
}

/// What a watcher does with its events.
type Handler = Box<dyn FnMut(notify::Result<Event>) + Send>;
/// How a watcher is started.
type Start = Box<dyn Fn(Handler) -> notify::Result<RecommendedWatcher> + Send>;

enum Sight {
    Watching(Watching),
    Looking(Box<Looking>),
}

/// The kernel tells of changes.
struct Watching {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    heard: Arc<Mutex<Heard>>,
    happened: Arc<Notify>,
}

/// It is found out now and then.
struct Looking {
    why: String,
    next_try: Instant,
    pause: Duration,
    next_look: Instant,
    /// What was there when it was read last.
    read: Looks,
    /// What was there at the last look, if that was something else.
    found: Option<Looks>,
}

/// The directories of a way, and the names in them that it goes by.
type Way = BTreeMap<PathBuf, BTreeSet<OsString>>;

/// What was told of the way.
#[derive(Debug, Default)]
struct Heard {
    way: Way,
    /// Since when the file may be another one.
    changed: Option<Instant>,
    /// When it was last written to by somebody who has not closed it.
    writing: Option<Instant>,
    /// One of the directories is not where it was.
    moved: bool,
}

/// By what a file is told from another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Looks(Result<[i128; 7], io::ErrorKind>);

impl PolicyWatch {
    /// Watches for changes of the file at `path`, which need not exist.
    pub(crate) fn new(path: &Path) -> Self {
        Self::by(path, Box::new(notify::recommended_watcher), PACE)
    }

    fn by(path: &Path, start: Start, pace: Pace) -> Self {
        // There is always a current directory, but for an empty path, which is none.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let sight = match Watching::start(&path, &start) {
            Ok(watching) => Sight::Watching(watching),
            Err(error) => Sight::Looking(Box::new(Looking::begin(&path, &error, pace))),
        };
        Self {
            path,
            start,
            pace,
            sight,
        }
    }

    /// Why edits are not noticed at once, if they are not.
    pub(crate) fn trouble(&self) -> Option<&str> {
        match &self.sight {
            Sight::Watching(_) => None,
            Sight::Looking(looking) => Some(&looking.why),
        }
    }

    /// Waits until the policy may have changed. Can be dropped and called again.
    pub(crate) async fn changed(&mut self) {
        match &mut self.sight {
            Sight::Watching(watching) => {
                watching.changed().await;
                if let Err(error) = watching.follow(&self.path) {
                    self.sight =
                        Sight::Looking(Box::new(Looking::begin(&self.path, &error, self.pace)));
                }
            }
            Sight::Looking(looking) => loop {
                sleep_until(looking.next_try.min(looking.next_look)).await;
                let now = Instant::now();
                if looking.next_try <= now {
                    if let Ok(watching) = Watching::start(&self.path, &self.start) {
                        let path = self.path.display();
                        tracing::info!("edits of {path} are noticed at once again");
                        self.sight = Sight::Watching(watching);
                        // It may have been edited since it was last looked at.
                        return;
                    }
                    looking.pause = (2 * looking.pause).min(self.pace.try_at_most);
                    looking.next_try = now + looking.pause;
                }
                if looking.next_look <= now {
                    looking.next_look = now + self.pace.look_every;
                    if looking.sees_another(Looks::of(&self.path)) {
                        return;
                    }
                }
            },
        }
    }
}

impl Watching {
    fn start(path: &Path, start: &Start) -> notify::Result<Self> {
        let heard = Arc::new(Mutex::new(Heard::default()));
        let happened = Arc::new(Notify::new());
        let (hears, tell) = (Arc::clone(&heard), Arc::clone(&happened));
        let watcher = start(Box::new(move |event| {
            if lock(&hears).hear(event) {
                tell.notify_one();
            }
        }))?;
        let mut watching = Self {
            watcher,
            watched: BTreeSet::new(),
            heard,
            happened,
        };
        watching.follow(path)?;
        Ok(watching)
    }

    async fn changed(&self) {
        loop {
            let due = lock(&self.heard).due();
            match due {
                None => self.happened.notified().await,
                // What is told meanwhile may be that it is being written again.
                Some(due) => drop(timeout_at(due, self.happened.notified()).await),
            }
            let mut heard = lock(&self.heard);
            if heard.due().is_some_and(|due| due <= Instant::now()) {
                (heard.changed, heard.writing) = (None, None);
                return;
            }
        }
    }

    /// Watches the directories that are on the way now.
    fn follow(&mut self, path: &Path) -> notify::Result<()> {
        let way = way(path);
        let moved = {
            let mut heard = lock(&self.heard);
            heard.way.clone_from(&way);
            std::mem::take(&mut heard.moved)
        };
        let old = std::mem::take(&mut self.watched);
        for directory in &old {
            // One of the same name may be another one. One that was removed is not watched any more.
            if moved || !way.contains_key(directory) {
                let _ = self.watcher.unwatch(directory);
            }
        }
        for directory in way.into_keys() {
            if moved || !old.contains(&directory) {
                self.watcher
                    .watch(&directory, RecursiveMode::NonRecursive)?;
            }
            self.watched.insert(directory);
        }
        Ok(())
    }
}

impl Heard {
    /// Takes an event in; whether it is about the way.
    fn hear(&mut self, event: notify::Result<Event>) -> bool {
        let now = Instant::now();
        let Some(event) = event.ok().filter(|event| !event.need_rescan()) else {
            // Events were lost; there may be one of ours among them.
            self.moved = true;
            self.is_another(now);
            return true;
        };
        let on_the_way = event.paths.iter().find(|path| self.leads_by(path));
        let directory = event.paths.iter().any(|path| self.way.contains_key(path));
        let Some(path) = on_the_way else {
            if directory && !matches!(event.kind, EventKind::Access(_)) {
                self.moved |= !matches!(event.kind, EventKind::Modify(ModifyKind::Metadata(_)));
                self.is_another(now);
                return true;
            }
            return false;
        };
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => self.is_another(now),
            // Reading, which we do ourselves, changes nothing.
            EventKind::Access(_) => return false,
            EventKind::Modify(ModifyKind::Data(_)) => self.writing = Some(now),
            EventKind::Create(_) if is_new_file(path) => self.writing = Some(now),
            // Who may read it, say, which may change while it is written.
            EventKind::Modify(ModifyKind::Metadata(_)) => {
                self.changed.get_or_insert(now);
            }
            _ => {
                self.moved |= directory;
                self.is_another(now);
            }
        }
        true
    }

    /// Another file, a whole one, is there now.
    fn is_another(&mut self, now: Instant) {
        self.writing = None;
        self.changed.get_or_insert(now);
    }

    fn leads_by(&self, path: &Path) -> bool {
        let names = path.parent().and_then(|parent| self.way.get(parent));
        names.is_some_and(|names| path.file_name().is_some_and(|name| names.contains(name)))
    }

    /// When it is to be told that the file may be another one.
    fn due(&self) -> Option<Instant> {
        let changed = self.changed?;
        let quiet = changed + QUIET;
        Some(
            self.writing
                .map_or(quiet, |writing| quiet.max(writing + PATIENCE)),
        )
    }
}

/// Whether what was just made there is a file that will be written and closed, unlike a directory or a link.
fn is_new_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|made| made.is_file() && made.nlink() == 1)
}

impl Looking {
    fn begin(path: &Path, error: &notify::Error, pace: Pace) -> Self {
        let every = humantime::format_duration(pace.look_every);
        let why = format!(
            "{} cannot be watched, it is looked at every {every}: {error} (see /proc/sys/fs/inotify)",
            path.display()
        );
        tracing::warn!("{why}");
        let now = Instant::now();
        Self {
            why,
            next_try: now + pace.try_first,
            pause: pace.try_first,
            next_look: now + pace.look_every,
            read: Looks::of(path),
            found: None,
        }
    }

    /// Whether another file than was read last is there, and has come to rest.
    fn sees_another(&mut self, looks: Looks) -> bool {
        if looks == self.read {
            self.found = None;
        } else if self.found.as_ref() == Some(&looks) {
            self.found = None;
            self.read = looks;
            return true;
        } else {
            self.found = Some(looks);
        }
        false
    }
}

impl Looks {
    fn of(path: &Path) -> Self {
        let metadata = fs::metadata(path).map_err(|error| error.kind());
        Self(metadata.map(|file| {
            [
                file.dev().into(),
                file.ino().into(),
                file.size().into(),
                file.mtime().into(),
                file.mtime_nsec().into(),
                file.ctime().into(),
                file.ctime_nsec().into(),
            ]
        }))
    }
}

/// The directories in which something has to change for `path`, which is absolute, to lead
/// elsewhere or to other contents, and by which names.
fn way(path: &Path) -> Way {
    let mut way = Way::new();
    let mut rest: Vec<PathBuf> = steps(path);
    let mut here = PathBuf::from("/");
    let mut links = 0;
    while let Some(step) = rest.pop() {
        if step == Path::new("..") {
            here.pop();
            continue;
        }
        let next = here.join(&step);
        let mut by = |here: &Path| {
            let names = way.entry(here.to_owned()).or_default();
            names.insert(step.clone().into_os_string());
        };
        match fs::symlink_metadata(&next) {
            Ok(metadata) if metadata.is_symlink() && links < MAX_LINKS => {
                links += 1;
                by(&here);
                if let Ok(target) = fs::read_link(&next) {
                    if target.is_absolute() {
                        here = PathBuf::from("/");
                    }
                    rest.extend(steps(&target));
                }
            }
            Ok(metadata) if metadata.is_dir() && !rest.is_empty() => here = next,
            // The file, or what is missing on the way to it.
            _ => {
                by(&here);
                break;
            }
        }
    }
    way
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use notify::event::{DataChange, MetadataKind};
    use tokio::time::timeout;

    use super::*;

    /// Ends a test that would hang.
    const HANG: Duration = Duration::from_secs(60);
    const A_WHILE: Duration = Duration::from_millis(300);

    async fn notices(watch: &mut PolicyWatch, change: impl FnOnce()) {
        change();
        timeout(HANG, watch.changed()).await.expect("a change");
        // What belongs to the same change may come later.
        while timeout(A_WHILE, watch.changed()).await.is_ok() {}
    }

    #[tokio::test]
    async fn a_file_that_is_written_replaced_or_removed_has_changed_and_one_that_is_read_has_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policies.yaml");
        let mut watch = PolicyWatch::new(&path);
        notices(&mut watch, || fs::write(&path, "a").unwrap()).await;
        notices(&mut watch, || {
            let new = directory.path().join(".policies.yaml.swp");
            fs::write(&new, "b").unwrap();
            fs::rename(&new, &path).unwrap();
        })
        .await;
        fs::read(&path).unwrap();
        assert!(timeout(A_WHILE, watch.changed()).await.is_err());
        notices(&mut watch, || fs::remove_file(&path).unwrap()).await;
    }

    #[tokio::test]
    async fn a_directory_that_appears_later_or_is_another_one_is_watched() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("etc/auto-ext");
        let path = directory.join("policies.yaml");
        let mut watch = PolicyWatch::new(&path);
        for _ in 0..2 {
            notices(&mut watch, || fs::create_dir_all(&directory).unwrap()).await;
            notices(&mut watch, || fs::write(&path, "a").unwrap()).await;
            notices(&mut watch, || {
                fs::remove_dir_all(root.path().join("etc")).unwrap();
            })
            .await;
        }
    }

    #[tokio::test]
    async fn links_are_watched_and_what_they_lead_to() {
        let root = tempfile::tempdir().unwrap();
        let (real, other, path) = (
            root.path().join("real"),
            root.path().join("other"),
            root.path().join("etc/policies.yaml"),
        );
        for directory in [&real, &other, &root.path().join("etc")] {
            fs::create_dir_all(directory).unwrap();
            fs::write(directory.join("mine.yaml"), "a").unwrap();
        }
        symlink(&real, root.path().join("current")).unwrap();
        symlink("../current/mine.yaml", &path).unwrap();
        let mut watch = PolicyWatch::new(&path);
        notices(&mut watch, || {
            fs::write(real.join("mine.yaml"), "b").unwrap();
        })
        .await;
        notices(&mut watch, || {
            symlink(&other, root.path().join("new")).unwrap();
            fs::rename(root.path().join("new"), root.path().join("current")).unwrap();
        })
        .await;
        notices(&mut watch, || {
            fs::write(other.join("mine.yaml"), "c").unwrap();
        })
        .await;
    }

    #[tokio::test]
    async fn a_file_that_is_being_written_is_none_until_it_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policies.yaml");
        let mut watch = PolicyWatch::new(&path);
        // A new one, and one that is there already and is cut off first.
        for _ in 0..2 {
            let mut file = fs::File::create(&path).unwrap();
            for _ in 0..3 {
                file.write_all(b"half").unwrap();
                assert!(timeout(A_WHILE, watch.changed()).await.is_err());
            }
            notices(&mut watch, || drop(file)).await;
        }
        // What is written beside it is none of ours.
        fs::write(directory.path().join("other.yaml"), "a").unwrap();
        assert!(timeout(A_WHILE, watch.changed()).await.is_err());
        // Another name for a whole file, which nobody closes.
        fs::remove_file(&path).unwrap();
        timeout(HANG, watch.changed()).await.unwrap();
        notices(&mut watch, || {
            fs::hard_link(directory.path().join("other.yaml"), &path).unwrap();
        })
        .await;
    }

    #[tokio::test]
    async fn the_directory_of_a_link_may_be_swapped_as_in_a_container() {
        let root = tempfile::tempdir().unwrap();
        let here = |name: &str| root.path().join(name);
        for version in ["..1", "..2"] {
            fs::create_dir(here(version)).unwrap();
            fs::write(here(version).join("policies.yaml"), version).unwrap();
        }
        symlink("..1", here("..data")).unwrap();
        symlink("..data/policies.yaml", here("policies.yaml")).unwrap();
        let mut watch = PolicyWatch::new(&here("policies.yaml"));
        notices(&mut watch, || {
            symlink("..2", here("..data_tmp")).unwrap();
            fs::rename(here("..data_tmp"), here("..data")).unwrap();
        })
        .await;
        assert_eq!(fs::read_to_string(here("policies.yaml")).unwrap(), "..2");
    }

    #[tokio::test]
    async fn without_watches_it_is_looked_at_and_tried_again_and_said() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policies.yaml");
        fs::write(&path, "a").unwrap();
        let given = Arc::new(AtomicBool::new(false));
        let gives = Arc::clone(&given);
        let start: Start = Box::new(move |handler| {
            if gives.load(Ordering::Relaxed) {
                return notify::recommended_watcher(handler);
            }
            Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch))
        });
        let short = Duration::from_millis(20);
        let pace = Pace {
            look_every: short,
            try_first: short,
            try_at_most: 4 * short,
        };
        let mut watch = PolicyWatch::by(&path, start, pace);
        let trouble = watch.trouble().unwrap();
        assert!(trouble.contains("cannot be watched"), "{trouble}");
        assert!(timeout(A_WHILE, watch.changed()).await.is_err());
        fs::write(&path, "bb").unwrap();
        timeout(HANG, watch.changed()).await.expect("a change");
        assert!(watch.trouble().is_some());
        assert!(timeout(A_WHILE, watch.changed()).await.is_err());
        given.store(true, Ordering::Relaxed);
        timeout(HANG, watch.changed()).await.unwrap();
        assert_eq!(watch.trouble(), None);
    }

    #[test]
    fn what_is_still_written_is_waited_for_but_not_for_ever() {
        let path = Path::new("/etc/auto-ext/policies.yaml");
        let mut heard = Heard {
            way: Way::from([(
                PathBuf::from("/etc/auto-ext"),
                BTreeSet::from(["policies.yaml".into()]),
            )]),
            ..Heard::default()
        };
        let mut hear = |kind, path: &str| {
            heard.hear(Ok(Event::new(kind).add_path(path.into())));
            (heard.due(), heard.writing)
        };
        let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let mode = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let ours = path.to_str().unwrap();
        assert_eq!(hear(data, "/etc/auto-ext/other").1, None);
        assert_eq!(hear(data, ours).0, None);
        let (due, writing) = hear(mode, ours);
        assert_eq!(due, Some(writing.unwrap() + PATIENCE));
        let (due, writing) = hear(closed, ours);
        assert!(writing.is_none() && due.unwrap() <= Instant::now() + QUIET);
    }

    #[test]
    fn a_circle_of_links_has_an_end() {
        let root = tempfile::tempdir().unwrap();
        symlink("b", root.path().join("a")).unwrap();
        symlink("a", root.path().join("b")).unwrap();
        assert!(way(&root.path().join("a")).contains_key(root.path()));
    }
}
