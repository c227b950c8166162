//! Edits of all kinds, and whether they are noticed.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::event::{AccessKind, AccessMode, DataChange, MetadataKind, ModifyKind};
use notify::{Event, EventKind};
use tokio::time::timeout;

use super::changes::{Changes, PATIENCE, QUIET};
use super::way::{Way, Ways, way};
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
async fn files_beside_the_policy_may_come_go_and_change_and_others_do_not_matter() {
    let root = tempfile::tempdir().unwrap();
    let here = |name: &str| root.path().join(name);
    fs::write(here("policies.yaml"), "a").unwrap();
    let mut watch = PolicyWatch::new(&here("policies.yaml"));
    // Twice, as the directory may go and come back.
    for _ in 0..2 {
        notices(&mut watch, || fs::create_dir(here("policies.d")).unwrap()).await;
        notices(&mut watch, || {
            fs::write(here("policies.d/a.yaml"), "a").unwrap();
        })
        .await;
        notices(&mut watch, || {
            fs::write(here("policies.d/a.yaml"), "b").unwrap();
        })
        .await;
        fs::write(here("policies.d/.a.yaml"), "a").unwrap();
        fs::write(here("policies.d/a.txt"), "a").unwrap();
        fs::read(here("policies.d/a.yaml")).unwrap();
        assert!(timeout(A_WHILE, watch.changed()).await.is_err());
        notices(&mut watch, || {
            fs::rename(here("policies.d/a.txt"), here("policies.d/b.yaml")).unwrap();
        })
        .await;
        notices(&mut watch, || {
            fs::remove_file(here("policies.d/a.yaml")).unwrap();
        })
        .await;
        notices(&mut watch, || {
            fs::remove_dir_all(here("policies.d")).unwrap();
        })
        .await;
    }
}

#[tokio::test]
async fn the_files_of_lists_are_watched_once_they_are_known_and_read_again_then() {
    let root = tempfile::tempdir().unwrap();
    let here = |name: &str| root.path().join(name);
    fs::create_dir(here("etc")).unwrap();
    fs::write(here("etc/policies.yaml"), "a").unwrap();
    let mut watch = PolicyWatch::new(&here("etc/policies.yaml"));
    fs::write(here("games.txt"), "a").unwrap();
    assert!(timeout(A_WHILE, watch.changed()).await.is_err());
    let lists = [here("etc/../games.txt")];
    watch.watch_lists(&lists);
    timeout(HANG, watch.changed())
        .await
        .expect("what came before");
    watch.watch_lists(&lists);
    assert!(timeout(A_WHILE, watch.changed()).await.is_err());
    notices(&mut watch, || fs::write(here("games.txt"), "b").unwrap()).await;
    watch.watch_lists(&[]);
    timeout(HANG, watch.changed()).await.unwrap();
    fs::write(here("games.txt"), "c").unwrap();
    assert!(timeout(A_WHILE, watch.changed()).await.is_err());
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
        poll_every: short,
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
    fs::create_dir(directory.path().join("policies.d")).unwrap();
    fs::write(directory.path().join("policies.d/a.yaml"), "a").unwrap();
    timeout(HANG, watch.changed()).await.expect("a new file");
    given.store(true, Ordering::Relaxed);
    timeout(HANG, watch.changed()).await.unwrap();
    assert_eq!(watch.trouble(), None);
}

#[test]
fn what_is_still_written_is_waited_for_but_not_for_ever() {
    let path = Path::new("/etc/auto-ext/policies.yaml");
    let mut changes = Changes {
        ways: Ways {
            way: Way::from([(
                PathBuf::from("/etc/auto-ext"),
                BTreeSet::from(["policies.yaml".into()]),
            )]),
            parts: None,
        },
        ..Changes::default()
    };
    let mut record = |kind, path: &str| {
        changes.record(Ok(Event::new(kind).add_path(path.into())));
        (changes.due(), changes.writing)
    };
    let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    let mode = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));
    let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
    let ours = path.to_str().unwrap();
    assert_eq!(record(data, "/etc/auto-ext/other").1, None);
    assert_eq!(record(data, ours).0, None);
    let (due, writing) = record(mode, ours);
    assert_eq!(due, Some(writing.unwrap() + PATIENCE));
    let (due, writing) = record(closed, ours);
    assert!(writing.is_none() && due.unwrap() <= Instant::now() + QUIET);
}

#[test]
fn a_circle_of_links_has_an_end() {
    let root = tempfile::tempdir().unwrap();
    symlink("b", root.path().join("a")).unwrap();
    symlink("a", root.path().join("b")).unwrap();
    assert!(way(&root.path().join("a")).contains_key(root.path()));
}
